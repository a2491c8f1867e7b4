/*
 * Sums down columns. First a grid of (columns, parts): a warp reads whole rows of 32 packs, so that
 * accesses are 16 bytes and neighbours' are adjacent; then a block of 32 columns adds up the parts.
 *
 * Floor: each element is read once, 4 or 2 bytes for one addition: bound by memory. The parts are
 * at most 1/16 of that, and still in the cache when they are read.
 */
#include "trainer/kernels/kern_columns_cuda_priv.h"

#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    WARPS = 4, /* of a block: each takes every fourth row of the part */
    THREADS = WARPS * KERN_WARP,
    LINES = 16, /* of the second kernel's block: each adds up every 16th part */
};

template <typename T> struct columns_args {
    float *parts; /* [part_count, NORM ? 2 : 1, width] */
    const T *x;
    const T *dy;              /* with NORM; contiguous */
    const float *mean, *rstd; /* with NORM */
    int64_t ld, rows, width;
    bool whole;
};

/* The sums of a part; NORM: of dy * xhat, and of dy. */
template <typename T, bool NORM>
static __global__ void __launch_bounds__(THREADS) columns_kernel(const struct columns_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    constexpr int LINE = KERN_WARP * P, SUMS = NORM ? 2 : 1;
    KERN_SHARED(float, lines); /* [WARPS, SUMS, LINE] */
    const int warp = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;
    const int64_t at = ((int64_t)blockIdx.x * KERN_WARP + lane) * P;
    const int64_t stride = (int64_t)gridDim.y * WARPS;
    float sums[P] = {0}, others[P] = {0}, x[P], dy[P];

    for (int64_t n = (int64_t)blockIdx.y * WARPS + warp; n < a.rows; n += stride) {
        kern_load_pack<P>(x, a.x + n * a.ld, at, a.width, a.whole);
        if constexpr (NORM) {
            const float mean = a.mean[n], rstd = a.rstd[n];
            kern_load_pack<P>(dy, a.dy + n * a.width, at, a.width, a.whole);
#pragma unroll
            for (int i = 0; i < P; i++) {
                sums[i] += dy[i] * ((x[i] - mean) * rstd);
                others[i] += dy[i];
            }
        } else {
#pragma unroll
            for (int i = 0; i < P; i++) {
                sums[i] += x[i];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < P; i++) {
        lines[warp * SUMS * LINE + lane * P + i] = sums[i];
        if (NORM) {
            lines[(warp * SUMS + 1) * LINE + lane * P + i] = others[i];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < SUMS * LINE; i += THREADS) {
        const int which = i / LINE, column = i % LINE;
        const int64_t c = (int64_t)blockIdx.x * LINE + column;
        float sum = lines[i];
        for (int w = 1; w < WARPS; w++) {
            sum += lines[w * SUMS * LINE + i];
        }
        if (c < a.width) {
            a.parts[((int64_t)blockIdx.y * SUMS + which) * a.width + c] = sum;
        }
    }
}

struct parts_args {
    float *out[2];
    const float *parts;
    int64_t part_count, width;
    int out_count;
    bool accumulate;
};

static __global__ void __launch_bounds__(KERN_WARP *LINES) parts_kernel(const struct parts_args a)
{
    __shared__ float lines[LINES][KERN_WARP];
    const int line = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;
    const int which = (int)blockIdx.y;
    const int64_t c = (int64_t)blockIdx.x * KERN_WARP + lane;
    float sum = 0;

    for (int64_t p = line; p < a.part_count && c < a.width; p += LINES) {
        sum += a.parts[(p * a.out_count + which) * a.width + c];
    }
    lines[line][lane] = sum;
    __syncthreads();
    if (line == 0 && c < a.width) {
        float *out = (which == 0 ? a.out[0] : a.out[1]) + c;
        for (int i = 1; i < LINES; i++) {
            sum += lines[i][lane];
        }
        *out = a.accumulate ? *out + sum : sum;
    }
}

void kern_sum_parts(float *out0, float *out1, const float *parts, int64_t part_count, int64_t width,
                    bool accumulate)
{
    const int out_count = out1 == NULL ? 1 : 2;
    const struct parts_args args = {{out0, out1}, parts, part_count, width, out_count, accumulate};
    const dim3 grid((unsigned)kern_blocks(width, KERN_WARP), (unsigned)out_count);

    KERN_LAUNCH(parts_kernel, grid, KERN_WARP * LINES, 0, device_cuda_current(), args);
}

template <typename T, bool NORM>
static void sum_columns(float *out0, float *out1, struct columns_args<T> a, bool accumulate)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t part_elems = (NORM ? 2 : 1) * a.width;
    const int64_t most = KERN_CUDA_SCRATCH_BYTES / (int64_t)sizeof(float) / part_elems;
    const int64_t wanted = kern_part_count(a.rows), part_count = wanted < most ? wanted : most;
    const dim3 grid((unsigned)kern_blocks(a.width, KERN_WARP * P), (unsigned)part_count);

    assert(most >= 1);
    a.parts = (float *)kern_cuda_scratch(part_count * part_elems * (int64_t)sizeof(float));
    a.whole = kern_is_aligned(a.x) && a.ld % P == 0 && a.width % P == 0 &&
              (!NORM || kern_is_aligned(a.dy));
    KERN_LAUNCH((columns_kernel<T, NORM>), grid, THREADS,
                WARPS * (NORM ? 2 : 1) * KERN_WARP * P * sizeof(float), device_cuda_current(), a);
    kern_sum_parts(out0, out1, a.parts, part_count, a.width, accumulate);
}

void kern_sum_columns_f32(float *out, const float *x, int64_t ld, int64_t rows, int64_t width,
                          bool accumulate)
{
    sum_columns<float, false>(out, NULL, {NULL, x, NULL, NULL, NULL, ld, rows, width, false},
                              accumulate);
}

void kern_sum_columns_bf16(float *out, const uint16_t *x, int64_t ld, int64_t rows, int64_t width,
                           bool accumulate)
{
    sum_columns<uint16_t, false>(out, NULL, {NULL, x, NULL, NULL, NULL, ld, rows, width, false},
                                 accumulate);
}

void kern_sum_norm_f32(float *dgain, float *dbias, const float *dy, const float *x, int64_t ld,
                       const struct kern_norm_columns *norm, int64_t rows, int64_t width,
                       bool accumulate)
{
    sum_columns<float, true>(
        dgain, dbias, {NULL, x, dy, norm->mean, norm->rstd, ld, rows, width, false}, accumulate);
}

void kern_sum_norm_bf16(float *dgain, float *dbias, const uint16_t *dy, const uint16_t *x,
                        int64_t ld, const struct kern_norm_columns *norm, int64_t rows,
                        int64_t width, bool accumulate)
{
    sum_columns<uint16_t, true>(
        dgain, dbias, {NULL, x, dy, norm->mean, norm->rstd, ld, rows, width, false}, accumulate);
}
