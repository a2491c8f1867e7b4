/*
 * launch/checkpoint.h - checkpoints on disk: whole or absent.
 *
 *      OUT/checkpoint-500.partial/   being written
 *      OUT/checkpoint-500/           complete: every file synced, then manifest.json with
 *                                    size and hash of each, then the rename, then the folder
 *      OUT/latest                    text: checkpoint-500; a hint for people, never trusted
 *
 * A checkpoint is valid if and only if its manifest is there, of this format version, and
 * every file in it has the size and the XXH3-128 that it names.
 *
 * Threads: the step's, on rank 0.
 */
#ifndef LAUNCH_CHECKPOINT_H
#define LAUNCH_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/train_state.h"

/*
 * Saves the state as OUT/checkpoint-<step>, replaces one of the same step, and once it is
 * durable removes the oldest beyond `keep_count` >= 1 of this step and earlier ones. Errors:
 * ERR_IO, ERR_NO_MEMORY, ERR_NOT_FINITE; then a valid folder of that name is the old one or
 * all of the new.
 */
ERR_MUST_CHECK enum err checkpoint_save(const struct train_state *state, const char *output_dir,
                                        const char *settings, int64_t keep_count);

/* Checks a checkpoint's manifest against its files. Errors: ERR_MISSING, ERR_IO, ERR_CORRUPT. */
ERR_MUST_CHECK enum err checkpoint_verify(const char *folder);

/*
 * The newest valid checkpoint of `output_dir` into folder_out; "" if there is none at
 * all. Says on stderr which it passed over and why. Errors: ERR_CORRUPT if there are
 * checkpoints and none is valid.
 */
ERR_MUST_CHECK enum err checkpoint_find(const char *output_dir,
                                        char folder_out[FILE_PATH_BYTES_MAX]);

/* The step in a checkpoint's name, "OUT/checkpoint-500"; -1 if it has none. */
int64_t checkpoint_step(const char *folder);

/* Whether `output_dir` has any checkpoint, valid or not. */
bool checkpoint_exists(const char *output_dir);

/* Removes all checkpoints of `output_dir`. Errors: ERR_IO. */
ERR_MUST_CHECK enum err checkpoint_remove_all(const char *output_dir);

#endif
