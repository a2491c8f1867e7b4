/* Sums over ranks in host memory, by messages of the transport. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "comm/base/memory.h"
#include "comm/group/comm_reduce_priv.h"
#include "comm/group/comm_transport_priv.h"

/* The stages of one bucket, in this order; a rank skips those it has no part in. */
enum stage {
    STAGE_FOLD,    /* rank p + i sends all to rank i, which adds */
    STAGE_HALVE,   /* distance 1, 2, ... p / 2 */
    STAGE_DOUBLE,  /* distance p / 2, ... 2, 1 */
    STAGE_UNFOLD,  /* rank i sends the result to rank p + i */
    STAGE_LIBRARY, /* one call of the transport */
    STAGE_DONE,
};

struct bucket {
    int64_t elems;
    float *values;
    float *scratch; /* [elems] */
    enum stage stage;
    int distance;
    struct comm_span gets; /* what the receive under way brings */
    bool adds;             /* it is added to values[gets]; else it was received in place */
    struct comm_request requests[2];
};

struct host_reduce {
    struct comm_reduce base;
    struct bucket *buckets;
    float *scratch;
};

static struct host_reduce *of(struct comm_reduce *reduce)
{
    return (struct host_reduce *)reduce;
}

static void host_close(struct comm_reduce *reduce)
{
    struct host_reduce *host = of(reduce);

    if (reduce->under_way == 0) { /* else a late message may still be written to it */
        memory_close(host->scratch);
    }
    free(host->buckets);
    free(host);
}

static enum err host_start(struct comm_reduce *reduce, int index, float *values);
static enum err host_poll(struct comm_reduce *reduce);

static const struct comm_reduce_ops host_ops = {
    .start = host_start,
    .poll = host_poll,
    .close = host_close,
};

enum err comm_reduce_open(struct comm_group *group, enum comm_reduce_order order,
                          const int64_t bucket_elems[], int bucket_count,
                          struct comm_reduce **reduce_out)
{
    int64_t total = 0, largest = 0;

    ERR_TRY(comm_reduce_measure(bucket_elems, bucket_count, &total, &largest));
    if (order == COMM_REDUCE_LIBRARY && comm_size(group) > 1 && group->transport->sum_f32 == NULL) {
        return ERR_FAIL(ERR_INVALID, "%s have no sum of their own", group->launcher);
    }
    struct host_reduce *host = calloc(1, sizeof(*host));
    struct bucket *buckets = calloc((size_t)bucket_count, sizeof(*buckets));
    if (host == NULL || buckets == NULL) {
        free(host);
        free(buckets);
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %d buckets", bucket_count);
    }
    comm_reduce_init(&host->base, &host_ops, group, order, bucket_count);
    host->buckets = buckets;
    const bool needs_scratch = comm_size(group) > 1 && order == COMM_REDUCE_TREE;
    const enum err status =
        memory_open_f32(needs_scratch ? total : 0, "receive buffer", &host->scratch);
    if (status != ERR_OK) {
        host_close(&host->base);
        return status;
    }
    total = 0;
    for (int i = 0; i < bucket_count; i++) {
        buckets[i].elems = bucket_elems[i];
        buckets[i].scratch = needs_scratch ? host->scratch + total : NULL;
        buckets[i].stage = STAGE_DONE;
        total += bucket_elems[i];
    }
    *reduce_out = &host->base;
    return ERR_OK;
}

static enum err send_span(struct comm_reduce *reduce, struct bucket *bucket, int to,
                          struct comm_span span)
{
    return reduce->group->transport->send(
        reduce->group, to, COMM_TAG_REDUCE + (int)(bucket - of(reduce)->buckets),
        bucket->values + span.begin, (size_t)(span.end - span.begin) * sizeof(float),
        &bucket->requests[0]);
}

static enum err receive_span(struct comm_reduce *reduce, struct bucket *bucket, int from,
                             struct comm_span span, bool adds)
{
    bucket->gets = span;
    bucket->adds = adds;
    return reduce->group->transport->receive(
        reduce->group, from, COMM_TAG_REDUCE + (int)(bucket - of(reduce)->buckets),
        (adds ? bucket->scratch : bucket->values) + span.begin,
        (size_t)(span.end - span.begin) * sizeof(float), &bucket->requests[1]);
}

/* Posts the messages of the bucket's present stage; none if this rank has no part in it. */
static enum err post_stage(struct comm_reduce *reduce, struct bucket *bucket)
{
    const int rank = comm_rank(reduce->group);
    const int power = reduce->power;
    const struct comm_span all = {0, bucket->elems};

    bucket->gets = (struct comm_span){0, 0};
    switch (bucket->stage) {
    case STAGE_FOLD:
        if (rank >= power) {
            return send_span(reduce, bucket, rank - power, all);
        }
        if (rank + power < comm_size(reduce->group)) {
            return receive_span(reduce, bucket, rank + power, all, true);
        }
        return ERR_OK;
    case STAGE_HALVE:
    case STAGE_DOUBLE: {
        if (rank >= power) {
            return ERR_OK;
        }
        const int peer = rank ^ bucket->distance;
        const struct comm_span mine = comm_reduce_span(rank, bucket->distance, bucket->elems);
        const struct comm_span theirs = comm_reduce_span(peer, bucket->distance, bucket->elems);
        const bool halves = bucket->stage == STAGE_HALVE;
        ERR_TRY(receive_span(reduce, bucket, peer, halves ? mine : theirs, halves));
        return send_span(reduce, bucket, peer, halves ? theirs : mine);
    }
    case STAGE_UNFOLD:
        if (rank >= power) {
            return receive_span(reduce, bucket, rank - power, all, false);
        }
        if (rank + power < comm_size(reduce->group)) {
            return send_span(reduce, bucket, rank + power, all);
        }
        return ERR_OK;
    case STAGE_LIBRARY:
        return reduce->group->transport->sum_f32(reduce->group, bucket->values,
                                                 (size_t)bucket->elems, &bucket->requests[0]);
    case STAGE_DONE: break;
    }
    return ERR_OK;
}

static void next_stage(const struct comm_reduce *reduce, struct bucket *bucket)
{
    switch (bucket->stage) {
    case STAGE_FOLD:
        bucket->distance = 1;
        bucket->stage = reduce->power > 1 ? STAGE_HALVE : STAGE_UNFOLD;
        return;
    case STAGE_HALVE:
        if (2 * bucket->distance < reduce->power) {
            bucket->distance *= 2;
        } else {
            bucket->stage = STAGE_DOUBLE; /* at the same distance, the other way */
        }
        return;
    case STAGE_DOUBLE:
        bucket->distance /= 2;
        bucket->stage = bucket->distance >= 1 ? STAGE_DOUBLE : STAGE_UNFOLD;
        return;
    case STAGE_UNFOLD:
    case STAGE_LIBRARY: bucket->stage = STAGE_DONE; return;
    case STAGE_DONE: return;
    }
}

/* What the messages of a stage brought. Addition commutes, so either rank of a pair may do it. */
static void take_in(struct bucket *bucket)
{
    if (bucket->adds) {
        for (int64_t i = bucket->gets.begin; i < bucket->gets.end; i++) {
            bucket->values[i] += bucket->scratch[i];
        }
    }
    bucket->gets = (struct comm_span){0, 0};
}

static enum err advance(struct comm_reduce *reduce, struct bucket *bucket)
{
    while (bucket->stage != STAGE_DONE) {
        for (int i = 0; i < 2; i++) {
            if (bucket->requests[i].active) {
                ERR_TRY_AS(reduce->group->transport->test(reduce->group, &bucket->requests[i]),
                           "%s", COMM_REDUCE_OPERATION);
            }
        }
        if (bucket->requests[0].active || bucket->requests[1].active) {
            return ERR_OK;
        }
        take_in(bucket);
        next_stage(reduce, bucket);
        ERR_TRY_AS(post_stage(reduce, bucket), "%s", COMM_REDUCE_OPERATION);
    }
    reduce->under_way--;
    return ERR_OK;
}

static enum err host_start(struct comm_reduce *reduce, int index, float *values)
{
    struct bucket *bucket = &of(reduce)->buckets[index];

    assert(bucket->stage == STAGE_DONE);
    if (bucket->elems == 0) {
        return ERR_OK;
    }
    bucket->values = values;
    bucket->stage = reduce->order == COMM_REDUCE_TREE ? STAGE_FOLD : STAGE_LIBRARY;
    bucket->adds = false;
    reduce->under_way++;
    ERR_TRY_AS(post_stage(reduce, bucket), "%s", COMM_REDUCE_OPERATION);
    return advance(reduce, bucket);
}

static enum err host_poll(struct comm_reduce *reduce)
{
    for (int i = 0; i < reduce->bucket_count && reduce->under_way > 0; i++) {
        if (of(reduce)->buckets[i].stage != STAGE_DONE) {
            ERR_TRY(advance(reduce, &of(reduce)->buckets[i]));
        }
    }
    return ERR_OK;
}
