/*
 * snapshot/snap_keeper.h - a rank's connection to the keeper of its node (keeper.h).
 *
 * A keeper that is gone is noticed at the next call, started again, and the call made again: no
 * call fails because a keeper was killed, but the save that it was writing does.
 *
 * Threads: one at a time.
 */
#ifndef SNAPSHOT_SNAP_KEEPER_H
#define SNAPSHOT_SNAP_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

struct snap_keeper;

struct snap_keeper_options {
    const char *folder;  /* of this node's memory, which is there */
    const char *program; /* which, run with "keeper --folder FOLDER", is a keeper */
    int rank;
    int retain_s; /* how long a keeper that is started keeps a dead job's memory */
};

/*
 * Connects to the keeper of the folder; starts one if there is none. Copies the options. Errors:
 * ERR_IO if none can be started, ERR_TIMEOUT, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_keeper_open(const struct snap_keeper_options *options,
                                         struct snap_keeper **keeper_out);

/*
 * Disconnects. `finished`: the job is, and its memory removed; waits until the keeper has done
 * with it. Otherwise the keeper takes this rank for dead. NULL is allowed.
 */
void snap_keeper_close(struct snap_keeper *keeper, bool finished);

/* Has the keeper make the file `name` of the folder. Errors: those of snap_area_reserve(). */
ERR_MUST_CHECK enum err snap_keeper_reserve(struct snap_keeper *keeper, const char *name,
                                            uint64_t bytes);

/*
 * Asks for a version of the member file `name` to be written to disk, as this member's part of a
 * checkpoint; returns when the keeper has a copy of it. Errors: ERR_INVALID if it is still
 * writing an earlier one; ERR_CORRUPT if the memory is not what its hashes say; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_keeper_save(struct snap_keeper *keeper, const char *name,
                                         uint64_t version);

/* What became of a save; of rank 0's keeper only, which completes the checkpoint. */
struct snap_saved {
    uint64_t version;
    enum err status;
    double seconds;
    uint64_t bytes;
    char text[512]; /* what went wrong */
};

/*
 * The next news, waiting for it up to `wait_ms`. False: there is none. Where the keeper died while
 * it was writing, that is the news. A keeper that died is started again; to be called now and then.
 */
bool snap_keeper_news(struct snap_keeper *keeper, int64_t wait_ms, struct snap_saved *saved_out);

#endif
