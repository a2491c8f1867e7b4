#include "comm/group/comm_reduce.h"

#include <assert.h>
#include <inttypes.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "comm/group/comm_reduce_priv.h"
#include "comm/group/comm_transport_priv.h"

enum { NAP_US = 20 };

enum err comm_reduce_measure(const int64_t bucket_elems[], int bucket_count, int64_t *total_out,
                             int64_t *largest_out)
{
    static const int64_t ELEMS_MAX = COMM_MESSAGE_BYTES_MAX / (int64_t)sizeof(float);
    int64_t total = 0, largest = 0;

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
        largest = bucket_elems[i] > largest ? bucket_elems[i] : largest;
    }
    *total_out = total;
    *largest_out = largest;
    return ERR_OK;
}

void comm_reduce_init(struct comm_reduce *reduce, const struct comm_reduce_ops *ops,
                      struct comm_group *group, enum comm_reduce_order order, int bucket_count)
{
    reduce->ops = ops;
    reduce->group = group;
    reduce->order = order;
    reduce->bucket_count = bucket_count;
    for (reduce->power = 1; 2 * reduce->power <= comm_size(group);) {
        reduce->power *= 2;
    }
}

struct comm_span comm_reduce_span(int rank, int distance, int64_t elems)
{
    struct comm_span span = {0, elems};

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

void comm_reduce_close(struct comm_reduce *reduce)
{
    if (reduce == NULL) {
        return;
    }
    assert(reduce->under_way == 0 || reduce->group->broken);
    reduce->ops->close(reduce);
}

bool comm_reduce_under_way(const struct comm_reduce *reduce)
{
    return reduce->under_way > 0;
}

static enum err injected(void)
{
    FAULT_POINT_FAIL(FAULT_COMM_REDUCE, ERR_COLLECTIVE);
    return ERR_OK;
}

enum err comm_reduce_start(struct comm_reduce *reduce, int bucket, float *values)
{
    assert(bucket >= 0 && bucket < reduce->bucket_count);
    ERR_TRY(comm_begin(reduce->group, COMM_REDUCE_OPERATION));
    const enum err status = injected();
    if (status != ERR_OK) {
        reduce->group->broken = true;
        return status;
    }
    return comm_size(reduce->group) == 1 ? ERR_OK : reduce->ops->start(reduce, bucket, values);
}

enum err comm_reduce_poll(struct comm_reduce *reduce)
{
    return reduce->under_way == 0 ? ERR_OK : reduce->ops->poll(reduce);
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
            if (reduce->ops->give_up != NULL) {
                reduce->ops->give_up(reduce);
            }
            return ERR_FAIL(ERR_TIMEOUT,
                            "%s: rank %d of %d waited %" PRId64 " ms in vain, %d buckets open",
                            COMM_REDUCE_OPERATION, comm_rank(reduce->group),
                            comm_size(reduce->group), deadline_ms, reduce->under_way);
        }
        clock_nap_us(NAP_US);
    }
    return ERR_OK;
}
