/*
 * tests/cudasim/sim_nccl_run.c - what the calls of a group do once the device comes to them.
 *
 * Collectives go one after the other, each in one or two rounds of transfers between all pairs;
 * sends and receives of a group are one round of their own, before them. In front of each array
 * goes a frame that says what it belongs to: where ranks call different things, or in different
 * orders, a GPU would hang; so does this, after one line on stderr.
 *
 * Reductions add in the order of the ranks, the first one to the second and so on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/cudasim/sim_nccl_priv.h"

#define FRAME_MAGIC 0x6672616du

/* What an array belongs to, for the receiver to compare with what it called. */
struct frame {
    uint32_t magic, kind, type, op;
    int32_t root;
    uint32_t round;
    uint64_t count, bytes;
};

/* One array, to or from one peer. */
struct transfer {
    bool is_send;
    int peer;
    struct frame frame;
    struct frame found; /* received */
    char *memory;
    size_t done; /* bytes of the frame and the array */
};

/* A group under way. */
struct run {
    int next_call; /* -1: sends and receives first */
    int round;
    char *parts; /* of other ranks, to be reduced */
    int transfer_count;
    struct transfer *transfers;
};

size_t nccl_type_bytes(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64: return 8;
    default: return 0;
    }
}

const char *nccl_kind_name(enum nccl_kind kind)
{
    static const char *const names[] = {"ncclAllReduce", "ncclBroadcast", "ncclReduceScatter",
                                        "ncclAllGather", "ncclSend",      "ncclRecv"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "something else";
}

/* ---- transfers ---- */

static void add_transfer(struct run *run, const struct nccl_call *call, bool is_send, int peer,
                         const void *memory, size_t bytes)
{
    const bool is_pair = call->kind == NCCL_SEND || call->kind == NCCL_RECV;

    run->transfers =
        realloc(run->transfers, (size_t)(run->transfer_count + 1) * sizeof *run->transfers);
    if (run->transfers == NULL) {
        cudasim_report("no memory for NCCL");
    }
    run->transfers[run->transfer_count++] = (struct transfer){
        .is_send = is_send,
        .peer = peer,
        .memory = (char *)(uintptr_t)memory,
        .frame = {.magic = FRAME_MAGIC,
                  .kind = is_pair ? NCCL_SEND : (uint32_t)call->kind,
                  .type = (uint32_t)call->type,
                  .op = is_pair ? 0 : (uint32_t)call->op,
                  .root = is_pair ? 0 : call->peer,
                  .round = (uint32_t)run->round,
                  .count = call->count,
                  .bytes = bytes},
    };
}

static void lost(struct ncclComm *comm, int peer)
{
    nccl_break(comm, ncclRemoteError, "rank %d: the connection to rank %d was closed by it",
               comm->rank, peer);
}

/* Ranks called different things: says so once, and waits for ever, as a GPU would. */
static void stick(struct ncclComm *comm, const struct transfer *transfer)
{
    if (!comm->is_stuck) {
        fprintf(stderr,
                "cudasim: NCCL: rank %d is in %s of %llu elements, but rank %d sends for %s of "
                "%llu: a GPU would hang here, or mix them up\n",
                comm->rank, nccl_kind_name((enum nccl_kind)transfer->frame.kind),
                (unsigned long long)transfer->frame.count, transfer->peer,
                nccl_kind_name((enum nccl_kind)transfer->found.kind),
                (unsigned long long)transfer->found.count);
    }
    comm->is_stuck = true;
}

/* Moves what can be moved now; false if nothing can. */
static bool move(struct ncclComm *comm, struct transfer *transfer)
{
    const size_t head = sizeof transfer->frame;
    const bool is_in_frame = transfer->done < head;
    char *at = is_in_frame ? (char *)(transfer->is_send ? &transfer->frame : &transfer->found) +
                                 transfer->done
                           : transfer->memory + (transfer->done - head);
    const size_t bytes =
        is_in_frame ? head - transfer->done : head + transfer->frame.bytes - transfer->done;
    const int fd = comm->sockets[transfer->peer];
    const ssize_t count =
        transfer->is_send ? send(fd, at, bytes, MSG_NOSIGNAL) : recv(fd, at, bytes, 0);

    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return false;
    }
    if (count <= 0) {
        lost(comm, transfer->peer);
        return false;
    }
    transfer->done += (size_t)count;
    if (!transfer->is_send && is_in_frame && transfer->done == head &&
        memcmp(&transfer->found, &transfer->frame, head) != 0) {
        stick(comm, transfer);
        return false;
    }
    return true;
}

static bool is_moved(const struct transfer *transfer)
{
    return transfer->done == sizeof transfer->frame + transfer->frame.bytes;
}

/* The transfers of a round, those between the same two in order; true once all are over. */
static bool move_all(struct ncclComm *comm, struct run *run)
{
    bool is_over = true;
    bool is_blocked[2][NCCL_SIZE_MAX] = {{false}};

    for (int i = 0; i < run->transfer_count; i++) {
        struct transfer *transfer = &run->transfers[i];
        bool *blocked = &is_blocked[transfer->is_send][transfer->peer];
        while (!is_moved(transfer) && !*blocked && comm->error == ncclSuccess && !comm->is_stuck &&
               move(comm, transfer)) {
        }
        *blocked = *blocked || !is_moved(transfer);
        is_over = is_over && is_moved(transfer);
    }
    return is_over;
}

/* ---- rounds ---- */

/* Where a rank's share of `count` elements begins. */
static size_t share(size_t count, int rank, int size)
{
    return count * (size_t)rank / (size_t)size;
}

/* Round 0 of a reduction: each rank gets its share of the others' arrays. */
static void scatter_shares(const struct ncclComm *comm, const struct nccl_call *call,
                           struct run *run, size_t total)
{
    const size_t width = nccl_type_bytes(call->type);
    const size_t begin = share(total, comm->rank, comm->size);
    const size_t mine = share(total, comm->rank + 1, comm->size) - begin;

    run->parts = malloc((size_t)comm->size * mine * width + 1);
    if (run->parts == NULL) {
        cudasim_report("no memory for NCCL");
    }
    memcpy(run->parts + (size_t)comm->rank * mine * width, (const char *)call->from + begin * width,
           mine * width);
    for (int peer = 0; peer < comm->size; peer++) {
        if (peer != comm->rank) {
            const size_t at = share(total, peer, comm->size);
            add_transfer(run, call, true, peer, (const char *)call->from + at * width,
                         (share(total, peer + 1, comm->size) - at) * width);
            add_transfer(run, call, false, peer, run->parts + (size_t)peer * mine * width,
                         mine * width);
        }
    }
}

/* The parts of all ranks, reduced in their order into `to`. */
static void reduce_parts(const struct ncclComm *comm, const struct nccl_call *call, struct run *run,
                         char *to, size_t count)
{
    const size_t bytes = count * nccl_type_bytes(call->type);

    memcpy(to, run->parts, bytes);
    for (int rank = 1; rank < comm->size; rank++) {
        nccl_math_reduce(to, run->parts + (size_t)rank * bytes, count, call->type, call->op);
    }
    if (call->op == ncclAvg) {
        nccl_math_scale(to, count, call->type, comm->size);
    }
    free(run->parts);
    run->parts = NULL;
}

/* Everybody sends its share of `to` to everybody. */
static void gather_shares(const struct ncclComm *comm, const struct nccl_call *call,
                          struct run *run, size_t total)
{
    const size_t width = nccl_type_bytes(call->type);
    char *to = call->to;

    for (int peer = 0; peer < comm->size; peer++) {
        if (peer != comm->rank) {
            const size_t mine = share(total, comm->rank, comm->size);
            const size_t theirs = share(total, peer, comm->size);
            add_transfer(run, call, true, peer, to + mine * width,
                         (share(total, comm->rank + 1, comm->size) - mine) * width);
            add_transfer(run, call, false, peer, to + theirs * width,
                         (share(total, peer + 1, comm->size) - theirs) * width);
        }
    }
}

/* Says what a call reads and writes, and copies what stays in this rank. */
static void note_call(const struct ncclComm *comm, const struct nccl_call *call)
{
    const size_t bytes = call->count * nccl_type_bytes(call->type);
    const size_t all = bytes * (size_t)comm->size;
    const bool is_root = call->peer == comm->rank;
    char *to = call->to;

    switch (call->kind) {
    case NCCL_ALL_REDUCE:
        cudasim_reads(call->from, bytes);
        cudasim_writes(to, bytes);
        break;
    case NCCL_BROADCAST:
        cudasim_reads(call->from, is_root ? bytes : 0);
        cudasim_writes(to, bytes);
        if (is_root) {
            memmove(to, call->from, bytes);
        }
        break;
    case NCCL_REDUCE_SCATTER:
        cudasim_reads(call->from, all);
        cudasim_writes(to, bytes);
        break;
    case NCCL_ALL_GATHER:
        cudasim_reads(call->from, bytes);
        cudasim_writes(to, all);
        memmove(to + (size_t)comm->rank * bytes, call->from, bytes);
        break;
    case NCCL_SEND: cudasim_reads(call->from, bytes); break;
    case NCCL_RECV: cudasim_writes(to, bytes); break;
    }
}

/* Begins the next round of a collective; false if there is none. */
static bool begin_round(const struct ncclComm *comm, const struct nccl_call *call, struct run *run)
{
    const size_t width = nccl_type_bytes(call->type);
    const size_t bytes = call->count * width;
    const size_t total = call->count * (size_t)comm->size;
    const bool is_root = call->peer == comm->rank;

    if (run->round == 0) {
        note_call(comm, call);
    }
    switch (call->kind) {
    case NCCL_ALL_REDUCE:
        if (run->round == 0) {
            scatter_shares(comm, call, run, call->count);
        } else if (run->round == 1) {
            const size_t begin = share(call->count, comm->rank, comm->size);
            reduce_parts(comm, call, run, (char *)call->to + begin * width,
                         share(call->count, comm->rank + 1, comm->size) - begin);
            gather_shares(comm, call, run, call->count);
        }
        return run->round < 2;
    case NCCL_REDUCE_SCATTER:
        if (run->round == 0) {
            scatter_shares(comm, call, run, total);
        } else {
            reduce_parts(comm, call, run, call->to, call->count);
        }
        return run->round < 1;
    case NCCL_ALL_GATHER:
        if (run->round == 0) {
            gather_shares(comm, call, run, total);
        }
        return run->round < 1;
    default:
        for (int peer = 0; peer < comm->size && run->round == 0; peer++) {
            if (peer != comm->rank && (is_root || peer == call->peer)) {
                add_transfer(run, call, is_root, peer, call->to, bytes);
            }
        }
        return run->round < 1;
    }
}

/* All sends and receives of the group; those of a rank to itself are copies. */
static void begin_pairs(const struct ncclComm *comm, const struct nccl_work *work, struct run *run)
{
    int own_send = -1;

    for (int i = 0; i < work->call_count; i++) {
        const struct nccl_call *call = &work->calls[i];
        const size_t bytes = call->count * nccl_type_bytes(call->type);
        if (call->kind != NCCL_SEND && call->kind != NCCL_RECV) {
            continue;
        }
        note_call(comm, call);
        if (call->peer != comm->rank) {
            add_transfer(run, call, call->kind == NCCL_SEND, call->peer,
                         call->kind == NCCL_SEND ? call->from : call->to, bytes);
        } else if (call->kind == NCCL_RECV) {
            do { /* the next send to itself */
                own_send++;
            } while (own_send < work->call_count && (work->calls[own_send].kind != NCCL_SEND ||
                                                     work->calls[own_send].peer != comm->rank));
            if (own_send == work->call_count) {
                cudasim_report("ncclRecv() of a rank from itself without an ncclSend()");
            }
            memmove(call->to, work->calls[own_send].from, bytes);
        }
    }
}

/* Begins what comes after the round that is over; false if that was the last. */
static bool begin_next(const struct ncclComm *comm, const struct nccl_work *work, struct run *run)
{
    run->transfer_count = 0;
    if (run->next_call < 0) {
        run->next_call = 0;
        begin_pairs(comm, work, run);
        return true;
    }
    while (run->next_call < work->call_count) {
        const struct nccl_call *call = &work->calls[run->next_call];
        const bool is_pair = call->kind == NCCL_SEND || call->kind == NCCL_RECV;
        if (!is_pair && begin_round(comm, call, run)) {
            run->round++;
            return true;
        }
        run->next_call++;
        run->round = 0;
    }
    return false;
}

/* ---- the work ---- */

static struct run *begin_work(struct ncclComm *comm, const struct nccl_work *work)
{
    struct run *run = calloc(1, sizeof *run);

    if (run == NULL) {
        cudasim_report("no memory for NCCL");
    }
    run->next_call = -1;
    for (int i = 0; i < work->call_count; i++) {
        switch (nccl_fault_at(comm, ++comm->call_count)) {
        case NCCL_HANG: comm->is_stuck = true; break;
        case NCCL_ERROR:
            nccl_break(comm, ncclSystemError, "rank %d: a fault that was asked for", comm->rank);
            break;
        default: break;
        }
    }
    (void)begin_next(comm, work, run);
    return run;
}

static void end_work(struct ncclComm *comm, const struct nccl_work *work, struct run *run)
{
    if (run != NULL) {
        free(run->transfers);
        free(run->parts);
        free(run);
    }
    pthread_mutex_lock(&comm->lock);
    comm->pending_count -= work->is_counted;
    pthread_mutex_unlock(&comm->lock);
}

/* Only the device's thread comes here. */
static enum cudasim_progress run_work(const void *payload, void **state)
{
    const struct nccl_work *work = payload;
    struct ncclComm *comm = work->comm;
    bool is_over = true;

    pthread_mutex_lock(&comm->lock);
    const bool is_aborted = comm->is_aborted;
    comm->running_count += !is_aborted;
    pthread_mutex_unlock(&comm->lock);
    if (is_aborted) {
        end_work(comm, work, *state);
        return CUDASIM_DONE;
    }
    if (*state == NULL) {
        *state = begin_work(comm, work);
    }
    while (is_over && comm->error == ncclSuccess && !comm->is_stuck) {
        is_over = move_all(comm, *state);
        if (is_over && !begin_next(comm, work, *state)) {
            break;
        }
    }
    is_over = is_over && comm->error == ncclSuccess && !comm->is_stuck;
    pthread_mutex_lock(&comm->lock);
    comm->running_count--;
    pthread_mutex_unlock(&comm->lock);
    if (is_over) {
        end_work(comm, work, *state);
        return CUDASIM_DONE;
    }
    return CUDASIM_PENDING;
}

const struct cudasim_work nccl_run_work = {.run = run_work, .is_awaited_elsewhere = true};
