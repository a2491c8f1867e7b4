/*
 * trainer/kernels/kern_tile_cuda_priv.h - products of small matrices in shared memory, by one block.
 *
 * For attention: TILE query rows against TILE key rows, TILE 16 or 32, by KERN_TILE_THREADS threads.
 * In float each thread sums a few elements in registers; in bfloat16 the tensor cores do, through
 * nvcuda::wmma, 16 x 16 elements a warp, with sums in float. All sums run upwards over the inner
 * dimension in pieces that TILE alone decides.
 *
 * Matrices are row-major. `ld` of a float matrix is 4 more than a multiple of 8, of a bfloat16 one 8
 * more than one of 16: so are 16-byte accesses of eight neighbouring rows spread over all banks.
 * Matrices begin at 32-byte boundaries. No function here waits for the other threads of the block.
 *
 * Of a tile at the end of a head less is in use: struct kern_extent. In float the inner dimension alone
 * is cut short, tensor cores skip squares, too: what lies beyond rows and columns is computed or left.
 */
#ifndef TRAINER_KERNELS_KERN_TILE_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_TILE_CUDA_PRIV_H

#include <cuda_bf16.h>
#include <mma.h>

#include "trainer/kernels/kern_pack_cuda_priv.h"

enum { KERN_TILE_THREADS = 128, KERN_TILE_WARPS = KERN_TILE_THREADS / KERN_WARP, KERN_WMMA = 16 };

/* Rows and columns of C that are wanted, and the inner dimension; beyond that A or B is zero. */
struct kern_extent {
    int rows, columns, depth;
};

/* `left` as far as it lies in a tile. */
template <int TILE> static __device__ inline int kern_in_tile(int64_t left)
{
    return left < TILE ? (int)left : TILE;
}

/* C[TILE, TILE] = A[TILE, k] B[TILE, k]^T; k a multiple of 8, in bfloat16 of 16. */
template <int TILE>
static __device__ inline void kern_tile_scores(float *c, int ld_c, const float *a, const float *b,
                                               int ld, struct kern_extent extent)
{
    constexpr int ROWS = TILE / 8, COLUMNS = TILE / 16;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float sums[ROWS][COLUMNS] = {{0}};

#pragma unroll 2
    for (int at = 0; at < extent.depth; at += 4) {
        float x[ROWS][4], y[COLUMNS][4];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            kern_load_whole<4>(x[i], a + (ty + 8 * i) * ld + at);
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            kern_load_whole<4>(y[j], b + (tx + 16 * j) * ld + at);
        }
#pragma unroll
        for (int p = 0; p < 4; p++) {
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) {
                    sums[i][j] += x[i][p] * y[j][p];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            c[(ty + 8 * i) * ld_c + tx + 16 * j] = sums[i][j];
        }
    }
}

static __device__ inline void kern_tile_scale_add(float (&sums)[4], float x, const float (&y)[4])
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sums[j] += x * y[j];
    }
}

/* C[TILE, n] += A[TILE, TILE] B[TILE, n]; n a multiple of 8, in bfloat16 of 16. */
template <int TILE>
static __device__ inline void kern_tile_add(float *c, int ld_c, const float *a, int ld_a,
                                            const float *b, int ld_b, struct kern_extent extent)
{
    constexpr int GROUPS = TILE / 4;

    for (int at = threadIdx.x; at < GROUPS * (extent.columns / 4); at += KERN_TILE_THREADS) {
        const int row = at % GROUPS, column = at / GROUPS * 4;
        float sums[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            kern_load_whole<4>(sums[i], c + (row + GROUPS * i) * ld_c + column);
        }
#pragma unroll 2
        for (int k = 0; k < extent.depth; k += 4) {
            float x[4][4], y[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                kern_load_whole<4>(x[i], a + (row + GROUPS * i) * ld_a + k);
            }
#pragma unroll
            for (int p = 0; p < 4; p++) {
                kern_load_whole<4>(y, b + (k + p) * ld_b + column);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    kern_tile_scale_add(sums[i], x[i][p], y);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            kern_store_whole<4>(c + (row + GROUPS * i) * ld_c + column, sums[i]);
        }
    }
}

/* C[TILE, n] += A[TILE, TILE]^T B[TILE, n]. */
template <int TILE>
static __device__ inline void kern_tile_add_transposed(float *c, int ld_c, const float *a, int ld_a,
                                                       const float *b, int ld_b,
                                                       struct kern_extent extent)
{
    constexpr int GROUPS = TILE / 4;

    for (int at = threadIdx.x; at < GROUPS * (extent.columns / 4); at += KERN_TILE_THREADS) {
        const int row = at % GROUPS * 4, column = at / GROUPS * 4;
        float sums[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            kern_load_whole<4>(sums[i], c + (row + i) * ld_c + column);
        }
#pragma unroll 4
        for (int k = 0; k < extent.depth; k++) {
            float x[4], y[4];
            kern_load_whole<4>(x, a + k * ld_a + row);
            kern_load_whole<4>(y, b + k * ld_b + column);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                kern_tile_scale_add(sums[i], x[i], y);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            kern_store_whole<4>(c + (row + i) * ld_c + column, sums[i]);
        }
    }
}

/* 16 x 16 elements of C += A B by a warp; A's and B's storage orders are LA and LB. */
template <typename LA, typename LB>
static __device__ inline void kern_wmma_add(float *c, int ld_c, const uint16_t *a, int step_a,
                                            int ld_a, const uint16_t *b, int step_b, int ld_b,
                                            int k, bool adds)
{
    namespace wmma = nvcuda::wmma;
    wmma::fragment<wmma::accumulator, KERN_WMMA, KERN_WMMA, KERN_WMMA, float> sums;
    wmma::fragment<wmma::matrix_a, KERN_WMMA, KERN_WMMA, KERN_WMMA, __nv_bfloat16, LA> x;
    wmma::fragment<wmma::matrix_b, KERN_WMMA, KERN_WMMA, KERN_WMMA, __nv_bfloat16, LB> y;

    if (adds) {
        wmma::load_matrix_sync(sums, c, (unsigned)ld_c, wmma::mem_row_major);
    } else {
        wmma::fill_fragment(sums, 0.0f);
    }
    for (int at = 0; at < k; at += KERN_WMMA) {
        wmma::load_matrix_sync(x, (const __nv_bfloat16 *)(a + at * step_a), (unsigned)ld_a);
        wmma::load_matrix_sync(y, (const __nv_bfloat16 *)(b + at * step_b), (unsigned)ld_b);
        wmma::mma_sync(sums, x, y, sums);
    }
    wmma::store_matrix_sync(c, sums, (unsigned)ld_c, wmma::mem_row_major);
}

/* The same three in bfloat16. */
template <int TILE>
static __device__ inline void kern_tile_scores(float *c, int ld_c, const uint16_t *a,
                                               const uint16_t *b, int ld, struct kern_extent extent)
{
    constexpr int BLOCKS = TILE / KERN_WMMA;

    for (int at = threadIdx.x / KERN_WARP; at < BLOCKS * BLOCKS; at += KERN_TILE_WARPS) {
        const int row = at / BLOCKS * KERN_WMMA, column = at % BLOCKS * KERN_WMMA;
        if (row < extent.rows && column < extent.columns) {
            kern_wmma_add<nvcuda::wmma::row_major, nvcuda::wmma::col_major>(
                c + row * ld_c + column, ld_c, a + row * ld, 1, ld, b + column * ld, 1, ld,
                extent.depth, false);
        }
    }
}

template <int TILE>
static __device__ inline void kern_tile_add(float *c, int ld_c, const uint16_t *a, int ld_a,
                                            const uint16_t *b, int ld_b, struct kern_extent extent)
{
    constexpr int BLOCKS = TILE / KERN_WMMA;
    const int count = BLOCKS * (extent.columns / KERN_WMMA);

    for (int at = threadIdx.x / KERN_WARP; at < count; at += KERN_TILE_WARPS) {
        const int row = at % BLOCKS * KERN_WMMA, column = at / BLOCKS * KERN_WMMA;
        if (row < extent.rows) {
            kern_wmma_add<nvcuda::wmma::row_major, nvcuda::wmma::row_major>(
                c + row * ld_c + column, ld_c, a + row * ld_a, 1, ld_a, b + column, ld_b, ld_b,
                extent.depth, true);
        }
    }
}

template <int TILE>
static __device__ inline void kern_tile_add_transposed(float *c, int ld_c, const uint16_t *a,
                                                       int ld_a, const uint16_t *b, int ld_b,
                                                       struct kern_extent extent)
{
    constexpr int BLOCKS = TILE / KERN_WMMA;
    const int count = BLOCKS * (extent.columns / KERN_WMMA);

    for (int at = threadIdx.x / KERN_WARP; at < count; at += KERN_TILE_WARPS) {
        const int row = at % BLOCKS * KERN_WMMA, column = at / BLOCKS * KERN_WMMA;
        if (row < extent.rows) {
            kern_wmma_add<nvcuda::wmma::col_major, nvcuda::wmma::row_major>(
                c + row * ld_c + column, ld_c, a + row, ld_a, ld_a, b + column, ld_b, ld_b,
                extent.depth, true);
        }
    }
}

/*
 * Loads `rows` <= TILE rows of D elements, ld_from apart, into a tile of `width` >= D columns; the
 * rest of it is zero. `whole`: rows begin at 16-byte boundaries and D is a number of packs.
 */
template <int TILE, typename T>
static __device__ inline void kern_tile_load(T *to, int ld, int width, const T *from,
                                             int64_t ld_from, int64_t rows, int D, bool whole)
{
    constexpr int P = KERN_PACK<T>;
    const int packs = width / P;

    for (int i = threadIdx.x; i < TILE * packs; i += KERN_TILE_THREADS) {
        const int row = i / packs, at = (i - row * packs) * P;
        const T *p = from + row * ld_from + at;
        uint4 bits = make_uint4(0, 0, 0, 0);
        if (row < rows && whole && at < D) {
            bits = *(const uint4 *)p;
        } else if (row < rows) {
            T some[P];
#pragma unroll
            for (int e = 0; e < P; e++) {
                some[e] = at + e < D ? p[e] : (T)0;
            }
            memcpy(&bits, some, sizeof(bits));
        }
        *(uint4 *)(to + row * ld + at) = bits;
    }
}

/* Stores the first `rows` rows of a float tile, row i times scale[i] if there is a scale. */
template <int TILE, typename T>
static __device__ inline void kern_tile_store(T *to, int64_t ld_to, int64_t rows, int D, bool whole,
                                              const float *from, int ld, const float *scale)
{
    constexpr int P = KERN_PACK<T>;
    const int packs = (D + P - 1) / P;

    for (int i = threadIdx.x; i < TILE * packs; i += KERN_TILE_THREADS) {
        const int row = i / packs, at = (i - row * packs) * P;
        float v[P];
        if (row >= rows) {
            break;
        }
        kern_load_whole<P>(v, from + row * ld + at);
#pragma unroll
        for (int e = 0; e < P; e++) {
            v[e] *= scale == NULL ? 1.0f : scale[row];
        }
        kern_store_pack<P>(to + row * ld_to, v, at, D, whole);
    }
}

/* Over the THREADS / TILE neighbouring threads that share a row. */
template <int TILE> static __device__ inline float kern_tile_row_sum(float v)
{
#pragma unroll
    for (int d = KERN_TILE_THREADS / TILE / 2; d > 0; d /= 2) {
        v += __shfl_xor_sync(KERN_ALL_LANES, v, d);
    }
    return v;
}

template <int TILE> static __device__ inline float kern_tile_row_max(float v)
{
#pragma unroll
    for (int d = KERN_TILE_THREADS / TILE / 2; d > 0; d /= 2) {
        v = fmaxf(v, __shfl_xor_sync(KERN_ALL_LANES, v, d));
    }
    return v;
}

#endif
