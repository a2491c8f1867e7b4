/*
 * tests/cudasim/sim_stream.c - streams and events.
 *
 * A handle is never used again for something else, so that its use after it was destroyed is
 * always seen. The legacy default stream (0) waits for all that blocking streams hold, and they
 * for it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cudasim/sim_priv.h"

#define STREAM_MAGIC 0x73747265u
#define EVENT_MAGIC 0x65766e74u

static struct CUstream_st default_stream = {.magic = STREAM_MAGIC, .is_open = true, .queue = -1};
static struct CUstream_st *streams;
static struct CUevent_st *events;
static int stream_count;
static int event_count;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* ---- handles ---- */

cudaError_t sim_stream_get(cudaStream_t handle, const char *what, struct CUstream_st **stream_out)
{
    const cudaError_t error = sim_start();

    if (error != cudaSuccess) {
        return error;
    }
    if (handle == NULL || handle == cudaStreamLegacy) {
        if (default_stream.queue < 0) {
            pthread_mutex_lock(&sim_lock);
            default_stream.queue = sim_queue_open(0);
            pthread_mutex_unlock(&sim_lock);
        }
        *stream_out = &default_stream;
        return cudaSuccess;
    }
    if (handle->magic != STREAM_MAGIC) {
        cudasim_report("%s on something that is no stream", what);
    }
    if (!handle->is_open) {
        char made[300];
        sim_places_text(&handle->place, made, sizeof made);
        cudasim_report("%s on a stream that was destroyed (stream %d, made at %s)", what,
                       handle->number, made);
    }
    *stream_out = handle;
    return cudaSuccess;
}

static cudaError_t get_event(cudaEvent_t handle, const char *what)
{
    const cudaError_t error = sim_start();

    if (error != cudaSuccess) {
        return error;
    }
    if (handle == NULL) {
        return cudaErrorInvalidResourceHandle;
    }
    if (handle->magic != EVENT_MAGIC) {
        cudasim_report("%s of something that is no event", what);
    }
    if (!handle->is_open) {
        char made[300];
        sim_places_text(&handle->place, made, sizeof made);
        cudasim_report("%s of an event that was destroyed (event %d, made at %s)", what,
                       handle->number, made);
    }
    return cudaSuccess;
}

/* ---- streams ---- */

void sim_stream_order(struct CUstream_st *stream)
{
    if (stream == &default_stream) {
        for (struct CUstream_st *other = streams; other != NULL; other = other->next) {
            if (other->is_open && (other->flags & cudaStreamNonBlocking) == 0) {
                const struct sim_mark mark = sim_queue_mark(other->queue);
                sim_queue_add_wait(stream->queue, &mark);
            }
        }
    } else if ((stream->flags & cudaStreamNonBlocking) == 0 && default_stream.queue >= 0) {
        const struct sim_mark mark = sim_queue_mark(default_stream.queue);
        sim_queue_add_wait(stream->queue, &mark);
    }
}

cudaError_t cudasim_enqueue(cudaStream_t handle, const struct cudasim_work *work, const char *name,
                            const void *payload, size_t payload_bytes)
{
    struct CUstream_st *stream;
    cudaError_t error = sim_stream_get(handle, name, &stream);

    if (error != cudaSuccess) {
        return error;
    }
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        error = sim_capture_add(stream, work, name, payload, payload_bytes);
    } else {
        sim_stream_order(stream);
        sim_queue_add(stream->queue, work, name, payload, payload_bytes);
    }
    pthread_mutex_unlock(&sim_lock);
    return error;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    SIM_TRY(sim_start());
    if ((flags & ~(unsigned)cudaStreamNonBlocking) != 0) {
        return sim_error(cudaErrorInvalidValue);
    }
    struct CUstream_st *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return sim_error(cudaErrorMemoryAllocation);
    }
    sim_place_here(&made->place);
    made->magic = STREAM_MAGIC;
    made->is_open = true;
    made->flags = flags;
    made->priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
    pthread_mutex_lock(&sim_lock);
    made->queue = sim_queue_open(made->priority);
    if (made->queue < 0) {
        cudasim_report("more than %d streams", SIM_QUEUE_COUNT_MAX);
    }
    made->number = ++stream_count;
    made->next = streams;
    streams = made;
    pthread_mutex_unlock(&sim_lock);
    *stream = made;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *priority)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaStreamGetPriority", &stream));
    *priority = stream->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaStreamDestroy", &stream));
    if (stream == &default_stream) {
        return sim_error(cudaErrorInvalidResourceHandle);
    }
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        sim_capture_refuse(stream);
    }
    stream->is_open = false;
    sim_queue_close(stream->queue);
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    struct CUstream_st *stream;
    cudaError_t error = cudaSuccess;

    SIM_TRY(sim_stream_get(handle, "cudaStreamSynchronize", &stream));
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        error = sim_capture_refuse(stream);
    } else {
        sim_stream_order(stream);
        const struct sim_mark mark = sim_queue_mark(stream->queue);
        sim_mark_wait(&mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

static cudaError_t query(const struct sim_mark *mark)
{
    sim_mark_demand(mark);
    if (!sim_mark_is_done(mark)) {
        return cudaErrorNotReady;
    }
    sim_mark_seen(mark);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    struct CUstream_st *stream;
    cudaError_t error;

    SIM_TRY(sim_stream_get(handle, "cudaStreamQuery", &stream));
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        error = sim_capture_refuse(stream);
    } else {
        const struct sim_mark mark = sim_queue_mark(stream->queue);
        error = query(&mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaDeviceSynchronize(void)
{
    SIM_TRY(sim_start());
    SIM_TRY(sim_capture_refuse_unsafe());
    pthread_mutex_lock(&sim_lock);
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        const struct sim_mark mark = sim_queue_mark(i);
        sim_mark_wait(&mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

struct host_call {
    cudaHostFn_t function;
    void *argument;
};

static enum cudasim_progress run_host_call(const void *payload, void **state)
{
    const struct host_call *call = payload;

    (void)state;
    call->function(call->argument);
    return CUDASIM_DONE;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument)
{
    static const struct cudasim_work work = {.run = run_host_call};
    const struct host_call call = {function, argument};

    return sim_error(cudasim_enqueue(stream, &work, "cudaLaunchHostFunc", &call, sizeof call));
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    SIM_TRY(sim_start());
    struct CUevent_st *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return sim_error(cudaErrorMemoryAllocation);
    }
    sim_place_here(&made->place);
    made->magic = EVENT_MAGIC;
    made->is_open = true;
    made->flags = flags;
    pthread_mutex_lock(&sim_lock);
    made->number = ++event_count;
    made->next = events;
    events = made;
    pthread_mutex_unlock(&sim_lock);
    *event = made;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    SIM_TRY(get_event(event, "cudaEventDestroy"));
    event->is_open = false;
    return cudaSuccess;
}

struct record {
    struct CUevent_st *event;
};

static enum cudasim_progress run_record(const void *payload, void **state)
{
    const struct record *record = payload;

    (void)state;
    record->event->time_ms = now_ms();
    return CUDASIM_DONE;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    static const struct cudasim_work work = {.run = run_record};
    struct CUstream_st *stream;
    cudaError_t error = cudaSuccess;

    SIM_TRY(get_event(event, "cudaEventRecord"));
    SIM_TRY(sim_stream_get(handle, "cudaEventRecord", &stream));
    const struct record record = {event};
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        error = sim_capture_record(stream, event);
    } else {
        sim_stream_order(stream);
        sim_queue_add(stream->queue, &work, "cudaEventRecord", &record, sizeof record);
        event->mark = sim_queue_mark(stream->queue);
        event->is_recorded = true;
        event->capture = NULL;
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags)
{
    struct CUstream_st *stream;
    cudaError_t error = cudaSuccess;

    SIM_TRY(get_event(event, "cudaStreamWaitEvent"));
    SIM_TRY(sim_stream_get(handle, "cudaStreamWaitEvent", &stream));
    if (flags != cudaEventWaitDefault) {
        return sim_error(cudaErrorNotSupported);
    }
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL || event->capture != NULL) {
        error = sim_capture_wait(stream, event);
    } else if (event->is_recorded) {
        sim_queue_add_wait(stream->queue, &event->mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    cudaError_t error = cudaSuccess;

    SIM_TRY(get_event(event, "cudaEventQuery"));
    pthread_mutex_lock(&sim_lock);
    if (event->capture != NULL) {
        error = sim_capture_refuse_event(event);
    } else if (event->is_recorded) {
        error = query(&event->mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cudaError_t error = cudaSuccess;

    SIM_TRY(get_event(event, "cudaEventSynchronize"));
    pthread_mutex_lock(&sim_lock);
    if (event->capture != NULL) {
        error = sim_capture_refuse_event(event);
    } else if (event->is_recorded) {
        sim_mark_wait(&event->mark);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    cudaError_t error = cudaSuccess;

    SIM_TRY(get_event(start, "cudaEventElapsedTime"));
    SIM_TRY(get_event(end, "cudaEventElapsedTime"));
    if (((start->flags | end->flags) & cudaEventDisableTiming) != 0) {
        return sim_error(cudaErrorInvalidResourceHandle);
    }
    pthread_mutex_lock(&sim_lock);
    if (!start->is_recorded || !end->is_recorded) {
        error = cudaErrorInvalidResourceHandle;
    } else if (!sim_mark_is_done(&start->mark) || !sim_mark_is_done(&end->mark)) {
        error = cudaErrorNotReady;
    } else {
        *ms = (float)(end->time_ms - start->time_ms);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

void sim_stream_leaks(void)
{
    for (const struct CUstream_st *stream = streams; stream != NULL; stream = stream->next) {
        if (stream->is_open) {
            sim_leak(&stream->place, "stream %d", stream->number);
        }
    }
    for (const struct CUevent_st *event = events; event != NULL; event = event->next) {
        if (event->is_open) {
            sim_leak(&event->place, "event %d", event->number);
        }
    }
}
