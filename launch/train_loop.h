/*
 * launch/train_loop.h - a run, from its first step to its last: the stages one after the
 * other, resumed where a checkpoint left off.
 *
 * The only file that knows data, trainer, exits and checkpoints at once.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_LOOP_H
#define LAUNCH_TRAIN_LOOP_H

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "launch/train_run.h"

#define TRAIN_SUMMARY_FILE "summary.json"
#define TRAIN_RESULTS_FILE "results.json"

/*
 * Trains until all stages are done or max_steps is reached, and saves; writes
 * metrics.jsonl, events.jsonl and config.resolved.yaml. Collective. *hash_out is the hash of
 * the final state.
 *
 * A run that is refused - it cannot be resumed, or not with these settings - has changed
 * nothing in output_dir; one that goes on first removes the summary that is there.
 * Errors: those of the parts, with stage and step in front.
 */
ERR_MUST_CHECK enum err train_loop(struct train_run *run, struct hash *hash_out);

#endif
