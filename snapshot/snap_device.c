#include "snapshot/snap_device.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct snap_device {
    struct device *device;
    struct device_stream *stream;
    struct device_event *ready, *copied;
    struct device_event **landed; /* [bucket_count] */
    int64_t bucket_count;
    void *registered; /* NULL: nothing yet */
};

enum err snap_device_open(struct device *device, struct snap_device **device_out)
{
    enum err status = ERR_OK;

    *device_out = NULL;
    if (device == NULL || device_kind(device) == DEVICE_CPU) {
        return ERR_OK;
    }
    struct snap_device *opened = calloc(1, sizeof(*opened));
    if (opened == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "snapshots of a device");
    }
    opened->device = device;
    ERR_GOTO(err_close, status, device_stream_open(device, DEVICE_PRIORITY_LOW, &opened->stream));
    ERR_GOTO(err_close, status, device_event_open(device, &opened->ready));
    ERR_GOTO(err_close, status, device_event_open(device, &opened->copied));
    *device_out = opened;
    return ERR_OK;

err_close:
    snap_device_close(opened);
    return status;
}

void snap_device_close(struct snap_device *device)
{
    if (device == NULL) {
        return;
    }
    for (int64_t bucket = 0; bucket < device->bucket_count; bucket++) {
        device_event_close(device->landed[bucket]);
    }
    if (device->registered != NULL) {
        device_unregister(device->device, device->registered);
    }
    device_event_close(device->copied);
    device_event_close(device->ready);
    device_stream_close(device->stream);
    free(device->landed);
    free(device);
}

void snap_device_enter(struct snap_device *device)
{
    if (device != NULL) {
        device_use(device->stream);
    }
}

enum err snap_device_register(struct snap_device *device, void *begin, size_t bytes,
                              int64_t tile_count)
{
    const int64_t count = (tile_count + SNAP_BUCKET_TILES - 1) / SNAP_BUCKET_TILES;

    if (device == NULL) {
        return ERR_OK;
    }
    assert(device->registered == NULL);
    ERR_TRY(device_register(device->device, begin, bytes, "the memory of snapshots"));
    device->registered = begin;
    device->landed = calloc((size_t)count + 1, sizeof(struct device_event *));
    if (device->landed == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " events", count);
    }
    while (device->bucket_count < count) {
        ERR_TRY(device_event_open(device->device, &device->landed[device->bucket_count]));
        device->bucket_count++;
    }
    return ERR_OK;
}

enum err snap_device_begin(struct snap_device *device)
{
    return device == NULL ? ERR_OK : device_event_record(device->ready, device_current());
}

enum err snap_device_follow(struct snap_device *device)
{
    return device == NULL ? ERR_OK : device_stream_wait_event(device->stream, device->ready);
}

enum err snap_device_copy(struct snap_device *device, void *to, const void *from, size_t bytes)
{
    assert(device != NULL);
    return device_copy(device->stream, to, from, bytes);
}

enum err snap_device_end_bucket(struct snap_device *device, int64_t bucket, bool is_last)
{
    if (device == NULL) {
        return ERR_OK;
    }
    assert(bucket < device->bucket_count);
    ERR_TRY(device_event_record(device->landed[bucket], device->stream));
    return is_last ? device_event_record(device->copied, device->stream) : ERR_OK;
}

enum err snap_device_wait(struct snap_device *device, int64_t bucket, int64_t deadline_ms)
{
    return device == NULL ? ERR_OK : device_event_wait(device->landed[bucket], deadline_ms);
}

enum err snap_device_fence(struct snap_device *device)
{
    return device == NULL ? ERR_OK : device_stream_wait_event(device_current(), device->copied);
}

enum err snap_device_settle(struct snap_device *device, int64_t deadline_ms)
{
    return device == NULL ? ERR_OK : device_wait(device->stream, deadline_ms);
}
