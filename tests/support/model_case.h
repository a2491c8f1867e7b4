/* tests/support/model_case.h - small transformers with parameters worth a test, images and texts. */
#ifndef TESTS_SUPPORT_MODEL_CASE_H
#define TESTS_SUPPORT_MODEL_CASE_H

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "comm/base/rng.h"
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/model/model.h"

/* Which kernels: the definition; our fast ones; the library's products. */
enum model_case_ops {
    MODEL_CASE_PORTABLE,
    MODEL_CASE_BLAS,
    MODEL_CASE_OWN, /* needs AVX2 */
    MODEL_CASE_OPS,
};

static inline int model_case_ops_count(void)
{
    return kern_version_count() == KERN_VERSIONS ? MODEL_CASE_OPS : MODEL_CASE_OWN;
}

static inline struct kern_ops model_case_ops(enum model_case_ops which)
{
    static const enum kern_matmul matmuls[MODEL_CASE_OPS] = {KERN_MATMUL_PORTABLE, KERN_MATMUL_BLAS,
                                                             KERN_MATMUL_OWN};
    struct kern_ops ops;

    ck_assert_int_eq(
        kern_ops_choose(which == MODEL_CASE_PORTABLE ? KERN_ISA_PORTABLE : KERN_ISA_AUTO,
                        matmuls[which], &ops),
        ERR_OK);
    return ops;
}

/* Normal numbers of the size that keeps a stream near 1; nothing is 0 or 1 as it is at first. */
static inline void model_case_fill(const struct param_list *list, float *block, uint64_t seed)
{
    for (int64_t t = 0; t < list->count; t++) {
        const struct param *param = &list->params[t];
        const double fan_in = (double)param->count / (double)param->shape[0];
        const double scale = param->rank == 1 || fan_in > 1e3 ? 0.3 : 1 / sqrt(fan_in);
        for (int64_t i = 0; i < param->count; i++) {
            const double x = scale * rng_normal(seed, RNG_TEST, (uint64_t)i, (uint32_t)t);
            block[param->offset + i] = (float)(x + (param->init == PARAM_ONE ? 1 : 0));
        }
    }
}

static inline struct model *model_case_open(const struct model_config *config,
                                            enum model_case_ops which)
{
    const struct kern_ops ops = model_case_ops(which);
    struct model *model = NULL;

    ck_assert_int_eq(model_open(config, &ops, &model), ERR_OK);
    model_case_fill(model_params(model), model_block(model), 7);
    model_pack(model, true);
    return model;
}

/* n images of standard normal pixels, to be freed. */
static inline float *model_case_images(const struct model_config *config, int64_t n, uint32_t sub)
{
    const int64_t count = n * config->num_channels * config->image_size * config->image_size;
    float *images = malloc((size_t)count * sizeof(float));

    ck_assert_ptr_nonnull(images);
    for (int64_t i = 0; i < count; i++) {
        images[i] = (float)rng_normal(3, RNG_TEST, (uint64_t)i, 1000 + sub);
    }
    return images;
}

/*
 * n samples of either kind. Texts differ in length, one of them as long as can be, have words that come
 * again, and what is no word behind their ends. End it with model_case_input_close().
 */
static inline struct model_input *model_case_input(const struct model_config *config, int64_t n,
                                                   uint32_t sub)
{
    struct model_input *input = calloc(1, sizeof(*input));

    ck_assert_ptr_nonnull(input);
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        input->images = model_case_images(config, n, sub);
        return input;
    }
    const int64_t stride = config->max_length + 2;
    int32_t *tokens = malloc((size_t)(n * stride) * sizeof(int32_t));
    int32_t *lengths = malloc((size_t)n * sizeof(int32_t));
    ck_assert(tokens != NULL && lengths != NULL);
    for (int64_t i = 0; i < n; i++) {
        const int64_t spread = (i + sub) * 5 % config->max_length;
        const bool is_whole = i == 1 || config->pooling == MODEL_POOLING_EVERY;
        lengths[i] = (int32_t)(is_whole ? config->max_length : 1 + spread);
        for (int64_t t = 0; t < stride; t++) {
            const double u = rng_uniform(3, RNG_TEST, (uint64_t)(i * stride + t), 2000 + sub);
            tokens[i * stride + t] =
                t < lengths[i] ? (int32_t)(u * (double)config->vocab_size) : -1;
        }
    }
    *input = (struct model_input){.tokens = tokens,
                                  .lengths = lengths,
                                  .token_stride = stride,
                                  .width = model_config_tokens(config)};
    return input;
}

static inline void model_case_input_close(struct model_input *input)
{
    free((void *)(uintptr_t)input->images);
    free((void *)(uintptr_t)input->tokens);
    free((void *)(uintptr_t)input->lengths);
    free(input);
}

#endif
