/*
 * data/data_split.h - which samples are trained on and which are held out.
 *
 *      sample i is held out if and only if  rng_u64(seed, RNG_SPLIT, i, 0) < fraction * 2^64
 *
 * The decision about a sample depends on its number alone: a set that grows keeps the
 * decisions about the samples it had, and a larger fraction holds out the same samples
 * and more. The number held out is therefore near fraction * count, not equal to it.
 *
 * Threads: after data_split_open() read-only, any.
 */
#ifndef DATA_DATA_SPLIT_H
#define DATA_DATA_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

struct data_split {
    int64_t train_count;
    int64_t held_out_count;
    uint32_t *train;    /* [train_count] sample numbers, ascending; owned by the split */
    uint32_t *held_out; /* [held_out_count], ascending; the same block */
};

/*
 * Splits `count` samples, 1..UINT32_MAX; `fraction` in [0, 1), 0 holds nothing out. The
 * caller owns *split_out and ends it with data_split_close().
 *
 * Errors: ERR_CONFIG if the fraction is out of range, if no sample is left to train on,
 * or if a fraction above 0 held none out; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_split_open(uint64_t seed, double fraction, int64_t count,
                                        struct data_split **split_out);

/* Frees a split. NULL is allowed. */
void data_split_close(struct data_split *split);

/* The decision about one sample; `fraction` in [0, 1). Cannot fail. */
bool data_split_holds_out(uint64_t seed, double fraction, uint64_t sample);

#endif
