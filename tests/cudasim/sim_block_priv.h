/*
 * tests/cudasim/sim_block_priv.h - between the launch (sim_launch.c), the block and its warps.
 */
#ifndef TESTS_CUDASIM_SIM_BLOCK_PRIV_H
#define TESTS_CUDASIM_SIM_BLOCK_PRIV_H

#include "tests/cudasim/sim_priv.h"

#define SIM_SHARED_BYTES ((size_t)48 << 10)        /* what a block gets without asking */
#define SIM_SHARED_BYTES_OPTIN ((size_t)163 << 10) /* sm_80 */

/* A launch, as it lies in a stream. */
struct sim_launch {
    dim3 grid, block;
    size_t shared_bytes;
    void (*call)(const void *arguments);
    size_t arguments_bytes;
    _Alignas(16) char arguments[];
};
extern const struct cudasim_work sim_grid_work;

/* As enum cudasim_warp_op of cudasim_kernel.h, and what wmma needs besides. */
enum sim_warp_op {
    SIM_WARP_SYNC,
    SIM_WARP_SHUFFLE,
    SIM_WARP_BALLOT,
    SIM_WARP_MATCH,
    SIM_WARP_ADD,
    SIM_WARP_MIN,
    SIM_WARP_MAX,
    SIM_WARP_MMA
};
uint64_t cudasim_warp(enum sim_warp_op op, unsigned mask, uint64_t value, unsigned source,
                      const char *file, int line);
/* D = A B + C of a warp whose lanes gave pointers to their struct sim_wmma. */
void sim_wmma_multiply(const uint64_t lanes[32]);

void sim_block_made_atomic(void);

/* What cudasim_kernel.h calls, as C sees it. */
uint3 cudasim_thread_idx(void);
uint3 cudasim_block_idx(void);
uint3 cudasim_block_dim(void);
uint3 cudasim_grid_dim(void);
unsigned cudasim_lane(void);
unsigned cudasim_active_mask(void);
void *cudasim_dynamic_shared(void);
int cudasim_block_barrier(int vote, int value, const char *file, int line);
void cudasim_trap(const char *what, const char *file, int line) __attribute__((noreturn));
void cudasim_atomic_read(void *old, const void *address, size_t bytes);
void cudasim_atomic_write(void *address, const void *value, size_t bytes);
void cudasim_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                    const char *name, const void *kernel, void (*call)(const void *arguments),
                    const void *arguments, size_t arguments_bytes);

#endif
