/*
 * trainer/kernels/kern_attention_cuda_priv.h - what forward and backward share: the places of heads,
 * and how a block's shared memory is cut.
 */
#ifndef TRAINER_KERNELS_KERN_ATTENTION_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_ATTENTION_CUDA_PRIV_H

#include <math.h>

#include "trainer/kernels/kern_attention.h"
#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_tile_cuda_priv.h"

/* Sizes of a call, and of a block's tiles. */
struct kern_heads {
    int64_t T, query_count;
    int H, D, width; /* width: the columns of a tile in use, D up to a multiple of 2 packs */
    int64_t ld;      /* 3 H D, of qkv; H D is that of out */
    float scale;
    bool whole, is_causal;
    const int32_t *lengths; /* [B] or NULL */
};

/* Tokens of sample b that are there. */
static __device__ inline int64_t kern_length(const struct kern_heads *heads, int64_t b)
{
    return heads->lengths == NULL ? heads->T : heads->lengths[b];
}

/* How many of the `keys` keys from `key` on query `query` attends to; not above 0: none. */
static __device__ inline int kern_keys_of(const struct kern_heads *heads, int64_t query,
                                          int64_t key, int keys)
{
    return heads->is_causal && query + 1 - key < keys ? (int)(query + 1 - key) : keys;
}

static inline struct kern_heads kern_heads_of(const struct kern_attention_shape *shape,
                                              int64_t query_count,
                                              const struct kern_attention_mask *mask,
                                              bool are_aligned, int pack)
{
    const int H = (int)shape->H, D = (int)shape->D;

    assert(query_count >= 1 && query_count <= shape->T);
    assert(D <= KERN_CUDA_HEAD_CHANNELS_MAX);
    return {shape->T,
            query_count,
            H,
            D,
            (D + 2 * pack - 1) / (2 * pack) * (2 * pack),
            3 * shape->H * shape->D,
            1.0f / sqrtf((float)D),
            are_aligned && D % pack == 0,
            mask != NULL && mask->is_causal,
            mask == NULL ? NULL : mask->lengths};
}

/* The block's tile, head and sample, tiles running fastest. */
struct kern_place {
    int64_t tile, b;
    int h;
};

static __device__ inline struct kern_place kern_place_of(int64_t tiles, int H)
{
    const int64_t head = blockIdx.x / tiles;

    return {blockIdx.x - head * tiles, head / H, (int)(head % H)};
}

/* Elements of T in a tile, and the distance of its rows. */
template <typename T> static __host__ __device__ inline int kern_tile_ld(int width)
{
    return width + KERN_PACK<T>;
}

template <int TILE, typename T> static __host__ __device__ inline int kern_tile_bytes(int width)
{
    return TILE * kern_tile_ld<T>(width) * (int)sizeof(T);
}

/*
 * Probabilities in T lie where the scores in float were that they are made of, element by element and
 * by the same thread, if they are as large; else behind them, in so many bytes.
 */
template <int TILE, typename T> static __host__ __device__ inline int kern_square_bytes(void)
{
    return sizeof(T) == sizeof(float) ? 0 : kern_tile_bytes<TILE, T>(TILE);
}

template <typename T> static __device__ inline T *kern_square(float *scores, unsigned char *behind)
{
    return sizeof(T) == sizeof(float) ? (T *)(void *)scores : (T *)(void *)behind;
}

/* The first 32-byte boundary of dynamic shared memory, which has KERN_SHARED_SLACK bytes more. */
enum { KERN_SHARED_SLACK = 32 };

static __device__ inline unsigned char *kern_aligned_shared(unsigned char *shared)
{
    return shared + (32 - ((uintptr_t)shared & 31)) % 32;
}

/* Lets the kernel have more shared memory than the 48 KiB that every kernel may use. */
template <typename... A> static inline void kern_allow_shared(void (*kernel)(A...), int64_t bytes)
{
    if (bytes > 48 << 10) {
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    }
}

/* As kern_attention_backward_bf16_cuda(), in float. */
void kern_attention_backward_f32(float *dqkv, const float *dout, const float *qkv, const float *out,
                                 const float *lse, const struct kern_attention_shape *shape,
                                 int64_t query_count, const struct kern_attention_mask *mask);

#endif
