/* Matrix products by cuBLASLt: the only file that knows it. */
#include "trainer/kernels/kern_product_cuda_priv.h"

#include <cublasLt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_gelu_cuda_priv.h"
#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    PLANS = 512, /* a power of 2; a model has some 10 shapes a pass */
    PLANS_MAX = PLANS / 2,
    THREADS = 256,
};

/* What an algorithm is chosen by; compared as bytes, so it is zeroed first. */
struct key {
    int64_t m, n, k, lda, ldb, ldd;
    int64_t batch, stride_a, stride_b, stride_d;
    int32_t type, type_d, is_a_transposed, is_b_transposed, epilogue, beta;
    uint32_t alignment_a, alignment_b, alignment_c, alignment_d; /* bytes */
};

struct plan {
    struct key key;
    bool is_there, has_algorithm;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
};

struct kern_products {
    cublasLtHandle_t handle;
    struct plan plans[PLANS];
    int count;
};

enum err kern_products_open(struct kern_products **products_out)
{
    struct kern_products *products = (struct kern_products *)calloc(1, sizeof(*products));

    if (products == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "plans of matrix products");
    }
    const cublasStatus_t status = cublasLtCreate(&products->handle);
    if (status != CUBLAS_STATUS_SUCCESS) {
        free(products);
        return ERR_FAIL(ERR_DEVICE, "cublasLtCreate: status %d", (int)status);
    }
    *products_out = products;
    return ERR_OK;
}

static void forget_plans(struct kern_products *products)
{
    for (int i = 0; i < PLANS; i++) {
        struct plan *plan = &products->plans[i];
        if (plan->desc != NULL) {
            cublasLtMatmulDescDestroy(plan->desc);
        }
        if (plan->a != NULL) {
            cublasLtMatrixLayoutDestroy(plan->a);
        }
        if (plan->b != NULL) {
            cublasLtMatrixLayoutDestroy(plan->b);
        }
        if (plan->d != NULL) {
            cublasLtMatrixLayoutDestroy(plan->d);
        }
        memset(plan, 0, sizeof(*plan));
    }
    products->count = 0;
}

void kern_products_close(struct kern_products *products)
{
    if (products == NULL) {
        return;
    }
    forget_plans(products);
    cublasLtDestroy(products->handle);
    free(products);
}

static char library_name[64];

static void make_name(void)
{
    const size_t version = cublasLtGetVersion(); /* 10000 major + 100 minor + patch */

    snprintf(library_name, sizeof(library_name), "cublasLt %zu.%zu.%zu", version / 10000,
             version / 100 % 100, version % 100);
}

const char *kern_cuda_matmul_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_name);
    return library_name;
}

/* 16, or the type's size: what lies in between changes no kernel. */
static uint32_t alignment_of(const void *p, enum kern_type type)
{
    return kern_is_aligned(p) ? 16 : type == KERN_F32 ? 4 : 2;
}

static struct key key_of(const struct kern_product *p)
{
    struct key key;

    memset(&key, 0, sizeof(key));
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.lda = p->lda;
    key.ldb = p->ldb;
    key.ldd = p->ldd;
    key.batch = p->batch > 1 ? p->batch : 1;
    key.stride_a = p->stride_a;
    key.stride_b = p->stride_b;
    key.stride_d = p->stride_d;
    key.type = p->type;
    key.type_d = p->type_d;
    key.is_a_transposed = p->is_a_transposed;
    key.is_b_transposed = p->is_b_transposed;
    key.epilogue = p->has_gelu       ? CUBLASLT_EPILOGUE_GELU_BIAS
                   : p->bias == NULL ? CUBLASLT_EPILOGUE_DEFAULT
                                     : CUBLASLT_EPILOGUE_BIAS;
    key.beta = p->adds_c;
    key.alignment_a = alignment_of(p->a, p->type);
    key.alignment_b = alignment_of(p->b, p->type);
    key.alignment_c = alignment_of(p->adds_c ? p->c : p->d, p->type_d);
    key.alignment_d = alignment_of(p->d, p->type_d);
    return key;
}

static cudaDataType_t data_type(int32_t type)
{
    return type == KERN_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

static bool has_set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                    const void *value, size_t bytes)
{
    return cublasLtMatmulDescSetAttribute(desc, attribute, value, bytes) == CUBLAS_STATUS_SUCCESS;
}

static bool has_batch(cublasLtMatrixLayout_t layout, int64_t batch, int64_t stride)
{
    const int32_t count = (int32_t)batch;

    return batch == 1 ||
           (cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                             sizeof(count)) == CUBLAS_STATUS_SUCCESS &&
            cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                             &stride, sizeof(stride)) == CUBLAS_STATUS_SUCCESS);
}

static bool describe(struct plan *plan)
{
    const struct key *key = &plan->key;
    const int32_t op_a = key->is_a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t op_b = key->is_b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint64_t m = (uint64_t)key->m, n = (uint64_t)key->n, k = (uint64_t)key->k;
    const bool t_a = key->is_a_transposed != 0, t_b = key->is_b_transposed != 0;
    const uint32_t epilogue = (uint32_t)key->epilogue;

    return cublasLtMatmulDescCreate(&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) ==
               CUBLAS_STATUS_SUCCESS &&
           has_set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof(op_a)) &&
           has_set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof(op_b)) &&
           has_set(plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)) &&
           cublasLtMatrixLayoutCreate(&plan->a, data_type(key->type), t_a ? k : m, t_a ? m : k,
                                      key->lda) == CUBLAS_STATUS_SUCCESS &&
           cublasLtMatrixLayoutCreate(&plan->b, data_type(key->type), t_b ? n : k, t_b ? k : n,
                                      key->ldb) == CUBLAS_STATUS_SUCCESS &&
           cublasLtMatrixLayoutCreate(&plan->d, data_type(key->type_d), m, n, key->ldd) ==
               CUBLAS_STATUS_SUCCESS &&
           has_batch(plan->a, key->batch, key->stride_a) &&
           has_batch(plan->b, key->batch, key->stride_b) &&
           has_batch(plan->d, key->batch, key->stride_d);
}

static bool prefers(cublasLtMatmulPreference_t preference,
                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes)
{
    return cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, bytes) ==
           CUBLAS_STATUS_SUCCESS;
}

/* The first that the library proposes: the fastest by its own estimate, and always the same. */
static bool choose(cublasLtHandle_t handle, struct plan *plan)
{
    const struct key *key = &plan->key;
    const size_t workspace_bytes = KERN_CUDA_SCRATCH_BYTES;
    /* Parts of a sum may be kept apart and added up by a second kernel, not in place. */
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;

    memset(&result, 0, sizeof(result));
    if (cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS) {
        return false;
    }
    const bool is_set = prefers(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                &workspace_bytes, sizeof(workspace_bytes)) &&
                        prefers(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                sizeof(reductions)) &&
                        prefers(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                &key->alignment_a, sizeof(key->alignment_a)) &&
                        prefers(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                &key->alignment_b, sizeof(key->alignment_b)) &&
                        prefers(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                &key->alignment_c, sizeof(key->alignment_c)) &&
                        prefers(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                                &key->alignment_d, sizeof(key->alignment_d));
    if (is_set &&
        cublasLtMatmulAlgoGetHeuristic(handle, plan->desc, plan->a, plan->b, plan->d, plan->d,
                                       preference, 1, &result, &found) != CUBLAS_STATUS_SUCCESS) {
        found = 0;
    }
    cublasLtMatmulPreferenceDestroy(preference);
    plan->algorithm = result.algo;
    return is_set && found == 1 && result.state == CUBLAS_STATUS_SUCCESS;
}

static struct plan *plan_of(struct kern_products *products, const struct kern_product *product)
{
    const struct key key = key_of(product);
    const unsigned char *bytes = (const unsigned char *)&key;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < sizeof(key); i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    if (products->count == PLANS_MAX) {
        forget_plans(products);
    }
    struct plan *plan = &products->plans[hash % PLANS];
    while (plan->is_there && memcmp(&plan->key, &key, sizeof(key)) != 0) {
        plan = plan + 1 < products->plans + PLANS ? plan + 1 : products->plans;
    }
    if (!plan->is_there) {
        plan->key = key;
        plan->is_there = true;
        products->count++;
        plan->has_algorithm = describe(plan) && choose(products->handle, plan);
    }
    return plan;
}

static bool run_by_library(const struct kern_product *p)
{
    struct kern_products *products = kern_cuda_products();
    struct plan *plan = plan_of(products, p);
    const float alpha = 1.0f, beta = p->adds_c ? 1.0f : 0.0f;

    if (!plan->has_algorithm ||
        (p->bias != NULL &&
         !has_set(plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof(p->bias)))) {
        return false;
    }
    return cublasLtMatmul(products->handle, plan->desc, &alpha, p->a, plan->a, p->b, plan->b, &beta,
                          p->adds_c ? p->c : p->d, plan->d, p->d, plan->d, &plan->algorithm,
                          kern_cuda_scratch(KERN_CUDA_SCRATCH_BYTES), KERN_CUDA_SCRATCH_BYTES,
                          device_cuda_current()) == CUBLAS_STATUS_SUCCESS;
}

/* An element of D a thread, for shapes that the library does not take; slow. */
template <typename T, typename D>
static __global__ void __launch_bounds__(THREADS) plain_kernel(const struct kern_product p)
{
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t column = at / p.m, row = at - column * p.m;
    const T *a = (const T *)p.a + blockIdx.y * p.stride_a + (p.is_a_transposed ? row * p.lda : row);
    const T *b =
        (const T *)p.b + blockIdx.y * p.stride_b + (p.is_b_transposed ? column : column * p.ldb);
    const int64_t step_a = p.is_a_transposed ? 1 : p.lda, step_b = p.is_b_transposed ? p.ldb : 1;
    const int64_t to = blockIdx.y * p.stride_d + column * p.ldd + row;
    float sum = 0;

    if (column >= p.n) {
        return;
    }
    for (int64_t i = 0; i < p.k; i++) {
        sum += kern_load(a + i * step_a) * kern_load(b + i * step_b);
    }
    sum += p.adds_c ? kern_load((const D *)p.c + to) : 0.0f;
    sum += p.bias != NULL ? kern_load((const D *)p.bias + row) : 0.0f;
    if (p.has_gelu) {
        sum = kern_gelu_both(sum, KERN_GELU_TANH).y;
    }
    kern_store((D *)p.d + to, sum);
}

void kern_product_run(const struct kern_product *product)
{
    const dim3 grid((unsigned)kern_blocks(product->m * product->n, THREADS),
                    (unsigned)(product->batch > 1 ? product->batch : 1));
    const cudaStream_t stream = device_cuda_current();

    if (run_by_library(product)) {
        return;
    }
    if (product->type == KERN_F32) {
        KERN_LAUNCH((plain_kernel<float, float>), grid, THREADS, 0, stream, *product);
    } else if (product->type_d == KERN_F32) {
        KERN_LAUNCH((plain_kernel<uint16_t, float>), grid, THREADS, 0, stream, *product);
    } else {
        KERN_LAUNCH((plain_kernel<uint16_t, uint16_t>), grid, THREADS, 0, stream, *product);
    }
}
