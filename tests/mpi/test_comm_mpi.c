/* MPI tests of comm/group: what threads do (tests/unit), processes do too, with the same bits. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/err_expect.h"
#include "tests/support/group_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"

static struct comm_group *world;

static void set_up(void)
{
    EXPECT_OK(comm_start(&world));
}

static void tear_down(void)
{
    comm_stop(world, 1);
}

START_TEST(start__finds_the_ranks_that_the_launcher_told)
{
    const char *const told = getenv("OMPI_COMM_WORLD_SIZE");
    const char *const rank = getenv("OMPI_COMM_WORLD_RANK");

    ck_assert_ptr_nonnull(told);
    ck_assert_ptr_nonnull(rank);
    ck_assert_int_eq(comm_size(world), strtol(told, NULL, 10));
    ck_assert_int_eq(comm_rank(world), strtol(rank, NULL, 10));
    ck_assert_int_eq(comm_local_rank(world), comm_rank(world)); /* all on this host */
    ck_assert_int_eq(comm_local_size(world), comm_size(world));
    ck_assert_ptr_nonnull(strstr(comm_launcher(world), "Open MPI"));
}
END_TEST

START_TEST(collectives__give_every_rank_the_same_as_threads)
{
    EXPECT_OK(group_case_broadcast(world, NULL));
    EXPECT_OK(group_case_allgather(world, NULL));
    EXPECT_OK(group_case_agree(world, NULL));
    EXPECT_OK(group_case_duplicate(world, NULL));
}
END_TEST

/* The sum over threads, of as many ranks; rank 0's goes to context [GROUP_CASE_ELEMS]. */
static enum err sum_on_thread(struct comm_group *group, void *context)
{
    float *values = malloc(GROUP_CASE_ELEMS * sizeof(*values));

    if (values == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "values");
    }
    for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
        values[i] = group_case_value(comm_rank(group), i);
    }
    const enum err status = group_case_sum(group, COMM_REDUCE_TREE, values);
    if (comm_rank(group) == 0) {
        memcpy(context, values, GROUP_CASE_ELEMS * sizeof(*values));
    }
    free(values);
    return status;
}

START_TEST(tree__gives_the_bits_that_threads_give)
{
    static float sums[GROUP_CASE_ELEMS], expected[GROUP_CASE_ELEMS];

    local_ranks_run(comm_size(world), sum_on_thread, expected);
    for (int run = 0; run < 3; run++) {
        struct comm_group *copy = NULL;
        for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
            sums[i] = group_case_value(comm_rank(world), i);
        }
        EXPECT_OK(comm_duplicate(world, &copy));
        EXPECT_OK(group_case_sum(copy, COMM_REDUCE_TREE, sums));
        comm_close(copy);
        ck_assert_int_eq(memcmp(sums, expected, sizeof(sums)), 0);
    }
}
END_TEST

START_TEST(library__gives_every_rank_the_same_sum)
{
    static float sums[GROUP_CASE_ELEMS];
    struct comm_group *copy = NULL;

    for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
        sums[i] = group_case_value(comm_rank(world), i);
    }
    EXPECT_OK(comm_duplicate(world, &copy));
    EXPECT_OK(group_case_sum(copy, COMM_REDUCE_LIBRARY, sums));
    comm_close(copy);
    EXPECT_OK(group_case_check_sum(world, sums));
}
END_TEST

START_TEST(agree_max__times_out_when_a_rank_never_comes_and_leaves_other_groups_whole)
{
    struct comm_group *copy = NULL;
    int64_t max = 0;

    EXPECT_OK(comm_duplicate(world, &copy));
    if (comm_rank(world) != 0) {
        EXPECT_ERR(comm_agree_max(copy, 0, 200, &max), ERR_TIMEOUT, "waited in vain");
        EXPECT_ERR(comm_agree_max(copy, 0, 200, &max), ERR_COLLECTIVE, "broken group");
    }
    comm_close(copy);
    EXPECT_OK(comm_agree_max(world, comm_rank(world), GROUP_CASE_DEADLINE_MS, &max));
    ck_assert_int_eq(max, comm_size(world) - 1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_mpi");
    TCase *tcase = tcase_create("comm_mpi");

    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, start__finds_the_ranks_that_the_launcher_told);
    tcase_add_test(tcase, collectives__give_every_rank_the_same_as_threads);
    tcase_add_test(tcase, tree__gives_the_bits_that_threads_give);
    tcase_add_test(tcase, library__gives_every_rank_the_same_sum);
    tcase_add_test(tcase,
                   agree_max__times_out_when_a_rank_never_comes_and_leaves_other_groups_whole);
    suite_add_tcase(suite, tcase);
    return suite;
}
