/*
 * snapshot/snap_recover.h - which version to go on with, from what the survivors hold: pure
 * functions, no I/O.
 *
 * A row of a stripe of version v is there if its member shows it verified: a data row with
 * the member SEALED or more, a parity row with the member ENCODED or more. A version can be had
 * if every stripe of every group has k rows. The one to take is the newest of these that is
 * not set aside. Nobody is asked what was decided; since a slot is overwritten only after a
 * newer version was ENCODED by everybody (snap_slot.h), there is one as long as no group has
 * lost more than m members.
 *
 * Threads: any.
 */
#ifndef SNAPSHOT_SNAP_RECOVER_H
#define SNAPSHOT_SNAP_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/snap_layout.h"
#include "snapshot/snap_slot.h"

/* One slot of one member, after its chunks were verified. */
struct snap_holding {
    struct snap_slot slot;           /* EMPTY: nothing is there, or the member is lost */
    uint64_t good_data, good_parity; /* bit s: every chunk of segment s is as it was sealed */
};

/* What all members of one layout hold: [rank_count][SNAP_SLOTS]. */
struct snap_inventory {
    const struct snap_layout *layout;
    const struct snap_holding (*holdings)[SNAP_SLOTS];
};

/* The version to go on with; 0 if there is none. `set_aside` [count] are not considered. */
uint64_t snap_recover_choose(const struct snap_inventory *inventory, const uint64_t set_aside[],
                             int set_aside_count);

/* Whether a row of `version` is there. */
bool snap_recover_has(const struct snap_inventory *inventory, uint64_t version,
                      const struct snap_piece *piece);

/*
 * The rows of one stripe of a group: given_out [k] the first k that are there, wanted_out [m] those
 * that are not, in rising order. Returns the number of wanted rows, or -1 if fewer than k are there.
 */
int snap_recover_rows(const struct snap_inventory *inventory, uint64_t version, int group,
                      int stripe, int given_out[], int wanted_out[]);

#endif
