/*
 * tests/cudasim/sim_nccl.c - NCCL's calls, groups, and the life of a communicator.
 *
 * A communicator that does not block takes NCCL at its word: each call is "in progress" until it
 * was asked about twice, only then is the work in the stream, and whoever calls something else
 * before, or records an event, finds out. Errors of peers are told by ncclCommGetAsyncError();
 * the work in the stream does not end before ncclCommAbort().
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cudasim/sim_nccl_priv.h"

#define COMM_MAGIC 0x6e636d6du
#define ASKED_COUNT 2
#define NAP_US 200
#define GROUP_CALLS_MAX 1024

static struct ncclComm *comms;
static char last_error[300];
static pthread_mutex_t last_error_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- errors and faults ---- */

static ncclResult_t say(ncclResult_t error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static ncclResult_t say(ncclResult_t error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    pthread_mutex_lock(&last_error_lock);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    pthread_mutex_unlock(&last_error_lock);
    va_end(arguments);
    return error;
}

void nccl_break(struct ncclComm *comm, ncclResult_t error, const char *format, ...)
{
    char text[256];
    int none = ncclSuccess;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (__atomic_compare_exchange_n((int *)&comm->error, &none, (int)error, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
        (void)say(error, "%s", text);
    }
}

bool nccl_is_aborted(struct ncclComm *comm)
{
    pthread_mutex_lock(&comm->lock);
    const bool is_aborted = comm->is_aborted;
    pthread_mutex_unlock(&comm->lock);
    return is_aborted;
}

enum nccl_fault nccl_fault_at(const struct ncclComm *comm, uint64_t call)
{
    char kind[16];
    unsigned long long at;
    int rank;

    if (sscanf(sim_setting("CUDASIM_NCCL_FAULT", ""), "%15[a-z]@%llu/%d", kind, &at, &rank) != 3 ||
        at != call || rank != comm->rank) {
        return NCCL_NO_FAULT;
    }
    if (strcmp(kind, "die") == 0) {
        (void)kill(getpid(), SIGKILL);
    }
    return strcmp(kind, "hang") == 0    ? NCCL_HANG
           : strcmp(kind, "error") == 0 ? NCCL_ERROR
                                        : NCCL_NO_FAULT;
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError:
        return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
        return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
    }
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return last_error;
}

/* ---- the life of a communicator ---- */

static void check_comm(ncclComm_t comm, const char *what)
{
    if (comm == NULL || comm->magic != COMM_MAGIC || !comm->is_open) {
        cudasim_report("%s of a communicator that was destroyed, or of something that is none",
                       what);
    }
}

static void leaks(void)
{
    for (const struct ncclComm *comm = comms; comm != NULL; comm = comm->next) {
        if (comm->is_open) {
            sim_leak(&comm->place, "an NCCL communicator (rank %d of %d)", comm->rank, comm->size);
        }
    }
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    return nccl_link_id(id);
}

static void *join_main(void *argument)
{
    struct ncclComm *comm = argument;

    switch (nccl_fault_at(comm, 0)) {
    case NCCL_HANG:
        while (!nccl_is_aborted(comm)) {
            usleep(NAP_US);
        }
        break;
    case NCCL_ERROR: nccl_break(comm, ncclSystemError, "a fault that was asked for"); break;
    default: nccl_link_join(comm); break;
    }
    pthread_mutex_lock(&comm->lock);
    comm->is_joining = false;
    pthread_mutex_unlock(&comm->lock);
    return NULL;
}

static struct ncclComm *new_comm(int size, const ncclUniqueId *id, int rank, int device)
{
    struct ncclComm *comm = calloc(1, sizeof *comm);

    if (comm == NULL) {
        cudasim_report("no memory for NCCL");
    }
    sim_place_here(&comm->place);
    comm->magic = COMM_MAGIC;
    comm->is_open = true;
    comm->rank = rank;
    comm->size = size;
    comm->device = device;
    comm->id = *id;
    comm->is_joining = true;
    pthread_mutex_init(&comm->lock, NULL);
    for (int i = 0; i < NCCL_SIZE_MAX; i++) {
        comm->sockets[i] = -1;
    }
    pthread_mutex_lock(&sim_lock);
    comm->next = comms;
    comms = comm;
    pthread_mutex_unlock(&sim_lock);
    sim_on_exit(leaks);
    return comm;
}

static void end(struct ncclComm *comm)
{
    bool is_running = true;

    pthread_mutex_lock(&comm->lock);
    comm->is_aborted = true;
    free(comm->deferred);
    comm->deferred = NULL;
    pthread_mutex_unlock(&comm->lock);
    if (comm->has_joiner) {
        pthread_join(comm->joiner, NULL);
        comm->has_joiner = false;
    }
    while (is_running) { /* the device may be at it in this moment */
        pthread_mutex_lock(&comm->lock);
        is_running = comm->running_count > 0;
        pthread_mutex_unlock(&comm->lock);
    }
    nccl_link_close(comm);
    comm->is_open = false;
    /* The communicator itself stays: work that is still in streams looks at it, and ends. */
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm_out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    int device;

    if (cudaGetDevice(&device) != cudaSuccess || sim_start() != cudaSuccess) {
        return say(ncclUnhandledCudaError, "there is no device");
    }
    if (size < 1 || size > NCCL_SIZE_MAX || rank < 0 || rank >= size ||
        (config != NULL && (config->magic != 0xcafebeef || config->size != sizeof *config))) {
        return say(ncclInvalidArgument,
                   "rank %d of %d, or a configuration that was not initialized", rank, size);
    }
    struct ncclComm *comm = new_comm(size, &id, rank, device);
    comm->is_blocking = config == NULL || config->blocking != 0;
    *comm_out = comm;
    if (comm->is_blocking) {
        (void)join_main(comm);
        const ncclResult_t result = (ncclResult_t)comm->error;
        if (result != ncclSuccess) {
            end(comm);
            *comm_out = NULL;
        }
        return result;
    }
    if (pthread_create(&comm->joiner, NULL, join_main, comm) != 0) {
        cudasim_report("no thread for NCCL");
    }
    comm->has_joiner = true;
    return ncclInProgress;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank)
{
    return ncclCommInitRankConfig(comm, size, id, rank, NULL);
}

ncclResult_t ncclCommCount(ncclComm_t comm, int *count)
{
    check_comm(comm, "ncclCommCount");
    *count = comm->size;
    return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(ncclComm_t comm, int *device)
{
    check_comm(comm, "ncclCommCuDevice");
    *device = comm->device;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(ncclComm_t comm, int *rank)
{
    check_comm(comm, "ncclCommUserRank");
    *rank = comm->rank;
    return ncclSuccess;
}

/* ---- from a call to the stream ---- */

/* With comm->lock held. Collectives of a communicator run in the order of their calls. */
static ncclResult_t put_in_stream(struct ncclComm *comm, struct nccl_work *work, size_t bytes,
                                  cudaStream_t handle)
{
    const char *name =
        work->call_count > 1 ? "a group of NCCL calls" : nccl_kind_name(work->calls[0].kind);
    struct CUstream_st *stream;

    if (sim_stream_get(handle, name, &stream) != cudaSuccess) {
        return ncclUnhandledCudaError;
    }
    pthread_mutex_lock(&sim_lock);
    work->is_counted = stream->capture == NULL;
    cudaError_t error = cudaSuccess;
    if (!work->is_counted) {
        error = sim_capture_add(stream, &nccl_run_work, name, work, bytes);
    } else {
        if (comm->has_last) {
            sim_queue_add_wait(stream->queue, &comm->last);
        }
        sim_stream_order(stream);
        comm->pending_count++;
        sim_queue_add(stream->queue, &nccl_run_work, name, work, bytes);
        comm->last = sim_queue_mark(stream->queue);
        comm->has_last = true;
    }
    pthread_mutex_unlock(&sim_lock);
    return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

/* With comm->lock held. */
static ncclResult_t state_of(const struct ncclComm *comm)
{
    if (comm->error != ncclSuccess) {
        return (ncclResult_t)comm->error;
    }
    return comm->is_joining || comm->deferred != NULL ||
                   (comm->is_finalizing && comm->pending_count > 0)
               ? ncclInProgress
               : ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error)
{
    ncclResult_t result = ncclSuccess;

    check_comm(comm, "ncclCommGetAsyncError");
    pthread_mutex_lock(&comm->lock);
    if (comm->deferred != NULL && ++comm->asked_count >= ASKED_COUNT) {
        result = put_in_stream(comm, comm->deferred, comm->deferred_bytes, comm->deferred_stream);
        free(comm->deferred);
        comm->deferred = NULL;
    }
    *error = state_of(comm);
    pthread_mutex_unlock(&comm->lock);
    return result;
}

/* The calls on one communicator that a group holds. Takes over `work`. */
static ncclResult_t submit(struct ncclComm *comm, struct nccl_work *work, size_t bytes,
                           cudaStream_t stream)
{
    ncclResult_t result;

    pthread_mutex_lock(&comm->lock);
    if (comm->is_blocking) {
        result = put_in_stream(comm, work, bytes, stream);
        free(work);
    } else {
        comm->deferred = work;
        comm->deferred_bytes = bytes;
        comm->deferred_stream = stream;
        comm->asked_count = 0;
        result = ncclInProgress;
    }
    pthread_mutex_unlock(&comm->lock);
    return result;
}

/* ---- groups ---- */

struct grouped {
    struct ncclComm *comm;
    cudaStream_t stream;
    struct nccl_call call;
};

static _Thread_local struct grouped *group;
static _Thread_local int group_count;
static _Thread_local int group_depth;
static _Thread_local ncclResult_t group_error;

/* Gathers and submits what the group has for the communicator of its call `first`. */
static ncclResult_t submit_first(int first)
{
    struct ncclComm *comm = group[first].comm;
    const size_t bytes = sizeof(struct nccl_work) + (size_t)group_count * sizeof(struct nccl_call);
    struct nccl_work *work = calloc(1, bytes);

    if (work == NULL) {
        cudasim_report("no memory for NCCL");
    }
    work->comm = comm;
    for (int i = first; i < group_count; i++) {
        if (group[i].comm != comm) {
            continue;
        }
        if (group[i].stream != group[first].stream) {
            cudasim_report("one group, one communicator, two streams: that is not modelled");
        }
        work->calls[work->call_count++] = group[i].call;
        group[i].comm = NULL;
    }
    return submit(comm, work, bytes, group[first].stream);
}

ncclResult_t ncclGroupStart(void)
{
    group_depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    ncclResult_t result = group_error;

    if (group_depth == 0) {
        return say(ncclInvalidUsage, "ncclGroupEnd() without ncclGroupStart()");
    }
    if (--group_depth > 0) {
        return ncclSuccess;
    }
    for (int i = 0; i < group_count && group_error == ncclSuccess; i++) {
        if (group[i].comm != NULL) {
            const ncclResult_t one = submit_first(i);
            result = result == ncclSuccess ? one : result;
        }
    }
    free(group);
    group = NULL;
    group_count = 0;
    group_error = ncclSuccess;
    return result;
}

static ncclResult_t check_call(struct ncclComm *comm, const struct nccl_call *call)
{
    const bool reads = call->from != NULL;
    const bool writes = call->to != NULL;
    const bool is_reduction = call->kind == NCCL_ALL_REDUCE || call->kind == NCCL_REDUCE_SCATTER;

    pthread_mutex_lock(&comm->lock);
    const ncclResult_t state = state_of(comm);
    const bool is_finalizing = comm->is_finalizing;
    pthread_mutex_unlock(&comm->lock);
    if (state == ncclInProgress) {
        return say(ncclInvalidArgument, "%s before the previous operation returned ncclSuccess",
                   nccl_kind_name(call->kind));
    }
    if (state != ncclSuccess) {
        return state;
    }
    if (is_finalizing || nccl_type_bytes(call->type) == 0 || call->peer < 0 ||
        call->peer >= comm->size || (is_reduction && !nccl_math_knows(call->type, call->op))) {
        return say(ncclInvalidArgument, "%s: a peer, a type or an operation that cannot be",
                   nccl_kind_name(call->kind));
    }
    if ((call->kind != NCCL_RECV && !reads) || (call->kind != NCCL_SEND && !writes) ||
        (reads && sim_memory_kind(call->from) == SIM_PAGEABLE) ||
        (writes && sim_memory_kind(call->to) == SIM_PAGEABLE)) {
        return say(ncclInvalidArgument, "%s: memory that the device cannot reach",
                   nccl_kind_name(call->kind));
    }
    return ncclSuccess;
}

/* A call by itself is a group of one. */
static ncclResult_t add_call(struct ncclComm *comm, cudaStream_t stream, struct nccl_call call)
{
    check_comm(comm, nccl_kind_name(call.kind));
    const ncclResult_t result = check_call(comm, &call);
    if (result != ncclSuccess) {
        group_error = group_depth > 0 && group_error == ncclSuccess ? result : group_error;
        return result;
    }
    (void)ncclGroupStart();
    if (group == NULL) {
        group = calloc(GROUP_CALLS_MAX, sizeof *group);
    }
    if (group == NULL || group_count == GROUP_CALLS_MAX) {
        cudasim_report("no room for more than %d calls in a group", GROUP_CALLS_MAX);
    }
    group[group_count++] = (struct grouped){comm, stream, call};
    return ncclGroupEnd();
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_ALL_REDUCE, from, to, count, type, op, 0});
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream)
{
    /* Only the root's `from` is read. */
    const void *source = comm != NULL && comm->rank == root ? from : to;
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_BROADCAST, source, to, count, type, ncclSum, root});
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_REDUCE_SCATTER, from, to, count, type, op, 0});
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_ALL_GATHER, from, to, count, type, ncclSum, 0});
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_SEND, from, NULL, count, type, ncclSum, peer});
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add_call(comm, stream,
                    (struct nccl_call){NCCL_RECV, NULL, to, count, type, ncclSum, peer});
}

/* ---- the end of a communicator ---- */

/* Until all work is out of the streams; false if an error will keep it there. */
static bool drain(struct ncclComm *comm)
{
    for (;;) {
        pthread_mutex_lock(&comm->lock);
        const int left = comm->pending_count;
        pthread_mutex_unlock(&comm->lock);
        if (left == 0) {
            return true;
        }
        if (comm->error != ncclSuccess) {
            return false;
        }
        usleep(NAP_US);
    }
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    check_comm(comm, "ncclCommFinalize");
    pthread_mutex_lock(&comm->lock);
    const ncclResult_t state = state_of(comm);
    const bool is_twice = comm->is_finalizing;
    comm->is_finalizing = state == ncclSuccess;
    pthread_mutex_unlock(&comm->lock);
    if (state != ncclSuccess || is_twice) {
        return state != ncclSuccess && state != ncclInProgress ? state : ncclInvalidArgument;
    }
    if (!comm->is_blocking) {
        return ncclInProgress;
    }
    return drain(comm) ? ncclSuccess : (ncclResult_t)comm->error;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    check_comm(comm, "ncclCommDestroy");
    (void)drain(comm);
    end(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    check_comm(comm, "ncclCommAbort");
    end(comm);
    return ncclSuccess;
}
