/*
 * launch/metrics.h - what a run tells while it runs: metrics.jsonl, events.jsonl, and a
 * line of progress on the terminal.
 *
 * Only rank 0 writes; on other ranks all calls do nothing. A failure to write is told
 * once and then ignored: metrics never stop a run.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_METRICS_H
#define LAUNCH_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

struct metrics;
struct metrics_exports;

/*
 * Appends to OUT/metrics.jsonl and OUT/events.jsonl, dropping from the first what a run
 * that was cut off wrote beyond `step`. `is_alone`: nobody launched this process, so its
 * terminal is a person's.
 * Errors: ERR_IO, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err metrics_open(const char *output_dir, bool is_writer, bool is_alone,
                                     int64_t step, struct metrics **metrics_out);
void metrics_close(struct metrics *metrics); /* NULL is allowed */

/* Tells the same in other forms, too (report/metrics_exports.h). Takes `exports` over. */
void metrics_export_to(struct metrics *metrics, struct metrics_exports *exports);

/* Whether OUT/events.jsonl has an event of that name, from this run or an earlier start of it. */
bool metrics_had_event(const char *output_dir, const char *name);

/* One line of metrics.jsonl. Takes `record` over. */
void metrics_record(struct metrics *metrics, struct jdoc *record);

/* One line of events.jsonl: "event": name, "at_s" since the run started, and the members of
 * `details` (taken over; may be NULL). */
void metrics_event(struct metrics *metrics, const char *name, struct jdoc *details);

/*
 * Shows a line of progress: redrawn in place on a terminal, and a line of its own every
 * time `keeps` is set or where stdout is no terminal.
 */
void metrics_show(struct metrics *metrics, bool keeps, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
