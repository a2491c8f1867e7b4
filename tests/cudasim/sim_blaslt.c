/*
 * tests/cudasim/sim_blaslt.c - cuBLASLt's descriptions: what is asked for, and whether it can be
 * had. The product itself is in sim_blaslt_matmul.c.
 *
 * Stricter than the library: an algorithm is good for the problem that the heuristic was asked
 * about and for no other.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim_blaslt_priv.h"

#define ALGO_MAGIC 0x616c676fu
/* What the heuristic's algorithm wants, where so much is allowed. */
#define SCRATCH_BYTES 1024

struct cublasLtContext {
    bool is_open;
    struct cublasLtContext *next;
    struct sim_place place;
};

struct preference {
    uint64_t workspace_bytes_max;
    uint32_t reduction_mask;
    uint32_t alignment[4]; /* of A, B, C, D */
};

struct algo {
    uint64_t magic;
    uint64_t problem; /* a hash */
    uint64_t workspace_bytes;
    uint32_t alignment[4];
};

static_assert(sizeof(struct blaslt_layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "fits");
static_assert(sizeof(struct blaslt_desc) <= sizeof(cublasLtMatmulDescOpaque_t), "fits");
static_assert(sizeof(struct preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "fits");
static_assert(sizeof(struct algo) <= sizeof(cublasLtMatmulAlgo_t), "fits");

static struct cublasLtContext *contexts;
static int description_count; /* of layouts, operations, preferences that were created */

static void leaks(void)
{
    for (const struct cublasLtContext *context = contexts; context != NULL;
         context = context->next) {
        if (context->is_open) {
            sim_leak(&context->place, "a cuBLASLt handle");
        }
    }
    if (description_count > 0) {
        const struct sim_place nowhere = {.depth = 0};
        sim_leak(&nowhere, "%d cuBLASLt layouts, operations or preferences", description_count);
    }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    if (sim_start() != cudaSuccess) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    struct cublasLtContext *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    sim_place_here(&made->place);
    made->is_open = true;
    pthread_mutex_lock(&sim_lock);
    made->next = contexts;
    contexts = made;
    pthread_mutex_unlock(&sim_lock);
    sim_on_exit(leaks);
    *handle = made;
    return CUBLAS_STATUS_SUCCESS;
}

static bool is_open(cublasLtHandle_t handle)
{
    return handle != NULL && handle->is_open;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    if (!is_open(handle)) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    handle->is_open = false;
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

#define STATUSES(X)                                                                                \
    X(CUBLAS_STATUS_SUCCESS, "the operation completed successfully")                               \
    X(CUBLAS_STATUS_NOT_INITIALIZED, "the library was not initialized")                            \
    X(CUBLAS_STATUS_ALLOC_FAILED, "the resource allocation failed")                                \
    X(CUBLAS_STATUS_INVALID_VALUE, "an unsupported value or parameter was passed to the function") \
    X(CUBLAS_STATUS_EXECUTION_FAILED, "the function failed to launch on the GPU")                  \
    X(CUBLAS_STATUS_INTERNAL_ERROR, "an internal operation failed")                                \
    X(CUBLAS_STATUS_NOT_SUPPORTED, "the functionality requested is not supported")

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    switch (status) {
#define NAME(code, text)                                                                           \
    case code: return #code;
        STATUSES(NAME)
    default: return "unrecognized status";
    }
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
#define TEXT(code, text)                                                                           \
    case code: return text;
        STATUSES(TEXT)
    default: return "unrecognized status";
    }
}

/* ---- descriptions ---- */

static void *create(size_t bytes)
{
    void *made = calloc(1, bytes);

    if (made == NULL) {
        cudasim_report("no memory for a description of cuBLASLt");
    }
    __atomic_fetch_add(&description_count, 1, __ATOMIC_RELAXED);
    return made;
}

static cublasStatus_t destroy(void *description)
{
    if (description != NULL) {
        __atomic_fetch_sub(&description_count, 1, __ATOMIC_RELAXED);
        free(description);
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* Copies an attribute; the size must be that of the member. */
#define SET(member)                                                                                \
    (bytes == sizeof(member) ? (memcpy(&(member), value, bytes), CUBLAS_STATUS_SUCCESS)            \
                             : CUBLAS_STATUS_INVALID_VALUE)

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType type,
                                        uint64_t rows, uint64_t cols, int64_t ld)
{
    const struct blaslt_layout made = {
        .type = type, .rows = rows, .cols = cols, .ld = ld, .batch_count = 1};

    memset(layout, 0, sizeof *layout);
    memcpy(layout, &made, sizeof made);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *layout = create(sizeof **layout);
    return cublasLtMatrixLayoutInit(*layout, type, rows, cols, ld);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return destroy(layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attr,
                                                const void *value, size_t bytes)
{
    struct blaslt_layout *made = (struct blaslt_layout *)(void *)layout;

    switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return SET(made->type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return SET(made->order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return SET(made->rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return SET(made->cols);
    case CUBLASLT_MATRIX_LAYOUT_LD: return SET(made->ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return SET(made->batch_count);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return SET(made->batch_stride);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t desc, cublasComputeType_t compute,
                                      cudaDataType scale)
{
    const struct blaslt_desc made = {
        .compute = (int32_t)compute,
        .scale = (int32_t)scale,
        .epilogue = CUBLASLT_EPILOGUE_DEFAULT,
        .aux_type = -1,
        .bias_type = -1,
    };

    memset(desc, 0, sizeof *desc);
    memcpy(desc, &made, sizeof made);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType scale)
{
    *desc = create(sizeof **desc);
    return cublasLtMatmulDescInit(*desc, compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    return destroy(desc);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attr,
                                              const void *value, size_t bytes)
{
    struct blaslt_desc *made = (struct blaslt_desc *)(void *)desc;

    switch (attr) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return SET(made->compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return SET(made->scale);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return SET(made->pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA: return SET(made->trans_a);
    case CUBLASLT_MATMUL_DESC_TRANSB: return SET(made->trans_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return SET(made->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return SET(made->bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE: return SET(made->bias_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER: return SET(made->aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD: return SET(made->aux_ld);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE: return SET(made->aux_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE: return SET(made->aux_type);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return SET(made->bias_type);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference)
{
    const struct preference made = {.reduction_mask = CUBLASLT_REDUCTION_SCHEME_MASK,
                                    .alignment = {256, 256, 256, 256}};

    memset(preference, 0, sizeof *preference);
    memcpy(preference, &made, sizeof made);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = create(sizeof **preference);
    return cublasLtMatmulPreferenceInit(*preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    return destroy(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *value, size_t bytes)
{
    struct preference *made = (struct preference *)(void *)preference;

    switch (attr) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE: return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return SET(made->workspace_bytes_max);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return SET(made->reduction_mask);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return SET(made->alignment[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return SET(made->alignment[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return SET(made->alignment[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return SET(made->alignment[3]);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

/* ---- what can be had ---- */

static bool is_layout_valid(const struct blaslt_layout *layout, int32_t batch_count)
{
    const uint64_t least = layout->order == CUBLASLT_ORDER_ROW ? layout->cols : layout->rows;

    return layout->rows > 0 && layout->cols > 0 && layout->ld >= (int64_t)least &&
           layout->order >= CUBLASLT_ORDER_COL && layout->order <= CUBLASLT_ORDER_ROW &&
           layout->batch_count == batch_count;
}

/* The sizes fit together, and the descriptions are complete. */
static cublasStatus_t check_shapes(const struct blaslt_product *p)
{
    const int64_t b_rows = (int64_t)(p->desc.trans_b != CUBLAS_OP_N ? p->b.cols : p->b.rows);
    const int32_t batch_count = p->d.batch_count;
    const bool has_aux = (p->desc.epilogue & 128) != 0;

    if (!is_layout_valid(&p->a, batch_count) || !is_layout_valid(&p->b, batch_count) ||
        !is_layout_valid(&p->c, batch_count) || !is_layout_valid(&p->d, batch_count) ||
        batch_count < 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (b_rows != p->k || (int64_t)p->d.rows != p->m || (int64_t)p->d.cols != p->n ||
        p->c.rows != p->d.rows || p->c.cols != p->d.cols) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (has_aux &&
        (p->desc.aux_ld % 8 != 0 || p->desc.aux_ld < p->m || p->desc.aux_stride % 8 != 0)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static bool is_epilogue_known(uint32_t epilogue)
{
    static const uint32_t known[] = {
        CUBLASLT_EPILOGUE_DEFAULT,      CUBLASLT_EPILOGUE_BIAS,   CUBLASLT_EPILOGUE_GELU,
        CUBLASLT_EPILOGUE_GELU_AUX,     CUBLASLT_EPILOGUE_DGELU,  CUBLASLT_EPILOGUE_GELU_BIAS,
        CUBLASLT_EPILOGUE_BGRADA,       CUBLASLT_EPILOGUE_BGRADB, CUBLASLT_EPILOGUE_DGELU_BGRAD,
        CUBLASLT_EPILOGUE_GELU_AUX_BIAS};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i] == epilogue) {
            return true;
        }
    }
    return false;
}

static cublasStatus_t check_types(const struct blaslt_product *p)
{
    const bool is_f32 = p->a.type == CUDA_R_32F && p->d.type == CUDA_R_32F;
    const bool is_bf16 =
        p->a.type == CUDA_R_16BF && (p->d.type == CUDA_R_16BF || p->d.type == CUDA_R_32F);
    const bool is_compute_known = p->desc.compute == CUBLAS_COMPUTE_32F ||
                                  p->desc.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
                                  p->desc.compute == CUBLAS_COMPUTE_32F_FAST_16BF ||
                                  p->desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32;

    if (!(is_f32 || is_bf16) || p->b.type != p->a.type || p->c.type != p->d.type ||
        !is_compute_known || p->desc.scale != CUDA_R_32F || !is_epilogue_known(p->desc.epilogue) ||
        (p->desc.bias_type != -1 && p->desc.bias_type != (int32_t)p->d.type) ||
        (p->desc.aux_type != -1 && p->desc.aux_type != (int32_t)p->d.type)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static struct blaslt_product describe(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                      cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                      cublasLtMatrixLayout_t d)
{
    struct blaslt_product p;

    memset(&p, 0, sizeof p);
    memcpy(&p.desc, desc, sizeof p.desc);
    memcpy(&p.a, a, sizeof p.a);
    memcpy(&p.b, b, sizeof p.b);
    memcpy(&p.c, c, sizeof p.c);
    memcpy(&p.d, d, sizeof p.d);
    p.m = (int64_t)(p.desc.trans_a != CUBLAS_OP_N ? p.a.cols : p.a.rows);
    p.k = (int64_t)(p.desc.trans_a != CUBLAS_OP_N ? p.a.rows : p.a.cols);
    p.n = (int64_t)(p.desc.trans_b != CUBLAS_OP_N ? p.b.rows : p.b.cols);
    return p;
}

static cublasStatus_t check(const struct blaslt_product *p)
{
    const cublasStatus_t status = check_shapes(p);
    return status != CUBLAS_STATUS_SUCCESS ? status : check_types(p);
}

/* FNV-1a over what an algorithm is chosen by: all but addresses and factors. */
static uint64_t problem_of(const struct blaslt_product *p)
{
    struct blaslt_product problem = *p;
    uint64_t hash = 14695981039346656037u;

    problem.desc.bias = NULL;
    problem.desc.aux = NULL;
    const int64_t words[] = {problem.desc.compute,
                             problem.desc.trans_a,
                             problem.desc.trans_b,
                             problem.desc.epilogue,
                             problem.m,
                             problem.n,
                             problem.k,
                             problem.a.type,
                             problem.d.type,
                             problem.a.ld,
                             problem.b.ld,
                             problem.c.ld,
                             problem.d.ld,
                             problem.d.batch_count,
                             problem.a.order,
                             problem.b.order,
                             problem.d.order};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        hash = (hash ^ (uint64_t)words[i]) * 1099511628211u;
    }
    return hash;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    const struct preference *wish = (const struct preference *)(const void *)preference;

    *found = 0;
    if (!is_open(handle) || requested < 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const struct blaslt_product p = describe(desc, a, b, c, d);
    const cublasStatus_t status = check(&p);
    if (status != CUBLAS_STATUS_SUCCESS) {
        if (strcmp(sim_setting("CUDASIM_CUBLASLT", "all"), "must") == 0) {
            cudasim_report("cublasLtMatmulAlgoGetHeuristic() knows no way: %s",
                           cublasLtGetStatusString(status));
        }
        return status;
    }
    if (strcmp(sim_setting("CUDASIM_CUBLASLT", "all"), "none") == 0) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    struct algo algo = {
        .magic = ALGO_MAGIC,
        .problem = problem_of(&p),
        .workspace_bytes = wish->workspace_bytes_max >= SCRATCH_BYTES ? SCRATCH_BYTES : 0,
    };
    for (int i = 0; i < 4; i++) {
        algo.alignment[i] = wish->alignment[i] < 16 ? wish->alignment[i] : 16;
    }
    memset(&results[0], 0, sizeof results[0]);
    memcpy(&results[0].algo, &algo, sizeof algo);
    results[0].workspaceSize = algo.workspace_bytes;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    results[0].wavesCount = 1.0f;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the call ---- */

static bool is_aligned(const void *memory, uint32_t alignment)
{
    return alignment == 0 || (uintptr_t)memory % alignment == 0;
}

static cublasStatus_t check_algo(const cublasLtMatmulAlgo_t *given, const struct blaslt_product *p)
{
    struct algo algo;

    if (given == NULL) {
        return CUBLAS_STATUS_SUCCESS;
    }
    memcpy(&algo, given, sizeof algo);
    if (algo.magic != ALGO_MAGIC || algo.problem != problem_of(p) ||
        algo.workspace_bytes > p->workspace_bytes || !is_aligned(p->from_a, algo.alignment[0]) ||
        !is_aligned(p->from_b, algo.alignment[1]) || !is_aligned(p->from_c, algo.alignment[2]) ||
        !is_aligned(p->to_d, algo.alignment[3])) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_pointers(const struct blaslt_product *p)
{
    const bool wants_bias = (p->desc.epilogue & (4 | 16 | 256 | 512)) != 0;
    const bool wants_aux = (p->desc.epilogue & 128) != 0;

    if (p->from_a == NULL || p->from_b == NULL || p->to_d == NULL ||
        (wants_bias && p->desc.bias == NULL) || (wants_aux && p->desc.aux == NULL) ||
        (p->from_c == NULL && (p->device_beta != NULL || p->beta != 0.0f)) ||
        (p->workspace_bytes > 0 && p->workspace == NULL) || (uintptr_t)p->workspace % 16 != 0) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (p->from_c == p->to_d && (p->c.ld != p->d.ld || p->c.order != p->d.order)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    if (!is_open(handle)) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    if (alpha == NULL || beta == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    struct blaslt_product p = describe(desc, a_layout, b_layout, c_layout, d_layout);
    p.from_a = a;
    p.from_b = b;
    p.from_c = c;
    p.to_d = d;
    p.workspace = workspace;
    p.workspace_bytes = workspace_bytes;
    if (p.desc.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE) {
        p.device_alpha = alpha;
        p.device_beta = beta;
    } else {
        memcpy(&p.alpha, alpha, sizeof p.alpha);
        memcpy(&p.beta, beta, sizeof p.beta);
    }
    cublasStatus_t status = check(&p);
    status = status != CUBLAS_STATUS_SUCCESS ? status : check_pointers(&p);
    status = status != CUBLAS_STATUS_SUCCESS ? status : check_algo(algo, &p);
    if (status != CUBLAS_STATUS_SUCCESS) {
        return status;
    }
    return cudasim_enqueue(stream, &blaslt_work, "cublasLtMatmul", &p, sizeof p) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
