#include "trainer/step/step_sum.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_nccl.h"

enum { LEVELS_MAX = 32, CONNECT_MS = 120000 };

struct step_sum {
    struct kern_ops ops;
    struct comm_reduce *reduce;
    int bucket_count;
    int64_t *bucket_begin; /* [bucket_count + 1] */
    int64_t leaf_count;
    int64_t run_length;        /* odd: so many leaves in a row are added one after the other */
    int level_count;           /* b + 1 */
    float *levels[LEVELS_MAX]; /* sums that wait for their right neighbour, outermost first */
    int64_t leaf;              /* the present one; leaf_count once the step is complete */
    int depth;                 /* of the level it writes to */
};

static enum err allocate(struct step_sum *sum, const int64_t bucket_elems[])
{
    sum->bucket_begin = calloc((size_t)sum->bucket_count + 1, sizeof(int64_t));
    if (sum->bucket_begin == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %d buckets", sum->bucket_count);
    }
    for (int i = 0; i < sum->bucket_count; i++) {
        sum->bucket_begin[i + 1] = sum->bucket_begin[i] + bucket_elems[i];
    }
    for (int level = 0; level < sum->level_count; level++) {
        ERR_TRY(device_memory_open_f32(sum->ops.device, sum->bucket_begin[sum->bucket_count],
                                       "gradients", &sum->levels[level]));
    }
    return ERR_OK;
}

/* The reduction of memory that lies where the sums do. */
static enum err open_reduce(struct step_sum *sum, struct comm_group *group,
                            enum comm_reduce_order order, const int64_t bucket_elems[])
{
    if (device_kind(sum->ops.device) == DEVICE_CPU) {
        return comm_reduce_open(group, order, bucket_elems, sum->bucket_count, &sum->reduce);
    }
    const struct comm_nccl_args args = {
        .device = sum->ops.device,
        .stream = device_current(),
        .order = order,
        .add = sum->ops.add,
        .bucket_elems = bucket_elems,
        .bucket_count = sum->bucket_count,
        .deadline_ms = CONNECT_MS,
    };
    return comm_nccl_open(group, &args, &sum->reduce);
}

enum err step_sum_open(struct comm_group *group, enum comm_reduce_order order,
                       const struct kern_ops *ops, const int64_t bucket_elems[], int bucket_count,
                       int64_t leaf_count, struct step_sum **sum_out)
{
    struct step_sum *sum = calloc(1, sizeof(*sum));
    enum err status = ERR_OK;

    assert(leaf_count >= 1);
    if (sum == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a sum");
    }
    sum->ops = *ops;
    sum->bucket_count = bucket_count;
    sum->leaf_count = leaf_count;
    sum->run_length = leaf_count;
    sum->level_count = 1;
    while (sum->run_length % 2 == 0 && sum->level_count < LEVELS_MAX) {
        sum->run_length /= 2;
        sum->level_count++;
    }
    sum->leaf = leaf_count;
    ERR_GOTO(err_close, status, open_reduce(sum, group, order, bucket_elems));
    ERR_GOTO(err_close, status, allocate(sum, bucket_elems));
    *sum_out = sum;
    return ERR_OK;

err_close:
    step_sum_close(sum);
    return status;
}

void step_sum_close(struct step_sum *sum)
{
    if (sum == NULL) {
        return;
    }
    /* What a broken group may still write to is left to the end of the process. */
    const int first = sum->reduce != NULL && comm_reduce_under_way(sum->reduce) ? 1 : 0;
    comm_reduce_close(sum->reduce);
    for (int level = first; level < sum->level_count; level++) {
        device_memory_close(sum->ops.device, sum->levels[level]);
    }
    free(sum->bucket_begin);
    free(sum);
}

float *step_sum_begin_leaf(struct step_sum *sum, bool *accumulate_out)
{
    if (sum->leaf == sum->leaf_count) {
        sum->leaf = 0;
    }
    /* As many sums wait as the number of finished runs has ones. */
    sum->depth = __builtin_popcountll((unsigned long long)(sum->leaf / sum->run_length));
    *accumulate_out = sum->leaf % sum->run_length != 0;
    return sum->levels[sum->depth];
}

enum err step_sum_ready(struct step_sum *sum, int bucket)
{
    const int64_t begin = sum->bucket_begin[bucket];
    const int64_t count = sum->bucket_begin[bucket + 1] - begin;
    const bool run_ends = (sum->leaf + 1) % sum->run_length == 0;

    if (run_ends) { /* add it to its left neighbours, as a carry ripples through a counter */
        int depth = sum->depth;
        for (int64_t run = sum->leaf / sum->run_length; run % 2 == 1; run /= 2) {
            sum->ops.add(sum->levels[depth - 1] + begin, sum->levels[depth] + begin, count);
            depth--;
        }
    }
    if (sum->leaf + 1 == sum->leaf_count) {
        ERR_TRY(comm_reduce_start(sum->reduce, bucket, sum->levels[0] + begin));
        return comm_reduce_poll(sum->reduce);
    }
    return ERR_OK;
}

enum err step_sum_end_leaf(struct step_sum *sum)
{
    assert(sum->leaf < sum->leaf_count);
    sum->leaf++;
    return comm_reduce_poll(sum->reduce);
}

enum err step_sum_finish(struct step_sum *sum, int64_t deadline_ms, const float **vector_out)
{
    assert(sum->leaf == sum->leaf_count);
    ERR_TRY(comm_reduce_wait(sum->reduce, deadline_ms));
    *vector_out = sum->levels[0];
    return ERR_OK;
}
