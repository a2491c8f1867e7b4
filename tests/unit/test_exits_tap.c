/*
 * Unit test of exits on a backbone: a step on cached features is, bit by bit, a step of the
 * frozen backbone with the exits as its tap.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_local.h"
#include "exits/exits_step.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"

enum { LEAVES = 6, MICRO = 3, N = LEAVES * MICRO, D = 12, K = 5, L = 4, G = 2, SETS = 2 };
enum { PIXELS = 64, ELEMS = G * D + K, DEADLINE_MS = 20000 };

static const struct model_config config = {.image_size = 8,
                                           .patch_size = 4,
                                           .num_channels = 1,
                                           .hidden_size = D,
                                           .num_hidden_layers = L,
                                           .num_attention_heads = 3,
                                           .intermediate_size = 10,
                                           .num_labels = K,
                                           .layer_norm_eps = 1e-6,
                                           .initializer_range = 0.02,
                                           .hidden_act = KERN_GELU_TANH,
                                           .pooling = MODEL_POOLING_CLS};
static const struct exits_net_config net_config = {.count = G,
                                                   .layers = {0, 2},
                                                   .set_count = SETS,
                                                   .width = D,
                                                   .classes = K,
                                                   .head = EXITS_HEAD_NORM_MLP,
                                                   .head_hidden = 9,
                                                   .gate = EXITS_GATE_LINEAR,
                                                   .layer_norm_eps = 1e-6f};
static const struct exits_train_config train_config = {
    .loss = EXITS_LOSS_JEI, .loss_floor = 0.1, .lambdas = {0.1, 0.5}, .costs = {0.3, 0.8, 1}};

struct fixture {
    struct comm_group *group;
    struct comm_local *local;
    struct model *model;
    struct exits_net *net;
    struct exits_balance balance;
    struct exits_trainer *trainer;
    float *images;
    int32_t labels[N];
    float *gradients, *statistics; /* of the step by the tap */
    struct step_result by_tap;
};

static void open_fixture(struct fixture *fixture, int which)
{
    const struct kern_ops ops = model_case_ops((enum model_case_ops)which);

    memset(fixture, 0, sizeof(*fixture));
    ck_assert_int_eq(comm_local_open(1, &fixture->group, &fixture->local), ERR_OK);
    fixture->model = model_case_open(&config, (enum model_case_ops)which);
    fixture->images = model_case_images(&config, N, 0);
    ck_assert_int_eq(exits_net_open(&net_config, &ops, &fixture->net), ERR_OK);
    model_case_fill(exits_net_params(fixture->net), exits_net_block(fixture->net), 8);
    exits_net_pack(fixture->net);
    ck_assert_int_eq(exits_trainer_open(fixture->net, &train_config, &fixture->balance, MICRO,
                                        &fixture->trainer),
                     ERR_OK);
    for (int i = 0; i < N; i++) {
        fixture->labels[i] = (i * 3 + 2) % K;
    }
}

static void close_fixture(struct fixture *fixture)
{
    free(fixture->gradients);
    free(fixture->statistics);
    free(fixture->images);
    exits_trainer_close(fixture->trainer);
    exits_net_close(fixture->net);
    model_close(fixture->model);
    comm_close(fixture->group);
    comm_local_close(fixture->local);
}

static float *copy(const float *from, int64_t count)
{
    float *to = malloc((size_t)count * sizeof(float));

    ck_assert_ptr_nonnull(to);
    memcpy(to, from, (size_t)count * sizeof(float));
    return to;
}

static void run_by_tap(struct fixture *fixture)
{
    const struct step_tap tap = exits_trainer_tap(fixture->trainer);
    const struct step_options options = {.model = fixture->model,
                                         .group = fixture->group,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = MICRO,
                                         .micro_count = LEAVES,
                                         .tap = &tap};
    struct step *step = NULL;

    ck_assert_int_eq(step_open(&options, &step), ERR_OK);
    for (int64_t m = 0; m < LEAVES; m++) {
        ck_assert_int_eq(
            step_micro_batch(
                step, &(struct model_input){.images = fixture->images + m * MICRO * PIXELS},
                fixture->labels + m * MICRO, MICRO, EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES),
            ERR_OK);
    }
    ck_assert_int_eq(step_finish(step, DEADLINE_MS, &fixture->by_tap), ERR_OK);
    fixture->gradients = copy(fixture->by_tap.tap_gradients, tap.gradient_elems);
    fixture->statistics = copy(fixture->by_tap.tap_statistics, tap.statistic_count);
    step_close(step);
}

/* Features from passes of other sizes than the step's micro-batches. */
static struct exits_cache *open_cache(const struct fixture *fixture)
{
    enum { PASS = 7 };
    const struct exits_cache_shape shape = {N, G, D, K};
    struct exits_cache *cache = NULL;
    struct model_work *work = NULL;
    float pooled[PASS * D], logits[PASS * K];

    ck_assert_int_eq(exits_cache_open(&shape, &cache), ERR_OK);
    ck_assert_int_eq(model_work_open(fixture->model, PASS, false, &work), ERR_OK);
    for (int at = 0; at < N; at += PASS) {
        const int n = N - at < PASS ? N - at : PASS;
        float *rows = exits_cache_rows(cache) + at * ELEMS;
        int exit = 0;
        model_embed_forward(work, &(struct model_input){.images = fixture->images + at * PIXELS},
                            n);
        for (int64_t layer = 0; layer < L; layer++) {
            model_block_forward(work, layer);
            if (exit < G && net_config.layers[exit] == layer) {
                model_pool(work, pooled);
                for (int i = 0; i < n; i++) {
                    memcpy(rows + i * ELEMS + exit * D, pooled + i * D, D * sizeof(float));
                }
                exit++;
            }
        }
        model_pool(work, pooled);
        model_head_forward(work, logits, pooled);
        for (int i = 0; i < n; i++) {
            memcpy(rows + i * ELEMS + G * D, logits + i * K, K * sizeof(float));
        }
    }
    model_work_close(work);
    return cache;
}

static void check_cached(struct fixture *fixture, const struct exits_cache *cache)
{
    const struct exits_step_options options = {.net = fixture->net,
                                               .trainer = fixture->trainer,
                                               .cache = cache,
                                               .labels = fixture->labels,
                                               .ops = exits_net_ops(fixture->net),
                                               .group = fixture->group,
                                               .order = COMM_REDUCE_TREE,
                                               .micro_samples = MICRO,
                                               .micro_count = LEAVES};
    struct exits_step *step = NULL;
    struct step_result result;
    uint32_t samples[N];

    for (uint32_t i = 0; i < N; i++) {
        samples[i] = i;
    }
    ck_assert_int_eq(exits_step_open(&options, &step), ERR_OK);
    ck_assert_int_eq(exits_step_run(step, samples, EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES,
                                    DEADLINE_MS, &result),
                     ERR_OK);
    ck_assert(result.sample_count == N);
    ck_assert(result.correct == fixture->by_tap.correct);
    ck_assert_double_eq_tol(result.loss, fixture->by_tap.loss, 1e-4);
    ck_assert_mem_eq(result.tap_gradients, fixture->gradients,
                     (size_t)exits_net_params(fixture->net)->block_elems * sizeof(float));
    ck_assert_mem_eq(result.tap_statistics, fixture->statistics,
                     (size_t)exits_statistic_count(fixture->net) * sizeof(float));
    exits_step_close(step);
}

START_TEST(cached_step__has_the_bits_of_a_step_of_the_frozen_backbone)
{
    struct fixture fixture;

    if (_i == MODEL_CASE_BLAS || _i >= model_case_ops_count()) { /* the library's rows vary */
        return;
    }
    open_fixture(&fixture, _i);
    run_by_tap(&fixture);
    struct exits_cache *cache = open_cache(&fixture);
    check_cached(&fixture, cache);
    exits_cache_close(cache);
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_tap");
    TCase *tcase = tcase_create("exits_tap");

    tcase_add_loop_test(tcase, cached_step__has_the_bits_of_a_step_of_the_frozen_backbone, 0,
                        MODEL_CASE_OPS);
    suite_add_tcase(suite, tcase);
    return suite;
}
