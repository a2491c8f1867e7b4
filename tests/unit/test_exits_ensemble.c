/* Unit tests of exits/exits_ensemble.h, and of nets whose exits answer by ensembles. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_ensemble.h"
#include "tests/support/exits64.h"
#include "tests/support/model_case.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"

enum { N = 5, D = 7, K = 4, G = 3, SETS = 2 };

static const double TOLERANCE = 1e-6;

/* Members say .6 .4 and .3 .7; w = 0, ln 2; b = .1, 0. */
START_TEST(answer__is_the_published_geometric_mean)
{
    const float logits[4] = {(float)log(.6), (float)log(.4), (float)(log(.3) + 5),
                             (float)(log(.7) + 5)}; /* no shift of logits matters */
    const float lse[4] = {0, 0, 5, 0}, weights[2] = {0, (float)log(2)}, bias[2] = {.1f, 0};
    float answer[2];
    const struct exits_ensemble ensemble = {.n = 1,
                                            .K = 2,
                                            .members = 2,
                                            .logits = logits,
                                            .lse = lse,
                                            .stride = 2,
                                            .weights = weights,
                                            .bias = bias,
                                            .answer = answer};

    exits_ensemble_forward_cpu(&ensemble);
    ck_assert_double_eq_tol((double)answer[0], -1.3593856162, TOLERANCE);
    ck_assert_double_eq_tol((double)answer[1], -.8148203099, TOLERANCE);
    const double share = 1 / (1 + exp((double)(answer[1] - answer[0])));
    ck_assert_double_eq_tol(share, .3671262162, TOLERANCE);
}
END_TEST

/* A net with ensembles, and what its exits say of N samples, in double. */
struct fixture {
    struct exits_net *net;
    struct exits_work *work;
    struct exits64 exits;
    float features[N * D], weights[N];
    int32_t labels[N];
    double logits[G][N][K];
};

static void open_fixture(struct fixture *fixture, int set)
{
    const struct kern_ops ops = model_case_ops(MODEL_CASE_PORTABLE);
    const struct exits_net_config config = {.count = G,
                                            .layers = {0, 1, 2},
                                            .set_count = SETS,
                                            .width = D,
                                            .classes = K,
                                            .head = EXITS_HEAD_NORM_LINEAR,
                                            .heads = EXITS_HEADS_CASCADED,
                                            .gate = EXITS_GATE_ENSEMBLE,
                                            .layer_norm_eps = 1e-6f};

    ck_assert_int_eq(exits_net_open(&config, &ops, &fixture->net), ERR_OK);
    model_case_fill(exits_net_params(fixture->net), exits_net_block(fixture->net), 11);
    exits_net_pack(fixture->net);
    ck_assert_int_eq(exits_work_open(fixture->net, N, &fixture->work), ERR_OK);
    exits64_open(&fixture->exits, fixture->net);
    for (int i = 0; i < N * D; i++) {
        fixture->features[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i, 77);
    }
    for (int i = 0; i < N; i++) {
        fixture->labels[i] = (i * 3 + 1) % K;
        fixture->weights[i] = 0.2f + 0.3f * (float)i;
    }
    for (int g = 0; g < G; g++) {
        exits_forward(fixture->work, set, g, fixture->features, N, fixture->labels, NULL);
        for (int i = 0; i < N; i++) {
            double h[D];
            for (int d = 0; d < D; d++) {
                h[d] = (double)fixture->features[i * D + d];
            }
            exits64_head(&fixture->exits, set, g, h, fixture->logits[g][i]);
            exits64_chain(&fixture->exits, set, g, g == 0 ? NULL : fixture->logits[g - 1][i],
                          fixture->logits[g][i]);
        }
    }
}

static void close_fixture(struct fixture *fixture)
{
    exits64_close(&fixture->exits);
    exits_work_close(fixture->work);
    exits_net_close(fixture->net);
}

/* The answer of exit g for sample i, of the heads as they are. */
static void answer_of(const struct fixture *fixture, int set, int g, int i, double e[K])
{
    double z[G * K];

    for (int j = 0; j <= g; j++) {
        memcpy(z + j * K, fixture->logits[j][i], K * sizeof(double));
    }
    exits64_ensemble(&fixture->exits, set, g, z, e);
}

START_TEST(forward__answers_by_ensembles_and_keeps_what_heads_say)
{
    struct fixture fixture;

    for (int set = 0; set < SETS; set++) {
        open_fixture(&fixture, set);
        for (int at = 0; at < G * N; at++) {
            const int g = at / N, i = at % N;
            const struct exits_view view = exits_view_of(fixture.work, set, g);
            struct ref64_xent own, answer;
            double e[K];
            answer_of(&fixture, set, g, i, e);
            ref64_xent(&own, fixture.logits[g][i], fixture.labels[i], K);
            ref64_xent(&answer, e, fixture.labels[i], K);
            for (int k = 0; k < K; k++) {
                ck_assert(
                    kern_is_close((double)view.logits[i * K + k], fixture.logits[g][i][k], 1e-5));
                ck_assert(kern_is_close((double)view.answer[i * K + k], e[k], 1e-5));
            }
            ck_assert(kern_is_close((double)view.own_loss[i], own.loss, 1e-5));
            ck_assert(kern_is_close((double)view.loss[i], answer.loss, 1e-5));
            ck_assert(kern_is_close((double)view.features[i * 4], answer.features[0], 1e-5));
            ck_assert_int_eq(view.predicted[i], answer.predicted);
        }
        close_fixture(&fixture);
    }
}
END_TEST

/* Heads are constants: what an ensemble learns moves its weights and its bias alone. */
static double ensemble_loss(const struct fixture *fixture, int set, int g)
{
    double sum = 0;

    for (int i = 0; i < N; i++) {
        struct ref64_xent row;
        double e[K];
        answer_of(fixture, set, g, i, e);
        ref64_xent(&row, e, fixture->labels[i], K);
        sum += (double)fixture->weights[i] * row.loss;
    }
    return sum;
}

START_TEST(gate_backward__gives_the_slopes_of_the_answers_with_heads_held)
{
    static const double step = 1e-6;
    const int set = _i / G, g = _i % G;
    struct fixture fixture;
    char prefix[64];
    int checked = 0;

    open_fixture(&fixture, set);
    const struct param_list *params = exits_net_params(fixture.net);
    float *gradients = calloc((size_t)params->block_elems, sizeof(float));
    ck_assert_ptr_nonnull(gradients);
    for (int round = 0; round < 2; round++) { /* the second adds to the first */
        exits_gate_backward(fixture.work, set, g, fixture.features, fixture.weights, gradients,
                            round > 0);
    }
    snprintf(prefix, sizeof(prefix), "exits.%d.layer.%d.ensemble.", set, g);
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        const bool is_its = strncmp(param->name, prefix, strlen(prefix)) == 0;
        for (int64_t i = param->offset; i < param->offset + param->count; i++) {
            double *place = &fixture.exits.params[i];
            const double saved = *place;
            if (!is_its) {
                ck_assert(gradients[i] == 0);
                continue;
            }
            *place = saved + step;
            double slope = ensemble_loss(&fixture, set, g);
            *place = saved - step;
            slope -= ensemble_loss(&fixture, set, g);
            *place = saved;
            ck_assert(kern_is_close((double)gradients[i], 2 * slope / (2 * step), 2e-5));
            checked++;
        }
    }
    ck_assert_int_eq(checked, g + 1 + K);
    free(gradients);
    close_fixture(&fixture);
}
END_TEST

/* Of samples that go on, later exits say what they would have said among all. */
START_TEST(keep__moves_together_what_later_heads_see)
{
    static const uint32_t kept[] = {1, 2, 4};
    struct fixture fixture;
    float later[3 * D], expected[G][N * K];

    open_fixture(&fixture, 0);
    for (int g = 0; g < G; g++) {
        memcpy(expected[g], exits_view_of(fixture.work, 0, g).answer, sizeof(expected[g]));
    }
    for (int i = 0; i < 3; i++) {
        memcpy(later + i * D, fixture.features + kept[i] * D, D * sizeof(float));
    }
    exits_forward(fixture.work, 0, 0, fixture.features, N, NULL, NULL);
    exits_forward(fixture.work, 0, 1, fixture.features, N, NULL, NULL);
    ck_assert_int_eq(exits_keep(fixture.work, 0, 1, kept, 3), ERR_OK);
    exits_forward(fixture.work, 0, 2, later, 3, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_mem_eq(exits_view_of(fixture.work, 0, 2).answer + i * K,
                         expected[2] + kept[i] * K, K * sizeof(float));
    }
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_ensemble");
    TCase *tcase = tcase_create("exits_ensemble");

    tcase_add_test(tcase, answer__is_the_published_geometric_mean);
    tcase_add_test(tcase, forward__answers_by_ensembles_and_keeps_what_heads_say);
    tcase_add_loop_test(tcase, gate_backward__gives_the_slopes_of_the_answers_with_heads_held, 0,
                        SETS * G);
    tcase_add_test(tcase, keep__moves_together_what_later_heads_see);
    suite_add_tcase(suite, tcase);
    return suite;
}
