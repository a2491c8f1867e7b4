/*
 * snapshot/snap_disk.h - checkpoints on disk: whole or absent.
 *
 *      OUT/checkpoint-500.partial/   being written
 *      OUT/checkpoint-500.dropped/   given up, and being removed
 *      OUT/checkpoint-500/           complete: every file synced, then manifest.json with
 *                                    size and hash of each, then the rename, then the folder
 *      OUT/latest                    text: checkpoint-500; a hint for people, never trusted
 *
 * A checkpoint is valid if and only if its manifest is there, of this format version, and
 * every file in it has the size and the XXH3-128 that it names.
 *
 * Threads: any, on different folders.
 */
#ifndef SNAPSHOT_SNAP_DISK_H
#define SNAPSHOT_SNAP_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"

/* What a rank alone has, of jobs that have such: private-<rank>. */
#define SNAP_PRIVATE_FILE "private-"

/* A file that is loaded: the manifest must name it. */
struct snap_disk_file {
    const char *name;
    enum {
        SNAP_DISK_NEEDED,
        SNAP_DISK_OPTIONAL,         /* where it is there */
        SNAP_DISK_NEEDED_OR_PACKED, /* itself, or its packs (snap_packs.h) */
    } kind;
};

/* The folder in which the checkpoint of `step` is written. Errors: ERR_INVALID if it does not fit. */
ERR_MUST_CHECK enum err snap_disk_partial(char path[FILE_PATH_BYTES_MAX], const char *output_dir,
                                          int64_t step);

/*
 * Removes checkpoint-<step>.partial, if it is there, while others may still write to it: it loses its
 * name first, so that nothing of theirs is found under it afterwards. Errors: ERR_IO.
 */
ERR_MUST_CHECK enum err snap_disk_drop(const char *output_dir, int64_t step);

/*
 * Turns checkpoint-<step>.partial, all its files written and synced, into checkpoint-<step>,
 * replaces one of the same step, and once it is durable removes the oldest beyond `keep_count`
 * >= 1 of this step and earlier ones, and partial ones of earlier steps. Errors: ERR_IO, ERR_NO_MEMORY; then a valid folder of that
 * name is the old one or all of the new. Cost: reads all files once, to hash them.
 */
ERR_MUST_CHECK enum err snap_disk_place(const char *output_dir, int64_t step, int64_t keep_count);

/* Checks a checkpoint's manifest against its files. Errors: ERR_MISSING, ERR_IO, ERR_CORRUPT. */
ERR_MUST_CHECK enum err snap_disk_verify(const char *folder, const struct snap_disk_file needed[],
                                         int needed_count);

/*
 * The newest valid checkpoint of `output_dir` into folder_out; "" if there is none at
 * all. The one of step `set_aside` (-1: none) only if there is no other. Says on stderr which it passed over and why. Errors: ERR_CORRUPT if there are
 * checkpoints and none is valid.
 */
ERR_MUST_CHECK enum err snap_disk_find(const char *output_dir, const struct snap_disk_file needed[],
                                       int needed_count, int64_t set_aside,
                                       char folder_out[FILE_PATH_BYTES_MAX]);

/* The step in a checkpoint's name, "OUT/checkpoint-500"; -1 if it has none. */
int64_t snap_disk_step(const char *folder);

/* The step of the newest checkpoint of `output_dir`, valid or not; -1 if there is none. */
int64_t snap_disk_newest(const char *output_dir);

/* Removes partial ones that whole ones have overtaken, of saves that were interrupted. Errors: ERR_IO. */
ERR_MUST_CHECK enum err snap_disk_tidy(const char *output_dir);

/* Removes all checkpoints of `output_dir`, whole or partial. Errors: ERR_IO. */
ERR_MUST_CHECK enum err snap_disk_remove_all(const char *output_dir);

#endif
