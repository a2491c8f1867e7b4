/*
 * Unit tests of snapshot/snap.h over threads: each rank a thread with a folder of its own, as if
 * it were a node. What processes do to each other is in tests/snap.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "snapshot/snap.h"
#include "snapshot/snap_area.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { RANKS = 4, SHARED = 60000, OWN = 1000, DEADLINE_MS = 20000 };

/* What one run of the job does, the same on all ranks. */
struct plan {
    uint64_t last_step;
    enum snap_end end;
    bool waits;
    uint64_t set_aside; /* 0: none */
    uint64_t flip_step; /* 0: none; in flip_rank's replicated memory */
    int flip_rank;
    uint64_t expected_version;
    enum snap_source expected_source;
    struct snap_statistics statistics; /* of rank 0 */
};

struct numbers {
    uint64_t shared[SHARED], own[OWN];
};

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    EXPECT_OK(file_remove_tree(folder.path));
}

static void update(struct numbers *numbers, uint64_t step, int rank)
{
    for (int i = 0; i < SHARED; i++) {
        numbers->shared[i] = numbers->shared[i] * 31 + step + (uint64_t)i;
    }
    for (int i = 0; i < OWN; i++) {
        numbers->own[i] = numbers->own[i] * 17 + step + (uint64_t)rank;
    }
}

static enum err train(struct snap *snap, struct plan *plan, struct numbers *numbers, int rank)
{
    struct snap_restored from;

    ERR_TRY(
        snap_protect(snap, "shared", numbers->shared, sizeof(numbers->shared), SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "own", numbers->own, sizeof(numbers->own), SNAP_PRIVATE));

    ERR_TRY(snap_restore(snap, &plan->set_aside, plan->set_aside > 0, &from));
    if (from.version != plan->expected_version || from.source != plan->expected_source) {
        return ERR_FAIL(ERR_INVALID, "from version %d, source %d", (int)from.version,
                        (int)from.source);
    }
    for (uint64_t step = from.version + 1; step <= plan->last_step; step++) {
        ERR_TRY(snap_fence(snap));
        update(numbers, step, rank);
        if (step == plan->flip_step && rank == plan->flip_rank) {
            numbers->shared[SHARED / 2] ^= 1024;
        }
        ERR_TRY(snap_begin(snap, step));
        ERR_TRY(plan->waits ? snap_wait(snap) : ERR_OK);
    }
    return snap_wait(snap);
}

static enum err open_and_train(struct comm_group *world, struct plan *plan, struct numbers *numbers)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap *snap = NULL;

    snprintf(path, sizeof(path), "%.4000s/node%d", folder.path, comm_rank(world));
    const struct snap_options options = {.world = world,
                                         .folder = path,
                                         .job_key = hash_bytes("test", 4),
                                         .deadline_ms = DEADLINE_MS,
                                         .compare = true};
    ERR_TRY(snap_open(&options, &snap));
    const enum err status = train(snap, plan, numbers, comm_rank(world));
    if (comm_rank(world) == 0) {
        plan->statistics = snap_statistics(snap);
    }
    snap_close(snap, status == ERR_OK ? plan->end : SNAP_INTERRUPTED);
    return status;
}

/* Runs the plan and compares the numbers with those of a run that nothing happened to. */
static enum err run_rank(struct comm_group *world, void *context)
{
    struct plan *plan = context;
    struct numbers *numbers = calloc(1, sizeof(*numbers));
    struct numbers *expected = calloc(1, sizeof(*expected));
    enum err status = ERR_NO_MEMORY;

    if (numbers != NULL && expected != NULL) {
        status = open_and_train(world, plan, numbers);
        for (uint64_t step = 1; step <= plan->last_step; step++) {
            update(expected, step, comm_rank(world));
        }
        if (status == ERR_OK && memcmp(numbers, expected, sizeof(*numbers)) != 0) {
            status = ERR_FAIL(ERR_CORRUPT, "other numbers");
        }
    }
    free(numbers);
    free(expected);
    return status;
}

static void lose_node(int node)
{
    char path[FILE_PATH_BYTES_MAX];

    snprintf(path, sizeof(path), "%.4000s/node%d", folder.path, node);
    EXPECT_OK(file_remove_tree(path));
}

static void expect_nothing_left(void)
{
    for (int node = 0; node < RANKS; node++) {
        char path[FILE_PATH_BYTES_MAX];
        snprintf(path, sizeof(path), "%.4000s/node%d", folder.path, node);
        ck_assert(!file_exists(path));
    }
}

START_TEST(run__goes_on_from_memory_after_any_loss_that_is_covered)
{
    for (int first = -1; first < RANKS; first++) {
        for (int second = -1; second < first; second++) {
            struct plan plan = {.last_step = 5, .end = SNAP_INTERRUPTED, .waits = true};
            local_ranks_run(RANKS, run_rank, &plan);
            if (first >= 0) {
                lose_node(first);
            }
            if (second >= 0) {
                lose_node(second);
            }
            plan =
                (struct plan){.last_step = 8,
                              .end = SNAP_FINISHED,
                              .expected_version = 5,
                              .expected_source = first < 0 ? SNAP_FROM_MEMORY : SNAP_FROM_REBUILT};
            local_ranks_run(RANKS, run_rank, &plan);
            expect_nothing_left();
        }
    }
}
END_TEST

START_TEST(restore__removes_nothing_of_other_names)
{
    char path[FILE_PATH_BYTES_MAX], mine[FILE_PATH_BYTES_MAX];
    struct plan plan = {.last_step = 2, .end = SNAP_FINISHED};

    snprintf(path, sizeof(path), "%.4000s/node1", folder.path);
    EXPECT_OK(snap_area_folder(path));
    snprintf(path, sizeof(path), "%.4000s/node1/member-photos", folder.path);
    EXPECT_OK(file_make_folder(path));
    EXPECT_OK(file_path(mine, path, "mine"));
    EXPECT_OK(file_write_text(mine, "mine"));
    local_ranks_run(RANKS, run_rank, &plan);
    ck_assert(file_exists(mine));
}
END_TEST

START_TEST(begin__skips_on_all_ranks_what_comes_too_soon)
{
    struct plan plan = {.last_step = 60, .end = SNAP_FINISHED};

    local_ranks_run(RANKS, run_rank, &plan);
    ck_assert_int_eq(plan.statistics.begun, 60);
    ck_assert_int_eq(plan.statistics.committed + plan.statistics.skipped, 60);
    ck_assert_int_ge(plan.statistics.committed, 1);
    plan = (struct plan){.last_step = 20, .end = SNAP_FINISHED, .waits = true};
    local_ranks_run(RANKS, run_rank, &plan);
    ck_assert_int_eq(plan.statistics.committed, 20);
    ck_assert_uint_eq(plan.statistics.newest_committed, 20);
}
END_TEST

/* A version that made restarts fail is not taken again, and the ones after it have its numbers. */
START_TEST(restore__steps_back_from_what_is_set_aside)
{
    struct plan plan = {.last_step = 5, .end = SNAP_INTERRUPTED, .waits = true};

    local_ranks_run(RANKS, run_rank, &plan);
    plan = (struct plan){.last_step = 9,
                         .end = SNAP_INTERRUPTED,
                         .waits = true,
                         .set_aside = 5,
                         .expected_version = 4,
                         .expected_source = SNAP_FROM_MEMORY};
    local_ranks_run(RANKS, run_rank, &plan);
    plan = (struct plan){.last_step = 10,
                         .end = SNAP_FINISHED,
                         .expected_version = 9,
                         .expected_source = SNAP_FROM_MEMORY};
    local_ranks_run(RANKS, run_rank, &plan);
    expect_nothing_left();
}
END_TEST

START_TEST(restore__refuses_when_more_is_lost_than_is_covered)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];
    struct plan plan = {.last_step = 3, .end = SNAP_INTERRUPTED, .waits = true};

    local_ranks_run(RANKS, run_rank, &plan);
    for (int node = 0; node < 3; node++) {
        lose_node(node);
    }
    local_ranks_try(RANKS, run_rank, &plan, ranks);
    for (int r = 0; r < RANKS; r++) {
        ck_assert_int_eq(ranks[r].status, ERR_BEYOND_REPAIR);
    }
}
END_TEST

/* What ranks have of their own differs in every test here, and is not compared. */
START_TEST(begin__refuses_a_version_whose_replicas_differ)
{
    static const char *const who[] = {
        [2] = "memory of rank 1 differs from that of rank 0, and no majority tells which is right",
        [3] = "memory of rank 2 differs from that of the other 2 ranks",
        [4] = "memory of rank 3 differs from that of the other 3 ranks"};
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    for (int count = 2; count <= RANKS; count++) {
        struct plan plan = {.last_step = 9,
                            .end = SNAP_INTERRUPTED,
                            .waits = true,
                            .flip_step = 6,
                            .flip_rank = count - 1};
        local_ranks_try(count, run_rank, &plan, ranks);
        for (int r = 0; r < count; r++) {
            ck_assert_int_eq(ranks[r].status, ERR_DIFFERS);
            ck_assert_msg(strstr(ranks[r].text, who[count]) != NULL, "%s", ranks[r].text);
            ck_assert_msg(strstr(ranks[r].text, "at version 6: shared") != NULL, "%s",
                          ranks[r].text);
        }
        ck_assert_int_eq(plan.statistics.refused, 1);
        ck_assert_uint_eq(plan.statistics.newest_committed, 5);
        plan = (struct plan){.last_step = 9,
                             .end = SNAP_FINISHED,
                             .expected_version = 5,
                             .expected_source = SNAP_FROM_MEMORY};
        local_ranks_run(count, run_rank, &plan);
        expect_nothing_left();
    }
}
END_TEST

static enum err protect_another_name(struct comm_group *world, void *context)
{
    char path[FILE_PATH_BYTES_MAX];
    static uint64_t numbers[RANKS];
    struct snap *snap = NULL;
    struct snap_restored from;
    const int rank = comm_rank(world);

    (void)context;
    snprintf(path, sizeof(path), "%.4000s/node%d", folder.path, rank);
    const struct snap_options options = {
        .world = world, .folder = path, .deadline_ms = DEADLINE_MS};
    ERR_TRY(snap_open(&options, &snap));
    enum err status = snap_protect(snap, rank == 1 ? "b" : "a", &numbers[rank], 8, SNAP_REPLICATED);
    if (status == ERR_OK) {
        status = snap_restore(snap, NULL, 0, &from);
    }
    snap_close(snap, SNAP_INTERRUPTED);
    return status;
}

START_TEST(restore__refuses_ranks_that_protect_other_things)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    local_ranks_try(3, protect_another_name, NULL, ranks);
    for (int r = 0; r < 3; r++) {
        ck_assert_int_eq(ranks[r].status, ERR_CONFIG);
        ck_assert_str_eq(ranks[r].text, "rank 1 protects something else than rank 0");
    }
}
END_TEST

/* Four nodes in two racks under 2 + 2. The upper halves of the domains' numbers are all that differs. */
static enum err ask_for_domains(struct comm_group *world, void *context)
{
    char path[FILE_PATH_BYTES_MAX];
    static uint64_t number[RANKS];
    struct snap *snap = NULL;
    struct snap_restored from;
    const int rank = comm_rank(world);

    snprintf(path, sizeof(path), "%.4000s/node%d", folder.path, rank);
    const struct snap_options options = {.world = world,
                                         .folder = path,
                                         .domain = ((uint64_t)(rank % 2) << 40) + 1,
                                         .min_domains = *(const int *)context,
                                         .deadline_ms = DEADLINE_MS};
    ERR_TRY(snap_open(&options, &snap));
    enum err status = snap_protect(snap, "a", &number[rank], 8, SNAP_REPLICATED);
    if (status == ERR_OK) {
        status = snap_restore(snap, NULL, 0, &from);
    }
    if (status == ERR_OK &&
        strcmp(snap_guarantee(snap), "any 2 of 4 nodes; any 1 of 2 domains") != 0) {
        status = ERR_FAIL(ERR_CORRUPT, "%s", snap_guarantee(snap));
    }
    snap_close(snap, SNAP_INTERRUPTED);
    return status;
}

START_TEST(restore__refuses_to_cover_fewer_domains_than_asked_for)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];
    int domains = 1;

    local_ranks_run(RANKS, ask_for_domains, &domains);
    domains = 2;
    local_ranks_try(RANKS, ask_for_domains, &domains, ranks);
    for (int r = 0; r < RANKS; r++) {
        ck_assert_int_eq(ranks[r].status, ERR_CONFIG);
        ck_assert_str_eq(ranks[r].text,
                         "the loss of any 2 domains is to be survived, but what is survived is "
                         "that of any 2 of 4 nodes; any 1 of 2 domains");
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap");
    TCase *tcase = tcase_create("snap");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, run__goes_on_from_memory_after_any_loss_that_is_covered);
    tcase_add_test(tcase, restore__removes_nothing_of_other_names);
    tcase_add_test(tcase, begin__skips_on_all_ranks_what_comes_too_soon);
    tcase_add_test(tcase, restore__steps_back_from_what_is_set_aside);
    tcase_add_test(tcase, restore__refuses_when_more_is_lost_than_is_covered);
    tcase_add_test(tcase, begin__refuses_a_version_whose_replicas_differ);
    tcase_add_test(tcase, restore__refuses_ranks_that_protect_other_things);
    tcase_add_test(tcase, restore__refuses_to_cover_fewer_domains_than_asked_for);
    suite_add_tcase(suite, tcase);
    return suite;
}
