/*
 * launch/run_device.h - the device of a run: all its ranks compute on the same kind.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_RUN_DEVICE_H
#define LAUNCH_RUN_DEVICE_H

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "comm/group/comm_group.h"

struct run_device {
    struct device *device;
    struct device_stream *stream; /* the calling thread's current one; NULL on a CPU */
    char why[200]; /* AUTO did not choose CUDA, though the program was built with it; else "" */
};

/*
 * Opens the device that the setting asks for, which is that of every rank, and a stream for the kernels
 * of this thread. Collective if CUDA may be
 * chosen. With AUTO it is CUDA if every rank can have a device, else the CPU.
 * Errors: ERR_CONFIG if CUDA is asked for and some rank cannot have it; others as device_open() and
 * comm_agree_max().
 */
ERR_MUST_CHECK enum err run_device_open(enum device_kind wanted, struct comm_group *world,
                                        int64_t deadline_ms, struct run_device *device_out);
void run_device_close(struct run_device *device); /* a zeroed one is allowed */

#endif
