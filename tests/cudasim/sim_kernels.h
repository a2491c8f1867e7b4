/* tests/cudasim/sim_kernels.h - launches of the kernels that the tests of the simulator use. */
#ifndef TESTS_CUDASIM_SIM_KERNELS_H
#define TESTS_CUDASIM_SIM_KERNELS_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* x[i] = value + i, by blocks of `block` threads. */
void launch_fill(float *x, int count, float value, int block, cudaStream_t stream);
/* y[i] = factor * x[i] */
void launch_scale(float *y, const float *x, int count, float factor, cudaStream_t stream);
/* sums[row] = sum of the row, by warps, shared memory static and dynamic. */
void launch_row_sums(float *sums, const float *x, int rows, int columns, cudaStream_t stream);
/* c [16, 16] = a [16, 16] b [16, 16]^T + c, bfloat16 given as bits. */
void launch_wmma(float *c, const unsigned short *a, const unsigned short *b, cudaStream_t stream);
/* y[0] = integer work: ballots, shuffles of halves of a warp, atomics, votes. */
void launch_integers(int *y, cudaStream_t stream);
/* y[i] = sum of blocks before: the last block to finish adds up. */
void launch_ticket(float *total, float *parts, unsigned *ticket, int blocks, cudaStream_t stream);

/* y[i] = table[i], a variable of the host, that a kernel reads. */
void launch_table(float *y, cudaStream_t stream);

/* One fault each. */
enum fault {
    FAULT_DIVERGENT_BARRIER,
    FAULT_MISSING_BARRIER,
    FAULT_MISSING_BARRIER_OF_TEMPLATE,
    FAULT_MISSING_WARP_BARRIER,
    FAULT_WARP_BARRIER_ALONE,
    FAULT_BARRIER_IN_LOOP,
    FAULT_WRONG_MASK,
    FAULT_SHARED_UNWRITTEN,
    FAULT_SHARED_HALF_WRITTEN,
    FAULT_SHARED_BEYOND,
    FAULT_BEYOND,
    FAULT_BEYOND_BY_VECTOR,
    FAULT_MISALIGNED,
    FAULT_BLOCKS_RACE,
    FAULT_UNWRITTEN, /* these by launches of other kernels */
    FAULT_HOST_MEMORY,
    FAULT_BY_HOST
};
void launch_fault(enum fault fault, float *x, int count, cudaStream_t stream);
/* Host code of a .cu file that reads device memory. */
float host_reads(const float *x);

#ifdef __cplusplus
}
#endif

#endif
