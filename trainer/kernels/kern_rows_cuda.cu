/*
 * Rows of memory on the device, a pack of 16 bytes a thread; the bits of kern_rows_portable.c, by
 * intrinsics that are never contracted.
 *
 * Floor, bytes an element: zero 4, copy and gather 8, keep 16, add 12, mean 4 (backward 8), half of
 * that in bfloat16: bound by memory.
 */
#include "trainer/kernels/kern_rows.h"

#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum { THREADS = 256 };

void kern_zero_cuda(float *to, int64_t count)
{
    cudaMemsetAsync(to, 0, (size_t)count * sizeof(float), device_cuda_current());
}

template <typename T> struct rows_args {
    T *to;
    const T *from;
    const uint32_t *index; /* of the row of `from`; NULL: the same */
    int64_t ld_to, ld_from, rows, columns;
    float scale;
    bool adds, whole;
};

template <typename T>
static __global__ void __launch_bounds__(THREADS) rows_kernel(const struct rows_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.columns + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t row = i / packs;
    const int64_t at = (int64_t)(i - row * packs) * P;
    float v[P], old[P];

    if (row >= a.rows) {
        return;
    }
    const int64_t row_from = a.index == NULL ? row : a.index[row];
    kern_load_pack<P>(v, a.from + row_from * a.ld_from, at, a.columns, a.whole);
    if (a.adds) {
        kern_load_pack<P>(old, a.to + row * a.ld_to, at, a.columns, a.whole);
#pragma unroll
        for (int e = 0; e < P; e++) {
            v[e] = __fadd_rn(old[e], __fmul_rn(a.scale, v[e]));
        }
    }
    kern_store_pack<P>(a.to + row * a.ld_to, v, at, a.columns, a.whole);
}

template <typename T> static void launch_rows(struct rows_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = a.rows * kern_blocks(a.columns, P);
    const bool is_one = a.rows == 1 && a.index == NULL; /* which has no stride */

    assert(packs <= INT32_MAX);
    a.whole = kern_is_aligned(a.to) && kern_is_aligned(a.from) &&
              (is_one || (a.ld_to % P == 0 && a.ld_from % P == 0));
    if (packs > 0) {
        KERN_LAUNCH((rows_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                    device_cuda_current(), a);
    }
}

void kern_copy_rows_cuda(float *to, int64_t ld_to, const float *from, int64_t ld_from, int64_t rows,
                         int64_t columns)
{
    launch_rows<float>({to, from, NULL, ld_to, ld_from, rows, columns, 1.0f, false, false});
}

void kern_copy_rows_bf16_cuda(uint16_t *to, int64_t ld_to, const uint16_t *from, int64_t ld_from,
                              int64_t rows, int64_t columns)
{
    launch_rows<uint16_t>({to, from, NULL, ld_to, ld_from, rows, columns, 1.0f, false, false});
}

void kern_add_rows_cuda(float *to, int64_t ld_to, const float *from, int64_t ld_from, float scale,
                        int64_t rows, int64_t columns)
{
    launch_rows<float>({to, from, NULL, ld_to, ld_from, rows, columns, scale, true, false});
}

void kern_add_rows_bf16_cuda(uint16_t *to, int64_t ld_to, const uint16_t *from, int64_t ld_from,
                             float scale, int64_t rows, int64_t columns)
{
    launch_rows<uint16_t>({to, from, NULL, ld_to, ld_from, rows, columns, scale, true, false});
}

void kern_gather_rows_cuda(float *to, const float *from, int64_t ld_from, const uint32_t *index,
                           int64_t rows, int64_t columns)
{
    launch_rows<float>({to, from, index, columns, ld_from, rows, columns, 1.0f, false, false});
}

void kern_gather_rows_bf16_cuda(uint16_t *to, const uint16_t *from, int64_t ld_from,
                                const uint32_t *index, int64_t rows, int64_t columns)
{
    launch_rows<uint16_t>({to, from, index, columns, ld_from, rows, columns, 1.0f, false, false});
}

/* By way of the scratch: a row may be moved to where another is still read. */
void kern_keep_rows_cuda(float *rows, float *scratch, const uint32_t *index, int64_t count,
                         int64_t columns)
{
    kern_gather_rows_cuda(scratch, rows, columns, index, count, columns);
    kern_copy_rows_cuda(rows, columns, scratch, columns, count, columns);
}

void kern_keep_rows_bf16_cuda(uint16_t *rows, uint16_t *scratch, const uint32_t *index,
                              int64_t count, int64_t columns)
{
    kern_gather_rows_bf16_cuda(scratch, rows, columns, index, count, columns);
    kern_copy_rows_bf16_cuda(rows, columns, scratch, columns, count, columns);
}

static __global__ void __launch_bounds__(KERN_WARP)
    count_kernel(float *counts, float first, float second)
{
    if (threadIdx.x < 2) {
        counts[threadIdx.x] = __fadd_rn(counts[threadIdx.x], threadIdx.x == 0 ? first : second);
    }
}

void kern_count_cuda(float *counts, float first, float second)
{
    KERN_LAUNCH(count_kernel, 1, KERN_WARP, 0, device_cuda_current(), counts, first, second);
}

template <typename T> struct mean_args {
    T *mean;
    const T *x;
    int64_t B, tokens, D;
    float scale;
    bool whole;
};

template <typename T>
static __global__ void __launch_bounds__(THREADS) mean_kernel(const struct mean_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.D + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t b = i / packs;
    const int64_t at = (int64_t)(i - b * packs) * P;
    float sum[P], v[P];

    if (b >= a.B) {
        return;
    }
    kern_load_pack<P>(sum, a.x + (b * a.tokens + 1) * a.D, at, a.D, a.whole);
#pragma unroll 4
    for (int64_t t = 2; t < a.tokens; t++) {
        kern_load_pack<P>(v, a.x + (b * a.tokens + t) * a.D, at, a.D, a.whole);
#pragma unroll
        for (int e = 0; e < P; e++) {
            sum[e] = __fadd_rn(sum[e], v[e]);
        }
    }
#pragma unroll
    for (int e = 0; e < P; e++) {
        sum[e] = __fmul_rn(sum[e], a.scale);
    }
    kern_store_pack<P>(a.mean + b * a.D, sum, at, a.D, a.whole);
}

template <typename T>
static void mean_forward(T *mean, const T *x, int64_t B, int64_t tokens, int64_t D)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = B * kern_blocks(D, P);
    const bool whole = kern_is_aligned(mean) && kern_is_aligned(x) && D % P == 0;
    const struct mean_args<T> args = {
        mean, x, B, tokens, D, 1.0f / (float)(tokens - 1), whole
    };

    assert(tokens >= 2 && packs <= INT32_MAX);
    if (packs > 0) {
        KERN_LAUNCH((mean_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                    device_cuda_current(), args);
    }
}

void kern_mean_forward_cuda(float *mean, const float *x, int64_t B, int64_t T, int64_t D)
{
    mean_forward<float>(mean, x, B, T, D);
}

void kern_mean_forward_bf16_cuda(uint16_t *mean, const uint16_t *x, int64_t B, int64_t T, int64_t D)
{
    mean_forward<uint16_t>(mean, x, B, T, D);
}

template <typename T> struct spread_args {
    T *dx;
    const T *dmean;
    int64_t B, tokens, D;
    float scale;
    bool whole;
};

template <typename T>
static __global__ void __launch_bounds__(THREADS) spread_kernel(const struct spread_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.D + P - 1) / P), tokens = (uint32_t)(a.tokens - 1);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t row = i / packs, b = row / tokens;
    const int64_t at = (int64_t)(i - row * packs) * P;
    float dx[P], v[P];

    if (b >= a.B) {
        return;
    }
    T *to = a.dx + (row + b + 1) * a.D; /* each sample has one token more than rows here */
    kern_load_pack<P>(dx, to, at, a.D, a.whole);
    kern_load_pack<P>(v, a.dmean + b * a.D, at, a.D, a.whole);
#pragma unroll
    for (int e = 0; e < P; e++) {
        dx[e] = __fadd_rn(dx[e], __fmul_rn(a.scale, v[e]));
    }
    kern_store_pack<P>(to, dx, at, a.D, a.whole);
}

template <typename T>
static void mean_backward(T *dx, const T *dmean, int64_t B, int64_t tokens, int64_t D)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = B * (tokens - 1) * kern_blocks(D, P);
    const bool whole = kern_is_aligned(dx) && kern_is_aligned(dmean) && D % P == 0;
    const struct spread_args<T> args = {
        dx, dmean, B, tokens, D, 1.0f / (float)(tokens - 1), whole
    };

    assert(tokens >= 2 && packs <= INT32_MAX);
    if (packs > 0) {
        KERN_LAUNCH((spread_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                    device_cuda_current(), args);
    }
}

void kern_mean_backward_cuda(float *dx, const float *dmean, int64_t B, int64_t T, int64_t D)
{
    mean_backward<float>(dx, dmean, B, T, D);
}

void kern_mean_backward_bf16_cuda(uint16_t *dx, const uint16_t *dmean, int64_t B, int64_t T,
                                  int64_t D)
{
    mean_backward<uint16_t>(dx, dmean, B, T, D);
}

/* One block: it brings the numbers, and its first thread adds them up in their order. */
static __global__ void __launch_bounds__(THREADS)
    tally_kernel(float *loss_sum, float *correct, const float *loss, const int32_t *predicted,
                 const int32_t *label, int64_t N)
{
    __shared__ float losses[THREADS], hits[THREADS];
    float sum = *loss_sum, hit_sum = *correct;

    for (int64_t begin = 0; begin < N; begin += THREADS) {
        const int64_t i = begin + threadIdx.x;
        const int count = N - begin < THREADS ? (int)(N - begin) : THREADS;
        losses[threadIdx.x] = i < N ? loss[i] : 0.0f;
        hits[threadIdx.x] = i < N && predicted[i] == label[i] ? 1.0f : 0.0f;
        __syncthreads();
        for (int j = 0; j < count && threadIdx.x == 0; j++) {
            sum = __fadd_rn(sum, losses[j]);
            hit_sum = __fadd_rn(hit_sum, hits[j]);
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *loss_sum = sum;
        *correct = hit_sum;
    }
}

void kern_tally_cuda(float *loss_sum, float *correct, const float *loss, const int32_t *predicted,
                     const int32_t *label, int64_t N)
{
    if (N > 0) {
        KERN_LAUNCH(tally_kernel, 1, THREADS, 0, device_cuda_current(), loss_sum, correct, loss,
                    predicted, label, N);
    }
}
