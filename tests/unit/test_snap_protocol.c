/*
 * The snapshot protocol, explored through every interleaving of copy, seal, encode, commit, skip,
 * abort, crash and recovery of six members, and at every state every set of losses that the parity
 * covers. test_snap_protocol_random.c goes beyond these sizes.
 *
 * What must hold, always: some version can be had, none older than the newest that was
 * ENCODED by all members of the job; and where a slot is released without the word of the
 * whole job, the exploration must find the state in which nothing is left.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/hash.h"
#include "tests/support/protocol_model.h"
#include "tests/support/test_suite.h"

enum { MEMBERS = 6, LAST_VERSION = 3, CAPACITY = 4000000 };

struct search {
    struct protocol protocol;
    uint8_t *states; /* [CAPACITY, state_bytes] worlds that were reached, in the order they were */
    size_t state_bytes;
    int64_t count;
    int64_t *table; /* open addressing: index into states + 1 */
    int64_t table_size;
};

static int compare_members(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct protocol_member));
}

/* Members of a group are alike: their order does not matter. */
static void normalize(const struct search *search, struct protocol_world *world)
{
    const int size = search->protocol.layout->groups[0].member_count;

    for (int first = 0; first < MEMBERS; first += size) {
        qsort(world->members + first, (size_t)size, sizeof(struct protocol_member),
              compare_members);
    }
}

static uint8_t *state_at(const struct search *search, int64_t index)
{
    return search->states + (size_t)index * search->state_bytes;
}

static void add_state(void *context, const struct protocol_world *from)
{
    struct search *search = context;
    struct protocol_world world = *from;

    normalize(search, &world);
    const struct hash hash = hash_bytes(&world, search->state_bytes);
    int64_t at = (int64_t)(hash.low % (uint64_t)search->table_size);
    while (search->table[at] != 0) {
        if (memcmp(state_at(search, search->table[at] - 1), &world, search->state_bytes) == 0) {
            return;
        }
        at = (at + 1) % search->table_size;
    }
    ck_assert_int_lt(search->count, CAPACITY);
    memcpy(state_at(search, search->count++), &world, search->state_bytes);
    search->table[at] = search->count;
}

/* Goes from one state to all that may follow it; false if in one of them nothing is left. */
static bool visit(struct search *search, int64_t index, bool crashes)
{
    const struct protocol *protocol = &search->protocol;
    struct protocol_world world = {0};

    memcpy(&world, state_at(search, index), search->state_bytes);
    for (uint64_t lost = 0; lost < 1u << MEMBERS; lost++) {
        if (!protocol_is_covered(protocol, &world, lost)) {
            continue;
        }
        const int target = protocol_choose(protocol, &world, lost);
        if (target == 0 || target < world.decided) {
            if (protocol->rule == PROTOCOL_JOB_WIDE) {
                fprintf(stderr, "losing %#x leaves %d: ", (unsigned)lost, target);
                protocol_describe(protocol, &world);
            }
            return false;
        }
        if (crashes) {
            struct protocol_world next = world;
            protocol_crash(protocol, lost, target, &next);
            add_state(search, &next);
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        protocol_member_steps(protocol, &world, i, add_state, search);
    }
    protocol_job_steps(protocol, &world, add_state, search);
    return true;
}

static void open_search(struct search *search, int k, int m, enum protocol_rule rule)
{
    struct protocol_world world;

    memset(search, 0, sizeof(*search));
    protocol_open(&search->protocol, MEMBERS, k, m, rule);
    search->protocol.last_version = LAST_VERSION;
    /* Groups are dealt out in turn; here members of a group are neighbours. */
    struct snap_layout *layout = search->protocol.layout;
    for (int i = 0; i < MEMBERS; i++) {
        const int size = layout->groups[0].member_count;
        layout->group_members[i] = i;
        layout->members[i].group = i / size;
        layout->members[i].index = i % size;
    }
    search->state_bytes = protocol_world_bytes(&search->protocol);
    search->table_size = 4 * (int64_t)CAPACITY + 1;
    search->states = calloc(CAPACITY, search->state_bytes);
    search->table = calloc((size_t)search->table_size, sizeof(*search->table));
    ck_assert_ptr_nonnull(search->states);
    ck_assert_ptr_nonnull(search->table);
    protocol_begin(&search->protocol, &world);
    add_state(search, &world);
}

static void close_search(struct search *search)
{
    protocol_close(&search->protocol);
    free(search->states);
    free(search->table);
}

static const struct {
    int k, m;
} codes[] = {{2, 1}, {4, 2}};

START_TEST(protocol__always_leaves_a_version_to_go_on_with)
{
    struct search search;

    open_search(&search, codes[_i].k, codes[_i].m, PROTOCOL_JOB_WIDE);
    for (int64_t at = 0; at < search.count; at++) {
        ck_assert_msg(visit(&search, at, true), "nothing is left after state %ld of %ld", (long)at,
                      (long)search.count);
    }
    ck_assert_int_gt(search.count, 10000);
    printf("%d+%d: %ld states\n", codes[_i].k, codes[_i].m, (long)search.count);
    close_search(&search);
}
END_TEST

/* That the exploration finds what is wrong: both of these lose everything somewhere. */
START_TEST(protocol__fails_where_slots_are_released_without_the_whole_job)
{
    for (int rule = PROTOCOL_OWN_GROUP; rule < PROTOCOL_RULES; rule++) {
        struct search search;
        bool holds = true;
        open_search(&search, 2, 1, (enum protocol_rule)rule);
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
