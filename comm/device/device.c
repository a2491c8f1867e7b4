#include "comm/device/device.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "comm/base/memory.h"
#include "comm/device/device_priv.h"

enum { VIEW_MS = 120000 };

static _Thread_local struct device_stream *current;

enum err device_open(enum device_kind kind, int local_rank, int local_size,
                     struct device **device_out)
{
    char why[sizeof((*device_out)->why)] = "";

    assert(device_out != NULL);
    assert(local_rank >= 0 && local_rank < local_size);
    if (kind != DEVICE_CPU) {
        const enum err status = device_cuda_open(local_rank, local_size, device_out);
        if (status != ERR_CONFIG || kind == DEVICE_CUDA) {
            return status;
        }
        err_text(why, sizeof(why));
        err_clear();
    }
    ERR_TRY(device_cpu_open(device_out));
    memcpy((*device_out)->why, why, sizeof(why));
    return ERR_OK;
}

void device_close(struct device *device)
{
    if (device != NULL) {
        device->ops->close(device);
    }
}

enum device_kind device_kind(const struct device *device)
{
    return device->kind;
}

const char *device_name(const struct device *device)
{
    return device->name;
}

const char *device_why(const struct device *device)
{
    return device->why;
}

int64_t device_memory_total_bytes(struct device *device)
{
    int64_t total = 0, free = 0;

    device->ops->memory_bytes(device, &total, &free);
    return total;
}

int64_t device_memory_free_bytes(struct device *device)
{
    int64_t total = 0, free = 0;

    device->ops->memory_bytes(device, &total, &free);
    return free;
}

enum err device_memory_open(struct device *device, size_t bytes, const char *what,
                            void **memory_out)
{
    assert(what != NULL && memory_out != NULL);
    return device->ops->memory_open(device, bytes, what, memory_out);
}

enum err device_memory_open_f32(struct device *device, int64_t count, const char *what,
                                float **memory_out)
{
    void *memory = NULL;

    assert(count >= 0);
    if ((uint64_t)count > SIZE_MAX / sizeof(float)) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory for %" PRId64 " floats", what, count);
    }
    ERR_TRY(device_memory_open(device, (size_t)count * sizeof(float), what, &memory));
    *memory_out = memory;
    return ERR_OK;
}

void device_memory_close(struct device *device, void *memory)
{
    if (memory != NULL) {
        device->ops->memory_close(device, memory);
    }
}

enum err device_pinned_open(struct device *device, size_t bytes, const char *what,
                            void **memory_out)
{
    assert(what != NULL && memory_out != NULL);
    return device->ops->pinned_open(device, bytes, what, memory_out);
}

void device_pinned_close(struct device *device, void *memory)
{
    if (memory != NULL) {
        device->ops->pinned_close(device, memory);
    }
}

enum err device_register(struct device *device, void *begin, size_t bytes, const char *what)
{
    assert(begin != NULL && what != NULL);
    return device->ops->register_range(device, begin, bytes, what);
}

void device_unregister(struct device *device, void *begin)
{
    device->ops->unregister_range(device, begin);
}

enum err device_stream_open(struct device *device, enum device_priority priority,
                            struct device_stream **stream_out)
{
    assert(stream_out != NULL);
    return device->ops->stream_open(device, priority, stream_out);
}

void device_stream_close(struct device_stream *stream)
{
    assert(stream == NULL || stream != current);
    if (stream != NULL) {
        stream->device->ops->stream_close(stream);
    }
}

enum err device_wait(struct device_stream *stream, int64_t deadline_ms)
{
    return stream->device->ops->wait(stream, deadline_ms);
}

enum err device_stream_wait_event(struct device_stream *stream, struct device_event *event)
{
    assert(stream->device == event->device);
    return stream->device->ops->stream_wait_event(stream, event);
}

enum err device_copy(struct device_stream *stream, void *to, const void *from, size_t bytes)
{
    assert(bytes == 0 || (to != NULL && from != NULL));
    return bytes == 0 ? ERR_OK : stream->device->ops->copy(stream, to, from, bytes);
}

enum err device_zero(struct device_stream *stream, void *to, size_t bytes)
{
    assert(bytes == 0 || to != NULL);
    return bytes == 0 ? ERR_OK : stream->device->ops->zero(stream, to, bytes);
}

enum err device_event_open(struct device *device, struct device_event **event_out)
{
    assert(event_out != NULL);
    return device->ops->event_open(device, event_out);
}

void device_event_close(struct device_event *event)
{
    if (event != NULL) {
        event->device->ops->event_close(event);
    }
}

enum err device_event_record(struct device_event *event, struct device_stream *stream)
{
    assert(stream->device == event->device);
    return event->device->ops->event_record(event, stream);
}

enum err device_event_is_done(struct device_event *event, bool *done_out)
{
    assert(done_out != NULL);
    return event->device->ops->event_is_done(event, done_out);
}

enum err device_event_wait(struct device_event *event, int64_t deadline_ms)
{
    return event->device->ops->event_wait(event, deadline_ms);
}

enum err device_read(struct device *device, void *to, const void *from, size_t bytes,
                     int64_t deadline_ms)
{
    if (device->kind == DEVICE_CPU) {
        memcpy(to, from, bytes);
        return ERR_OK;
    }
    assert(current != NULL && current->device == device);
    ERR_TRY(device_copy(current, to, from, bytes));
    return device_wait(current, deadline_ms);
}

enum err device_stage(struct device *device, void *staging, const void *host, size_t bytes,
                      const void **staged_out)
{
    assert((staging == NULL) == (device->kind == DEVICE_CPU));
    *staged_out = staging == NULL ? host : staging;
    return staging == NULL ? ERR_OK : device_copy(current, staging, host, bytes);
}

enum err device_view_open(struct device *device, void *memory, size_t bytes,
                          struct device_view *view_out)
{
    struct device_view view = {.host = memory, .device = device, .memory = memory, .bytes = bytes};

    if (device->kind != DEVICE_CPU) {
        ERR_TRY(memory_open(bytes, "a view of the device's memory", &view.host));
        const enum err status = device_read(device, view.host, memory, bytes, VIEW_MS);
        if (status != ERR_OK) {
            memory_close(view.host);
            return status;
        }
    }
    *view_out = view;
    return ERR_OK;
}

enum err device_view_close(struct device_view *view, bool changed)
{
    enum err status = ERR_OK;

    if (view->host == view->memory) {
        return ERR_OK;
    }
    if (changed) {
        status = device_copy(current, view->memory, view->host, view->bytes);
        if (status == ERR_OK) {
            status = device_wait(current, VIEW_MS);
        }
    }
    memory_close(view->host);
    view->host = view->memory;
    return status;
}

bool device_has_graphs(const struct device *device)
{
    return device->ops->has_graphs;
}

enum err device_graph_begin(struct device_stream *stream)
{
    if (!device_has_graphs(stream->device)) {
        return ERR_FAIL(ERR_INVALID, "%s records no graphs", stream->device->name);
    }
    return stream->device->ops->graph_begin(stream);
}

enum err device_graph_end(struct device_stream *stream, struct device_graph **graph_out)
{
    assert(device_has_graphs(stream->device) && graph_out != NULL);
    return stream->device->ops->graph_end(stream, graph_out);
}

enum err device_graph_launch(struct device_graph *graph, struct device_stream *stream)
{
    assert(stream->device == graph->device);
    return graph->device->ops->graph_launch(graph, stream);
}

void device_graph_close(struct device_graph *graph)
{
    if (graph != NULL) {
        graph->device->ops->graph_close(graph);
    }
}

void device_use(struct device_stream *stream)
{
    if (stream != NULL) {
        stream->device->ops->use(stream);
    }
    current = stream;
}

struct device_stream *device_current(void)
{
    return current;
}
