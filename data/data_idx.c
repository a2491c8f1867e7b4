#include "data/data_idx.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { MAGIC_BYTES = 4, SIZE_BYTES = 4, TYPE_UNSIGNED_BYTE = 0x08 };

static uint32_t get_u32_big(const uint8_t from[4])
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* "60000 x 28 x 28" */
static void sizes_text(const struct data_idx *idx, char *text, size_t text_bytes)
{
    size_t at = 0;

    for (int i = 0; i < idx->dims && at < text_bytes; i++) {
        at += (size_t)snprintf(text + at, text_bytes - at, "%s%" PRId64, i == 0 ? "" : " x ",
                               idx->sizes[i]);
    }
}

static enum err check_magic(const uint8_t *bytes, size_t count, int dims, const char *what)
{
    const uint32_t expected = (uint32_t)TYPE_UNSIGNED_BYTE << 8 | (uint32_t)dims;
    const size_t header_bytes = MAGIC_BYTES + SIZE_BYTES * (size_t)dims;

    if (count < MAGIC_BYTES) {
        return ERR_FAIL(ERR_CORRUPT, "%s: truncated: %zu bytes, expected a header of %zu", what,
                        count, header_bytes);
    }
    const uint32_t magic = get_u32_big(bytes);
    if (magic != expected) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: magic 0x%08" PRIx32 ", expected 0x%08" PRIx32
                        " (idx of unsigned bytes with %d dimension%s)",
                        what, magic, expected, dims, dims == 1 ? "" : "s");
    }
    if (count < header_bytes) {
        return ERR_FAIL(ERR_CORRUPT, "%s: truncated: %zu bytes, expected a header of %zu", what,
                        count, header_bytes);
    }
    return ERR_OK;
}

enum err data_idx_parse(const uint8_t *bytes, size_t count, int dims, const char *what,
                        struct data_idx *idx_out)
{
    struct data_idx idx = {.dims = dims, .value_count = 1};
    const size_t header_bytes = MAGIC_BYTES + SIZE_BYTES * (size_t)dims;
    char sizes[64];

    assert(bytes != NULL || count == 0);
    assert(dims >= 1 && dims <= DATA_IDX_DIMS_MAX);
    assert(what != NULL && idx_out != NULL);
    ERR_TRY(check_magic(bytes, count, dims, what));
    for (int i = 0; i < dims; i++) {
        idx.sizes[i] = get_u32_big(bytes + MAGIC_BYTES + SIZE_BYTES * i);
    }
    sizes_text(&idx, sizes, sizeof(sizes));
    const size_t there = count - header_bytes;
    for (int i = 0; i < dims; i++) {
        if (idx.sizes[i] == 0) {
            return ERR_FAIL(ERR_CORRUPT, "%s: the header says %s values, expected at least one",
                            what, sizes);
        }
        if (__builtin_mul_overflow(idx.value_count, idx.sizes[i], &idx.value_count) ||
            (uint64_t)idx.value_count > there) {
            return ERR_FAIL(ERR_CORRUPT, "%s: truncated: %zu values, expected %s", what, there,
                            sizes);
        }
    }
    if ((uint64_t)idx.value_count != there) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %zu values, expected %s: %zu trailing bytes", what, there,
                        sizes, there - (size_t)idx.value_count);
    }
    idx.values = bytes + header_bytes;
    *idx_out = idx;
    return ERR_OK;
}
