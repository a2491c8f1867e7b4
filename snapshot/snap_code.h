/*
 * snapshot/snap_code.h - erasure coding: rows of a stripe from k other rows of it.
 *
 * A stripe has k + m rows of equal length: row i < k is data i, row k + j is parity j, the sum
 * over i of C[j][i] * data i in GF(2^8). Any k rows give any other. C is all ones for m = 1,
 * where every sum is an exclusive or, and a Cauchy matrix for more, of which every square part
 * is invertible (J. Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme", ICSI
 * TR-95-048, 1995); ISA-L's gf_gen_rs_matrix() lacks that property.
 *
 * Encoding is the special case of wanting the parity rows of the data rows.
 *
 * Memory: 32 k wanted + (k + m) k bytes of tables; never a copy of a row.
 * Threads: a code is read-only once opened; any number of threads may run it.
 */
#ifndef SNAPSHOT_SNAP_CODE_H
#define SNAPSHOT_SNAP_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum {
    SNAP_ROWS_MAX = 64,  /* k + m; GF(2^8) would allow 255 */
    SNAP_PARITY_MAX = 8, /* m */
};

struct snap_code;

/*
 * For a stripe of `data_count` >= 1 and `parity_count` >= 0 rows: from the rows `given`
 * [data_count] the rows `wanted` [wanted_count]; no row is in both. End it with
 * snap_code_close(). Errors: ERR_INVALID for counts or rows out of range; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_code_open(int data_count, int parity_count, const int given[],
                                       const int wanted[], int wanted_count,
                                       struct snap_code **code_out);
void snap_code_close(struct snap_code *code); /* NULL is allowed */

/*
 * inputs   [data_count]    `bytes` bytes each, in the order of `given`
 * outputs  [wanted_count]  `bytes` bytes each, overwritten
 *
 * Any alignment and length; 64-byte alignment is fastest. Cost: about data_count * wanted_count *
 * bytes multiplications, one pass over the inputs.
 */
void snap_code_run(const struct snap_code *code, size_t bytes, const uint8_t *const inputs[],
                   uint8_t *const outputs[]);

#endif
