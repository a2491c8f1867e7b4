/*
 * tests/support/float_block.h - arrays of floats between guards, and numbers to fill them.
 *
 * A kernel that writes one float too far is caught also where the allocator's own
 * padding would have taken it.
 */
#ifndef TESTS_SUPPORT_FLOAT_BLOCK_H
#define TESTS_SUPPORT_FLOAT_BLOCK_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"

enum { FLOAT_BLOCK_GUARD = 16, FLOAT_BLOCK_FILL = 0xa5 };

struct float_block {
    float *data; /* [count], 64-byte aligned; every byte FLOAT_BLOCK_FILL at first */
    int64_t count;
};

static inline struct float_block float_block_open(int64_t count)
{
    const size_t elems = (size_t)(count + 3 * FLOAT_BLOCK_GUARD) / FLOAT_BLOCK_GUARD;
    const size_t bytes = elems * FLOAT_BLOCK_GUARD * sizeof(float);
    float *memory = aligned_alloc(64, bytes);

    ck_assert_ptr_nonnull(memory);
    memset(memory, FLOAT_BLOCK_FILL, bytes);
    return (struct float_block){memory + FLOAT_BLOCK_GUARD, count};
}

/* The same, standard normal numbers, others for every `sub`. */
static inline struct float_block float_block_normal(int64_t count, uint32_t sub)
{
    const struct float_block block = float_block_open(count);

    for (int64_t i = 0; i < count; i++) {
        block.data[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i, sub);
    }
    return block;
}

/* Whether float i has been left as float_block_open() left it. */
static inline int float_block_untouched(const struct float_block *block, int64_t i)
{
    const unsigned char fill[sizeof(float)] = {FLOAT_BLOCK_FILL, FLOAT_BLOCK_FILL, FLOAT_BLOCK_FILL,
                                               FLOAT_BLOCK_FILL};

    return memcmp(block->data + i, fill, sizeof(fill)) == 0;
}

/* Checks the guards and frees. */
static inline void float_block_close(const struct float_block *block)
{
    for (int64_t i = 1; i <= FLOAT_BLOCK_GUARD; i++) {
        if (!float_block_untouched(block, -i)) {
            ck_abort_msg("float -%d was written", (int)i);
        }
        if (!float_block_untouched(block, block->count + i - 1)) {
            ck_abort_msg("float %d beyond the last was written", (int)i);
        }
    }
    free(block->data - FLOAT_BLOCK_GUARD);
}

/* A copy in double, to be freed. */
static inline double *float_block_to_f64(const struct float_block *block)
{
    double *copy = malloc((size_t)(block->count > 0 ? block->count : 1) * sizeof(double));

    ck_assert_ptr_nonnull(copy);
    for (int64_t i = 0; i < block->count; i++) {
        copy[i] = block->data[i];
    }
    return copy;
}

#endif
