/*
 * tests/cudasim/sim_priv.h - what the files of the simulated device know of each other.
 *
 *      sim_report.c   messages, places in the source, leaks
 *      sim_queue.c    the device's thread, which runs the work of all streams
 *      sim_stream.c   streams and events
 *      sim_graph.c    capture and graphs
 *      sim_memory.c   device memory, pinned memory, copies
 *      sim_watch.c    who may touch which byte: bounds, races, memory nobody wrote; and
 *                     sim_watch_shared.c of shared memory
 *      sim_block.c    the threads of a block, as fibers
 *      sim_device.c   devices, properties, errors
 */
#ifndef TESTS_CUDASIM_SIM_PRIV_H
#define TESTS_CUDASIM_SIM_PRIV_H

#include <pthread.h>
#include <stdint.h>

#include "tests/cudasim/cudasim.h"

/* Of streams and of the lanes of graphs, at a time. */
#define SIM_QUEUE_COUNT_MAX 64
#define SIM_LANE_COUNT_MAX 8

/* ---- sim_report.c ---- */

#define SIM_PLACE_DEPTH 6
/* Where in the program something was made: return addresses, innermost first. */
struct sim_place {
    void *pc[SIM_PLACE_DEPTH];
    int depth;
};
void sim_place_here(struct sim_place *place_out);
/* "kern_gelu.cu:31", or what can be said without debug information. */
void sim_place_text(const void *pc, char *text, size_t text_bytes);
void sim_places_text(const struct sim_place *place, char *text, size_t text_bytes);
/* One line about something that was left over; the process will end with SIM_EXIT_LEAK. */
void sim_leak(const struct sim_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define SIM_EXIT_LEAK 70
void sim_leaks_at_exit(void);
/* A stand-in for a library will be asked to name what of its own was left over. */
void sim_on_exit(void (*leaks)(void));

/* ---- sim_device.c ---- */

/* Sets the calling thread's last error unless it is cudaSuccess or cudaErrorNotReady. */
cudaError_t sim_error(cudaError_t error);
/* Starts the device's thread at the first call; an error if there is no device or after fork(). */
cudaError_t sim_start(void);
/* CUDASIM_name, or `otherwise`. */
const char *sim_setting(const char *name, const char *otherwise);
#define SIM_TRY(call)                                                                              \
    do {                                                                                           \
        const cudaError_t sim_error_ = (call);                                                     \
        if (sim_error_ != cudaSuccess) {                                                           \
            return sim_error(sim_error_);                                                          \
        }                                                                                          \
    } while (0)

/* ---- sim_queue.c ---- */

/* How far each queue is known to have got: what came before, in the sense of Lamport. */
struct sim_clock {
    uint32_t seq[SIM_QUEUE_COUNT_MAX];
};
void sim_clock_join(struct sim_clock *clock, const struct sim_clock *other);

/* A point in a queue: everything up to seq. */
struct sim_mark {
    int queue;
    uint32_t seq;
    struct sim_clock clock;
};

/* The lock of queues, streams, events, graphs; not held while work runs. */
extern pthread_mutex_t sim_lock;

/* All below: with the lock held, unless they say otherwise. */
int sim_queue_open(int priority); /* -1: none is free */
void sim_queue_close(int queue);  /* what is in it still runs */
uint32_t sim_queue_add(int queue, const struct cudasim_work *work, const char *name,
                       const void *payload, size_t payload_bytes);
void sim_queue_add_wait(int queue, const struct sim_mark *mark);
struct sim_mark sim_queue_mark(int queue);
bool sim_mark_is_done(const struct sim_mark *mark);
/* Has the device hurry up to the mark, in a mode in which it does not by itself. */
void sim_mark_demand(const struct sim_mark *mark);
/* The caller now knows that the mark was reached: work it adds comes after. */
void sim_mark_seen(const struct sim_mark *mark);
void sim_mark_wait(const struct sim_mark *mark);
/* Does work in a queue hold a payload for which `holds` is true? */
bool sim_queue_any(const struct cudasim_work *work,
                   bool (*holds)(const void *payload, const void *argument), const void *argument);
void sim_queue_start(void); /* the device's thread; without the lock */
#define SIM_SEQ_BITS 26
#define SIM_OP(queue, seq) ((uint32_t)(queue) << SIM_SEQ_BITS | (seq))
/* Without the lock, on the device's thread: the work that runs. */
const char *sim_now_name(void);
extern uint32_t sim_now_op; /* SIM_OP(queue, seq) */
extern const struct sim_clock *sim_now_clock;
/* Is the work that runs known to come after that one? */
static inline bool sim_now_follows(uint32_t op)
{
    return sim_now_clock->seq[op >> SIM_SEQ_BITS] >= (op & ((1u << SIM_SEQ_BITS) - 1));
}
const char *sim_op_name(uint32_t op);

/* ---- sim_stream.c ---- */

struct sim_capture;
struct CUstream_st {
    uint32_t magic;
    bool is_open;
    int number; /* in messages */
    int queue;
    unsigned flags;
    int priority;
    struct sim_capture *capture; /* sim_graph.c */
    int lane;
    struct CUstream_st *next;
    struct sim_place place;
};
struct CUevent_st {
    uint32_t magic;
    bool is_open;
    int number;
    unsigned flags;
    bool is_recorded;
    struct sim_mark mark;
    double time_ms;
    struct sim_capture *capture; /* recorded there, as its item of this number */
    int item;
    struct CUevent_st *next;
    struct sim_place place;
};
/* The stream behind a handle; ends the process if it was destroyed. Starts the device. */
cudaError_t sim_stream_get(cudaStream_t handle, const char *what, struct CUstream_st **stream_out);
/* Orders a queue's next work as CUDA's legacy default stream wants it. */
void sim_stream_order(struct CUstream_st *stream);
void sim_stream_leaks(void);

/* ---- sim_graph.c ---- */

/* With the lock. Errors of calls that a capture forbids, which spoil it. */
cudaError_t sim_capture_add(struct CUstream_st *stream, const struct cudasim_work *work,
                            const char *name, const void *payload, size_t payload_bytes);
cudaError_t sim_capture_record(struct CUstream_st *stream, struct CUevent_st *event);
cudaError_t sim_capture_wait(struct CUstream_st *stream, struct CUevent_st *event);
cudaError_t sim_capture_refuse(struct CUstream_st *stream);
cudaError_t sim_capture_refuse_event(const struct CUevent_st *event);
/* For calls that no thread may make while a stream captures in the mode GLOBAL. Takes the lock. */
cudaError_t sim_capture_refuse_unsafe(void);
void sim_graph_leaks(void);

/* ---- sim_memory.c ---- */

enum sim_memory_kind { SIM_PAGEABLE, SIM_PINNED, SIM_DEVICE };
enum sim_memory_kind sim_memory_kind(const void *memory);
/* "byte 12 of the 1024 bytes allocated at model.c:31" */
void sim_memory_text(const void *address, char *text, size_t text_bytes);
void sim_memory_leaks(void);
/* The range in which all device memory lies. */
#define SIM_ARENA_BYTES ((size_t)8 << 30)
extern char *sim_arena;

/* ---- sim_watch.c ---- */

void sim_watch_open(void);
void sim_watch_allocated(const void *memory, size_t bytes);
void sim_watch_freed(const void *memory, size_t bytes);
void sim_watch_block(uint32_t block); /* a new block begins */

/* ---- sim_block.c ---- */

/* What decides whether an access comes after another one. */
struct sim_thread {
    unsigned number;     /* in its block */
    uint32_t who;        /* tick << 10 | number */
    uint32_t tick;       /* counts barriers, of the block and of warps */
    uint32_t block_tick; /* the last barrier of the block */
    uint32_t warp_tick;  /* the last barrier of the thread's warp, or of the block */
    bool has_atomics;    /* the block has made some */
};
extern struct sim_thread sim_thread; /* of the thread that runs, if any does */
/* Is this the device's thread, in a kernel? Threads of the host go on meanwhile: they are not. */
extern _Thread_local bool sim_is_in_kernel;
/* Ranges that a thread may touch besides device memory. */
bool sim_is_own_memory(uintptr_t address);
extern char *sim_dynamic_shared;
extern size_t sim_dynamic_shared_bytes;
/* "kernel scale, block (0,0,0), thread (3,0,0)", or the name of what runs. */
void sim_now_text(char *text, size_t text_bytes);

#endif
