/*
 * trainer/kernels/kern_attention_cache.h - attention of new tokens to all tokens before them, whose
 * keys and values are kept: one step of generating a text.
 *
 *      S = scale * q K^T over the keys 0 .. i of token i,   P = softmax(S),   O = P V
 *
 * the causal attention of kern_attention.h, row by row: a row has the bits that
 * kern_attention_forward_fn of the same version gives it in a pass over the whole text (for "avx2",
 * up to the 1024 tokens for which that has tiles), however many rows are asked for at once. So a text
 * may be read in one piece or token by token, and a draft of k tokens checked in one call.
 *
 * Floor: reading the keys and values of a layer once, 8 H D bytes a token that is kept, for up to
 * KERN_ATTENTION_CACHE_ROWS rows.
 *
 * Keys lie in tiles of eight tokens, so that eight scores are a vector and what is read, is read
 * straight through.
 *
 * "avx2" takes D that are multiples of 8 up to 128; for others it calls the portable functions.
 *
 * Threads: a cache belongs to one thread.
 */
#ifndef TRAINER_KERNELS_KERN_ATTENTION_CACHE_H
#define TRAINER_KERNELS_KERN_ATTENTION_CACHE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KERN_ATTENTION_CACHE_TILE = 8, /* tokens */
    KERN_ATTENTION_CACHE_ROWS = 4, /* that share one reading of the cache */
};

/* The cache of one layer. Who fills it and who reads it are the same version of this kernel. */
struct kern_attention_cache {
    int64_t H, D;     /* heads of D channels */
    int64_t capacity; /* tokens, a multiple of KERN_ATTENTION_CACHE_TILE */
    float *keys;   /* [H, capacity / 8, D, 8], 32-byte aligned; finite everywhere from the start */
    float *values; /* [H, capacity, D], likewise */
};

/*
 * Keeps the keys and values of `rows` tokens, as tokens first .. first + rows - 1; what was there is lost.
 *
 * keys, values  [rows, H, D]  in, both with the row stride ld
 */
typedef void kern_attention_cache_put_fn(const struct kern_attention_cache *cache, int64_t first,
                                         int64_t rows, const float *keys, const float *values,
                                         int64_t ld);

/*
 * out      [rows, H, D]  out, contiguous
 * q        [rows, H, D]  in, row stride ld: of tokens first .. first + rows - 1, whose keys and values are
 *                        in the cache, as those of all tokens before
 * scratch  [KERN_ATTENTION_CACHE_ROWS, capacity], 32-byte aligned: what is there is lost
 */
typedef void kern_attention_cache_forward_fn(float *out, const float *q, int64_t ld,
                                             const struct kern_attention_cache *cache,
                                             int64_t first, int64_t rows, float *scratch);

kern_attention_cache_put_fn kern_attention_cache_put_portable, kern_attention_cache_put_avx2;
kern_attention_cache_forward_fn kern_attention_cache_forward_portable,
    kern_attention_cache_forward_avx2;

#ifdef __cplusplus
}
#endif

#endif
