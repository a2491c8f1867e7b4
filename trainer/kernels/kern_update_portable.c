/* Optimizer updates in plain loops: the definition, to the bit. */
#include "trainer/kernels/kern_update.h"

#include <math.h>

/* Of sum_squares: element i goes to sum i mod SUMS; the sums are added in halves. */
enum { SUMS = 16 };

void kern_add_portable(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] += from[i];
    }
}

void kern_sum_squares_portable(double *sum, const float *x, int64_t count)
{
    double sums[SUMS] = {0};

    for (int64_t i = 0; i < count; i++) {
        sums[i % SUMS] += (double)x[i] * x[i];
    }
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            sums[i] += sums[i + half];
        }
    }
    *sum += sums[0];
}

void kern_adamw_portable(float *weight, float *m, float *v, const float *gradient, int64_t count,
                         const struct kern_adamw_args *args)
{
    const float keep = 1.0f - args->learning_rate * args->decay;
    const float take1 = 1.0f - args->beta1, take2 = 1.0f - args->beta2;
    const float step = args->learning_rate / args->correction1;
    const float root2 = sqrtf(args->correction2);

    for (int64_t i = 0; i < count; i++) {
        const float g = args->scale * gradient[i];
        m[i] = args->beta1 * m[i] + take1 * g;
        v[i] = args->beta2 * v[i] + take2 * (g * g);
        weight[i] = keep * weight[i] - step * (m[i] / (sqrtf(v[i]) / root2 + args->epsilon));
    }
}

void kern_sgd_portable(float *weight, float *m, const float *gradient, int64_t count,
                       const struct kern_sgd_args *args)
{
    for (int64_t i = 0; i < count; i++) {
        const float g = args->scale * gradient[i] + args->decay * weight[i];
        m[i] = args->momentum * m[i] + g;
        weight[i] = weight[i] - args->learning_rate * m[i];
    }
}
