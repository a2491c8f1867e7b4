/*
 * launch/report/metrics_exports.h - what metrics.jsonl and events.jsonl say, in the forms that other tools
 * read: where the settings `tensorboard` and `prometheus_file` ask for it.
 *
 * All but the open accept NULL, which is none, and never stop a run: a failure to write is told once.
 *
 * Threads: the step's, on rank 0.
 */
#ifndef LAUNCH_REPORT_METRICS_EXPORTS_H
#define LAUNCH_REPORT_METRICS_EXPORTS_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/options.h"

struct metrics_exports;

/*
 * For a start that goes on from `step`; *exports_out is NULL where nothing is asked for. End it with
 * metrics_exports_close(). Errors: ERR_IO, ERR_INVALID, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err metrics_exports_open(const struct options *options, uint64_t incarnation,
                                             int64_t step, struct metrics_exports **exports_out);
void metrics_exports_close(struct metrics_exports *exports);

/* A line of each, as it is about to be written. */
void metrics_exports_step(struct metrics_exports *exports, const struct jdoc *record);
void metrics_exports_event(struct metrics_exports *exports, const struct jdoc *event);

#endif
