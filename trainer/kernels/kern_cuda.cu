/* What the CUDA kernels need besides their arrays: scratch and handles, one set a stream. */
#include "trainer/kernels/kern_cuda.h"

#include <stdlib.h>

#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_product_cuda_priv.h"

struct state {
    cudaStream_t stream;
    void *scratch;
    struct kern_products *products;
};

/* Of this thread; the first state_count are open. */
static __thread struct state states[KERN_CUDA_STREAMS_MAX];
static __thread int state_count;

static struct state *find(cudaStream_t stream)
{
    for (int i = 0; i < state_count; i++) {
        if (states[i].stream == stream) {
            return &states[i];
        }
    }
    return NULL;
}

enum err kern_cuda_open(void)
{
    const cudaStream_t stream = device_cuda_current();
    struct state *state = find(stream);

    if (state != NULL) {
        return ERR_OK;
    }
    assert(state_count < KERN_CUDA_STREAMS_MAX);
    state = &states[state_count];
    ERR_TRY(kern_products_open(&state->products));
    const enum err status =
        device_cuda_result(cudaMalloc(&state->scratch, KERN_CUDA_SCRATCH_BYTES), "cudaMalloc");
    if (status != ERR_OK) {
        kern_products_close(state->products);
        return status;
    }
    state->stream = stream;
    state_count++;
    return ERR_OK;
}

static void close_last(void)
{
    const struct state *state = &states[--state_count];

    kern_products_close(state->products);
    cudaFree(state->scratch);
}

void kern_cuda_close_stream(void)
{
    struct state *state = find(device_cuda_current());

    if (state != NULL) {
        const struct state closed = *state;
        *state = states[state_count - 1];
        states[state_count - 1] = closed;
        close_last();
    }
}

void kern_cuda_close(void)
{
    while (state_count > 0) {
        close_last();
    }
}

struct kern_products *kern_cuda_products(void)
{
    const struct state *state = find(device_cuda_current());

    assert(state != NULL); /* kern_cuda_open() */
    return state->products;
}

void *kern_cuda_scratch(int64_t bytes)
{
    const struct state *state = find(device_cuda_current());

    assert(state != NULL); /* kern_cuda_open() */
    assert(bytes >= 0 && bytes <= KERN_CUDA_SCRATCH_BYTES);
    return state->scratch;
}
