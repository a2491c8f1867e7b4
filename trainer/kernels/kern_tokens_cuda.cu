/*
 * Tokens on the device. Nothing is added by atomics: whoever owns a row of a gradient adds up what
 * belongs to it, in the order of the portable functions.
 *
 * Floor, bytes: forward 12 B T D, backward 12 B T D and B^2 T^2 comparisons of tokens, spread over
 * the blocks; mean 4 B T D (backward 8). Bound by memory; the sum over all tokens of the type's gradient
 * has D threads only.
 */
#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_tokens.h"

enum { THREADS = 128 };

struct forward_args {
    struct kern_tokens from;
    struct kern_tokens_shape shape;
    float *x;
    const int32_t *tokens, *lengths;
};

/* A block a token. */
static __global__ void __launch_bounds__(THREADS) forward_kernel(const struct forward_args a)
{
    const int64_t T = a.shape.T, D = a.shape.D, b = blockIdx.x / T, t = blockIdx.x % T;
    const bool is_there = t < a.lengths[b];
    const int64_t token = is_there ? a.tokens[b * a.shape.ld + t] : 0;

    for (int64_t d = threadIdx.x; d < D; d += THREADS) {
        const float type = a.from.type == NULL ? 0.0f : a.from.type[d];
        const float sum = __fadd_rn(a.from.words[token * D + d], a.from.positions[t * D + d]);
        a.x[(b * T + t) * D + d] = is_there ? __fadd_rn(sum, type) : 0.0f;
    }
}

void kern_tokens_forward_cuda(float *x, const int32_t *tokens, const int32_t *lengths,
                              const struct kern_tokens *from, const struct kern_tokens_shape *shape)
{
    const struct forward_args args = {*from, *shape, x, tokens, lengths};

    if (shape->B > 0) {
        KERN_LAUNCH(forward_kernel, kern_grid(shape->B * shape->T), THREADS, 0,
                    device_cuda_current(), args);
    }
}

struct backward_args {
    struct kern_tokens_gradients to;
    struct kern_tokens_shape shape;
    const float *dx;
    const int32_t *tokens, *lengths;
};

/* The word at place i of B * T, or -1 for padding. */
static __device__ inline int32_t word_at(const struct backward_args *a, int64_t i)
{
    const int64_t b = i / a->shape.T, t = i % a->shape.T;

    return t < a->lengths[b] ? a->tokens[b * a->shape.ld + t] : -1;
}

/* A block a token; the first of a word adds up all of that word. */
static __global__ void __launch_bounds__(THREADS) words_kernel(const struct backward_args a)
{
    const int64_t mine = blockIdx.x, count = a.shape.B * a.shape.T, D = a.shape.D;
    const int32_t word = word_at(&a, mine);
    int is_later = word < 0;

    for (int64_t i = threadIdx.x; i < mine; i += THREADS) {
        is_later |= word_at(&a, i) == word;
    }
    if (__syncthreads_or(is_later)) {
        return;
    }
    for (int64_t i = mine; i < count; i++) {
        if (word_at(&a, i) == word) {
            for (int64_t d = threadIdx.x; d < D; d += THREADS) {
                float *const to = a.to.words + word * D + d;
                *to = __fadd_rn(*to, a.dx[i * D + d]);
            }
        }
    }
}

/* A block a position. */
static __global__ void __launch_bounds__(THREADS) positions_kernel(const struct backward_args a)
{
    const int64_t t = blockIdx.x, T = a.shape.T, D = a.shape.D;

    for (int64_t d = threadIdx.x; d < D; d += THREADS) {
        float sum = a.to.positions[t * D + d];
        for (int64_t b = 0; b < a.shape.B; b++) {
            sum = t < a.lengths[b] ? __fadd_rn(sum, a.dx[(b * T + t) * D + d]) : sum;
        }
        a.to.positions[t * D + d] = sum;
    }
}

/* A thread a channel. */
static __global__ void __launch_bounds__(THREADS) type_kernel(const struct backward_args a)
{
    const int64_t d = (int64_t)blockIdx.x * THREADS + threadIdx.x, T = a.shape.T, D = a.shape.D;

    if (d >= D) {
        return;
    }
    float sum = a.to.type[d];
    for (int64_t b = 0; b < a.shape.B; b++) {
        for (int64_t t = 0; t < a.lengths[b]; t++) {
            sum = __fadd_rn(sum, a.dx[(b * T + t) * D + d]);
        }
    }
    a.to.type[d] = sum;
}

void kern_tokens_backward_cuda(const struct kern_tokens_gradients *to, const float *dx,
                               const int32_t *tokens, const int32_t *lengths,
                               const struct kern_tokens_shape *shape)
{
    const struct backward_args args = {*to, *shape, dx, tokens, lengths};
    const cudaStream_t stream = device_cuda_current();

    if (shape->B == 0) {
        return;
    }
    KERN_LAUNCH(words_kernel, kern_grid(shape->B * shape->T), THREADS, 0, stream, args);
    KERN_LAUNCH(positions_kernel, kern_grid(shape->T), THREADS, 0, stream, args);
    if (to->type != NULL) {
        const dim3 grid = kern_grid((shape->D + THREADS - 1) / THREADS);
        KERN_LAUNCH(type_kernel, grid, THREADS, 0, stream, args);
    }
}

struct pool_args {
    float *to;
    const float *from;
    const int32_t *lengths;
    int64_t T, D;
};

/* A block a sample. */
static __global__ void __launch_bounds__(THREADS) mean_kernel(const struct pool_args a)
{
    const int64_t b = blockIdx.x, length = a.lengths[b];
    const float scale = 1.0f / (float)length;

    for (int64_t d = threadIdx.x; d < a.D; d += THREADS) {
        const float *const x = a.from + b * a.T * a.D + d;
        float sum = x[0];
        for (int64_t t = 1; t < length; t++) {
            sum = __fadd_rn(sum, x[t * a.D]);
        }
        a.to[b * a.D + d] = __fmul_rn(sum, scale);
    }
}

/* A block a token of the stream's gradient. */
static __global__ void __launch_bounds__(THREADS) mean_backward_kernel(const struct pool_args a)
{
    const int64_t b = blockIdx.x / a.T, t = blockIdx.x % a.T, length = a.lengths[b];
    const float scale = 1.0f / (float)length;

    for (int64_t d = threadIdx.x; d < a.D && t < length; d += THREADS) {
        float *const to = a.to + (b * a.T + t) * a.D + d;
        *to = __fadd_rn(*to, __fmul_rn(scale, a.from[b * a.D + d]));
    }
}

static __global__ void __launch_bounds__(THREADS) last_kernel(const struct pool_args a)
{
    const int64_t b = blockIdx.x, at = (b * a.T + a.lengths[b] - 1) * a.D;

    for (int64_t d = threadIdx.x; d < a.D; d += THREADS) {
        a.to[b * a.D + d] = a.from[at + d];
    }
}

static __global__ void __launch_bounds__(THREADS) last_backward_kernel(const struct pool_args a)
{
    const int64_t b = blockIdx.x, at = (b * a.T + a.lengths[b] - 1) * a.D;

    for (int64_t d = threadIdx.x; d < a.D; d += THREADS) {
        a.to[at + d] = __fadd_rn(a.to[at + d], a.from[b * a.D + d]);
    }
}

static void launch(void (*kernel)(const struct pool_args), int64_t blocks,
                   const struct pool_args &args)
{
    if (blocks > 0) {
        KERN_LAUNCH(kernel, kern_grid(blocks), THREADS, 0, device_cuda_current(), args);
    }
}

void kern_token_mean_forward_cuda(float *mean, const float *x, const int32_t *lengths, int64_t B,
                                  int64_t T, int64_t D)
{
    launch(mean_kernel, B, {mean, x, lengths, T, D});
}

void kern_token_mean_backward_cuda(float *dx, const float *dmean, const int32_t *lengths, int64_t B,
                                   int64_t T, int64_t D)
{
    launch(mean_backward_kernel, B * T, {dx, dmean, lengths, T, D});
}

void kern_token_last_forward_cuda(float *last, const float *x, const int32_t *lengths, int64_t B,
                                  int64_t T, int64_t D)
{
    launch(last_kernel, B, {last, x, lengths, T, D});
}

void kern_token_last_backward_cuda(float *dx, const float *dlast, const int32_t *lengths, int64_t B,
                                   int64_t T, int64_t D)
{
    launch(last_backward_kernel, B, {dx, dlast, lengths, T, D});
}
