/* Tokens in plain loops: the definition. What the compiler makes of it is as fast as memory. */
#include "trainer/kernels/kern_tokens.h"

#include <assert.h>
#include <string.h>

#include "trainer/kernels/kern_rows.h"

void kern_tokens_forward_portable(float *x, const int32_t *tokens, const int32_t *lengths,
                                  const struct kern_tokens *from,
                                  const struct kern_tokens_shape *shape)
{
    const int64_t T = shape->T, D = shape->D;

    for (int64_t b = 0; b < shape->B; b++) {
        assert(lengths[b] >= 1 && lengths[b] <= T && lengths[b] <= shape->ld);
        for (int64_t t = 0; t < lengths[b]; t++) {
            const int32_t token = tokens[b * shape->ld + t];
            assert(token >= 0 && token < shape->V);
            const float *const word = from->words + token * D;
            const float *const position = from->positions + t * D;
            float *const to = x + (b * T + t) * D;
            for (int64_t d = 0; d < D; d++) {
                to[d] = word[d] + position[d] + (from->type == NULL ? 0.0f : from->type[d]);
            }
        }
        memset(x + (b * T + lengths[b]) * D, 0, (size_t)((T - lengths[b]) * D) * sizeof(float));
    }
}

void kern_tokens_backward_portable(const struct kern_tokens_gradients *to, const float *dx,
                                   const int32_t *tokens, const int32_t *lengths,
                                   const struct kern_tokens_shape *shape)
{
    const int64_t T = shape->T, D = shape->D;

    for (int64_t b = 0; b < shape->B; b++) {
        for (int64_t t = 0; t < lengths[b]; t++) {
            const float *const row = dx + (b * T + t) * D;
            const int64_t token = tokens[b * shape->ld + t];
            kern_add_rows_portable(to->words + token * D, D, row, D, 1, 1, D);
            kern_add_rows_portable(to->positions + t * D, D, row, D, 1, 1, D);
            if (to->type != NULL) {
                kern_add_rows_portable(to->type, D, row, D, 1, 1, D);
            }
        }
    }
}

void kern_token_mean_forward_portable(float *mean, const float *x, const int32_t *lengths,
                                      int64_t B, int64_t T, int64_t D)
{
    for (int64_t b = 0; b < B; b++) {
        const float scale = 1.0f / (float)lengths[b];
        float *const to = mean + b * D;
        memcpy(to, x + b * T * D, (size_t)D * sizeof(float));
        for (int64_t t = 1; t < lengths[b]; t++) {
            kern_add_rows_portable(to, D, x + (b * T + t) * D, D, 1, 1, D);
        }
        for (int64_t d = 0; d < D; d++) {
            to[d] *= scale;
        }
    }
}

void kern_token_mean_backward_portable(float *dx, const float *dmean, const int32_t *lengths,
                                       int64_t B, int64_t T, int64_t D)
{
    for (int64_t b = 0; b < B; b++) {
        const float scale = 1.0f / (float)lengths[b];
        for (int64_t t = 0; t < lengths[b]; t++) {
            kern_add_rows_portable(dx + (b * T + t) * D, D, dmean + b * D, D, scale, 1, D);
        }
    }
}

void kern_token_last_forward_portable(float *last, const float *x, const int32_t *lengths,
                                      int64_t B, int64_t T, int64_t D)
{
    for (int64_t b = 0; b < B; b++) {
        memcpy(last + b * D, x + (b * T + lengths[b] - 1) * D, (size_t)D * sizeof(float));
    }
}

void kern_token_last_backward_portable(float *dx, const float *dlast, const int32_t *lengths,
                                       int64_t B, int64_t T, int64_t D)
{
    for (int64_t b = 0; b < B; b++) {
        kern_add_rows_portable(dx + (b * T + lengths[b] - 1) * D, D, dlast + b * D, D, 1, 1, D);
    }
}
