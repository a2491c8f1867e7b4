/*
 * comm/group/comm_reduce.h - sums over ranks, in buckets, while the caller computes on.
 *
 * TREE: recursive halving, then recursive doubling (R. Thakur, R. Rabenseifner and
 * W. Gropp, "Optimization of Collective Communication Operations in MPICH", 2005,
 * section 4.4, with the distances of the halving in rising order):
 *
 *      rank      0     1     2     3
 *      d = 1     (0+1)       (2+3)         each pair exchanges halves and adds
 *      d = 2     ((0+1)+(2+3))             then quarters, and so on
 *
 * So the additions form the balanced binary tree over the ranks, the same for every
 * element. If each rank's own value is the balanced tree over its part of a fixed list
 * of terms, then 1, 2, 4, 8, ... ranks give the same bits. A number of ranks that is no
 * power of two, n = p + e, first folds rank p + i onto rank i: repeatable, but with bits
 * of its own.
 *
 * LIBRARY: MPI_Iallreduce; the order is the library's.
 *
 * Progress is made in comm_reduce_poll() and comm_reduce_wait() only: the caller polls
 * between pieces of its own work.
 *
 * Memory: one scratch block as large as all buckets. Threads: the group's.
 */
#ifndef COMM_GROUP_COMM_REDUCE_H
#define COMM_GROUP_COMM_REDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

enum comm_reduce_order { COMM_REDUCE_TREE, COMM_REDUCE_LIBRARY };

enum { COMM_REDUCE_BUCKETS_MAX = 1024 };

struct comm_reduce;

/*
 * For `bucket_count` buckets of bucket_elems[i] floats each. `group` must carry nothing
 * else until the close and outlive it. End it with comm_reduce_close().
 * Errors: ERR_INVALID for too many or too large buckets, and for LIBRARY where the group has
 * no such sum; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err comm_reduce_open(struct comm_group *group, enum comm_reduce_order order,
                                         const int64_t bucket_elems[], int bucket_count,
                                         struct comm_reduce **reduce_out);

/*
 * Frees the memory. Not while a bucket is under way on a group that is whole. On a broken
 * one a late message may still be written to such a bucket: its scratch is left to the end
 * of the process, and its values must be, too. NULL is allowed.
 */
void comm_reduce_close(struct comm_reduce *reduce);

/* Whether a bucket has been started and is not summed yet. */
bool comm_reduce_under_way(const struct comm_reduce *reduce);

/*
 * Begins the sum of one bucket. `values` [bucket_elems[bucket]] is the call's, in and
 * out, until comm_reduce_wait() has returned. All ranks start the buckets in the same
 * order. Errors: ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err comm_reduce_start(struct comm_reduce *reduce, int bucket, float *values);

/* Moves the buckets that are under way as far as they go without waiting. */
ERR_MUST_CHECK enum err comm_reduce_poll(struct comm_reduce *reduce);

/* Waits until all started buckets are summed. Errors: ERR_TIMEOUT, ERR_COLLECTIVE. */
ERR_MUST_CHECK enum err comm_reduce_wait(struct comm_reduce *reduce, int64_t deadline_ms);

#endif
