/*
 * snapshot/snap_device.h - a slice of the state from a device's memory into a slot, and back.
 *
 *      compute   | ... update | R |               | C  update        R: snap_begin(), C: snap_fence()
 *      copies                 | R  bucket, bucket, ..., C
 *      worker                          hash, hash, ...                 each as it lands
 *
 * All copies of a snapshot are put on a stream of their own, of the lowest priority, behind an event R that
 * stands behind the update; the next update stands behind an event C after the last of them. So neither the
 * host nor the device waits, but for an update that would overtake a copy. A slot is registered
 * once, so that the copies run beside other work.
 *
 * Without a device all functions do nothing.
 *
 * Threads: _begin and _fence are the caller's of snap.h, the rest the worker's; restore's before it starts.
 */
#ifndef SNAPSHOT_SNAP_DEVICE_H
#define SNAPSHOT_SNAP_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/device/device.h"

enum { SNAP_BUCKET_TILES = 64 }; /* that are hashed after one wait: 8 MiB */

struct snap_device;

/* NULL, ERR_OK for a device that is NULL or a CPU. Errors: ERR_NO_MEMORY, ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_open(struct device *device, struct snap_device **device_out);
void snap_device_close(struct snap_device *device); /* NULL is allowed */

/* This thread's copies are the device's from here on; NULL is allowed. */
void snap_device_enter(struct snap_device *device);

/* The memory that slots lie in, for slices of so many tiles. Errors: ERR_NO_MEMORY, ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_register(struct snap_device *device, void *begin, size_t bytes,
                                             int64_t tile_count);

/* R. The state is what this thread's current stream makes of it until now. Errors: ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_begin(struct snap_device *device);

/* Copies are put behind R. Errors of all: ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_follow(struct snap_device *device);
ERR_MUST_CHECK enum err snap_device_copy(struct snap_device *device, void *to, const void *from,
                                         size_t bytes);

/* The copies of a bucket have all been put on the stream; C, if it is the last. */
ERR_MUST_CHECK enum err snap_device_end_bucket(struct snap_device *device, int64_t bucket,
                                               bool is_last);

/* Waits until a bucket has landed. Errors: ERR_TIMEOUT, ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_wait(struct snap_device *device, int64_t bucket,
                                         int64_t deadline_ms);

/* This thread's current stream goes on behind C. */
ERR_MUST_CHECK enum err snap_device_fence(struct snap_device *device);

/* Waits for all that was put on the stream. Errors: ERR_TIMEOUT, ERR_DEVICE. */
ERR_MUST_CHECK enum err snap_device_settle(struct snap_device *device, int64_t deadline_ms);

#endif
