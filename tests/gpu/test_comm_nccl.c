/*
 * Tests of comm/group/comm_nccl.c: ranks are threads, each with a device of its own, simulated or
 * real. On a machine with fewer devices than a case has ranks, that case is left out, and said so.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/nccl_case.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = NCCL_CASE_RANKS_MAX, SHORT_MS = 400, ORDER_MS = 5000 };

static bool has_devices(int count)
{
    struct device *device = NULL;
    const enum err status = device_open(DEVICE_CUDA, count - 1, count, &device);

    if (status != ERR_OK) {
        char text[300];
        err_text(text, sizeof(text));
        printf("LEFT OUT: %d ranks: %s\n", count, text);
        ck_assert_msg(count > 1, "no device: %s", text);
    }
    device_close(device);
    return status == ERR_OK;
}

START_TEST(tree__gives_the_bits_of_host_memory_with_any_number_of_ranks)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, nccl_case_tree, NULL);
    }
}
END_TEST

START_TEST(library__gives_every_rank_the_same_sum)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, nccl_case_library, NULL);
    }
}
END_TEST

static enum err expect(enum err found, enum err expected, const char *part)
{
    char text[512];

    err_text(text, sizeof(text));
    if (found != expected || strstr(text, part) == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %s; expected %s: %s", err_phrase(found), text,
                        err_phrase(expected), part);
    }
    return ERR_OK;
}

/* In vain, or until a rank that waited in vain has left: whose wait is over first, nobody knows. */
static enum err expect_in_vain(enum err found)
{
    return found == ERR_COLLECTIVE ? expect(found, ERR_COLLECTIVE, "remote process exited")
                                   : expect(found, ERR_TIMEOUT, "in vain");
}

/* The last rank starts no bucket: the others wait in vain, and then nothing more is done. */
static enum err wait_in_vain(struct comm_group *group, void *context)
{
    const bool is_last = comm_rank(group) == comm_size(group) - 1;
    struct comm_group *copy = NULL;
    struct nccl_case rank;
    int64_t nobody = 0;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copy, COMM_REDUCE_TREE, GROUP_CASE_DEADLINE_MS, &rank));
    if (!is_last) {
        const int64_t begin_ms = clock_now_ms();
        ERR_TRY(comm_reduce_start(rank.reduce, GROUP_CASE_BUCKETS - 1, rank.values));
        const enum err waited = comm_reduce_wait(rank.reduce, SHORT_MS);
        ERR_TRY(expect_in_vain(waited));
        if (waited == ERR_TIMEOUT && clock_now_ms() - begin_ms < SHORT_MS) {
            return ERR_FAIL(ERR_CORRUPT, "the wait was short");
        }
        ERR_TRY(expect(comm_reduce_start(rank.reduce, 0, rank.values), ERR_COLLECTIVE, "broken"));
        /* The device is free again: nothing of NCCL is left there. */
        ERR_TRY(device_wait(rank.stream, GROUP_CASE_DEADLINE_MS));
    }
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody)); /* the last outlives it */
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(wait__times_out_when_a_rank_never_starts_and_frees_the_device)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, wait_in_vain, NULL);
    }
}
END_TEST

/* Sums with a wait that a test of what goes wrong has time for. */
static enum err sum_in_order(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct nccl_case rank;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copy, COMM_REDUCE_TREE, ORDER_MS, &rank));
    for (int step = 0; step < NCCL_CASE_STEPS; step++) {
        nccl_case_fill(rank.host, comm_rank(group), step);
        ERR_TRY(nccl_case_sum(&rank, ORDER_MS));
    }
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(order__of_calls_is_the_same_on_all_ranks)
{
    if (has_devices(2)) {
        local_ranks_run(2, sum_in_order, NULL);
    }
}
END_TEST

/* The last rank starts the buckets the other way round. On a GPU they would wait for each other for ever. */
static enum err start_in_other_order(struct comm_group *group, void *context)
{
    const bool is_last = comm_rank(group) == comm_size(group) - 1;
    const int first = is_last ? 0 : GROUP_CASE_BUCKETS - 1;
    struct comm_group *copy = NULL;
    struct nccl_case rank;
    int64_t nobody = 0;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copy, COMM_REDUCE_TREE, GROUP_CASE_DEADLINE_MS, &rank));
    ERR_TRY(comm_reduce_start(rank.reduce, first, rank.values));
    ERR_TRY(comm_reduce_start(rank.reduce, GROUP_CASE_BUCKETS - 1 - first, rank.values));
    ERR_TRY(expect_in_vain(comm_reduce_wait(rank.reduce, SHORT_MS)));
    ERR_TRY(device_wait(rank.stream, GROUP_CASE_DEADLINE_MS));
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody));
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(order__that_differs_ends_as_an_error_in_time)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, start_in_other_order, NULL);
    }
}
END_TEST

/* A simulated device is asked to fail in the second sum, the first after an open, of rank 1. */
static enum err meet_an_error(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct nccl_case rank;
    int64_t nobody = 0;

    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copy, COMM_REDUCE_LIBRARY, GROUP_CASE_DEADLINE_MS, &rank));
    const int64_t begin_ms = clock_now_ms();
    enum err met = comm_reduce_start(rank.reduce, GROUP_CASE_BUCKETS - 1, rank.values);
    if (met == ERR_OK) { /* the start may have met it already */
        met = comm_reduce_wait(rank.reduce, GROUP_CASE_DEADLINE_MS);
    }
    ERR_TRY(expect(met, ERR_COLLECTIVE, comm_rank(group) == 1 ? context : "remote process exited"));
    if (clock_now_ms() - begin_ms > GROUP_CASE_DEADLINE_MS / 2) {
        return ERR_FAIL(ERR_CORRUPT, "the error was waited out");
    }
    ERR_TRY(device_wait(rank.stream, GROUP_CASE_DEADLINE_MS));
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody));
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(wait__tells_what_nccl_met_here_and_at_a_peer)
{
    struct device *device = NULL;

    EXPECT_OK(device_open(DEVICE_CUDA, 0, 1, &device));
    const bool is_simulated = strstr(device_name(device), "Simulated") != NULL;
    device_close(device);
    if (is_simulated && has_devices(_i)) {
        setenv("CUDASIM_NCCL_FAULT", "error@2/1", 1);
        local_ranks_run(_i, meet_an_error, "a fault that was asked for");
        unsetenv("CUDASIM_NCCL_FAULT");
    }
}
END_TEST

/* The last rank does not open; the others have a name for the communicator, and nobody to meet. */
static enum err open_in_vain(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct nccl_case rank;
    int64_t nobody = 0;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    if (comm_rank(group) != comm_size(group) - 1) {
        ERR_TRY(expect(nccl_case_open_reduce(copy, COMM_REDUCE_TREE, SHORT_MS, &rank), ERR_TIMEOUT,
                       "in vain"));
    }
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody));
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(open__times_out_when_a_rank_does_not_come)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, open_in_vain, NULL);
    }
}
END_TEST

static enum err open_wrongly(struct comm_group *group, void *context)
{
    static const int64_t negative[] = {4, -1};
    struct comm_nccl_args args = {.order = COMM_REDUCE_TREE,
                                  .add = kern_add_cuda,
                                  .bucket_elems = negative,
                                  .bucket_count = 2,
                                  .deadline_ms = SHORT_MS};
    struct nccl_case rank;

    (void)context;
    ERR_TRY(nccl_case_open_device(group, &rank));
    args.device = rank.device;
    args.stream = rank.stream;
    ERR_TRY(expect(comm_nccl_open(group, &args, &rank.reduce), ERR_INVALID, "bucket of -1"));
    args.bucket_count = 0;
    ERR_TRY(expect(comm_nccl_open(group, &args, &rank.reduce), ERR_INVALID, "0 buckets"));
    nccl_case_close(&rank);
    return ERR_OK;
}

START_TEST(open__refuses_what_cannot_be_summed)
{
    if (has_devices(1)) {
        local_ranks_run(1, open_wrongly, NULL);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_nccl");
    TCase *tcase = tcase_create("comm_nccl");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, tree__gives_the_bits_of_host_memory_with_any_number_of_ranks, 1,
                        RANKS_MAX + 1);
    tcase_add_loop_test(tcase, library__gives_every_rank_the_same_sum, 1, RANKS_MAX + 1);
    tcase_add_loop_test(tcase, wait__times_out_when_a_rank_never_starts_and_frees_the_device, 2, 4);
    tcase_add_loop_test(tcase, wait__tells_what_nccl_met_here_and_at_a_peer, 2, 4);
    tcase_add_loop_test(tcase, open__times_out_when_a_rank_does_not_come, 2, 4);
    tcase_add_test(tcase, open__refuses_what_cannot_be_summed);
    suite_add_tcase(suite, tcase);
    TCase *order = tcase_create("order"); /* by itself for a mutant, with CK_RUN_CASE */
    tcase_set_timeout(order, 120);
    tcase_add_test(order, order__of_calls_is_the_same_on_all_ranks);
    tcase_add_loop_test(order, order__that_differs_ends_as_an_error_in_time, 2, 4);
    suite_add_tcase(suite, order);
    return suite;
}
