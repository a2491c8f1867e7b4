/* Unit tests of comm/group/comm_group.c over threads, and of a rank that nobody launched. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdlib.h>

#include "tests/support/err_expect.h"
#include "tests/support/group_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = 9 };

START_TEST(broadcast__gives_every_rank_the_bytes_of_each_root)
{
    local_ranks_run(_i, group_case_broadcast, NULL);
}
END_TEST

START_TEST(allgather__gives_every_rank_all_blocks)
{
    local_ranks_run(_i, group_case_allgather, NULL);
}
END_TEST

START_TEST(agree_max__gives_every_rank_the_largest)
{
    local_ranks_run(_i, group_case_agree, NULL);
}
END_TEST

START_TEST(find_differing__names_the_first_rank_that_is_not_like_rank_0)
{
    local_ranks_run(_i, group_case_differing, NULL);
}
END_TEST

START_TEST(duplicate__keeps_the_traffic_apart)
{
    local_ranks_run(_i, group_case_duplicate, NULL);
}
END_TEST

START_TEST(local_open__refuses_a_number_of_ranks_that_cannot_be)
{
    struct comm_group *groups[COMM_LOCAL_RANKS_MAX];
    struct comm_local *local = NULL;

    EXPECT_ERR(comm_local_open(0, groups, &local), ERR_INVALID, "0 ranks");
    EXPECT_ERR(comm_local_open(COMM_LOCAL_RANKS_MAX + 1, groups, &local), ERR_INVALID, "65 ranks");
    comm_local_close(NULL);
    comm_close(NULL);
}
END_TEST

static void forget_launchers(void)
{
    static const char *const variables[] = {
        "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",   "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS",
        "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        unsetenv(variables[i]);
    }
}

START_TEST(start__is_one_rank_that_does_everything_alone_without_a_launcher)
{
    struct comm_group *world = NULL;
    float values[GROUP_CASE_ELEMS];

    forget_launchers();
    EXPECT_OK(comm_start(&world));
    ck_assert_int_eq(comm_size(world), 1);
    ck_assert_int_eq(comm_rank(world), 0);
    ck_assert_int_eq(comm_local_rank(world), 0);
    ck_assert_int_eq(comm_local_size(world), 1);
    ck_assert_str_eq(comm_launcher(world), "none");
    EXPECT_OK(group_case_broadcast(world, NULL));
    EXPECT_OK(group_case_allgather(world, NULL));
    EXPECT_OK(group_case_agree(world, NULL));
    EXPECT_OK(group_case_differing(world, NULL));
    EXPECT_OK(group_case_duplicate(world, NULL));
    for (int order = COMM_REDUCE_TREE; order <= COMM_REDUCE_LIBRARY; order++) {
        for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
            values[i] = group_case_value(0, i);
        }
        EXPECT_OK(group_case_sum(world, (enum comm_reduce_order)order, values));
        for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
            ck_assert_double_eq(values[i], group_case_value(0, i));
        }
    }
    comm_stop(world, 1);
}
END_TEST

START_TEST(launched_rank__is_what_the_launcher_says)
{
    forget_launchers();
    ck_assert_int_eq(comm_launched_rank(), 0);
    setenv("SLURM_PROCID", "5", 1);
    ck_assert_int_eq(comm_launched_rank(), 5);
    setenv("OMPI_COMM_WORLD_RANK", "3", 1);
    ck_assert_int_eq(comm_launched_rank(), 3);
}
END_TEST

START_TEST(start__refuses_to_be_one_of_many_jobs_of_one_rank)
{
    struct comm_group *world = NULL;

    forget_launchers();
    setenv("PMI_SIZE", "4", 1);
    EXPECT_ERR(comm_start(&world), ERR_USAGE, "PMI launched 4 copies");
    setenv("PMI_SIZE", "1", 1);
    EXPECT_OK(comm_start(&world));
    comm_stop(world, 1);
    unsetenv("PMI_SIZE");
    setenv("SLURM_STEP_NUM_TASKS", "3", 1); /* as a batch step has it, and no step of ours */
    EXPECT_OK(comm_start(&world));
    comm_stop(world, 1);
    setenv("SLURM_STEP_ID", "0", 1);
    EXPECT_ERR(comm_start(&world), ERR_USAGE, "srun launched 3 copies");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_group");
    TCase *tcase = tcase_create("comm_group");

    tcase_add_loop_test(tcase, broadcast__gives_every_rank_the_bytes_of_each_root, 1,
                        RANKS_MAX + 1);
    tcase_add_loop_test(tcase, allgather__gives_every_rank_all_blocks, 1, RANKS_MAX + 1);
    tcase_add_loop_test(tcase, agree_max__gives_every_rank_the_largest, 1, RANKS_MAX + 1);
    tcase_add_loop_test(tcase, find_differing__names_the_first_rank_that_is_not_like_rank_0, 1,
                        RANKS_MAX + 1);
    tcase_add_loop_test(tcase, duplicate__keeps_the_traffic_apart, 1, RANKS_MAX + 1);
    tcase_add_test(tcase, local_open__refuses_a_number_of_ranks_that_cannot_be);
    tcase_add_test(tcase, start__is_one_rank_that_does_everything_alone_without_a_launcher);
    tcase_add_test(tcase, launched_rank__is_what_the_launcher_says);
    tcase_add_test(tcase, start__refuses_to_be_one_of_many_jobs_of_one_rank);
    suite_add_tcase(suite, tcase);
    return suite;
}
