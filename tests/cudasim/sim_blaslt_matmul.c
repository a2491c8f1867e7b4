/*
 * tests/cudasim/sim_blaslt_matmul.c - cuBLASLt's products and epilogues, by plain loops.
 *
 * Every element is a sum over k that runs upwards, in fp32: it depends on its own row and column
 * alone. A library on a GPU has orders of its own; tests compare with tolerances.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim_blaslt_priv.h"

static size_t type_bytes(cudaDataType type)
{
    return type == CUDA_R_16BF ? sizeof(uint16_t) : sizeof(float);
}

static float load(const void *elements, cudaDataType type, int64_t i)
{
    return type == CUDA_R_16BF ? cudasim_float_of_bf16(((const unsigned short *)elements)[i])
                               : ((const float *)elements)[i];
}

static void store(void *elements, cudaDataType type, int64_t i, float value)
{
    if (type == CUDA_R_16BF) {
        ((unsigned short *)elements)[i] = cudasim_bf16_of_float(value);
    } else {
        ((float *)elements)[i] = value;
    }
}

static int64_t place_of(const struct blaslt_layout *layout, int64_t row, int64_t column)
{
    return layout->order == CUBLASLT_ORDER_ROW ? row * layout->ld + column
                                               : column * layout->ld + row;
}

static const char *matrix_of(const void *memory, const struct blaslt_layout *layout, int64_t batch)
{
    return (const char *)memory + batch * layout->batch_stride * (int64_t)type_bytes(layout->type);
}

/* Says that a matrix is read or written, line by line: what lies between them is not. */
static void note(const void *memory, const struct blaslt_layout *layout, bool is_write)
{
    const bool is_row = layout->order == CUBLASLT_ORDER_ROW;
    const int64_t lines = (int64_t)(is_row ? layout->rows : layout->cols);
    const int64_t length = (int64_t)(is_row ? layout->cols : layout->rows);
    const size_t bytes = type_bytes(layout->type);

    for (int64_t i = 0; i < lines; i++) {
        const bool is_dense = layout->ld == length;
        const int64_t count = is_dense ? lines * length : length;
        const char *line = (const char *)memory + (size_t)(i * layout->ld) * bytes;
        if (is_write) {
            cudasim_writes(line, (size_t)count * bytes);
        } else {
            cudasim_reads(line, (size_t)count * bytes);
        }
        if (is_dense) {
            break;
        }
    }
}

/* op(matrix) [rows, columns] as floats, column after column. */
static float *widened(const void *matrix, const struct blaslt_layout *layout, int32_t op,
                      int64_t rows, int64_t columns)
{
    float *wide = malloc((size_t)(rows * columns) * sizeof *wide);

    if (wide == NULL) {
        cudasim_report("no memory for a product of matrices");
    }
    for (int64_t column = 0; column < columns; column++) {
        for (int64_t row = 0; row < rows; row++) {
            const int64_t at =
                op == CUBLAS_OP_N ? place_of(layout, row, column) : place_of(layout, column, row);
            wide[column * rows + row] = load(matrix, layout->type, at);
        }
    }
    return wide;
}

/* sums [m, n] = a [m, k] b [k, n], four columns at a time. */
static void multiply(float *restrict sums, const float *restrict a, const float *restrict b,
                     int64_t m, int64_t n, int64_t k)
{
    memset(sums, 0, (size_t)(m * n) * sizeof *sums);
    for (int64_t j = 0; j < n; j += 4) {
        float *restrict s0 = sums + j * m;
        if (j + 4 > n) {
            for (int64_t rest = j; rest < n; rest++) {
                float *restrict s = sums + rest * m;
                for (int64_t l = 0; l < k; l++) {
                    const float factor = b[rest * k + l];
                    for (int64_t i = 0; i < m; i++) {
                        s[i] += a[l * m + i] * factor;
                    }
                }
            }
            return;
        }
        float *restrict s1 = s0 + m;
        float *restrict s2 = s1 + m;
        float *restrict s3 = s2 + m;
        for (int64_t l = 0; l < k; l++) {
            const float *restrict column = a + l * m;
            const float b0 = b[j * k + l];
            const float b1 = b[(j + 1) * k + l];
            const float b2 = b[(j + 2) * k + l];
            const float b3 = b[(j + 3) * k + l];
            for (int64_t i = 0; i < m; i++) {
                s0[i] += column[i] * b0;
                s1[i] += column[i] * b1;
                s2[i] += column[i] * b2;
                s3[i] += column[i] * b3;
            }
        }
    }
}

/* ---- epilogues ---- */

#define GELU_A 0.7978845608028654f /* sqrt(2 / pi) */
#define GELU_B 0.044715f

static float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(GELU_A * (x + GELU_B * x * x * x)));
}

static float gelu_slope(float x)
{
    const float t = tanhf(GELU_A * (x + GELU_B * x * x * x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * GELU_A * (1.0f + 3.0f * GELU_B * x * x);
}

/* The bias or its gradient, of one batch. */
static void *bias_of(const struct blaslt_product *p, int64_t batch)
{
    return (char *)p->desc.bias + batch * p->desc.bias_stride * (int64_t)type_bytes(p->d.type);
}

static struct blaslt_layout aux_layout(const struct blaslt_product *p)
{
    return (struct blaslt_layout){.type = p->d.type,
                                  .rows = (uint64_t)p->m,
                                  .cols = (uint64_t)p->n,
                                  .ld = p->desc.aux_ld,
                                  .batch_stride = p->desc.aux_stride};
}

/* Turns sums [m, n] into what D holds; writes what else the epilogue writes of it. */
static void finish(const struct blaslt_product *p, float *sums, int64_t batch)
{
    const uint32_t epilogue = p->desc.epilogue;
    const bool is_slope = (epilogue & 64) != 0;
    const struct blaslt_layout aux = aux_layout(p);
    char *saved = (char *)(uintptr_t)matrix_of(p->desc.aux, &aux, batch);
    const void *bias = bias_of(p, batch);

    if ((epilogue & 128) != 0) {
        note(saved, &aux, !is_slope);
    }
    if ((epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) {
        cudasim_reads(bias, (size_t)p->m * type_bytes(p->d.type));
    }
    for (int64_t j = 0; j < p->n; j++) {
        for (int64_t i = 0; i < p->m; i++) {
            float x = sums[j * p->m + i];
            if ((epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) {
                x += load(bias, p->d.type, i);
            }
            if (is_slope) {
                x *= gelu_slope(load(saved, aux.type, place_of(&aux, i, j)));
            } else if ((epilogue & 128) != 0) {
                store(saved, aux.type, place_of(&aux, i, j), x);
            }
            sums[j * p->m + i] = (epilogue & CUBLASLT_EPILOGUE_GELU) != 0 ? gelu(x) : x;
        }
    }
}

/* sums over the second index of an array [rows, columns], column after column */
static void write_row_sums(void *to, cudaDataType type, const float *array, int64_t rows,
                           int64_t columns)
{
    cudasim_writes(to, (size_t)rows * type_bytes(type));
    for (int64_t i = 0; i < rows; i++) {
        float sum = 0.0f;
        for (int64_t j = 0; j < columns; j++) {
            sum += array[j * rows + i];
        }
        store(to, type, i, sum);
    }
}

static void write_column_sums(void *to, cudaDataType type, const float *array, int64_t rows,
                              int64_t columns)
{
    cudasim_writes(to, (size_t)columns * type_bytes(type));
    for (int64_t j = 0; j < columns; j++) {
        float sum = 0.0f;
        for (int64_t i = 0; i < rows; i++) {
            sum += array[j * rows + i];
        }
        store(to, type, j, sum);
    }
}

/* ---- one product ---- */

static void run_batch(const struct blaslt_product *p, int64_t batch)
{
    const char *a_memory = matrix_of(p->from_a, &p->a, batch);
    const char *b_memory = matrix_of(p->from_b, &p->b, batch);
    const char *c_memory = matrix_of(p->from_c, &p->c, batch);
    char *d_memory = (char *)(uintptr_t)matrix_of(p->to_d, &p->d, batch);

    note(a_memory, &p->a, false);
    note(b_memory, &p->b, false);
    float *a = widened(a_memory, &p->a, p->desc.trans_a, p->m, p->k);
    float *b = widened(b_memory, &p->b, p->desc.trans_b, p->k, p->n);
    float *sums = malloc((size_t)(p->m * p->n) * sizeof *sums);
    if (sums == NULL) {
        cudasim_report("no memory for a product of matrices");
    }
    multiply(sums, a, b, p->m, p->n, p->k);
    if (p->beta != 0.0f) {
        note(c_memory, &p->c, false);
    }
    for (int64_t j = 0; j < p->n; j++) {
        for (int64_t i = 0; i < p->m; i++) {
            const float old =
                p->beta != 0.0f ? load(c_memory, p->c.type, place_of(&p->c, i, j)) : 0.0f;
            sums[j * p->m + i] = p->alpha * sums[j * p->m + i] + p->beta * old;
        }
    }
    finish(p, sums, batch);
    note(d_memory, &p->d, true);
    for (int64_t j = 0; j < p->n; j++) {
        for (int64_t i = 0; i < p->m; i++) {
            store(d_memory, p->d.type, place_of(&p->d, i, j), sums[j * p->m + i]);
        }
    }
    if (p->desc.epilogue == CUBLASLT_EPILOGUE_BGRADA) {
        write_row_sums(bias_of(p, batch), p->d.type, a, p->m, p->k);
    } else if (p->desc.epilogue == CUBLASLT_EPILOGUE_BGRADB) {
        write_column_sums(bias_of(p, batch), p->d.type, b, p->k, p->n);
    } else if (p->desc.epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD) {
        write_row_sums(bias_of(p, batch), p->d.type, sums, p->m, p->n);
    }
    free(a);
    free(b);
    free(sums);
}

static enum cudasim_progress run_product(const void *payload, void **state)
{
    struct blaslt_product p = *(const struct blaslt_product *)payload;

    (void)state;
    if (p.device_alpha != NULL) {
        cudasim_reads(p.device_alpha, sizeof p.alpha);
        cudasim_reads(p.device_beta, sizeof p.beta);
        p.alpha = *p.device_alpha;
        p.beta = *p.device_beta;
    }
    if (p.workspace_bytes > 0) { /* scratch of this product alone */
        const size_t bytes = p.workspace_bytes < 1024 ? p.workspace_bytes : 1024;
        cudasim_writes(p.workspace, bytes);
        memset(p.workspace, 0xff, bytes);
    }
    for (int64_t batch = 0; batch < p.d.batch_count; batch++) {
        run_batch(&p, batch);
    }
    return CUDASIM_DONE;
}

const struct cudasim_work blaslt_work = {.run = run_product};
