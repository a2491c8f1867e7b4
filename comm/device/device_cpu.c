#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/memory.h"
#include "comm/device/device_priv.h"

static struct device the_cpu;

static void cpu_close(struct device *device)
{
    if (device != &the_cpu) {
        free(device);
    }
}

static void cpu_memory_bytes(struct device *device, int64_t *total_out, int64_t *free_out)
{
    const long page_bytes = sysconf(_SC_PAGESIZE);
    const long total = sysconf(_SC_PHYS_PAGES);
    const long available = sysconf(_SC_AVPHYS_PAGES);

    (void)device;
    *total_out = page_bytes > 0 && total > 0 ? (int64_t)total * page_bytes : 0;
    *free_out = page_bytes > 0 && available > 0 ? (int64_t)available * page_bytes : 0;
}

static enum err cpu_memory_open(struct device *device, size_t bytes, const char *what,
                                void **memory_out)
{
    (void)device;
    return memory_open(bytes, what, memory_out);
}

static void cpu_memory_close(struct device *device, void *memory)
{
    (void)device;
    memory_close(memory);
}

static enum err cpu_register(struct device *device, void *begin, size_t bytes, const char *what)
{
    (void)device;
    (void)begin;
    (void)bytes;
    (void)what;
    return ERR_OK;
}

static void cpu_unregister(struct device *device, void *begin)
{
    (void)device;
    (void)begin;
}

static enum err cpu_stream_open(struct device *device, enum device_priority priority,
                                struct device_stream **stream_out)
{
    struct device_stream *stream = malloc(sizeof(*stream));

    (void)priority;
    if (stream == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a stream");
    }
    stream->device = device;
    *stream_out = stream;
    return ERR_OK;
}

static void cpu_stream_close(struct device_stream *stream)
{
    free(stream);
}

static enum err cpu_wait(struct device_stream *stream, int64_t deadline_ms)
{
    (void)stream;
    (void)deadline_ms;
    return ERR_OK;
}

static enum err cpu_stream_wait_event(struct device_stream *stream, struct device_event *event)
{
    (void)stream;
    (void)event;
    return ERR_OK;
}

static enum err cpu_copy(struct device_stream *stream, void *to, const void *from, size_t bytes)
{
    (void)stream;
    memcpy(to, from, bytes);
    return ERR_OK;
}

static enum err cpu_zero(struct device_stream *stream, void *to, size_t bytes)
{
    (void)stream;
    memset(to, 0, bytes);
    return ERR_OK;
}

static void cpu_use(struct device_stream *stream)
{
    (void)stream;
}

static enum err cpu_event_open(struct device *device, struct device_event **event_out)
{
    struct device_event *event = malloc(sizeof(*event));

    if (event == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an event");
    }
    event->device = device;
    *event_out = event;
    return ERR_OK;
}

static void cpu_event_close(struct device_event *event)
{
    free(event);
}

static enum err cpu_event_record(struct device_event *event, struct device_stream *stream)
{
    (void)event;
    (void)stream;
    return ERR_OK;
}

static enum err cpu_event_is_done(struct device_event *event, bool *done_out)
{
    (void)event;
    *done_out = true;
    return ERR_OK;
}

static enum err cpu_event_wait(struct device_event *event, int64_t deadline_ms)
{
    (void)event;
    (void)deadline_ms;
    return ERR_OK;
}

static const struct device_ops cpu_ops = {
    .has_graphs = false, /* so nobody asks for them */
    .close = cpu_close,
    .memory_bytes = cpu_memory_bytes,
    .memory_open = cpu_memory_open,
    .memory_close = cpu_memory_close,
    .pinned_open = cpu_memory_open,
    .pinned_close = cpu_memory_close,
    .register_range = cpu_register,
    .unregister_range = cpu_unregister,
    .stream_open = cpu_stream_open,
    .stream_close = cpu_stream_close,
    .wait = cpu_wait,
    .stream_wait_event = cpu_stream_wait_event,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .use = cpu_use,
    .event_open = cpu_event_open,
    .event_close = cpu_event_close,
    .event_record = cpu_event_record,
    .event_is_done = cpu_event_is_done,
    .event_wait = cpu_event_wait,
};

static struct device the_cpu = {.ops = &cpu_ops, .kind = DEVICE_CPU, .name = "CPU"};

struct device *device_cpu(void)
{
    return &the_cpu;
}

enum err device_cpu_open(struct device **device_out)
{
    struct device *device = malloc(sizeof(*device));

    if (device == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a device");
    }
    *device = the_cpu;
    *device_out = device;
    return ERR_OK;
}
