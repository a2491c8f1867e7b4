/*
 * tests/support/group_case.h - what every kind of group has to do, as functions that each
 * rank calls; ERR_CORRUPT if a result is wrong.
 */
#ifndef TESTS_SUPPORT_GROUP_CASE_H
#define TESTS_SUPPORT_GROUP_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"
#include "comm/group/comm_group.h"
#include "comm/group/comm_reduce.h"
#include "tests/support/bytes_from_seed.h"

enum { GROUP_CASE_DEADLINE_MS = 30000, GROUP_CASE_BYTES_MAX = 100000 };

static inline enum err group_case_broadcast(struct comm_group *group, void *context)
{
    static const size_t counts[] = {0, 1, 7, 4096, GROUP_CASE_BYTES_MAX};
    uint8_t *bytes = malloc(GROUP_CASE_BYTES_MAX);
    uint8_t *expected = malloc(GROUP_CASE_BYTES_MAX);
    enum err status = bytes == NULL || expected == NULL ? ERR_FAIL(ERR_NO_MEMORY, "bytes") : ERR_OK;

    (void)context;
    for (int root = 0; root < comm_size(group) && status == ERR_OK; root++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]) && status == ERR_OK; c++) {
            bytes_from_seed(expected, counts[c], (uint64_t)root * 10 + c);
            memset(bytes, comm_rank(group), GROUP_CASE_BYTES_MAX);
            if (comm_rank(group) == root) {
                memcpy(bytes, expected, counts[c]);
            }
            status = comm_broadcast(group, bytes, counts[c], root, GROUP_CASE_DEADLINE_MS);
            if (status == ERR_OK && memcmp(bytes, expected, counts[c]) != 0) {
                status = ERR_FAIL(ERR_CORRUPT, "%zu bytes of root %d are others", counts[c], root);
            }
        }
    }
    free(expected);
    free(bytes);
    return status;
}

static inline enum err group_case_allgather(struct comm_group *group, void *context)
{
    static const size_t block_bytes[] = {0, 1, 8, 999, 10007};
    const size_t size = (size_t)comm_size(group);
    const size_t rank = (size_t)comm_rank(group);
    uint8_t *blocks = malloc(size * 10007);
    uint8_t *expected = malloc(size * 10007);
    enum err status =
        blocks == NULL || expected == NULL ? ERR_FAIL(ERR_NO_MEMORY, "blocks") : ERR_OK;

    (void)context;
    for (size_t c = 0; c < sizeof(block_bytes) / sizeof(block_bytes[0]) && status == ERR_OK; c++) {
        const size_t count = block_bytes[c];
        for (size_t r = 0; r < size; r++) {
            bytes_from_seed(expected + r * count, count, r + 100 * c);
        }
        memset(blocks, 0xee, size * 10007);
        memcpy(blocks + rank * count, expected + rank * count, count);
        status = comm_allgather(group, blocks, count, GROUP_CASE_DEADLINE_MS);
        if (status == ERR_OK && memcmp(blocks, expected, size * count) != 0) {
            status = ERR_FAIL(ERR_CORRUPT, "gathered blocks of %zu bytes are others", count);
        }
    }
    free(expected);
    free(blocks);
    return status;
}

static inline enum err group_case_agree(struct comm_group *group, void *context)
{
    const int size = comm_size(group);
    int64_t max = 0;

    (void)context;
    for (int highest = 0; highest < size; highest++) { /* each rank once has the largest */
        for (int64_t top = -1; top <= 1; top++) {
            const int64_t mine =
                comm_rank(group) == highest ? top : top - 1 - comm_rank(group) - highest;
            ERR_TRY(comm_agree_max(group, mine, GROUP_CASE_DEADLINE_MS, &max));
            if (max != top) {
                return ERR_FAIL(ERR_CORRUPT, "agreed on %d, rank %d had %d", (int)max, highest,
                                (int)top);
            }
        }
    }
    return ERR_OK;
}

static inline enum err group_case_differing(struct comm_group *group, void *context)
{
    const int size = comm_size(group), rank = comm_rank(group);
    int first = 0;

    (void)context;
    for (int odd = 0; odd <= size; odd++) { /* the first that is not like rank 0, if any */
        const int expected = odd == 0 || odd == size ? -1 : odd;
        const uint64_t mine = rank < odd ? UINT64_MAX : odd == 0 ? 1 : (uint64_t)rank;
        ERR_TRY(comm_find_differing(group, mine, GROUP_CASE_DEADLINE_MS, &first));
        if (first != expected) {
            return ERR_FAIL(ERR_CORRUPT, "found %d, it is %d", first, expected);
        }
    }
    return ERR_OK;
}

/* Traffic of a group and of its copies, started crosswise, never meets. */
static inline enum err group_case_duplicate(struct comm_group *group, void *context)
{
    struct comm_group *copies[2] = {NULL, NULL};
    int64_t values[3] = {0, 0, 0};

    (void)context;
    for (int i = 0; i < 2; i++) {
        ERR_TRY(comm_duplicate(group, &copies[i]));
        if (comm_rank(copies[i]) != comm_rank(group) || comm_size(copies[i]) != comm_size(group)) {
            return ERR_FAIL(ERR_CORRUPT, "copy %d is another rank", i);
        }
    }
    ERR_TRY(comm_agree_max(copies[1], 30, GROUP_CASE_DEADLINE_MS, &values[2]));
    ERR_TRY(comm_agree_max(group, 10, GROUP_CASE_DEADLINE_MS, &values[0]));
    ERR_TRY(comm_agree_max(copies[0], 20, GROUP_CASE_DEADLINE_MS, &values[1]));
    comm_close(copies[0]);
    comm_close(copies[1]);
    if (values[0] != 10 || values[1] != 20 || values[2] != 30) {
        return ERR_FAIL(ERR_CORRUPT, "%d %d %d arrived", (int)values[0], (int)values[1],
                        (int)values[2]);
    }
    return ERR_OK;
}

/* Buckets of one vector, some of them empty or odd, and one value of a rank's vector. */
enum { GROUP_CASE_BUCKETS = 7, GROUP_CASE_ELEMS = 1 + 2 + 0 + 3 + 17 + 1000 + 10007 };

static const int64_t group_case_buckets[GROUP_CASE_BUCKETS] = {1, 2, 0, 3, 17, 1000, 10007};

/* Of very different sizes, so that the order of additions shows in the bits. */
static inline float group_case_value(int64_t rank, int64_t i)
{
    const double scale = ldexp(1, (int)(rng_u64(3, RNG_TEST, (uint64_t)i, (uint32_t)rank) % 20));

    return (float)(scale * rng_normal(2, RNG_TEST, (uint64_t)i, (uint32_t)rank));
}

/* Sums values [GROUP_CASE_ELEMS] over the ranks, all buckets under way at once. */
static inline enum err group_case_sum(struct comm_group *group, enum comm_reduce_order order,
                                      float *values)
{
    struct comm_reduce *reduce = NULL;
    int64_t end = GROUP_CASE_ELEMS;

    ERR_TRY(comm_reduce_open(group, order, group_case_buckets, GROUP_CASE_BUCKETS, &reduce));
    for (int b = GROUP_CASE_BUCKETS - 1; b >= 0; b--) { /* as a backward pass does */
        end -= group_case_buckets[b];
        ERR_TRY(comm_reduce_start(reduce, b, values + end));
        ERR_TRY(comm_reduce_poll(reduce));
    }
    ERR_TRY(comm_reduce_wait(reduce, GROUP_CASE_DEADLINE_MS));
    comm_reduce_close(reduce);
    return ERR_OK;
}

/* Every rank's group_case_value()s summed; the same bits on all of them; near the double sum. */
static inline enum err group_case_check_sum(struct comm_group *group, const float *sums)
{
    const int size = comm_size(group);
    float *first = malloc(GROUP_CASE_ELEMS * sizeof(*first));

    if (first == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "sums");
    }
    memcpy(first, sums, GROUP_CASE_ELEMS * sizeof(*first));
    enum err status =
        comm_broadcast(group, first, GROUP_CASE_ELEMS * sizeof(*first), 0, GROUP_CASE_DEADLINE_MS);
    for (int64_t i = 0; i < GROUP_CASE_ELEMS && status == ERR_OK; i++) {
        double sum = 0, size_of_terms = 0;
        for (int r = 0; r < size; r++) {
            sum += (double)group_case_value(r, i);
            size_of_terms += fabs((double)group_case_value(r, i));
        }
        if (memcmp(&first[i], &sums[i], sizeof(float)) != 0) {
            status = ERR_FAIL(ERR_CORRUPT, "element %d: %a here, %a on rank 0", (int)i,
                              (double)sums[i], (double)first[i]);
        } else if (fabs(sum - (double)sums[i]) > 6e-8 * size * size_of_terms) {
            status =
                ERR_FAIL(ERR_CORRUPT, "element %d: %g, in double %g", (int)i, (double)sums[i], sum);
        }
    }
    free(first);
    return status;
}

#endif
