#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/device/device_cuda_priv.h"
#include "comm/device/device_priv.h"

enum {
    SM_LEAST = 80,          /* the oldest architecture that kernels are compiled for */
    POLLS_BEFORE_NAP = 200, /* work that is about to end is worth a few microseconds */
    NAP_US = 20,
    ZERO_DEADLINE_MS = 60000, /* of what an open does on the device */
};

struct cuda_device {
    struct device base;
    int index;
    cudaStream_t setup; /* zeroes memory that is opened */
    /*
     * A wait has failed or timed out, on any thread, and none has succeeded since. CUDA frees
     * memory when all work is done, which may then be never: it is left to the end of the process.
     */
    atomic_bool stuck;
};

struct cuda_stream {
    struct device_stream base;
    cudaStream_t handle;
};

struct cuda_event {
    struct device_event base;
    cudaEvent_t handle;
};

struct cuda_graph {
    struct device_graph base;
    cudaGraphExec_t handle;
};

static struct cuda_device *of(const struct device *device)
{
    return (struct cuda_device *)(uintptr_t)device;
}

enum err device_cuda_result(cudaError_t result, const char *call)
{
    if (result == cudaSuccess) {
        return ERR_OK;
    }
    (void)cudaGetLastError(); /* else the next wait would tell it again */
    return ERR_FAIL(result == cudaErrorMemoryAllocation ? ERR_NO_MEMORY : ERR_DEVICE, "%s: %s: %s",
                    call, cudaGetErrorName(result), cudaGetErrorString(result));
}

enum err device_cuda_enter(const struct device *device)
{
    static _Thread_local int entered = -1;

    if (entered != of(device)->index) {
        DEVICE_CUDA_TRY(cudaSetDevice(of(device)->index));
        entered = of(device)->index;
    }
    return ERR_OK;
}

cudaStream_t device_cuda_stream(const struct device_stream *stream)
{
    assert(stream->device->kind == DEVICE_CUDA);
    return ((const struct cuda_stream *)stream)->handle;
}

cudaEvent_t device_cuda_event(const struct device_event *event)
{
    assert(event->device->kind == DEVICE_CUDA);
    return ((const struct cuda_event *)event)->handle;
}

cudaStream_t device_cuda_current(void)
{
    assert(device_current() != NULL);
    return device_cuda_stream(device_current());
}

bool device_has_cuda(void)
{
    return true;
}

/* Waits until `query` of `handle` is no longer "not ready"; both kinds of wait. */
static enum err wait_for(struct device *device, cudaStream_t stream, cudaEvent_t event,
                         int64_t deadline_ms)
{
    const int64_t end_ms = clock_now_ms() + deadline_ms;

    ERR_TRY(device_cuda_enter(device));
    /* Launches tell their errors nowhere else. */
    enum err status = device_cuda_result(cudaGetLastError(), "work started before");
    for (int64_t polls = 0; status == ERR_OK; polls++) {
        const cudaError_t result = event != NULL ? cudaEventQuery(event) : cudaStreamQuery(stream);
        if (result != cudaErrorNotReady) {
            status = device_cuda_result(result, event != NULL ? "work before an event"
                                                              : "work on a stream");
            break;
        }
        (void)cudaGetLastError(); /* "not ready" may be kept as an error, too */
        if (polls < POLLS_BEFORE_NAP) {
            continue;
        }
        if (clock_now_ms() >= end_ms) {
            status = ERR_FAIL(ERR_TIMEOUT, "%s: waited %" PRId64 " ms in vain", device->name,
                              deadline_ms);
            break;
        }
        clock_nap_us(NAP_US);
    }
    atomic_store(&of(device)->stuck, status != ERR_OK);
    return status;
}

static void cuda_close(struct device *device)
{
    if (!of(device)->stuck && device_cuda_enter(device) == ERR_OK) {
        (void)cudaStreamDestroy(of(device)->setup);
    }
    free(device);
}

static void cuda_memory_bytes(struct device *device, int64_t *total_out, int64_t *free_out)
{
    size_t total = 0, free = 0;

    if (device_cuda_enter(device) == ERR_OK && cudaMemGetInfo(&free, &total) == cudaSuccess) {
        *total_out = (int64_t)total;
        *free_out = (int64_t)free;
    }
}

/* `code` is what CUDA said when it had no `bytes` of memory for `what`. */
static enum err no_memory(struct device *device, cudaError_t code, const char *what, size_t bytes)
{
    int64_t total = 0, free = 0;

    (void)cudaGetLastError();
    if (code != cudaErrorMemoryAllocation) {
        return ERR_FAIL(ERR_DEVICE, "%s: %zu bytes of memory: %s: %s", what, bytes,
                        cudaGetErrorName(code), cudaGetErrorString(code));
    }
    cuda_memory_bytes(device, &total, &free);
    return ERR_FAIL(ERR_NO_MEMORY,
                    "%s: no memory for %zu bytes, %" PRId64 " of the %" PRId64 " of %s are free",
                    what, bytes, free, total, device->name);
}

static enum err cuda_memory_open(struct device *device, size_t bytes, const char *what,
                                 void **memory_out)
{
    void *memory = NULL;
    const size_t least = bytes > 0 ? bytes : 1; /* of 0 bytes CUDA makes NULL */

    ERR_TRY(device_cuda_enter(device));
    const cudaError_t result = cudaMalloc(&memory, least);
    if (result != cudaSuccess) {
        return no_memory(device, result, what, bytes);
    }
    enum err status =
        device_cuda_result(cudaMemsetAsync(memory, 0, least, of(device)->setup), "cudaMemsetAsync");
    if (status == ERR_OK) {
        status = wait_for(device, of(device)->setup, NULL, ZERO_DEADLINE_MS);
    }
    if (status != ERR_OK) {
        device_memory_close(device, memory);
        return err_context_(status, "%s", what);
    }
    *memory_out = memory;
    return ERR_OK;
}

static void cuda_memory_close(struct device *device, void *memory)
{
    if (!of(device)->stuck && device_cuda_enter(device) == ERR_OK) {
        (void)cudaFree(memory);
    }
}

static enum err cuda_pinned_open(struct device *device, size_t bytes, const char *what,
                                 void **memory_out)
{
    void *memory = NULL;

    ERR_TRY(device_cuda_enter(device));
    const cudaError_t result = cudaHostAlloc(&memory, bytes > 0 ? bytes : 1, cudaHostAllocPortable);
    if (result != cudaSuccess) {
        (void)cudaGetLastError();
        return ERR_FAIL(result == cudaErrorMemoryAllocation ? ERR_NO_MEMORY : ERR_DEVICE,
                        "%s: %zu bytes of pinned memory: %s", what, bytes,
                        cudaGetErrorString(result));
    }
    for (size_t i = 0; i < bytes; i++) {
        ((volatile unsigned char *)memory)[i] = 0;
    }
    *memory_out = memory;
    return ERR_OK;
}

static void cuda_pinned_close(struct device *device, void *memory)
{
    if (!of(device)->stuck && device_cuda_enter(device) == ERR_OK) {
        (void)cudaFreeHost(memory);
    }
}

static enum err cuda_register(struct device *device, void *begin, size_t bytes, const char *what)
{
    ERR_TRY(device_cuda_enter(device));
    const cudaError_t result = cudaHostRegister(begin, bytes, cudaHostRegisterPortable);
    if (result != cudaSuccess) {
        (void)cudaGetLastError();
        return ERR_FAIL(result == cudaErrorMemoryAllocation ? ERR_NO_MEMORY : ERR_DEVICE,
                        "%s: %zu bytes could not be registered with %s: %s", what, bytes,
                        device->name, cudaGetErrorString(result));
    }
    return ERR_OK;
}

static void cuda_unregister(struct device *device, void *begin)
{
    if (!of(device)->stuck && device_cuda_enter(device) == ERR_OK) {
        (void)cudaHostUnregister(begin);
    }
}

static enum err cuda_stream_open(struct device *device, enum device_priority priority,
                                 struct device_stream **stream_out)
{
    int least = 0, greatest = 0; /* a smaller number goes first */

    ERR_TRY(device_cuda_enter(device));
    DEVICE_CUDA_TRY(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    const int number = priority == DEVICE_PRIORITY_LOW    ? least
                       : priority == DEVICE_PRIORITY_HIGH ? greatest
                                                          : (least + greatest) / 2;
    struct cuda_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a stream");
    }
    stream->base.device = device;
    /* Not blocking: else work on CUDA's default stream would order all others. */
    const enum err status = device_cuda_result(
        cudaStreamCreateWithPriority(&stream->handle, cudaStreamNonBlocking, number),
        "cudaStreamCreateWithPriority");
    if (status != ERR_OK) {
        free(stream);
        return status;
    }
    *stream_out = &stream->base;
    return ERR_OK;
}

static void cuda_stream_close(struct device_stream *stream)
{
    if (!of(stream->device)->stuck && device_cuda_enter(stream->device) == ERR_OK) {
        (void)cudaStreamDestroy(device_cuda_stream(stream));
    }
    free(stream);
}

static enum err cuda_wait(struct device_stream *stream, int64_t deadline_ms)
{
    return wait_for(stream->device, device_cuda_stream(stream), NULL, deadline_ms);
}

static enum err cuda_stream_wait_event(struct device_stream *stream, struct device_event *event)
{
    ERR_TRY(device_cuda_enter(stream->device));
    DEVICE_CUDA_TRY(cudaStreamWaitEvent(device_cuda_stream(stream), device_cuda_event(event), 0));
    return ERR_OK;
}

static enum err cuda_copy(struct device_stream *stream, void *to, const void *from, size_t bytes)
{
    ERR_TRY(device_cuda_enter(stream->device));
    DEVICE_CUDA_TRY(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, device_cuda_stream(stream)));
    return ERR_OK;
}

static enum err cuda_zero(struct device_stream *stream, void *to, size_t bytes)
{
    ERR_TRY(device_cuda_enter(stream->device));
    DEVICE_CUDA_TRY(cudaMemsetAsync(to, 0, bytes, device_cuda_stream(stream)));
    return ERR_OK;
}

/* A failure is met again, and told, by the first call that uses the device. */
static void cuda_use(struct device_stream *stream)
{
    if (device_cuda_enter(stream->device) != ERR_OK) {
        err_clear();
    }
}

static enum err cuda_event_open(struct device *device, struct device_event **event_out)
{
    ERR_TRY(device_cuda_enter(device));
    struct cuda_event *event = calloc(1, sizeof(*event));
    if (event == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an event");
    }
    event->base.device = device;
    const enum err status =
        device_cuda_result(cudaEventCreateWithFlags(&event->handle, cudaEventDisableTiming),
                           "cudaEventCreateWithFlags");
    if (status != ERR_OK) {
        free(event);
        return status;
    }
    *event_out = &event->base;
    return ERR_OK;
}

static void cuda_event_close(struct device_event *event)
{
    if (!of(event->device)->stuck && device_cuda_enter(event->device) == ERR_OK) {
        (void)cudaEventDestroy(device_cuda_event(event));
    }
    free(event);
}

static enum err cuda_event_record(struct device_event *event, struct device_stream *stream)
{
    ERR_TRY(device_cuda_enter(event->device));
    DEVICE_CUDA_TRY(cudaEventRecord(device_cuda_event(event), device_cuda_stream(stream)));
    return ERR_OK;
}

static enum err cuda_event_is_done(struct device_event *event, bool *done_out)
{
    ERR_TRY(device_cuda_enter(event->device));
    ERR_TRY(device_cuda_result(cudaGetLastError(), "work started before"));
    const cudaError_t result = cudaEventQuery(device_cuda_event(event));
    if (result == cudaErrorNotReady) {
        (void)cudaGetLastError();
        *done_out = false;
        return ERR_OK;
    }
    ERR_TRY(device_cuda_result(result, "work before an event"));
    *done_out = true;
    return ERR_OK;
}

static enum err cuda_event_wait(struct device_event *event, int64_t deadline_ms)
{
    return wait_for(event->device, NULL, device_cuda_event(event), deadline_ms);
}

/* Of this thread only: others may allocate while it records. */
static enum err cuda_graph_begin(struct device_stream *stream)
{
    ERR_TRY(device_cuda_enter(stream->device));
    DEVICE_CUDA_TRY(
        cudaStreamBeginCapture(device_cuda_stream(stream), cudaStreamCaptureModeThreadLocal));
    return ERR_OK;
}

static enum err cuda_graph_end(struct device_stream *stream, struct device_graph **graph_out)
{
    cudaGraph_t recorded = NULL;

    ERR_TRY(device_cuda_enter(stream->device));
    DEVICE_CUDA_TRY(cudaStreamEndCapture(device_cuda_stream(stream), &recorded));
    struct cuda_graph *graph = calloc(1, sizeof(*graph));
    if (graph == NULL) {
        (void)cudaGraphDestroy(recorded);
        return ERR_FAIL(ERR_NO_MEMORY, "a graph");
    }
    graph->base.device = stream->device;
    const enum err status =
        device_cuda_result(cudaGraphInstantiateWithFlags(&graph->handle, recorded, 0),
                           "cudaGraphInstantiateWithFlags");
    (void)cudaGraphDestroy(recorded);
    if (status != ERR_OK) {
        free(graph);
        return status;
    }
    *graph_out = &graph->base;
    return ERR_OK;
}

static enum err cuda_graph_launch(struct device_graph *graph, struct device_stream *stream)
{
    ERR_TRY(device_cuda_enter(graph->device));
    DEVICE_CUDA_TRY(
        cudaGraphLaunch(((struct cuda_graph *)graph)->handle, device_cuda_stream(stream)));
    return ERR_OK;
}

static void cuda_graph_close(struct device_graph *graph)
{
    if (!of(graph->device)->stuck && device_cuda_enter(graph->device) == ERR_OK) {
        (void)cudaGraphExecDestroy(((struct cuda_graph *)graph)->handle);
    }
    free(graph);
}

static const struct device_ops cuda_ops = {
    .has_graphs = true,
    .close = cuda_close,
    .memory_bytes = cuda_memory_bytes,
    .memory_open = cuda_memory_open,
    .memory_close = cuda_memory_close,
    .pinned_open = cuda_pinned_open,
    .pinned_close = cuda_pinned_close,
    .register_range = cuda_register,
    .unregister_range = cuda_unregister,
    .stream_open = cuda_stream_open,
    .stream_close = cuda_stream_close,
    .wait = cuda_wait,
    .stream_wait_event = cuda_stream_wait_event,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .use = cuda_use,
    .event_open = cuda_event_open,
    .event_close = cuda_event_close,
    .event_record = cuda_event_record,
    .event_is_done = cuda_event_is_done,
    .event_wait = cuda_event_wait,
    .graph_begin = cuda_graph_begin,
    .graph_end = cuda_graph_end,
    .graph_launch = cuda_graph_launch,
    .graph_close = cuda_graph_close,
};

/* How many devices the process sees; ERR_CONFIG where there is none to be had. */
static enum err count_devices(int *count_out)
{
    int driver = 0, count = 0;

    /* Success and 0 where there is no driver. */
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return ERR_FAIL(ERR_CONFIG, "no NVIDIA driver");
    }
    const cudaError_t result = cudaGetDeviceCount(&count);
    (void)cudaGetLastError();
    if (result == cudaErrorInsufficientDriver) {
        return ERR_FAIL(
            ERR_CONFIG, "the NVIDIA driver is one for CUDA %d.%d, this program needs one for %d.%d",
            driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    }
    if (result == cudaErrorNoDevice || (result == cudaSuccess && count == 0)) {
        return ERR_FAIL(ERR_CONFIG, "an NVIDIA driver, but no CUDA device");
    }
    if (result != cudaSuccess) {
        return ERR_FAIL(ERR_CONFIG, "the NVIDIA driver does not start: %s: %s",
                        cudaGetErrorName(result), cudaGetErrorString(result));
    }
    *count_out = count;
    return ERR_OK;
}

static enum err describe(struct cuda_device *device)
{
    struct cudaDeviceProp properties;

    DEVICE_CUDA_TRY(cudaGetDeviceProperties(&properties, device->index));
    const int sm = 10 * properties.major + properties.minor;
    if (sm < SM_LEAST) {
        return ERR_FAIL(ERR_CONFIG,
                        "CUDA device %d, %s, is sm_%d, this program needs sm_%d or later",
                        device->index, properties.name, sm, SM_LEAST);
    }
    snprintf(device->base.name, sizeof(device->base.name), "%.255s, sm_%d", properties.name, sm);
    return ERR_OK;
}

enum err device_cuda_open(int local_rank, int local_size, struct device **device_out)
{
    int count = 0;
    enum err status = ERR_OK;

    ERR_TRY(count_devices(&count));
    if (count < local_size) {
        const char *const visible = getenv("CUDA_VISIBLE_DEVICES"); /* as a launcher may set it */
        return ERR_FAIL(ERR_CONFIG, "%d ranks on this host, which has %d CUDA device%s%s%.60s",
                        local_size, count, count == 1 ? "" : "s",
                        visible != NULL ? " for this rank, by CUDA_VISIBLE_DEVICES=" : "",
                        visible != NULL ? visible : "");
    }
    struct cuda_device *device = calloc(1, sizeof(*device));
    if (device == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a device");
    }
    device->base.ops = &cuda_ops;
    device->base.kind = DEVICE_CUDA;
    device->index = local_rank;
    ERR_GOTO(err_free, status, describe(device));
    ERR_GOTO(err_free, status, device_cuda_enter(&device->base));
    ERR_GOTO(err_free, status,
             device_cuda_result(cudaStreamCreateWithFlags(&device->setup, cudaStreamNonBlocking),
                                "cudaStreamCreateWithFlags"));
    *device_out = &device->base;
    return ERR_OK;

err_free:
    free(device);
    return status;
}
