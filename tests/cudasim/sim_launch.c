/*
 * tests/cudasim/sim_launch.c - launches of kernels, and what the host may set about them.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim_block_priv.h"

#define FUNCTION_COUNT_MAX 256

/* Kernels that asked for more dynamic shared memory than a block gets by itself. */
static struct {
    const void *function;
    size_t shared_bytes_max;
} functions[FUNCTION_COUNT_MAX];
static int function_count;

static size_t shared_bytes_max(const void *function)
{
    for (int i = 0; i < function_count; i++) {
        if (functions[i].function == function) {
            return functions[i].shared_bytes_max;
        }
    }
    return SIM_SHARED_BYTES;
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attr, int value)
{
    SIM_TRY(sim_start());
    if (attr == cudaFuncAttributePreferredSharedMemoryCarveout) {
        return cudaSuccess;
    }
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (size_t)value > SIM_SHARED_BYTES_OPTIN) {
        return sim_error(cudaErrorInvalidValue);
    }
    pthread_mutex_lock(&sim_lock);
    int i = 0;
    while (i < function_count && functions[i].function != function) {
        i++;
    }
    if (i == FUNCTION_COUNT_MAX) {
        cudasim_report("cudaFuncSetAttribute() for more than %d kernels", FUNCTION_COUNT_MAX);
    }
    function_count = i == function_count ? i + 1 : function_count;
    functions[i].function = function;
    functions[i].shared_bytes_max = (size_t)value;
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

static cudaError_t check_launch(dim3 grid, dim3 block, size_t shared_bytes, const void *kernel)
{
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;

    if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 ||
        grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
        return cudaErrorInvalidConfiguration;
    }
    pthread_mutex_lock(&sim_lock);
    const size_t shared_max = shared_bytes_max(kernel);
    pthread_mutex_unlock(&sim_lock);
    return shared_bytes > shared_max ? cudaErrorInvalidValue : cudaSuccess;
}

void cudasim_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                    const char *name, const void *kernel, void (*call)(const void *arguments),
                    const void *arguments, size_t arguments_bytes)
{
    const size_t bytes = sizeof(struct sim_launch) + arguments_bytes;
    cudaError_t error = sim_start();

    if (error == cudaSuccess) {
        error = check_launch(grid, block, shared_bytes, kernel);
    }
    if (error != cudaSuccess) {
        sim_error(error);
        return;
    }
    struct sim_launch *launch = aligned_alloc(16, (bytes + 15) / 16 * 16);
    *launch = (struct sim_launch){.grid = grid,
                                  .block = block,
                                  .shared_bytes = shared_bytes,
                                  .call = call,
                                  .arguments_bytes = arguments_bytes};
    memcpy(launch->arguments, arguments, arguments_bytes);
    sim_error(cudasim_enqueue(stream, &sim_grid_work, name, launch, bytes));
    free(launch);
}
