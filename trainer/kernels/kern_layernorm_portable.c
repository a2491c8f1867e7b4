/* Layer normalisation in plain loops: the definition. Sums are in double. */
#include "trainer/kernels/kern_layernorm.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

enum { CHANNELS_AT_A_TIME = 16 };

static double mean_of(const float *x, int64_t C)
{
    double sum = 0;

    for (int64_t c = 0; c < C; c++) {
        sum += x[c];
    }
    return sum / (double)C;
}

static double variance_of(const float *x, double mean, int64_t C)
{
    double sum = 0;

    for (int64_t c = 0; c < C; c++) {
        sum += (x[c] - mean) * (x[c] - mean);
    }
    return sum / (double)C;
}

void kern_layernorm_forward_portable(float *y, float *mean, float *rstd, const float *x,
                                     int64_t ld_x, const float *gain, const float *bias, int64_t N,
                                     int64_t C, float epsilon)
{
    assert(C >= 1 && ld_x >= C);
    for (int64_t n = 0; n < N; n++) {
        const float *const x_n = x + n * ld_x;
        const double m = mean_of(x_n, C);
        const double r = 1 / sqrt(variance_of(x_n, m, C) + (double)epsilon);
        for (int64_t c = 0; c < C; c++) {
            y[n * C + c] = (float)((x_n[c] - m) * r * gain[c] + bias[c]);
        }
        if (mean != NULL) {
            mean[n] = (float)m;
            rstd[n] = (float)r;
        }
    }
}

/* dgain and dbias of up to CHANNELS_AT_A_TIME channels. */
static void backward_columns(float *dgain, float *dbias, const float *dy, int64_t C, const float *x,
                             int64_t ld_x, const float *mean, const float *rstd, int64_t N,
                             int64_t count)
{
    double gains[CHANNELS_AT_A_TIME] = {0}, biases[CHANNELS_AT_A_TIME] = {0};

    for (int64_t n = 0; n < N; n++) {
        for (int64_t c = 0; c < count; c++) {
            const double dy_c = dy[n * C + c];
            gains[c] += dy_c * ((double)x[n * ld_x + c] - mean[n]) * rstd[n];
            biases[c] += dy_c;
        }
    }
    for (int64_t c = 0; c < count; c++) {
        dgain[c] += (float)gains[c];
        dbias[c] += (float)biases[c];
    }
}

void kern_layernorm_backward_portable(float *dx, const float *residual, float *dgain, float *dbias,
                                      const float *dy, const float *x, int64_t ld_x,
                                      const float *mean, const float *rstd, const float *gain,
                                      int64_t N, int64_t C, bool accumulate)
{
    assert(C >= 1 && ld_x >= C);
    for (int64_t c = 0; c < C && !accumulate; c++) {
        dgain[c] = dbias[c] = 0;
    }
    for (int64_t c = 0; c < C; c += CHANNELS_AT_A_TIME) {
        const int64_t count = C - c < CHANNELS_AT_A_TIME ? C - c : CHANNELS_AT_A_TIME;
        backward_columns(dgain + c, dbias + c, dy + c, C, x + c, ld_x, mean, rstd, N, count);
    }
    for (int64_t n = 0; n < N && dx != NULL; n++) {
        const float *const x_n = x + n * ld_x, *const dy_n = dy + n * C;
        double sum = 0, sum_xhat = 0;
        for (int64_t c = 0; c < C; c++) {
            const double g = (double)dy_n[c] * gain[c];
            sum += g;
            sum_xhat += g * ((double)x_n[c] - mean[n]) * rstd[n];
        }
        for (int64_t c = 0; c < C; c++) {
            const double g = (double)dy_n[c] * gain[c];
            const double xhat = ((double)x_n[c] - mean[n]) * rstd[n];
            const double around = residual == NULL ? 0 : residual[n * ld_x + c];
            const double dx_c = rstd[n] * (g - sum / (double)C - xhat * sum_xhat / (double)C);
            dx[n * ld_x + c] = (float)(dx_c + around);
        }
    }
}
