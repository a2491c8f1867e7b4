/*
 * launch/report/prometheus_file.h - how a run does, as a file in Prometheus' text format: counters and gauges, as
 * node_exporter's textfile collector reads them. It is replaced as a whole, so a reader never sees half of one.
 *
 *      offramp_loss{run="/data/out",lambda="0.1",exit="3"} 0.41
 *
 * Every series has the label `run`, the output_dir: the collector of a node refuses two runs' equal series.
 * Counters count from the start of the process, as Prometheus expects of them, but for the restarts.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_REPORT_PROMETHEUS_FILE_H
#define LAUNCH_REPORT_PROMETHEUS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

struct prometheus_file;

/*
 * `name` without a slash is a file in output_dir. Writes a first one. `incarnation` as of the start. End it with
 * prometheus_file_close(). Errors: ERR_IO, ERR_INVALID, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err prometheus_file_open(const char *output_dir, const char *name,
                                             uint64_t incarnation, int64_t step,
                                             struct prometheus_file **file_out);

/* Writes the newest counters once more. NULL is allowed. */
void prometheus_file_close(struct prometheus_file *file);

/* A line of metrics.jsonl, of every step; with `writes` the file is replaced. A failure is told once, and no more
 * is written. */
void prometheus_file_step(struct prometheus_file *file, const struct jdoc *record, bool writes);

/* A line of events.jsonl. */
void prometheus_file_event(struct prometheus_file *file, const struct jdoc *event);

#endif
