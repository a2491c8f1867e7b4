/*
 * trainer/kernels/kern_pack_cuda_priv.h - rows of device memory in packs of 16 bytes, and sums over a
 * warp.
 *
 * A row lies over the lanes of a warp pack by pack: pack j holds the elements j * P .. j * P + P - 1
 * and belongs to lane j % 32. Arithmetic is in float; an element type is float, P = 4, or uint16_t
 * with the bits of a bfloat16 (kern_bf16.h), P = 8. Which lane sums what does not depend on whether
 * the pack could be read with one 16-byte access, so neither do the bits.
 */
#ifndef TRAINER_KERNELS_KERN_PACK_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_PACK_CUDA_PRIV_H

#include "trainer/kernels/kern_bf16.h"
#include "trainer/kernels/kern_cuda_priv.h"

enum { KERN_WARP = 32 };

static const unsigned KERN_ALL_LANES = 0xffffffffu;

/* Elements of a pack. */
template <typename T> constexpr int KERN_PACK = 16 / (int)sizeof(T);

static inline bool kern_is_aligned(const void *p)
{
    return ((uintptr_t)p & 15) == 0; /* NULL is */
}

static inline int64_t kern_blocks(int64_t count, int64_t per_block)
{
    return (count + per_block - 1) / per_block;
}

/* P elements from a 16-byte boundary. */
template <int P> __device__ static inline void kern_load_whole(float (&v)[P], const float *p)
{
#pragma unroll
    for (int i = 0; i < P; i += 4) {
        const float4 q = *(const float4 *)(p + i);
        v[i] = q.x, v[i + 1] = q.y, v[i + 2] = q.z, v[i + 3] = q.w;
    }
}

static __device__ inline void kern_unpack_bf16(float *v, unsigned bits)
{
    v[0] = kern_bf16_to_f32((uint16_t)(bits & 0xffffu));
    v[1] = kern_bf16_to_f32((uint16_t)(bits >> 16));
}

static __device__ inline unsigned kern_pack_bf16(const float *v)
{
    return kern_bf16_from_f32(v[0]) | (unsigned)kern_bf16_from_f32(v[1]) << 16;
}

template <int P> __device__ static inline void kern_load_whole(float (&v)[P], const uint16_t *p)
{
#pragma unroll
    for (int i = 0; i < P; i += 8) {
        const uint4 q = *(const uint4 *)(p + i);
        kern_unpack_bf16(v + i, q.x);
        kern_unpack_bf16(v + i + 2, q.y);
        kern_unpack_bf16(v + i + 4, q.z);
        kern_unpack_bf16(v + i + 6, q.w);
    }
}

template <int P> __device__ static inline void kern_store_whole(float *p, const float (&v)[P])
{
#pragma unroll
    for (int i = 0; i < P; i += 4) {
        *(float4 *)(p + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
    }
}

template <int P> __device__ static inline void kern_store_whole(uint16_t *p, const float (&v)[P])
{
#pragma unroll
    for (int i = 0; i < P; i += 8) {
        *(uint4 *)(p + i) = make_uint4(kern_pack_bf16(v + i), kern_pack_bf16(v + i + 2),
                                       kern_pack_bf16(v + i + 4), kern_pack_bf16(v + i + 6));
    }
}

static __device__ inline float kern_load(const float *p)
{
    return *p;
}

static __device__ inline float kern_load(const uint16_t *p)
{
    return kern_bf16_to_f32(*p);
}

static __device__ inline void kern_store(float *p, float x)
{
    *p = x;
}

static __device__ inline void kern_store(uint16_t *p, float x)
{
    *p = kern_bf16_from_f32(x);
}

/*
 * Elements at .. at + P - 1 of a row of `count`; zero beyond its end. `whole`: the row begins at a
 * 16-byte boundary, and packs that reach beyond its end are beyond it altogether.
 */
template <int P, typename T>
static __device__ inline void kern_load_pack(float (&v)[P], const T *row, int64_t at, int64_t count,
                                             bool whole)
{
    if (whole && at + P <= count) {
        kern_load_whole<P>(v, row + at);
        return;
    }
#pragma unroll
    for (int i = 0; i < P; i++) {
        v[i] = at + i < count ? kern_load(row + at + i) : 0.0f;
    }
}

template <int P, typename T>
static __device__ inline void kern_store_pack(T *row, const float (&v)[P], int64_t at,
                                              int64_t count, bool whole)
{
    if (whole && at + P <= count) {
        kern_store_whole<P>(row + at, v);
        return;
    }
#pragma unroll
    for (int i = 0; i < P; i++) {
        if (at + i < count) {
            kern_store(row + at + i, v[i]);
        }
    }
}

/* The sum over the lanes, always by the same tree, the same in all lanes. */
static __device__ inline float kern_warp_sum(float v)
{
#pragma unroll
    for (int d = KERN_WARP / 2; d > 0; d /= 2) {
        v += __shfl_xor_sync(KERN_ALL_LANES, v, d);
    }
    return v;
}

#endif
