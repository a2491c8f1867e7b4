/*
 * snapshot/snap_part.h - one member's part of a checkpoint on disk.
 *
 * Each keeper writes what its members keep of every file straight into
 * checkpoint-<version>.partial, which all nodes share; who keeps member 0 waits for the others
 * and completes it. They tell each other by the names of empty files there,
 *
 *      .writing-<save>-<member>     renamed to .done-... or .failed-... at its end; touched meanwhile
 *
 * where <save> is job root (snap_format.h) and layout, so that what an earlier attempt left is not taken for
 * an answer. A member is done when its part of every file is synced.
 *
 * Threads: one a part.
 */
#ifndef SNAPSHOT_SNAP_PART_H
#define SNAPSHOT_SNAP_PART_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "snapshot/snap_plan.h"

struct snap_part {
    int member, rank_count;
    uint64_t version;
    uint64_t job_root;  /* low half: what all members of this version have in common */
    uint64_t layout;    /* its hash, low */
    uint64_t at, bytes; /* of the replicated bytes */
    uint64_t private_bytes;
    uint8_t *data; /* [bytes + private_bytes] a copy */
};

/*
 * Copies a member's part of a version out of its memory, tile by tile, each compared with its
 * hash. End it with snap_part_close(). Errors: ERR_MISSING if that version is not there ENCODED;
 * ERR_CORRUPT if the memory is not what it was sealed as; those of snap_area_peek().
 */
ERR_MUST_CHECK enum err snap_part_take(const char *path, uint64_t version,
                                       struct snap_part *part_out);
void snap_part_close(struct snap_part *part); /* one that is all zero is allowed */

/*
 * Writes and syncs it, and says so; or that it failed. Errors: ERR_IO, also where output_dir is not
 * there: it is not made anew.
 */
ERR_MUST_CHECK enum err snap_part_write(const struct snap_part *part, const struct snap_plan *plan);

/*
 * In place of snap_part_write(), where the part was not taken: says that it failed, as soon as somebody
 * has made the folder of the save, or not at all if nobody does so within the plan's deadline. Errors:
 * those of snap_part_take(), ERR_TIMEOUT, ERR_IO.
 */
ERR_MUST_CHECK enum err snap_part_refuse(const char *path, uint64_t version,
                                         const struct snap_plan *plan);

/* How far the members of a save are, any of whose parts is `part`. */
struct snap_progress {
    int done_count, failed_count;
    uint64_t trace; /* changes as long as somebody writes */
};

/* Errors: ERR_IO, ERR_MISSING if the folder is not there. */
ERR_MUST_CHECK enum err snap_part_look(const struct snap_part *part, const struct snap_plan *plan,
                                       struct snap_progress *progress_out);

/* All parts are done: leaves the files of the plan, and nothing else, in the folder. Errors: ERR_IO. */
ERR_MUST_CHECK enum err snap_part_clear(const struct snap_part *part, const struct snap_plan *plan);

#endif
