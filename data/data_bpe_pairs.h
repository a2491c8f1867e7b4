/*
 * data/data_bpe_pairs.h - the pairs of tokens that merge: their rank, and what they become.
 *
 * A hash table with open addressing. Threads: once filled read-only, any.
 */
#ifndef DATA_DATA_BPE_PAIRS_H
#define DATA_DATA_BPE_PAIRS_H

#include <stdint.h>

#include "comm/base/err.h"

struct data_bpe_merge {
    int32_t rank; /* the lower, the earlier; -1: there is no such pair */
    int32_t id;   /* of the token that the two become */
};

struct data_bpe_pairs;

/* An empty table for up to `pairs_max` pairs. The caller closes it. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err data_bpe_pairs_open(int64_t pairs_max, struct data_bpe_pairs **pairs_out);

/* Frees a table. NULL is allowed. */
void data_bpe_pairs_close(struct data_bpe_pairs *pairs);

/* Adds a pair of ids >= 0; one that is there already is replaced. */
void data_bpe_pairs_add(struct data_bpe_pairs *pairs, int32_t left, int32_t right,
                        struct data_bpe_merge merge);

struct data_bpe_merge data_bpe_pairs_find(const struct data_bpe_pairs *pairs, int32_t left,
                                          int32_t right);

#endif
