/*
 * comm/device/device.h - where a rank computes: its memory, its streams, its events, its copies;
 * a CPU or one CUDA device behind one interface.
 *
 * Work is put on a stream and done in order; streams run beside each other, and an event orders
 * one after the other:
 *
 *      compute   | backward | adamw | E |          E: device_event_record(E, compute)
 *      copies                           | copy     device_stream_wait_event(copies, E)
 *
 * On the CPU everything is done when the call returns: streams and events are there so that the
 * caller is the same lines, and a wait is over at once. What a CUDA device does, it does later: a
 * call that returned ERR_OK has only been taken in, and an error of the work itself - an address
 * that is not there, say - comes back from a later call, at the latest from the next device_wait()
 * of that stream. After ERR_DEVICE the device is of no more use to this process.
 *
 * Every wait has a deadline, counted from the call: a device that hangs ends as ERR_TIMEOUT.
 *
 * Memory: what an open gives is the caller's, who closes it before the device. The close of a
 * stream, an event or a graph waits for nobody; memory is closed by whoever knows, from a wait,
 * that no work uses it any more.
 * Threads: a device and its memory belong to all threads; a stream, an event or a graph to one at a
 * time. Nothing is allocated by a call that does not end in _open or _end.
 */
#ifndef COMM_DEVICE_DEVICE_H
#define COMM_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum device_kind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };

/* Which stream's work a device prefers when it has no room for both; a CPU has no use for it. */
enum device_priority { DEVICE_PRIORITY_LOW, DEVICE_PRIORITY_NORMAL, DEVICE_PRIORITY_HIGH };

struct device;
struct device_stream;
struct device_event;
struct device_graph; /* work that was recorded once, to be launched as a whole */

/*
 * The device of the rank that is the local_rank-th of local_size >= 1 on this host: the CUDA device
 * of that number among those that the process can see (CUDA_VISIBLE_DEVICES).
 *
 * AUTO: CUDA if the program was built with it and there are a driver and a device for every rank of
 * the host, else the CPU; device_why() then says what is missing. Ranks decide one by one: a caller
 * that wants the same kind everywhere lets them agree.
 *
 * Errors: ERR_CONFIG if CUDA is asked for and cannot be had: the program was built without it, there
 * is no driver or an old one, no device, fewer devices than ranks (both are named; so where a launcher
 * shows each rank a device of its own only, as srun --gpus-per-task does without --gpu-bind=none), or
 * one that is older than sm_80; ERR_DEVICE; ERR_NO_MEMORY. Cost: with a CUDA device 0.1 to 1 s, once.
 */
ERR_MUST_CHECK enum err device_open(enum device_kind kind, int local_rank, int local_size,
                                    struct device **device_out);
void device_close(struct device *device); /* NULL is allowed */

/* The CPU, which needs no opening; closing it does nothing. */
struct device *device_cpu(void);

enum device_kind device_kind(const struct device *device); /* CPU or CUDA */
const char *device_name(const struct device *device);      /* "CPU", "NVIDIA H100 80GB, sm_90" */

/* Why AUTO did not choose CUDA: "no NVIDIA driver"; "" if it did, or was not asked. */
const char *device_why(const struct device *device);

/* Whether this program was built with CUDA. */
bool device_has_cuda(void);

/* Of a CUDA device, its own memory, in bytes; of a CPU, the host's. 0 if that is not known. */
int64_t device_memory_total_bytes(struct device *device);
int64_t device_memory_free_bytes(struct device *device);

/*
 * `bytes` >= 0 of the device's memory, zeroed, aligned to 256 bytes on a CUDA device and to 64 on a
 * CPU, where it is host memory as any other. `what` names it in the error. Ended with
 * device_memory_close(). Errors: ERR_NO_MEMORY with what is free; ERR_DEVICE.
 * Cost: the whole device may wait for it; at start only.
 */
ERR_MUST_CHECK enum err device_memory_open(struct device *device, size_t bytes, const char *what,
                                           void **memory_out);

/* The same for `count` >= 0 floats. Errors: also ERR_NO_MEMORY if the size overflows. */
ERR_MUST_CHECK enum err device_memory_open_f32(struct device *device, int64_t count,
                                               const char *what, float **memory_out);
void device_memory_close(struct device *device, void *memory); /* NULL is allowed */

/*
 * Host memory that a CUDA device reads and writes by itself, zeroed: only to and from such memory is
 * a copy done beside other work. Errors: ERR_NO_MEMORY, ERR_DEVICE. Cost: as device_memory_open().
 */
ERR_MUST_CHECK enum err device_pinned_open(struct device *device, size_t bytes, const char *what,
                                           void **memory_out);
void device_pinned_close(struct device *device, void *memory); /* NULL is allowed */

/*
 * Makes host memory that is there already, of this process or shared (a slot of snapshots), such
 * memory, until device_unregister(). A range is registered once at a time.
 * Errors: ERR_NO_MEMORY if the system does not let it be locked; ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_register(struct device *device, void *begin, size_t bytes,
                                        const char *what);
void device_unregister(struct device *device, void *begin);

/* Errors: ERR_NO_MEMORY, ERR_DEVICE. */
ERR_MUST_CHECK enum err device_stream_open(struct device *device, enum device_priority priority,
                                           struct device_stream **stream_out);
void device_stream_close(struct device_stream *stream); /* NULL is allowed */

/*
 * Waits until everything on the stream is done, and takes in the errors of this thread's earlier
 * launches on the device. Errors: ERR_TIMEOUT; ERR_DEVICE with the name and the words of CUDA's error.
 */
ERR_MUST_CHECK enum err device_wait(struct device_stream *stream, int64_t deadline_ms);

/* Errors: ERR_NO_MEMORY, ERR_DEVICE. */
ERR_MUST_CHECK enum err device_event_open(struct device *device, struct device_event **event_out);
void device_event_close(struct device_event *event); /* NULL is allowed */

/* The event is done once everything that is on the stream now is. Errors: ERR_DEVICE. */
ERR_MUST_CHECK enum err device_event_record(struct device_event *event,
                                            struct device_stream *stream);

/*
 * What is put on the stream from now on begins after the event's latest record. The host does not
 * wait. An event that was never recorded holds nobody up. Errors: ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_stream_wait_event(struct device_stream *stream,
                                                 struct device_event *event);

/* Whether the latest record is done; so is an event without one. Errors: ERR_DEVICE. */
ERR_MUST_CHECK enum err device_event_is_done(struct device_event *event, bool *done_out);

/* The host waits for it. Errors: ERR_TIMEOUT, ERR_DEVICE. */
ERR_MUST_CHECK enum err device_event_wait(struct device_event *event, int64_t deadline_ms);

/*
 * Copies `bytes` on the stream, between host and device whichever way the addresses say. Both ends
 * are the copy's until it is done. With host memory that is neither pinned nor registered the call
 * may wait for the stream. Errors: ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_copy(struct device_stream *stream, void *to, const void *from,
                                    size_t bytes);

/* Zeroes device memory on the stream. Errors: ERR_DEVICE. */
ERR_MUST_CHECK enum err device_zero(struct device_stream *stream, void *to, size_t bytes);

/*
 * On this thread's current stream, and waited for: `bytes` of the device's memory to host memory.
 * Errors: ERR_TIMEOUT, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_read(struct device *device, void *to, const void *from, size_t bytes,
                                    int64_t deadline_ms);

/*
 * Where the device finds what lies on the host: on a CPU where it is; else copied, on this thread's
 * current stream, to `staging` [bytes] of the device's memory. `staging` is NULL for a CPU.
 * Errors: ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_stage(struct device *device, void *staging, const void *host,
                                     size_t bytes, const void **staged_out);

/* What lies on a device, as the host sees it. */
struct device_view {
    void *host;
    struct device *device;
    void *memory;
    size_t bytes;
};

/*
 * From open to close the host may read and, if it says so, change `bytes` of the device's memory: on a
 * CPU that memory itself; else a copy, which the close writes back if `changed`. On this thread's current
 * stream; both wait, no longer than two minutes. For set-up and checkpoints, not for steps: it allocates.
 * Close it whatever happened in between. Errors: ERR_NO_MEMORY, ERR_TIMEOUT, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err device_view_open(struct device *device, void *memory, size_t bytes,
                                         struct device_view *view_out);
ERR_MUST_CHECK enum err device_view_close(struct device_view *view, bool changed);

/*
 * Recording: from begin to end what this thread puts on the stream is not done but noted, with what
 * other streams do that are ordered behind it and before its end by events; a launch then does all
 * of it again, on the same addresses, for the price of one call. Nothing may wait or be allocated
 * meanwhile. A CPU cannot: ask device_has_graphs(), and without them do the work each time.
 *
 * Errors of all three: ERR_DEVICE; of begin ERR_INVALID on a CPU; of end ERR_NO_MEMORY.
 */
bool device_has_graphs(const struct device *device);
ERR_MUST_CHECK enum err device_graph_begin(struct device_stream *stream);
ERR_MUST_CHECK enum err device_graph_end(struct device_stream *stream,
                                         struct device_graph **graph_out);
ERR_MUST_CHECK enum err device_graph_launch(struct device_graph *graph,
                                            struct device_stream *stream);
void device_graph_close(struct device_graph *graph); /* NULL is allowed */

/*
 * The stream on which kernels of this thread run from now on; NULL: none, which kernels of a CPU do
 * not mind. It must be put back before the stream is closed.
 */
void device_use(struct device_stream *stream);
struct device_stream *device_current(void);

#ifdef __cplusplus
}
#endif

#endif
