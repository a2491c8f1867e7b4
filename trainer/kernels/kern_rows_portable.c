/* Rows in plain loops: the definition. */
#include "trainer/kernels/kern_rows.h"

#include <string.h>

void kern_zero_portable(float *to, int64_t count)
{
    memset(to, 0, (size_t)count * sizeof(float));
}

void kern_copy_rows_portable(float *to, int64_t ld_to, const float *from, int64_t ld_from,
                             int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + r * ld_to, from + r * ld_from, (size_t)columns * sizeof(float));
    }
}

void kern_add_rows_portable(float *to, int64_t ld_to, const float *from, int64_t ld_from,
                            float scale, int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            to[r * ld_to + c] += scale * from[r * ld_from + c];
        }
    }
}

void kern_gather_rows_portable(float *to, const float *from, int64_t ld_from, const uint32_t *index,
                               int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + r * columns, from + index[r] * ld_from, (size_t)columns * sizeof(float));
    }
}

void kern_keep_rows_portable(float *rows, float *scratch, const uint32_t *index, int64_t count,
                             int64_t columns)
{
    (void)scratch; /* rows before the one that is moved are those that were moved */
    for (int64_t i = 0; i < count; i++) {
        if (index[i] != i) {
            memcpy(rows + i * columns, rows + index[i] * columns, (size_t)columns * sizeof(float));
        }
    }
}

void kern_mean_forward_portable(float *mean, const float *x, int64_t B, int64_t T, int64_t D)
{
    const float scale = 1.0f / (float)(T - 1);

    for (int64_t b = 0; b < B; b++) {
        float *to = mean + b * D;
        memcpy(to, x + (b * T + 1) * D, (size_t)D * sizeof(float));
        for (int64_t t = 2; t < T; t++) {
            kern_add_rows_portable(to, D, x + (b * T + t) * D, D, 1, 1, D);
        }
        for (int64_t d = 0; d < D; d++) {
            to[d] *= scale;
        }
    }
}

void kern_mean_backward_portable(float *dx, const float *dmean, int64_t B, int64_t T, int64_t D)
{
    const float scale = 1.0f / (float)(T - 1);

    for (int64_t b = 0; b < B; b++) {
        for (int64_t t = 1; t < T; t++) {
            kern_add_rows_portable(dx + (b * T + t) * D, D, dmean + b * D, D, scale, 1, D);
        }
    }
}

void kern_count_portable(float *counts, float first, float second)
{
    counts[0] += first;
    counts[1] += second;
}

void kern_tally_portable(float *loss_sum, float *correct, const float *loss,
                         const int32_t *predicted, const int32_t *label, int64_t N)
{
    for (int64_t i = 0; i < N; i++) {
        *loss_sum += loss[i];
        *correct += (float)(predicted[i] == label[i]);
    }
}
