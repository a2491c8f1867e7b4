/*
 * launch/report/tensorboard_file.h - the numbers of a run as scalars in OUT/tensorboard, as TensorBoard reads them.
 *
 *      loss/end   loss/lambda_0.1/exit_3   accuracy/...   exit_share/lambda_0.1/end   head_loss/lambda_0.1
 *      gate_loss/...   cost/...   learning_rate/backbone   grad_norm/heads   throughput/samples_per_s
 *      snapshot/stall_s   snapshot/lag_s
 *
 * Values are float32, as the format has them. Each start of the run writes a file of its own, which begins by
 * saying from which step on it replaces what earlier ones have.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_REPORT_TENSORBOARD_FILE_H
#define LAUNCH_REPORT_TENSORBOARD_FILE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

struct tensorboard_file;

/* For a start that goes on from `step`. End it with tensorboard_file_close(). Errors: ERR_IO, ERR_INVALID,
 * ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err tensorboard_file_open(const char *output_dir, int64_t step,
                                              struct tensorboard_file **file_out);
void tensorboard_file_close(struct tensorboard_file *file); /* NULL is allowed */

/* A line of metrics.jsonl; a number that is not finite is left out. A failure is told once, and no more is written. */
void tensorboard_file_step(struct tensorboard_file *file, const struct jdoc *record);

/* A line of events.jsonl: of snapshots alone. */
void tensorboard_file_event(struct tensorboard_file *file, const struct jdoc *event);

#endif
