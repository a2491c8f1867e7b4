/*
 * Linear layers on the device: products by cuBLASLt, and what it does not fuse by kernels of ours.
 *
 * Row-major matrices are its transposed ones. With W [N, K] as a column-major [K, N]:
 *
 *      forward          Y^T [N, M]  = W^T  X^T       m = N, n = M, k = K, op(A) = T
 *      backward data    dX^T [K, M] = W    dY^T      m = K, n = M, k = N
 *      backward weight  dW^T [K, N] = X^T  dY        m = K, n = N, k = M, op(B) = T
 *
 * Bias and residual are the library's: its epilogue, and C with beta = 1. GELU is ours in float,
 * since the library's promises no tolerance, and wherever the derivative is wanted, which it does
 * not have: it keeps the sum before GELU instead. The slope of backward data and the sums of dbias
 * are ours too.
 *
 * Floor: 2 M N K operations of each product; (M K + N K + M N) elements of memory. GELU behind it
 * reads M N and writes M N or 2 M N, the slope 3 M K, dbias M N.
 */
#include "trainer/kernels/kern_linear.h"

#include "trainer/kernels/kern_columns_cuda_priv.h"
#include "trainer/kernels/kern_gelu_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"
#include "trainer/kernels/kern_product_cuda_priv.h"

enum { THREADS = 256 };

static const struct kern_linear_epilogue NOTHING_BESIDES = {NULL, NULL, KERN_GELU_NONE, NULL};
static const struct kern_linear_bf16_epilogue NOTHING_BESIDES_BF16 = {NULL, NULL, KERN_GELU_NONE,
                                                                      NULL};

int64_t kern_linear_panel_elems_cuda(int64_t N, int64_t K)
{
    (void)N;
    (void)K;
    return 0;
}

void kern_linear_pack_cuda(const struct kern_linear *linear)
{
    (void)linear;
}

template <typename T> struct slope_args {
    T *dx;
    const T *slope;
    int64_t rows, width, ld;
    bool whole;
};

/* dx *= slope, a pack a thread. */
template <typename T>
static __global__ void __launch_bounds__(THREADS) slope_kernel(const struct slope_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.width + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t n = i / packs;
    const int64_t at = (int64_t)(i - n * packs) * P, row = n * a.ld;
    float dx[P], slope[P];

    if (n >= a.rows) {
        return;
    }
    kern_load_pack<P>(dx, a.dx + row, at, a.width, a.whole);
    kern_load_pack<P>(slope, a.slope + row, at, a.width, a.whole);
#pragma unroll
    for (int p = 0; p < P; p++) {
        dx[p] *= slope[p];
    }
    kern_store_pack<P>(a.dx + row, dx, at, a.width, a.whole);
}

template <typename T> static void multiply_slope(struct slope_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = a.rows * kern_blocks(a.width, P);

    assert(packs <= INT32_MAX);
    a.whole = kern_is_aligned(a.dx) && kern_is_aligned(a.slope) && a.ld % P == 0;
    KERN_LAUNCH((slope_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                device_cuda_current(), a);
}

/* Y = X W^T with what the product itself can do of the epilogue. */
static struct kern_product forward_product(enum kern_type type, void *y, int64_t ld_y,
                                           const void *x, int64_t ld_x, int64_t M, int64_t N,
                                           int64_t K)
{
    struct kern_product product = {};

    product.type = product.type_d = type;
    product.is_a_transposed = true;
    product.m = N;
    product.n = M;
    product.k = K;
    product.lda = K;
    product.b = x;
    product.ldb = ld_x;
    product.d = y;
    product.ldd = ld_y;
    return product;
}

void kern_linear_forward_cuda(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                              const struct kern_linear *linear,
                              const struct kern_linear_epilogue *epilogue)
{
    const struct kern_linear_epilogue *also = epilogue == NULL ? &NOTHING_BESIDES : epilogue;

    assert(also->gelu != KERN_GELU_NONE || also->slope == NULL);
    if (M == 0) {
        return;
    }
    struct kern_product product =
        forward_product(KERN_F32, y, ld_y, x, ld_x, M, linear->N, linear->K);
    product.a = linear->weight;
    product.bias = also->bias;
    product.c = also->residual;
    product.adds_c = also->residual != NULL;
    kern_product_run(&product);
    if (also->gelu != KERN_GELU_NONE) {
        kern_gelu_rows_f32(y, also->slope, M, linear->N, ld_y, also->gelu);
    }
}

void kern_linear_forward_bf16_cuda(uint16_t *y, int64_t ld_y, const uint16_t *x, int64_t ld_x,
                                   int64_t M, const struct kern_linear_bf16 *linear,
                                   const struct kern_linear_bf16_epilogue *epilogue)
{
    const struct kern_linear_bf16_epilogue *also =
        epilogue == NULL ? &NOTHING_BESIDES_BF16 : epilogue;

    assert(also->gelu != KERN_GELU_NONE || also->slope == NULL);
    if (M == 0) {
        return;
    }
    struct kern_product product =
        forward_product(KERN_BF16, y, ld_y, x, ld_x, M, linear->N, linear->K);
    product.a = linear->weight;
    product.bias = also->bias;
    product.c = also->residual;
    product.adds_c = also->residual != NULL;
    product.has_gelu = also->gelu == KERN_GELU_TANH && also->slope == NULL && also->bias != NULL;
    kern_product_run(&product);
    if (also->gelu != KERN_GELU_NONE && !product.has_gelu) {
        kern_gelu_rows_bf16(y, also->slope, M, linear->N, ld_y, also->gelu);
    }
}

static void backward_data_product(enum kern_type type, void *dx, int64_t ld_dx, const void *dy,
                                  int64_t ld_dy, int64_t M, int64_t N, int64_t K,
                                  const void *weight)
{
    struct kern_product product = {};

    product.type = product.type_d = type;
    product.m = K;
    product.n = M;
    product.k = N;
    product.a = weight;
    product.lda = K;
    product.b = dy;
    product.ldb = ld_dy;
    product.d = dx;
    product.ldd = ld_dx;
    kern_product_run(&product);
}

void kern_linear_backward_data_cuda(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy,
                                    int64_t M, const struct kern_linear *linear, const float *slope)
{
    if (M == 0) {
        return;
    }
    backward_data_product(KERN_F32, dx, ld_dx, dy, ld_dy, M, linear->N, linear->K, linear->weight);
    if (slope != NULL) {
        multiply_slope<float>({dx, slope, M, linear->K, ld_dx, false});
    }
}

void kern_linear_backward_data_bf16_cuda(uint16_t *dx, int64_t ld_dx, const uint16_t *dy,
                                         int64_t ld_dy, int64_t M,
                                         const struct kern_linear_bf16 *linear,
                                         const uint16_t *slope)
{
    if (M == 0) {
        return;
    }
    backward_data_product(KERN_BF16, dx, ld_dx, dy, ld_dy, M, linear->N, linear->K, linear->weight);
    if (slope != NULL) {
        multiply_slope<uint16_t>({dx, slope, M, linear->K, ld_dx, false});
    }
}

static void backward_weight_product(enum kern_type type, float *dweight, const void *dy,
                                    int64_t ld_dy, const void *x, int64_t ld_x, int64_t M,
                                    int64_t N, int64_t K, bool accumulate)
{
    struct kern_product product = {};

    product.type = type;
    product.type_d = KERN_F32;
    product.is_b_transposed = true;
    product.m = K;
    product.n = N;
    product.k = M;
    product.a = x;
    product.lda = ld_x;
    product.b = dy;
    product.ldb = ld_dy;
    product.c = product.d = dweight;
    product.ldd = K;
    product.adds_c = accumulate;
    kern_product_run(&product);
}

/* No rows: the sums are zero. */
static void clear(float *dweight, float *dbias, int64_t N, int64_t K)
{
    const cudaStream_t stream = device_cuda_current();

    cudaMemsetAsync(dweight, 0, (size_t)(N * K) * sizeof(float), stream);
    if (dbias != NULL) {
        cudaMemsetAsync(dbias, 0, (size_t)N * sizeof(float), stream);
    }
}

void kern_linear_backward_weight_cuda(float *dweight, float *dbias, const float *dy, int64_t ld_dy,
                                      const float *x, int64_t ld_x, int64_t M, int64_t N, int64_t K,
                                      bool accumulate)
{
    if (M == 0) {
        if (!accumulate) {
            clear(dweight, dbias, N, K);
        }
        return;
    }
    backward_weight_product(KERN_F32, dweight, dy, ld_dy, x, ld_x, M, N, K, accumulate);
    if (dbias != NULL) {
        kern_sum_columns_f32(dbias, dy, ld_dy, M, N, accumulate);
    }
}

void kern_linear_backward_weight_bf16_cuda(float *dweight, float *dbias, const uint16_t *dy,
                                           int64_t ld_dy, const uint16_t *x, int64_t ld_x,
                                           int64_t M, int64_t N, int64_t K, bool accumulate)
{
    if (M == 0) {
        if (!accumulate) {
            clear(dweight, dbias, N, K);
        }
        return;
    }
    backward_weight_product(KERN_BF16, dweight, dy, ld_dy, x, ld_x, M, N, K, accumulate);
    if (dbias != NULL) {
        kern_sum_columns_bf16(dbias, dy, ld_dy, M, N, accumulate);
    }
}
