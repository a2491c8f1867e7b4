#include "comm/group/comm_nccl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nccl.h>

#include "comm/base/clock.h"
#include "comm/device/device_cuda_priv.h"
#include "comm/group/comm_reduce_priv.h"
#include "comm/group/comm_transport_priv.h"

enum {
    POLLS_BEFORE_NAP = 1000, /* a launch is in progress for tens of microseconds */
    NAP_US = 20,
    CLOSE_MS = 5000, /* for the last bytes to reach the peers, at a close */
};

struct bucket {
    int64_t elems;
    bool under_way;
    struct device_event *done; /* the latest sum of it */
};

struct nccl_reduce {
    struct comm_reduce base;
    struct device *device;
    struct device_stream *compute; /* the caller's */
    struct device_stream *stream;  /* ours: the sums, one after the other */
    comm_nccl_add_fn *add;
    int64_t deadline_ms;
    ncclComm_t comm;            /* NULL: one rank, or aborted */
    struct device_event *ready; /* the values of the bucket that is being started */
    float *scratch;             /* [scratch_elems], then as many for the first sum */
    int64_t scratch_elems;
    struct bucket *buckets;
    int *started; /* [bucket_count] buckets in the order of their starts; started[head] is next */
    int head, tail;
};

static struct nccl_reduce *of(struct comm_reduce *reduce)
{
    return (struct nccl_reduce *)reduce;
}

/* Ends what NCCL still does on the device: it would wait there for a peer that may never come. */
static void leave(struct nccl_reduce *nccl)
{
    nccl->base.group->broken = true;
    if (nccl->comm != NULL) {
        (void)ncclCommAbort(nccl->comm);
        nccl->comm = NULL;
    }
}

static void nccl_give_up(struct comm_reduce *reduce)
{
    leave(of(reduce));
}

static enum err broken_by(struct nccl_reduce *nccl, ncclResult_t result, const char *call)
{
    const struct comm_group *group = nccl->base.group;
    char words[300];

    snprintf(words, sizeof(words), "%s", ncclGetLastError(nccl->comm)); /* before it is gone */
    leave(nccl);
    return ERR_FAIL(result == ncclUnhandledCudaError ? ERR_DEVICE : ERR_COLLECTIVE,
                    "%s: %s on rank %d of %d: %s%s%s", COMM_REDUCE_OPERATION, call, group->rank,
                    group->size, ncclGetErrorString(result), words[0] != '\0' ? ": " : "", words);
}

/* A failure of the device: its message stands. */
static enum err broken(struct nccl_reduce *nccl, enum err status)
{
    if (status != ERR_OK) {
        char words[300];
        err_text(words, sizeof(words)); /* leaving may say something else */
        leave(nccl);
        return ERR_FAIL(status, "%s", words);
    }
    return ERR_OK;
}

/*
 * The communicator does not block: a call that takes longer, because it connects to a peer, say, is
 * "in progress" until the communicator says otherwise, and nothing else may be asked of it meanwhile.
 */
static enum err settle(struct nccl_reduce *nccl, ncclResult_t result, const char *call)
{
    const int64_t end_ms = clock_now_ms() + nccl->deadline_ms;

    for (int64_t polls = 0; result == ncclInProgress; polls++) {
        ncclResult_t state = ncclSuccess;
        const ncclResult_t asked = ncclCommGetAsyncError(nccl->comm, &state);
        result = asked != ncclSuccess ? asked : state;
        if (result != ncclInProgress || polls < POLLS_BEFORE_NAP) {
            continue;
        }
        if (clock_now_ms() >= end_ms) {
            leave(nccl);
            return ERR_FAIL(ERR_TIMEOUT, "%s: %s: rank %d of %d waited %" PRId64 " ms in vain",
                            COMM_REDUCE_OPERATION, call, nccl->base.group->rank,
                            nccl->base.group->size, nccl->deadline_ms);
        }
        clock_nap_us(NAP_US);
    }
    return result == ncclSuccess ? ERR_OK : broken_by(nccl, result, call);
}

/* Sends `out` to a peer and receives `in` from it, either of which may be empty, as on the peer. */
static enum err exchange(struct nccl_reduce *nccl, int peer, const float *out, int64_t out_elems,
                         float *in, int64_t in_elems)
{
    cudaStream_t stream = device_cuda_stream(nccl->stream);
    ncclResult_t sent = ncclSuccess, received = ncclSuccess;

    ERR_TRY(settle(nccl, ncclGroupStart(), "ncclGroupStart"));
    if (out_elems > 0) {
        sent = ncclSend(out, (size_t)out_elems, ncclFloat32, peer, nccl->comm, stream);
    }
    if (in_elems > 0) {
        received = ncclRecv(in, (size_t)in_elems, ncclFloat32, peer, nccl->comm, stream);
    }
    const ncclResult_t ended =
        ncclGroupEnd(); /* whatever went before: else all that follows is in it */
    ERR_TRY(settle(nccl, sent, "ncclSend"));
    ERR_TRY(settle(nccl, received, "ncclRecv"));
    return settle(nccl, ended, "ncclGroupEnd");
}

static void add(struct nccl_reduce *nccl, float *values, struct comm_span span)
{
    struct device_stream *const before = device_current();

    if (span.end > span.begin) {
        device_use(nccl->stream);
        nccl->add(values + span.begin, nccl->scratch + span.begin, span.end - span.begin);
        device_use(before);
    }
}

/* Halvings and doublings among the ranks below `power`, as comm_reduce.h draws them. */
static enum err put_tree_of_powers(struct nccl_reduce *nccl, float *values, int64_t elems)
{
    const int rank = comm_rank(nccl->base.group);
    const int power = nccl->base.power;

    for (int distance = 1; distance < power; distance *= 2) {
        const struct comm_span mine = comm_reduce_span(rank, distance, elems);
        const struct comm_span theirs = comm_reduce_span(rank ^ distance, distance, elems);
        ERR_TRY(exchange(nccl, rank ^ distance, values + theirs.begin, theirs.end - theirs.begin,
                         nccl->scratch + mine.begin, mine.end - mine.begin));
        add(nccl, values, mine);
    }
    for (int distance = power / 2; distance >= 1; distance /= 2) {
        const struct comm_span mine = comm_reduce_span(rank, distance, elems);
        const struct comm_span theirs = comm_reduce_span(rank ^ distance, distance, elems);
        ERR_TRY(exchange(nccl, rank ^ distance, values + mine.begin, mine.end - mine.begin,
                         values + theirs.begin, theirs.end - theirs.begin));
    }
    return ERR_OK;
}

/* The ranks beyond the power of two fold theirs onto others first, and are told the sum. */
static enum err put_tree(struct nccl_reduce *nccl, float *values, int64_t elems)
{
    const int rank = comm_rank(nccl->base.group);
    const int power = nccl->base.power;

    if (rank >= power) {
        ERR_TRY(exchange(nccl, rank - power, values, elems, NULL, 0));
        return exchange(nccl, rank - power, NULL, 0, values, elems);
    }
    const bool has_folded = rank + power < comm_size(nccl->base.group);
    if (has_folded) {
        ERR_TRY(exchange(nccl, rank + power, NULL, 0, nccl->scratch, elems));
        add(nccl, values, (struct comm_span){0, elems});
    }
    ERR_TRY(put_tree_of_powers(nccl, values, elems));
    return has_folded ? exchange(nccl, rank + power, values, elems, NULL, 0) : ERR_OK;
}

/* The whole sum of `values`, on our stream. */
static enum err put(struct nccl_reduce *nccl, float *values, int64_t elems)
{
    ERR_TRY(broken(nccl, device_cuda_enter(nccl->device)));
    if (nccl->base.order == COMM_REDUCE_TREE) {
        return put_tree(nccl, values, elems);
    }
    return settle(nccl,
                  ncclAllReduce(values, values, (size_t)elems, ncclFloat32, ncclSum, nccl->comm,
                                device_cuda_stream(nccl->stream)),
                  "ncclAllReduce");
}

static enum err nccl_start(struct comm_reduce *reduce, int index, float *values)
{
    struct nccl_reduce *nccl = of(reduce);
    struct bucket *bucket = &nccl->buckets[index];

    assert(!bucket->under_way && nccl->tail < reduce->bucket_count);
    if (bucket->elems == 0) {
        return ERR_OK;
    }
    ERR_TRY(broken(nccl, device_event_record(nccl->ready, nccl->compute)));
    ERR_TRY(broken(nccl, device_stream_wait_event(nccl->stream, nccl->ready)));
    bucket->under_way = true;
    reduce->under_way++;
    nccl->started[nccl->tail++] = index;
    ERR_TRY(put(nccl, values, bucket->elems));
    return broken(nccl, device_event_record(bucket->done, nccl->stream));
}

/* Errors that NCCL met since; they are told nowhere else. */
static enum err ask(struct nccl_reduce *nccl)
{
    ncclResult_t state = ncclSuccess;

    if (nccl->comm == NULL) {
        return ERR_FAIL(ERR_COLLECTIVE, "%s on a broken group", COMM_REDUCE_OPERATION);
    }
    const ncclResult_t asked = ncclCommGetAsyncError(nccl->comm, &state);
    if (asked != ncclSuccess || (state != ncclSuccess && state != ncclInProgress)) {
        return broken_by(nccl, asked != ncclSuccess ? asked : state, "ncclCommGetAsyncError");
    }
    return ERR_OK;
}

static enum err nccl_poll(struct comm_reduce *reduce)
{
    struct nccl_reduce *nccl = of(reduce);

    ERR_TRY(ask(nccl));
    while (nccl->head < nccl->tail) { /* they are done in the order of their starts */
        struct bucket *bucket = &nccl->buckets[nccl->started[nccl->head]];
        bool done = false;
        ERR_TRY(broken(nccl, device_event_is_done(bucket->done, &done)));
        if (!done) {
            return ERR_OK;
        }
        bucket->under_way = false;
        nccl->head++;
        reduce->under_way--;
    }
    nccl->head = 0;
    nccl->tail = 0;
    return ERR_OK;
}

/* Bytes that are done here may not have reached a peer. Says nothing: a close has no errors. */
static bool flush(struct nccl_reduce *nccl)
{
    const int64_t end_ms = clock_now_ms() + CLOSE_MS;
    ncclResult_t state = ncclCommFinalize(nccl->comm);

    while (state == ncclInProgress && clock_now_ms() < end_ms) {
        if (ncclCommGetAsyncError(nccl->comm, &state) != ncclSuccess) {
            return false;
        }
        clock_nap_us(NAP_US);
    }
    return state == ncclSuccess;
}

static void close_comm(struct nccl_reduce *nccl)
{
    if (nccl->comm != NULL && !nccl->base.group->broken && flush(nccl)) {
        (void)ncclCommDestroy(nccl->comm);
        nccl->comm = NULL;
    }
    if (nccl->comm != NULL) {
        leave(nccl);
    }
}

static void nccl_close(struct comm_reduce *reduce)
{
    struct nccl_reduce *nccl = of(reduce);

    close_comm(nccl);
    for (int i = 0; i < reduce->bucket_count && nccl->buckets != NULL; i++) {
        device_event_close(nccl->buckets[i].done);
    }
    device_event_close(nccl->ready);
    device_stream_close(nccl->stream);
    device_memory_close(nccl->device, nccl->scratch);
    free(nccl->started);
    free(nccl->buckets);
    free(nccl);
}

static const struct comm_reduce_ops nccl_ops = {
    .start = nccl_start,
    .poll = nccl_poll,
    .give_up = nccl_give_up,
    .close = nccl_close,
};

/* Rank 0 makes the name of the communicator, and all begin it. */
static enum err join(struct nccl_reduce *nccl)
{
    struct comm_group *group = nccl->base.group;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    struct {
        ncclUniqueId id;
        int64_t result;
    } name;

    memset(&name, 0, sizeof(name));
    if (comm_rank(group) == 0) {
        name.result = ncclGetUniqueId(&name.id);
    }
    ERR_TRY(comm_broadcast(group, &name, sizeof(name), 0, nccl->deadline_ms));
    if (name.result != ncclSuccess) {
        return broken_by(nccl, (ncclResult_t)name.result, "ncclGetUniqueId of rank 0");
    }
    config.blocking = 0;
    ERR_TRY(device_cuda_enter(nccl->device));
    return settle(
        nccl,
        ncclCommInitRankConfig(&nccl->comm, comm_size(group), name.id, comm_rank(group), &config),
        "ncclCommInitRankConfig");
}

/* A first sum: NCCL connects two ranks when one first sends to the other. */
static enum err sum_once(struct nccl_reduce *nccl)
{
    const int64_t end_ms = clock_now_ms() + nccl->deadline_ms;
    bool done = false;

    ERR_TRY(put(nccl, nccl->scratch + nccl->scratch_elems, nccl->base.power));
    ERR_TRY(broken(nccl, device_event_record(nccl->ready, nccl->stream)));
    for (;;) {
        ERR_TRY(ask(nccl));
        ERR_TRY(broken(nccl, device_event_is_done(nccl->ready, &done)));
        if (done) {
            return ERR_OK;
        }
        if (clock_now_ms() >= end_ms) {
            leave(nccl);
            return ERR_FAIL(ERR_TIMEOUT, "first sum: rank %d of %d waited %" PRId64 " ms in vain",
                            nccl->base.group->rank, nccl->base.group->size, nccl->deadline_ms);
        }
        clock_nap_us(NAP_US);
    }
}

static enum err open_parts(struct nccl_reduce *nccl, const struct comm_nccl_args *args,
                           int64_t largest)
{
    const int64_t power = nccl->base.power; /* floats of the first sum: one a rank */

    nccl->scratch_elems = args->order != COMM_REDUCE_TREE ? 0 : largest > power ? largest : power;
    ERR_TRY(device_memory_open_f32(nccl->device, nccl->scratch_elems + power, "receive buffer",
                                   &nccl->scratch));
    ERR_TRY(device_stream_open(nccl->device, DEVICE_PRIORITY_HIGH, &nccl->stream));
    ERR_TRY(device_event_open(nccl->device, &nccl->ready));
    for (int i = 0; i < args->bucket_count; i++) {
        nccl->buckets[i].elems = args->bucket_elems[i];
        ERR_TRY(device_event_open(nccl->device, &nccl->buckets[i].done));
    }
    ERR_TRY(join(nccl));
    return sum_once(nccl);
}

enum err comm_nccl_open(struct comm_group *group, const struct comm_nccl_args *args,
                        struct comm_reduce **reduce_out)
{
    int64_t total = 0, largest = 0;

    assert(device_kind(args->device) == DEVICE_CUDA);
    ERR_TRY(comm_reduce_measure(args->bucket_elems, args->bucket_count, &total, &largest));
    ERR_TRY(comm_begin(group, "communicator of NCCL"));
    struct nccl_reduce *nccl = calloc(1, sizeof(*nccl));
    if (nccl == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a communicator");
    }
    comm_reduce_init(&nccl->base, &nccl_ops, group, args->order, args->bucket_count);
    nccl->device = args->device;
    nccl->compute = args->stream;
    nccl->add = args->add;
    nccl->deadline_ms = args->deadline_ms;
    nccl->buckets = calloc((size_t)args->bucket_count, sizeof(*nccl->buckets));
    nccl->started = calloc((size_t)args->bucket_count, sizeof(*nccl->started));
    enum err status = nccl->buckets != NULL && nccl->started != NULL
                          ? ERR_OK
                          : ERR_FAIL(ERR_NO_MEMORY, "a list of %d buckets", args->bucket_count);
    if (status == ERR_OK && comm_size(group) > 1) {
        status = open_parts(nccl, args, largest);
    }
    if (status != ERR_OK) {
        nccl_close(&nccl->base);
        return status;
    }
    *reduce_out = &nccl->base;
    return ERR_OK;
}
