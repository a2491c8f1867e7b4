/* Unit tests of exits/exits_score.c: worked examples, and agreement with the plain definitions. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_decide.h"
#include "exits/exits_score.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_xent.h"

enum { N = 200, G = 5, F = 4 };

static float features[N * G * F], gates[N * G];
static int32_t predicted[N * (G + 1)];
static float scores[N * G];

static struct exits_answers answers(void)
{
    for (uint32_t at = 0; at < N * G; at++) {
        gates[at] = 3 * (float)rng_normal(1, RNG_TEST, at, 0);
        for (uint32_t f = 0; f < F; f++) {
            features[at * F + f] = (float)rng_uniform(2, RNG_TEST, at, f);
        }
    }
    for (uint32_t at = 0; at < N * (G + 1); at++) {
        predicted[at] = (int32_t)(2 * rng_uniform(3, RNG_TEST, at, 0));
    }
    return (struct exits_answers){N, G, features, gates, predicted};
}

/* The features of one row of logits, standardised as a gate gets them. */
static void features_of(const float z[], int K, float out[F])
{
    const struct kern_xent_out xent = {.features = out};

    kern_xent_forward_portable(&xent, z, NULL, 1, K);
    out[1] /= logf((float)K);
    out[3] /= logf((float)K);
}

static float score_of(enum exits_score score, const float z[], int K)
{
    float row[F];
    struct exits_score_state state = exits_score_begin();

    features_of(z, K, row);
    return exits_score_next(score, EXITS_HAZARD, &(struct exits_said){.features = row}, &state);
}

START_TEST(entropy__is_a_certainty_of_0_to_1_and_never_nan)
{
    const float z[] = {2, .5f, -1}, huge[] = {800, 0, 0}, equal[] = {7, 7, 7};
    float row[F];

    features_of(z, 3, row);
    ck_assert_double_eq_tol((double)row[1] * log(3), .6215846047, 1e-6);
    ck_assert_double_eq_tol((double)score_of(EXITS_SCORE_ENTROPY, z, 3), .4342093102, 1e-6);
    ck_assert_float_eq(score_of(EXITS_SCORE_ENTROPY, huge, 3), 1);
    ck_assert_float_eq_tol(score_of(EXITS_SCORE_ENTROPY, equal, 3), 0, 1e-6f);
}
END_TEST

START_TEST(max_prob_and_margin__are_those_of_the_softmax)
{
    const float z[] = {logf(.7f), logf(.2f), logf(.1f)};

    ck_assert_float_eq_tol(score_of(EXITS_SCORE_MAX_PROB, z, 3), .7f, 1e-6f);
    ck_assert_float_eq_tol(score_of(EXITS_SCORE_MARGIN, z, 3), .5f, 1e-6f);
}
END_TEST

/* Evaluators that apply softmax to probabilities cannot see a confidence above these. */
START_TEST(max_prob__of_a_softmax_of_a_one_hot_row_is_known)
{
    static const float ten[10] = {[3] = 1}, hundred[100] = {[99] = 1};

    ck_assert_double_eq_tol((double)score_of(EXITS_SCORE_MAX_PROB, ten, 10), .2319693167, 1e-6);
    ck_assert_double_eq_tol((double)score_of(EXITS_SCORE_MAX_PROB, hundred, 100), .0267236310,
                            1e-6);
}
END_TEST

START_TEST(hazard__has_the_bits_of_exits_hazards_in_both_forms)
{
    const struct exits_answers all = answers();
    float hazards[G];

    for (int form = EXITS_HAZARD; form <= EXITS_DIRECT; form++) {
        exits_scores(EXITS_SCORE_HAZARD, (enum exits_form)form, &all, scores);
        for (int i = 0; i < N; i++) {
            exits_hazards((enum exits_form)form, gates + i * G, G, hazards);
            ck_assert_mem_eq(hazards, scores + i * G, sizeof(hazards));
        }
    }
}
END_TEST

START_TEST(cumulative__is_the_running_sum_of_exit_probabilities)
{
    const struct exits_answers all = answers();
    float p[G + 1];

    for (int form = EXITS_HAZARD; form <= EXITS_DIRECT; form++) {
        exits_scores(EXITS_SCORE_CUMULATIVE, (enum exits_form)form, &all, scores);
        for (int i = 0; i < N; i++) {
            double sum = 0;
            exits_probability((enum exits_form)form, gates + i * G, G, p);
            for (int l = 0; l < G; l++) {
                sum += (double)p[l];
                ck_assert_double_eq_tol((double)scores[i * G + l], sum, 1e-6);
            }
        }
    }
}
END_TEST

START_TEST(cumulative__leaves_where_q_exit_does)
{
    const double hazards[] = {.2, .5, .25, .9};
    static const float none[4 * F];
    const int32_t same[5] = {0};
    float logits[4], s[4];
    double thresholds[4];
    int32_t chosen = -1;

    for (int l = 0; l < 4; l++) {
        logits[l] = (float)log(hazards[l] / (1 - hazards[l]));
        thresholds[l] = .5;
    }
    const struct exits_answers one = {1, 4, none, logits, same};
    exits_scores(EXITS_SCORE_CUMULATIVE, EXITS_HAZARD, &one, s);
    ck_assert_float_eq_tol(s[0], .2f, 1e-6f);
    ck_assert_float_eq_tol(s[1], .6f, 1e-6f);
    ck_assert_float_eq_tol(s[2], .7f, 1e-6f);
    ck_assert_float_eq_tol(s[3], .97f, 1e-6f);
    exits_decide_threshold(s, thresholds, 1, 4, &chosen);
    ck_assert_int_eq(chosen, 1);
}
END_TEST

START_TEST(agreement__against_a_patience_is_exits_decide_patience)
{
    const struct exits_answers all = answers();
    int32_t want[N], chosen[N];
    double thresholds[G];

    exits_scores(EXITS_SCORE_AGREEMENT, EXITS_HAZARD, &all, scores);
    for (int patience = 0; patience <= G; patience++) {
        for (int l = 0; l < G; l++) {
            thresholds[l] = patience == 0 ? (double)INFINITY : patience;
        }
        exits_decide_patience(predicted, patience, N, G, want);
        exits_decide_threshold(scores, thresholds, N, G, chosen);
        ck_assert_mem_eq(chosen, want, sizeof(chosen));
    }
}
END_TEST

START_TEST(certainty__is_minus_the_logit)
{
    const struct exits_answers all = answers();

    exits_scores(EXITS_SCORE_CERTAINTY, EXITS_HAZARD, &all, scores);
    for (int at = 0; at < N * G; at++) {
        ck_assert_float_eq(scores[at], -gates[at]);
    }
}
END_TEST

START_TEST(names__are_all_there)
{
    for (int s = 0; s < EXITS_SCORE_COUNT; s++) {
        ck_assert_ptr_nonnull(exits_score_name((enum exits_score)s));
    }
    ck_assert(exits_score_accumulates(EXITS_SCORE_HAZARD, EXITS_DIRECT));
    ck_assert(!exits_score_accumulates(EXITS_SCORE_HAZARD, EXITS_HAZARD));
    ck_assert(exits_score_accumulates(EXITS_SCORE_AGREEMENT, EXITS_HAZARD));
    ck_assert(exits_score_accumulates(EXITS_SCORE_CUMULATIVE, EXITS_HAZARD));
    ck_assert(!exits_score_reads_gates(EXITS_SCORE_MAX_PROB));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_score");
    TCase *tcase = tcase_create("exits_score");

    tcase_add_test(tcase, entropy__is_a_certainty_of_0_to_1_and_never_nan);
    tcase_add_test(tcase, max_prob_and_margin__are_those_of_the_softmax);
    tcase_add_test(tcase, max_prob__of_a_softmax_of_a_one_hot_row_is_known);
    tcase_add_test(tcase, hazard__has_the_bits_of_exits_hazards_in_both_forms);
    tcase_add_test(tcase, cumulative__is_the_running_sum_of_exit_probabilities);
    tcase_add_test(tcase, cumulative__leaves_where_q_exit_does);
    tcase_add_test(tcase, agreement__against_a_patience_is_exits_decide_patience);
    tcase_add_test(tcase, certainty__is_minus_the_logit);
    tcase_add_test(tcase, names__are_all_there);
    suite_add_tcase(suite, tcase);
    return suite;
}
