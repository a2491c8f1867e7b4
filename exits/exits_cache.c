#include "exits/exits_cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/file.h"
#include "comm/base/memory.h"

enum {
    AT_ROW_COUNT = 8,
    AT_ROW_ELEMS = 16,
    AT_RESERVED = 24,
    AT_KEY = 32,
    AT_HASH = 48,
    HEADER_BYTES = 64,
};

static const char MAGIC[8] = {'O', 'F', 'F', 'C', 'A', 'C', 'H', '\n'};

struct exits_cache {
    struct exits_cache_shape shape;
    float *owned;        /* NULL if the rows are mapped */
    struct file_map map; /* empty if they are owned */
    const float *rows;
};

void exits_cache_shrink(struct exits_cache *cache, int64_t row_count)
{
    assert(row_count <= cache->shape.row_count);
    cache->shape.row_count = row_count;
}

int64_t exits_cache_row_elems(const struct exits_cache_shape *shape)
{
    return shape->exit_count * shape->width + shape->classes;
}

static size_t rows_bytes(const struct exits_cache_shape *shape)
{
    return (size_t)(shape->row_count * exits_cache_row_elems(shape)) * sizeof(float);
}

enum err exits_cache_open(const struct exits_cache_shape *shape, struct exits_cache **cache_out)
{
    struct exits_cache *cache = calloc(1, sizeof(*cache));

    if (cache == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a feature cache");
    }
    cache->shape = *shape;
    const enum err status = memory_open_f32(shape->row_count * exits_cache_row_elems(shape),
                                            "the feature cache", &cache->owned);
    if (status != ERR_OK) {
        exits_cache_close(cache);
        return status;
    }
    cache->rows = cache->owned;
    *cache_out = cache;
    return ERR_OK;
}

static void put_hash(uint8_t *to, struct hash hash)
{
    bytes_put_u64(to, hash.low);
    bytes_put_u64(to + 8, hash.high);
}

static bool is_hash(const uint8_t *bytes, struct hash hash)
{
    return bytes_get_u64(bytes) == hash.low && bytes_get_u64(bytes + 8) == hash.high;
}

static enum err check(const struct exits_cache *cache, struct hash key, const char *path)
{
    const uint8_t *header = cache->map.bytes;
    const struct exits_cache_shape *shape = &cache->shape;

    if (cache->map.count < HEADER_BYTES || memcmp(header, MAGIC, sizeof(MAGIC)) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: not a feature cache", path);
    }
    if (bytes_get_u64(header + AT_ROW_COUNT) != (uint64_t)shape->row_count ||
        bytes_get_u64(header + AT_ROW_ELEMS) != (uint64_t)exits_cache_row_elems(shape) ||
        bytes_get_u64(header + AT_RESERVED) != 0 || !is_hash(header + AT_KEY, key)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: features of another backbone or data set", path);
    }
    if (cache->map.count != HEADER_BYTES + rows_bytes(shape) ||
        !is_hash(header + AT_HASH, hash_bytes(header + HEADER_BYTES, rows_bytes(shape)))) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %zu bytes that do not match their hash", path,
                        cache->map.count);
    }
    return ERR_OK;
}

enum err exits_cache_map(const char *path, const struct exits_cache_shape *shape, struct hash key,
                         struct exits_cache **cache_out)
{
    struct exits_cache *cache = calloc(1, sizeof(*cache));
    enum err status = ERR_OK;

    if (cache == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a feature cache");
    }
    cache->shape = *shape;
    ERR_GOTO(err_close, status, file_map(path, &cache->map));
    ERR_GOTO(err_close, status, check(cache, key, path));
    cache->rows = (const float *)(const void *)(cache->map.bytes + HEADER_BYTES);
    *cache_out = cache;
    return ERR_OK;

err_close:
    exits_cache_close(cache);
    return status;
}

enum err exits_cache_save(const struct exits_cache *cache, struct hash key, const char *path)
{
    uint8_t header[HEADER_BYTES] = {0};
    const size_t bytes = rows_bytes(&cache->shape);
    const struct file_piece pieces[] = {{header, sizeof(header)}, {cache->rows, bytes}};

    memcpy(header, MAGIC, sizeof(MAGIC));
    bytes_put_u64(header + AT_ROW_COUNT, (uint64_t)cache->shape.row_count);
    bytes_put_u64(header + AT_ROW_ELEMS, (uint64_t)exits_cache_row_elems(&cache->shape));
    put_hash(header + AT_KEY, key);
    put_hash(header + AT_HASH, hash_bytes(cache->rows, bytes));
    return file_write(path, pieces, 2);
}

void exits_cache_close(struct exits_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    memory_close(cache->owned);
    file_unmap(&cache->map);
    free(cache);
}

const struct exits_cache_shape *exits_cache_shape_of(const struct exits_cache *cache)
{
    return &cache->shape;
}

float *exits_cache_rows(struct exits_cache *cache)
{
    assert(cache->owned != NULL);
    return cache->owned;
}

const float *exits_cache_features(const struct exits_cache *cache, int64_t row, int exit)
{
    return cache->rows + row * exits_cache_row_elems(&cache->shape) + exit * cache->shape.width;
}

const float *exits_cache_logits(const struct exits_cache *cache, int64_t row)
{
    return exits_cache_features(cache, row, (int)cache->shape.exit_count);
}
