#include "comm/group/comm_reduce.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "comm/base/memory.h"
#include "comm/group/comm_transport_priv.h"

static const char OPERATION[] = "sum of gradients";

enum { NAP_US = 20 };

/* The stages of one bucket, in this order; a rank skips those it has no part in. */
enum stage {
    STAGE_FOLD,    /* rank p + i sends all to rank i, which adds */
    STAGE_HALVE,   /* distance 1, 2, ... p / 2 */
    STAGE_DOUBLE,  /* distance p / 2, ... 2, 1 */
    STAGE_UNFOLD,  /* rank i sends the result to rank p + i */
    STAGE_LIBRARY, /* one call of the transport */
    STAGE_DONE,
};

struct span {
    int64_t begin, end;
};

struct bucket {
    int64_t elems;
    float *values;
    float *scratch; /* [elems] */
    enum stage stage;
    int distance;
    struct span span; /* what this rank is summing */
    struct span gets; /* what the receive under way brings */
    bool adds;        /* it is added to values[gets]; else it was received in place */
    struct comm_request requests[2];
};

struct comm_reduce {
    struct comm_group *group;
    enum comm_reduce_order order;
    int power; /* p, the largest power of two <= size */
    int bucket_count;
    int under_way;
    struct bucket *buckets;
    float *scratch;
};

enum err comm_reduce_open(struct comm_group *group, enum comm_reduce_order order,
                          const int64_t bucket_elems[], int bucket_count,
                          struct comm_reduce **reduce_out)
{
    static const int64_t ELEMS_MAX = COMM_MESSAGE_BYTES_MAX / (int64_t)sizeof(float);
    int64_t total = 0;

    if (bucket_count < 1 || bucket_count > COMM_REDUCE_BUCKETS_MAX) {
        return ERR_FAIL(ERR_INVALID, "%d buckets, 1 to %d are possible", bucket_count,
                        COMM_REDUCE_BUCKETS_MAX);
    }
    for (int i = 0; i < bucket_count; i++) {
        if (bucket_elems[i] < 0 || bucket_elems[i] > ELEMS_MAX) {
            return ERR_FAIL(ERR_INVALID, "bucket of %" PRId64 " floats, at most %" PRId64,
                            bucket_elems[i], ELEMS_MAX);
        }
        total += bucket_elems[i];
    }
    if (order == COMM_REDUCE_LIBRARY && comm_size(group) > 1 && group->transport->sum_f32 == NULL) {
        return ERR_FAIL(ERR_INVALID, "%s have no sum of their own", group->launcher);
    }
    struct comm_reduce *reduce = calloc(1, sizeof(*reduce));
    struct bucket *buckets = calloc((size_t)bucket_count, sizeof(*buckets));
    if (reduce == NULL || buckets == NULL) {
        free(reduce);
        free(buckets);
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %d buckets", bucket_count);
    }
    reduce->group = group;
    reduce->order = order;
    reduce->buckets = buckets;
    reduce->bucket_count = bucket_count;
    for (reduce->power = 1; 2 * reduce->power <= comm_size(group);) {
        reduce->power *= 2;
    }
    const bool needs_scratch = comm_size(group) > 1 && order == COMM_REDUCE_TREE;
    const enum err status =
        memory_open_f32(needs_scratch ? total : 0, "receive buffer", &reduce->scratch);
    if (status != ERR_OK) {
        comm_reduce_close(reduce);
        return status;
    }
    total = 0;
    for (int i = 0; i < bucket_count; i++) {
        buckets[i].elems = bucket_elems[i];
        buckets[i].scratch = needs_scratch ? reduce->scratch + total : NULL;
        buckets[i].stage = STAGE_DONE;
        total += bucket_elems[i];
    }
    *reduce_out = reduce;
    return ERR_OK;
}

void comm_reduce_close(struct comm_reduce *reduce)
{
    if (reduce == NULL) {
        return;
    }
    assert(reduce->under_way == 0 || reduce->group->broken);
    if (reduce->under_way == 0) { /* else a late message may still be written to it */
        memory_close(reduce->scratch);
    }
    free(reduce->buckets);
    free(reduce);
}

bool comm_reduce_under_way(const struct comm_reduce *reduce)
{
    return reduce->under_way > 0;
}

static enum err send_span(struct comm_reduce *reduce, struct bucket *bucket, int to,
                          struct span span)
{
    return reduce->group->transport->send(
        reduce->group, to, COMM_TAG_REDUCE + (int)(bucket - reduce->buckets),
        bucket->values + span.begin, (size_t)(span.end - span.begin) * sizeof(float),
        &bucket->requests[0]);
}

static enum err receive_span(struct comm_reduce *reduce, struct bucket *bucket, int from,
                             struct span span, bool adds)
{
    bucket->gets = span;
    bucket->adds = adds;
    return reduce->group->transport->receive(
        reduce->group, from, COMM_TAG_REDUCE + (int)(bucket - reduce->buckets),
        (adds ? bucket->scratch : bucket->values) + span.begin,
        (size_t)(span.end - span.begin) * sizeof(float), &bucket->requests[1]);
}

/* The part of the vector that `rank` sums once the halvings up to `distance` are done. */
static struct span span_of(int rank, int distance, int64_t elems)
{
    struct span span = {0, elems};

    for (int d = 1; d <= distance; d *= 2) {
        const int64_t middle = span.begin + (span.end - span.begin) / 2;
        if ((rank & d) == 0) {
            span.end = middle;
        } else {
            span.begin = middle;
        }
    }
    return span;
}

/* Posts the messages of the bucket's present stage; none if this rank has no part in it. */
static enum err post_stage(struct comm_reduce *reduce, struct bucket *bucket)
{
    const int rank = comm_rank(reduce->group);
    const int power = reduce->power;
    const struct span all = {0, bucket->elems};

    bucket->gets = (struct span){0, 0};
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
        const struct span mine = span_of(rank, bucket->distance, bucket->elems);
        const struct span theirs = span_of(peer, bucket->distance, bucket->elems);
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
    bucket->gets = (struct span){0, 0};
}

static enum err advance(struct comm_reduce *reduce, struct bucket *bucket)
{
    while (bucket->stage != STAGE_DONE) {
        for (int i = 0; i < 2; i++) {
            if (bucket->requests[i].active) {
                ERR_TRY_AS(reduce->group->transport->test(reduce->group, &bucket->requests[i]),
                           "%s", OPERATION);
            }
        }
        if (bucket->requests[0].active || bucket->requests[1].active) {
            return ERR_OK;
        }
        take_in(bucket);
        next_stage(reduce, bucket);
        ERR_TRY_AS(post_stage(reduce, bucket), "%s", OPERATION);
    }
    reduce->under_way--;
    return ERR_OK;
}

static enum err injected(void)
{
    FAULT_POINT_FAIL(FAULT_COMM_REDUCE, ERR_COLLECTIVE);
    return ERR_OK;
}

enum err comm_reduce_start(struct comm_reduce *reduce, int index, float *values)
{
    struct bucket *bucket = &reduce->buckets[index];

    assert(index >= 0 && index < reduce->bucket_count);
    assert(bucket->stage == STAGE_DONE);
    ERR_TRY(comm_begin(reduce->group, OPERATION));
    const enum err status = injected();
    if (status != ERR_OK) {
        reduce->group->broken = true;
        return status;
    }
    if (comm_size(reduce->group) == 1 || bucket->elems == 0) {
        return ERR_OK;
    }
    bucket->values = values;
    bucket->stage = reduce->order == COMM_REDUCE_TREE ? STAGE_FOLD : STAGE_LIBRARY;
    bucket->adds = false;
    reduce->under_way++;
    ERR_TRY_AS(post_stage(reduce, bucket), "%s", OPERATION);
    return advance(reduce, bucket);
}

enum err comm_reduce_poll(struct comm_reduce *reduce)
{
    for (int i = 0; i < reduce->bucket_count && reduce->under_way > 0; i++) {
        if (reduce->buckets[i].stage != STAGE_DONE) {
            ERR_TRY(advance(reduce, &reduce->buckets[i]));
        }
    }
    return ERR_OK;
}

enum err comm_reduce_wait(struct comm_reduce *reduce, int64_t deadline_ms)
{
    const int64_t end_ms = clock_now_ms() + deadline_ms;

    while (reduce->under_way > 0) {
        ERR_TRY(comm_reduce_poll(reduce));
        if (reduce->under_way == 0) {
            break;
        }
        if (clock_now_ms() >= end_ms) {
            reduce->group->broken = true;
            return ERR_FAIL(ERR_TIMEOUT,
                            "%s: rank %d of %d waited %" PRId64 " ms in vain, %d buckets open",
                            OPERATION, comm_rank(reduce->group), comm_size(reduce->group),
                            deadline_ms, reduce->under_way);
        }
        clock_nap_us(NAP_US);
    }
    return ERR_OK;
}
