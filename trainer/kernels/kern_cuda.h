/*
 * trainer/kernels/kern_cuda.h - what the CUDA kernels need besides the arrays they are given.
 *
 * The functions that end in _cuda take pointers to device memory, launch on the calling thread's
 * current stream (comm/device/device.h) and return before the work is done. What fails is reported by
 * the next wait for that stream. Scalars and small structs are read before they return.
 *
 * Matrix products and sums over rows work in memory that is not their caller's: one scratch of
 * KERN_CUDA_SCRATCH_BYTES a stream, reused call after call in the stream's order. Together with a
 * cuBLASLt handle and the algorithms chosen so far it is opened once for each stream.
 *
 * Shared memory of device functions is bounded by the device: attention takes heads of up to
 * KERN_CUDA_HEAD_CHANNELS_MAX channels.
 *
 * Threads: what a thread opened is its own.
 */
#ifndef TRAINER_KERNELS_KERN_CUDA_H
#define TRAINER_KERNELS_KERN_CUDA_H

#include "comm/base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KERN_CUDA_SCRATCH_BYTES = 32 << 20, /* what NVIDIA recommends as workspace on Hopper */
    KERN_CUDA_STREAMS_MAX = 4,          /* of one thread */
    KERN_CUDA_HEAD_CHANNELS_MAX = 256,
};

/*
 * For the thread's current stream; once more does nothing. To be called before the first kernel,
 * and not while a graph is captured.
 * Errors: ERR_NO_MEMORY; ERR_DEVICE if cuBLASLt cannot be started.
 */
ERR_MUST_CHECK enum err kern_cuda_open(void);

/* "cublasLt 13.0.2": what multiplies matrices. Static storage; after kern_cuda_open(). */
const char *kern_cuda_matmul_name(void);

/*
 * Frees what this thread opened, for its current stream or for all; nothing of it may be in use by
 * then, and the stream is closed after it.
 */
void kern_cuda_close_stream(void);
void kern_cuda_close(void);

#ifdef __cplusplus
}
#endif

#endif
