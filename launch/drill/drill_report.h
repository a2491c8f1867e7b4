/*
 * launch/drill/drill_report.h - what a drill says: a line for every fault, a table and a verdict at
 * the end, and the same as JSON and as JUnit XML.
 *
 * Threads: one.
 */
#ifndef LAUNCH_DRILL_DRILL_REPORT_H
#define LAUNCH_DRILL_DRILL_REPORT_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/drill/drill_compare.h"
#include "launch/drill/drill_run.h"

enum { DRILL_WHY_BYTES = 1024 };

/* One run that is over. */
struct drill_record {
    const struct drill_case *what;
    struct drill_outcome *outcomes; /* [what->count] */
    struct drill_run_result result;
    struct drill_sum sum;
    char why[DRILL_WHY_BYTES]; /* it failed; "": it passed */
    char *repeat;              /* the command line of this run alone */
};

/* The lines of one run, as soon as it is over. */
void drill_report_run(const struct drill_record *record);

/* The table, what failed, and the verdict. `backend`: the kind of nodes. */
void drill_report_end(const struct drill_record records[], int count, const char *backend,
                      double took_s);

/* FOLDER/drill.json; `records` NULL: a drill has begun. Errors: ERR_IO, ERR_NO_MEMORY. */
#define DRILL_FILE "drill.json"
ERR_MUST_CHECK enum err drill_report_json(const char *folder, const struct drill_record records[],
                                          int count, const char *backend);

/* One testcase a fault. Errors: ERR_IO. */
ERR_MUST_CHECK enum err drill_report_junit(const char *path, const struct drill_record records[],
                                           int count, const char *backend);

#endif
