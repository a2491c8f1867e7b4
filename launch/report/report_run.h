/*
 * launch/report/report_run.h - what the files of a run say, for a report of it.
 *
 * What is missing is NULL: a run under way has no summary, and one of an older version may lack more.
 *
 * Threads: a run belongs to one.
 */
#ifndef LAUNCH_REPORT_REPORT_RUN_H
#define LAUNCH_REPORT_REPORT_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/options_schema.h"

enum {
    REPORT_RUNS_MAX = 64,
    REPORT_STEPS_MAX = 6000,   /* lines of metrics.jsonl that are looked at */
    REPORT_EVENTS_MAX = 20000, /* the same of events.jsonl */
};

struct report_run {
    char *path;           /* without slashes at its end */
    const char *name;     /* the last part of it */
    struct jdoc *summary; /* summary.json */
    struct jdoc *results; /* results.json: what the evaluation found, in full */
    struct jdoc *status;  /* as `offramp status --json` prints it */
    struct jdoc *holder;  /* run.json */
    struct jdoc *metrics; /* array: lines of metrics.jsonl, every metrics_every-th */
    size_t metrics_every;
    struct jdoc *events; /* array: lines of events.jsonl, every events_every-th */
    size_t events_every;
    struct jdoc *supervised;       /* array: lines of supervisor.jsonl */
    char *settings_text;           /* config.resolved.yaml */
    struct options_file *settings; /* the same, if this version understands it */
    char settings_error[512];      /* why it does not; "" */
    struct jdoc *manifest;         /* of the newest checkpoint */
    int64_t checkpoint_step;       /* -1: none */
    int method;                    /* as report_methods_find() numbers them */
};

/*
 * Reads the run in the output_dir `path`; end it with report_run_close(), which a failure leaves
 * nothing to do for. Errors: ERR_MISSING if there is no run;
 * ERR_CORRUPT for a file that is damaged, with the place; ERR_IO, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err report_run_open(const char *path, struct report_run *run_out);
void report_run_close(struct report_run *run); /* all zero is allowed */

/* What the evaluation found: in full, or what the summary of an older version has of it; NULL: neither. */
const struct jdoc *report_run_results(const struct report_run *run);

/* The text of a member; NULL if it is none. Of NULL, too. */
const char *report_text_of(const struct jdoc *object, const char *key);

/* The number of a member, whole or not; NaN if it is none, or beyond 1e30. Of NULL, too. */
double report_number_of(const struct jdoc *object, const char *key);

#endif
