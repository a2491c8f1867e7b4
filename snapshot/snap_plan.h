/*
 * snapshot/snap_plan.h - what the keeper of a node must know to write checkpoints: FOLDER/plan.json.
 *
 * A file of a checkpoint is an extent of the replicated bytes of the state, so that every member
 * can write the part of each file that lies in its slice: into the file itself, or, where it is to
 * be packed, as a pack of its own, NAME.pack-<member>.
 *
 * Threads: any.
 */
#ifndef SNAPSHOT_SNAP_PLAN_H
#define SNAPSHOT_SNAP_PLAN_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"

enum { SNAP_PLAN_FILES_MAX = 16, SNAP_PLAN_NAME_BYTES = 64 };

#define SNAP_PLAN_FILE "plan.json"

struct snap_extent {
    char name[SNAP_PLAN_NAME_BYTES];
    uint64_t at, bytes; /* of the replicated bytes */
    uint32_t width;     /* > 0: packed, a pack a member, of elements so wide: 1, 2, 4 or 8 */
};

struct snap_plan {
    char
        output_dir[FILE_PATH_BYTES_MAX]; /* where checkpoints go; absolute; the same on all nodes */
    int64_t keep_count;                  /* checkpoints that stay there; >= 1 */
    char incarnation_file
        [FILE_PATH_BYTES_MAX]; /* begins with the number of the newest start; "": none */
    int64_t incarnation;       /* of the start that wrote the plan */
    int64_t bytes_per_s;       /* a keeper writes at most so many; 0: no bound */
    int64_t deadline_ms;       /* of waiting for a member whose part does not grow any more */
    struct snap_extent files[SNAP_PLAN_FILES_MAX];
    int file_count; /* >= 1 */
};

/* Errors: ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err snap_plan_write(const struct snap_plan *plan, const char *folder);

/* The text of a plan; `what` names it in errors. Errors: ERR_CORRUPT, telling what is wrong. */
ERR_MUST_CHECK enum err snap_plan_parse(const char *text, size_t text_bytes, const char *what,
                                        struct snap_plan *plan_out);

/*
 * Errors: ERR_CONFIG if a later start has taken over from the one that wrote the plan, and nothing
 * is to be put in place for that any more.
 */
ERR_MUST_CHECK enum err snap_plan_check_start(const struct snap_plan *plan);

/* Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT, naming what is wrong with it. */
ERR_MUST_CHECK enum err snap_plan_read(const char *folder, struct snap_plan *plan_out);

#endif
