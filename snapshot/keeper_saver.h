/*
 * snapshot/keeper_saver.h - the thread of a keeper that writes checkpoints.
 *
 * One checkpoint at a time: the parts of this node's members, one after the other; and where
 * member 0 is among them, waiting for those of other nodes and completing it. Waiting is given up
 * when a newer one is asked for.
 *
 * Threads: the keeper's main thread calls.
 */
#ifndef SNAPSHOT_KEEPER_SAVER_H
#define SNAPSHOT_KEEPER_SAVER_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "snapshot/snap_part.h"

enum { KEEPER_RANKS_MAX = 512 }; /* of one node; each may have a part to be written */

struct keeper_saver;

/* `news` is an event descriptor, lent, that is written to when there are any. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err keeper_saver_open(int news, struct keeper_saver **saver_out);
void keeper_saver_close(struct keeper_saver *saver); /* after what it is writing; NULL is allowed */

/* Whether a part of `version` would be taken: it is of the save under way, or there is none. */
bool keeper_saver_is_free(struct keeper_saver *saver, uint64_t version);

/* Takes a part over, to be written as `plan` says. Call keeper_saver_is_free() first. */
void keeper_saver_add(struct keeper_saver *saver, struct snap_part *part,
                      const struct snap_plan *plan);

/* Whether nothing is being written or waited for. */
bool keeper_saver_is_idle(struct keeper_saver *saver);

/* A checkpoint that member 0's keeper completed, or gave up. */
struct keeper_saved {
    uint64_t version, bytes;
    enum err status;
    double seconds;
    char text[512];
};

/* The next one that has ended; false if there is none. */
bool keeper_saver_ended(struct keeper_saver *saver, struct keeper_saved *saved_out);

#endif
