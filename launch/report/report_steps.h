/*
 * launch/report/report_steps.h - what metrics.jsonl says over the steps of a run, as curves: means of
 * neighbouring steps of one stage.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_REPORT_STEPS_H
#define LAUNCH_REPORT_REPORT_STEPS_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/base/err.h"
#include "launch/report/report_run.h"
#include "launch/report/report_text.h"

/* What is looked at in a line. */
struct report_quantity {
    const char *key; /* "loss" */
    int set;         /* entry of "exits" that has it; -1: of the line itself */
    int exit;        /* place in the list there; -1: it is no list */
};

/* Its value in a line of metrics.jsonl; NaN if it has none. */
double report_quantity_of(const struct jdoc *line, const struct report_quantity *quantity);

/* Lambdas of the last line that has exits, and exits with the end; 0: no line has. */
int report_steps_sets(const struct report_run *run);
int report_steps_exits(const struct report_run *run);
double report_steps_lambda(const struct report_run *run, int set);

/* The last step that is there; 0: none. */
double report_steps_last(const struct report_run *run);

/*
 * Appends "$NAME << EOD", lines "step value", with an empty one between stages, and EOD: means of up to
 * 240 parts of the steps; with `is_log` of values above 0 alone, which a logarithmic axis has. False if there is no value at all: then nothing is appended.
 */
bool report_steps_curve(const struct report_run *run, const struct report_quantity *quantity,
                        bool is_log, const char *name, struct report_text *data);

/* A thin line, with its name, where a stage of the run begins: commands of gnuplot. */
void report_steps_stages(const struct report_run *run, struct report_text *commands);

/* The last line of each stage, one after the other: the index in run->metrics, or -1 after the last. */
int report_steps_stage_end(const struct report_run *run, int after);

#endif
