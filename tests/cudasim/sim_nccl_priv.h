/*
 * tests/cudasim/sim_nccl_priv.h - the stand-in of NCCL, between its parts.
 *
 *      sim_nccl.c        calls, groups, the life of a communicator
 *      sim_nccl_link.c   how ranks find each other: a socket between every two
 *      sim_nccl_run.c    what a call does once the device comes to it
 *      sim_nccl_math.c   sums and other reductions of two arrays
 */
#ifndef TESTS_CUDASIM_SIM_NCCL_PRIV_H
#define TESTS_CUDASIM_SIM_NCCL_PRIV_H

#include <nccl.h>

#include "tests/cudasim/sim_priv.h"

#define NCCL_SIZE_MAX 64

enum nccl_kind {
    NCCL_ALL_REDUCE,
    NCCL_BROADCAST,
    NCCL_REDUCE_SCATTER,
    NCCL_ALL_GATHER,
    NCCL_SEND,
    NCCL_RECV
};

/* One call. */
struct nccl_call {
    enum nccl_kind kind;
    const void *from;
    void *to;
    size_t count;
    ncclDataType_t type;
    ncclRedOp_t op;
    int peer; /* or root */
};

/* The calls of a group on one communicator: one piece of work in a stream. */
struct nccl_work {
    struct ncclComm *comm;
    bool is_counted; /* in pending_count: what a graph replays is not */
    int call_count;
    struct nccl_call calls[];
};

enum nccl_fault { NCCL_NO_FAULT, NCCL_HANG, NCCL_ERROR, NCCL_DIE };

struct ncclComm {
    uint32_t magic;
    bool is_open;
    int rank, size, device;
    bool is_blocking;
    ncclUniqueId id;

    _Atomic int error;     /* that broke it: an ncclResult_t, ncclSuccess if none */
    _Atomic bool is_stuck; /* for ever, like a kernel that waits for a peer in vain */
    int sockets[NCCL_SIZE_MAX];
    uint64_t call_count; /* of those that began; the device's thread's own */

    pthread_mutex_t lock; /* of all below */
    bool is_joining, is_finalizing, is_aborted;
    int running_count; /* on the device's thread, without the lock: 0 or 1 */
    int pending_count; /* pieces of work that are in streams */
    struct sim_mark last;
    bool has_last;

    /* Not blocking: what the last call asked for, and how often it was asked about since. */
    struct nccl_work *deferred;
    size_t deferred_bytes;
    cudaStream_t deferred_stream;
    int asked_count;

    pthread_t joiner; /* the thread that makes the connections */
    bool has_joiner;
    struct ncclComm *next;
    struct sim_place place;
};

/* Sets the communicator's error and the words of ncclGetLastError(); the first error stays. */
void nccl_break(struct ncclComm *comm, ncclResult_t error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The fault that CUDASIM_NCCL_FAULT wants of the communicator at this call; dies itself. */
enum nccl_fault nccl_fault_at(const struct ncclComm *comm, uint64_t call);
bool nccl_is_aborted(struct ncclComm *comm);

/* ---- sim_nccl_link.c ---- */

ncclResult_t nccl_link_id(ncclUniqueId *id);
/* Connects the ranks, or breaks the communicator. For as long as it takes, or until an abort. */
void nccl_link_join(struct ncclComm *comm);
void nccl_link_close(struct ncclComm *comm);

/* ---- sim_nccl_run.c ---- */

extern const struct cudasim_work nccl_run_work;
size_t nccl_type_bytes(ncclDataType_t type); /* 0: not known */
const char *nccl_kind_name(enum nccl_kind kind);

/* ---- sim_nccl_math.c ---- */

/* to = to op from; AVG adds, and nccl_math_scale() divides at the end. */
void nccl_math_reduce(void *to, const void *from, size_t count, ncclDataType_t type,
                      ncclRedOp_t op);
void nccl_math_scale(void *to, size_t count, ncclDataType_t type, int divisor);
bool nccl_math_knows(ncclDataType_t type, ncclRedOp_t op);

#endif
