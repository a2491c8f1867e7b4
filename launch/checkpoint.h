/*
 * launch/checkpoint.h - the state of a run as a checkpoint on disk (snapshot/snap_disk.h).
 *
 * Threads: the step's, on rank 0.
 */
#ifndef LAUNCH_CHECKPOINT_H
#define LAUNCH_CHECKPOINT_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/train_state.h"

/*
 * Saves the state, with those moments, as OUT/checkpoint-<step> and keeps `keep_count` of them, as snap_disk_place()
 * does. Errors: its own; ERR_NOT_FINITE, with nothing written.
 */
ERR_MUST_CHECK enum err checkpoint_save(const struct train_state *state,
                                        const struct train_moments *moments, const char *output_dir,
                                        const char *settings, int64_t keep_count);

/* snap_disk_verify() and snap_disk_find() for the files that a run needs. */
ERR_MUST_CHECK enum err checkpoint_verify(const char *folder);
ERR_MUST_CHECK enum err checkpoint_find(const char *output_dir, int64_t set_aside,
                                        char folder_out[FILE_PATH_BYTES_MAX]);

#endif
