#include "snapshot/snap_slot.h"

#include <assert.h>
#include <stddef.h>

const char *snap_state_name(enum snap_state state)
{
    static const char *const names[SNAP_STATES] = {"EMPTY", "COPYING", "SEALED", "ENCODED",
                                                   "COMMITTED"};

    assert(state < SNAP_STATES);
    return names[state];
}

bool snap_state_may_become(enum snap_state from, enum snap_state to)
{
    static const bool allowed[SNAP_STATES][SNAP_STATES] = {
        [SNAP_EMPTY] = {[SNAP_COPYING] = true},
        [SNAP_COPYING] = {[SNAP_SEALED] = true, [SNAP_EMPTY] = true},
        [SNAP_SEALED] = {[SNAP_ENCODED] = true, [SNAP_EMPTY] = true},
        [SNAP_ENCODED] = {[SNAP_COMMITTED] = true, [SNAP_EMPTY] = true},
        [SNAP_COMMITTED] = {[SNAP_COPYING] = true /* reuse */, [SNAP_EMPTY] = true},
    };

    return allowed[from][to];
}

int snap_slots_free(const struct snap_slots *slots, uint64_t version)
{
    const struct snap_slot *a = &slots->slots[0], *b = &slots->slots[1];

    if (version <= a->version || version <= b->version) {
        return SNAP_NO_SLOT;
    }
    for (int i = 0; i < SNAP_SLOTS; i++) {
        if (slots->slots[i].state == SNAP_EMPTY) {
            return i;
        }
    }
    if (a->state == SNAP_COMMITTED && b->state == SNAP_COMMITTED) {
        return a->version < b->version ? 0 : 1;
    }
    return SNAP_NO_SLOT;
}

static void become(struct snap_slot *slot, enum snap_state to)
{
    assert(snap_state_may_become(slot->state, to));
    slot->state = to;
}

void snap_slots_begin(struct snap_slots *slots, int slot, uint64_t version)
{
    assert(slot != SNAP_NO_SLOT);
    assert(slot == snap_slots_free(slots, version));
    become(&slots->slots[slot], SNAP_COPYING);
    slots->slots[slot].version = version;
}

void snap_slots_copied(struct snap_slots *slots, int slot)
{
    become(&slots->slots[slot], SNAP_SEALED);
}

void snap_slots_encoded(struct snap_slots *slots, int slot)
{
    become(&slots->slots[slot], SNAP_ENCODED);
}

void snap_slots_commit(struct snap_slots *slots, uint64_t version)
{
    const int slot = snap_slots_find(slots, version);

    if (slot != SNAP_NO_SLOT && slots->slots[slot].state == SNAP_ENCODED) {
        become(&slots->slots[slot], SNAP_COMMITTED);
    }
}

void snap_slots_abort(struct snap_slots *slots, int slot)
{
    become(&slots->slots[slot], SNAP_EMPTY);
    slots->slots[slot].version = 0;
}

int snap_slots_clear(struct snap_slots *slots, uint64_t version)
{
    const int free = snap_slots_free(slots, version);
    int oldest = SNAP_NO_SLOT;

    if (free != SNAP_NO_SLOT) {
        return free;
    }
    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        const struct snap_slot *held = &slots->slots[slot];
        if (held->state != SNAP_COMMITTED &&
            (oldest == SNAP_NO_SLOT || held->version < slots->slots[oldest].version)) {
            oldest = slot;
        }
    }
    assert(oldest != SNAP_NO_SLOT && slots->slots[oldest].version < version);
    snap_slots_abort(slots, oldest);
    return oldest;
}

uint64_t snap_slots_newest(const struct snap_slots *slots, enum snap_state least)
{
    uint64_t newest = 0;

    for (int i = 0; i < SNAP_SLOTS; i++) {
        const struct snap_slot *slot = &slots->slots[i];
        if (slot->state >= least && slot->state != SNAP_EMPTY && slot->version > newest) {
            newest = slot->version;
        }
    }
    return newest;
}

int snap_slots_find(const struct snap_slots *slots, uint64_t version)
{
    for (int i = 0; i < SNAP_SLOTS; i++) {
        if (slots->slots[i].state != SNAP_EMPTY && slots->slots[i].version == version) {
            return i;
        }
    }
    return SNAP_NO_SLOT;
}
