/*
 * trainer/kernels/kern_launch_cuda_priv.h - what the host's side of CUDA kernels shares: grids, and
 * the scratch of the thread's current stream.
 */
#ifndef TRAINER_KERNELS_KERN_LAUNCH_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_LAUNCH_CUDA_PRIV_H

#include <assert.h>
#include <stdint.h>

#include "comm/device/device_cuda_priv.h"
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_cuda_priv.h"

/* A grid of `blocks` >= 1 in one dimension. */
static inline dim3 kern_grid(int64_t blocks)
{
    assert(blocks >= 1 && blocks <= INT32_MAX);
    return dim3((unsigned)blocks);
}

/*
 * `bytes` <= KERN_CUDA_SCRATCH_BYTES of device memory, 256-byte aligned, for use on the current
 * stream until the next call that asks for it.
 */
void *kern_cuda_scratch(int64_t bytes);

#endif
