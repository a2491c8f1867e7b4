/*
 * exits/exits_cache.h - what a frozen backbone says of every sample, computed once.
 *
 *      row of a sample (of a language model, of a token):  [ pooled stream behind exit 0 [D] | ... | exit G-1 [D] | final logits [K] ]
 *
 * With the backbone frozen and no augmentation that is a function of the sample, so heads
 * and gates train on it as fast as memory delivers it.
 *
 * In memory every rank has all rows. As a file, the ranks of a host share one mapping; it
 * is named by a key, the hash of weights and data, so that it is never taken for that of
 * another backbone:
 *
 *      byte 0   8  magic "OFFCACH\n"      8   8  row count      16   8  floats of a row
 *          24   8  0                     32  16  key            48  16  XXH3-128 of the rows
 *          64      rows, float32, little-endian
 *
 * Threads: filled by its owner, then read-only, any.
 */
#ifndef EXITS_EXITS_CACHE_H
#define EXITS_EXITS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"

struct exits_cache_shape {
    int64_t row_count;
    int64_t exit_count, width, classes; /* G, D, K */
};

struct exits_cache;

/* Rows in memory, zero, for the owner to fill. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err exits_cache_open(const struct exits_cache_shape *shape,
                                         struct exits_cache **cache_out);

/*
 * Maps the file `path`. Errors: ERR_MISSING if there is none; ERR_CORRUPT if it is not
 * whole, or of another shape or key.
 */
ERR_MUST_CHECK enum err exits_cache_map(const char *path, const struct exits_cache_shape *shape,
                                        struct hash key, struct exits_cache **cache_out);

/* Writes the rows as such a file, whole or not at all. Errors: ERR_IO. */
ERR_MUST_CHECK enum err exits_cache_save(const struct exits_cache *cache, struct hash key,
                                         const char *path);

void exits_cache_close(struct exits_cache *cache); /* NULL is allowed */

/* Forgets the rows from row_count on, which were needed to gather blocks of equal size. */
void exits_cache_shrink(struct exits_cache *cache, int64_t row_count);

int64_t exits_cache_row_elems(const struct exits_cache_shape *shape);
const struct exits_cache_shape *exits_cache_shape_of(const struct exits_cache *cache);

float *exits_cache_rows(struct exits_cache *cache); /* [row_count, row_elems], to fill */
const float *exits_cache_features(const struct exits_cache *cache, int64_t row, int exit); /* [D] */
const float *exits_cache_logits(const struct exits_cache *cache, int64_t row);             /* [K] */

#endif
