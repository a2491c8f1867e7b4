/* Unit tests of exits/exits_focal.c. */
#include <check.h>
#include <math.h>

#include "exits/exits_focal.h"
#include "exits/exits_judge.h"
#include "tests/support/test_suite.h"

/* Counts of three decisions, with a published beta: worked out by hand. */
START_TEST(focal__agrees_with_a_worked_example)
{
    static const int64_t counts[] = {4399, 120956, 1457};
    const double z[] = {.2, 1, -.5};
    const double cross_entropy = log(exp(z[0]) + exp(z[1]) + exp(z[2])) - z[0];
    float weights[3];
    double slope = 0;

    exits_focal_class_weights(counts, 3, .999, weights);
    ck_assert_double_eq_tol((double)weights[0], .9159927847, 1e-6);
    ck_assert_double_eq_tol((double)weights[1], .9047603278, 1e-6);
    ck_assert_double_eq_tol((double)weights[2], 1.1792468875, 1e-6);
    ck_assert_double_eq_tol((double)weights[0] * exits_focal_loss(cross_entropy, 2, &slope),
                            .6439012357, 1e-6);
}
END_TEST

START_TEST(focal__has_the_slope_of_its_value)
{
    static const double step = 1e-6;
    double slope, unused;

    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 15; j++) {
            const double gamma = i / 2.0, loss = .01 * pow(1.7, j);
            const double above = exits_focal_loss(loss + step, gamma, &unused);
            const double below = exits_focal_loss(loss - step, gamma, &unused);
            exits_focal_loss(loss, gamma, &slope);
            ck_assert_double_eq_tol(slope, (above - below) / (2 * step), 1e-6);
        }
    }
}
END_TEST

START_TEST(focal__is_the_cross_entropy_without_gamma_and_far_from_the_label)
{
    double slope = 0;

    ck_assert(exits_focal_loss(.3, 0, &slope) == .3 && slope == 1);
    ck_assert_double_eq_tol(exits_focal_loss(80, 2, &slope), 80, 1e-9);
    ck_assert_double_eq_tol(slope, 1, 1e-9);
}
END_TEST

START_TEST(focal__leaves_samples_alone_that_are_right_for_sure)
{
    double slope = 1;

    ck_assert(exits_focal_loss(0, 2, &slope) == 0 && slope == 0);
    ck_assert(exits_focal_loss(-1e-7, 2, &slope) == 0 && slope == 0);
    ck_assert(exits_focal_loss(0, 0, &slope) == 0 && slope == 1);
    exits_focal_loss(1e-12, .5, &slope);
    ck_assert_double_eq_tol(slope, 1.5e-6, 1e-9); /* sqrt(CE) (1 + 1/2) */
}
END_TEST

START_TEST(class_weights__are_equal_without_beta_and_none_for_a_class_without_samples)
{
    static const int64_t counts[] = {10, 0, 1000};
    float weights[3];

    exits_focal_class_weights(counts, 3, 0, weights);
    ck_assert(weights[0] == 1.5f && weights[1] == 0 && weights[2] == 1.5f);
    exits_focal_class_weights(counts, 3, .99, weights);
    ck_assert(weights[0] > weights[2] && weights[1] == 0);
    ck_assert_double_eq_tol((double)(weights[0] + weights[2]), 3, 1e-6);
}
END_TEST

/* Weights are the slopes, so that the gradient is the focal loss's; what is told of is its value. */
START_TEST(judge__weighs_all_heads_by_the_slope_and_sums_the_losses)
{
    enum { G = 2, N = 3, SUMS = 5 * G + 7 };
    static const float loss[G * N] = {.1f, .7f, 2, .05f, .3f, 3}, gates[G * N];
    static const float final_loss[N] = {.2f, .4f, 1}, class_weights[] = {.5f, 1.5f};
    static const int32_t classes[G * N], labels[N] = {0, 1, 1};
    static _Alignas(8) float scratch[N * (8 * G + 8)];
    static const double costs[] = {.2, .5, 1};
    float weights[G * N], dgates[G * N], final_weights[N] = {0}, sums[SUMS] = {0};
    const struct exits_judge judge = {
        .G = G,
        .trained = G + 1,
        .weigh = EXITS_WEIGH_FOCAL,
        .teach = EXITS_TEACH_NOTHING,
        .score = EXITS_SCORE_MAX_PROB,
        .gamma = 1.7,
        .set_share = 1,
        .n = N,
        .costs = costs,
        .class_weights = class_weights,
        .loss_of = loss,
        .gate_of = gates,
        .stride = N,
        .class_of = classes,
        .class_stride = N,
        .final_loss = final_loss,
        .final_class = classes,
        .labels = labels,
        .scratch = scratch,
        .weights = weights,
        .dgates = dgates,
        .final_weights = final_weights,
        .sums = sums,
    };
    double sum = 0, slope = 0;

    exits_judge_cpu(&judge);
    for (int g = 0; g <= G; g++) {
        for (int i = 0; i < N; i++) {
            const double share = (double)class_weights[labels[i]] / (G + 1);
            const float found = g < G ? weights[g * N + i] : final_weights[i];
            sum += share *
                   exits_focal_loss((double)(g < G ? loss[g * N + i] : final_loss[i]), 1.7, &slope);
            ck_assert_double_eq_tol((double)found, share * slope, 1e-6);
        }
    }
    ck_assert_double_eq_tol((double)sums[SUMS - 1], sum, 1e-6);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_focal");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, focal__agrees_with_a_worked_example);
    tcase_add_test(tcase, focal__has_the_slope_of_its_value);
    tcase_add_test(tcase, focal__is_the_cross_entropy_without_gamma_and_far_from_the_label);
    tcase_add_test(tcase, focal__leaves_samples_alone_that_are_right_for_sure);
    tcase_add_test(tcase,
                   class_weights__are_equal_without_beta_and_none_for_a_class_without_samples);
    tcase_add_test(tcase, judge__weighs_all_heads_by_the_slope_and_sums_the_losses);
    suite_add_tcase(suite, tcase);
    return suite;
}
