/*
 * tests/support/nccl_case.h - sums over ranks of device memory, as functions that each rank calls;
 * ERR_CORRUPT if a result is wrong.
 */
#ifndef TESTS_SUPPORT_NCCL_CASE_H
#define TESTS_SUPPORT_NCCL_CASE_H

#include <string.h>

#include "comm/group/comm_nccl.h"
#include "tests/support/group_case.h"
#include "trainer/kernels/kern_update.h"

enum { NCCL_CASE_RANKS_MAX = 8, NCCL_CASE_STEPS = 3, NCCL_CASE_ELEMS = GROUP_CASE_ELEMS };

/* What a rank computes with. */
struct nccl_case {
    struct device *device;
    struct device_stream *stream;
    float *values; /* [NCCL_CASE_ELEMS] on the device */
    float *host;   /* [NCCL_CASE_ELEMS] pinned */
    struct comm_reduce *reduce;
};

static inline enum err nccl_case_open_device(struct comm_group *group, struct nccl_case *rank)
{
    *rank = (struct nccl_case){0};
    ERR_TRY(
        device_open(DEVICE_CUDA, comm_local_rank(group), comm_local_size(group), &rank->device));
    ERR_TRY(device_stream_open(rank->device, DEVICE_PRIORITY_NORMAL, &rank->stream));
    ERR_TRY(device_memory_open_f32(rank->device, NCCL_CASE_ELEMS, "values", &rank->values));
    void *host = NULL;
    ERR_TRY(device_pinned_open(rank->device, NCCL_CASE_ELEMS * sizeof(float), "values", &host));
    rank->host = host;
    device_use(rank->stream);
    return ERR_OK;
}

static inline enum err nccl_case_open_reduce(struct comm_group *group, enum comm_reduce_order order,
                                             int64_t deadline_ms, struct nccl_case *rank)
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

static inline void nccl_case_close(struct nccl_case *rank)
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
static inline enum err nccl_case_sum(struct nccl_case *rank, int64_t deadline_ms)
{
    int64_t end = NCCL_CASE_ELEMS;

    ERR_TRY(device_copy(rank->stream, rank->values, rank->host, NCCL_CASE_ELEMS * sizeof(float)));
    for (int b = GROUP_CASE_BUCKETS - 1; b >= 0; b--) {
        end -= group_case_buckets[b];
        ERR_TRY(comm_reduce_start(rank->reduce, b, rank->values + end));
        ERR_TRY(comm_reduce_poll(rank->reduce));
    }
    ERR_TRY(comm_reduce_wait(rank->reduce, deadline_ms));
    if (comm_reduce_under_way(rank->reduce)) {
        return ERR_FAIL(ERR_CORRUPT, "under way after the wait");
    }
    ERR_TRY(device_copy(rank->stream, rank->host, rank->values, NCCL_CASE_ELEMS * sizeof(float)));
    return device_wait(rank->stream, GROUP_CASE_DEADLINE_MS);
}

static inline void nccl_case_fill(float *values, int rank, int step)
{
    for (int64_t i = 0; i < NCCL_CASE_ELEMS; i++) {
        values[i] = group_case_value(rank + 100 * step, i);
    }
}

/* A few steps; each has the bits that messages between host memories give. */
static inline enum err nccl_case_tree(struct comm_group *group, void *context)
{
    static float sums[NCCL_CASE_RANKS_MAX][NCCL_CASE_ELEMS]; /* a row a rank */
    float *const expected = sums[comm_rank(group)];
    struct comm_group *copies[2] = {NULL, NULL};
    struct nccl_case rank;

    (void)context;
    for (int i = 0; i < 2; i++) {
        ERR_TRY(comm_duplicate(group, &copies[i]));
    }
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copies[0], COMM_REDUCE_TREE, GROUP_CASE_DEADLINE_MS, &rank));
    for (int step = 0; step < NCCL_CASE_STEPS; step++) {
        nccl_case_fill(expected, comm_rank(group), step);
        ERR_TRY(group_case_sum(copies[1], COMM_REDUCE_TREE, expected));
        nccl_case_fill(rank.host, comm_rank(group), step);
        ERR_TRY(nccl_case_sum(&rank, GROUP_CASE_DEADLINE_MS));
        if (memcmp(expected, rank.host, NCCL_CASE_ELEMS * sizeof(float)) != 0) {
            return ERR_FAIL(ERR_CORRUPT, "other bits in step %d", step);
        }
    }
    nccl_case_close(&rank);
    comm_close(copies[1]);
    comm_close(copies[0]);
    return ERR_OK;
}

static inline enum err nccl_case_library(struct comm_group *group, void *context)
{
    struct comm_group *copy = NULL;
    struct nccl_case rank;

    (void)context;
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(nccl_case_open_device(group, &rank));
    ERR_TRY(nccl_case_open_reduce(copy, COMM_REDUCE_LIBRARY, GROUP_CASE_DEADLINE_MS, &rank));
    nccl_case_fill(rank.host, comm_rank(group), 0);
    ERR_TRY(nccl_case_sum(&rank, GROUP_CASE_DEADLINE_MS));
    ERR_TRY(group_case_check_sum(group, rank.host));
    nccl_case_close(&rank);
    comm_close(copy);
    return ERR_OK;
}

#endif
