/* Cross entropy and gate features in plain loops: the definition. Sums are in double. */
#include "trainer/kernels/kern_xent.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* exp of less is 0 in float; keeps 0 * -inf out of the sums. */
static const double LOWEST = -150;

/* What one pass over a row finds; t = z - z_max. */
struct row {
    double top, second;      /* the two largest logits */
    double sum, sum_t;       /* of exp t, of t exp t */
    double sum_2t, sum_t_2t; /* of exp 2t, of t exp 2t */
    int32_t predicted;
};

static bool is_finite_row(const float *z, int64_t K)
{
    for (int64_t k = 0; k < K; k++) {
        if (!isfinite(z[k])) {
            return false;
        }
    }
    return true;
}

static struct row read_row(const float *z, int64_t K)
{
    struct row row = {.top = z[0], .second = -INFINITY};

    for (int64_t k = 1; k < K; k++) {
        if (z[k] > row.top) {
            row.second = row.top;
            row.top = z[k];
            row.predicted = (int32_t)k;
        } else if (z[k] > row.second) {
            row.second = z[k];
        }
    }
    for (int64_t k = 0; k < K; k++) {
        const double t = fmax(z[k] - row.top, LOWEST);
        const double e = exp(t);
        row.sum += e;
        row.sum_t += e * t;
        row.sum_2t += e * e;
        row.sum_t_2t += e * e * t;
    }
    return row;
}

static void put_features(float features[KERN_XENT_FEATURES], const struct row *row)
{
    features[0] = (float)(1 / row->sum);
    features[1] = (float)(log(row->sum) - row->sum_t / row->sum);
    features[2] = (float)((1 - exp(row->second - row->top)) / row->sum);
    features[3] = (float)(log(row->sum_2t) - 2 * row->sum_t_2t / row->sum_2t);
}

static void put_row(const struct kern_xent_out *out, int64_t n, const float *z,
                    const int32_t *label, const struct row *row)
{
    if (out->loss != NULL) {
        out->loss[n] = (float)(row->top - z[label[n]] + log(row->sum));
    }
    if (out->lse != NULL) {
        out->lse[n] = (float)(row->top + log(row->sum));
    }
    if (out->features != NULL) {
        put_features(out->features + n * KERN_XENT_FEATURES, row);
    }
    if (out->predicted != NULL) {
        out->predicted[n] = row->predicted;
    }
}

static void put_nan(const struct kern_xent_out *out, int64_t n)
{
    if (out->loss != NULL) {
        out->loss[n] = NAN;
    }
    if (out->lse != NULL) {
        out->lse[n] = NAN;
    }
    for (int i = 0; i < KERN_XENT_FEATURES && out->features != NULL; i++) {
        out->features[n * KERN_XENT_FEATURES + i] = NAN;
    }
    if (out->predicted != NULL) {
        out->predicted[n] = 0;
    }
}

void kern_xent_forward_portable(const struct kern_xent_out *out, const float *z,
                                const int32_t *label, int64_t N, int64_t K)
{
    int64_t bad_count = 0;

    assert(K >= 2);
    assert(out->loss == NULL || label != NULL);
    for (int64_t n = 0; n < N; n++, z += K) {
        assert(label == NULL || (label[n] >= 0 && label[n] < K));
        if (!is_finite_row(z, K)) {
            put_nan(out, n);
            bad_count++;
            continue;
        }
        const struct row row = read_row(z, K);
        put_row(out, n, z, label, &row);
    }
    if (out->bad != NULL) {
        *out->bad += (float)bad_count;
    }
}

void kern_xent_backward_portable(float *dz, const float *z, const float *lse, const int32_t *label,
                                 const float *weight, int64_t N, int64_t K)
{
    for (int64_t n = 0; n < N; n++, dz += K, z += K) {
        for (int64_t k = 0; k < K; k++) {
            const double p = exp((double)z[k] - lse[n]);
            dz[k] = (float)(weight[n] * (p - (k == label[n])));
        }
    }
}
