/* Unit tests of exits/exits_uncertainty.c, and of the certainty weights on the same numbers. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "exits/exits_uncertainty.h"
#include "exits/exits_weight.h"
#include "tests/support/test_suite.h"

enum { EXITS = 2, ELEMENTS = 4, K = 3 };

static const double TOLERANCE = 1e-6;

/* DeeDiff as published: the error of a regression at each of two exits. */
static const double error[EXITS][ELEMENTS] = {{1, -.5, .25, 0}, {.2, -.1, .05, 0}};
static const float u[EXITS] = {.5f, .1f};

static float mean_square(const double values[])
{
    double sum = 0;

    for (int e = 0; e < ELEMENTS; e++) {
        sum += values[e] * values[e];
    }
    return (float)(sum / ELEMENTS);
}

static float mean_tanh(const double values[])
{
    double sum = 0;

    for (int e = 0; e < ELEMENTS; e++) {
        sum += tanh(fabs(values[e]));
    }
    return (float)(sum / ELEMENTS);
}

/* dL/derror of sum_l W_l mean(error_l^2), W constant. */
static double regression_gradient(const float weights[], int exit, int element)
{
    return (double)weights[exit] * 2 * error[exit][element] / ELEMENTS;
}

START_TEST(loss__is_the_published_one_on_a_regression)
{
    const double expected_targets[EXITS] = {.3671574939, .0867504225};
    float targets[EXITS], gates[EXITS], dgates[EXITS];

    for (int l = 0; l < EXITS; l++) {
        targets[l] = mean_tanh(error[l]);
        ck_assert_double_eq_tol((double)targets[l], expected_targets[l], TOLERANCE);
        gates[l] = (float)log((double)u[l] / (1 - (double)u[l]));
    }
    ck_assert_double_eq_tol(exits_uncertainty_loss(gates, targets, EXITS, dgates), .0178226827,
                            TOLERANCE);
}
END_TEST

START_TEST(certainty_weights__are_those_of_the_published_layer_loss_on_a_regression)
{
    const double by_u[EXITS][ELEMENTS] = {{.25, -.125, .0625, 0}, {.09, -.045, .0225, 0}};
    const double by_target[ELEMENTS] = {.3164212530, -.1582106265, .0791053133, 0};
    float losses[EXITS], targets[EXITS], weights[EXITS];

    for (int l = 0; l < EXITS; l++) {
        losses[l] = mean_square(error[l]);
        targets[l] = mean_tanh(error[l]);
    }
    exits_weight_certainty(u, EXITS, 0, weights);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, losses, EXITS), .175875, TOLERANCE);
    for (int e = 0; e < EXITS * ELEMENTS; e++) {
        ck_assert_double_eq_tol(regression_gradient(weights, e / ELEMENTS, e % ELEMENTS),
                                by_u[e / ELEMENTS][e % ELEMENTS], TOLERANCE);
    }
    exits_weight_certainty(targets, EXITS, 0, weights);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, losses, EXITS), .2196378480, TOLERANCE);
    for (int e = 0; e < ELEMENTS; e++) {
        ck_assert_double_eq_tol(regression_gradient(weights, 0, e), by_target[e], TOLERANCE);
    }
}
END_TEST

/* sum_l (1 - mean tanh |error_l|) mean(error_l^2): the weight not held constant. */
static double undetached_loss(const double first[])
{
    double sum = 0, tanhs = 0;

    for (int e = 0; e < ELEMENTS; e++) {
        sum += first[e] * first[e] / ELEMENTS;
        tanhs += tanh(fabs(first[e])) / ELEMENTS;
    }
    return (1 - tanhs) * sum;
}

START_TEST(certainty_weights__differ_from_the_gradient_through_the_target)
{
    const double undetached[ELEMENTS - 1] = {.2819702328, -.0936973359, .0019947202};
    float target = mean_tanh(error[0]), weight;

    exits_weight_certainty(&target, 1, 0, &weight);
    for (int e = 0; e < ELEMENTS - 1; e++) {
        const double step = 1e-5;
        double above[ELEMENTS], below[ELEMENTS];
        memcpy(above, error[0], sizeof(above));
        memcpy(below, error[0], sizeof(below));
        above[e] += step;
        below[e] -= step;
        const double slope = (undetached_loss(above) - undetached_loss(below)) / (2 * step);
        ck_assert_double_eq_tol(slope, undetached[e], TOLERANCE);
        ck_assert_double_gt(fabs(regression_gradient(&weight, 0, e) - slope), .03);
    }
}
END_TEST

/* Softmax and cross entropy of class 0. */
static double softmax(const float z[], double p_out[])
{
    double sum = 0;

    for (int k = 0; k < K; k++) {
        p_out[k] = exp((double)z[k]);
        sum += p_out[k];
    }
    for (int k = 0; k < K; k++) {
        p_out[k] /= sum;
    }
    return -log(p_out[0]);
}

START_TEST(targets__are_1_minus_the_probability_of_the_label)
{
    const float z[EXITS][K] = {{2, .5f, -1}, {3, -1, 0}};
    const double expected_p[EXITS] = {.7855970346, .9362395519};
    const double expected_loss[EXITS] = {.2413112967, .0658839038};
    const double expected_dz[K] = {-.1684343338, .1377076123, .0307267216};
    double p[EXITS][K];
    float losses[EXITS], targets[EXITS], weights[EXITS];

    for (int l = 0; l < EXITS; l++) {
        losses[l] = (float)softmax(z[l], p[l]);
        ck_assert_double_eq_tol((double)losses[l], expected_loss[l], TOLERANCE);
    }
    exits_uncertainty_targets(losses, EXITS, targets);
    for (int l = 0; l < EXITS; l++) {
        ck_assert_double_eq_tol((double)targets[l], 1 - expected_p[l], TOLERANCE);
    }
    exits_weight_certainty(targets, EXITS, 0, weights);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, losses, EXITS), .2512565556, TOLERANCE);
    for (int k = 0; k < K; k++) {
        const double dz = (double)weights[0] * (p[0][k] - (k == 0));
        ck_assert_double_eq_tol(dz, expected_dz[k], TOLERANCE);
    }
}
END_TEST

/* p CE as a function of CE, p = e^-CE, falls beyond CE = 1; p constant, it rises. */
START_TEST(targets__held_constant_push_a_hard_sample_the_right_way)
{
    const float hard = 2;
    const double step = 1e-4;
    float target, weight;

    exits_uncertainty_targets(&hard, 1, &target);
    exits_weight_certainty(&target, 1, 0, &weight);
    const double through = (exp(-(2 + step)) * (2 + step) - exp(-(2 - step)) * (2 - step)) / 2;
    ck_assert_double_eq_tol((double)weight, .1353352832, TOLERANCE);
    ck_assert_double_eq_tol(through / step, -.1353352832, TOLERANCE);
}
END_TEST

START_TEST(targets__keep_the_digits_of_small_losses)
{
    const float losses[] = {1e-6f, 200, 0};
    float targets[3];

    exits_uncertainty_targets(losses, 3, targets);
    ck_assert_double_eq_tol((double)targets[0] / 9.999995e-7, 1, 1e-6);
    ck_assert_float_eq(targets[1], 1);
    ck_assert_float_eq(targets[2], 0);
}
END_TEST

START_TEST(loss__has_the_gradient_of_its_differences)
{
    const float targets[] = {.1f, .9f, .5f, 0, 1};
    enum { GATES = 5 };
    float gates[GATES] = {-2, .5f, 0, 3, -1.25f}, dgates[GATES], unused[GATES];
    const float step = 1.0f / 256;

    exits_uncertainty_loss(gates, targets, GATES, dgates);
    for (int l = 0; l < GATES; l++) {
        const float at = gates[l];
        gates[l] = at + step;
        const double above = exits_uncertainty_loss(gates, targets, GATES, unused);
        gates[l] = at - step;
        const double below = exits_uncertainty_loss(gates, targets, GATES, unused);
        gates[l] = at;
        ck_assert_double_eq_tol((double)dgates[l], (above - below) / (2 * (double)step), 3e-5);
    }
    ck_assert_float_eq(dgates[2], 0);
    ck_assert_float_lt(dgates[1], 0); /* u is too low: the logit must rise */
}
END_TEST

/* Learning to exit: u = .7, .2, .1, the first answer wrong. */
START_TEST(error_loss__is_the_published_mean_over_the_exits)
{
    const double u3[] = {.7, .2, .1}, slopes[] = {-.2, .1333333333, .0666666667};
    const float targets[] = {1, 0, 0};
    float gates[3], dgates[3];

    for (int l = 0; l < 3; l++) {
        gates[l] = (float)log(u3[l] / (1 - u3[l]));
    }
    ck_assert_double_eq_tol(exits_error_loss(gates, targets, 3, dgates), .0466666667, TOLERANCE);
    for (int l = 0; l < 3; l++) { /* by the logit, from that by u */
        ck_assert_double_eq_tol((double)dgates[l], slopes[l] * u3[l] * (1 - u3[l]), TOLERANCE);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_uncertainty");
    TCase *tcase = tcase_create("exits_uncertainty");

    tcase_add_test(tcase, loss__is_the_published_one_on_a_regression);
    tcase_add_test(tcase, certainty_weights__are_those_of_the_published_layer_loss_on_a_regression);
    tcase_add_test(tcase, certainty_weights__differ_from_the_gradient_through_the_target);
    tcase_add_test(tcase, targets__are_1_minus_the_probability_of_the_label);
    tcase_add_test(tcase, targets__held_constant_push_a_hard_sample_the_right_way);
    tcase_add_test(tcase, targets__keep_the_digits_of_small_losses);
    tcase_add_test(tcase, loss__has_the_gradient_of_its_differences);
    tcase_add_test(tcase, error_loss__is_the_published_mean_over_the_exits);
    suite_add_tcase(suite, tcase);
    return suite;
}
