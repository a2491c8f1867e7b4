/* The stand-in of cuBLASLt, against sums in double. */
#define _GNU_SOURCE
#include <cublasLt.h>
#include <math.h>
#include <stdbool.h>

#include "tests/cudasim/cudasim.h"
#include "tests/cudasim/sim_expect.h"
#include "tests/support/test_suite.h"

#define LT_OK(call) ck_assert_str_eq(cublasLtGetStatusName(call), "CUBLAS_STATUS_SUCCESS")
#define LT_FAILS(status, call) ck_assert_str_eq(cublasLtGetStatusName(call), #status)
#define ELEMS_MAX 20000

static cublasLtHandle_t handle;
static cudaStream_t stream;

struct problem {
    int m, n, k;
    bool is_a_transposed, is_b_transposed, is_bf16, is_d_f32;
    int batch_count;
    int padding; /* of leading dimensions */
    float alpha, beta;
    uint32_t epilogue;
};

struct matrix {
    cublasLtMatrixLayout_t layout;
    int rows, cols, ld, stride;
    bool is_bf16;
    float values[ELEMS_MAX]; /* as they are on the device */
    void *device;
};

static uint32_t seed;

static float next_value(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1 << 23) - 1.0f;
}

static size_t element_bytes(const struct matrix *matrix)
{
    return matrix->is_bf16 ? 2 : 4;
}

static void to_device(struct matrix *matrix)
{
    static unsigned short bits[ELEMS_MAX];

    for (int i = 0; i < ELEMS_MAX; i++) {
        bits[i] = cudasim_bf16_of_float(matrix->values[i]);
        if (matrix->is_bf16) {
            matrix->values[i] = cudasim_float_of_bf16(bits[i]);
        }
    }
    CUDA_OK(cudaMemcpy(matrix->device, matrix->is_bf16 ? (void *)bits : matrix->values,
                       ELEMS_MAX * element_bytes(matrix), cudaMemcpyHostToDevice));
}

static void from_device(const struct matrix *matrix, float *values)
{
    static unsigned short bits[ELEMS_MAX];

    CUDA_OK(cudaMemcpy(matrix->is_bf16 ? (void *)bits : values, matrix->device,
                       ELEMS_MAX * element_bytes(matrix), cudaMemcpyDeviceToHost));
    for (int i = 0; i < ELEMS_MAX && matrix->is_bf16; i++) {
        values[i] = cudasim_float_of_bf16(bits[i]);
    }
}

static void make(struct matrix *matrix, int rows, int cols, bool is_bf16,
                 const struct problem *problem)
{
    matrix->rows = rows;
    matrix->cols = cols;
    matrix->ld = rows + problem->padding;
    matrix->stride = matrix->ld * cols + 8;
    matrix->is_bf16 = is_bf16;
    ck_assert_int_le(matrix->stride * problem->batch_count, ELEMS_MAX);
    for (int i = 0; i < ELEMS_MAX; i++) {
        matrix->values[i] = next_value();
    }
    CUDA_OK(cudaMalloc(&matrix->device, ELEMS_MAX * element_bytes(matrix)));
    to_device(matrix);
    const int64_t stride = matrix->stride;
    LT_OK(cublasLtMatrixLayoutCreate(&matrix->layout, is_bf16 ? CUDA_R_16BF : CUDA_R_32F,
                                     (uint64_t)rows, (uint64_t)cols, matrix->ld));
    LT_OK(cublasLtMatrixLayoutSetAttribute(matrix->layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                           &problem->batch_count, sizeof problem->batch_count));
    LT_OK(cublasLtMatrixLayoutSetAttribute(
        matrix->layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride));
}

static void unmake(struct matrix *matrix)
{
    CUDA_OK(cudaFree(matrix->device));
    LT_OK(cublasLtMatrixLayoutDestroy(matrix->layout));
}

static double at(const struct matrix *matrix, int batch, int row, int col)
{
    return (double)matrix->values[batch * matrix->stride + col * matrix->ld + row];
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attr, const void *value,
                size_t bytes)
{
    LT_OK(cublasLtMatmulDescSetAttribute(desc, attr, value, bytes));
}

static struct matrix a, b, c, bias, aux;

static cublasLtMatmulDesc_t describe(const struct problem *p)
{
    const int32_t op_a = p->is_a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t op_b = p->is_b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int64_t aux_ld = aux.ld;
    const int64_t aux_stride = aux.stride;
    const int64_t bias_stride = bias.stride;
    cublasLtMatmulDesc_t desc;

    LT_OK(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a);
    set(desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b);
    set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &p->epilogue, sizeof p->epilogue);
    set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.device, sizeof bias.device);
    set(desc, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &bias_stride, sizeof bias_stride);
    set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux.device, sizeof aux.device);
    set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &aux_ld, sizeof aux_ld);
    set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, &aux_stride, sizeof aux_stride);
    return desc;
}

static void open_problem(const struct problem *p)
{
    const bool is_d_bf16 = p->is_bf16 && !p->is_d_f32;
    struct problem padded = *p;

    seed = (uint32_t)(p->m + 31 * p->n);
    LT_OK(cublasLtCreate(&handle));
    CUDA_OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    make(&a, p->is_a_transposed ? p->k : p->m, p->is_a_transposed ? p->m : p->k, p->is_bf16, p);
    make(&b, p->is_b_transposed ? p->n : p->k, p->is_b_transposed ? p->k : p->n, p->is_bf16, p);
    make(&c, p->m, p->n, is_d_bf16, p);
    padded.padding = 8 - p->m % 8;
    make(&aux, p->m, p->n, is_d_bf16, &padded);
    aux.stride = (aux.stride + 7) / 8 * 8;
    make(&bias, p->m > p->n ? p->m : p->n, 1, is_d_bf16, p);
}

static void close_problem(void)
{
    unmake(&a);
    unmake(&b);
    unmake(&c);
    unmake(&aux);
    unmake(&bias);
    CUDA_OK(cudaStreamDestroy(stream));
    LT_OK(cublasLtDestroy(handle));
}

static void close_to(const char *what, double expected, float found, bool is_bf16)
{
    const double tolerance = (is_bf16 ? 1.0 / 128 : 1e-5) * fmax(1.0, fabs(expected));
    ck_assert_msg(fabs(expected - (double)found) <= tolerance, "%s: %g, expected %g", what,
                  (double)found, expected);
}

static double op_a(const struct problem *p, int batch, int row, int l)
{
    return p->is_a_transposed ? at(&a, batch, l, row) : at(&a, batch, row, l);
}

static double op_b(const struct problem *p, int batch, int l, int col)
{
    return p->is_b_transposed ? at(&b, batch, col, l) : at(&b, batch, l, col);
}

/* What D holds, and what the epilogue left in aux, against the definition. */
static void check_element(const struct problem *p, const float *d, const float *left, int batch,
                          int row, int col)
{
    const double h = 1e-4;
    double sum = 0.0;

    for (int l = 0; l < p->k; l++) {
        sum += op_a(p, batch, row, l) * op_b(p, batch, l, col);
    }
    double x = (double)p->alpha * sum + (double)p->beta * at(&c, batch, row, col);
    if ((p->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) {
        x += (double)bias.values[batch * bias.stride + row];
    }
    if ((p->epilogue & CUBLASLT_EPILOGUE_GELU) != 0 && (p->epilogue & 128) != 0) {
        close_to("aux", x, left[batch * aux.stride + col * aux.ld + row], aux.is_bf16);
    }
    if ((p->epilogue & 64) != 0) {
        const double y = at(&aux, batch, row, col);
        x *= (gelu(y + h) - gelu(y - h)) / (2 * h);
    }
    x = (p->epilogue & CUBLASLT_EPILOGUE_GELU) != 0 ? gelu(x) : x;
    close_to("d", x, d[batch * c.stride + col * c.ld + row], c.is_bf16);
}

static void check_bias_gradient(const struct problem *p, const float *d, const float *gradient,
                                int batch)
{
    const bool is_of_b = p->epilogue == CUBLASLT_EPILOGUE_BGRADB;
    const bool is_of_d = p->epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD;

    for (int i = 0; i < (is_of_b ? p->n : p->m); i++) {
        double sum = 0.0;
        for (int l = 0; l < (is_of_d ? p->n : p->k); l++) {
            sum += is_of_d   ? (double)d[batch * c.stride + l * c.ld + i]
                   : is_of_b ? op_b(p, batch, l, i)
                             : op_a(p, batch, i, l);
        }
        close_to("bias gradient", sum, gradient[batch * bias.stride + i], bias.is_bf16);
    }
}

static const struct problem problems[] = {
    {1, 1, 1, false, false, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_DEFAULT},
    {17, 33, 65, false, false, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_DEFAULT},
    {17, 33, 65, true, false, false, false, 1, 3, 2, -0.5f, CUBLASLT_EPILOGUE_DEFAULT},
    {17, 33, 65, false, true, false, false, 1, 1, 1, 1, CUBLASLT_EPILOGUE_DEFAULT},
    {17, 33, 65, true, true, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_BIAS},
    {17, 30, 20, true, false, false, false, 4, 5, 1, 0, CUBLASLT_EPILOGUE_BIAS},
    {24, 31, 40, true, false, true, false, 2, 0, 1, 0, CUBLASLT_EPILOGUE_BIAS},
    {24, 31, 40, false, false, true, true, 2, 0, 1, 1, CUBLASLT_EPILOGUE_DEFAULT},
    {24, 31, 40, true, false, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_GELU_BIAS},
    {24, 31, 40, true, false, false, false, 3, 0, 1, 0, CUBLASLT_EPILOGUE_GELU_AUX_BIAS},
    {24, 31, 40, true, false, true, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_GELU_AUX_BIAS},
    {24, 31, 40, false, false, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_DGELU},
    {24, 31, 40, false, false, false, false, 2, 0, 1, 0, CUBLASLT_EPILOGUE_DGELU_BGRAD},
    {24, 31, 40, false, true, false, false, 2, 0, 1, 0, CUBLASLT_EPILOGUE_BGRADA},
    {24, 31, 40, false, true, false, false, 1, 0, 1, 0, CUBLASLT_EPILOGUE_BGRADB},
};

START_TEST(matmul__is_what_its_description_says)
{
    static float d[ELEMS_MAX];
    static float left[ELEMS_MAX];
    static float gradient[ELEMS_MAX];
    const struct problem *p = &problems[_i];

    open_problem(p);
    cublasLtMatmulDesc_t desc = describe(p);
    LT_OK(cublasLtMatmul(handle, desc, &p->alpha, a.device, a.layout, b.device, b.layout, &p->beta,
                         c.device, c.layout, c.device, c.layout, NULL, NULL, 0, stream));
    CUDA_OK(cudaStreamSynchronize(stream));
    from_device(&c, d);
    from_device(&aux, left);
    from_device(&bias, gradient);
    for (int batch = 0; batch < p->batch_count; batch++) {
        for (int row = 0; row < p->m; row++) {
            for (int col = 0; col < p->n; col++) {
                check_element(p, d, left, batch, row, col);
            }
        }
        if ((p->epilogue & (16 | 256 | 512)) != 0) {
            check_bias_gradient(p, d, gradient, batch);
        }
    }
    LT_OK(cublasLtMatmulDescDestroy(desc));
    close_problem();
}
END_TEST

static const struct problem plain = {.m = 8, .n = 8, .k = 8, .batch_count = 1};

static cublasStatus_t ask(cublasLtMatmulDesc_t desc, cublasLtMatmulHeuristicResult_t *proposal)
{
    const size_t workspace_bytes = 4096;
    cublasLtMatmulPreference_t preference;
    int found;

    LT_OK(cublasLtMatmulPreferenceCreate(&preference));
    LT_OK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &workspace_bytes, sizeof workspace_bytes));
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle, desc, a.layout, b.layout, c.layout, c.layout, preference, 1, proposal, &found);
    ck_assert_int_eq(found, status == CUBLAS_STATUS_SUCCESS);
    LT_OK(cublasLtMatmulPreferenceDestroy(preference));
    return status;
}

static const struct matrix *result = &c;

static cublasStatus_t run(cublasLtMatmulDesc_t desc, const cublasLtMatmulAlgo_t *algo,
                          void *workspace, size_t workspace_bytes, cudaStream_t where)
{
    const float one = 1.0f;
    const float zero = 0.0f;

    return cublasLtMatmul(handle, desc, &one, a.device, a.layout, b.device, b.layout, &zero,
                          result->device, result->layout, result->device, result->layout, algo,
                          workspace, workspace_bytes, where);
}

START_TEST(algorithm__is_for_the_problem_it_was_asked_for)
{
    struct problem p = plain;
    cublasLtMatmulHeuristicResult_t proposal;
    const int32_t op = CUBLAS_OP_T;
    void *workspace;

    p.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    open_problem(&p);
    CUDA_OK(cudaMalloc(&workspace, 4096));
    cublasLtMatmulDesc_t desc = describe(&p);
    LT_OK(ask(desc, &proposal));
    LT_OK(run(desc, &proposal.algo, workspace, 4096, stream));
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, &proposal.algo, workspace, 8, stream));
    set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &op, sizeof op);
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, &proposal.algo, workspace, 4096, stream));
    setenv("CUDASIM_CUBLASLT", "none", 1);
    LT_FAILS(CUBLAS_STATUS_NOT_SUPPORTED, ask(desc, &proposal));
    CUDA_OK(cudaStreamSynchronize(stream));
    CUDA_OK(cudaFree(workspace));
    LT_OK(cublasLtMatmulDescDestroy(desc));
    close_problem();
}
END_TEST

START_TEST(matmul__refuses_what_does_not_fit)
{
    struct problem p = plain;
    const int64_t short_ld = 4;
    const void *none = NULL;

    p.epilogue = CUBLASLT_EPILOGUE_BIAS;
    p.k = 9;
    open_problem(&p);
    cublasLtMatmulDesc_t desc = describe(&p);
    const uint64_t few = 8;
    const uint64_t enough = 9;
    const int32_t op = CUBLAS_OP_T;
    LT_OK(
        cublasLtMatrixLayoutSetAttribute(b.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &few, sizeof few));
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, NULL, NULL, 0, stream)); /* 8 x 9 by 8 x 8 */
    LT_OK(cublasLtMatrixLayoutSetAttribute(b.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &enough,
                                           sizeof enough));
    LT_OK(run(desc, NULL, NULL, 0, stream));
    set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &op, sizeof op); /* 9 x 8 by 9 x 8 */
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, NULL, NULL, 0, stream));
    LT_OK(cublasLtMatmulDescDestroy(desc));
    desc = describe(&p);
    set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &none, sizeof none);
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, NULL, NULL, 0, stream));
    LT_OK(cublasLtMatmulDescDestroy(desc));
    desc = describe(&p);
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE,
             cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &op, 1));
    LT_OK(cublasLtMatrixLayoutSetAttribute(a.layout, CUBLASLT_MATRIX_LAYOUT_LD, &short_ld,
                                           sizeof short_ld));
    LT_FAILS(CUBLAS_STATUS_INVALID_VALUE, run(desc, NULL, NULL, 0, stream));
    LT_OK(cublasLtMatmulDescDestroy(desc));
    close_problem();
}
END_TEST

static void share_workspace(const void *unused)
{
    struct problem p = plain;
    void *workspace;
    cudaStream_t other;

    (void)unused;
    p.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    open_problem(&p);
    CUDA_OK(cudaMalloc(&workspace, 4096));
    CUDA_OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    cublasLtMatmulDesc_t desc = describe(&p);
    (void)run(desc, NULL, workspace, 4096, stream);
    result = &aux;
    (void)run(desc, NULL, workspace, 4096, other);
    cudaDeviceSynchronize();
}

static void read_beyond(const void *unused)
{
    struct problem p = plain;
    const int64_t long_ld = 4096;

    (void)unused;
    p.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    open_problem(&p);
    cublasLtMatmulDesc_t desc = describe(&p);
    cublasLtMatrixLayoutSetAttribute(b.layout, CUBLASLT_MATRIX_LAYOUT_LD, &long_ld, sizeof long_ld);
    (void)run(desc, NULL, NULL, 0, stream);
    cudaDeviceSynchronize();
}

static void leave_handle(const void *unused)
{
    (void)unused;
    LT_OK(cublasLtCreate(&handle));
}

START_TEST(mistake__is_named)
{
    sim_expect_report(share_workspace, NULL, "race: cublasLtMatmul writes byte 0 of the 4096 bytes",
                      "cublasLtMatmul writes it, and no event or wait orders the two");
    sim_expect_report(read_beyond, NULL, "out of bounds: cublasLtMatmul reads", "behind the end");
    sim_expect_exit(leave_handle, NULL, 70, "a cuBLASLt handle, made at test_sim_blaslt.c:");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("sim_blaslt");
    TCase *tcase = tcase_create("all");

    tcase_add_loop_test(tcase, matmul__is_what_its_description_says, 0,
                        sizeof problems / sizeof problems[0]);
    tcase_add_test(tcase, algorithm__is_for_the_problem_it_was_asked_for);
    tcase_add_test(tcase, matmul__refuses_what_does_not_fit);
    tcase_add_test(tcase, mistake__is_named);
    suite_add_tcase(suite, tcase);
    return suite;
}
