/*
 * Tests of trainer/step/step.c on a CUDA device: steps one after the other, whose work is recorded and then
 * launched as a whole (comm/device/device_replay.h), have the sums and gradients of a CPU, step by step.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_local.h"
#include "tests/support/err_expect.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_ops_cuda.h"
#include "trainer/step/step.h"

enum { MICRO = 2, LEAVES = 3, BATCH = MICRO * LEAVES, STEPS = 7, D = 12, K = 5 };
enum { DEADLINE_MS = 30000, TAP_SUMS = 2 };

static const struct model_config of_images = {.image_size = 8,
                                              .patch_size = 4,
                                              .num_channels = 1,
                                              .hidden_size = D,
                                              .num_hidden_layers = 2,
                                              .num_attention_heads = 3,
                                              .intermediate_size = 10,
                                              .num_labels = K,
                                              .layer_norm_eps = 1e-6,
                                              .initializer_range = 0.02,
                                              .hidden_act = KERN_GELU_TANH,
                                              .pooling = MODEL_POOLING_CLS};
static struct model_config config; /* of the test that runs */

enum { IMAGES, DEIT, BERT, GPT2, LANGUAGE, KINDS };
enum { R_MAX = 9, ROWS_MAX = BATCH * R_MAX };

static void choose(int kind)
{
    config = of_images;
    config.has_distillation_token = kind == DEIT;
    if (kind == BERT || kind == GPT2) {
        config.embedding = MODEL_EMBEDDING_TOKENS;
        config.norm = kind == BERT ? MODEL_NORM_POST : MODEL_NORM_PRE;
        config.mask = kind == BERT ? MODEL_MASK_LENGTHS : MODEL_MASK_CAUSAL;
        config.pooling = kind == BERT ? MODEL_POOLING_MEAN : MODEL_POOLING_LAST;
        config.vocab_size = 13;
        config.max_position_embeddings = 30;
        config.type_vocab_size = kind == BERT ? 2 : 0;
        config.max_length = 19;
    } else if (kind == LANGUAGE) {
        config.embedding = MODEL_EMBEDDING_TOKENS;
        config.mask = MODEL_MASK_CAUSAL;
        config.pooling = MODEL_POOLING_EVERY;
        config.vocab_size = K;
        config.ties_classifier = true;
        config.max_position_embeddings = 30;
        config.max_length = R_MAX;
    }
}
static const int64_t tap_layers[1] = {0};

/* The phase of each step, and how many samples the last micro-batch of it has. */
static const uint64_t phases[STEPS] = {1, 1, 1, 2, 2, 2, 2};
static const int64_t last_samples[2][STEPS] = {{2, 2, 2, 2, 2, 2, 2}, {2, 2, 2, 2, 1, 2, 2}};

/* What a step has to say, on the host. */
struct outcome {
    double sample_count, loss, correct;
    float tap_sums[TAP_SUMS], tap_gradients[TAP_SUMS];
    float *gradients;
};

/* Where it is computed. */
struct place {
    struct device *device;
    struct device_stream *stream;
    struct model *model;
};

static struct place open_place(enum device_kind kind)
{
    struct place place = {0};
    struct device_view view;
    struct kern_ops ops;

    EXPECT_OK(device_open(kind, 0, 1, &place.device));
    if (kind == DEVICE_CUDA) {
        EXPECT_OK(device_stream_open(place.device, DEVICE_PRIORITY_NORMAL, &place.stream));
        device_use(place.stream);
        EXPECT_OK(kern_ops_cuda(place.device, &ops));
    } else {
        EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    }
    EXPECT_OK(model_open(&config, &ops, &place.model));
    const struct param_list *params = model_params(place.model);
    EXPECT_OK(device_view_open(place.device, model_block(place.model),
                               (size_t)params->block_elems * sizeof(float), &view));
    model_case_fill(params, view.host, 7);
    EXPECT_OK(device_view_close(&view, true));
    model_pack(place.model, true);
    return place;
}

static void close_place(struct place *place)
{
    model_close(place->model);
    if (place->stream != NULL) {
        kern_cuda_close();
        device_use(NULL);
        device_stream_close(place->stream);
    }
    device_close(place->device);
}

/* Slopes that are the features and logits themselves; sums of samples and phases. */
static enum err tap_losses(void *self, const struct step_view *view)
{
    const struct kern_ops *ops = self;

    ops->zero(view->dfeatures[0], view->n * D);
    ops->add(view->dfeatures[0], view->features[0], view->n * D);
    ops->zero(view->dlogits, view->n * K);
    ops->add(view->dlogits, view->logits, view->n * K);
    if (!view->accumulate) {
        ops->zero(view->gradients, TAP_SUMS);
    }
    ops->count(view->gradients, (float)view->n, 1);
    ops->count(view->statistics, (float)view->phase, 1);
    return ERR_OK;
}

static void read_outcome(const struct place *place, const struct step_result *result, bool taps,
                         struct outcome *outcome)
{
    const size_t bytes = (size_t)model_params(place->model)->block_elems * sizeof(float);

    outcome->sample_count = result->sample_count;
    outcome->loss = result->loss;
    outcome->correct = result->correct;
    outcome->gradients = malloc(bytes);
    ck_assert_ptr_nonnull(outcome->gradients);
    EXPECT_OK(
        device_read(place->device, outcome->gradients, result->gradients, bytes, DEADLINE_MS));
    if (taps) {
        memcpy(outcome->tap_sums, result->tap_statistics, sizeof(outcome->tap_sums));
        EXPECT_OK(device_read(place->device, outcome->tap_gradients, result->tap_gradients,
                              sizeof(outcome->tap_gradients), DEADLINE_MS));
    }
}

static void run_steps(enum device_kind kind, bool taps, const int64_t last[STEPS],
                      struct outcome outcomes[STEPS])
{
    struct place place = open_place(kind);
    struct kern_ops ops = *model_ops(place.model);
    const struct step_tap tap = {.self = &ops,
                                 .layers = tap_layers,
                                 .layer_count = 1,
                                 .gradient_elems = TAP_SUMS,
                                 .statistic_count = TAP_SUMS,
                                 .losses = tap_losses};
    struct step_options options = {.model = place.model,
                                   .order = COMM_REDUCE_TREE,
                                   .micro_samples = MICRO,
                                   .micro_count = LEAVES,
                                   .trains_backbone = true,
                                   .tap = taps ? &tap : NULL};
    const int64_t R = model_config_rows(&config);
    struct comm_local *local = NULL;
    struct step *step = NULL;
    struct step_result result;

    EXPECT_OK(comm_local_open(1, &options.group, &local));
    EXPECT_OK(step_open(&options, &step));
    for (int s = 0; s < STEPS; s++) {
        struct model_input *input = model_case_input(&config, BATCH, (uint32_t)s);
        int32_t labels[ROWS_MAX];
        for (int i = 0; i < ROWS_MAX; i++) {
            labels[i] = (i * 3 + s) % K;
        }
        for (int64_t m = 0; m < LEAVES; m++) {
            const struct model_input part = model_input_from(&config, input, m * MICRO);
            EXPECT_OK(step_micro_batch(step, &part, labels + m * MICRO * R,
                                       m == LEAVES - 1 ? last[s] : MICRO, phases[s]));
        }
        EXPECT_OK(step_finish(step, DEADLINE_MS, &result));
        read_outcome(&place, &result, taps, &outcomes[s]);
        model_case_input_close(input);
    }
    step_close(step);
    comm_close(options.group);
    comm_local_close(local);
    close_place(&place);
}

static void check_gradients(int step, const float *found, const float *expected, int64_t count)
{
    double difference = 0, squares = 0;

    for (int64_t i = 0; i < count; i++) {
        difference += pow((double)found[i] - (double)expected[i], 2);
        squares += pow((double)expected[i], 2);
    }
    if (!(difference <= 1e-8 * squares)) {
        ck_abort_msg("step %d: the gradient is %g of its size off", step,
                     sqrt(difference / squares));
    }
}

/*
 * Loop index: without and with a tap; the same with a micro-batch that is smaller than others; all that
 * for every kind of backbone.
 */
START_TEST(steps__have_the_sums_and_gradients_of_a_cpu_one_after_the_other)
{
    static struct outcome here[STEPS], there[STEPS];
    const bool taps = _i % 2 == 1;

    choose(_i / 4);
    memset(here, 0, sizeof(here));
    memset(there, 0, sizeof(there));
    run_steps(DEVICE_CPU, taps, last_samples[_i / 2 % 2], here);
    run_steps(DEVICE_CUDA, taps, last_samples[_i / 2 % 2], there);
    struct place place = open_place(DEVICE_CPU);
    const int64_t count = model_params(place.model)->block_elems;
    close_place(&place);
    for (int s = 0; s < STEPS; s++) {
        ck_assert(there[s].sample_count == here[s].sample_count);
        ck_assert(there[s].correct == here[s].correct);
        ck_assert(kern_is_close(there[s].loss, here[s].loss, 1e-5));
        ck_assert_mem_eq(there[s].tap_sums, here[s].tap_sums, sizeof(here[s].tap_sums));
        ck_assert_mem_eq(there[s].tap_gradients, here[s].tap_gradients,
                         sizeof(here[s].tap_gradients));
        check_gradients(s, there[s].gradients, here[s].gradients, count);
        free(here[s].gradients);
        free(there[s].gradients);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("step_cuda");
    TCase *tcase = tcase_create("step_cuda");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, steps__have_the_sums_and_gradients_of_a_cpu_one_after_the_other, 0,
                        4 * KINDS);
    suite_add_tcase(suite, tcase);
    return suite;
}
