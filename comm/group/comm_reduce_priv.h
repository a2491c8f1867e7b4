/*
 * comm/group/comm_reduce_priv.h - what an implementation of sums over ranks provides, and the parts
 * of the tree that all of them share: with the same spans they give the same bits.
 */
#ifndef COMM_GROUP_COMM_REDUCE_PRIV_H
#define COMM_GROUP_COMM_REDUCE_PRIV_H

#include "comm/group/comm_reduce.h"

#define COMM_REDUCE_OPERATION "sum of gradients"

struct comm_reduce_ops {
    /* The bucket is not under way, and the group is whole. */
    enum err (*start)(struct comm_reduce *reduce, int bucket, float *values);
    enum err (*poll)(struct comm_reduce *reduce);
    /* A wait has timed out, the group is broken. NULL: nothing to do. */
    void (*give_up)(struct comm_reduce *reduce);
    void (*close)(struct comm_reduce *reduce);
};

/* The first member of every implementation's own struct. */
struct comm_reduce {
    const struct comm_reduce_ops *ops;
    struct comm_group *group;
    enum comm_reduce_order order;
    int power; /* p, the largest power of two <= size */
    int bucket_count;
    int under_way; /* buckets that are started and not summed */
};

/* Floats begin .. end - 1 of a bucket. */
struct comm_span {
    int64_t begin, end;
};

/* Floats of all buckets, and of the largest. Errors: ERR_INVALID, as comm_reduce_open(). */
ERR_MUST_CHECK enum err comm_reduce_measure(const int64_t bucket_elems[], int bucket_count,
                                            int64_t *total_out, int64_t *largest_out);

/* Fills what all implementations have. */
void comm_reduce_init(struct comm_reduce *reduce, const struct comm_reduce_ops *ops,
                      struct comm_group *group, enum comm_reduce_order order, int bucket_count);

/* The part of a bucket that `rank` < power sums once the halvings up to `distance` are done. */
struct comm_span comm_reduce_span(int rank, int distance, int64_t elems);

#endif
