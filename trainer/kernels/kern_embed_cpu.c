/* Sample by sample, so that its patches are still in the cache for the product. */
#include "trainer/kernels/kern_embed.h"

#include <string.h>

#include "trainer/kernels/kern_ops.h"

/* Cuts an image [C, S, S] into rows of [C, P, P]. */
static void cut_patches(float *rows, const float *image, const struct kern_embed_shape *shape)
{
    const int64_t S = shape->S, P = shape->P, side = S / P;

    for (int64_t py = 0; py < side; py++) {
        for (int64_t px = 0; px < side; px++) {
            for (int64_t c = 0; c < shape->C; c++) {
                for (int64_t y = 0; y < P; y++) {
                    const float *from = image + (c * S + py * P + y) * S + px * P;
                    memcpy(rows, from, (size_t)P * sizeof(float));
                    rows += P;
                }
            }
        }
    }
}

void kern_embed_forward_cpu(const struct kern_ops *ops, float *x, float *patches,
                            const float *images, const struct kern_embed *embed,
                            const struct kern_embed_shape *shape)
{
    const int64_t D = shape->D, side = shape->S / shape->P, patch_count = side * side;
    const int64_t inputs = shape->C * shape->P * shape->P;
    const struct kern_linear_epilogue epilogue = {.bias = embed->bias,
                                                  .residual = embed->positions + D};

    for (int64_t b = 0; b < shape->B; b++) {
        float *rows = patches + b * patch_count * inputs;
        float *x_b = x + b * (1 + patch_count) * D;
        cut_patches(rows, images + b * shape->C * shape->S * shape->S, shape);
        for (int64_t d = 0; d < D; d++) {
            x_b[d] = embed->cls[d] + embed->positions[d];
        }
        ops->linear_forward(x_b + D, D, rows, inputs, patch_count, embed->linear, &epilogue);
    }
}

void kern_embed_backward_cpu(const struct kern_ops *ops,
                             const struct kern_embed_gradients *gradients, const float *dx,
                             const float *patches, float *scratch,
                             const struct kern_embed_shape *shape, bool accumulate)
{
    const int64_t D = shape->D, side = shape->S / shape->P, patch_count = side * side;
    const int64_t T = 1 + patch_count, inputs = shape->C * shape->P * shape->P;

    (void)scratch;
    if (!accumulate) {
        ops->zero(gradients->cls, D);
        ops->zero(gradients->positions, T * D);
    }
    for (int64_t b = 0; b < shape->B; b++) {
        const float *dx_b = dx + b * T * D;
        ops->add(gradients->cls, dx_b, D);
        ops->add(gradients->positions, dx_b, T * D);
        ops->linear_backward_weight(gradients->weight, gradients->bias, dx_b + D, D,
                                    patches + b * patch_count * inputs, inputs, patch_count, D,
                                    inputs, accumulate || b > 0);
    }
}
