/*
 * comm/device/device_replay.h - work that is the same every time: launched as a whole where a device can.
 *
 * A small model's step is hundreds of kernels of a few microseconds each, and as long as that is what one
 * launch costs the host. So the first time a piece of work is done as it stands, which also lets it allocate
 * and choose what it needs; the second time it is recorded (device.h); from then on the record is launched. On a
 * CPU it is done as it stands, always.
 *
 * What is recorded are kernels, copies and their addresses and scalars. So these must be the same each time,
 * and what the work does on the host besides is done in the first two runs only.
 *
 * Threads: one, with the same current stream each time.
 */
#ifndef COMM_DEVICE_DEVICE_REPLAY_H
#define COMM_DEVICE_DEVICE_REPLAY_H

#include "comm/base/err.h"
#include "comm/device/device.h"

/* One piece of work; all zero at first. */
struct device_replay {
    struct device_graph *graph; /* NULL: not recorded */
    bool is_warm;               /* it has been done once */
};

typedef enum err device_work_fn(void *self, const void *arguments);

/* Does `work` on this thread's current stream. Errors: the work's; ERR_DEVICE. */
ERR_MUST_CHECK enum err device_replay_run(struct device_replay *replay, struct device *device,
                                          device_work_fn *work, void *self, const void *arguments);

/* Forgets what was recorded: the next run is a first one. */
void device_replay_close(struct device_replay *replay);

#endif
