/*
 * The matrix products of a BLAS library, row-major and on one thread.
 *
 * Everything beside the product is a loop of its own here. GELU comes from the AVX2
 * functions where the CPU has them, as the library too picks its kernels by CPU.
 */
#include "trainer/kernels/kern_linear.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <cblas.h>

#include "trainer/kernels/kern_cpu_priv.h"

static const struct kern_linear_epilogue NOTHING_BESIDES = {.gelu = KERN_GELU_NONE};

const char *kern_linear_blas_start(void)
{
    static char name[48];

    openblas_set_num_threads(1);
    snprintf(name, sizeof(name), "openblas %s", openblas_get_corename());
    return name;
}

int64_t kern_linear_panel_elems_blas(int64_t N, int64_t K)
{
    (void)N;
    (void)K;
    return 0;
}

void kern_linear_pack_blas(const struct kern_linear *linear)
{
    (void)linear;
}

/* The library's sizes are int. */
static blasint size_of(int64_t count)
{
    assert(count <= INT_MAX);
    return (blasint)count;
}

/* Lays bias + residual into `y`, to which the product is then added. */
static void preload(float *y, int64_t ld_y, int64_t M, int64_t N,
                    const struct kern_linear_epilogue *also)
{
    for (int64_t m = 0; m < M; m++) {
        float *const y_m = y + m * ld_y;
        const float *const residual = also->residual == NULL ? NULL : also->residual + m * ld_y;
        if (also->bias == NULL) {
            memmove(y_m, residual, (size_t)N * sizeof(float));
        } else if (residual == NULL) {
            memcpy(y_m, also->bias, (size_t)N * sizeof(float));
        } else {
            for (int64_t n = 0; n < N; n++) {
                y_m[n] = also->bias[n] + residual[n];
            }
        }
    }
}

void kern_linear_forward_blas(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                              const struct kern_linear *linear,
                              const struct kern_linear_epilogue *epilogue)
{
    const struct kern_linear_epilogue *also = epilogue == NULL ? &NOTHING_BESIDES : epilogue;
    kern_gelu_fn *const gelu = kern_cpu_has_avx2_fma() ? kern_gelu_avx2 : kern_gelu_portable;
    const int64_t N = linear->N, K = linear->K;
    const bool is_preloaded = also->bias != NULL || also->residual != NULL;

    assert(also->gelu != KERN_GELU_NONE || also->slope == NULL);
    if (M == 0) {
        return;
    }
    if (is_preloaded) {
        preload(y, ld_y, M, N, also);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size_of(M), size_of(N), size_of(K), 1.0f,
                x, size_of(ld_x), linear->weight, size_of(K), is_preloaded ? 1.0f : 0.0f, y,
                size_of(ld_y));
    for (int64_t m = 0; m < M && also->gelu != KERN_GELU_NONE; m++) {
        gelu(y + m * ld_y, also->slope == NULL ? NULL : also->slope + m * ld_y, y + m * ld_y, N,
             also->gelu);
    }
}

void kern_linear_backward_data_blas(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy,
                                    int64_t M, const struct kern_linear *linear, const float *slope)
{
    const int64_t N = linear->N, K = linear->K;

    if (M == 0) {
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size_of(M), size_of(K), size_of(N), 1.0f,
                dy, size_of(ld_dy), linear->weight, size_of(K), 0.0f, dx, size_of(ld_dx));
    for (int64_t m = 0; m < M && slope != NULL; m++) {
        for (int64_t k = 0; k < K; k++) {
            dx[m * ld_dx + k] *= slope[m * ld_dx + k];
        }
    }
}

void kern_linear_backward_weight_blas(float *dweight, float *dbias, const float *dy, int64_t ld_dy,
                                      const float *x, int64_t ld_x, int64_t M, int64_t N, int64_t K,
                                      bool accumulate)
{
    if (M > 0) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size_of(N), size_of(K), size_of(M),
                    1.0f, dy, size_of(ld_dy), x, size_of(ld_x), accumulate ? 1.0f : 0.0f, dweight,
                    size_of(K));
    } else if (!accumulate) {
        memset(dweight, 0, (size_t)(N * K) * sizeof(float));
    }
    if (dbias == NULL) {
        return;
    }
    if (!accumulate) {
        memset(dbias, 0, (size_t)N * sizeof(float));
    }
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            dbias[n] += dy[m * ld_dy + n];
        }
    }
}
