/*
 * Unit tests of trainer/step/step.c: sums and gradients of a step, with and without a tap,
 * against a transformer in double; the same bits for any number of ranks.
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_local.h"
#include "tests/support/backbone64.h"
#include "tests/support/model_case.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"
#include "trainer/step/step.h"

enum { LEAVES = 12, MICRO = 2, N = LEAVES * MICRO, D = 12, K = 5, L = 3, TAPS = 2, RANKS_MAX = 4 };
enum { R_MAX = 6, ROWS_MAX = N * R_MAX };
enum { DEADLINE_MS = 20000 };

/* 12 leaves: 3 in a row, then a tree. What the model is choose() says. */
enum kind { CLS, MEAN, BERT, GPT2, LANGUAGE, KINDS };
static struct model_config config;
static int64_t R; /* rows of a sample */
static const int64_t tap_layers[TAPS] = {0, 1};
static int32_t labels[ROWS_MAX];
static struct model_input *input;
static uint64_t skipped; /* a bit for each layer that is left out */

static void free_samples(void)
{
    if (input != NULL) {
        model_case_input_close(input);
    }
    input = NULL;
}

/* Images, or texts of which every micro-batch has another length. */
static void choose(enum kind kind)
{
    config = (struct model_config){.hidden_size = D,
                                   .num_hidden_layers = L,
                                   .num_attention_heads = 3,
                                   .intermediate_size = 10,
                                   .num_labels = K,
                                   .layer_norm_eps = 1e-6,
                                   .initializer_range = 0.02,
                                   .hidden_act = KERN_GELU_TANH,
                                   .pooling = kind == CLS    ? MODEL_POOLING_CLS
                                              : kind == GPT2 ? MODEL_POOLING_LAST
                                                             : MODEL_POOLING_MEAN};
    if (kind == BERT || kind == GPT2) {
        config.embedding = MODEL_EMBEDDING_TOKENS;
        config.norm = kind == BERT ? MODEL_NORM_POST : MODEL_NORM_PRE;
        config.mask = kind == BERT ? MODEL_MASK_LENGTHS : MODEL_MASK_CAUSAL;
        config.vocab_size = 13;
        config.max_position_embeddings = 30;
        config.type_vocab_size = kind == BERT ? 2 : 0;
        config.max_length = 19;
    } else if (kind == LANGUAGE) {
        config.embedding = MODEL_EMBEDDING_TOKENS;
        config.mask = MODEL_MASK_CAUSAL;
        config.vocab_size = K;
        config.max_position_embeddings = 30;
        config.max_length = R_MAX;
        config.ties_classifier = true;
        config.pooling = MODEL_POOLING_EVERY;
    } else {
        config.image_size = 8;
        config.patch_size = 4;
        config.num_channels = 1;
    }
    free_samples();
    skipped = 0;
    input = model_case_input(&config, N, 0);
    R = model_config_rows(&config);
    for (int i = 0; i < ROWS_MAX; i++) {
        labels[i] = (i * 3 + 2) % K;
    }
}

static void choose_first(void)
{
    choose(CLS);
}

/* A loss with known slopes: features of tap t times factor(t, d), logits times factor(2, k). */
static float factor(int t, int64_t i)
{
    return (float)cos(1.0 + 5.0 * t + 1.7 * (double)i);
}

/* One parameter, whose gradient is the number of rows; one statistic, the sum of phases. */
static enum err tap_losses(void *self, const struct step_view *view)
{
    int *calls = self;

    for (int64_t i = 0; i < view->n && view->dfeatures != NULL; i++) {
        for (int t = 0; t < TAPS; t++) {
            for (int64_t d = 0; d < D; d++) {
                view->dfeatures[t][i * D + d] = factor(t, d);
            }
        }
        for (int64_t k = 0; k < K; k++) {
            view->dlogits[i * K + k] = factor(TAPS, k);
        }
    }
    view->gradients[0] = (view->accumulate ? view->gradients[0] : 0) + (float)view->n;
    view->statistics[0] += (float)view->phase;
    calls[0]++;
    return ERR_OK;
}

static double tap_loss64(const struct backbone64 *net)
{
    const int64_t rows = N * R;
    double *pooled = malloc(sizeof(double) * (size_t)(L * rows * D));
    double logits[ROWS_MAX * K], loss = 0;

    ck_assert_ptr_nonnull(pooled);
    backbone64_forward(net, input, N, pooled, logits);
    for (int64_t i = 0; i < TAPS * rows * D; i++) {
        loss += (double)factor((int)(i / (rows * D)), i % D) * pooled[i];
    }
    for (int64_t i = 0; i < rows * K; i++) {
        loss += (double)factor(TAPS, i % K) * logits[i];
    }
    free(pooled);
    return loss;
}

static double plain_loss64(const struct backbone64 *net)
{
    return backbone64_loss(net, input, labels, N);
}

static void check_slopes(struct model *model, const float *gradients,
                         double (*loss)(const struct backbone64 *net))
{
    static const double h = 1e-4;
    const struct param_list *params = model_params(model);
    struct backbone64 net;

    backbone64_open(&net, &config, params, model_block(model));
    net.skips = skipped;
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        double squares = 0, found = 0, sides[2];
        for (int64_t i = 0; i < param->count; i++) {
            squares += pow((double)gradients[param->offset + i], 2);
        }
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < param->count; i++) {
                const double v =
                    rng_normal(9, RNG_TEST, (uint64_t)i, (uint32_t)t) / sqrt((double)param->count);
                net.params[param->offset + i] =
                    (double)model_block(model)[param->offset + i] + (side == 0 ? -h : h) * v;
                found += side * v * (double)gradients[param->offset + i];
            }
            sides[side] = loss(&net);
        }
        for (int64_t i = 0; i < param->count; i++) {
            net.params[param->offset + i] = model_block(model)[param->offset + i];
        }
        const double want = (sides[1] - sides[0]) / (2 * h);
        const double limit = 1e-4 * fabs(want) + 1e-5 * sqrt(squares) + 1e-5;
        if (!(fabs(found - want) <= limit)) {
            ck_abort_msg("%s: the slope is %.9g, not %.9g", param->name, found, want);
        }
    }
    backbone64_close(&net);
}

/* What one rank makes of its part of the leaves; micro-batches of `sizes`, NULL: all MICRO. */
struct rank {
    struct comm_group *group;
    int rank_count;
    const int64_t *sizes;
    bool taps, trains;
    struct step_result result;
    float *gradients; /* a copy */
    float tap_gradient, tap_statistic;
    enum err status;
};

static enum err run_rank(struct rank *rank, struct model *model)
{
    const int64_t leaves = LEAVES / rank->rank_count, first = comm_rank(rank->group) * leaves;
    int calls = 0;
    const struct step_tap tap = {.self = &calls,
                                 .layers = tap_layers,
                                 .layer_count = TAPS,
                                 .gradient_elems = 1,
                                 .statistic_count = 1,
                                 .losses = tap_losses};
    const struct step_options options = {.model = model,
                                         .group = rank->group,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = MICRO,
                                         .micro_count = leaves,
                                         .trains_backbone = rank->trains,
                                         .tap = rank->taps ? &tap : NULL};
    struct step *step = NULL;

    ERR_TRY(step_open(&options, &step));
    enum err status = ERR_OK;
    for (int run = skipped != 0 ? 0 : 1; run < 2 && status == ERR_OK; run++) {
        const bool skips[L] = {(skipped & 1) != 0, (skipped & 2) != 0, (skipped & 4) != 0};
        calls = 0;
        if (run == 1 && skipped != 0) { /* after a step whose gradients are in all places */
            step_skip_layers(step, skips);
        }
        for (int64_t m = first; m < first + leaves && status == ERR_OK; m++) {
            const int64_t n = rank->sizes == NULL ? MICRO : rank->sizes[m];
            const struct model_input part = model_input_from(&config, input, m * MICRO);
            status = step_micro_batch(step, &part, labels + m * MICRO * R, n, 10);
        }
        if (status == ERR_OK) {
            status = step_finish(step, DEADLINE_MS, &rank->result);
        }
    }
    if (status == ERR_OK && rank->trains) {
        const size_t bytes = (size_t)model_params(model)->block_elems * sizeof(float);
        rank->gradients = malloc(bytes);
        memcpy(rank->gradients, rank->result.gradients, bytes);
    }
    if (status == ERR_OK && rank->taps) {
        rank->tap_gradient = rank->result.tap_gradients[0];
        rank->tap_statistic = rank->result.tap_statistics[0];
        status = calls == leaves ? ERR_OK : ERR_FAIL(ERR_INVALID, "%d calls of the tap", calls);
    }
    step_close(step);
    return status;
}

static void *rank_main(void *arg)
{
    struct rank *rank = arg;
    struct model *model = model_case_open(&config, model_case_ops_count() - 1);

    rank->status = run_rank(rank, model);
    model_close(model);
    comm_close(rank->group);
    return NULL;
}

static void run_ranks(struct rank ranks[], int rank_count)
{
    struct comm_group *groups[RANKS_MAX];
    struct comm_local *local = NULL;
    pthread_t threads[RANKS_MAX];

    ck_assert_int_eq(comm_local_open(rank_count, groups, &local), ERR_OK);
    for (int r = 0; r < rank_count; r++) {
        ranks[r].group = groups[r];
        ranks[r].rank_count = rank_count;
        ck_assert_int_eq(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (int r = 0; r < rank_count; r++) {
        ck_assert_int_eq(pthread_join(threads[r], NULL), 0);
    }
    comm_local_close(local);
    for (int r = 0; r < rank_count; r++) {
        ck_assert_int_eq(ranks[r].status, ERR_OK);
    }
}

/* Sums of the first sizes[m] samples of every micro-batch. */
static void check_sums(const struct step_result *result, const int64_t *sizes)
{
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    double logits[ROWS_MAX * K], loss = 0, correct = 0, count = 0;
    struct backbone64 net;

    backbone64_open(&net, &config, model_params(model), model_block(model));
    net.skips = skipped;
    backbone64_forward(&net, input, N, NULL, logits);
    for (int64_t i = 0; i < N * R; i++) {
        const int64_t sample = i / R;
        struct ref64_xent row;
        ref64_xent(&row, logits + i * K, labels[i], K);
        if (sizes == NULL || sample % MICRO < sizes[sample / MICRO]) {
            loss += row.loss;
            correct += row.predicted == labels[i];
            count++;
        }
    }
    ck_assert(result->sample_count == count);
    ck_assert(result->correct == correct);
    ck_assert(kern_is_close(result->loss, loss, 1e-5));
    backbone64_close(&net);
    model_close(model);
}

/* Loop index: without a tap and with one, each for all kinds. */
START_TEST(step__gives_the_sums_and_the_slopes_of_the_loss)
{
    struct rank rank = {.taps = _i / KINDS == 1, .trains = true};

    choose((enum kind)(_i % KINDS));
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    run_ranks(&rank, 1);
    check_sums(&rank.result, NULL);
    check_slopes(model, rank.gradients, rank.taps ? tap_loss64 : plain_loss64);
    if (rank.taps) {
        ck_assert(rank.tap_gradient == (float)(N * R));
        ck_assert(rank.tap_statistic == 10 * LEAVES);
    }
    free(rank.gradients);
    model_close(model);
}
END_TEST

/* Loop index: which layers, some but not all, are left out; for all kinds, with a tap. */
START_TEST(skip__leaves_layers_out_forward_and_backward)
{
    struct rank rank = {.taps = true, .trains = true};

    choose((enum kind)(_i % KINDS));
    skipped = (uint64_t)_i / KINDS + 1;
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    run_ranks(&rank, 1);
    check_sums(&rank.result, NULL);
    check_slopes(model, rank.gradients, tap_loss64);
    for (int64_t t = 0; t < model_params(model)->count; t++) {
        const struct param *param = &model_params(model)->params[t];
        const bool is_left_out =
            param->part >= 1 && param->part <= L && (skipped >> (param->part - 1) & 1) != 0;
        for (int64_t i = param->offset; is_left_out && i < param->offset + param->count; i++) {
            ck_assert(rank.gradients[i] == 0);
        }
    }
    free(rank.gradients);
    model_close(model);
}
END_TEST

START_TEST(step__gives_the_same_bits_for_1_2_and_4_ranks)
{
    struct rank alone = {.taps = _i / KINDS == 1, .trains = true};

    choose((enum kind)(_i % KINDS));
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    const size_t bytes = (size_t)model_params(model)->block_elems * sizeof(float);
    run_ranks(&alone, 1);
    for (int count = 2; count <= RANKS_MAX; count *= 2) {
        struct rank ranks[RANKS_MAX] = {{0}};
        for (int r = 0; r < count; r++) {
            ranks[r].taps = alone.taps;
            ranks[r].trains = true;
        }
        run_ranks(ranks, count);
        for (int r = 0; r < count; r++) {
            ck_assert(ranks[r].result.loss == alone.result.loss);
            ck_assert(ranks[r].result.sample_count == alone.result.sample_count);
            ck_assert(ranks[r].tap_gradient == alone.tap_gradient);
            ck_assert(ranks[r].tap_statistic == alone.tap_statistic);
            ck_assert_mem_eq(ranks[r].gradients, alone.gradients, bytes);
            free(ranks[r].gradients);
        }
    }
    free(alone.gradients);
    model_close(model);
}
END_TEST

/* Where ranks hold unequal numbers of samples, a mean of the ranks' means is another number. */
START_TEST(step__sums_over_samples_and_not_over_ranks)
{
    static const int64_t sizes[LEAVES] = {2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1};
    struct rank ranks[2] = {{.sizes = sizes, .taps = true, .trains = true},
                            {.sizes = sizes, .taps = true, .trains = true}};

    run_ranks(ranks, 2);
    for (int r = 0; r < 2; r++) {
        check_sums(&ranks[r].result, sizes);
        ck_assert(ranks[r].result.sample_count == 18);
        ck_assert(ranks[r].tap_gradient == 18);
        free(ranks[r].gradients);
    }
}
END_TEST

START_TEST(step__of_a_frozen_backbone_has_no_gradient_of_it)
{
    struct rank frozen = {.taps = true}, trained = {.taps = true, .trains = true};

    run_ranks(&frozen, 1);
    run_ranks(&trained, 1);
    ck_assert_ptr_null(frozen.result.gradients);
    ck_assert(frozen.result.loss == trained.result.loss);
    ck_assert(frozen.tap_gradient == N);
    free(trained.gradients);
}
END_TEST

START_TEST(finish__refuses_logits_that_are_not_finite)
{
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    struct comm_group *group = NULL;
    struct comm_local *local = NULL;
    struct step *step = NULL;
    struct step_result result;
    char text[256];

    ck_assert_int_eq(comm_local_open(1, &group, &local), ERR_OK);
    const struct step_options options = {.model = model,
                                         .group = group,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = MICRO,
                                         .micro_count = 1,
                                         .trains_backbone = true};
    ck_assert_int_eq(step_open(&options, &step), ERR_OK);
    ((float *)(uintptr_t)input->images)[64 + 5] = NAN;
    ck_assert_int_eq(step_micro_batch(step, input, labels, MICRO, 0), ERR_OK);
    ck_assert_int_eq(step_finish(step, DEADLINE_MS, &result), ERR_NOT_FINITE);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, "1 of 2 samples") != NULL, "%s", text);
    step_close(step);
    comm_close(group);
    comm_local_close(local);
    model_close(model);
}
END_TEST

START_TEST(micro_batch__refuses_words_that_the_model_has_not)
{
    struct comm_group *group = NULL;
    struct comm_local *local = NULL;
    struct step *step = NULL;
    char text[256];

    choose(BERT);
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    ck_assert_int_eq(comm_local_open(1, &group, &local), ERR_OK);
    const struct step_options options = {.model = model,
                                         .group = group,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = MICRO,
                                         .micro_count = 1};
    ck_assert_int_eq(step_open(&options, &step), ERR_OK);
    ((int32_t *)(uintptr_t)input->tokens)[input->token_stride] = 13;
    ck_assert_int_eq(step_micro_batch(step, input, labels, MICRO, 0), ERR_CORRUPT);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, "token 0 is 13, the model has words 0 .. 12") != NULL, "%s", text);
    step_close(step);
    comm_close(group);
    comm_local_close(local);
    model_close(model);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("step");
    TCase *tcase = tcase_create("step");

    tcase_add_checked_fixture(tcase, choose_first, free_samples);
    tcase_add_loop_test(tcase, step__gives_the_sums_and_the_slopes_of_the_loss, 0, 2 * KINDS);
    tcase_add_loop_test(tcase, skip__leaves_layers_out_forward_and_backward, 0, 6 * KINDS);
    tcase_add_loop_test(tcase, step__gives_the_same_bits_for_1_2_and_4_ranks, 0, 2 * KINDS);
    tcase_add_test(tcase, step__sums_over_samples_and_not_over_ranks);
    tcase_add_test(tcase, step__of_a_frozen_backbone_has_no_gradient_of_it);
    tcase_add_test(tcase, finish__refuses_logits_that_are_not_finite);
    tcase_add_test(tcase, micro_batch__refuses_words_that_the_model_has_not);
    suite_add_tcase(suite, tcase);
    return suite;
}
