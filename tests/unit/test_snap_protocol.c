/*
 * The snapshot protocol as a whole, without processes: snap_slot.h and snap_recover.h driven
 * through every interleaving of copy, seal, encode, commit, skip, abort, crash and recovery of
 * six members, and at every state every set of losses that the parity covers.
 *
 * What must hold, always: some version can be had, none older than the newest that was
 * ENCODED by all members of the job; and where a slot is released without the word of the
 * whole job, the exploration must find the state in which nothing is left.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_recover.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { MEMBERS = 6, LAST_VERSION = 3 };

/* When a member takes a version for committed. */
enum rule { JOB_WIDE, OWN_GROUP, OWN_WORD };

struct member {
    struct snap_slots slots;
    int seen;        /* the newest version it was asked for */
    bool is_rebuilt; /* its rows of the target come from the others */
    bool is_lost;    /* its memory was lost, and the job is not wholly protected again */
};

struct world {
    struct member members[MEMBERS];
    int decided; /* the newest version that all members were ENCODED in */
    int target;  /* 0: running; else recovering to it */
};

struct search {
    struct snap_layout *layout;
    enum rule rule;
    struct world *states; /* all that were reached, in the order they were */
    int64_t count, capacity;
    int64_t *table; /* open addressing: index into states + 1 */
    int64_t table_size;
    int64_t violation; /* the state after which nothing was left; -1 */
};

static int group_of(const struct search *search, int i)
{
    return search->layout->members[i].group;
}

static enum snap_state state_of(const struct member *member, int version)
{
    const int slot = snap_slots_find(&member->slots, (uint64_t)version);

    return slot == SNAP_NO_SLOT ? SNAP_EMPTY : member->slots.slots[slot].state;
}

/* Whether all members, of one group or (group -1) of the job, are at least so far with it. */
static bool all_have(const struct search *search, const struct world *world, int group, int version,
                     enum snap_state least)
{
    for (int i = 0; i < MEMBERS; i++) {
        if ((group < 0 || group_of(search, i) == group) &&
            state_of(&world->members[i], version) < least) {
            return false;
        }
    }
    return true;
}

/* What the survivors would choose if the members in the mask were lost now. */
static int choose(const struct search *search, const struct world *world, unsigned lost)
{
    struct snap_holding holdings[MEMBERS][SNAP_SLOTS];

    memset(holdings, 0, sizeof(holdings));
    for (int i = 0; i < MEMBERS; i++) {
        for (int s = 0; s < SNAP_SLOTS && (lost >> i & 1) == 0; s++) {
            holdings[i][s] =
                (struct snap_holding){world->members[i].slots.slots[s], UINT64_MAX, UINT64_MAX};
        }
    }
    const struct snap_inventory inventory = {search->layout,
                                             (const struct snap_holding(*)[SNAP_SLOTS])holdings};
    return (int)snap_recover_choose(&inventory, NULL, 0);
}

/* Whether the parity covers these losses beside those that are not mended yet. */
static bool is_covered(const struct search *search, const struct world *world, unsigned lost)
{
    int in_group[MEMBERS] = {0};

    for (int i = 0; i < MEMBERS; i++) {
        const int group = group_of(search, i);
        in_group[group] += (lost >> i & 1) != 0 || world->members[i].is_lost;
        if (in_group[group] > search->layout->groups[group].parity_count) {
            return false;
        }
    }
    return true;
}

static int compare_members(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct member));
}

/* Members of a group are alike: their order does not matter. */
static void normalize(const struct search *search, struct world *world)
{
    const int size = search->layout->groups[0].member_count;

    for (int first = 0; first < MEMBERS; first += size) {
        qsort(world->members + first, (size_t)size, sizeof(struct member), compare_members);
    }
}

static uint64_t hash_world(const struct world *world)
{
    const struct hash hash = hash_bytes(world, sizeof(*world));

    return hash.low;
}

static void add_state(struct search *search, const struct world *from)
{
    struct world world = *from;

    normalize(search, &world);
    int64_t at = (int64_t)(hash_world(&world) % (uint64_t)search->table_size);
    while (search->table[at] != 0) {
        if (memcmp(&search->states[search->table[at] - 1], &world, sizeof(world)) == 0) {
            return;
        }
        at = (at + 1) % search->table_size;
    }
    ck_assert_int_lt(search->count, search->capacity);
    search->states[search->count++] = world;
    search->table[at] = search->count;
}

/* Somebody was asked for it, had no slot free, and let it pass: it will not be. */
static bool was_skipped(const struct world *world, int version)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (world->members[i].seen >= version &&
            state_of(&world->members[i], version) == SNAP_EMPTY && world->decided < version) {
            return true;
        }
    }
    return false;
}

static bool may_commit(const struct search *search, const struct world *world, int i, int version)
{
    switch (search->rule) {
    case JOB_WIDE: return world->decided >= version;
    case OWN_GROUP: return all_have(search, world, group_of(search, i), version, SNAP_ENCODED);
    case OWN_WORD: return true;
    }
    return false;
}

/* One member of a running job takes one step. */
static void run_member(struct search *search, const struct world *world, int i)
{
    const struct member *member = &world->members[i];
    struct world next = *world;
    struct snap_slots *slots = &next.members[i].slots;

    if (member->seen < LAST_VERSION) {
        const int slot = snap_slots_free(slots, (uint64_t)member->seen + 1);
        next.members[i].seen++;
        if (slot != SNAP_NO_SLOT) {
            snap_slots_begin(slots, slot, (uint64_t)member->seen + 1);
        }
        add_state(search, &next);
    }
    for (int s = 0; s < SNAP_SLOTS; s++) {
        const int version = (int)member->slots.slots[s].version;
        const enum snap_state state = member->slots.slots[s].state;
        next = *world;
        if (state == SNAP_COPYING) {
            snap_slots_copied(slots, s);
            add_state(search, &next);
        } else if (state == SNAP_SEALED &&
                   all_have(search, world, group_of(search, i), version, SNAP_SEALED)) {
            snap_slots_encoded(slots, s);
            add_state(search, &next);
        } else if (state == SNAP_ENCODED && may_commit(search, world, i, version)) {
            snap_slots_commit(slots, (uint64_t)version);
            add_state(search, &next);
        }
        next = *world;
        if ((state == SNAP_COPYING || state == SNAP_SEALED || state == SNAP_ENCODED) &&
            was_skipped(world, version)) {
            snap_slots_abort(slots, s);
            add_state(search, &next);
        }
    }
}

/* One member of a recovering job takes one step towards having world->target. */
static void recover_member(struct search *search, const struct world *world, int i)
{
    const struct member *member = &world->members[i];
    const int target = world->target;
    const int group = group_of(search, i);
    struct world next = *world;
    struct snap_slots *slots = &next.members[i].slots;
    const int at = snap_slots_find(slots, (uint64_t)target);

    /* What is newer was not finished; a torn copy of the target is made anew. */
    for (int s = 0; s < SNAP_SLOTS; s++) {
        const struct snap_slot *slot = &member->slots.slots[s];
        if ((int)slot->version > target ||
            (s == at && slot->state == SNAP_COPYING && !member->is_rebuilt)) {
            snap_slots_abort(slots, s);
            add_state(search, &next);
            return;
        }
    }
    if (at == SNAP_NO_SLOT) {
        const int free = snap_slots_free(slots, (uint64_t)target);
        ck_assert_int_ne(free, SNAP_NO_SLOT);
        snap_slots_begin(slots, free, (uint64_t)target);
        next.members[i].is_rebuilt = true;
        add_state(search, &next);
        return;
    }
    switch (slots->slots[at].state) {
    case SNAP_COPYING: snap_slots_copied(slots, at); break;
    case SNAP_SEALED:
        if (!member->is_rebuilt && !all_have(search, world, group, target, SNAP_SEALED)) {
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
    add_state(search, &next);
}

/* Everybody has the target, and nothing unfinished: training goes on from it. */
static void finish_recovery(struct search *search, const struct world *world)
{
    struct world next = *world;

    for (int i = 0; i < MEMBERS; i++) {
        for (int s = 0; s < SNAP_SLOTS; s++) {
            const enum snap_state state = world->members[i].slots.slots[s].state;
            if (state != SNAP_EMPTY && state != SNAP_COMMITTED) {
                return;
            }
        }
        if (state_of(&world->members[i], world->target) != SNAP_COMMITTED) {
            return;
        }
        next.members[i].seen = world->target;
    }
    next.target = 0;
    add_state(search, &next);
}

static void crash(struct search *search, const struct world *world, unsigned lost, int target)
{
    struct world next = *world;

    for (int i = 0; i < MEMBERS; i++) {
        if ((lost >> i & 1) != 0) {
            memset(&next.members[i].slots, 0, sizeof(next.members[i].slots));
            next.members[i].is_lost = true;
        }
        next.members[i].seen = 0;
        next.members[i].is_rebuilt = false;
    }
    next.target = target;
    add_state(search, &next);
}

static void describe(const struct world *world, unsigned lost, int chosen)
{
    fprintf(stderr, "decided %d, target %d, losing %#x leaves %d:", world->decided, world->target,
            lost, chosen);
    for (int i = 0; i < MEMBERS; i++) {
        const struct snap_slot *slot = world->members[i].slots.slots;
        fprintf(stderr, " [%s %d, %s %d%s]", snap_state_name(slot[0].state), (int)slot[0].version,
                snap_state_name(slot[1].state), (int)slot[1].version,
                world->members[i].is_lost ? ", lost" : "");
    }
    fprintf(stderr, "\n");
}

/* Goes from one state to all that may follow it; false if in one of them nothing is left. */
static bool visit(struct search *search, int64_t index, bool crashes)
{
    const struct world world = search->states[index];

    for (unsigned lost = 0; lost < 1u << MEMBERS; lost++) {
        if (!is_covered(search, &world, lost)) {
            continue;
        }
        const int target = choose(search, &world, lost);
        if (target == 0 || target < world.decided) {
            if (search->rule == JOB_WIDE) {
                describe(&world, lost, target);
            }
            search->violation = index;
            return false;
        }
        if (crashes) {
            crash(search, &world, lost, target);
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        if (world.target == 0) {
            run_member(search, &world, i);
        } else {
            recover_member(search, &world, i);
        }
    }
    for (int version = world.decided + 1; version <= LAST_VERSION; version++) {
        if (all_have(search, &world, -1, version, SNAP_ENCODED)) {
            struct world next = world;
            next.decided = version;
            add_state(search, &next);
        }
    }
    if (world.target != 0) {
        finish_recovery(search, &world);
    }
    return true;
}

/* Version 1 is COMMITTED everywhere at first. */
static void open_search(struct search *search, int k, int m, enum rule rule, int64_t capacity)
{
    struct snap_place places[MEMBERS];
    struct world world;

    memset(search, 0, sizeof(*search));
    for (uint32_t r = 0; r < MEMBERS; r++) {
        places[r] = (struct snap_place){r, r, 0};
    }
    const struct snap_terms terms = {MEMBERS, k, m, 6000, 0, places};
    EXPECT_OK(snap_layout_open(&terms, &search->layout));
    /* Groups are dealt out in turn; here members of a group are neighbours. */
    for (int i = 0; i < MEMBERS; i++) {
        const int size = search->layout->groups[0].member_count;
        const int group = i / size;
        search->layout->group_members[i] = i;
        search->layout->members[i].group = group;
        search->layout->members[i].index = i % size;
    }
    search->rule = rule;
    search->capacity = capacity;
    search->table_size = 4 * capacity + 1;
    search->violation = -1;
    search->states = calloc((size_t)capacity, sizeof(*search->states));
    search->table = calloc((size_t)search->table_size, sizeof(*search->table));
    ck_assert_ptr_nonnull(search->states);
    ck_assert_ptr_nonnull(search->table);
    memset(&world, 0, sizeof(world));
    world.decided = 1;
    for (int i = 0; i < MEMBERS; i++) {
        world.members[i].slots.slots[0] = (struct snap_slot){SNAP_COMMITTED, 1};
        world.members[i].seen = 1;
    }
    add_state(search, &world);
}

static void close_search(struct search *search)
{
    snap_layout_close(search->layout);
    free(search->states);
    free(search->table);
}

static const struct {
    int k, m;
} codes[] = {{2, 1}, {4, 2}};

START_TEST(protocol__always_leaves_a_version_to_go_on_with)
{
    struct search search;
    bool holds = true;

    open_search(&search, codes[_i].k, codes[_i].m, JOB_WIDE, 4000000);
    for (int64_t at = 0; at < search.count && holds; at++) {
        holds = visit(&search, at, true);
    }
    ck_assert_msg(holds, "nothing is left after state %ld of %ld", (long)search.violation,
                  (long)search.count);
    ck_assert_int_gt(search.count, 10000);
    printf("%d+%d: %ld states\n", codes[_i].k, codes[_i].m, (long)search.count);
    close_search(&search);
}
END_TEST

/* That the exploration finds what is wrong: both of these lose everything somewhere. */
START_TEST(protocol__fails_where_slots_are_released_without_the_whole_job)
{
    for (int rule = OWN_GROUP; rule <= OWN_WORD; rule++) {
        struct search search;
        bool holds = true;
        open_search(&search, 2, 1, (enum rule)rule, 4000000);
        for (int64_t at = 0; at < search.count && holds; at++) {
            holds = visit(&search, at, false);
        }
        ck_assert(!holds);
        close_search(&search);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_protocol");
    TCase *tcase = tcase_create("snap_protocol");

    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, protocol__always_leaves_a_version_to_go_on_with, 0, 2);
    tcase_add_test(tcase, protocol__fails_where_slots_are_released_without_the_whole_job);
    suite_add_tcase(suite, tcase);
    return suite;
}
