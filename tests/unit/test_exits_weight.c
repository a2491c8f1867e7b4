/* Unit tests of exits/exits_weight.c. */
#include <check.h>
#include <math.h>

#include "exits/exits_weight.h"
#include "tests/support/test_suite.h"

enum { N = 2, G = 3 };

static const double TOLERANCE = 1e-6;
static const float P[N][G] = {{.3f, .5f, .2f}, {.6f, .4f, 0}};
static const float CE[N][G] = {{2, 1, .5f}, {.9f, .3f, .1f}};
static const float loss[] = {1.2f, .5f, .45f, .4f};

static void check_weights(const float weights[], const double expected[], int count)
{
    for (int l = 0; l < count; l++) {
        ck_assert_double_eq_tol((double)weights[l], expected[l], TOLERANCE);
    }
}

START_TEST(jei__is_the_exit_probability_above_a_floor)
{
    const double plain[G] = {.3, .5, .2}, floored[G] = {.27 + .1 / 3, .45 + .1 / 3, .18 + .1 / 3};
    float weights[G];

    exits_weight_jei(P[0], G, 0, weights);
    check_weights(weights, plain, G);
    exits_weight_jei(P[0], G, .1, weights);
    check_weights(weights, floored, G);
}
END_TEST

START_TEST(jei__makes_the_loss_the_expected_cross_entropy)
{
    double sum = 0;

    for (int i = 0; i < N; i++) {
        float weights[G];
        exits_weight_jei(P[i], G, 0, weights);
        sum += exits_weighted_loss(weights, CE[i], G);
    }
    ck_assert_double_eq_tol(sum / N, .93, TOLERANCE);
    ck_assert_double_eq_tol(sum / (N * G), .31, TOLERANCE);
}
END_TEST

/* The published head loss with its scale inside: (1 / N G) sum_i r_i sum_l W_il CE_il, with
   r_i = sum_l CE_il / sum_l W_il CE_il. */
static double scaled_loss(float weights[N][G], double losses[N][G])
{
    double sum = 0;

    for (int i = 0; i < N; i++) {
        double plain = 0, weighted = 0;
        for (int l = 0; l < G; l++) {
            plain += losses[i][l];
            weighted += (double)weights[i][l] * losses[i][l];
        }
        sum += plain / weighted * weighted;
    }
    return sum / (N * G);
}

START_TEST(jei__carries_the_gates_into_the_gradient_where_the_published_scale_cancels_them)
{
    const double detached[N][G] = {{.1458333333, .2430555556, .0972222222},
                                   {.1969696970, .1313131313, 0}};
    const double ratios[N] = {2.9166666667, 1.9696969697};
    float weights[N][G];
    double losses[N][G];

    for (int i = 0; i < N; i++) {
        double plain = 0;
        exits_weight_jei(P[i], G, 0, weights[i]);
        for (int l = 0; l < G; l++) {
            losses[i][l] = (double)CE[i][l];
            plain += losses[i][l];
        }
        const double ratio = plain / exits_weighted_loss(weights[i], CE[i], G);
        ck_assert_double_eq_tol(ratio, ratios[i], TOLERANCE);
        for (int l = 0; l < G; l++) {
            const double gradient = ratio * (double)weights[i][l] / (N * G);
            ck_assert_double_eq_tol(gradient, detached[i][l], TOLERANCE);
        }
    }
    ck_assert_double_eq_tol(scaled_loss(weights, losses), .8, TOLERANCE);
    for (int at = 0; at < N * G; at++) {
        const int i = at / G, l = at % G;
        const double step = 1e-3, before = scaled_loss(weights, losses);
        losses[i][l] += step;
        const double gradient = (scaled_loss(weights, losses) - before) / step;
        losses[i][l] -= step;
        ck_assert_double_eq_tol(gradient, 1.0 / (N * G), 1e-9);
        ck_assert_double_gt(fabs(detached[i][l] - gradient), .02);
    }
}
END_TEST

START_TEST(certainty__is_1_minus_u_but_never_below_the_floor)
{
    const float u[G] = {.5f, .1f, .97f};
    const double expected[G] = {.5, .9, .1};
    float weights[G];

    exits_weight_certainty(u, G, .1, weights);
    check_weights(weights, expected, G);
}
END_TEST

START_TEST(uniform__is_the_mean)
{
    float weights[4];

    exits_weight_uniform(4, weights);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, loss, 4), .6375, TOLERANCE);
}
END_TEST

START_TEST(linear__grows_with_depth_and_sums_to_1)
{
    const double expected[] = {.1, .2, .3, .4};
    float weights[4];

    exits_weight_linear(4, weights);
    check_weights(weights, expected, 4);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, loss, 4), .515, TOLERANCE);
}
END_TEST

START_TEST(weighted_loss__takes_an_explicit_list)
{
    const float weights[] = {1, .3f};

    ck_assert_double_eq_tol(exits_weighted_loss(weights, loss, 2), 1.35, TOLERANCE);
}
END_TEST

START_TEST(depth__sums_to_one_half)
{
    const double expected[] = {.05, .1, .15, .2};
    float weights[4];

    exits_weight_depth(4, weights);
    check_weights(weights, expected, 4);
}
END_TEST

START_TEST(descending__weighs_the_first_exit_most_and_the_end_1)
{
    const double expected[] = {4, 3, 2, 1};
    float weights[4];

    exits_weight_descending(4, weights);
    check_weights(weights, expected, 4);
    ck_assert_double_eq_tol(exits_weighted_loss(weights, loss, 4), 7.6, TOLERANCE);
}
END_TEST

START_TEST(ramp__rises_from_a_hundredth_to_its_peak)
{
    const float peaks[] = {.15f, .3f, .45f, .6f, .75f, .9f};
    const double expected[][6] = {{.0115, .013, .0145, .016, .0175, .019},
                                  {.085, .16, .235, .31, .385, .46},
                                  {.15, .3, .45, .6, .75, .9}};
    const double epochs[] = {1, 50, 100};
    float weights[6];

    for (int i = 0; i < 3; i++) {
        exits_weight_ramp(peaks, 6, epochs[i], 100, weights);
        check_weights(weights, expected[i], 6);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_weight");
    TCase *tcase = tcase_create("exits_weight");

    tcase_add_test(tcase, jei__is_the_exit_probability_above_a_floor);
    tcase_add_test(tcase, jei__makes_the_loss_the_expected_cross_entropy);
    tcase_add_test(tcase,
                   jei__carries_the_gates_into_the_gradient_where_the_published_scale_cancels_them);
    tcase_add_test(tcase, certainty__is_1_minus_u_but_never_below_the_floor);
    tcase_add_test(tcase, uniform__is_the_mean);
    tcase_add_test(tcase, linear__grows_with_depth_and_sums_to_1);
    tcase_add_test(tcase, weighted_loss__takes_an_explicit_list);
    tcase_add_test(tcase, depth__sums_to_one_half);
    tcase_add_test(tcase, descending__weighs_the_first_exit_most_and_the_end_1);
    tcase_add_test(tcase, ramp__rises_from_a_hundredth_to_its_peak);
    suite_add_tcase(suite, tcase);
    return suite;
}
