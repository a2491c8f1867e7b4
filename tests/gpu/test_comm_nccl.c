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
#include "comm/group/comm_nccl.h"
#include "tests/support/err_expect.h"
#include "tests/support/group_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_update.h"

enum { RANKS_MAX = 8, STEPS = 3, SHORT_MS = 400, ELEMS = GROUP_CASE_ELEMS };

/* What a rank computes with. */
struct rank {
    struct device *device;
    struct device_stream *stream;
    float *values; /* [ELEMS] on the device */
    float *host;   /* [ELEMS] pinned */
    struct comm_reduce *reduce;
};

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

static enum err open_device(struct comm_group *group, struct rank *rank)
{
    *rank = (struct rank){0};
    ERR_TRY(device_open(DEVICE_CUDA, comm_rank(group), comm_size(group), &rank->device));
    ERR_TRY(device_stream_open(rank->device, DEVICE_PRIORITY_NORMAL, &rank->stream));
    ERR_TRY(device_memory_open_f32(rank->device, ELEMS, "values", &rank->values));
    void *host = NULL;
    ERR_TRY(device_pinned_open(rank->device, ELEMS * sizeof(float), "values", &host));
    rank->host = host;
    device_use(rank->stream);
    return ERR_OK;
}

static enum err open_reduce(struct comm_group *group, enum comm_reduce_order order,
                            int64_t deadline_ms, struct rank *rank)
{
    const struct comm_nccl_args args = {.device = rank->device,
                                        .stream = rank->stream,
                                        .order = order,
                                        .add = kern_add_cuda,
                                        .bucket_elems = group_case_buckets,
                                        .bucket_count = GROUP_CASE_BUCKETS,
                                        .deadline_ms = deadline_ms};

    return comm_nccl_open(group, &args, &rank->reduce);
}

static void close_rank(struct rank *rank)
{
    comm_reduce_close(rank->reduce);
    device_use(NULL);
    device_pinned_close(rank->device, rank->host);
    device_memory_close(rank->device, rank->values);
    device_stream_close(rank->stream);
    device_close(rank->device);
}

/*
 * rank->host becomes the sum over the ranks of what is there. The copies are on the stream of the
 * values, and nobody waits for them but the sums.
 */
static enum err sum(struct rank *rank)
{
    int64_t end = ELEMS;

    ERR_TRY(device_copy(rank->stream, rank->values, rank->host, ELEMS * sizeof(float)));
    for (int b = GROUP_CASE_BUCKETS - 1; b >= 0; b--) {
        end -= group_case_buckets[b];
        ERR_TRY(comm_reduce_start(rank->reduce, b, rank->values + end));
        ERR_TRY(comm_reduce_poll(rank->reduce));
    }
    ERR_TRY(comm_reduce_wait(rank->reduce, GROUP_CASE_DEADLINE_MS));
    if (comm_reduce_under_way(rank->reduce)) {
        return ERR_FAIL(ERR_CORRUPT, "under way after the wait");
    }
    ERR_TRY(device_copy(rank->stream, rank->host, rank->values, ELEMS * sizeof(float)));
    return device_wait(rank->stream, GROUP_CASE_DEADLINE_MS);
}

static void fill(float *values, int rank, int step)
{
    for (int64_t i = 0; i < ELEMS; i++) {
        values[i] = group_case_value(rank + 100 * step, i);
    }
}

/* A few steps; each has the bits that messages between host memories give. */
static enum err sum_as_hosts_do(struct comm_group *group, void *context)
{
    static float sums[RANKS_MAX][ELEMS]; /* a row a rank */
    float *const expected = sums[comm_rank(group)];
    struct comm_group *copies[2] = {NULL, NULL};
    struct rank rank;

    (void)context;
    for (int i = 0; i < 2; i++) {
        ERR_TRY(comm_duplicate(group, &copies[i]));
    }
    ERR_TRY(open_device(group, &rank));
    ERR_TRY(open_reduce(copies[0], COMM_REDUCE_TREE, GROUP_CASE_DEADLINE_MS, &rank));
    for (int step = 0; step < STEPS; step++) {
        fill(expected, comm_rank(group), step);
        ERR_TRY(group_case_sum(copies[1], COMM_REDUCE_TREE, expected));
        fill(rank.host, comm_rank(group), step);
        ERR_TRY(sum(&rank));
        if (memcmp(expected, rank.host, ELEMS * sizeof(float)) != 0) {
            return ERR_FAIL(ERR_CORRUPT, "other bits in step %d", step);
        }
    }
    close_rank(&rank);
    comm_close(copies[1]);
    comm_close(copies[0]);
    return ERR_OK;
}

START_TEST(tree__gives_the_bits_of_host_memory_with_any_number_of_ranks)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, sum_as_hosts_do, NULL);
    }
}
END_TEST

static enum err sum_by_library(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct rank rank;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(open_device(group, &rank));
    ERR_TRY(open_reduce(copy, COMM_REDUCE_LIBRARY, GROUP_CASE_DEADLINE_MS, &rank));
    fill(rank.host, comm_rank(group), 0);
    ERR_TRY(sum(&rank));
    ERR_TRY(group_case_check_sum(group, rank.host));
    close_rank(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(library__gives_every_rank_the_same_sum)
{
    if (has_devices(_i)) {
        local_ranks_run(_i, sum_by_library, NULL);
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

/* The last rank starts no bucket: the others wait in vain, and then nothing more is done. */
static enum err wait_in_vain(struct comm_group *group, void *context)
{
    const bool is_last = comm_rank(group) == comm_size(group) - 1;
    struct comm_group *copy = NULL;
    struct rank rank;
    int64_t nobody = 0;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(open_device(group, &rank));
    ERR_TRY(open_reduce(copy, COMM_REDUCE_TREE, GROUP_CASE_DEADLINE_MS, &rank));
    if (!is_last) {
        const int64_t begin_ms = clock_now_ms();
        ERR_TRY(comm_reduce_start(rank.reduce, GROUP_CASE_BUCKETS - 1, rank.values));
        ERR_TRY(expect(comm_reduce_wait(rank.reduce, SHORT_MS), ERR_TIMEOUT, "in vain"));
        if (clock_now_ms() - begin_ms < SHORT_MS) {
            return ERR_FAIL(ERR_CORRUPT, "the wait was short");
        }
        ERR_TRY(expect(comm_reduce_start(rank.reduce, 0, rank.values), ERR_COLLECTIVE, "broken"));
        /* The device is free again: nothing of NCCL is left there. */
        ERR_TRY(device_wait(rank.stream, GROUP_CASE_DEADLINE_MS));
    }
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody)); /* the last outlives it */
    close_rank(&rank);
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

/* A simulated device is asked to fail in the second sum, the first after an open, of rank 1. */
static enum err meet_an_error(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct rank rank;
    int64_t nobody = 0;

    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(open_device(group, &rank));
    ERR_TRY(open_reduce(copy, COMM_REDUCE_LIBRARY, GROUP_CASE_DEADLINE_MS, &rank));
    const int64_t begin_ms = clock_now_ms();
    ERR_TRY(comm_reduce_start(rank.reduce, GROUP_CASE_BUCKETS - 1, rank.values));
    ERR_TRY(expect(comm_reduce_wait(rank.reduce, GROUP_CASE_DEADLINE_MS), ERR_COLLECTIVE,
                   comm_rank(group) == 1 ? context : "remote process exited"));
    if (clock_now_ms() - begin_ms > GROUP_CASE_DEADLINE_MS / 2) {
        return ERR_FAIL(ERR_CORRUPT, "the error was waited out");
    }
    ERR_TRY(device_wait(rank.stream, GROUP_CASE_DEADLINE_MS));
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody));
    close_rank(&rank);
    comm_close(copy);
    return ERR_OK;
}

START_TEST(wait__tells_what_nccl_met_here_and_at_a_peer)
{
    struct device *device = NULL;

    EXPECT_OK(device_open(DEVICE_CUDA, 0, 1, &device));
    const bool is_simulated = strstr(device_name(device), "Simulated") != NULL;
    device_close(device);
    if (is_simulated) {
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
    struct rank rank;
    int64_t nobody = 0;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(open_device(group, &rank));
    if (comm_rank(group) != comm_size(group) - 1) {
        ERR_TRY(
            expect(open_reduce(copy, COMM_REDUCE_TREE, SHORT_MS, &rank), ERR_TIMEOUT, "in vain"));
    }
    ERR_TRY(comm_agree_max(group, 0, GROUP_CASE_DEADLINE_MS, &nobody));
    close_rank(&rank);
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
    struct rank rank;

    (void)context;
    ERR_TRY(open_device(group, &rank));
    args.device = rank.device;
    args.stream = rank.stream;
    ERR_TRY(expect(comm_nccl_open(group, &args, &rank.reduce), ERR_INVALID, "bucket of -1"));
    args.bucket_count = 0;
    ERR_TRY(expect(comm_nccl_open(group, &args, &rank.reduce), ERR_INVALID, "0 buckets"));
    close_rank(&rank);
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
    return suite;
}
