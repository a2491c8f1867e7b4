#include "trainer/kernels/kern_linear.h"

#include <assert.h>

static const struct kern_linear_epilogue NOTHING_BESIDES = {.gelu = KERN_GELU_NONE};

int64_t kern_linear_panel_elems_portable(int64_t N, int64_t K)
{
    (void)N;
    (void)K;
    return 0;
}

void kern_linear_pack_portable(const struct kern_linear *linear)
{
    (void)linear;
}

void kern_linear_forward_portable(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                                  const struct kern_linear *linear,
                                  const struct kern_linear_epilogue *epilogue)
{
    const struct kern_linear_epilogue *also = epilogue == NULL ? &NOTHING_BESIDES : epilogue;
    const int64_t N = linear->N, K = linear->K;

    assert(also->gelu != KERN_GELU_NONE || also->slope == NULL);
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            double sum = also->bias == NULL ? 0.0 : (double)also->bias[n];
            if (also->residual != NULL) {
                sum += (double)also->residual[m * ld_y + n];
            }
            for (int64_t k = 0; k < K; k++) {
                sum += (double)x[m * ld_x + k] * (double)linear->weight[n * K + k];
            }
            y[m * ld_y + n] = (float)sum;
        }
        if (also->gelu != KERN_GELU_NONE) {
            kern_gelu_portable(y + m * ld_y, also->slope == NULL ? NULL : also->slope + m * ld_y,
                               y + m * ld_y, N, also->gelu);
        }
    }
}

void kern_linear_backward_data_portable(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy,
                                        int64_t M, const struct kern_linear *linear,
                                        const float *slope)
{
    const int64_t N = linear->N, K = linear->K;

    for (int64_t m = 0; m < M; m++) {
        float *const dx_m = dx + m * ld_dx;
        for (int64_t k = 0; k < K; k++) {
            double sum = 0.0;
            for (int64_t n = 0; n < N; n++) {
                sum += (double)dy[m * ld_dy + n] * (double)linear->weight[n * K + k];
            }
            dx_m[k] = (float)(slope == NULL ? sum : sum * (double)slope[m * ld_dx + k]);
        }
    }
}

void kern_linear_backward_weight_portable(float *dweight, float *dbias, const float *dy,
                                          int64_t ld_dy, const float *x, int64_t ld_x, int64_t M,
                                          int64_t N, int64_t K, bool accumulate)
{
    for (int64_t n = 0; n < N; n++) {
        for (int64_t k = 0; k < K; k++) {
            double sum = accumulate ? (double)dweight[n * K + k] : 0.0;
            for (int64_t m = 0; m < M; m++) {
                sum += (double)dy[m * ld_dy + n] * (double)x[m * ld_x + k];
            }
            dweight[n * K + k] = (float)sum;
        }
        if (dbias != NULL) {
            double sum = accumulate ? (double)dbias[n] : 0.0;
            for (int64_t m = 0; m < M; m++) {
                sum += (double)dy[m * ld_dy + n];
            }
            dbias[n] = (float)sum;
        }
    }
}
