#include "tests/support/ref64.h"

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static double *scratch(int64_t count)
{
    double *block = calloc((size_t)count, sizeof(double));

    ck_assert_ptr_nonnull(block);
    return block;
}

/* xhat [C] of one row; returns 1 / standard deviation. */
static double standardise(double *xhat, const double *x, const struct ref64_rows *rows)
{
    const double C = (double)rows->C;
    double mean = 0, variance = 0;

    for (int64_t c = 0; c < rows->C; c++) {
        mean += x[c] / C;
    }
    for (int64_t c = 0; c < rows->C; c++) {
        variance += (x[c] - mean) * (x[c] - mean) / C;
    }
    for (int64_t c = 0; c < rows->C; c++) {
        xhat[c] = (x[c] - mean) / sqrt(variance + rows->epsilon);
    }
    return 1 / sqrt(variance + rows->epsilon);
}

void ref64_layernorm(double *y, const double *x, const double *gain, const double *bias,
                     const struct ref64_rows *rows)
{
    for (int64_t n = 0; n < rows->N; n++) {
        double *const y_n = y + n * rows->C;
        standardise(y_n, x + n * rows->C, rows);
        for (int64_t c = 0; c < rows->C; c++) {
            y_n[c] = y_n[c] * gain[c] + bias[c];
        }
    }
}

void ref64_layernorm_backward(double *dx, double *dgain, double *dbias, const double *dy,
                              const double *x, const double *gain, const struct ref64_rows *rows)
{
    const int64_t C = rows->C;
    double *const xhat = scratch(C);

    for (int64_t c = 0; c < C; c++) {
        dgain[c] = dbias[c] = 0;
    }
    for (int64_t n = 0; n < rows->N; n++) {
        const double rstd = standardise(xhat, x + n * C, rows);
        double mean_g = 0, mean_g_xhat = 0;
        for (int64_t c = 0; c < C; c++) {
            const double dy_c = dy[n * C + c];
            mean_g += dy_c * gain[c] / (double)C;
            mean_g_xhat += dy_c * gain[c] * xhat[c] / (double)C;
            dgain[c] += dy_c * xhat[c];
            dbias[c] += dy_c;
        }
        for (int64_t c = 0; c < C; c++) {
            dx[n * C + c] = rstd * (dy[n * C + c] * gain[c] - mean_g - xhat[c] * mean_g_xhat);
        }
    }
    free(xhat);
}

/* The rows of one token in one head; HD floats from q to k and from k to v. */
static int64_t token_at(const struct kern_attention_shape *shape, int64_t b, int64_t t, int64_t h)
{
    return (b * shape->T + t) * 3 * shape->H * shape->D + h * shape->D;
}

/* Whether token i of sample b attends to token j. */
static bool attends(const struct kern_attention_mask *mask, int64_t b, int64_t i, int64_t j)
{
    if (mask != NULL && mask->lengths != NULL && (i >= mask->lengths[b] || j >= mask->lengths[b])) {
        return false;
    }
    return mask == NULL || !mask->is_causal || j <= i;
}

/* p [T]: the probabilities that query i of head h of sample b gives the keys; all 0 if it is padding. */
static void attention_row(double *p, const double *qkv, const struct kern_attention_shape *shape,
                          const struct kern_attention_mask *mask, int64_t b, int64_t h, int64_t i)
{
    const int64_t T = shape->T, D = shape->D, HD = shape->H * D;
    const double *const q = qkv + token_at(shape, b, i, h);
    double top = -INFINITY, total = 0;

    for (int64_t j = 0; j < T; j++) {
        const double *const k = qkv + token_at(shape, b, j, h) + HD;
        p[j] = 0;
        for (int64_t c = 0; c < D; c++) {
            p[j] += q[c] * k[c] / sqrt((double)D);
        }
        top = fmax(top, attends(mask, b, i, j) ? p[j] : -INFINITY);
    }
    for (int64_t j = 0; j < T; j++) {
        p[j] = attends(mask, b, i, j) ? exp(p[j] - top) : 0;
        total += p[j];
    }
    for (int64_t j = 0; j < T && total > 0; j++) {
        p[j] /= total;
    }
}

void ref64_attention(double *out, const double *qkv, const struct kern_attention_shape *shape,
                     const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, D = shape->D, HD = shape->H * D;
    double *const p = scratch(T);

    for (int64_t row = 0; row < shape->B * T * shape->H; row++) {
        const int64_t b = row / shape->H / T, i = row / shape->H % T, h = row % shape->H;
        attention_row(p, qkv, shape, mask, b, h, i);
        for (int64_t c = 0; c < D; c++) {
            double sum = 0;
            for (int64_t j = 0; j < T; j++) {
                sum += p[j] * qkv[token_at(shape, b, j, h) + 2 * HD + c];
            }
            out[row * D + c] = sum;
        }
    }
    free(p);
}

void ref64_attention_backward(double *dqkv, const double *dout, const double *qkv,
                              const struct kern_attention_shape *shape,
                              const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, D = shape->D, HD = shape->H * D;
    double *const p = scratch(T), *const dp = scratch(T);

    for (int64_t i = 0; i < shape->B * T * 3 * HD; i++) {
        dqkv[i] = 0;
    }
    for (int64_t row = 0; row < shape->B * T * shape->H; row++) {
        const int64_t b = row / shape->H / T, i = row / shape->H % T, h = row % shape->H;
        const int64_t q = token_at(shape, b, i, h);
        double delta = 0;
        attention_row(p, qkv, shape, mask, b, h, i);
        for (int64_t j = 0; j < T; j++) {
            dp[j] = 0;
            for (int64_t c = 0; c < D; c++) {
                dp[j] += dout[row * D + c] * qkv[token_at(shape, b, j, h) + 2 * HD + c];
            }
            delta += p[j] * dp[j];
        }
        for (int64_t j = 0; j < T; j++) {
            const double ds = p[j] * (dp[j] - delta) / sqrt((double)D);
            const int64_t k = token_at(shape, b, j, h) + HD, v = k + HD;
            for (int64_t c = 0; c < D; c++) {
                dqkv[q + c] += ds * qkv[k + c];
                dqkv[k + c] += ds * qkv[q + c];
                dqkv[v + c] += p[j] * dout[row * D + c];
            }
        }
    }
    free(p);
    free(dp);
}

/* p [K] = softmax(z); returns the log-sum-exp. */
static double softmax(double *p, const double *z, int64_t K)
{
    double top = -INFINITY, total = 0;

    for (int64_t k = 0; k < K; k++) {
        top = fmax(top, z[k]);
    }
    for (int64_t k = 0; k < K; k++) {
        p[k] = exp(z[k] - top);
        total += p[k];
    }
    for (int64_t k = 0; k < K; k++) {
        p[k] /= total;
    }
    return top + log(total);
}

static double entropy(const double *p, int64_t K)
{
    double sum = 0;

    for (int64_t k = 0; k < K; k++) {
        sum -= p[k] > 0 ? p[k] * log(p[k]) : 0;
    }
    return sum;
}

void ref64_xent(struct ref64_xent *out, const double *z, int32_t label, int64_t K)
{
    double *const p = scratch(K);
    double squares = 0, second = 0;
    int32_t best = 0;

    out->lse = softmax(p, z, K);
    out->loss = out->lse - z[label];
    for (int32_t k = 0; k < K; k++) {
        best = z[k] > z[best] ? k : best;
        squares += p[k] * p[k];
    }
    for (int32_t k = 0; k < K; k++) {
        second = k != best ? fmax(second, p[k]) : second;
    }
    out->predicted = best;
    out->features[0] = p[best];
    out->features[1] = entropy(p, K);
    out->features[2] = p[best] - second;
    for (int64_t k = 0; k < K; k++) {
        p[k] = p[k] * p[k] / squares;
    }
    out->features[3] = entropy(p, K);
    free(p);
}

void ref64_xent_backward(double *dz, const double *z, int32_t label, double weight, int64_t K)
{
    softmax(dz, z, K);
    for (int64_t k = 0; k < K; k++) {
        dz[k] = weight * (dz[k] - (k == label));
    }
}
