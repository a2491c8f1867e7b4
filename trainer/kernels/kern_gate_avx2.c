/*
 * Gates of a hidden layer: forward eight samples a vector, backward eight hidden units. Multiplications and
 * additions are those of the portable version, in its order and not fused: the same bits.
 */
#include "trainer/kernels/kern_gate.h"

#include "trainer/kernels/kern_transpose_avx2_priv.h"

enum { FEATURES = 4 };

static inline __m256 multiply_add(__m256 sum, __m256 a, __m256 b)
{
    return _mm256_add_ps(sum, _mm256_mul_ps(a, b));
}

/* f[k] = feature k of eight samples, the entropies scaled, and written back so. */
static void scale_features(__m256 f[FEATURES], float *features, float entropy_scale)
{
    const __m256 scale =
        _mm256_setr_ps(1, entropy_scale, 1, entropy_scale, 1, entropy_scale, 1, entropy_scale);
    __m256 columns[LANES];

    for (int64_t i = 0; i < LANES / 2; i++) {
        float *two = features + i * 2 * FEATURES;
        _mm256_storeu_ps(two, _mm256_mul_ps(_mm256_loadu_ps(two), scale));
    }
    for (int64_t i = 0; i < LANES; i++) {
        columns[i] = _mm256_castps128_ps256(_mm_loadu_ps(features + i * FEATURES));
    }
    vec_transpose(columns);
    for (int k = 0; k < FEATURES; k++) {
        f[k] = columns[k];
    }
}

/* Hidden units h .. h + count - 1 of eight samples; returns the logits with their part added. */
static __m256 forward_units(const struct kern_gate *gate, int64_t h, int64_t count,
                            const __m256 f[FEATURES], float *relu, __m256 logits)
{
    const __m256i mask = vec_mask(count);
    __m256 units[LANES];

    for (int64_t i = 0; i < LANES; i++) {
        units[i] = _mm256_setzero_ps();
        if (i < count) {
            const float *u = gate->up + (h + i) * FEATURES;
            __m256 x = _mm256_set1_ps(gate->up_bias[h + i]);
            for (int k = 0; k < FEATURES; k++) {
                x = multiply_add(x, _mm256_set1_ps(u[k]), f[k]);
            }
            units[i] = _mm256_max_ps(x, _mm256_setzero_ps()); /* 0 if x is NaN */
            logits = multiply_add(logits, _mm256_set1_ps(gate->out[h + i]), units[i]);
        }
    }
    vec_transpose(units);
    for (int64_t i = 0; i < LANES; i++) {
        _mm256_maskstore_ps(relu + i * gate->hidden + h, mask, units[i]);
    }
    return logits;
}

void kern_gate_forward_avx2(float *a, float *relu, float *features, float entropy_scale,
                            const struct kern_gate *gate, int64_t N)
{
    const int64_t H = gate->hidden, whole = H == 0 ? 0 : N / LANES * LANES;
    __m256 f[FEATURES];

    for (int64_t i = 0; i < whole; i += LANES) {
        __m256 logits = _mm256_set1_ps(*gate->bias);
        scale_features(f, features + i * FEATURES, entropy_scale);
        for (int64_t h = 0; h < H; h += LANES) {
            const int64_t count = H - h < LANES ? H - h : LANES;
            logits = forward_units(gate, h, count, f, relu + i * H, logits);
        }
        _mm256_storeu_ps(a + i, logits);
    }
    if (whole < N) {
        kern_gate_forward_portable(a + whole, H == 0 ? NULL : relu + whole * H,
                                   features + whole * FEATURES, entropy_scale, gate, N - whole);
    }
}

/* Gradients of up to eight hidden units; sums over all samples. */
struct units {
    __m256 up[FEATURES], up_bias, out;
};

static void load_units(struct units *units, const struct kern_gate *gradients, int64_t h,
                       int64_t count)
{
    const __m256i mask = vec_mask(count);
    float up[FEATURES][LANES] = {{0}};

    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < FEATURES; k++) {
            up[k][i] = gradients->up[(h + i) * FEATURES + k];
        }
    }
    for (int k = 0; k < FEATURES; k++) {
        units->up[k] = _mm256_loadu_ps(up[k]);
    }
    units->up_bias = _mm256_maskload_ps(gradients->up_bias + h, mask);
    units->out = _mm256_maskload_ps(gradients->out + h, mask);
}

static void store_units(const struct units *units, const struct kern_gate *gradients, int64_t h,
                        int64_t count)
{
    const __m256i mask = vec_mask(count);
    float up[FEATURES][LANES];

    for (int k = 0; k < FEATURES; k++) {
        _mm256_storeu_ps(up[k], units->up[k]);
    }
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < FEATURES; k++) {
            gradients->up[(h + i) * FEATURES + k] = up[k][i];
        }
    }
    _mm256_maskstore_ps(gradients->up_bias + h, mask, units->up_bias);
    _mm256_maskstore_ps(gradients->out + h, mask, units->out);
}

void kern_gate_backward_avx2(const struct kern_gate *gradients, const float *da, const float *relu,
                             const float *features, const struct kern_gate *gate, int64_t N,
                             bool accumulate)
{
    const int64_t H = gate->hidden;

    if (H == 0) {
        kern_gate_backward_portable(gradients, da, relu, features, gate, N, accumulate);
        return;
    }
    if (!accumulate) { /* of no samples: zeros */
        kern_gate_backward_portable(gradients, da, relu, features, gate, 0, false);
    }
    for (int64_t i = 0; i < N; i++) {
        *gradients->bias += da[i];
    }
    for (int64_t h = 0; h < H; h += LANES) {
        const int64_t count = H - h < LANES ? H - h : LANES;
        const __m256i mask = vec_mask(count);
        const __m256 out = _mm256_maskload_ps(gate->out + h, mask);
        struct units units;

        load_units(&units, gradients, h, count);
        for (int64_t i = 0; i < N; i++) {
            const __m256 hidden = _mm256_maskload_ps(relu + i * H + h, mask);
            const __m256 open = _mm256_cmp_ps(hidden, _mm256_setzero_ps(), _CMP_GT_OQ);
            const __m256 da_i = _mm256_set1_ps(da[i]);
            const __m256 dx = _mm256_and_ps(open, _mm256_mul_ps(da_i, out));
            units.out = multiply_add(units.out, da_i, hidden);
            units.up_bias = _mm256_add_ps(units.up_bias, dx);
            for (int k = 0; k < FEATURES; k++) {
                units.up[k] =
                    multiply_add(units.up[k], dx, _mm256_set1_ps(features[i * FEATURES + k]));
            }
        }
        store_units(&units, gradients, h, count);
    }
}
