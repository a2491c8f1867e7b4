/*
 * Optimizer updates on the device, a pack of four elements a thread, operation for operation what
 * kern_update_portable.c does. The intrinsics round each operation once and are never contracted to
 * a fused multiply-add, so that the bits are those of the CPU.
 *
 * Floor, bytes an element: add 12, sum_squares 4, AdamW 28 (2 more with a bfloat16 copy), SGD 20;
 * at most 20 operations: bound by memory.
 */
#include "trainer/kernels/kern_update.h"

#include <math.h>

#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    P = 4,
    THREADS = 256,  /* some 30 registers each: the device is full */
    SUM_PACKS = 16, /* of sum_squares: packs of a thread before there is another block */
    SUM_BLOCKS_MAX = 512,
};

struct pointers {
    float *weight, *m, *v;
    const float *gradient;
    uint16_t *copy; /* of weight, in bfloat16; NULL: none */
    int64_t count;
    bool whole, copies_whole; /* at 16-byte and 8-byte boundaries */
};

/* Scalars, as kern_update_portable.c derives them. */
struct adamw_scalars {
    float scale, keep, beta1, beta2, take1, take2, step, root2, epsilon;
};

static bool is_whole(const struct pointers *p)
{
    return kern_is_aligned(p->weight) && kern_is_aligned(p->m) && kern_is_aligned(p->v) &&
           kern_is_aligned(p->gradient);
}

static dim3 grid_of(int64_t count)
{
    return kern_grid(kern_blocks(count, THREADS * P));
}

static __global__ void __launch_bounds__(THREADS) add_kernel(const struct pointers p)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * P;
    float to[P], from[P];

    kern_load_pack<P>(to, p.weight, at, p.count, p.whole);
    kern_load_pack<P>(from, p.gradient, at, p.count, p.whole);
#pragma unroll
    for (int i = 0; i < P; i++) {
        to[i] = __fadd_rn(to[i], from[i]);
    }
    kern_store_pack<P>(p.weight, to, at, p.count, p.whole);
}

void kern_add_cuda(float *to, const float *from, int64_t count)
{
    struct pointers p = {to, NULL, NULL, from, NULL, count, false, false};

    if (count > 0) {
        p.whole = is_whole(&p);
        KERN_LAUNCH(add_kernel, grid_of(count), THREADS, 0, device_cuda_current(), p);
    }
}

static __global__ void __launch_bounds__(THREADS)
    adamw_kernel(const struct pointers p, const struct adamw_scalars s)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * P;
    float w[P], m[P], v[P], g[P];

    kern_load_pack<P>(w, p.weight, at, p.count, p.whole);
    kern_load_pack<P>(m, p.m, at, p.count, p.whole);
    kern_load_pack<P>(v, p.v, at, p.count, p.whole);
    kern_load_pack<P>(g, p.gradient, at, p.count, p.whole);
#pragma unroll
    for (int i = 0; i < P; i++) {
        const float g_i = __fmul_rn(s.scale, g[i]);
        m[i] = __fadd_rn(__fmul_rn(s.beta1, m[i]), __fmul_rn(s.take1, g_i));
        v[i] = __fadd_rn(__fmul_rn(s.beta2, v[i]), __fmul_rn(s.take2, __fmul_rn(g_i, g_i)));
        const float below = __fadd_rn(__fdiv_rn(__fsqrt_rn(v[i]), s.root2), s.epsilon);
        w[i] = __fsub_rn(__fmul_rn(s.keep, w[i]), __fmul_rn(s.step, __fdiv_rn(m[i], below)));
    }
    kern_store_pack<P>(p.weight, w, at, p.count, p.whole);
    kern_store_pack<P>(p.m, m, at, p.count, p.whole);
    kern_store_pack<P>(p.v, v, at, p.count, p.whole);
    if (p.copy != NULL && p.copies_whole && at + P <= p.count) {
        *(uint2 *)(p.copy + at) = make_uint2(kern_pack_bf16(w), kern_pack_bf16(w + 2));
    } else if (p.copy != NULL) {
        kern_store_pack<P>(p.copy, w, at, p.count, false);
    }
}

static void launch_adamw(struct pointers p, const struct kern_adamw_args *args)
{
    const struct adamw_scalars s = {
        args->scale,
        1.0f - args->learning_rate * args->decay,
        args->beta1,
        args->beta2,
        1.0f - args->beta1,
        1.0f - args->beta2,
        args->learning_rate / args->correction1,
        sqrtf(args->correction2),
        args->epsilon,
    };

    if (p.count > 0) {
        p.whole = is_whole(&p);
        p.copies_whole = ((uintptr_t)p.copy & 7) == 0;
        KERN_LAUNCH(adamw_kernel, grid_of(p.count), THREADS, 0, device_cuda_current(), p, s);
    }
}

void kern_adamw_cuda(float *weight, float *m, float *v, const float *gradient, int64_t count,
                     const struct kern_adamw_args *args)
{
    launch_adamw({weight, m, v, gradient, NULL, count, false, false}, args);
}

void kern_adamw_bf16_cuda(uint16_t *copy, float *weight, float *m, float *v, const float *gradient,
                          int64_t count, const struct kern_adamw_args *args)
{
    launch_adamw({weight, m, v, gradient, copy, count, false, false}, args);
}

static __global__ void __launch_bounds__(THREADS)
    sgd_kernel(const struct pointers p, const struct kern_sgd_args s)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * P;
    float w[P], m[P], g[P];

    kern_load_pack<P>(w, p.weight, at, p.count, p.whole);
    kern_load_pack<P>(m, p.m, at, p.count, p.whole);
    kern_load_pack<P>(g, p.gradient, at, p.count, p.whole);
#pragma unroll
    for (int i = 0; i < P; i++) {
        const float g_i = __fadd_rn(__fmul_rn(s.scale, g[i]), __fmul_rn(s.decay, w[i]));
        m[i] = __fadd_rn(__fmul_rn(s.momentum, m[i]), g_i);
        w[i] = __fsub_rn(w[i], __fmul_rn(s.learning_rate, m[i]));
    }
    kern_store_pack<P>(p.weight, w, at, p.count, p.whole);
    kern_store_pack<P>(p.m, m, at, p.count, p.whole);
}

void kern_sgd_cuda(float *weight, float *m, const float *gradient, int64_t count,
                   const struct kern_sgd_args *args)
{
    struct pointers p = {weight, m, NULL, gradient, NULL, count, false, false};

    if (count > 0) {
        p.whole = is_whole(&p);
        KERN_LAUNCH(sgd_kernel, grid_of(count), THREADS, 0, device_cuda_current(), p, *args);
    }
}

/* The sum over the block's threads by one fixed tree; thread 0 has it. */
static __device__ inline double block_sum(double sum)
{
    __shared__ double warps[THREADS / KERN_WARP];
    const int warp = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;

#pragma unroll
    for (int d = KERN_WARP / 2; d > 0; d /= 2) {
        sum += __shfl_xor_sync(KERN_ALL_LANES, sum, d);
    }
    if (lane == 0) {
        warps[warp] = sum;
    }
    __syncthreads();
    for (int w = 1; w < THREADS / KERN_WARP && threadIdx.x == 0; w++) {
        sum += warps[w];
    }
    return sum;
}

static __global__ void __launch_bounds__(THREADS)
    squares_kernel(double *parts, const float *x, int64_t count, bool whole)
{
    const int64_t stride = (int64_t)gridDim.x * THREADS * P;
    double sum = 0;

    for (int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * P; at < count; at += stride) {
        float v[P];
        kern_load_pack<P>(v, x, at, count, whole);
#pragma unroll
        for (int i = 0; i < P; i++) {
            sum += (double)v[i] * v[i]; /* exact in double: fused or not, the sum is the same */
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

static __global__ void __launch_bounds__(THREADS)
    squares_total_kernel(double *total, const double *parts, int part_count)
{
    double sum = 0;

    for (int i = threadIdx.x; i < part_count; i += THREADS) {
        sum += parts[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *total += sum;
    }
}

void kern_sum_squares_cuda(double *sum, const float *x, int64_t count)
{
    const int64_t wanted = kern_blocks(count > 0 ? count : 1, THREADS * P * SUM_PACKS);
    const int part_count = wanted < SUM_BLOCKS_MAX ? (int)wanted : (int)SUM_BLOCKS_MAX;
    double *parts = (double *)kern_cuda_scratch(SUM_BLOCKS_MAX * (int64_t)sizeof(double));
    const cudaStream_t stream = device_cuda_current();

    KERN_LAUNCH(squares_kernel, kern_grid(part_count), THREADS, 0, stream, parts, x, count,
                kern_is_aligned(x));
    KERN_LAUNCH(squares_total_kernel, 1, THREADS, 0, stream, sum, parts, part_count);
}
