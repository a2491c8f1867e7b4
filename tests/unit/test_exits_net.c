/*
 * Unit tests of exits/exits_net.h: heads and gates against the equations in double, their
 * gradients against differences of those, for all kinds and all sets of kernels.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/exits64.h"
#include "tests/support/model_case.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"

enum { N = 5, D = 7, K = 4, G = 2, SETS = 2, GATES = 5, KINDS = 3 * GATES };

static struct exits_net_config config_of(int kind)
{
    return (struct exits_net_config){.count = G,
                                     .layers = {1, 4},
                                     .set_count = SETS,
                                     .width = D,
                                     .classes = K,
                                     .head = (enum exits_head_kind)(kind / GATES),
                                     .head_hidden = 9,
                                     .gate = (enum exits_gate_kind)(kind % GATES),
                                     .gate_hidden = 6,
                                     .layer_norm_eps = 1e-6f};
}

static struct exits_net *open_net(int kind, enum model_case_ops which)
{
    const struct kern_ops ops = model_case_ops(which);
    const struct exits_net_config config = config_of(kind);
    struct exits_net *net = NULL;

    ck_assert_int_eq(exits_net_open(&config, &ops, &net), ERR_OK);
    model_case_fill(exits_net_params(net), exits_net_block(net), 11);
    exits_net_pack(net);
    return net;
}

static struct exits_work *open_work(const struct exits_net *net)
{
    struct exits_work *work = NULL;

    ck_assert_int_eq(exits_work_open(net, N + 1, &work), ERR_OK);
    return work;
}

/* What every test feeds: N rows of the pooled stream, labels, and factors of the losses. */
struct input {
    float features[N * D];
    int32_t labels[N];
    float weights[N];
};

static struct input make_input(void)
{
    struct input input;

    for (int i = 0; i < N * D; i++) {
        input.features[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i, 77);
    }
    for (int i = 0; i < N; i++) {
        input.labels[i] = (i * 3 + 1) % K;
        input.weights[i] = 0.2f + 0.3f * (float)i;
    }
    return input;
}

static void widen(double *to, const float *from, int count)
{
    for (int i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

static int bad_in_forward(struct exits_work *work, int set, int exit, const float *features,
                          int64_t n, const int32_t *labels)
{
    float bad = 0;

    exits_forward(work, set, exit, features, n, labels, &bad);
    return (int)bad;
}

START_TEST(forward__gives_what_the_equations_give_in_double)
{
    const struct input input = make_input();

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct exits_net *net = open_net(_i, (enum model_case_ops)which);
        struct exits_work *work = open_work(net);
        struct exits64 exits;
        exits64_open(&exits, net);
        for (int at = 0; at < SETS * G; at++) {
            const int set = at / G, exit = at % G;
            ck_assert_int_eq(bad_in_forward(work, set, exit, input.features, N, input.labels), 0);
            const struct exits_view view = exits_view_of(work, set, exit);
            for (int i = 0; i < N; i++) {
                double h[D], z[K], f[EXITS64_FEATURES];
                struct ref64_xent row;
                widen(h, input.features + i * D, D);
                exits64_head(&exits, set, exit, h, z);
                exits64_features(z, K, f);
                ref64_xent(&row, z, input.labels[i], K);
                for (int k = 0; k < K; k++) {
                    ck_assert(kern_is_close((double)view.logits[i * K + k], z[k], 1e-5));
                }
                for (int k = 0; k < EXITS64_FEATURES; k++) {
                    const bool scales = k % 2 == 1 && config_of(_i).gate > EXITS_GATE_MLP;
                    const double want = f[k] * (scales ? log(K) : 1);
                    ck_assert(kern_is_close((double)view.features[i * 4 + k], want, 1e-5));
                }
                ck_assert(kern_is_close((double)view.loss[i], row.loss, 1e-5));
                ck_assert(kern_is_close((double)view.gate[i], exits64_gate(&exits, set, exit, f, h),
                                        2e-5));
                ck_assert_int_eq(view.predicted[i], row.predicted);
            }
        }
        exits64_close(&exits);
        exits_work_close(work);
        exits_net_close(net);
    }
}
END_TEST

START_TEST(features__lie_in_0_to_1_at_both_ends)
{
    struct exits_net *net = open_net(EXITS_HEAD_LINEAR * GATES, MODEL_CASE_PORTABLE);
    struct exits_work *work = open_work(net);
    const struct input input = make_input();
    static const float even[] = {1.0f / K, 1, 0, 1}, sure[] = {1, 0, 1, 0};

    memset(exits_net_block(net), 0, (size_t)exits_net_params(net)->block_elems * sizeof(float));
    exits_net_pack(net);
    ck_assert_int_eq(bad_in_forward(work, 0, 0, input.features, N, NULL), 0);
    for (int k = 0; k < 4; k++) {
        ck_assert_float_eq_tol(exits_view_of(work, 0, 0).features[k], even[k], 1e-6f);
    }
    const struct param_list *params = exits_net_params(net);
    ck_assert_ptr_nonnull(strstr(params->params[1].name, "layer.1.classifier.bias"));
    exits_net_block(net)[params->params[1].offset + 2] = 500;
    ck_assert_int_eq(bad_in_forward(work, 0, 0, input.features, N, NULL), 0);
    for (int k = 0; k < 4; k++) {
        ck_assert_float_eq_tol(exits_view_of(work, 0, 0).features[k], sure[k], 1e-6f);
    }
    ck_assert_int_eq(exits_view_of(work, 0, 0).predicted[0], 2);
    exits_work_close(work);
    exits_net_close(net);
}
END_TEST

/* sum_i weights_i CE_i, or sum_i weights_i a_i with the gate's features as they were. */
static double head_loss(const struct exits64 *exits, int set, int exit, const double *h,
                        const struct input *input)
{
    double loss = 0;

    for (int i = 0; i < N; i++) {
        struct ref64_xent row;
        double z[K];
        exits64_head(exits, set, exit, h + i * D, z);
        ref64_xent(&row, z, input->labels[i], K);
        loss += (double)input->weights[i] * row.loss;
    }
    return loss;
}

static double gate_sum(const struct exits64 *exits, int set, int exit, const double *features,
                       const struct input *input)
{
    double sum = 0;

    for (int i = 0; i < N; i++) {
        double h[D];
        widen(h, input->features + i * D, D);
        sum += (double)input->weights[i] * exits64_gate(exits, set, exit, features + i * 4, h);
    }
    return sum;
}

typedef double loss_fn(const struct exits64 *exits, int set, int exit, const double *inputs,
                       const struct input *input);

static double slope(loss_fn *loss, const struct exits64 *exits, int at, const double *inputs,
                    double *place, const struct input *input)
{
    static const double h = 1e-6;
    const double saved = *place;

    *place = saved + h;
    const double above = loss(exits, at / G, at % G, inputs, input);
    *place = saved - h;
    const double below = loss(exits, at / G, at % G, inputs, input);
    *place = saved;
    return (above - below) / (2 * h);
}

/* Whether tensor t belongs to exit `at` of the net, and to the group. */
static bool is_of(const struct exits_net *net, int64_t t, int at, int group)
{
    const struct param *param = &exits_net_params(net)->params[t];
    char exit[64], shared[64];

    snprintf(exit, sizeof(exit), "exits.%d.layer.%d.", at / G,
             (int)exits_net_config_of(net)->layers[at % G]);
    snprintf(shared, sizeof(shared), "exits.%d.gate.", at / G);
    return param->group == group && (strncmp(param->name, exit, strlen(exit)) == 0 ||
                                     strncmp(param->name, shared, strlen(shared)) == 0);
}

static const float untouched = -77.5f;

/* Tensors of the exit and group have the slopes of `loss`, others were not touched. */
static void check_gradients(struct exits_net *net, int at, int group, const float *gradients,
                            loss_fn *loss, const double *inputs, const struct input *input)
{
    const struct param_list *params = exits_net_params(net);
    struct exits64 exits;

    exits64_open(&exits, net);
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        for (int64_t i = param->offset; i < param->offset + param->count; i++) {
            if (!is_of(net, t, at, group)) {
                ck_assert_msg(gradients[i] == untouched, "%s was written", param->name);
                continue;
            }
            const double want = slope(loss, &exits, at, inputs, &exits.params[i], input);
            if (!kern_is_close((double)gradients[i], want, 2e-5)) {
                ck_abort_msg("%s: element %d is %.9g, not %.9g", param->name,
                             (int)(i - param->offset), (double)gradients[i], want);
            }
        }
    }
    exits64_close(&exits);
}

static float *open_gradients(const struct exits_net *net)
{
    const int64_t elems = exits_net_params(net)->block_elems;
    float *gradients = malloc((size_t)elems * sizeof(float));

    ck_assert_ptr_nonnull(gradients);
    for (int64_t i = 0; i < elems; i++) {
        gradients[i] = untouched;
    }
    return gradients;
}

START_TEST(head_backward__gives_the_slopes_of_the_weighted_cross_entropy)
{
    const struct input input = make_input();
    double h[N * D];

    widen(h, input.features, N * D);
    for (int which = 0; which < model_case_ops_count(); which++) {
        struct exits_net *net = open_net(_i, (enum model_case_ops)which);
        struct exits_work *work = open_work(net);
        struct exits64 exits;
        exits64_open(&exits, net);
        for (int at = 0; at < SETS * G; at++) {
            float *gradients = open_gradients(net);
            float *unwanted = open_gradients(net);
            float dfeatures[N * D];
            exits_forward(work, at / G, at % G, input.features, N, input.labels, NULL);
            exits_head_backward(work, at / G, at % G, input.features, input.labels, input.weights,
                                gradients, false, dfeatures);
            check_gradients(net, at, EXITS_GROUP_HEADS, gradients, head_loss, h, &input);
            for (int i = 0; i < N * D; i++) {
                const double want = slope(head_loss, &exits, at, h, &h[i], &input);
                ck_assert(kern_is_close((double)dfeatures[i], want, 2e-5));
            }
            exits_head_backward(work, at / G, at % G, input.features, input.labels, input.weights,
                                unwanted, false, NULL);
            ck_assert_mem_eq(gradients, unwanted,
                             (size_t)exits_net_params(net)->block_elems * sizeof(float));
            free(gradients);
            free(unwanted);
        }
        exits64_close(&exits);
        exits_work_close(work);
        exits_net_close(net);
    }
}
END_TEST

START_TEST(gate_backward__gives_the_slopes_with_the_features_held)
{
    const struct input input = make_input();

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct exits_net *net = open_net(_i, (enum model_case_ops)which);
        struct exits_work *work = open_work(net);
        for (int at = 0; at < SETS * G; at++) {
            float *gradients = open_gradients(net);
            double features[N * 4];
            exits_forward(work, at / G, at % G, input.features, N, input.labels, NULL);
            widen(features, exits_view_of(work, at / G, at % G).features, N * 4);
            if (config_of(_i).gate == EXITS_GATE_SHARED && at % G > 0) { /* adds to the first */
                for (int64_t e = 0; e < exits_net_params(net)->count; e++) {
                    const struct param *param = &exits_net_params(net)->params[e];
                    for (int64_t j = 0; j < param->count && is_of(net, e, at, EXITS_GROUP_GATES);
                         j++) {
                        gradients[param->offset + j] = 0;
                    }
                }
            }
            exits_gate_backward(work, at / G, at % G, input.features, input.weights, gradients,
                                false);
            check_gradients(net, at, EXITS_GROUP_GATES, gradients, gate_sum, features, &input);
            free(gradients);
        }
        exits_work_close(work);
        exits_net_close(net);
    }
}
END_TEST

START_TEST(backward__adds_to_what_is_there_when_asked)
{
    const struct input input = make_input();
    struct exits_net *net = open_net(_i, MODEL_CASE_PORTABLE);
    struct exits_work *work = open_work(net);
    const int64_t elems = exits_net_params(net)->block_elems;
    float *once = open_gradients(net), *twice = open_gradients(net);

    for (int pass = 0; pass < 2; pass++) {
        float *gradients = pass == 0 ? once : twice;
        for (int round = 0; round <= pass; round++) {
            exits_forward(work, 1, 0, input.features, N, input.labels, NULL);
            exits_head_backward(work, 1, 0, input.features, input.labels, input.weights, gradients,
                                round > 0, NULL);
            exits_gate_backward(work, 1, 0, input.features, input.weights, gradients, round > 0);
        }
    }
    int written = 0;
    for (int64_t i = 0; i < elems; i++) {
        if (once[i] != untouched) {
            ck_assert(kern_is_close((double)twice[i], 2 * (double)once[i], 1e-5));
            written++;
        }
    }
    ck_assert_int_gt(written, K * D);
    free(once);
    free(twice);
    exits_work_close(work);
    exits_net_close(net);
}
END_TEST

START_TEST(forward__counts_rows_that_are_not_finite_and_spares_the_others)
{
    struct exits_net *net = open_net(_i, MODEL_CASE_PORTABLE);
    struct exits_work *work = open_work(net);
    struct input input = make_input();
    float good[K];

    ck_assert_int_eq(bad_in_forward(work, 0, 1, input.features, N, input.labels), 0);
    memcpy(good, exits_view_of(work, 0, 1).logits + 4 * K, sizeof(good));
    input.features[1 * D + 3] = NAN;
    input.features[2 * D + 0] = INFINITY;
    ck_assert_int_eq(bad_in_forward(work, 0, 1, input.features, N, input.labels), 2);
    ck_assert_mem_eq(good, exits_view_of(work, 0, 1).logits + 4 * K, sizeof(good));
    exits_work_close(work);
    exits_net_close(net);
}
END_TEST

START_TEST(init__is_the_same_in_all_sets_and_opens_gates_by_the_prior)
{
    static const double prior[G] = {0.2, 0.7};
    struct exits_net *net = open_net(_i, MODEL_CASE_PORTABLE);
    struct exits_work *work = open_work(net);
    const struct input input = make_input();
    const int64_t set_elems = exits_net_params(net)->block_elems / SETS;
    const float *block = exits_net_block(net);

    ck_assert_int_eq(exits_net_init(net, 5, prior), ERR_OK);
    exits_net_pack(net);
    ck_assert_mem_eq(block, block + set_elems, (size_t)set_elems * sizeof(float));
    for (int at = 0; at < SETS * G; at++) {
        exits_forward(work, at / G, at % G, input.features, N, NULL, NULL);
        for (int i = 0; i < N; i++) {
            const double a = (double)exits_view_of(work, at / G, at % G).gate[i];
            const double want = config_of(_i).gate == EXITS_GATE_SHARED ? 0.5 : prior[at % G];
            ck_assert_double_eq_tol(1 / (1 + exp(-a)), want, 1e-6);
        }
    }
    const float first = block[exits_net_params(net)->params[_i >= GATES ? 2 : 0].offset];
    ck_assert_int_eq(exits_net_init(net, 6, prior), ERR_OK);
    ck_assert(first != block[exits_net_params(net)->params[_i >= GATES ? 2 : 0].offset]);
    exits_work_close(work);
    exits_net_close(net);
}
END_TEST

START_TEST(open__refuses_layers_and_sets_that_make_no_sense)
{
    const struct kern_ops ops = model_case_ops(MODEL_CASE_PORTABLE);
    struct exits_net_config bad[4] = {config_of(0), config_of(0), config_of(0), config_of(0)};
    static const char *const words[4] = {"ascend", "no layer", "lambdas", "lambdas"};
    struct exits_net *net = NULL;
    char text[256];

    bad[0].layers[1] = 1;
    bad[1].count = 0;
    bad[2].set_count = 0;
    bad[3].set_count = EXITS_SETS_MAX + 1;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(exits_net_open(&bad[i], &ops, &net), ERR_CONFIG);
        err_text(text, sizeof(text));
        ck_assert_msg(strstr(text, words[i]) != NULL, "%s", text);
        ck_assert_ptr_null(net);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_net");
    TCase *tcase = tcase_create("exits_net");

    tcase_add_loop_test(tcase, forward__gives_what_the_equations_give_in_double, 0, KINDS);
    tcase_add_test(tcase, features__lie_in_0_to_1_at_both_ends);
    tcase_add_loop_test(tcase, head_backward__gives_the_slopes_of_the_weighted_cross_entropy, 0,
                        KINDS);
    tcase_add_loop_test(tcase, gate_backward__gives_the_slopes_with_the_features_held, 0, KINDS);
    tcase_add_loop_test(tcase, backward__adds_to_what_is_there_when_asked, 0, KINDS);
    tcase_add_loop_test(tcase, forward__counts_rows_that_are_not_finite_and_spares_the_others, 0,
                        KINDS);
    tcase_add_loop_test(tcase, init__is_the_same_in_all_sets_and_opens_gates_by_the_prior, 0,
                        KINDS);
    tcase_add_test(tcase, open__refuses_layers_and_sets_that_make_no_sense);
    suite_add_tcase(suite, tcase);
    return suite;
}
