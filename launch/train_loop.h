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

/*
 * Trains until all stages are done or max_steps is reached, and saves; writes
 * metrics.jsonl and events.jsonl. Collective. *hash_out is the hash of the final state.
 * Errors: those of the parts, with stage and step in front.
 */
ERR_MUST_CHECK enum err train_loop(struct train_run *run, struct hash *hash_out);

/*
 * The settings that fix the numbers of a run, a line each: what a resumed run must have
 * the same. The caller frees *text_out. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err train_loop_settings(const struct train_run *run, char **text_out);

#endif
