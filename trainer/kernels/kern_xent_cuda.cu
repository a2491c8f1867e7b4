/*
 * Cross entropy and gate features on the device: a warp a row, which it reads once and holds in
 * registers (up to 1024 classes; beyond, it is read again from the cache). Sums are in float.
 *
 * Floor, s = 4 bytes a logit (2 in bfloat16): forward s N K bytes read, 28 N written and some 12 N K
 * operations with one exponential; backward 2 s N K bytes and one exponential: bound by memory.
 */
#include "trainer/kernels/kern_xent.h"

#include <float.h>
#include <math.h>

#include "trainer/kernels/kern_columns_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    WARPS = 4,
    THREADS = WARPS * KERN_WARP,
};

/* exp of less is 0 in float; keeps 0 * -inf out of the sums. */
static const float LOWEST = -150.0f;

/* The two largest logits and where the first of them is. */
struct top {
    float first, second;
    int index;
};

static __device__ inline struct top top_add(struct top top, float z, int index)
{
    if (z > top.first) {
        top.second = top.first;
        top.first = z;
        top.index = index;
    } else if (z > top.second) {
        top.second = z;
    }
    return top;
}

/* Over the lanes; of equal ones the lowest index. */
static __device__ inline struct top warp_top(struct top top)
{
#pragma unroll
    for (int d = KERN_WARP / 2; d > 0; d /= 2) {
        const float first = __shfl_xor_sync(KERN_ALL_LANES, top.first, d);
        const float second = __shfl_xor_sync(KERN_ALL_LANES, top.second, d);
        const int index = __shfl_xor_sync(KERN_ALL_LANES, top.index, d);
        top.second = fmaxf(fminf(top.first, first), fmaxf(top.second, second));
        if (first > top.first || (first == top.first && index < top.index)) {
            top.first = first;
            top.index = index;
        }
    }
    return top;
}

struct row {
    struct top top;
    float sum, sum_t, sum_2t, sum_t_2t; /* of exp t, t exp t, exp 2t, t exp 2t; t = z - z_max */
    bool is_bad;
};

static __device__ inline void row_add(struct row *row, float z)
{
    const float t = fmaxf(z - row->top.first, LOWEST);
    const float e = expf(t), square = e * e;

    row->sum += e;
    row->sum_t += e * t;
    row->sum_2t += square;
    row->sum_t_2t += square * t;
}

template <typename T> struct forward_args {
    struct kern_xent_out out;
    const T *z;
    const int32_t *label;
    float *bad_parts; /* [gridDim.x], bad rows of each block */
    int64_t N, K;
    bool whole;
};

/* Reads the row; PACKS as in kern_layernorm_cuda.cu. All lanes have the result. */
template <typename T, int PACKS>
static __device__ inline struct row read_row(const T *z, int64_t K, bool whole)
{
    constexpr int P = KERN_PACK<T>, HELD = PACKS > 0 ? PACKS : 1;
    const int packs = PACKS > 0 ? PACKS : (int)((K + KERN_WARP * P - 1) / (KERN_WARP * P));
    const int64_t lane_at = threadIdx.x % KERN_WARP * P;
    float held[HELD][P];
    struct row row = {{-INFINITY, -INFINITY, INT32_MAX}, 0, 0, 0, 0, false};

#pragma unroll(HELD)
    for (int j = 0; j < packs; j++) {
        float(&v)[P] = held[PACKS > 0 ? j : 0];
        const int64_t at = lane_at + j * KERN_WARP * P;
        kern_load_pack<P>(v, z, at, K, whole);
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (at + i < K) {
                row.is_bad = row.is_bad || !(fabsf(v[i]) <= FLT_MAX);
                row.top = top_add(row.top, v[i], (int)(at + i));
            }
        }
    }
    row.is_bad = __any_sync(KERN_ALL_LANES, row.is_bad) != 0;
    row.top = warp_top(row.top);
#pragma unroll(HELD)
    for (int j = 0; j < packs; j++) {
        float(&v)[P] = held[PACKS > 0 ? j : 0];
        const int64_t at = lane_at + j * KERN_WARP * P;
        if (PACKS == 0) {
            kern_load_pack<P>(v, z, at, K, whole);
        }
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (at + i < K) {
                row_add(&row, v[i]);
            }
        }
    }
    row.sum = kern_warp_sum(row.sum);
    row.sum_t = kern_warp_sum(row.sum_t);
    row.sum_2t = kern_warp_sum(row.sum_2t);
    row.sum_t_2t = kern_warp_sum(row.sum_t_2t);
    return row;
}

/* By one lane. A bad row has NaN everywhere, and class 0. */
static __device__ inline void put_row(const struct kern_xent_out *out, int64_t n, float z_label,
                                      const struct row *row)
{
    const float log_sum = logf(row->sum);

    if (out->loss != NULL) {
        out->loss[n] = row->is_bad ? NAN : row->top.first - z_label + log_sum;
    }
    if (out->lse != NULL) {
        out->lse[n] = row->is_bad ? NAN : row->top.first + log_sum;
    }
    if (out->predicted != NULL) {
        out->predicted[n] = row->is_bad ? 0 : row->top.index;
    }
    if (out->features != NULL) {
        float *features = out->features + n * KERN_XENT_FEATURES;
        const float margin = -expm1f(row->top.second - row->top.first);
        features[0] = row->is_bad ? NAN : 1.0f / row->sum;
        features[1] = row->is_bad ? NAN : log_sum - row->sum_t / row->sum;
        features[2] = row->is_bad ? NAN : margin / row->sum;
        features[3] = row->is_bad ? NAN : logf(row->sum_2t) - 2.0f * row->sum_t_2t / row->sum_2t;
    }
}

template <typename T, int PACKS>
static __global__ void __launch_bounds__(THREADS) forward_kernel(const struct forward_args<T> a)
{
    KERN_SHARED(float, bad); /* [WARPS] */
    const int warp = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;
    const int64_t n = (int64_t)blockIdx.x * WARPS + warp;
    bool is_bad = false;

    if (n < a.N) {
        const T *z = a.z + n * a.K;
        const struct row row = read_row<T, PACKS>(z, a.K, a.whole);
        is_bad = row.is_bad;
        if (lane == 0) {
            put_row(&a.out, n, a.out.loss == NULL ? 0.0f : kern_load(z + a.label[n]), &row);
        }
    }
    if (lane == 0) {
        bad[warp] = is_bad ? 1.0f : 0.0f;
    }
    __syncthreads();
    if (threadIdx.x == 0 && a.bad_parts != NULL) {
        a.bad_parts[blockIdx.x] = bad[0] + bad[1] + bad[2] + bad[3];
    }
}

template <typename T> static void launch_forward(struct forward_args<T> a)
{
    constexpr int P = KERN_PACK<T>, PASS = KERN_WARP * P;
    const int64_t blocks = kern_blocks(a.N, WARPS);
    const size_t bad_bytes = WARPS * sizeof(float);
    const cudaStream_t stream = device_cuda_current();

    assert(a.K >= 2 && a.K <= INT32_MAX);
    assert(a.out.loss == NULL || a.label != NULL);
    if (a.N == 0) {
        return;
    }
    a.whole = kern_is_aligned(a.z) && a.K % P == 0;
    if (a.out.bad != NULL) {
        a.bad_parts = (float *)kern_cuda_scratch(blocks * (int64_t)sizeof(float));
    }
    if (a.K <= PASS) {
        KERN_LAUNCH((forward_kernel<T, 1>), kern_grid(blocks), THREADS, bad_bytes, stream, a);
    } else if (a.K <= 1024) {
        KERN_LAUNCH((forward_kernel<T, 1024 / PASS>), kern_grid(blocks), THREADS, bad_bytes, stream,
                    a);
    } else {
        KERN_LAUNCH((forward_kernel<T, 0>), kern_grid(blocks), THREADS, bad_bytes, stream, a);
    }
    if (a.out.bad != NULL) { /* whole numbers: exact up to 2^24 bad rows */
        kern_sum_parts(a.out.bad, NULL, a.bad_parts, blocks, 1, true);
    }
}

void kern_xent_forward_cuda(const struct kern_xent_out *out, const float *z, const int32_t *label,
                            int64_t N, int64_t K)
{
    launch_forward<float>({*out, z, label, NULL, N, K, false});
}

void kern_xent_forward_bf16_cuda(const struct kern_xent_out *out, const uint16_t *z,
                                 const int32_t *label, int64_t N, int64_t K)
{
    launch_forward<uint16_t>({*out, z, label, NULL, N, K, false});
}

template <typename T> struct backward_args {
    T *dz;
    const T *z;
    const float *lse;
    const int32_t *label;
    const float *weight;
    int64_t N, K;
    bool whole;
};

/* The logits as one array, whatever K is: a pack may lie over several rows. */
template <typename T>
static __global__ void __launch_bounds__(THREADS) backward_kernel(const struct backward_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * P;
    const int64_t count = a.N * a.K;
    int64_t n = at / a.K, k = at - n * a.K;
    float z[P];

    kern_load_pack<P>(z, a.z, at, count, a.whole);
#pragma unroll
    for (int i = 0; i < P; i++) {
        if (n < a.N) {
            const float p = expf(z[i] - a.lse[n]);
            z[i] = a.weight[n] * (p - (k == a.label[n] ? 1.0f : 0.0f));
        }
        k++;
        if (k == a.K) {
            k = 0;
            n++;
        }
    }
    kern_store_pack<P>(a.dz, z, at, count, a.whole);
}

template <typename T> static void launch_backward(struct backward_args<T> a)
{
    constexpr int P = KERN_PACK<T>;

    if (a.N > 0) {
        a.whole = kern_is_aligned(a.z) && kern_is_aligned(a.dz);
        KERN_LAUNCH((backward_kernel<T>), kern_grid(kern_blocks(a.N * a.K, THREADS * P)), THREADS,
                    0, device_cuda_current(), a);
    }
}

void kern_xent_backward_cuda(float *dz, const float *z, const float *lse, const int32_t *label,
                             const float *weight, int64_t N, int64_t K)
{
    launch_backward<float>({dz, z, lse, label, weight, N, K, false});
}

void kern_xent_backward_bf16_cuda(uint16_t *dz, const uint16_t *z, const float *lse,
                                  const int32_t *label, const float *weight, int64_t N, int64_t K)
{
    launch_backward<uint16_t>({dz, z, lse, label, weight, N, K, false});
}
