/*
 * Attention backward on the device, in two kernels, so that no two blocks add to the same place:
 * dQ with a block for each TILE queries, then dK and dV with a block for each TILE keys. Both
 * compute the probabilities again from the saved log-sum-exps (FlashAttention-2: T. Dao, 2023,
 * arXiv:2307.08691, section 3.1). The first leaves delta = row sums of dO * O, which is
 * row sums of P * dP, in the scratch for the second.
 *
 * Floor, s = 4 bytes (2 in bfloat16): 14 T T D operations a head (10 if dQ were added up by atomics),
 * s (5 T D read + 3 T D written) a head. Bound by arithmetic and shared memory.
 */
#include "trainer/kernels/kern_attention_cuda_priv.h"

template <typename T> struct backward_args {
    struct kern_heads heads;
    T *dqkv;
    const T *dout, *qkv, *out;
    const float *lse; /* [B, H, T] */
    float *delta;     /* [B, H, T] */
    int64_t tiles;    /* a head */
};

/* In the order in which they lie in shared memory. `mine` stay for the whole block. */
template <typename T> struct backward_tiles {
    T *mine[2], *other[2]; /* Q and dO, K and V; or the other way round */
    float *scores, *dp;
    T *p, *ds;      /* in float, scores and dp */
    float *sums[2]; /* dQ alone; or dV and dK */
};

template <int TILE, typename T>
static __host__ __device__ inline int shared_bytes(int width, int sum_count)
{
    return 4 * kern_tile_bytes<TILE, T>(width) + sum_count * kern_tile_bytes<TILE, float>(width) +
           2 * kern_tile_bytes<TILE, float>(TILE) + 2 * kern_square_bytes<TILE, T>() +
           KERN_SHARED_SLACK;
}

template <int TILE, typename T>
static __device__ inline struct backward_tiles<T> cut(unsigned char *shared, int width) {
    const int tile = kern_tile_bytes<TILE, T>(width), sums = kern_tile_bytes<TILE, float>(width);
    const int square = kern_tile_bytes<TILE, float>(TILE), p = kern_square_bytes<TILE, T>();
    unsigned char *at = kern_aligned_shared(shared), *behind = at + 4 * tile + 2 * square;
    float *scores = (float *)(at + 4 * tile), *dp = (float *)(at + 4 * tile + square);

    return {{(T *)at, (T *)(at + tile)},
            {(T *)(at + 2 * tile), (T *)(at + 3 * tile)},
            scores,
            dp,
            kern_square<T>(scores, behind),
            kern_square<T>(dp, behind + p),
            {(float *)(behind + 2 * p), (float *)(behind + 2 * p + sums)}};
}

/* Of the row that a thread shares with its neighbours. */
struct query_row {
    float lse, delta;
    bool asks;
};

/* p = exp(scale s - lse), ds = scale p (dp - delta); both 0 where there is no query or no key. */
template <int TILE, typename T>
static __device__ inline void differentiate(const struct backward_tiles<T> *tiles, float scale,
                                            struct query_row query, int keys)
{
    constexpr int SHARE = KERN_TILE_THREADS / TILE;
    const int row = threadIdx.x / SHARE, first = threadIdx.x % SHARE;
    const int at = row * kern_tile_ld<float>(TILE), at_p = row * kern_tile_ld<T>(TILE);

#pragma unroll
    for (int j = first; j < TILE; j += SHARE) {
        const bool is_there = query.asks && j < keys;
        const float p = is_there ? expf(tiles->scores[at + j] * scale - query.lse) : 0.0f;
        const float ds = is_there ? scale * p * (tiles->dp[at + j] - query.delta) : 0.0f;
        kern_store(tiles->p + at_p + j, p);
        kern_store(tiles->ds + at_p + j, ds);
    }
}

template <int TILE> static __device__ inline void zero_tile(float *tile, int width)
{
    for (int i = threadIdx.x; i < TILE * kern_tile_ld<float>(width); i += KERN_TILE_THREADS) {
        tile[i] = 0.0f;
    }
}

/* delta of the thread's row, the same in the threads that share it. */
template <int TILE, typename T>
static __device__ inline float delta_of(const T *out, const T *dout, int D, bool asks)
{
    constexpr int SHARE = KERN_TILE_THREADS / TILE;
    float sum = 0;

    for (int c = threadIdx.x % SHARE; c < D && asks; c += SHARE) {
        sum += kern_load(out + c) * kern_load(dout + c);
    }
    return kern_tile_row_sum<TILE>(sum);
}

template <typename T, int TILE>
static __global__ void __launch_bounds__(KERN_TILE_THREADS)
    queries_kernel(const struct backward_args<T> a)
{
    KERN_SHARED(unsigned char, shared);
    const struct kern_heads &heads = a.heads;
    const struct backward_tiles<T> tiles = cut<TILE, T>(shared, heads.width);
    const struct kern_place place = kern_place_of(a.tiles, heads.H);
    const int row = threadIdx.x / (KERN_TILE_THREADS / TILE), ld = kern_tile_ld<T>(heads.width);
    const int ld_p = kern_tile_ld<T>(TILE), ld_scores = kern_tile_ld<float>(TILE);
    const int64_t HD = heads.ld / 3, first = place.tile * TILE;
    const int64_t length = kern_length(&heads, place.b), left = heads.query_count - first;
    const int64_t rows = left < length - first ? left : length - first; /* that ask */
    const int64_t head = place.b * heads.T * heads.ld + place.h * heads.D;
    const int64_t at = (place.b * heads.T + first) * HD + place.h * heads.D;
    const int64_t at_row = (place.b * heads.H + place.h) * heads.T + first + row;
    const int in_use = kern_in_tile<TILE>(rows);
    struct query_row query = {0.0f, 0.0f, row < rows};

    zero_tile<TILE>(tiles.sums[0], heads.width);
    kern_tile_load<TILE>(tiles.mine[0], ld, heads.width, a.qkv + head + first * heads.ld, heads.ld,
                         rows, heads.D, heads.whole);
    kern_tile_load<TILE>(tiles.mine[1], ld, heads.width, a.dout + at, HD, rows, heads.D,
                         heads.whole);
    __syncthreads();
    query.delta =
        delta_of<TILE, T>(a.out + at + row * HD, tiles.mine[1] + row * ld, heads.D, query.asks);
    if (query.asks) {
        query.lse = a.lse[at_row];
        if (threadIdx.x % (KERN_TILE_THREADS / TILE) == 0) {
            a.delta[at_row] = query.delta;
        }
    }
    for (int64_t key = 0; key < length && rows > 0; key += TILE) {
        const T *k = a.qkv + head + HD + key * heads.ld;
        const int keys = kern_in_tile<TILE>(length - key);
        kern_tile_load<TILE>(tiles.other[0], ld, heads.width, k, heads.ld, keys, heads.D,
                             heads.whole);
        kern_tile_load<TILE>(tiles.other[1], ld, heads.width, k + HD, heads.ld, keys, heads.D,
                             heads.whole);
        __syncthreads();
        kern_tile_scores<TILE>(tiles.scores, ld_scores, tiles.mine[0], tiles.other[0], ld,
                               {in_use, keys, heads.width});
        kern_tile_scores<TILE>(tiles.dp, ld_scores, tiles.mine[1], tiles.other[1], ld,
                               {in_use, keys, heads.width});
        __syncthreads();
        differentiate<TILE, T>(&tiles, heads.scale, query,
                               kern_keys_of(&heads, first + row, key, keys));
        __syncthreads();
        kern_tile_add<TILE>(tiles.sums[0], kern_tile_ld<float>(heads.width), tiles.ds, ld_p,
                            tiles.other[0], ld, {in_use, heads.width, keys});
        __syncthreads();
    }
    kern_tile_store<TILE>(a.dqkv + head + first * heads.ld, heads.ld, heads.T - first, heads.D,
                          heads.whole, tiles.sums[0], kern_tile_ld<float>(heads.width), NULL);
}

template <typename T, int TILE>
static __global__ void __launch_bounds__(KERN_TILE_THREADS)
    keys_kernel(const struct backward_args<T> a)
{
    KERN_SHARED(unsigned char, shared);
    const struct kern_heads &heads = a.heads;
    const struct backward_tiles<T> tiles = cut<TILE, T>(shared, heads.width);
    const struct kern_place place = kern_place_of(a.tiles, heads.H);
    const int row = threadIdx.x / (KERN_TILE_THREADS / TILE), ld = kern_tile_ld<T>(heads.width);
    const int ld_p = kern_tile_ld<T>(TILE), ld_scores = kern_tile_ld<float>(TILE);
    const int ld_sums = kern_tile_ld<float>(heads.width);
    const int64_t HD = heads.ld / 3, first = place.tile * TILE;
    const int64_t length = kern_length(&heads, place.b);
    const int64_t queries = length < heads.query_count ? length : heads.query_count;
    const int keys = kern_in_tile<TILE>(length - first),
              to_store = kern_in_tile<TILE>(heads.T - first);
    const int64_t head = place.b * heads.T * heads.ld + place.h * heads.D;
    const int64_t head_rows = (place.b * heads.H + place.h) * heads.T;
    const int64_t at_k = head + HD + first * heads.ld;

    zero_tile<TILE>(tiles.sums[0], heads.width);
    zero_tile<TILE>(tiles.sums[1], heads.width);
    kern_tile_load<TILE>(tiles.mine[0], ld, heads.width, a.qkv + at_k, heads.ld, keys, heads.D,
                         heads.whole);
    kern_tile_load<TILE>(tiles.mine[1], ld, heads.width, a.qkv + at_k + HD, heads.ld, keys, heads.D,
                         heads.whole);
    __syncthreads(); /* nothing but padding: the sums are stored as they are */
    for (int64_t t = 0; t < queries && keys > 0; t += TILE) {
        const int rows = kern_in_tile<TILE>(queries - t);
        struct query_row query = {0.0f, 0.0f, row < rows};
        if (query.asks) {
            query.lse = a.lse[head_rows + t + row];
            query.delta = a.delta[head_rows + t + row];
        }
        kern_tile_load<TILE>(tiles.other[0], ld, heads.width, a.qkv + head + t * heads.ld, heads.ld,
                             rows, heads.D, heads.whole);
        kern_tile_load<TILE>(tiles.other[1], ld, heads.width,
                             a.dout + (place.b * heads.T + t) * HD + place.h * heads.D, HD, rows,
                             heads.D, heads.whole);
        __syncthreads();
        kern_tile_scores<TILE>(tiles.scores, ld_scores, tiles.other[0], tiles.mine[0], ld,
                               {rows, keys, heads.width});
        kern_tile_scores<TILE>(tiles.dp, ld_scores, tiles.other[1], tiles.mine[1], ld,
                               {rows, keys, heads.width});
        __syncthreads();
        differentiate<TILE, T>(&tiles, heads.scale, query,
                               kern_keys_of(&heads, t + row, first, keys));
        __syncthreads();
        kern_tile_add_transposed<TILE>(tiles.sums[0], ld_sums, tiles.p, ld_p, tiles.other[1], ld,
                                       {keys, heads.width, rows});
        kern_tile_add_transposed<TILE>(tiles.sums[1], ld_sums, tiles.ds, ld_p, tiles.other[0], ld,
                                       {keys, heads.width, rows});
        __syncthreads();
    }
    kern_tile_store<TILE>(a.dqkv + at_k, heads.ld, to_store, heads.D, heads.whole, tiles.sums[1],
                          ld_sums, NULL);
    kern_tile_store<TILE>(a.dqkv + at_k + HD, heads.ld, to_store, heads.D, heads.whole,
                          tiles.sums[0], ld_sums, NULL);
}

/* As many samples at a time as the scratch has deltas for. */
template <typename T, int TILE> static void launch(struct backward_args<T> a, int64_t B)
{
    const int query_bytes = shared_bytes<TILE, T>(a.heads.width, 1);
    const int key_bytes = shared_bytes<TILE, T>(a.heads.width, 2);
    const int64_t rows = a.heads.H * a.heads.T, HD = a.heads.ld / 3;
    const int64_t most = KERN_CUDA_SCRATCH_BYTES / (int64_t)sizeof(float) / rows;
    const cudaStream_t stream = device_cuda_current();

    assert(most >= 1);
    a.tiles = kern_blocks(a.heads.T, TILE);
    a.delta = (float *)kern_cuda_scratch(KERN_CUDA_SCRATCH_BYTES);
    kern_allow_shared(queries_kernel<T, TILE>, query_bytes);
    kern_allow_shared(keys_kernel<T, TILE>, key_bytes);
    for (int64_t b = 0; b < B; b += most) {
        const int64_t count = B - b < most ? B - b : most;
        const dim3 grid = kern_grid(count * a.heads.H * a.tiles);
        KERN_LAUNCH((queries_kernel<T, TILE>), grid, KERN_TILE_THREADS, (size_t)query_bytes, stream,
                    a);
        KERN_LAUNCH((keys_kernel<T, TILE>), grid, KERN_TILE_THREADS, (size_t)key_bytes, stream, a);
        a.dqkv += count * a.heads.T * a.heads.ld;
        a.qkv += count * a.heads.T * a.heads.ld;
        a.dout += count * a.heads.T * HD;
        a.out += count * a.heads.T * HD;
        a.lse += count * rows;
        a.heads.lengths = a.heads.lengths == NULL ? NULL : a.heads.lengths + count;
    }
}

void kern_attention_backward_f32(float *dqkv, const float *dout, const float *qkv, const float *out,
                                 const float *lse, const struct kern_attention_shape *shape,
                                 int64_t query_count, const struct kern_attention_mask *mask)
{
    const bool are_aligned = kern_is_aligned(dqkv) && kern_is_aligned(dout) && kern_is_aligned(qkv);
    const struct kern_heads heads = kern_heads_of(shape, query_count, mask, are_aligned, 4);

    if (heads.width <= 64) {
        launch<float, 32>({heads, dqkv, dout, qkv, out, lse, NULL, 0}, shape->B);
    } else {
        launch<float, 16>({heads, dqkv, dout, qkv, out, lse, NULL, 0}, shape->B);
    }
}

void kern_attention_backward_bf16_cuda(uint16_t *dqkv, const uint16_t *dout, const uint16_t *qkv,
                                       const uint16_t *out, const float *lse,
                                       const struct kern_attention_shape *shape,
                                       int64_t query_count)
{
    const bool are_aligned = kern_is_aligned(dqkv) && kern_is_aligned(dout) && kern_is_aligned(qkv);
    const struct kern_heads heads = kern_heads_of(shape, query_count, NULL, are_aligned, 8);

    launch<uint16_t, 32>({heads, dqkv, dout, qkv, out, lse, NULL, 0}, shape->B);
}
