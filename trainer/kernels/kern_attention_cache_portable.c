/* Attention over a cache in plain loops, with the arithmetic of kern_attention_portable.c. */
#include "trainer/kernels/kern_attention_cache.h"

#include <assert.h>
#include <math.h>

enum { TILE = KERN_ATTENTION_CACHE_TILE, CHANNELS_AT_A_TIME = 64 };

/* One head of a cache. */
struct head {
    const float *q;
    const float *keys;   /* [tiles, D, 8] */
    const float *values; /* [capacity, D] */
    int64_t D;
};

static double score(const struct head *head, int64_t j)
{
    const float *key = head->keys + j / TILE * head->D * TILE + j % TILE;
    double sum = 0;

    for (int64_t c = 0; c < head->D; c++) {
        sum += (double)head->q[c] * key[c * TILE];
    }
    return sum / sqrt((double)head->D);
}

void kern_attention_cache_put_portable(const struct kern_attention_cache *cache, int64_t first,
                                       int64_t rows, const float *keys, const float *values,
                                       int64_t ld)
{
    const int64_t D = cache->D;

    assert(first >= 0 && first + rows <= cache->capacity);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t t = first + r;
        for (int64_t h = 0; h < cache->H; h++) {
            float *to = cache->keys + (h * cache->capacity + t / TILE * TILE) * D + t % TILE;
            for (int64_t c = 0; c < D; c++) {
                to[c * TILE] = keys[r * ld + h * D + c];
                cache->values[(h * cache->capacity + t) * D + c] = values[r * ld + h * D + c];
            }
        }
    }
}

static void forward_row(float *out, const struct head *head, int64_t keys)
{
    double top = -INFINITY;

    for (int64_t j = 0; j < keys; j++) {
        top = fmax(top, score(head, j));
    }
    for (int64_t c0 = 0; c0 < head->D; c0 += CHANNELS_AT_A_TIME) {
        const int64_t left = head->D - c0;
        const int64_t count = left < CHANNELS_AT_A_TIME ? left : CHANNELS_AT_A_TIME;
        double sums[CHANNELS_AT_A_TIME] = {0};
        double total = 0;
        for (int64_t j = 0; j < keys; j++) {
            const double e = exp(score(head, j) - top);
            total += e;
            for (int64_t c = 0; c < count; c++) {
                sums[c] += e * head->values[j * head->D + c0 + c];
            }
        }
        for (int64_t c = 0; c < count; c++) {
            out[c0 + c] = (float)(sums[c] / total);
        }
    }
}

void kern_attention_cache_forward_portable(float *out, const float *q, int64_t ld,
                                           const struct kern_attention_cache *cache, int64_t first,
                                           int64_t rows, float *scratch)
{
    const int64_t H = cache->H, D = cache->D;

    (void)scratch;
    assert(first >= 0 && first + rows <= cache->capacity);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t h = 0; h < H; h++) {
            const struct head head = {.q = q + r * ld + h * D,
                                      .keys = cache->keys + h * cache->capacity * D,
                                      .values = cache->values + h * cache->capacity * D,
                                      .D = D};
            forward_row(out + (r * H + h) * D, &head, first + r + 1);
        }
    }
}
