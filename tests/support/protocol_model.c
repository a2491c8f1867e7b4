#include "tests/support/protocol_model.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/snap_recover.h"
#include "tests/support/err_expect.h"

void protocol_open(struct protocol *protocol, int member_count, int k, int m,
                   enum protocol_rule rule)
{
    struct snap_place places[PROTOCOL_MEMBERS_MAX];

    ck_assert_int_le(member_count, PROTOCOL_MEMBERS_MAX);
    for (uint32_t r = 0; r < (uint32_t)member_count; r++) {
        places[r] = (struct snap_place){r, r, 0};
    }
    const struct snap_terms terms = {member_count, k, m, 6000, 0, places};
    *protocol = (struct protocol){.rule = rule};
    EXPECT_OK(snap_layout_open(&terms, &protocol->layout));
}

void protocol_close(struct protocol *protocol)
{
    snap_layout_close(protocol->layout);
}

void protocol_begin(const struct protocol *protocol, struct protocol_world *world_out)
{
    memset(world_out, 0, sizeof(*world_out));
    world_out->decided = 1;
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        world_out->members[i].slots.slots[0] = (struct snap_slot){SNAP_COMMITTED, 1};
        world_out->members[i].seen = 1;
    }
}

size_t protocol_world_bytes(const struct protocol *protocol)
{
    return offsetof(struct protocol_world, members) +
           (size_t)protocol->layout->rank_count * sizeof(struct protocol_member);
}

static int group_of(const struct protocol *protocol, int i)
{
    return protocol->layout->members[i].group;
}

static enum snap_state state_of(const struct protocol_member *member, int version)
{
    const int slot = snap_slots_find(&member->slots, (uint64_t)version);

    return slot == SNAP_NO_SLOT ? SNAP_EMPTY : member->slots.slots[slot].state;
}

/* Whether all members, of one group or (group -1) of the job, are at least so far with it. */
static bool all_have(const struct protocol *protocol, const struct protocol_world *world, int group,
                     int version, enum snap_state least)
{
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        if ((group < 0 || group_of(protocol, i) == group) &&
            state_of(&world->members[i], version) < least) {
            return false;
        }
    }
    return true;
}

int protocol_choose(const struct protocol *protocol, const struct protocol_world *world,
                    uint64_t lost)
{
    struct snap_holding holdings[PROTOCOL_MEMBERS_MAX][SNAP_SLOTS];

    memset(holdings, 0, sizeof(holdings));
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        for (int s = 0; s < SNAP_SLOTS && (lost >> i & 1) == 0; s++) {
            holdings[i][s] =
                (struct snap_holding){world->members[i].slots.slots[s], UINT64_MAX, UINT64_MAX};
        }
    }
    const struct snap_inventory inventory = {protocol->layout,
                                             (const struct snap_holding(*)[SNAP_SLOTS])holdings};
    return (int)snap_recover_choose(&inventory, NULL, 0);
}

bool protocol_is_covered(const struct protocol *protocol, const struct protocol_world *world,
                         uint64_t lost)
{
    int in_group[PROTOCOL_MEMBERS_MAX] = {0};

    for (int i = 0; i < protocol->layout->rank_count; i++) {
        const int group = group_of(protocol, i);
        in_group[group] += (lost >> i & 1) != 0 || world->members[i].is_lost;
        if (in_group[group] > protocol->layout->groups[group].parity_count) {
            return false;
        }
    }
    return true;
}

/* Somebody was asked for it, had no slot free, and let it pass: it will not be. */
static bool was_skipped(const struct protocol *protocol, const struct protocol_world *world,
                        int version)
{
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        if (world->members[i].seen >= version &&
            state_of(&world->members[i], version) == SNAP_EMPTY && world->decided < version) {
            return true;
        }
    }
    return false;
}

static bool may_commit(const struct protocol *protocol, const struct protocol_world *world, int i,
                       int version)
{
    switch (protocol->rule) {
    case PROTOCOL_JOB_WIDE: return world->decided >= version;
    case PROTOCOL_OWN_GROUP:
        return all_have(protocol, world, group_of(protocol, i), version, SNAP_ENCODED);
    case PROTOCOL_OWN_WORD: return true;
    case PROTOCOL_RULES: break;
    }
    return false;
}

/* One member of a running job takes one step. */
static void run_member(const struct protocol *protocol, const struct protocol_world *world, int i,
                       protocol_found_fn found, void *context)
{
    const struct protocol_member *member = &world->members[i];
    struct protocol_world next = *world;
    struct snap_slots *slots = &next.members[i].slots;

    if (member->seen < protocol->last_version) {
        const int slot = snap_slots_free(slots, (uint64_t)member->seen + 1);
        next.members[i].seen++;
        if (slot != SNAP_NO_SLOT) {
            snap_slots_begin(slots, slot, (uint64_t)member->seen + 1);
        }
        found(context, &next);
    }
    for (int s = 0; s < SNAP_SLOTS; s++) {
        const int version = (int)member->slots.slots[s].version;
        const enum snap_state state = member->slots.slots[s].state;
        next = *world;
        if (state == SNAP_COPYING) {
            snap_slots_copied(slots, s);
            found(context, &next);
        } else if (state == SNAP_SEALED &&
                   all_have(protocol, world, group_of(protocol, i), version, SNAP_SEALED)) {
            snap_slots_encoded(slots, s);
            found(context, &next);
        } else if (state == SNAP_ENCODED && may_commit(protocol, world, i, version)) {
            snap_slots_commit(slots, (uint64_t)version);
            found(context, &next);
        }
        next = *world;
        if ((state == SNAP_COPYING || state == SNAP_SEALED || state == SNAP_ENCODED) &&
            was_skipped(protocol, world, version)) {
            snap_slots_abort(slots, s);
            found(context, &next);
        }
    }
}

/* One member of a recovering job takes one step towards having world->target. */
static void recover_member(const struct protocol *protocol, const struct protocol_world *world,
                           int i, protocol_found_fn found, void *context)
{
    const struct protocol_member *member = &world->members[i];
    const int target = world->target;
    struct protocol_world next = *world;
    struct snap_slots *slots = &next.members[i].slots;
    const int at = snap_slots_find(slots, (uint64_t)target);

    /* What is newer was not finished; a torn copy of the target is made anew. */
    for (int s = 0; s < SNAP_SLOTS; s++) {
        const struct snap_slot *slot = &member->slots.slots[s];
        if ((int)slot->version > target ||
            (s == at && slot->state == SNAP_COPYING && !member->is_rebuilt)) {
            snap_slots_abort(slots, s);
            found(context, &next);
            return;
        }
    }
    if (at == SNAP_NO_SLOT) {
        const int free = snap_slots_free(slots, (uint64_t)target);
        ck_assert_int_ne(free, SNAP_NO_SLOT);
        snap_slots_begin(slots, free, (uint64_t)target);
        next.members[i].is_rebuilt = true;
        found(context, &next);
        return;
    }
    switch (slots->slots[at].state) {
    case SNAP_COPYING: snap_slots_copied(slots, at); break;
    case SNAP_SEALED:
        if (!member->is_rebuilt &&
            !all_have(protocol, world, group_of(protocol, i), target, SNAP_SEALED)) {
            return; /* parity of others' slices: they must be there first */
        }
        snap_slots_encoded(slots, at);
        break;
    case SNAP_ENCODED:
        if (world->decided < target) {
            return;
        }
        snap_slots_commit(slots, (uint64_t)target);
        next.members[i].is_lost = next.members[i].is_rebuilt = false;
        break;
    case SNAP_COMMITTED: { /* the older one, if it was not committed, is of no use any more */
        const int other = 1 - at;
        const enum snap_state state = slots->slots[other].state;
        if (state == SNAP_EMPTY || state == SNAP_COMMITTED) {
            return;
        }
        snap_slots_abort(slots, other);
        break;
    }
    case SNAP_EMPTY:
    case SNAP_STATES: return;
    }
    found(context, &next);
}

void protocol_member_steps(const struct protocol *protocol, const struct protocol_world *world,
                           int i, protocol_found_fn found, void *context)
{
    if (world->target == 0) {
        run_member(protocol, world, i, found, context);
    } else {
        recover_member(protocol, world, i, found, context);
    }
}

/* Everybody has the target, and nothing unfinished: training goes on from it. */
static bool finish_recovery(const struct protocol *protocol, struct protocol_world *world)
{
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        for (int s = 0; s < SNAP_SLOTS; s++) {
            const enum snap_state state = world->members[i].slots.slots[s].state;
            if (state != SNAP_EMPTY && state != SNAP_COMMITTED) {
                return false;
            }
        }
        if (state_of(&world->members[i], world->target) != SNAP_COMMITTED) {
            return false;
        }
        world->members[i].seen = world->target;
    }
    world->target = 0;
    return true;
}

void protocol_job_steps(const struct protocol *protocol, const struct protocol_world *world,
                        protocol_found_fn found, void *context)
{
    struct protocol_world next = *world;

    for (int s = 0; s < SNAP_SLOTS; s++) { /* what all have is what the first one has, too */
        const int version = (int)world->members[0].slots.slots[s].version;
        if (version > world->decided && all_have(protocol, world, -1, version, SNAP_ENCODED)) {
            next.decided = version;
            found(context, &next);
        }
    }
    next = *world;
    if (world->target != 0 && finish_recovery(protocol, &next)) {
        found(context, &next);
    }
}

void protocol_crash(const struct protocol *protocol, uint64_t lost, int target,
                    struct protocol_world *world)
{
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        struct protocol_member *member = &world->members[i];
        if ((lost >> i & 1) != 0) {
            memset(&member->slots, 0, sizeof(member->slots));
            member->is_lost = true;
        }
        member->seen = 0;
        member->is_rebuilt = false;
    }
    world->target = target;
}

void protocol_describe(const struct protocol *protocol, const struct protocol_world *world)
{
    fprintf(stderr, "decided %d, target %d:", world->decided, world->target);
    for (int i = 0; i < protocol->layout->rank_count; i++) {
        const struct snap_slot *slot = world->members[i].slots.slots;
        fprintf(stderr, " [%d: %s %d, %s %d%s]", group_of(protocol, i),
                snap_state_name(slot[0].state), (int)slot[0].version,
                snap_state_name(slot[1].state), (int)slot[1].version,
                world->members[i].is_lost ? ", lost" : "");
    }
    fprintf(stderr, "\n");
}
