/* tests/cudasim/sim_blaslt_priv.h - a matrix product, between its description and its run. */
#ifndef TESTS_CUDASIM_SIM_BLASLT_PRIV_H
#define TESTS_CUDASIM_SIM_BLASLT_PRIV_H

#include <cublasLt.h>

#include "tests/cudasim/sim_priv.h"

struct blaslt_layout {
    cudaDataType type;
    int32_t order;
    uint64_t rows, cols;
    int64_t ld;
    int32_t batch_count;
    int64_t batch_stride; /* elements */
};

struct blaslt_desc {
    int32_t compute, scale, pointer_mode, trans_a, trans_b;
    uint32_t epilogue;
    void *bias;
    int64_t bias_stride;
    void *aux;
    int64_t aux_ld, aux_stride;
    int32_t aux_type, bias_type;
};

/* D [m, n] = epilogue(alpha op(A) op(B) + beta C), as it lies in a stream. */
struct blaslt_product {
    struct blaslt_desc desc;
    struct blaslt_layout a, b, c, d;
    int64_t m, n, k;
    float alpha, beta;
    const float *device_alpha, *device_beta; /* in the pointer mode of the device, else NULL */
    const void *from_a, *from_b, *from_c;
    void *to_d;
    void *workspace; /* of which the first bytes are used as scratch, */
    size_t workspace_bytes;
};

extern const struct cudasim_work blaslt_work;

#endif
