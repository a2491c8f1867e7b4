/* MPI tests of comm/group/comm_nccl.c: what ranks that are threads do (tests/gpu), processes do, too. */
#include <check.h>

#include "tests/support/err_expect.h"
#include "tests/support/nccl_case.h"
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

START_TEST(tree__gives_the_bits_of_host_memory)
{
    EXPECT_OK(nccl_case_tree(world, NULL));
}
END_TEST

START_TEST(library__gives_every_rank_the_same_sum)
{
    EXPECT_OK(nccl_case_library(world, NULL));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_nccl_mpi");
    TCase *tcase = tcase_create("comm_nccl_mpi");

    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, tree__gives_the_bits_of_host_memory);
    tcase_add_test(tcase, library__gives_every_rank_the_same_sum);
    suite_add_tcase(suite, tcase);
    return suite;
}
