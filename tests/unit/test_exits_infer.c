/*
 * Unit tests of exits/exits_infer.c: who leaves where, and with which class, is what full
 * passes of all samples say, to the last bit of a score.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_decide.h"
#include "exits/exits_infer.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"

enum { N = 23, D = 12, K = 5, L = 5, G = 3, SETS = 2, ROUNDS = 40, POLICIES = 9, PIXELS = 64 };
enum {
    HEADS = 4
}; /* kinds of them, the last plain with ensembles; loops go over these for each set of kernels */

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
                                           .hidden_act = KERN_GELU_TANH};
static const struct exits_net_config net_config = {.count = G,
                                                   .layers = {0, 1, 3},
                                                   .set_count = SETS,
                                                   .width = D,
                                                   .classes = K,
                                                   .head = EXITS_HEAD_NORM_LINEAR,
                                                   .gate = EXITS_GATE_MLP,
                                                   .gate_hidden = 5,
                                                   .layer_norm_eps = 1e-6f};

/* A backbone with exits, and what full passes of it say of N images. */
struct fixture {
    struct model *model;
    struct exits_net *net;
    struct exits_infer *infer;
    float *images;
    float gates[SETS][N * G], max_prob[SETS][N * G], features[SETS][N * G * KERN_XENT_FEATURES];
    int32_t predicted[SETS][N * (G + 1)];
};

static void look_at_exit(struct fixture *fixture, struct exits_work *work, int exit,
                         const float *pooled)
{
    for (int set = 0; set < SETS; set++) {
        exits_forward(work, set, exit, pooled, N, NULL, NULL);
        const struct exits_view view = exits_view_of(work, set, exit);
        for (int i = 0; i < N; i++) {
            fixture->gates[set][i * G + exit] = view.gate[i];
            fixture->max_prob[set][i * G + exit] = view.features[i * KERN_XENT_FEATURES];
            fixture->predicted[set][i * (G + 1) + exit] = view.predicted[i];
            memcpy(fixture->features[set] + (i * G + exit) * KERN_XENT_FEATURES,
                   view.features + i * KERN_XENT_FEATURES, KERN_XENT_FEATURES * sizeof(float));
        }
    }
}

static void look_at_all(struct fixture *fixture)
{
    struct model_work *work = NULL;
    struct exits_work *exits = NULL;
    float pooled[N * D], logits[N * K];
    int32_t final[N];
    const struct kern_xent_out out = {.predicted = final};
    int exit = 0;

    ck_assert_int_eq(model_work_open(fixture->model, N, false, &work), ERR_OK);
    ck_assert_int_eq(exits_work_open(fixture->net, N, &exits), ERR_OK);
    model_embed_forward(work, &(struct model_input){.images = fixture->images}, N);
    for (int layer = 0; layer < L; layer++) {
        model_block_forward(work, layer);
        if (exit < G && net_config.layers[exit] == layer) {
            model_pool(work, pooled);
            look_at_exit(fixture, exits, exit, pooled);
            exit++;
        }
    }
    model_pool(work, pooled);
    model_head_forward(work, logits, pooled);
    model_ops(fixture->model)->xent_forward(&out, logits, NULL, N, K);
    for (int i = 0; i < SETS * N; i++) {
        fixture->predicted[i / N][i % N * (G + 1) + G] = final[i % N];
    }
    exits_work_close(exits);
    model_work_close(work);
}

static void open_fixture(struct fixture *fixture, int kind)
{
    const int which = kind / HEADS;
    struct exits_net_config net = net_config;
    struct model_config shape = config;
    const struct kern_ops ops = model_case_ops((enum model_case_ops)which);

    memset(fixture, 0, sizeof(*fixture));
    net.heads = (enum exits_heads)(kind % HEADS % 3);
    net.gate = kind % HEADS < 3 ? EXITS_GATE_MLP : EXITS_GATE_ENSEMBLE;
    net.boost = 0.7;
    shape.pooling = which % 2 == 0 ? MODEL_POOLING_CLS : MODEL_POOLING_MEAN;
    fixture->model = model_case_open(&shape, (enum model_case_ops)which);
    fixture->images = model_case_images(&shape, N, 5);
    ck_assert_int_eq(exits_net_open(&net, &ops, &fixture->net), ERR_OK);
    model_case_fill(exits_net_params(fixture->net), exits_net_block(fixture->net), 8);
    exits_net_pack(fixture->net);
    ck_assert_int_eq(exits_infer_open(fixture->model, fixture->net, N, &fixture->infer), ERR_OK);
    look_at_all(fixture);
}

static void close_fixture(struct fixture *fixture)
{
    exits_infer_close(fixture->infer);
    exits_net_close(fixture->net);
    model_close(fixture->model);
    free(fixture->images);
}

static void scores_of(const struct fixture *fixture, const struct exits_policy *policy,
                      float scores[N * G])
{
    const int set = policy->set;
    const struct exits_answers answers = {N, G, fixture->features[set], fixture->gates[set],
                                          fixture->predicted[set]};

    exits_scores(policy->score, policy->form, &answers, scores);
}

/* A softmax, of which the predicted class has the most, and at an exit what the exit says of itself. */
static void check_probabilities(const struct fixture *fixture, int set, int i, int exit,
                                int predicted, const float *probabilities)
{
    float sum = 0;

    for (int k = 0; k < K; k++) {
        ck_assert(probabilities[k] >= 0 && probabilities[k] <= probabilities[predicted]);
        sum += probabilities[k];
    }
    ck_assert_float_eq_tol(sum, 1, 1e-5f);
    if (exit < G) {
        ck_assert_float_eq_tol(probabilities[predicted], fixture->max_prob[set][i * G + exit],
                               1e-5f);
    }
}

/* Runs the policy and compares with the decisions on full passes; left [G + 1] is added to. */
static void check_policy(struct fixture *fixture, const struct exits_policy *policy, int left[])
{
    float scores[N * G], probabilities[N * K];
    int32_t want[N], chosen[N], predicted[N];
    const struct exits_infer_out out = {chosen, predicted, probabilities};

    scores_of(fixture, policy, scores);
    if (policy->lows == NULL) {
        exits_decide_threshold(scores, policy->thresholds, N, G, want);
    } else {
        exits_decide_window(scores, policy->lows, policy->thresholds, N, G, want);
    }
    ck_assert_int_eq(exits_infer_run(fixture->infer, policy,
                                     &(struct model_input){.images = fixture->images}, N, &out),
                     ERR_OK);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(chosen[i], want[i]);
        ck_assert_int_eq(predicted[i], fixture->predicted[policy->set][i * (G + 1) + want[i]]);
        check_probabilities(fixture, policy->set, i, want[i], predicted[i], probabilities + i * K);
        left[want[i]]++;
    }
}

/* Which kernels promise a row the same bits among fewer others: all but the library's. */
static bool keeps_bits(int kind)
{
    const int which = kind / HEADS;

    return which != MODEL_CASE_BLAS && which < model_case_ops_count();
}

static struct exits_policy policy_of(int kind, const double *thresholds)
{
    static const struct {
        enum exits_score score;
        enum exits_form form;
    } kinds[POLICIES] = {
        {EXITS_SCORE_HAZARD, EXITS_HAZARD},     {EXITS_SCORE_HAZARD, EXITS_DIRECT},
        {EXITS_SCORE_CERTAINTY, EXITS_HAZARD},  {EXITS_SCORE_MAX_PROB, EXITS_HAZARD},
        {EXITS_SCORE_MARGIN, EXITS_HAZARD},     {EXITS_SCORE_ENTROPY, EXITS_HAZARD},
        {EXITS_SCORE_CUMULATIVE, EXITS_HAZARD}, {EXITS_SCORE_CUMULATIVE, EXITS_DIRECT},
        {EXITS_SCORE_AGREEMENT, EXITS_HAZARD},
    };

    return (struct exits_policy){.set = kind / POLICIES,
                                 .score = kinds[kind % POLICIES].score,
                                 .form = kinds[kind % POLICIES].form,
                                 .thresholds = thresholds};
}

/* Thresholds are scores that occur, where >= and > differ, and one float above them. */
START_TEST(run__lets_samples_leave_where_full_passes_say)
{
    struct fixture fixture;
    int left[G + 1] = {0};

    if (!keeps_bits(_i)) {
        return;
    }
    open_fixture(&fixture, _i);
    for (int run = 0; run < ROUNDS * POLICIES * SETS; run++) {
        const int kind =
            run % SETS * POLICIES + run / SETS % POLICIES; /* sets in turn: nothing may stay */
        const uint64_t round = (uint64_t)(run / (POLICIES * SETS));
        double thresholds[G];
        float scores[N * G];
        const struct exits_policy policy = policy_of(kind, thresholds);
        scores_of(&fixture, &policy, scores);
        for (uint32_t g = 0; g < G; g++) {
            const uint64_t word = rng_u64((uint64_t)kind, RNG_TEST, round, g);
            const float score = scores[word % N * G + g];
            thresholds[g] = (double)(word >> 32 & 1 ? nextafterf(score, INFINITY) : score);
            if ((word >> 40) % 5 == 0) {
                thresholds[g] = (double)((word >> 50) % 3 == 0 ? -INFINITY : INFINITY);
            }
        }
        check_policy(&fixture, &policy, left);
    }
    for (int g = 0; g <= G; g++) {
        ck_assert_int_gt(left[g], 4 * SETS * ROUNDS);
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(run__lets_all_leave_at_once_or_none_at_all)
{
    static const double all[G] = {-1e30, 2, 2}, late[G] = {INFINITY, 1e30, -1e30};
    static const double none[G] = {INFINITY, INFINITY, INFINITY}, high[G] = {1e30, 1e30, 1e30};
    struct fixture fixture;

    if (!keeps_bits(_i)) {
        return;
    }
    open_fixture(&fixture, _i);
    for (int kind = 0; kind < POLICIES * SETS; kind++) {
        const double *const thresholds[] = {all, late, none, high};
        static const int exits[] = {0, 2, G, G};
        for (int t = 0; t < 4; t++) {
            const struct exits_policy policy = policy_of(kind, thresholds[t]);
            int left[G + 1] = {0};
            check_policy(&fixture, &policy, left);
            ck_assert_int_eq(left[exits[t]], N);
        }
    }
    close_fixture(&fixture);
}
END_TEST

/* Windows whose edges are scores that occur, or lie one float beside them, or are switched off. */
START_TEST(run__lets_samples_leave_outside_of_windows)
{
    struct fixture fixture;
    int left[G + 1] = {0};

    if (!keeps_bits(_i)) {
        return;
    }
    open_fixture(&fixture, _i);
    for (int run = 0; run < ROUNDS * POLICIES * SETS; run++) {
        const int kind = run % (POLICIES * SETS);
        double highs[G], lows[G];
        float scores[N * G];
        struct exits_policy policy = policy_of(kind, highs);
        policy.lows = lows;
        scores_of(&fixture, &policy, scores);
        for (uint32_t g = 0; g < G; g++) {
            const uint64_t word = rng_u64((uint64_t)run, RNG_TEST, 1, g);
            const float a = scores[word % N * G + g], b = scores[(word >> 20) % N * G + g];
            highs[g] = (double)(word >> 41 & 1 ? nextafterf(fmaxf(a, b), INFINITY) : fmaxf(a, b));
            lows[g] = (double)(word >> 42 & 1 ? nextafterf(fminf(a, b), -INFINITY) : fminf(a, b));
            highs[g] = (word >> 43) % 4 == 0 ? (double)INFINITY : highs[g];
            lows[g] = (word >> 46) % 4 == 0 ? -(double)INFINITY : lows[g];
        }
        check_policy(&fixture, &policy, left);
    }
    for (int g = 0; g <= G; g++) {
        ck_assert_int_gt(left[g], 2 * SETS * ROUNDS);
    }
    close_fixture(&fixture);
}
END_TEST

/* The same sample alone, in the middle of others, and after a larger batch. */
START_TEST(run__says_the_same_of_a_sample_in_any_batch)
{
    double thresholds[G];
    struct fixture fixture;
    int32_t chosen[N], predicted[N], again, again_predicted;
    float probabilities[N * K], again_probabilities[K];
    const struct exits_infer_out out = {chosen, predicted, probabilities};
    const struct exits_infer_out alone = {&again, &again_predicted, again_probabilities};

    if (!keeps_bits(_i)) {
        return;
    }
    open_fixture(&fixture, _i);
    for (int g = 0; g < G; g++) {
        thresholds[g] = (double)fixture.max_prob[1][7 * G + g];
    }
    const struct exits_policy policy = policy_of(POLICIES + 3, thresholds);
    ck_assert_int_eq(exits_infer_run(fixture.infer, &policy,
                                     &(struct model_input){.images = fixture.images}, N, &out),
                     ERR_OK);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(
            exits_infer_run(fixture.infer, &policy,
                            &(struct model_input){.images = fixture.images + i * PIXELS}, 1,
                            &alone),
            ERR_OK);
        ck_assert_int_eq(again, chosen[i]);
        ck_assert_int_eq(again_predicted, predicted[i]);
        ck_assert_mem_eq(again_probabilities, probabilities + i * K, sizeof(again_probabilities));
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(run__refuses_what_is_not_finite)
{
    static const double none[G] = {INFINITY, INFINITY, INFINITY}, high[G] = {1e30, 1e30, 1e30};
    struct fixture fixture;
    int32_t chosen[N], predicted[N];
    const struct exits_infer_out out = {.chosen = chosen, .predicted = predicted};

    open_fixture(&fixture, MODEL_CASE_PORTABLE * HEADS);
    fixture.images[3 * PIXELS + 1] = NAN;
    for (int t = 0; t < 2; t++) {
        const struct exits_policy policy = policy_of(3, t == 0 ? none : high);
        char text[256];
        ck_assert_int_eq(exits_infer_run(fixture.infer, &policy,
                                         &(struct model_input){.images = fixture.images}, N, &out),
                         ERR_NOT_FINITE);
        err_text(text, sizeof(text));
        ck_assert_msg(strstr(text, t == 0 ? "the end" : "layer 1") != NULL, "%s", text);
    }
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_infer");
    TCase *tcase = tcase_create("exits_infer");

    tcase_add_loop_test(tcase, run__lets_samples_leave_where_full_passes_say, 0,
                        HEADS * MODEL_CASE_OPS);
    tcase_add_loop_test(tcase, run__lets_all_leave_at_once_or_none_at_all, 0,
                        HEADS * MODEL_CASE_OPS);
    tcase_add_loop_test(tcase, run__lets_samples_leave_outside_of_windows, 0,
                        HEADS * MODEL_CASE_OPS);
    tcase_add_loop_test(tcase, run__says_the_same_of_a_sample_in_any_batch, 0,
                        HEADS * MODEL_CASE_OPS);
    tcase_add_test(tcase, run__refuses_what_is_not_finite);
    suite_add_tcase(suite, tcase);
    return suite;
}
