/*
 * trainer/kernels/kern_columns_cuda_priv.h - sums down the columns of matrices, in an order that the
 * shape alone decides, without atomics: rows are cut into parts, each part is summed, then the parts.
 */
#ifndef TRAINER_KERNELS_KERN_COLUMNS_CUDA_PRIV_H
#define TRAINER_KERNELS_KERN_COLUMNS_CUDA_PRIV_H

#include "trainer/kernels/kern_launch_cuda_priv.h"

/* At least so many rows a part, and at most so many parts. */
static const int64_t KERN_PART_ROWS = 16, KERN_PARTS_MAX = 256;

static inline int64_t kern_part_count(int64_t rows)
{
    const int64_t parts = (rows + KERN_PART_ROWS - 1) / KERN_PART_ROWS;

    return parts < 1 ? 1 : parts > KERN_PARTS_MAX ? KERN_PARTS_MAX : parts;
}

/*
 * out0[c] (+)= sum over p of parts[p, 0, c], and out1 of parts[p, 1, c]; out1 NULL: parts are
 * [part_count, 1, width]. accumulate: added to what is there.
 */
void kern_sum_parts(float *out0, float *out1, const float *parts, int64_t part_count, int64_t width,
                    bool accumulate);

/* out[c] (+)= sum over rows of x[row, c]; x [rows, width], row stride ld. Uses the scratch. */
void kern_sum_columns_f32(float *out, const float *x, int64_t ld, int64_t rows, int64_t width,
                          bool accumulate);
void kern_sum_columns_bf16(float *out, const uint16_t *x, int64_t ld, int64_t rows, int64_t width,
                           bool accumulate);

/* What the gradients of a normalisation's gain and bias are sums of. */
struct kern_norm_columns {
    const float *mean, *rstd; /* [rows] */
};

/* dgain (+)= sum of dy * (x - mean) * rstd, dbias (+)= sum of dy; dy contiguous. Uses the scratch. */
void kern_sum_norm_f32(float *dgain, float *dbias, const float *dy, const float *x, int64_t ld,
                       const struct kern_norm_columns *norm, int64_t rows, int64_t width,
                       bool accumulate);
void kern_sum_norm_bf16(float *dgain, float *dbias, const uint16_t *dy, const uint16_t *x,
                        int64_t ld, const struct kern_norm_columns *norm, int64_t rows,
                        int64_t width, bool accumulate);

#endif
