/*
 * The snapshot protocol of jobs too large to be explored whole: seeded random walks, with many
 * versions, crashes, and losses while what was lost before is not made good yet.
 *
 * What must hold is what test_snap_protocol.c says, and is looked at in every state against the
 * worst losses there are, group by group; and recovery must choose the newest version that the
 * survivors have, by a count of rows of its own.
 */
#include <assert.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/rng.h"
#include "tests/support/protocol_model.h"
#include "tests/support/test_suite.h"

enum {
    VERSIONS_MAX = 64,   /* that members hold at the same time: a mask */
    AHEAD_MAX = 3,       /* no member is asked for more versions than that beyond any other */
    OUTCOMES_MAX = 1024, /* different masks in one state */
    REDRAW_ONE_IN = 40,  /* steps: who sleeps */
};

static const struct job {
    int ranks, k, m;
    int walks, steps;
} jobs[] = {
    {18, 4, 2, 2, 8000}, {24, 2, 1, 2, 8000}, {18, 6, 3, 2, 8000}, {27, 6, 3, 2, 8000},
    {20, 4, 2, 2, 8000}, {16, 1, 1, 2, 8000}, {20, 8, 2, 2, 8000}, {12, 2, 2, 2, 8000},
};

enum { JOBS = sizeof(jobs) / sizeof(jobs[0]) };

struct walk {
    struct protocol protocol;
    struct protocol_world world;
    uint64_t seed, draw_count;
    /* Who keeps the parity of each stripe of each group, by index in the group. */
    uint64_t parity_of[PROTOCOL_MEMBERS_MAX][PROTOCOL_MEMBERS_MAX];
    uint64_t sleepers; /* members that take no step for now */
    int ahead;         /* no member is asked for more versions than that beyond any other */
    int64_t crash_count, loss_count, again_count, state_count;
};

/* The worlds that may come next, of which one is taken. */
struct choice {
    struct walk *walk;
    uint64_t count;
    struct protocol_world taken;
};

static uint64_t below(struct walk *walk, uint64_t count)
{
    return rng_u64(walk->seed, RNG_TEST, walk->draw_count++, 0) % count;
}

static void consider(void *context, const struct protocol_world *next)
{
    struct choice *choice = context;

    choice->count++;
    if (below(choice->walk, choice->count) == 0) {
        choice->taken = *next;
    }
}

/* Who of a group can show rows of a version. */
struct rows {
    const struct snap_group *group;
    uint64_t data, parity;     /* bit i: the group's member of index i */
    const uint64_t *parity_of; /* [n] by stripe */
};

static void find_rows(const struct walk *walk, int group_index, uint64_t version,
                      struct rows *rows_out)
{
    const struct snap_layout *layout = walk->protocol.layout;
    const struct snap_group *group = &layout->groups[group_index];

    *rows_out = (struct rows){.group = group, .parity_of = walk->parity_of[group_index]};
    for (int i = 0; i < group->member_count; i++) {
        const struct snap_slot *slots = walk->world.members[group->members[i]].slots.slots;
        for (int s = 0; s < SNAP_SLOTS; s++) {
            const bool is_it = slots[s].version == version;
            rows_out->data |= (uint64_t)(is_it && slots[s].state >= SNAP_SEALED) << i;
            rows_out->parity |= (uint64_t)(is_it && slots[s].state >= SNAP_ENCODED) << i;
        }
    }
}

/* Whether every stripe has k rows without the members in `lost`, a mask of indexes. */
static bool has_enough(const struct rows *rows, uint64_t lost)
{
    for (int s = 0; s < rows->group->member_count; s++) {
        const uint64_t shown =
            (rows->data & ~rows->parity_of[s]) | (rows->parity & rows->parity_of[s]);
        if (__builtin_popcountll(shown & ~lost) < rows->group->data_count) {
            return false;
        }
    }
    return true;
}

/* All versions from `least` on that anybody has SEALED or more. */
static int list_versions(const struct walk *walk, int least, uint64_t versions_out[VERSIONS_MAX])
{
    int count = 0;

    for (int i = 0; i < walk->protocol.layout->rank_count; i++) {
        for (int s = 0; s < SNAP_SLOTS; s++) {
            const struct snap_slot *slot = &walk->world.members[i].slots.slots[s];
            int at = 0;
            while (at < count && versions_out[at] != slot->version) {
                at++;
            }
            if (at == count && slot->state >= SNAP_SEALED && slot->version >= (uint64_t)least) {
                assert(count < VERSIONS_MAX);
                versions_out[count++] = slot->version;
            }
        }
    }
    return count;
}

/* Those of a mask of ranks that are in the group, by their index there. */
static uint64_t in_group(const struct snap_group *group, uint64_t ranks)
{
    uint64_t indexes = 0;

    for (int i = 0; i < group->member_count; i++) {
        indexes |= (ranks >> group->members[i] & 1) << i;
    }
    return indexes;
}

/* Members whose loss counts still. */
static uint64_t unmended(const struct walk *walk)
{
    uint64_t lost = 0;

    for (int i = 0; i < walk->protocol.layout->rank_count; i++) {
        lost |= (uint64_t)walk->world.members[i].is_lost << i;
    }
    return lost;
}

/* The newest version that the survivors have, by the definition; 0 if there is none. */
static int newest_left(const struct walk *walk, uint64_t lost)
{
    uint64_t versions[VERSIONS_MAX];
    uint64_t newest = 0;
    const int count = list_versions(walk, 1, versions);

    for (int v = 0; v < count; v++) {
        bool is_left = versions[v] > newest;
        for (int g = 0; g < walk->protocol.layout->group_count && is_left; g++) {
            struct rows rows;
            find_rows(walk, g, versions[v], &rows);
            is_left = has_enough(&rows, in_group(rows.group, lost));
        }
        newest = is_left ? versions[v] : newest;
    }
    return (int)newest;
}

/* Different masks of the versions that are left. */
struct outcomes {
    int count;
    uint64_t masks[OUTCOMES_MAX];
};

static void add_outcome(struct outcomes *outcomes, uint64_t mask)
{
    for (int i = 0; i < outcomes->count; i++) {
        if (outcomes->masks[i] == mask) {
            return;
        }
    }
    assert(outcomes->count < OUTCOMES_MAX);
    outcomes->masks[outcomes->count++] = mask;
}

/* What one group may be left with when it loses as much as its parity covers. */
static void lose_in_group(const struct walk *walk, int group_index, const uint64_t versions[],
                          int version_count, struct outcomes *outcomes_out)
{
    const struct snap_group *group = &walk->protocol.layout->groups[group_index];
    const uint64_t before = in_group(group, unmended(walk));
    const int more = group->parity_count - __builtin_popcountll(before);
    struct rows rows[VERSIONS_MAX];

    for (int v = 0; v < version_count; v++) {
        find_rows(walk, group_index, versions[v], &rows[v]);
    }
    outcomes_out->count = 0;
    for (uint64_t lost = 0; lost < 1ull << group->member_count; lost++) {
        uint64_t left = 0;
        if ((lost & before) != 0 || __builtin_popcountll(lost) != more) {
            continue;
        }
        for (int v = 0; v < version_count; v++) {
            left |= (uint64_t)has_enough(&rows[v], lost | before) << v;
        }
        add_outcome(outcomes_out, left);
    }
}

/* Whether all losses in all groups together leave a version that is not older than decided. */
static bool always_leaves_one(const struct walk *walk)
{
    uint64_t versions[VERSIONS_MAX];
    struct outcomes all = {1, {UINT64_MAX}};
    const int version_count = list_versions(walk, walk->world.decided, versions);

    for (int g = 0; g < walk->protocol.layout->group_count; g++) {
        struct outcomes group, both = {0};
        lose_in_group(walk, g, versions, version_count, &group);
        for (int i = 0; i < all.count; i++) {
            for (int j = 0; j < group.count; j++) {
                add_outcome(&both, all.masks[i] & group.masks[j]);
            }
        }
        all = both;
    }
    for (int i = 0; i < all.count; i++) {
        if (all.masks[i] == 0) {
            return false;
        }
    }
    return true;
}

/* Losses that the parity covers: none, a few, or as many as there can be. */
static uint64_t draw_losses(struct walk *walk)
{
    const uint64_t ranks = (uint64_t)walk->protocol.layout->rank_count;
    static const uint64_t one_in[] = {0, 8, 1};
    const uint64_t chance = one_in[below(walk, 3)];
    uint64_t lost = 0;

    for (uint64_t draw = 0; draw < ranks && chance > 0; draw++) {
        const uint64_t more = lost | 1ull << below(walk, ranks);
        if (below(walk, chance) == 0 && protocol_is_covered(&walk->protocol, &walk->world, more)) {
            lost = more;
        }
    }
    return lost;
}

/* Steps: so that most versions are committed, and many recoveries are not. */
static uint64_t crash_one_in(const struct walk *walk)
{
    const uint64_t ranks = (uint64_t)walk->protocol.layout->rank_count;

    return (walk->world.target != 0 ? 10 : 60) * ranks;
}

static void crash(struct walk *walk, uint64_t lost, int target)
{
    walk->crash_count++;
    walk->loss_count += __builtin_popcountll(lost);
    walk->again_count += walk->world.target != 0 && lost != 0;
    protocol_crash(&walk->protocol, lost, target, &walk->world);
}

/* Nobody sleeps, some members do, or all of some groups. */
static void draw_sleepers(struct walk *walk)
{
    const uint64_t how = below(walk, 3);
    const uint64_t drawn = rng_u64(walk->seed, RNG_TEST, walk->draw_count++, 0);

    walk->sleepers = 0;
    walk->ahead = (int)below(walk, AHEAD_MAX + 1);
    for (int i = 0; i < walk->protocol.layout->rank_count && how > 0; i++) {
        const int bit = how == 1 ? i : walk->protocol.layout->members[i].group;
        walk->sleepers |= (drawn >> bit & 1) << i;
    }
}

/* One step of somebody, if anybody that is awake can take one; false if nothing changed. */
static bool move(struct walk *walk)
{
    const int ranks = walk->protocol.layout->rank_count;
    struct choice choice = {.walk = walk};
    int least = INT32_MAX;

    for (int i = 0; i < ranks; i++) {
        least = walk->world.members[i].seen < least ? walk->world.members[i].seen : least;
    }
    walk->protocol.last_version = least + walk->ahead;
    if (below(walk, REDRAW_ONE_IN) == 0) {
        draw_sleepers(walk);
    }
    const int who = (int)below(walk, (uint64_t)ranks + 1 + (uint64_t)ranks / 8);
    if (who >= ranks) {
        protocol_job_steps(&walk->protocol, &walk->world, consider, &choice);
    } else if ((walk->sleepers >> who & 1) == 0) {
        protocol_member_steps(&walk->protocol, &walk->world, who, consider, &choice);
    }
    if (choice.count > 0) {
        walk->world = choice.taken;
    }
    return choice.count > 0;
}

static void find_parity(struct walk *walk)
{
    const struct snap_layout *layout = walk->protocol.layout;

    for (int g = 0; g < layout->group_count; g++) {
        const struct snap_group *group = &layout->groups[g];
        for (int s = 0; s < group->member_count; s++) {
            for (int row = group->data_count; row < group->member_count; row++) {
                const struct snap_piece piece = snap_layout_piece(group, s, row);
                walk->parity_of[g][s] |= 1ull << layout->members[piece.rank].index;
            }
        }
    }
}

/* false: in its last state some losses would leave nothing. protocol_close() is the caller's. */
static bool run(struct walk *walk, const struct job *job, enum protocol_rule rule, uint64_t seed)
{
    bool holds = true;

    *walk = (struct walk){.seed = seed, .ahead = 1};
    protocol_open(&walk->protocol, job->ranks, job->k, job->m, rule);
    protocol_begin(&walk->protocol, &walk->world);
    find_parity(walk);
    while (walk->state_count < job->steps && holds) {
        const uint64_t lost = draw_losses(walk);
        const int target = protocol_choose(&walk->protocol, &walk->world, lost);
        if (target != newest_left(walk, lost)) { /* an assertion of Check costs a system call */
            ck_abort_msg("version %d is chosen, %d is the newest left", target,
                         newest_left(walk, lost));
        }
        if (below(walk, crash_one_in(walk)) == 0) {
            crash(walk, lost, target);
        } else if (!move(walk)) {
            continue;
        }
        walk->state_count++;
        holds = always_leaves_one(walk);
    }
    return holds;
}

static uint64_t seed_of(int job, int walk)
{
    return 1000 * (uint64_t)job + (uint64_t)walk;
}

START_TEST(protocol__always_leaves_a_version_of_larger_jobs)
{
    const struct job *job = &jobs[_i];
    int64_t crashes = 0, losses = 0, again = 0, states = 0, versions = 0;

    for (int w = 0; w < job->walks; w++) {
        struct walk walk;
        const bool holds = run(&walk, job, PROTOCOL_JOB_WIDE, seed_of(_i, w));
        if (!holds) {
            protocol_describe(&walk.protocol, &walk.world);
        }
        ck_assert_msg(holds, "nothing is left in state %ld of seed %lu", (long)walk.state_count,
                      (unsigned long)walk.seed);
        protocol_close(&walk.protocol);
        crashes += walk.crash_count;
        losses += walk.loss_count;
        again += walk.again_count;
        states += walk.state_count;
        versions += walk.world.decided;
    }
    printf(
        "%d of %d+%d: %ld states, %ld versions, %ld crashes, %ld losses, %ld times in a recovery\n",
        job->ranks, job->k, job->m, (long)states, (long)versions, (long)crashes, (long)losses,
        (long)again);
    ck_assert_int_gt(versions, 10 * job->walks);
    ck_assert_int_gt(losses, crashes);
    ck_assert_int_gt(again, 5 * job->walks);
}
END_TEST

START_TEST(protocol__fails_in_larger_jobs_without_the_word_of_the_whole_job)
{
    const struct job *job = &jobs[_i];

    for (int rule = PROTOCOL_OWN_GROUP; rule < PROTOCOL_RULES; rule++) {
        struct walk walk;
        bool holds = true;
        for (int w = 0; w < job->walks && holds; w++) {
            holds = run(&walk, job, (enum protocol_rule)rule, seed_of(_i, w));
            protocol_close(&walk.protocol);
        }
        ck_assert(!holds);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_protocol_random");
    TCase *tcase = tcase_create("snap_protocol_random");

    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, protocol__always_leaves_a_version_of_larger_jobs, 0, JOBS);
    tcase_add_loop_test(tcase, protocol__fails_in_larger_jobs_without_the_word_of_the_whole_job, 0,
                        JOBS);
    suite_add_tcase(suite, tcase);
    return suite;
}
