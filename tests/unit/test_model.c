/*
 * Unit tests of trainer/model: logits against a transformer in double, gradients against
 * differences of its loss, with every set of kernels.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/backbone64.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"

enum { SAMPLES = 3, CASES = 13, ROWS_MAX = 9 * SAMPLES };

/* What cases have in common, and those of texts. */
#define USUAL .layer_norm_eps = 1e-6, .initializer_range = 0.02
#define LANGUAGE .num_labels = 13, .vocab_size = 13, .ties_classifier = true
#define GPT2                                                                                       \
    .embedding = MODEL_EMBEDDING_TOKENS, .mask = MODEL_MASK_CAUSAL, .hidden_act = KERN_GELU_TANH
#define BERT                                                                                       \
    .embedding = MODEL_EMBEDDING_TOKENS, .norm = MODEL_NORM_POST, .mask = MODEL_MASK_LENGTHS,      \
    .type_vocab_size = 2, .hidden_act = KERN_GELU_ERF

/*
 * Widths that fill no vector, heads of one channel, one patch, several image channels; DeiT, BERT,
 * GPT-2, two of which with a classifier tied to its words; the last is a language model.
 */
static const struct model_config cases[CASES] = {
    {.image_size = 8,
     .patch_size = 4,
     .num_channels = 1,
     .hidden_size = 12,
     .num_hidden_layers = 3,
     .num_attention_heads = 3,
     .intermediate_size = 20,
     .num_labels = 5,
     USUAL,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_CLS},
    {.image_size = 9,
     .patch_size = 3,
     .num_channels = 3,
     .hidden_size = 15,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = 7,
     .num_labels = 2,
     .layer_norm_eps = 1e-3,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_ERF,
     .pooling = MODEL_POOLING_MEAN},
    {.image_size = 7,
     .patch_size = 7,
     .num_channels = 1,
     .hidden_size = 6,
     .num_hidden_layers = 1,
     .num_attention_heads = 1,
     .intermediate_size = 33,
     .num_labels = 10,
     .layer_norm_eps = 1e-5,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_ERF,
     .pooling = MODEL_POOLING_CLS},
    {.image_size = 16,
     .patch_size = 4,
     .num_channels = 1,
     .hidden_size = 32,
     .num_hidden_layers = 2,
     .num_attention_heads = 2,
     .intermediate_size = 64,
     .num_labels = 10,
     USUAL,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_CLS},
    {.image_size = 6,
     .patch_size = 2,
     .num_channels = 2,
     .hidden_size = 17,
     .num_hidden_layers = 1,
     .num_attention_heads = 17,
     .intermediate_size = 16,
     .num_labels = 3,
     USUAL,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_MEAN},
    {.image_size = 4,
     .patch_size = 1,
     .num_channels = 1,
     .hidden_size = 8,
     .num_hidden_layers = 2,
     .num_attention_heads = 4,
     .intermediate_size = 1,
     .num_labels = 4,
     USUAL,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_CLS},
    {.hidden_size = 12,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = 20,
     .num_labels = 5,
     USUAL,
     .image_size = 6,
     .patch_size = 2,
     .num_channels = 2,
     .has_distillation_token = true,
     .hidden_act = KERN_GELU_ERF},
    {.hidden_size = 8,
     .num_hidden_layers = 2,
     .num_attention_heads = 1,
     .intermediate_size = 20,
     .num_labels = 5,
     USUAL,
     .image_size = 6,
     .patch_size = 3,
     .num_channels = 1,
     .has_distillation_token = true,
     .pooling = MODEL_POOLING_MEAN,
     .hidden_act = KERN_GELU_ERF},
    {.hidden_size = 12,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = 20,
     .num_labels = 5,
     USUAL,
     BERT,
     .vocab_size = 11,
     .max_position_embeddings = 20,
     .max_length = 13,
     .pooling = MODEL_POOLING_MEAN},
    {.hidden_size = 32,
     .num_hidden_layers = 2,
     .num_attention_heads = 2,
     .intermediate_size = 64,
     .num_labels = 5,
     .layer_norm_eps = 1e-12,
     .initializer_range = 0.02,
     BERT,
     .vocab_size = 30,
     .max_position_embeddings = 15,
     .max_length = 15,
     .pooling = MODEL_POOLING_CLS},
    {.hidden_size = 16,
     .num_hidden_layers = 2,
     .num_attention_heads = 2,
     .intermediate_size = 20,
     .num_labels = 5,
     USUAL,
     GPT2,
     .vocab_size = 9,
     .max_position_embeddings = 40,
     .max_length = 37,
     .pooling = MODEL_POOLING_LAST},
    {.hidden_size = 12,
     .num_hidden_layers = 1,
     .num_attention_heads = 3,
     .intermediate_size = 20,
     USUAL,
     GPT2,
     LANGUAGE,
     .max_position_embeddings = 12,
     .max_length = 9,
     .pooling = MODEL_POOLING_MEAN},
    {.hidden_size = 16,
     .num_hidden_layers = 2,
     .num_attention_heads = 2,
     .intermediate_size = 20,
     USUAL,
     GPT2,
     LANGUAGE,
     .max_position_embeddings = 12, /* wider than a text */
     .max_length = 9,
     .pooling = MODEL_POOLING_EVERY},
};

static float *floats(int64_t count)
{
    float *block = calloc((size_t)count, sizeof(float));

    ck_assert_ptr_nonnull(block);
    return block;
}

static void open_work(const struct model *model, bool keeps, struct model_work **work)
{
    ck_assert_int_eq(model_work_open(model, SAMPLES + 2, keeps, work), ERR_OK);
}

/* pooled [n R, D] and logits [n R, K] out. */
static void run_forward(struct model_work *work, const struct model_config *config,
                        const struct model_input *input, int64_t n, float *pooled, float *logits)
{
    model_embed_forward(work, input, n);
    for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
        model_block_forward(work, layer);
    }
    model_pool(work, pooled);
    model_head_forward(work, logits, pooled);
}

static void label_samples(const struct model_config *config, int32_t labels[ROWS_MAX])
{
    for (int32_t i = 0; i < ROWS_MAX; i++) {
        labels[i] = (i * 7 + 1) % (int32_t)config->num_labels;
    }
}

/* The gradient of the summed cross entropies, by way of all backward functions. */
static void run_backward(struct model *model, struct model_work *work,
                         const struct model_input *input, float *gradients, bool accumulate)
{
    const struct model_config *config = model_config_of(model);
    const int64_t D = config->hidden_size, K = config->num_labels;
    const int64_t rows = SAMPLES * model_config_rows(config);
    float *pooled = floats(rows * D), *logits = floats(rows * K);
    float lse[ROWS_MAX], weights[ROWS_MAX];
    int32_t labels[ROWS_MAX];
    const struct kern_xent_out out = {.lse = lse};

    label_samples(config, labels);
    for (int i = 0; i < ROWS_MAX; i++) {
        weights[i] = 1;
    }
    run_forward(work, config, input, SAMPLES, pooled, logits);
    model_ops(model)->xent_forward(&out, logits, NULL, rows, K);
    model_ops(model)->xent_backward(logits, logits, lse, labels, weights, rows, K);
    model_head_backward(work, pooled, logits, gradients, accumulate);
    model_pool_backward(work, pooled, true);
    for (int64_t layer = config->num_hidden_layers - 1; layer >= 0; layer--) {
        model_block_backward(work, layer, gradients, accumulate);
    }
    model_embed_backward(work, gradients, accumulate);
    free(pooled);
    free(logits);
}

START_TEST(forward__gives_the_logits_of_the_transformer_in_double)
{
    const struct model_config *config = &cases[_i];
    const int64_t D = config->hidden_size, K = config->num_labels;
    const int64_t rows = SAMPLES * model_config_rows(config);
    struct model_input *input = model_case_input(config, SAMPLES, 0);
    float *pooled = floats(rows * D), *logits = floats(rows * K);
    float *unkept = floats(rows * K);
    double want[ROWS_MAX * 16];

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model *model = model_case_open(config, (enum model_case_ops)which);
        struct model_work *kept_work = NULL, *work = NULL;
        struct backbone64 net;
        backbone64_open(&net, config, model_params(model), model_block(model));
        backbone64_forward(&net, input, SAMPLES, NULL, want);
        backbone64_close(&net);
        open_work(model, true, &kept_work);
        run_forward(kept_work, config, input, SAMPLES, pooled, logits);
        for (int64_t i = 0; i < rows * K; i++) {
            if (!kern_is_close((double)logits[i], want[i], 1e-5)) {
                ck_abort_msg("kernels %d: logit %d is %.9g, not %.9g", which, (int)i,
                             (double)logits[i], want[i]);
            }
        }
        model_pack(model, false);
        open_work(model, false, &work);
        run_forward(work, config, input, SAMPLES, pooled, unkept);
        ck_assert_mem_eq(logits, unkept, (size_t)(rows * K) * sizeof(float));
        ck_assert_int_lt(model_work_bytes(work), model_work_bytes(kept_work));
        model_work_close(kept_work);
        model_work_close(work);
        model_close(model);
    }
    model_case_input_close(input);
    free(pooled);
    free(logits);
    free(unkept);
}
END_TEST

START_TEST(pool__gives_the_stream_behind_every_layer)
{
    const struct model_config *config = &cases[_i];
    const int64_t D = config->hidden_size, L = config->num_hidden_layers;
    struct model *model = model_case_open(config, MODEL_CASE_PORTABLE);
    struct model_work *work = NULL;
    struct backbone64 net;
    struct model_input *input = model_case_input(config, SAMPLES, 0);
    const int64_t rows = SAMPLES * model_config_rows(config);
    float *pooled = floats(rows * D);
    double logits[ROWS_MAX * 16];
    double *want = calloc((size_t)(L * rows * D), sizeof(double));

    ck_assert_ptr_nonnull(want);
    backbone64_open(&net, config, model_params(model), model_block(model));
    backbone64_forward(&net, input, SAMPLES, want, logits);
    open_work(model, false, &work);
    model_embed_forward(work, input, SAMPLES);
    for (int64_t layer = 0; layer < L; layer++) {
        model_block_forward(work, layer);
        model_pool(work, pooled);
        for (int64_t i = 0; i < rows * D; i++) {
            ck_assert(kern_is_close((double)pooled[i], want[layer * rows * D + i], 1e-5));
        }
    }
    backbone64_close(&net);
    free(want);
    model_case_input_close(input);
    free(pooled);
    model_work_close(work);
    model_close(model);
}
END_TEST

/* The slope of the loss in double when `param` moves along `direction` [count], of length 1. */
static double slope_along(struct backbone64 *net, const struct param *param,
                          const double *direction, const struct model_input *input)
{
    static const double h = 1e-4;
    double *const at = net->params + param->offset;
    double *saved = malloc((size_t)param->count * sizeof(double));
    double loss[2];
    int32_t labels[ROWS_MAX];

    ck_assert_ptr_nonnull(saved);
    memcpy(saved, at, (size_t)param->count * sizeof(double));
    label_samples(net->config, labels);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < param->count; i++) {
            at[i] = saved[i] + (side == 0 ? -h : h) * direction[i];
        }
        loss[side] = backbone64_loss(net, input, labels, SAMPLES);
    }
    memcpy(at, saved, (size_t)param->count * sizeof(double));
    free(saved);
    return (loss[1] - loss[0]) / (2 * h);
}

static double norm_of(const float *values, int64_t count)
{
    double squares = 0;

    for (int64_t i = 0; i < count; i++) {
        squares += (double)values[i] * (double)values[i];
    }
    return sqrt(squares);
}

/*
 * Directions to try: 0 along the first gradient, which a wrong factor changes; 1 at random, which
 * sees a wrong element; 2 .. single elements, the first, the last and some between. False: too
 * short a vector to have a direction (keys' biases: softmax does not feel them).
 */
static bool choose_direction(int which, const struct param *param, const float *gradient,
                             double *direction)
{
    enum { PLACES = 4 };
    const int64_t places[PLACES] = {0, param->count - 1, param->count / 3, param->count / 2};
    double squares = 0;

    for (int64_t i = 0; i < param->count; i++) {
        direction[i] = which == 0   ? (double)gradient[param->offset + i]
                       : which == 1 ? rng_normal(5, RNG_TEST, (uint64_t)i, (uint32_t)param->offset)
                                    : (double)(i == places[which - 2]);
        squares += direction[i] * direction[i];
    }
    for (int64_t i = 0; i < param->count; i++) {
        direction[i] /= sqrt(squares);
    }
    return squares > 1e-10;
}

static void check_tensor(struct backbone64 *net, const struct param *param,
                         float *const gradients[], const struct model_input *input)
{
    enum { DIRECTIONS = 6 };
    double *direction = malloc((size_t)param->count * sizeof(double));

    ck_assert_ptr_nonnull(direction);
    for (int d = 0; d < DIRECTIONS; d++) {
        if (!choose_direction(d, param, gradients[0], direction)) {
            continue;
        }
        const double want = slope_along(net, param, direction, input);
        for (int which = 0; which < model_case_ops_count(); which++) {
            const float *gradient = gradients[which] + param->offset;
            const double limit = 1e-4 * fabs(want) + 1e-5 * norm_of(gradient, param->count) + 1e-6;
            double found = 0;
            for (int64_t i = 0; i < param->count; i++) {
                found += (double)gradient[i] * direction[i];
            }
            if (!(fabs(found - want) <= limit)) {
                ck_abort_msg("kernels %d, %s, direction %d: the slope is %.9g, not %.9g", which,
                             param->name, d, found, want);
            }
        }
    }
    free(direction);
}

START_TEST(backward__gives_the_slope_of_the_loss_in_double_along_every_tensor)
{
    const struct model_config *config = &cases[_i];
    struct model_input *input = model_case_input(config, SAMPLES, 0);
    struct model *models[MODEL_CASE_OPS] = {NULL};
    float *gradients[MODEL_CASE_OPS] = {NULL};
    struct backbone64 net;

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model_work *work = NULL;
        models[which] = model_case_open(config, (enum model_case_ops)which);
        gradients[which] = floats(model_params(models[which])->block_elems);
        open_work(models[which], true, &work);
        run_backward(models[which], work, input, gradients[which], false);
        model_work_close(work);
    }
    const struct param_list *params = model_params(models[0]);
    backbone64_open(&net, config, params, model_block(models[0]));
    for (int64_t t = 0; t < params->count; t++) {
        check_tensor(&net, &params->params[t], gradients, input);
    }
    backbone64_close(&net);
    for (int which = 0; which < model_case_ops_count(); which++) {
        free(gradients[which]);
        model_close(models[which]);
    }
    model_case_input_close(input);
}
END_TEST

START_TEST(backward__overwrites_or_adds_as_asked)
{
    const struct model_config *config = &cases[_i];
    struct model_input *input = model_case_input(config, SAMPLES, 0);
    struct model_input *others = model_case_input(config, SAMPLES, 1);

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model *model = model_case_open(config, (enum model_case_ops)which);
        const struct param_list *params = model_params(model);
        const int64_t elems = params->block_elems;
        float *first = floats(elems), *second = floats(elems), *both = floats(elems);
        struct model_work *work = NULL;
        open_work(model, true, &work);
        run_backward(model, work, input, first, false);
        run_backward(model, work, others, second, false);
        memset(both, 0xff, (size_t)elems * sizeof(float)); /* NaN, wherever it is read */
        run_backward(model, work, input, both, false);
        for (int64_t t = 0; t < params->count; t++) {
            const int64_t at = params->params[t].offset;
            ck_assert_mem_eq(both + at, first + at,
                             (size_t)params->params[t].count * sizeof(float));
        }
        run_backward(model, work, others, both, true);
        for (int64_t t = 0; t < params->count; t++) {
            const struct param *param = &params->params[t];
            for (int64_t i = param->offset; i < param->offset + param->count; i++) {
                const double want = (double)first[i] + (double)second[i];
                const double size = fabs((double)first[i]) + fabs((double)second[i]);
                ck_assert_double_le(fabs((double)both[i] - want), 1e-5 * fmax(size, 0.1));
            }
        }
        model_work_close(work);
        model_close(model);
        free(first);
        free(second);
        free(both);
    }
    model_case_input_close(input);
    model_case_input_close(others);
}
END_TEST

/* Sub-batches with our own kernels; of the library's products no such promise is made. */
START_TEST(keep_samples__leaves_the_bits_of_those_that_stay)
{
    enum { N = 7, KEPT = 2 };
    static const uint32_t first[] = {0, 2, 3, 6}, second[] = {1, 3};
    static const int64_t stayed[KEPT] = {2, 6};
    const struct model_config *config = &cases[_i];
    const int64_t D = config->hidden_size, K = config->num_labels;
    const int64_t L = config->num_hidden_layers;
    struct model_input *input = model_case_input(config, N, 2);
    const int64_t R = model_config_rows(config);
    float *pooled = floats(N * R * D), *all = floats(N * R * K), *few = floats(KEPT * R * K);

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model_work *work = NULL;
        if (which == MODEL_CASE_BLAS) {
            continue;
        }
        struct model *model = model_case_open(config, (enum model_case_ops)which);
        ck_assert_int_eq(model_work_open(model, N, false, &work), ERR_OK);
        run_forward(work, config, input, N, pooled, all);
        model_embed_forward(work, input, N);
        ck_assert_int_eq(model_keep_samples(work, first, 4), ERR_OK);
        ck_assert_int_eq(model_sample_count(work), 4);
        for (int64_t layer = 0; layer < L; layer++) {
            model_block_forward(work, layer);
            if (layer == L / 2) {
                ck_assert_int_eq(model_keep_samples(work, second, KEPT), ERR_OK);
            }
        }
        model_pool(work, pooled);
        model_head_forward(work, few, pooled);
        for (int i = 0; i < KEPT; i++) {
            ck_assert_mem_eq(few + i * R * K, all + stayed[i] * R * K,
                             (size_t)(R * K) * sizeof(float));
        }
        model_work_close(work);
        model_close(model);
    }
    model_case_input_close(input);
    free(pooled);
    free(all);
    free(few);
}
END_TEST

/* At the full width and at the text's own; with our own kernels, as above. */
START_TEST(texts__have_the_same_bits_alone_and_in_a_wider_batch)
{
    enum { N = 4, TEXT_CASES = 8 };
    const struct model_config *config = &cases[TEXT_CASES + _i];
    const int64_t D = config->hidden_size, K = config->num_labels, S = MODEL_TOKENS_STEP;
    struct model_input *input = model_case_input(config, N, 2);
    const int64_t R = model_config_rows(config);
    float *pooled = floats(N * R * D), *all = floats(N * R * K), *alone = floats(R * K);

    ck_assert_int_eq(config->embedding, MODEL_EMBEDDING_TOKENS);
    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model_work *work = NULL;
        if (which == MODEL_CASE_BLAS) {
            continue;
        }
        struct model *model = model_case_open(config, (enum model_case_ops)which);
        open_work(model, false, &work);
        run_forward(work, config, input, N, pooled, all);
        for (int64_t i = 0; i < N; i++) {
            struct model_input one = model_input_from(config, input, i);
            const int64_t width = (one.lengths[0] + S - 1) / S * S;
            one.width = width < input->width ? width : input->width;
            run_forward(work, config, &one, 1, pooled, alone);
            ck_assert_int_eq(model_token_count(work), one.width);
            ck_assert_mem_eq(alone, all + i * R * K, (size_t)(R * K) * sizeof(float));
        }
        model_work_close(work);
        model_close(model);
    }
    model_case_input_close(input);
    free(pooled);
    free(all);
    free(alone);
}
END_TEST

START_TEST(init__depends_on_the_seed_and_fills_every_matrix)
{
    struct model *model = model_case_open(&cases[0], MODEL_CASE_PORTABLE);
    const struct param_list *params = model_params(model);
    const size_t bytes = (size_t)params->block_elems * sizeof(float);
    float *first = floats(params->block_elems);

    ck_assert_int_eq(model_init(model, 1), ERR_OK);
    memcpy(first, model_block(model), bytes);
    ck_assert_int_eq(model_init(model, 2), ERR_OK);
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        const bool is_drawn = param->init == PARAM_NORMAL || param->init == PARAM_XAVIER;
        const bool is_same = memcmp(first + param->offset, model_block(model) + param->offset,
                                    (size_t)param->count * sizeof(float)) == 0;
        ck_assert_msg(is_drawn != is_same, "%s", param->name);
        if (is_drawn) {
            ck_assert_double_gt(norm_of(first + param->offset, param->count), 0);
        }
    }
    ck_assert_int_eq(model_init(model, 1), ERR_OK);
    ck_assert_mem_eq(first, model_block(model), bytes);
    free(first);
    model_close(model);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("model");

    tcase_add_loop_test(tcase, forward__gives_the_logits_of_the_transformer_in_double, 0, CASES);
    tcase_add_loop_test(tcase, pool__gives_the_stream_behind_every_layer, 0, CASES);
    tcase_add_loop_test(tcase, backward__gives_the_slope_of_the_loss_in_double_along_every_tensor,
                        0, CASES);
    tcase_add_loop_test(tcase, backward__overwrites_or_adds_as_asked, 0, CASES);
    tcase_add_loop_test(tcase, keep_samples__leaves_the_bits_of_those_that_stay, 0, CASES);
    tcase_add_loop_test(tcase, texts__have_the_same_bits_alone_and_in_a_wider_batch, 0, 5);
    tcase_add_test(tcase, init__depends_on_the_seed_and_fills_every_matrix);
    suite_add_tcase(suite, tcase);
    return suite;
}
