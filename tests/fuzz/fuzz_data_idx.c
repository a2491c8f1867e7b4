/*
 * Fuzz target: data_idx_parse() on arbitrary bytes, as images and as labels.
 *
 * Property: it either refuses, or the header written again from what it gave, and the
 * values it gave, are the very same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "data/data_idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void parse(const uint8_t *bytes, size_t count, int dims)
{
    uint8_t header[4 + 4 * DATA_IDX_DIMS_MAX] = {0, 0, 8, (uint8_t)dims};
    const size_t header_bytes = 4 + 4 * (size_t)dims;
    struct data_idx idx;
    size_t product = 1;

    if (data_idx_parse(bytes, count, dims, "input", &idx) != ERR_OK) {
        err_clear();
        return;
    }
    for (int i = 0; i < dims; i++) {
        for (int j = 0; j < 4; j++) {
            header[4 + 4 * i + j] = (uint8_t)(idx.sizes[i] >> (24 - 8 * j));
        }
        product *= (size_t)idx.sizes[i];
    }
    if (idx.dims != dims || (size_t)idx.value_count != product || product + header_bytes != count ||
        idx.values != bytes + header_bytes || memcmp(header, bytes, header_bytes) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    for (int dims = 1; dims <= DATA_IDX_DIMS_MAX; dims++) {
        parse(bytes, count, dims);
    }
    return 0;
}
