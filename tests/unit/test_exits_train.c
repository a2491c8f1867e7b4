/*
 * Unit tests of exits/exits_train.h: gradients, sums and phases of one micro-batch against
 * the losses in double, whose weights and targets are held while parameters are varied.
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

#include "exits/exits_train.h"

enum { N = 9, D = 6, K = 4, G = 3, SETS = 2, LOSSES = 9, BOTH = 3 };

static const double costs[G + 1] = {0.2, 0.5, 0.7, 1};
static const double lambdas[SETS] = {0.1, 0.6};

static const struct exits_net_config net_config = {.count = G,
                                                   .layers = {0, 1, 3},
                                                   .set_count = SETS,
                                                   .width = D,
                                                   .classes = K,
                                                   .head = EXITS_HEAD_NORM_LINEAR,
                                                   .boost = 0.4,
                                                   .gate = EXITS_GATE_MLP,
                                                   .gate_hidden = 5,
                                                   .layer_norm_eps = 1e-6f};

static struct exits_train_config config_of(int loss)
{
    static const enum exits_loss losses[LOSSES] = {
        EXITS_LOSS_JEI,         EXITS_LOSS_JEI,     EXITS_LOSS_UNCERTAINTY,
        EXITS_LOSS_UNIFORM,     EXITS_LOSS_LINEAR,  EXITS_LOSS_DISTIL_LAST,
        EXITS_LOSS_DISTIL_NEXT, EXITS_LOSS_BOOSTED, EXITS_LOSS_ZERO_TIME_WASTE,
    };
    struct exits_train_config config = {
        .loss = losses[loss],
        .form = loss == 1 ? EXITS_DIRECT : EXITS_HAZARD,
        .target = loss == 1 ? EXITS_CUMULATIVE : EXITS_NO_LATER_CHEAPER,
        .balances = loss == 1,
        .loss_floor = 0.1,
        .uncertainty_floor = 0.3,
        .distill = {.temperature = 2, .weight = 0.7},
    };

    memcpy(config.lambdas, lambdas, sizeof(lambdas));
    memcpy(config.costs, costs, sizeof(costs));
    return config;
}

/* A micro-batch, and room for what a trainer makes of it. */
struct batch {
    float features[G][N * D], logits[N * K];
    int32_t labels[N];
    float dfeatures[G][N * D], dlogits[N * K];
    const float *feature_rows[G];
    float *dfeature_rows[G];
    float *gradients;
    float statistics[SETS * (5 * G + 7)];
};

struct fixture {
    struct exits_net *net;
    struct exits_balance balance;
    struct exits_trainer *trainer;
    struct step_tap tap;
    struct batch batch;
};

static void fill_batch(struct batch *batch)
{
    for (int g = 0; g < G; g++) {
        for (int i = 0; i < N * D; i++) {
            batch->features[g][i] = (float)rng_normal(2, RNG_TEST, (uint64_t)i, 50 + (uint32_t)g);
        }
        batch->feature_rows[g] = batch->features[g];
        batch->dfeature_rows[g] = batch->dfeatures[g];
    }
    for (int i = 0; i < N * K; i++) {
        batch->logits[i] = (float)rng_normal(2, RNG_TEST, (uint64_t)i, 60);
    }
    for (int i = 0; i < N; i++) {
        batch->labels[i] = (i * 5 + 2) % K;
    }
}

static void open_fixture(struct fixture *fixture, const struct exits_train_config *config)
{
    const struct kern_ops ops = model_case_ops(MODEL_CASE_PORTABLE);

    struct exits_net_config shape = net_config;

    memset(fixture, 0, sizeof(*fixture));
    shape.heads = exits_method_of(config->loss)->heads;
    ck_assert_int_eq(exits_net_open(&shape, &ops, &fixture->net), ERR_OK);
    model_case_fill(exits_net_params(fixture->net), exits_net_block(fixture->net), 4);
    exits_net_pack(fixture->net);
    fixture->balance.sample_count = 40;
    for (int i = 0; i < SETS * G; i++) {
        fixture->balance.open[i] = 7 * i + 1;
    }
    ck_assert_int_eq(
        exits_trainer_open(fixture->net, config, &fixture->balance, N, &fixture->trainer), ERR_OK);
    fixture->tap = exits_trainer_tap(fixture->trainer);
    ck_assert_int_eq(fixture->tap.statistic_count, SETS * (5 * G + 7));
    fixture->batch.gradients = calloc((size_t)fixture->tap.gradient_elems, sizeof(float));
    ck_assert_ptr_nonnull(fixture->batch.gradients);
    fill_batch(&fixture->batch);
}

static void close_fixture(struct fixture *fixture)
{
    free(fixture->batch.gradients);
    exits_trainer_close(fixture->trainer);
    exits_net_close(fixture->net);
}

static enum err run(struct fixture *fixture, uint64_t phase, bool is_joint, bool accumulate)
{
    struct batch *batch = &fixture->batch;
    const struct step_view view = {
        .n = N,
        .features = batch->feature_rows,
        .logits = batch->logits,
        .labels = batch->labels,
        .phase = phase,
        .dfeatures = is_joint ? batch->dfeature_rows : NULL,
        .dlogits = is_joint ? batch->dlogits : NULL,
        .gradients = batch->gradients,
        .accumulate = accumulate,
        .statistics = batch->statistics,
    };

    memset(batch->statistics, 0, sizeof(batch->statistics));
    ERR_TRY(fixture->tap.prepare(fixture->tap.self));
    ERR_TRY(fixture->tap.losses(fixture->tap.self, &view));
    return fixture->tap.check(fixture->tap.self, batch->statistics);
}

/* All that the losses hold constant, of one set. */
struct held {
    double weight[N][G + 1], target[N][G], feature[N][G][EXITS64_FEATURES];
    double open_weight[G];
    double loss[N][G + 1], gate[N][G];
    double logits[N][G + 1][K], lesson[N][G]; /* of all exits; what following a teacher adds */
    int left[N], predicted[N][G + 1];
};

static double sigmoid(double a)
{
    return 1 / (1 + exp(-a));
}

/* Exit probabilities of one sample, and where the hard rule lets it leave. */
static int spread(const struct exits_train_config *config, const double *gate, double p[G + 1])
{
    double rest = 1;
    int left = G;

    for (int g = 0; g < G; g++) {
        const double open = sigmoid(gate[g]);
        const bool leaves = config->loss == EXITS_LOSS_UNCERTAINTY ? open <= 0.5
                            : config->form == EXITS_HAZARD         ? open >= 0.5
                                                                   : open >= rest / 2;
        p[g] = config->form == EXITS_HAZARD ? rest * open : fmin(rest, open);
        rest -= p[g];
        left = leaves && left == G ? g : left;
    }
    p[G] = rest;
    return left;
}

static void hold_sample(const struct exits_train_config *config, int set, int trained,
                        struct held *held, int i)
{
    double p[G + 1], objective[G + 1];

    held->left[i] = spread(config, held->gate[i], p);
    for (int g = 0; g <= G; g++) {
        objective[g] = held->loss[i][g] + lambdas[set] * costs[g];
        held->weight[i][g] = config->loss == EXITS_LOSS_LINEAR        ? (g + 1) / 10.0
                             : config->loss == EXITS_LOSS_JEI         ? 0.9 * p[g] + 0.1 / trained
                             : config->loss != EXITS_LOSS_UNCERTAINTY ? 1.0 / trained
                             : g == G                                 ? 1
                                      : fmax(0.3, 1 - sigmoid(held->gate[i][g]));
    }
    for (int g = 0; g < G; g++) {
        bool is_open = config->target == EXITS_NO_LATER_CHEAPER;
        for (int j = 0; j <= G; j++) {
            if (config->target == EXITS_NO_LATER_CHEAPER) { /* no later one is cheaper */
                is_open = is_open && (j <= g || objective[g] <= objective[j]);
            } else { /* the cheapest of all is not behind */
                bool is_best = true;
                for (int k = 0; k <= G; k++) {
                    is_best = is_best && objective[j] <= objective[k];
                }
                is_open = is_open || (is_best && j <= g);
            }
        }
        held->target[i][g] =
            config->loss == EXITS_LOSS_UNCERTAINTY ? 1 - exp(-held->loss[i][g]) : (double)is_open;
    }
}

/* What exit g of sample i learns from its teacher, whose logits are held. */
static double lesson(const struct exits_train_config *config, const struct held *held, int i, int g,
                     const double z[K])
{
    const int teacher = config->loss == EXITS_LOSS_DISTIL_LAST ? G : g + 1;

    return config->loss != EXITS_LOSS_DISTIL_LAST && config->loss != EXITS_LOSS_DISTIL_NEXT
               ? 0
               : config->distill.weight *
                     exits64_lesson(z, held->logits[i][teacher], K, config->distill.temperature);
}

static void hold(const struct exits64 *exits, const struct exits_train_config *config,
                 const struct fixture *fixture, int set, bool is_joint, struct held *held)
{
    const struct batch *batch = &fixture->batch;

    for (int g = 0; g < G; g++) {
        const double open = fixture->balance.open[set * G + g];
        held->open_weight[g] =
            config->balances ? fmin(5, fmax(0.2, (40 - open) / fmax(open, 0.1))) : 1;
    }
    for (int i = 0; i < N; i++) {
        double h[D], z[K];
        struct ref64_xent row;
        for (int g = 0; g <= G; g++) {
            for (int d = 0; d < D && g < G; d++) {
                h[d] = batch->features[g][i * D + d];
            }
            for (int k = 0; k < K; k++) {
                z[k] = batch->logits[i * K + k];
            }
            if (g < G) {
                exits64_head(exits, set, g, h, z);
                exits64_chain(exits, set, g, g == 0 ? NULL : held->logits[i][g - 1], z);
                exits64_features(z, K, held->feature[i][g]);
                held->gate[i][g] = exits64_gate(exits, set, g, held->feature[i][g], h);
            }
            ref64_xent(&row, z, batch->labels[i], K);
            memcpy(held->logits[i][g], z, sizeof(z));
            held->loss[i][g] = row.loss;
            held->predicted[i][g] = row.predicted;
        }
        for (int g = 0; g < G; g++) {
            held->lesson[i][g] = lesson(config, held, i, g, held->logits[i][g]);
        }
        hold_sample(config, set, is_joint ? G + 1 : G, held, i);
    }
}

static double gate_loss(const struct exits_train_config *config, double a, double target,
                        double open_weight)
{
    if (config->loss == EXITS_LOSS_UNCERTAINTY) {
        return (sigmoid(a) - target) * (sigmoid(a) - target);
    }
    return -open_weight * target * log(sigmoid(a)) - (1 - target) * log(1 - sigmoid(a));
}

/* The loss of exit g of a set: of its head with features h [N, D], and of its gate. */
static double exit_loss(const struct exits64 *exits, const struct exits_train_config *config,
                        const struct batch *batch, int set, int g, const double *h,
                        const struct held *held)
{
    double total = 0;

    for (int i = 0; i < N; i++) {
        double z[K];
        struct ref64_xent row;
        exits64_head(exits, set, g, h + i * D, z);
        exits64_chain(exits, set, g, g == 0 ? NULL : held->logits[i][g - 1], z);
        ref64_xent(&row, z, batch->labels[i], K);
        total += held->weight[i][g] * (row.loss + lesson(config, held, i, g, z));
        total += gate_loss(config, exits64_gate(exits, set, g, held->feature[i][g], h + i * D),
                           held->target[i][g], held->open_weight[g]);
    }
    return total;
}

/* The slopes of one exit's loss along its parameters and along its features. */
static void check_exit(struct exits64 *exits, const struct exits_train_config *config,
                       const struct batch *batch, int set, int g, const struct held *held,
                       double *dh)
{
    static const double step = 1e-6;
    char prefix[64];
    double h[N * D];

    snprintf(prefix, sizeof(prefix), "exits.%d.layer.%d.", set, (int)net_config.layers[g]);
    for (int i = 0; i < N * D; i++) {
        h[i] = batch->features[g][i];
    }
    for (int64_t t = 0; t < exits->list->count; t++) {
        const struct param *param = &exits->list->params[t];
        const bool is_its = strncmp(param->name, prefix, strlen(prefix)) == 0;
        for (int64_t i = param->offset; is_its && i < param->offset + param->count; i++) {
            const double saved = exits->params[i];
            exits->params[i] = saved + step;
            double slope = exit_loss(exits, config, batch, set, g, h, held);
            exits->params[i] = saved - step;
            slope -= exit_loss(exits, config, batch, set, g, h, held);
            exits->params[i] = saved;
            slope /= 2 * step;
            if (!kern_is_close((double)batch->gradients[i], slope, 2e-5)) {
                ck_abort_msg("%s: element %d is %.9g, not %.9g", param->name,
                             (int)(i - param->offset), (double)batch->gradients[i], slope);
            }
        }
    }
    for (int i = 0; i < N * D; i++) {
        const double saved = h[i];
        h[i] = saved + step;
        double slope = exit_loss(exits, config, batch, set, g, h, held);
        h[i] = saved - step;
        slope -= exit_loss(exits, config, batch, set, g, h, held);
        h[i] = saved;
        dh[i] += slope / (2 * step) / SETS;
    }
}

static void check_dlogits(const struct batch *batch, const struct held held[SETS])
{
    for (int i = 0; i < N; i++) {
        double z[K], want[K], weight = 0;
        for (int set = 0; set < SETS; set++) {
            weight += held[set].weight[i][G] / SETS;
        }
        for (int k = 0; k < K; k++) {
            z[k] = batch->logits[i * K + k];
        }
        ref64_xent_backward(want, z, batch->labels[i], weight, K);
        for (int k = 0; k < K; k++) {
            ck_assert(kern_is_close((double)batch->dlogits[i * K + k], want[k], 1e-5));
        }
    }
}

/* Loop index: the loss, and whether the backbone is trained as well. */
START_TEST(losses__give_the_slopes_of_the_losses_with_weights_and_targets_held)
{
    const struct exits_train_config config = config_of(_i % LOSSES);
    const bool is_joint = _i >= LOSSES;
    struct fixture fixture;
    struct held held[SETS];
    struct exits64 exits;
    double dh[G][N * D] = {{0}};

    open_fixture(&fixture, &config);
    exits64_open(&exits, fixture.net);
    ck_assert_int_eq(run(&fixture, BOTH, is_joint, false), ERR_OK);
    for (int set = 0; set < SETS; set++) {
        hold(&exits, &config, &fixture, set, is_joint, &held[set]);
        for (int g = 0; g < G; g++) {
            check_exit(&exits, &config, &fixture.batch, set, g, &held[set], dh[g]);
        }
    }
    for (int i = 0; i < G * N * D && is_joint; i++) {
        const double found = (double)fixture.batch.dfeatures[i / (N * D)][i % (N * D)];
        ck_assert(kern_is_close(found, dh[i / (N * D)][i % (N * D)], 2e-5));
    }
    if (is_joint) {
        check_dlogits(&fixture.batch, held);
    }
    exits64_close(&exits);
    close_fixture(&fixture);
}
END_TEST

START_TEST(statistics__are_the_sums_over_the_samples)
{
    const struct exits_train_config config = config_of(_i);
    struct fixture fixture;
    struct exits64 exits;
    struct held held;

    open_fixture(&fixture, &config);
    exits64_open(&exits, fixture.net);
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_OK);
    for (int set = 0; set < SETS; set++) {
        const struct exits_sums sums = exits_sums_of(fixture.net, fixture.batch.statistics, set);
        double heads = 0, gates = 0, cost = 0, cost_of_counts = 0, left_in_all = 0;
        hold(&exits, &config, &fixture, set, false, &held);
        for (int g = 0; g <= G; g++) {
            double loss = 0, correct = 0, left = 0, targets = 0;
            for (int i = 0; i < N; i++) {
                loss += held.loss[i][g];
                heads += g < G ? held.weight[i][g] * (held.loss[i][g] + held.lesson[i][g]) : 0;
                correct += held.predicted[i][g] == fixture.batch.labels[i];
                left += held.left[i] == g;
                targets += g < G ? held.target[i][g] : 0;
                gates += g < G ? gate_loss(&config, held.gate[i][g], held.target[i][g],
                                           held.open_weight[g])
                               : 0;
            }
            ck_assert(kern_is_close((double)sums.loss[g], loss, 1e-5));
            ck_assert(sums.correct[g] == (float)correct);
            ck_assert(sums.left[g] == (float)left);
            ck_assert(g == G || kern_is_close((double)sums.open[g], targets, 1e-5));
            cost_of_counts += (double)sums.left[g] * costs[g];
            left_in_all += (double)sums.left[g];
        }
        for (int i = 0; i < N; i++) {
            cost += costs[held.left[i]];
        }
        ck_assert(left_in_all == N);
        ck_assert(kern_is_close((double)sums.cost, cost, 1e-6));
        ck_assert(kern_is_close((double)sums.cost, cost_of_counts, 1e-6));
        ck_assert(kern_is_close((double)sums.gate_loss, gates, 1e-5));
        ck_assert(kern_is_close((double)sums.head_loss, heads, 1e-5));
    }
    exits64_close(&exits);
    close_fixture(&fixture);
}
END_TEST

/* The gradients of one group alone, zero elsewhere: what a phase must give. */
START_TEST(phases__give_the_gradients_of_one_group_and_zero_for_the_other)
{
    static const int groups[] = {0, EXITS_GROUP_HEADS, EXITS_GROUP_GATES};
    const struct exits_train_config config = config_of(0);
    struct fixture fixture;

    open_fixture(&fixture, &config);
    const struct param_list *params = exits_net_params(fixture.net);
    const size_t bytes = (size_t)params->block_elems * sizeof(float);
    float *both = malloc(bytes);
    ck_assert_ptr_nonnull(both);
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_OK);
    memcpy(both, fixture.batch.gradients, bytes);
    for (uint64_t phase = EXITS_TRAINS_HEADS; phase <= EXITS_TRAINS_GATES; phase++) {
        memset(fixture.batch.gradients, 0xff, bytes); /* NaN, wherever it is left */
        ck_assert_int_eq(run(&fixture, phase, false, false), ERR_OK);
        for (int64_t t = 0; t < params->count; t++) {
            const struct param *param = &params->params[t];
            for (int64_t i = param->offset; i < param->offset + param->count; i++) {
                const float want = param->group == groups[phase] ? both[i] : 0;
                ck_assert(fixture.batch.gradients[i] == want);
            }
        }
        ck_assert_int_eq(run(&fixture, phase ^ BOTH, false, true), ERR_OK);
        for (int64_t i = 0; i < params->block_elems; i++) {
            ck_assert(fixture.batch.gradients[i] == both[i]);
        }
    }
    free(both);
    close_fixture(&fixture);
}
END_TEST

START_TEST(warm_up__weighs_all_heads_equally)
{
    const struct exits_train_config jei = config_of(0), uniform = config_of(3);
    struct fixture warm, even;

    open_fixture(&warm, &jei);
    open_fixture(&even, &uniform);
    ck_assert_int_eq(run(&warm, EXITS_TRAINS_HEADS | EXITS_WARMS_UP, true, false), ERR_OK);
    ck_assert_int_eq(run(&even, EXITS_TRAINS_HEADS, true, false), ERR_OK);
    ck_assert_mem_eq(warm.batch.gradients, even.batch.gradients,
                     (size_t)warm.tap.gradient_elems * sizeof(float));
    ck_assert_mem_eq(warm.batch.dfeatures, even.batch.dfeatures, sizeof(even.batch.dfeatures));
    ck_assert_mem_eq(warm.batch.dlogits, even.batch.dlogits, sizeof(even.batch.dlogits));
    close_fixture(&warm);
    close_fixture(&even);
}
END_TEST

/* The earliest most, as published with jei; the final classifier 1. */
START_TEST(warm_up__weighs_early_heads_most_if_it_is_told_to)
{
    struct exits_train_config falling = config_of(0);
    const struct exits_train_config even = config_of(3);
    struct fixture warm, plain;

    falling.warm_up = EXITS_WEIGH_DESCENDING;
    open_fixture(&warm, &falling);
    open_fixture(&plain, &even);
    ck_assert_int_eq(run(&warm, EXITS_TRAINS_HEADS | EXITS_WARMS_UP, true, false), ERR_OK);
    ck_assert_int_eq(run(&plain, EXITS_TRAINS_HEADS, true, false), ERR_OK);
    for (int g = 0; g < G; g++) { /* each weighed 1 / (G + 1) there */
        for (int i = 0; i < N * D; i++) {
            const double expected =
                (double)plain.batch.dfeatures[g][i] * (G + 1) * (double)(G + 1 - g);
            ck_assert(kern_is_close((double)warm.batch.dfeatures[g][i], expected, 1e-5));
        }
    }
    close_fixture(&warm);
    close_fixture(&plain);
}
END_TEST

START_TEST(targets__open_where_leaving_is_free_and_everywhere_for_a_huge_price)
{
    struct exits_train_config config = config_of(_i == 0 ? 0 : 1);
    struct fixture fixture;
    struct exits64 exits;
    struct held held;

    config.lambdas[0] = 0;
    config.lambdas[1] = 1e6;
    open_fixture(&fixture, &config);
    exits64_open(&exits, fixture.net);
    hold(&exits, &config, &fixture, 0, false, &held);
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_OK);
    for (int g = 0; g < G; g++) {
        float open = 0;
        for (int i = 0; i < N; i++) { /* by cross entropies alone */
            float is_open = config.target == EXITS_NO_LATER_CHEAPER ? 1 : 0;
            int best = 0;
            for (int j = 1; j <= G; j++) {
                best = held.loss[i][j] < held.loss[i][best] ? j : best;
                is_open = j > g && held.loss[i][j] < held.loss[i][g] ? 0 : is_open;
            }
            open += config.target == EXITS_NO_LATER_CHEAPER ? is_open : (float)(best <= g);
        }
        ck_assert(exits_sums_of(fixture.net, fixture.batch.statistics, 0).open[g] == open);
        ck_assert(exits_sums_of(fixture.net, fixture.batch.statistics, 1).open[g] == (float)N);
    }
    exits64_close(&exits);
    close_fixture(&fixture);
}
END_TEST

START_TEST(losses__name_the_exit_whose_logits_are_not_finite)
{
    const struct exits_train_config config = config_of(0);
    struct fixture fixture;
    char text[256];

    open_fixture(&fixture, &config);
    fixture.batch.features[2][3 * D + 1] = NAN;
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_NOT_FINITE);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, "1 samples at the exit behind layer 4") != NULL, "%s", text);
    fixture.batch.features[2][3 * D + 1] = 0;
    fixture.batch.logits[5] = -INFINITY;
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_NOT_FINITE);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, "final logits of 1 samples") != NULL, "%s", text);
    close_fixture(&fixture);
}
END_TEST

START_TEST(balance__adds_up_the_open_targets)
{
    const struct exits_train_config config = config_of(0);
    struct exits_balance balance = {.sample_count = 100};
    struct fixture fixture;

    balance.open[G] = 10;
    open_fixture(&fixture, &config);
    ck_assert_int_eq(run(&fixture, BOTH, false, false), ERR_OK);
    exits_balance_add(&balance, fixture.net, fixture.batch.statistics, N);
    ck_assert(balance.sample_count == 100 + N);
    for (int i = 0; i < SETS * G; i++) {
        const struct exits_sums sums = exits_sums_of(fixture.net, fixture.batch.statistics, i / G);
        ck_assert(balance.open[i] == (double)sums.open[i % G] + (i == G ? 10 : 0));
    }
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_train");
    TCase *tcase = tcase_create("exits_train");

    tcase_add_loop_test(tcase, losses__give_the_slopes_of_the_losses_with_weights_and_targets_held,
                        0, 2 * LOSSES);
    tcase_add_loop_test(tcase, statistics__are_the_sums_over_the_samples, 0, LOSSES);
    tcase_add_test(tcase, phases__give_the_gradients_of_one_group_and_zero_for_the_other);
    tcase_add_test(tcase, warm_up__weighs_all_heads_equally);
    tcase_add_test(tcase, warm_up__weighs_early_heads_most_if_it_is_told_to);
    tcase_add_loop_test(tcase, targets__open_where_leaving_is_free_and_everywhere_for_a_huge_price,
                        0, 2);
    tcase_add_test(tcase, losses__name_the_exit_whose_logits_are_not_finite);
    tcase_add_test(tcase, balance__adds_up_the_open_targets);
    suite_add_tcase(suite, tcase);
    return suite;
}
