/*
 * snapshot/snap_slot.h - the life of the two slots of a member: pure functions, no I/O.
 *
 *            begin(v)        copied         encoded         commit(v)
 *   EMPTY -----------> COPYING ------> SEALED -------> ENCODED ---------> COMMITTED
 *     ^                   |              |                |                   |
 *     +------ abort ------+--- abort ----+---- abort -----+----- abort -------+
 *     +------------- begin(v') in the other's stead: reuse -------------------+
 *
 *   EMPTY      nothing that anyone may read
 *   COPYING    the slice is being copied; its bytes are a mixture
 *   SEALED     the slice of version v is whole, its chunks are hashed
 *   ENCODED    this member keeps all its rows of v, data and parity, hashed
 *   COMMITTED  this member knows that every member of every group was ENCODED(v)
 *
 * Reuse: a slot that holds version w is overwritten only when the other slot holds a newer
 * COMMITTED one. COMMITTED is job-wide; if a group's own completion were enough, one group
 * could be two versions ahead of another, and a loss in both would leave nothing that all
 * have (the exploration in tests/unit/test_snap_protocol.c finds such states).
 *
 * Recovery asks nobody what was decided. It takes the newest version v for which in every
 * group at least k members, v ENCODED or COMMITTED, can still show their rows; or for which
 * every member can show its SEALED slice, which is what the mere death of processes leaves.
 * A loss of memory counts against m until that version is COMMITTED again: while another group
 * has yet to encode it, a member that is rebuilt has no second version to fall back on.
 *
 * A snapshot is aborted when its worker failed, some rank had no slot free for it, or a
 * recovery chose another version; from COMMITTED only by a recovery that set that version
 * aside, and after the chosen one is COMMITTED itself.
 */
#ifndef SNAPSHOT_SNAP_SLOT_H
#define SNAPSHOT_SNAP_SLOT_H

#include <stdbool.h>
#include <stdint.h>

enum snap_state {
    SNAP_EMPTY,
    SNAP_COPYING,
    SNAP_SEALED,
    SNAP_ENCODED,
    SNAP_COMMITTED,
    SNAP_STATES,
};

enum { SNAP_SLOTS = 2, SNAP_NO_SLOT = -1 };

struct snap_slot {
    enum snap_state state;
    uint64_t version; /* the training step; 0 with EMPTY, >= 1 otherwise */
};

struct snap_slots {
    struct snap_slot slots[SNAP_SLOTS];
};

const char *snap_state_name(enum snap_state state); /* "COPYING" */

/* The drawing as data; for one slot, and not for reuse, which looks at both. */
bool snap_state_may_become(enum snap_state from, enum snap_state to);

/*
 * The slot that version v may be copied to; SNAP_NO_SLOT if none is free yet, or v is not newer
 * than all that is there.
 */
int snap_slots_free(const struct snap_slots *slots, uint64_t version);

/*
 * The same for a version that is restored, newer than any here: where none is free the older of those
 * that are not COMMITTED gives way, which a start left here that the job went on without. Never fails.
 */
int snap_slots_clear(struct snap_slots *slots, uint64_t version);

/*
 * The transitions. Each asserts that it is allowed: who drives them has made sure. `slot` of
 * begin is what snap_slots_free() gave.
 */
void snap_slots_begin(struct snap_slots *slots, int slot, uint64_t version);
void snap_slots_copied(struct snap_slots *slots, int slot);
void snap_slots_encoded(struct snap_slots *slots, int slot);
void snap_slots_commit(struct snap_slots *slots,
                       uint64_t version); /* where it is ENCODED; else nothing */
void snap_slots_abort(struct snap_slots *slots, int slot);

/* The newest version of at least that state; 0 if there is none. */
uint64_t snap_slots_newest(const struct snap_slots *slots, enum snap_state least);

/* The slot that holds `version`, whatever its state; SNAP_NO_SLOT if none does. */
int snap_slots_find(const struct snap_slots *slots, uint64_t version);

#endif
