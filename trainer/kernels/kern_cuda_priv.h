/*
 * trainer/kernels/kern_cuda_priv.h - the few words that CUDA kernels (.cu) are written with, so
 * that nvcc and, on the simulated device, a plain C++ compiler understand them.
 *
 *      static __global__ void scale(float *x, int64_t count, float factor)
 *      {
 *          KERN_SHARED(float, row);            // dynamic shared memory, 16-byte aligned
 *          ...
 *      }
 *      KERN_LAUNCH(scale, grid, block, row_bytes, stream, x, count, 2.0f);
 *      KERN_LAUNCH((scale_wide<4, true>), grid, block, 0, stream, x, count);
 *
 * Kernels are `static __global__`; so are device functions that hold __shared__ variables. At
 * most one KERN_SHARED a kernel; several arrays are cut out of it by hand. A launch reports
 * nothing: a bad one shows in cudaGetLastError(), like any other.
 */
#ifndef TRAINER_KERNELS_KERN_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_CUDA_PRIV_H

#include <cuda_runtime.h>
#include <stdint.h>

#include "trainer/kernels/kern_fn.h"

#ifdef CUDASIM
#define KERN_LAUNCH CUDASIM_LAUNCH
#define KERN_SHARED(type, name) type *const name = static_cast<type *>(cudasim_dynamic_shared())
#else
#define KERN_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
#define KERN_SHARED(type, name)                                                                    \
    extern __shared__ __align__(16) unsigned char kern_shared_bytes[];                             \
    type *const name = reinterpret_cast<type *>(kern_shared_bytes)
#endif

#endif
