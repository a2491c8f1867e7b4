/* Gates in plain loops: the definition. */
#include "trainer/kernels/kern_gate.h"

#include <string.h>

enum { FEATURES = 4 };

void kern_gate_forward_portable(float *a, float *relu, float *features, float entropy_scale,
                                const struct kern_gate *gate, int64_t N)
{
    for (int64_t i = 0; i < N; i++) {
        float *f = features + i * FEATURES;
        f[1] *= entropy_scale;
        f[3] *= entropy_scale;
        if (gate->hidden == 0) {
            const float *w = gate->out;
            a[i] = *gate->bias + w[0] * f[0] + w[1] * f[1] + w[2] * f[2] + w[3] * f[3];
            continue;
        }
        float *hidden = relu + i * gate->hidden;
        float sum = *gate->bias;
        for (int64_t h = 0; h < gate->hidden; h++) {
            const float *u = gate->up + h * FEATURES;
            const float x =
                gate->up_bias[h] + u[0] * f[0] + u[1] * f[1] + u[2] * f[2] + u[3] * f[3];
            hidden[h] = x > 0 ? x : 0;
            sum += gate->out[h] * hidden[h];
        }
        a[i] = sum;
    }
}

static void clear(const struct kern_gate *gradients)
{
    const int64_t H = gradients->hidden;

    if (H > 0) {
        memset(gradients->up, 0, (size_t)(H * FEATURES) * sizeof(float));
        memset(gradients->up_bias, 0, (size_t)H * sizeof(float));
    }
    memset(gradients->out, 0, (size_t)(H > 0 ? H : FEATURES) * sizeof(float));
    *gradients->bias = 0;
}

void kern_gate_backward_portable(const struct kern_gate *gradients, const float *da,
                                 const float *relu, const float *features,
                                 const struct kern_gate *gate, int64_t N, bool accumulate)
{
    const int64_t H = gate->hidden;

    if (!accumulate) {
        clear(gradients);
    }
    for (int64_t i = 0; i < N; i++) {
        const float *f = features + i * FEATURES;
        *gradients->bias += da[i];
        for (int k = 0; k < FEATURES && H == 0; k++) {
            gradients->out[k] += da[i] * f[k];
        }
        for (int64_t h = 0; h < H; h++) {
            const float hidden = relu[i * H + h];
            gradients->out[h] += da[i] * hidden;
            const float dx = hidden > 0 ? da[i] * gate->out[h] : 0;
            gradients->up_bias[h] += dx;
            for (int k = 0; k < FEATURES; k++) {
                gradients->up[h * FEATURES + k] += dx * f[k];
            }
        }
    }
}
