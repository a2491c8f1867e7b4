/*
 * Attention forward on the device: a block takes TILE queries of a head and walks over its keys,
 * TILE at a time, with the softmax kept up to date as it goes (online softmax: M. Milakov and
 * N. Gimelshein, 2018, arXiv:1805.02867; FlashAttention-2: T. Dao, 2023, arXiv:2307.08691,
 * algorithm 1). Of scores there are TILE x TILE at a time, in shared memory.
 *
 * Floor, s = 4 bytes (2 in bfloat16): 4 T T D operations a head, on tensor cores in bfloat16;
 * s (3 T D read + T D written) a head of memory, for K and V are read by the T / TILE blocks of a head
 * at about the same time, from the cache. With `saved` also 4 T (D + 1) bytes. Bound by arithmetic
 * and shared memory in float, by memory up to T of some 100 in bfloat16.
 */
#include "trainer/kernels/kern_attention_cuda_priv.h"

template <typename T> struct forward_args {
    struct kern_heads heads;
    T *out, *copy; /* copy: of out, for the backward pass; or NULL */
    float *lse;    /* [B, H, T] or NULL */
    const T *qkv;
    int64_t tiles; /* of queries */
};

/* In the order in which they lie in shared memory. */
template <typename T> struct forward_tiles {
    T *q, *kv;
    float *out, *scores;
    T *p;         /* in float, the scores */
    float *scale; /* [TILE], of the rows of out at the end */
};

template <int TILE, typename T> static __host__ __device__ inline int shared_bytes(int width)
{
    return 2 * kern_tile_bytes<TILE, T>(width) + kern_tile_bytes<TILE, float>(width) +
           kern_tile_bytes<TILE, float>(TILE) + kern_square_bytes<TILE, T>() +
           TILE * (int)sizeof(float) + KERN_SHARED_SLACK;
}

template <int TILE, typename T>
static __device__ inline struct forward_tiles<T> cut(unsigned char *shared, int width) {
    const int tile = kern_tile_bytes<TILE, T>(width), sums = kern_tile_bytes<TILE, float>(width);
    const int scores = kern_tile_bytes<TILE, float>(TILE), p = kern_square_bytes<TILE, T>();
    unsigned char *at = kern_aligned_shared(shared);

    return {(T *)at,
            (T *)(at + tile),
            (float *)(at + 2 * tile),
            (float *)(at + 2 * tile + sums),
            kern_square<T>((float *)(at + 2 * tile + sums), at + 2 * tile + sums + scores),
            (float *)(at + 2 * tile + sums + scores + p)};
}

/* What the threads of a query's row know of it. */
struct softmax {
    float top, sum;
};

/*
 * Scores of TILE keys, of which `keys` are there, to probabilities; out's row follows the new top. A row
 * without a query has keys = 0.
 */
template <int TILE, typename T>
static __device__ inline struct softmax follow(const struct forward_tiles<T> *tiles,
                                               const struct kern_heads *heads, int keys,
                                               struct softmax before, bool is_first)
{
    constexpr int SHARE = KERN_TILE_THREADS / TILE;
    const int row = threadIdx.x / SHARE, first = threadIdx.x % SHARE;
    const float *scores = tiles->scores + row * kern_tile_ld<float>(TILE);
    T *p = tiles->p + row * kern_tile_ld<T>(TILE);
    float *out = tiles->out + row * kern_tile_ld<float>(heads->width);
    float top = before.top, sum = 0;

#pragma unroll
    for (int j = first; j < TILE; j += SHARE) {
        top = j < keys ? fmaxf(top, scores[j] * heads->scale) : top;
    }
    top = kern_tile_row_max<TILE>(top);
#pragma unroll
    for (int j = first; j < TILE; j += SHARE) {
        const float e = j < keys ? expf(scores[j] * heads->scale - top) : 0.0f;
        sum += e;
        kern_store(p + j, e);
    }
    const float keep = before.top == top ? 1.0f : expf(before.top - top); /* 0 at first */
    for (int c = first; c < heads->width; c += SHARE) {
        out[c] = is_first ? 0.0f : out[c] * keep;
    }
    return {top, before.sum * keep + kern_tile_row_sum<TILE>(sum)};
}

template <typename T, int TILE>
static __global__ void __launch_bounds__(KERN_TILE_THREADS)
    forward_kernel(const struct forward_args<T> a)
{
    KERN_SHARED(unsigned char, shared);
    const struct kern_heads &heads = a.heads;
    const struct forward_tiles<T> tiles = cut<TILE, T>(shared, heads.width);
    const struct kern_place place = kern_place_of(a.tiles, heads.H);
    const int64_t HD = heads.ld / 3, first = place.tile * TILE;
    const int64_t length = kern_length(&heads, place.b), left = heads.query_count - first;
    const int64_t rows = left < length - first ? left : length - first; /* that ask */
    const T *q = a.qkv + place.b * heads.T * heads.ld + place.h * heads.D;
    const int ld = kern_tile_ld<T>(heads.width), ld_out = kern_tile_ld<float>(heads.width);
    const int ld_scores = kern_tile_ld<float>(TILE), ld_p = kern_tile_ld<T>(TILE);
    const int row = threadIdx.x / (KERN_TILE_THREADS / TILE), in_use = kern_in_tile<TILE>(rows);
    struct softmax softmax = {-INFINITY, 0.0f};

    kern_tile_load<TILE>(tiles.q, ld, heads.width, q + first * heads.ld, heads.ld, rows, heads.D,
                         heads.whole);
    for (int64_t key = 0; key < length; key += TILE) {
        const T *k = q + HD + key * heads.ld, *v = k + HD;
        kern_tile_load<TILE>(tiles.kv, ld, heads.width, k, heads.ld, length - key, heads.D,
                             heads.whole);
        __syncthreads();
        const int columns = kern_in_tile<TILE>(length - key);
        const int keys = row < rows ? kern_keys_of(&heads, first + row, key, columns) : 0;
        kern_tile_scores<TILE>(tiles.scores, ld_scores, tiles.q, tiles.kv, ld,
                               {in_use, columns, heads.width});
        __syncthreads();
        kern_tile_load<TILE>(tiles.kv, ld, heads.width, v, heads.ld, length - key, heads.D,
                             heads.whole);
        softmax = follow<TILE, T>(&tiles, &heads, keys, softmax, key == 0);
        __syncthreads();
        kern_tile_add<TILE>(tiles.out, ld_out, tiles.p, ld_p, tiles.kv, ld,
                            {in_use, heads.width, columns});
        __syncthreads();
    }
    if (threadIdx.x % (KERN_TILE_THREADS / TILE) == 0) {
        tiles.scale[row] = row < rows ? 1.0f / softmax.sum : 0.0f;
        if (a.lse != NULL && row < rows) {
            a.lse[(place.b * heads.H + place.h) * heads.T + first + row] =
                softmax.top + logf(softmax.sum);
        }
    }
    __syncthreads();
    const int64_t at = (place.b * heads.T + first) * HD + place.h * heads.D;
    kern_tile_store<TILE>(a.out + at, HD, left, heads.D, heads.whole, tiles.out, ld_out,
                          tiles.scale);
    if (a.copy != NULL) {
        kern_tile_store<TILE>(a.copy + at, HD, left, heads.D, heads.whole, tiles.out, ld_out,
                              tiles.scale);
    }
}

template <typename T, int TILE> static void launch(struct forward_args<T> a, int64_t B)
{
    const int bytes = shared_bytes<TILE, T>(a.heads.width);

    a.tiles = kern_blocks(a.heads.query_count, TILE);
    if (B > 0) {
        kern_allow_shared(forward_kernel<T, TILE>, bytes);
        KERN_LAUNCH((forward_kernel<T, TILE>), kern_grid(B * a.heads.H * a.tiles),
                    KERN_TILE_THREADS, (size_t)bytes, device_cuda_current(), a);
    }
}

/* The log-sum-exps, up to a whole number of 256 bytes. */
static int64_t lse_elems(const struct kern_attention_shape *shape)
{
    return (shape->B * shape->H * shape->T + 63) / 64 * 64;
}

int64_t kern_attention_saved_elems_cuda(const struct kern_attention_shape *shape)
{
    return lse_elems(shape) + shape->B * shape->T * shape->H * shape->D;
}

void kern_attention_forward_cuda(float *out, float *saved, const float *qkv,
                                 const struct kern_attention_shape *shape, int64_t query_count,
                                 const struct kern_attention_mask *mask)
{
    float *copy = saved == NULL ? NULL : saved + lse_elems(shape);
    const bool are_aligned = kern_is_aligned(out) && kern_is_aligned(copy) && kern_is_aligned(qkv);
    const struct kern_heads heads = kern_heads_of(shape, query_count, mask, are_aligned, 4);

    if (heads.width <= 128) {
        launch<float, 32>({heads, out, copy, saved, qkv, 0}, shape->B);
    } else {
        launch<float, 16>({heads, out, copy, saved, qkv, 0}, shape->B);
    }
}

void kern_attention_forward_bf16_cuda(uint16_t *out, float *lse, const uint16_t *qkv,
                                      const struct kern_attention_shape *shape, int64_t query_count)
{
    const bool are_aligned = kern_is_aligned(out) && kern_is_aligned(qkv);
    const struct kern_heads heads = kern_heads_of(shape, query_count, NULL, are_aligned, 8);

    launch<uint16_t, 32>({heads, out, NULL, lse, qkv, 0}, shape->B);
}

void kern_attention_backward_cuda(float *dqkv, const float *dout, const float *qkv,
                                  const float *saved, const struct kern_attention_shape *shape,
                                  int64_t query_count, const struct kern_attention_mask *mask)
{
    kern_attention_backward_f32(dqkv, dout, qkv, saved + lse_elems(shape), saved, shape,
                                query_count, mask);
}
