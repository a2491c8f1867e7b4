/*
 * launch/report/report_method.h - which runs are seeds of one method, and what tells methods apart.
 *
 * Runs are of one method if all settings are the same that fix a run's numbers (train_settings.h), but for
 * the seed. A run whose settings are not known is a method of its own.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_REPORT_METHOD_H
#define LAUNCH_REPORT_REPORT_METHOD_H

#include "comm/base/err.h"
#include "launch/report/report_run.h"

enum { REPORT_LABEL_BYTES = 160 };

struct report_methods {
    int count;
    char labels[REPORT_RUNS_MAX][REPORT_LABEL_BYTES]; /* "exit_loss uncertainty": what differs */
    int run_counts[REPORT_RUNS_MAX];
};

/* Numbers them in the order in which they first come, into the runs too. */
void report_methods_find(struct report_run *runs, int run_count,
                         struct report_methods *methods_out);

#endif
