/*
 * trainer/kernels/kern_ops_cuda.h - the table of a CUDA device.
 *
 * Its functions are those of kern_cuda.h: they take device memory, launch on the calling thread's
 * current stream and return before the work is done. Pointers inside the structs they take are
 * device memory too; the structs themselves, and indices of shapes, are the host's.
 */
#ifndef TRAINER_KERNELS_KERN_OPS_CUDA_H
#define TRAINER_KERNELS_KERN_OPS_CUDA_H

#include "trainer/kernels/kern_ops.h"

/*
 * Fills *ops_out for `device`, a CUDA device. The thread that calls it is the one that computes, and has
 * its stream already (device_use()): kern_cuda_open() is part of this, kern_cuda_close() ends it.
 * Errors: ERR_CONFIG in a program that was built without CUDA; those of kern_cuda_open().
 */
ERR_MUST_CHECK enum err kern_ops_cuda(struct device *device, struct kern_ops *ops_out);

#endif
