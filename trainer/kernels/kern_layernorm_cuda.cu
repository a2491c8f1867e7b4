/*
 * Layer normalisation on the device: a warp a row.
 *
 * Rows of up to 1024 elements are held in registers between the sums and the result, so that each
 * element is read once and written once; longer ones are read again, from the cache.
 * Floor, with s = 4 bytes an element (2 in bfloat16): forward 2 s N C bytes and 8 N C operations,
 * backward 3 s N C bytes (4 with a residual) and 16 N C operations: bound by memory.
 */
#include "trainer/kernels/kern_layernorm.h"

#include "trainer/kernels/kern_columns_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    WARPS = 4, /* rows of a block at a time; they share nothing on the way forward */
    THREADS = WARPS * KERN_WARP,
};

template <typename T> struct forward_args {
    T *y;
    float *mean, *rstd;
    const T *x;
    const float *gain, *bias;
    int64_t ld_x, N, C;
    float epsilon;
    bool whole;
};

/*
 * PACKS > 0: a lane holds so many packs, which cover the row; 0: it reads them when they are wanted.
 * The sums are the same in both.
 */
template <typename T, int PACKS>
static __global__ void __launch_bounds__(THREADS) forward_kernel(const struct forward_args<T> a)
{
    constexpr int P = KERN_PACK<T>, HELD = PACKS > 0 ? PACKS : 1;
    const int packs = PACKS > 0 ? PACKS : (int)((a.C + KERN_WARP * P - 1) / (KERN_WARP * P));
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / KERN_WARP;
    const int64_t first = threadIdx.x % KERN_WARP * P;
    const T *x = a.x + n * a.ld_x;
    float held[HELD][P];
    float sum = 0, squares = 0;

    if (n >= a.N) {
        return;
    }
#pragma unroll(HELD)
    for (int j = 0; j < packs; j++) {
        float(&v)[P] = held[PACKS > 0 ? j : 0];
        kern_load_pack<P>(v, x, first + j * KERN_WARP * P, a.C, a.whole);
#pragma unroll
        for (int i = 0; i < P; i++) {
            sum += v[i];
        }
    }
    const float mean = kern_warp_sum(sum) / (float)a.C;
#pragma unroll(HELD)
    for (int j = 0; j < packs; j++) {
        float(&v)[P] = held[PACKS > 0 ? j : 0];
        const int64_t at = first + j * KERN_WARP * P;
        if (PACKS == 0) {
            kern_load_pack<P>(v, x, at, a.C, a.whole);
        }
#pragma unroll
        for (int i = 0; i < P; i++) {
            const float d = at + i < a.C ? v[i] - mean : 0.0f;
            squares += d * d;
        }
    }
    const float rstd = 1.0f / sqrtf(kern_warp_sum(squares) / (float)a.C + a.epsilon);
#pragma unroll(HELD)
    for (int j = 0; j < packs; j++) {
        float(&v)[P] = held[PACKS > 0 ? j : 0];
        const int64_t at = first + j * KERN_WARP * P;
        float gain[P], bias[P];
        if (PACKS == 0) {
            kern_load_pack<P>(v, x, at, a.C, a.whole);
        }
        kern_load_pack<P>(gain, a.gain, at, a.C, a.whole);
        kern_load_pack<P>(bias, a.bias, at, a.C, a.whole);
#pragma unroll
        for (int i = 0; i < P; i++) {
            v[i] = (v[i] - mean) * rstd * gain[i] + bias[i];
        }
        kern_store_pack<P>(a.y + n * a.C, v, at, a.C, a.whole);
    }
    if (a.mean != NULL && first == 0) {
        a.mean[n] = mean;
        a.rstd[n] = rstd;
    }
}

template <typename T> static void launch_forward(struct forward_args<T> a)
{
    constexpr int P = KERN_PACK<T>, PASS = KERN_WARP * P;
    const dim3 grid = kern_grid(kern_blocks(a.N > 0 ? a.N : 1, WARPS));
    const cudaStream_t stream = device_cuda_current();

    assert(a.C >= 1 && a.ld_x >= a.C);
    a.whole = kern_is_aligned(a.x) && kern_is_aligned(a.y) && kern_is_aligned(a.gain) &&
              kern_is_aligned(a.bias) && a.ld_x % P == 0 && a.C % P == 0;
    if (a.N == 0) {
        return;
    }
    if (a.C <= PASS) {
        KERN_LAUNCH((forward_kernel<T, 1>), grid, THREADS, 0, stream, a);
    } else if (a.C <= 2 * PASS) {
        KERN_LAUNCH((forward_kernel<T, 2>), grid, THREADS, 0, stream, a);
    } else if (a.C <= 4 * PASS) {
        KERN_LAUNCH((forward_kernel<T, 4>), grid, THREADS, 0, stream, a);
    } else if (a.C <= 1024) {
        KERN_LAUNCH((forward_kernel<T, 1024 / PASS>), grid, THREADS, 0, stream, a);
    } else {
        KERN_LAUNCH((forward_kernel<T, 0>), grid, THREADS, 0, stream, a);
    }
}

template <typename T> struct backward_args {
    T *dx; /* NULL: not wanted */
    const T *residual;
    float *parts; /* [gridDim.x, 2, C]; NULL: only dx is wanted */
    const T *dy, *x;
    const float *mean, *rstd, *gain;
    int64_t ld_x, N, C;
    bool whole;
};

/* Adds the gradients that each warp holds to the block's, warp by warp, and writes them. */
template <int PACKS, int P>
static __device__ inline void put_part(float *part, float *sums, const float (&gains)[PACKS][P],
                                       const float (&biases)[PACKS][P], int64_t C)
{
    constexpr int WIDTH = PACKS * KERN_WARP * P; /* sums [2, WIDTH] are shared */
    const int warp = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;

    for (int w = 0; w < WARPS; w++) {
        if (warp == w) {
#pragma unroll
            for (int j = 0; j < PACKS; j++) {
#pragma unroll
                for (int i = 0; i < P; i++) {
                    const int c = (j * KERN_WARP + lane) * P + i;
                    sums[c] = w == 0 ? gains[j][i] : sums[c] + gains[j][i];
                    sums[WIDTH + c] = w == 0 ? biases[j][i] : sums[WIDTH + c] + biases[j][i];
                }
            }
        }
        __syncthreads();
    }
    for (int c = threadIdx.x; c < C; c += THREADS) {
        part[c] = sums[c];
        part[C + c] = sums[WIDTH + c];
    }
}

/* dx of a row is written, and its shares of dgain and dbias are added to what the lane holds. */
template <typename T, int PACKS>
static __global__ void __launch_bounds__(THREADS) backward_kernel(const struct backward_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    KERN_SHARED(float, sums);
    const int64_t first = threadIdx.x % KERN_WARP * P, stride = (int64_t)gridDim.x * WARPS;
    float gains[PACKS][P] = {{0}}, biases[PACKS][P] = {{0}};

    for (int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / KERN_WARP; n < a.N; n += stride) {
        const float mean = a.mean[n], rstd = a.rstd[n];
        float xhat[PACKS][P], g[PACKS][P];
        float sum = 0, sum_xhat = 0;
#pragma unroll
        for (int j = 0; j < PACKS; j++) {
            const int64_t at = first + j * KERN_WARP * P;
            float gain[P];
            kern_load_pack<P>(xhat[j], a.x + n * a.ld_x, at, a.C, a.whole);
            kern_load_pack<P>(g[j], a.dy + n * a.C, at, a.C, a.whole);
            kern_load_pack<P>(gain, a.gain, at, a.C, a.whole);
#pragma unroll
            for (int i = 0; i < P; i++) {
                xhat[j][i] = (xhat[j][i] - mean) * rstd;
                gains[j][i] += g[j][i] * xhat[j][i];
                biases[j][i] += g[j][i];
                g[j][i] *= gain[i];
                sum += g[j][i];
                sum_xhat += g[j][i] * xhat[j][i];
            }
        }
        if (a.dx == NULL) {
            continue;
        }
        sum = kern_warp_sum(sum) / (float)a.C;
        sum_xhat = kern_warp_sum(sum_xhat) / (float)a.C;
#pragma unroll
        for (int j = 0; j < PACKS; j++) {
            const int64_t at = first + j * KERN_WARP * P;
            float around[P] = {0};
            if (a.residual != NULL) {
                kern_load_pack<P>(around, a.residual + n * a.ld_x, at, a.C, a.whole);
            }
#pragma unroll
            for (int i = 0; i < P; i++) {
                around[i] += rstd * (g[j][i] - sum - xhat[j][i] * sum_xhat);
            }
            kern_store_pack<P>(a.dx + n * a.ld_x, around, at, a.C, a.whole);
        }
    }
    put_part<PACKS, P>(a.parts + (int64_t)blockIdx.x * 2 * a.C, sums, gains, biases, a.C);
}

/* dx of rows that no warp can hold. */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
    backward_long_kernel(const struct backward_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / KERN_WARP;
    const int64_t first = threadIdx.x % KERN_WARP * P;
    float sum = 0, sum_xhat = 0;

    if (n >= a.N) {
        return;
    }
    const float mean = a.mean[n], rstd = a.rstd[n];
    for (int64_t at = first; at - first < a.C; at += KERN_WARP * P) {
        float x[P], dy[P], gain[P];
        kern_load_pack<P>(x, a.x + n * a.ld_x, at, a.C, a.whole);
        kern_load_pack<P>(dy, a.dy + n * a.C, at, a.C, a.whole);
        kern_load_pack<P>(gain, a.gain, at, a.C, a.whole);
#pragma unroll
        for (int i = 0; i < P; i++) {
            sum += dy[i] * gain[i];
            sum_xhat += dy[i] * gain[i] * ((x[i] - mean) * rstd);
        }
    }
    sum = kern_warp_sum(sum) / (float)a.C;
    sum_xhat = kern_warp_sum(sum_xhat) / (float)a.C;
    for (int64_t at = first; at - first < a.C; at += KERN_WARP * P) {
        float x[P], dy[P], gain[P], around[P] = {0};
        kern_load_pack<P>(x, a.x + n * a.ld_x, at, a.C, a.whole);
        kern_load_pack<P>(dy, a.dy + n * a.C, at, a.C, a.whole);
        kern_load_pack<P>(gain, a.gain, at, a.C, a.whole);
        if (a.residual != NULL) {
            kern_load_pack<P>(around, a.residual + n * a.ld_x, at, a.C, a.whole);
        }
#pragma unroll
        for (int i = 0; i < P; i++) {
            around[i] += rstd * (dy[i] * gain[i] - sum - (x[i] - mean) * rstd * sum_xhat);
        }
        kern_store_pack<P>(a.dx + n * a.ld_x, around, at, a.C, a.whole);
    }
}

/* True if the sums of the columns are in a.parts; else the rows are too long and they are to be made. */
template <typename T> static bool launch_backward(struct backward_args<T> a, int64_t part_count)
{
    constexpr int P = KERN_PACK<T>, PASS = KERN_WARP * P;
    const dim3 grid = kern_grid(part_count);
    const size_t pass_bytes = 2 * PASS * sizeof(float);
    const cudaStream_t stream = device_cuda_current();

    if (a.C <= PASS) {
        KERN_LAUNCH((backward_kernel<T, 1>), grid, THREADS, 1 * pass_bytes, stream, a);
    } else if (a.C <= 2 * PASS) {
        KERN_LAUNCH((backward_kernel<T, 2>), grid, THREADS, 2 * pass_bytes, stream, a);
    } else if (a.C <= 4 * PASS) {
        KERN_LAUNCH((backward_kernel<T, 4>), grid, THREADS, 4 * pass_bytes, stream, a);
    } else if (a.C <= 1024) {
        KERN_LAUNCH((backward_kernel<T, 1024 / PASS>), grid, THREADS, (1024 / PASS) * pass_bytes,
                    stream, a);
    } else {
        if (a.N > 0 && a.dx != NULL) {
            KERN_LAUNCH((backward_long_kernel<T>), kern_grid(kern_blocks(a.N, WARPS)), THREADS, 0,
                        stream, a);
        }
        return false;
    }
    return true;
}

template <typename T> static bool backward(struct backward_args<T> a, int64_t part_count)
{
    constexpr int P = KERN_PACK<T>;

    assert(a.C >= 1 && a.ld_x >= a.C);
    a.whole = kern_is_aligned(a.x) && kern_is_aligned(a.dy) && kern_is_aligned(a.dx) &&
              kern_is_aligned(a.residual) && kern_is_aligned(a.gain) && a.ld_x % P == 0 &&
              a.C % P == 0;
    return launch_backward(a, part_count);
}

void kern_layernorm_forward_cuda(float *y, float *mean, float *rstd, const float *x, int64_t ld_x,
                                 const float *gain, const float *bias, int64_t N, int64_t C,
                                 float epsilon)
{
    launch_forward<float>({y, mean, rstd, x, gain, bias, ld_x, N, C, epsilon, false});
}

void kern_layernorm_forward_bf16_cuda(uint16_t *y, float *mean, float *rstd, const uint16_t *x,
                                      int64_t ld_x, const float *gain, const float *bias, int64_t N,
                                      int64_t C, float epsilon)
{
    launch_forward<uint16_t>({y, mean, rstd, x, gain, bias, ld_x, N, C, epsilon, false});
}

void kern_layernorm_backward_cuda(float *dx, const float *residual, float *dgain, float *dbias,
                                  const float *dy, const float *x, int64_t ld_x, const float *mean,
                                  const float *rstd, const float *gain, int64_t N, int64_t C,
                                  bool accumulate)
{
    const struct kern_norm_columns norm = {mean, rstd};
    const int64_t part_count = kern_part_count(N);
    float *parts = (float *)kern_cuda_scratch(part_count * 2 * C * (int64_t)sizeof(float));

    if (backward<float>({dx, residual, parts, dy, x, mean, rstd, gain, ld_x, N, C, false},
                        part_count)) {
        kern_sum_parts(dgain, dbias, parts, part_count, C, accumulate);
    } else {
        kern_sum_norm_f32(dgain, dbias, dy, x, ld_x, &norm, N, C, accumulate);
    }
}

void kern_layernorm_backward_bf16_cuda(uint16_t *dx, const uint16_t *residual, float *dgain,
                                       float *dbias, const uint16_t *dy, const uint16_t *x,
                                       int64_t ld_x, const float *mean, const float *rstd,
                                       const float *gain, int64_t N, int64_t C, bool accumulate)
{
    const struct kern_norm_columns norm = {mean, rstd};
    const int64_t part_count = kern_part_count(N);
    float *parts = (float *)kern_cuda_scratch(part_count * 2 * C * (int64_t)sizeof(float));

    if (backward<uint16_t>({dx, residual, parts, dy, x, mean, rstd, gain, ld_x, N, C, false},
                           part_count)) {
        kern_sum_parts(dgain, dbias, parts, part_count, C, accumulate);
    } else {
        kern_sum_norm_bf16(dgain, dbias, dy, x, ld_x, &norm, N, C, accumulate);
    }
}
