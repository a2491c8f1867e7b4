/*
 * launch/report/report_points.h - what evaluations found, joined over the seeds of each method: a point for
 * every method, policy and lambda.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_REPORT_POINTS_H
#define LAUNCH_REPORT_REPORT_POINTS_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/report/report_run.h"
#include "trainer/model/model.h"

enum { REPORT_EXITS_MAX = MODEL_LAYERS_MAX + 1, REPORT_FAMILIES_MAX = 64 };

/* Values of some runs. All zero: of none. */
struct report_stat {
    int count;
    double mean;
    double squares; /* sum of squared deviations from it */
};

/* One that is not finite is not counted. With a single value the mean is that value, to the bit. */
void report_stat_add(struct report_stat *stat, double value);

double report_stat_mean(const struct report_stat *stat);   /* NaN of none */
double report_stat_spread(const struct report_stat *stat); /* standard deviation; NaN below two */

struct report_point {
    int method;
    int family;         /* 0: everybody leaves at the same exit; others as report_points.families */
    const char *policy; /* lent by the run; "exit 1", "gate" */
    double lambda;      /* NaN where it has none */
    double budget;      /* what a rule was told, in `unit`, or NaN */
    double risk;        /* the same: what it promises */
    const char *unit;   /* "macs", "ms"; NULL */
    int run_count;
    struct report_stat accuracy, macs_share, mean_macs, ms_per_sample, ece;
    int exit_count; /* the end is one */
    struct report_stat shares[REPORT_EXITS_MAX];
    const struct jdoc *row; /* of the first run that has it */
};

struct report_points {
    struct report_point *points; /* [count], by method, family, share of multiply-adds */
    int count;
    const char *families[REPORT_FAMILIES_MAX]; /* "one exit for all", "gate", ... */
    int family_count;
    struct report_stat final[REPORT_RUNS_MAX]; /* [method] accuracy of the final classifier */
};

/*
 * Of the list `key` of each lambda: "rows", which are the table that is printed; "policies", every rule at every
 * budget and risk. Lends names of the runs. End it with report_points_release(). Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err report_points_find(const struct report_run *runs, int run_count,
                                           const char *key, struct report_points *points_out);
void report_points_release(struct report_points *points);

/* The lambda in the middle of those of a method; NaN if it has none. */
double report_points_middle(const struct report_points *points, int method);

/* Whether its points are not real policies but a bound: it knows the labels. */
bool report_family_is_oracle(const struct report_points *points, int family);

#endif
