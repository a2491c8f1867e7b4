/*
 * trainer/step/step_sum.h - the sum over all micro-batches of a step, on all ranks, in
 * one fixed order.
 *
 * The global batch is a fixed list of micro-batches ("leaves"); rank r of n computes the
 * q leaves r q .. r q + q - 1. With q = odd * 2^b, every `odd` leaves in a row are added
 * one after the other, and those sums by a balanced binary tree; recursive halving over
 * the ranks (comm_reduce.h) is the rest of the same tree. So the additions that make one
 * element are the same for every number of ranks that is a power of two dividing the
 * even part of the number of leaves, and the bits of the result are too.
 *
 *      leaves   0   1   2   3   4   5   6   7
 *      level 1  (0+1)   (2+3)   (4+5)   (6+7)
 *      level 2  (..0-3..)       (..4-7..)         <- rank 0 | rank 1 with two ranks
 *      level 3          (...0-7...)               <- over the ranks
 *
 * The vector is cut in buckets. A bucket of a leaf is announced when it is complete;
 * in the last leaf that starts its reduction, which goes on while later buckets are
 * computed. Losses and counts are a bucket like any other, so sum and count travel
 * together and are divided once: never a mean of means.
 *
 * Memory: b + 1 vectors. Threads: the owner's.
 */
#ifndef TRAINER_STEP_STEP_SUM_H
#define TRAINER_STEP_STEP_SUM_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_reduce.h"
#include "trainer/kernels/kern_ops.h"

struct step_sum;

/*
 * For buckets of bucket_elems[i] floats, one after the other in the vector, and
 * leaf_count >= 1 leaves on each rank. `group` carries nothing else until the close.
 * Of a CUDA device the ranks are connected by NCCL: collective then, and seconds.
 * Errors: ERR_INVALID, ERR_NO_MEMORY; those of comm_nccl_open().
 */
ERR_MUST_CHECK enum err step_sum_open(struct comm_group *group, enum comm_reduce_order order,
                                      const struct kern_ops *ops, const int64_t bucket_elems[],
                                      int bucket_count, int64_t leaf_count,
                                      struct step_sum **sum_out);
void step_sum_close(struct step_sum *sum); /* NULL is allowed */

/*
 * Begins the next leaf. Returns the vector to write to; with *accumulate_out the leaf is
 * to be added to what is there, without it what is there is to be overwritten.
 */
float *step_sum_begin_leaf(struct step_sum *sum, bool *accumulate_out);

/*
 * Says that a bucket of the present leaf is complete; each once per leaf, in the same
 * order on all ranks. Errors: ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err step_sum_ready(struct step_sum *sum, int bucket);

/* Ends the leaf: every bucket has been announced. Also moves reductions under way on. */
ERR_MUST_CHECK enum err step_sum_end_leaf(struct step_sum *sum);

/*
 * After the last leaf: waits for the ranks, then lends the summed vector until the next
 * step_sum_begin_leaf(). Errors: ERR_TIMEOUT, ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err step_sum_finish(struct step_sum *sum, int64_t deadline_ms,
                                        const float **vector_out);

#endif
