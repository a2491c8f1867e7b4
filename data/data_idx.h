/*
 * data/data_idx.h - the idx format: a header, then one unsigned byte a value.
 *
 *      offset  0       2          3        4                    4 + 4 d
 *              0x0000  type 0x08  dims d   d sizes, big-endian  values, last index fastest
 *
 * Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten
 * digits", section "The IDX file format". Only type 0x08 (unsigned byte) is read.
 *
 * A file is valid if and only if the magic, the type and the number of dimensions
 * are the expected ones, no size is zero, and exactly the promised values follow.
 *
 * Threads: any. Memory: none.
 */
#ifndef DATA_DATA_IDX_H
#define DATA_DATA_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { DATA_IDX_DIMS_MAX = 3 };

struct data_idx {
    int dims;
    int64_t sizes[DATA_IDX_DIMS_MAX]; /* [dims], each >= 1 */
    int64_t value_count;              /* the product of the sizes */
    const uint8_t *values;            /* [value_count], a part of the bytes that were parsed */
};

/*
 * Reads the header of the `count` bytes of a whole file and checks that the values
 * are there. `dims` in 1..DATA_IDX_DIMS_MAX is the number expected; `what` names the
 * file in errors. Errors: ERR_CORRUPT.
 */
ERR_MUST_CHECK enum err data_idx_parse(const uint8_t *bytes, size_t count, int dims,
                                       const char *what, struct data_idx *idx_out);

#endif
