/*
 * trainer/kernels/kern_linear_few_avx2_priv.h - the forward product of up to twelve rows.
 *
 * So few rows are bound by reading the weights, which are used once a row. The 6 x 16 tile goes through
 * one panel at a time: with a row or two it would wait for its own sums, two to four chains of fused
 * multiply-adds where a core wants eight at least. Here several panels take turns while there are up to three
 * rows, more rows are cut into tiles of even size, and a panel is read straight through. Every element
 * is the same chain, so that a row has the bits it has among more rows.
 *
 * Floor: N K floats from memory, or from the cache that holds them.
 */
#ifndef TRAINER_KERNELS_KERN_LINEAR_FEW_AVX2_PRIV_H
#define TRAINER_KERNELS_KERN_LINEAR_FEW_AVX2_PRIV_H

#include <stdint.h>

enum { KERN_LINEAR_FEW_ROWS = 12 };

/*
 * c[m][n] = bias[n] + from[m][n] + the sum over d < depth of a[m][d] * panels[d][n], for panels of 16
 * columns; 1 <= rows <= KERN_LINEAR_FEW_ROWS. bias and from may be NULL; from has the stride ld_c and
 * may be c.
 */
void kern_linear_few_avx2(float *c, int64_t ld_c, const float *a, int64_t ld_a, int64_t rows,
                          const float *panels, int64_t columns, int64_t depth, const float *bias,
                          const float *from);

#endif
