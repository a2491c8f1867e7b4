/*
 * Attention over a cache: scores eight keys a vector, outputs eight channels a vector, with the
 * arithmetic of kern_attention_avx2.c. An element is one chain of fused multiply-adds in index
 * order, so its bits do not depend on how many rows or tiles are computed beside it.
 *
 * Chains take four cycles a step: eight to twelve of them at once keep both units of a core busy.
 */
#include "trainer/kernels/kern_attention_cache.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "trainer/kernels/kern_softmax_avx2_priv.h"

enum {
    TILE = KERN_ATTENTION_CACHE_TILE,
    ROWS = KERN_ATTENTION_CACHE_ROWS,
    CHANNELS_MAX = 128,
    SUMS_MAX = 8,
};

_Static_assert((int)TILE == (int)LANES, "a tile of keys is a vector of scores");

static bool is_fast(const struct kern_attention_cache *cache)
{
    return cache->D % LANES == 0 && cache->D <= CHANNELS_MAX;
}

static float scale_of(const struct kern_attention_cache *cache)
{
    return 1.0f / sqrtf((float)cache->D);
}

void kern_attention_cache_put_avx2(const struct kern_attention_cache *cache, int64_t first,
                                   int64_t rows, const float *keys, const float *values, int64_t ld)
{
    const int64_t D = cache->D;
    const float scale = scale_of(cache);

    if (!is_fast(cache)) {
        kern_attention_cache_put_portable(cache, first, rows, keys, values, ld);
        return;
    }
    assert(first >= 0 && first + rows <= cache->capacity);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t t = first + r;
        for (int64_t h = 0; h < cache->H; h++) {
            const int64_t head = h * cache->capacity;
            const float *key = keys + r * ld + h * D, *value = values + r * ld + h * D;
            float *to = cache->keys + (head + t / TILE * TILE) * D + t % TILE;
            for (int64_t c = 0; c < D; c++) {
                to[c * TILE] = scale * key[c];
            }
            for (int64_t c = 0; c < D; c += LANES) {
                _mm256_store_ps(cache->values + (head + t) * D + c, _mm256_loadu_ps(value + c));
            }
        }
    }
}

/* Some rows of one head. */
struct rows {
    const float *q; /* stride ld */
    int64_t ld;
    const float *keys;   /* [tiles, D, 8] */
    const float *values; /* [capacity, D] */
    float *p;            /* [rows, capacity]: scores, then probabilities */
    int64_t capacity, D;
    float *out; /* stride ld_out */
    int64_t ld_out;
    int64_t keys_max; /* of the last row; each before it has one less */
};

/* `rows` and `tiles` are constants where this is inlined: the sums live in registers. */
static inline __attribute__((always_inline)) void score(const struct rows *at, int64_t tile,
                                                        int rows, int tiles)
{
    const int64_t D = at->D, ld = at->ld;
    const float *key = at->keys + tile * D * TILE, *q = at->q;
    __m256 sums[SUMS_MAX];

#pragma GCC unroll 8
    for (int i = 0; i < rows * tiles; i++) {
        sums[i] = _mm256_setzero_ps();
    }
    for (int64_t c = 0; c < D; c++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows * tiles; i++) {
            const __m256 factor = _mm256_broadcast_ss(q + i / tiles * ld);
            const __m256 k = _mm256_load_ps(key + i % tiles * D * TILE);
            sums[i] = _mm256_fmadd_ps(factor, k, sums[i]);
        }
        key += TILE;
        q++;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows * tiles; i++) {
        _mm256_store_ps(at->p + i / tiles * at->capacity + (tile + i % tiles) * TILE, sums[i]);
    }
}

/* `rows` rows and `vecs` vectors of channels from c on of the output. */
static inline __attribute__((always_inline)) void gather(const struct rows *at, int64_t c, int rows,
                                                         int vecs)
{
    const int64_t D = at->D, capacity = at->capacity;
    const float *value = at->values + c, *p = at->p;
    __m256 sums[SUMS_MAX];

#pragma GCC unroll 8
    for (int i = 0; i < rows * vecs; i++) {
        sums[i] = _mm256_setzero_ps();
    }
    for (int64_t j = 0; j < at->keys_max; j++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows * vecs; i++) {
            const __m256 factor = _mm256_broadcast_ss(p + i / vecs * capacity);
            const __m256 x = _mm256_load_ps(value + (int64_t)(i % vecs) * LANES);
            sums[i] = _mm256_fmadd_ps(factor, x, sums[i]);
        }
        value += D;
        p++;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows * vecs; i++) {
        _mm256_storeu_ps(at->out + i / vecs * at->ld_out + c + (int64_t)(i % vecs) * LANES,
                         sums[i]);
    }
}

static inline __attribute__((always_inline)) void score_all(const struct rows *at, int rows,
                                                            int tiles_at_once)
{
    const int64_t tiles = (at->keys_max + TILE - 1) / TILE;
    int64_t tile = 0;

    for (; tile + tiles_at_once <= tiles; tile += tiles_at_once) {
        score(at, tile, rows, tiles_at_once);
    }
    for (; tile + 2 <= tiles; tile += 2) {
        score(at, tile, rows, 2);
    }
    if (tile < tiles) {
        score(at, tile, rows, 1);
    }
}

static inline __attribute__((always_inline)) void gather_all(const struct rows *at, int rows,
                                                             int vecs_at_once)
{
    const int64_t step = vecs_at_once * LANES;
    int64_t c = 0;

    for (; c + step <= at->D; c += step) {
        gather(at, c, rows, vecs_at_once);
    }
    for (; c + 2 * LANES <= at->D; c += 2 * LANES) {
        gather(at, c, rows, 2);
    }
    if (c < at->D) {
        gather(at, c, rows, 1);
    }
}

/* A row of fewer keys than the last has zeros for the rest, which `gather` adds. */
static void soften(const struct rows *at, int rows)
{
    const int64_t end = (at->keys_max + LANES - 1) / LANES * LANES;

    for (int r = 0; r < rows; r++) {
        const int64_t keys = at->keys_max - (rows - 1 - r);
        float *p = at->p + r * at->capacity;
        vec_softmax_row(p, keys);
        for (int64_t j = (keys + LANES - 1) / LANES * LANES; j < end; j += LANES) {
            _mm256_store_ps(p + j, _mm256_setzero_ps());
        }
    }
}

static void forward_one(const struct rows *at)
{
    score_all(at, 1, SUMS_MAX);
    soften(at, 1);
    gather_all(at, 1, SUMS_MAX);
}

static void forward_four(const struct rows *at)
{
    score_all(at, ROWS, 2);
    soften(at, ROWS);
    gather_all(at, ROWS, 2);
}

void kern_attention_cache_forward_avx2(float *out, const float *q, int64_t ld,
                                       const struct kern_attention_cache *cache, int64_t first,
                                       int64_t rows, float *scratch)
{
    const int64_t H = cache->H, D = cache->D;

    if (!is_fast(cache)) {
        kern_attention_cache_forward_portable(out, q, ld, cache, first, rows, scratch);
        return;
    }
    assert(first >= 0 && first + rows <= cache->capacity);
    for (int64_t h = 0; h < H; h++) {
        for (int64_t r = 0; r < rows;) {
            const int64_t count = rows - r >= ROWS ? ROWS : 1;
            const struct rows at = {.q = q + r * ld + h * D,
                                    .ld = ld,
                                    .keys = cache->keys + h * cache->capacity * D,
                                    .values = cache->values + h * cache->capacity * D,
                                    .p = scratch,
                                    .capacity = cache->capacity,
                                    .D = D,
                                    .out = out + (r * H + h) * D,
                                    .ld_out = H * D,
                                    .keys_max = first + r + count};
            if (count == ROWS) {
                forward_four(&at);
            } else {
                forward_one(&at);
            }
            r += count;
        }
    }
}
