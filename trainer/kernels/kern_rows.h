/*
 * trainer/kernels/kern_rows.h - rows of memory that are cleared, copied, added up, counted.
 *
 * Floor: the bytes read and written; nothing is computed that would take longer.
 * The fast versions give the bits of the portable ones.
 */
#ifndef TRAINER_KERNELS_KERN_ROWS_H
#define TRAINER_KERNELS_KERN_ROWS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* to[i] = 0, i < count. */
typedef void kern_zero_fn(float *to, int64_t count);

/* to[r, c] = from[r, c], [rows, columns] with the strides ld_to and ld_from; they do not overlap. */
typedef void kern_copy_rows_fn(float *to, int64_t ld_to, const float *from, int64_t ld_from,
                               int64_t rows, int64_t columns);

/* to[r, c] += scale * from[r, c], likewise. */
typedef void kern_add_rows_fn(float *to, int64_t ld_to, const float *from, int64_t ld_from,
                              float scale, int64_t rows, int64_t columns);

/* to[r] = from[index[r]], rows of `columns` floats; `from` has the stride ld_from, `to` has none. */
typedef void kern_gather_rows_fn(float *to, const float *from, int64_t ld_from,
                                 const uint32_t *index, int64_t rows, int64_t columns);

/*
 * Of rows [columns] only those of the index are kept, in its order, moved together: rows[i] = rows[index[i]],
 * index [count] ascending. scratch [count, columns]: what is there is lost.
 */
typedef void kern_keep_rows_fn(float *rows, float *scratch, const uint32_t *index, int64_t count,
                               int64_t columns);

/*
 * Pooling over all tokens but the first, the class token: x and dx [B, T, D], T >= 2, mean [B, D].
 *
 *      mean[b] = (x[b, 1] + x[b, 2] + ... + x[b, T - 1]) / (T - 1), added up in that order
 *      dx[b, t] += dmean[b] / (T - 1), t >= 1
 */
typedef void kern_mean_forward_fn(float *mean, const float *x, int64_t B, int64_t T, int64_t D);
typedef void kern_mean_backward_fn(float *dx, const float *dmean, int64_t B, int64_t T, int64_t D);

/* *loss_sum += loss[0], loss[1], ... and *correct += the number of predicted[i] = label[i], i < N. */
typedef void kern_tally_fn(float *loss_sum, float *correct, const float *loss,
                           const int32_t *predicted, const int32_t *label, int64_t N);

/* counts[0] += first, counts[1] += second. */
typedef void kern_count_fn(float *counts, float first, float second);

kern_count_fn kern_count_portable, kern_count_cuda;
kern_zero_fn kern_zero_portable, kern_zero_cuda;
kern_copy_rows_fn kern_copy_rows_portable, kern_copy_rows_cuda;
kern_add_rows_fn kern_add_rows_portable, kern_add_rows_cuda;
kern_gather_rows_fn kern_gather_rows_portable, kern_gather_rows_cuda;
kern_keep_rows_fn kern_keep_rows_portable, kern_keep_rows_cuda;
kern_mean_forward_fn kern_mean_forward_portable, kern_mean_forward_cuda;
kern_mean_backward_fn kern_mean_backward_portable, kern_mean_backward_cuda;
kern_tally_fn kern_tally_portable, kern_tally_cuda;

/* The same of bfloat16 (kern_bf16.h) on a CUDA device: sums are in float and rounded once. */
void kern_copy_rows_bf16_cuda(uint16_t *to, int64_t ld_to, const uint16_t *from, int64_t ld_from,
                              int64_t rows, int64_t columns);
void kern_add_rows_bf16_cuda(uint16_t *to, int64_t ld_to, const uint16_t *from, int64_t ld_from,
                             float scale, int64_t rows, int64_t columns);
void kern_gather_rows_bf16_cuda(uint16_t *to, const uint16_t *from, int64_t ld_from,
                                const uint32_t *index, int64_t rows, int64_t columns);
void kern_keep_rows_bf16_cuda(uint16_t *rows, uint16_t *scratch, const uint32_t *index,
                              int64_t count, int64_t columns);
void kern_mean_forward_bf16_cuda(uint16_t *mean, const uint16_t *x, int64_t B, int64_t T,
                                 int64_t D);
void kern_mean_backward_bf16_cuda(uint16_t *dx, const uint16_t *dmean, int64_t B, int64_t T,
                                  int64_t D);

#ifdef __cplusplus
}
#endif

#endif
