/* Unit tests of exits/exits_calibration.c. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_calibration.h"
#include "tests/support/test_suite.h"

enum { SAMPLES = 10000 };

static float confidence[SAMPLES];
static uint8_t correct[SAMPLES];

static double error_of(const float c[], const uint8_t ok[], int64_t n)
{
    double error = -1;

    ck_assert_int_eq(exits_calibration_error(c, ok, n, &error), ERR_OK);
    return error;
}

/* Right with probability confidence + bias; confidences .5 .. 1, more of them high. */
static void simulate(double bias)
{
    for (uint64_t i = 0; i < SAMPLES; i++) {
        const double x = rng_uniform(1, RNG_TEST, i, 0);
        const double c = 1 - .5 * x * x;
        confidence[i] = (float)c;
        correct[i] = rng_uniform(2, RNG_TEST, i, 0) < c + bias;
    }
}

START_TEST(error__keeps_equal_confidences_in_one_bin_over_the_whole_set)
{
    const float c[] = {.9f, .9f, .9f, .9f};
    const uint8_t ok[] = {1, 1, 1, 0};

    ck_assert_double_eq_tol(error_of(c, ok, 4), .15, 1e-6);
    /* What the mean over two batches makes of it. */
    ck_assert_double_eq_tol((error_of(c, ok, 2) + error_of(c + 2, ok + 2, 2)) / 2, .25, 1e-6);
}
END_TEST

START_TEST(error__is_small_when_a_predictor_is_calibrated)
{
    simulate(0);
    ck_assert_double_lt(error_of(confidence, correct, SAMPLES), .015);
}
END_TEST

START_TEST(error__is_the_bias_when_a_predictor_is_overconfident)
{
    simulate(-.1);
    ck_assert_double_eq_tol(error_of(confidence, correct, SAMPLES), .1, .01);
}
END_TEST

START_TEST(error__is_inflated_by_a_mean_over_batches)
{
    enum { BATCH = 64, BATCHES = SAMPLES / BATCH };
    double sum = 0;

    simulate(0);
    for (int b = 0; b < BATCHES; b++) {
        sum += error_of(confidence + b * BATCH, correct + b * BATCH, BATCH);
    }
    ck_assert_double_gt(sum / BATCHES, .08);
}
END_TEST

START_TEST(error__does_not_depend_on_the_order_of_samples)
{
    for (uint64_t i = 0; i < 500; i++) {
        confidence[i] = (float)(.1 * floor(10 * rng_uniform(3, RNG_TEST, i, 0)));
        correct[i] = rng_uniform(4, RNG_TEST, i, 0) < .5;
    }
    const double before = error_of(confidence, correct, 500);
    for (int i = 0; i < 250; i++) {
        const float c = confidence[i];
        const uint8_t ok = correct[i];
        confidence[i] = confidence[499 - i];
        correct[i] = correct[499 - i];
        confidence[499 - i] = c;
        correct[499 - i] = ok;
    }
    ck_assert_double_eq(error_of(confidence, correct, 500), before);
}
END_TEST

START_TEST(error__cuts_bins_of_equal_mass)
{
    /* 30 samples, two to a bin, each pair half right at its own confidence: |.5 - c|. */
    double expected = 0;

    for (int i = 0; i < 30; i++) {
        const int pair = i / 2;
        confidence[i] = .5f + .015f * (float)pair + .001f * (float)(i % 2);
        correct[i] = (uint8_t)(i % 2);
        expected += (double)confidence[i] - .5;
    }
    ck_assert_double_eq_tol(error_of(confidence, correct, 30), expected / 30, 1e-9);
}
END_TEST

START_TEST(bins__are_what_the_error_is_made_of)
{
    struct exits_calibration_bin bins[EXITS_CALIBRATION_BINS];
    double error = -1, sum = 0;
    int64_t n = 0;

    simulate(-.05);
    ck_assert_int_eq(exits_calibration_bins(confidence, correct, SAMPLES, bins, &error), ERR_OK);
    ck_assert_double_eq(error, error_of(confidence, correct, SAMPLES));
    for (int b = 0; b < EXITS_CALIBRATION_BINS; b++) {
        n += bins[b].n;
        sum += (double)bins[b].n * fabs(bins[b].accuracy - bins[b].confidence);
        ck_assert_int_gt(bins[b].n, SAMPLES / EXITS_CALIBRATION_BINS - 100);
        ck_assert_double_ge(bins[b].confidence, b == 0 ? 0 : bins[b - 1].confidence);
    }
    ck_assert_int_eq(n, SAMPLES);
    ck_assert_double_eq_tol(sum / SAMPLES, error, 1e-9);
}
END_TEST

START_TEST(error__refuses_what_is_no_probability)
{
    const uint8_t ok[] = {1, 0};
    double error = -1;

    for (int i = 0; i < 3; i++) {
        const float c[] = {.5f, i == 0 ? NAN : i == 1 ? 1.5f : -.1f};
        ck_assert_int_eq(exits_calibration_error(c, ok, 2, &error), ERR_INVALID);
        ck_assert_double_eq(error, -1);
    }
    ck_assert_double_eq(error_of(NULL, NULL, 0), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_calibration");
    TCase *tcase = tcase_create("exits_calibration");

    tcase_add_test(tcase, error__keeps_equal_confidences_in_one_bin_over_the_whole_set);
    tcase_add_test(tcase, error__is_small_when_a_predictor_is_calibrated);
    tcase_add_test(tcase, error__is_the_bias_when_a_predictor_is_overconfident);
    tcase_add_test(tcase, error__is_inflated_by_a_mean_over_batches);
    tcase_add_test(tcase, error__does_not_depend_on_the_order_of_samples);
    tcase_add_test(tcase, error__cuts_bins_of_equal_mass);
    tcase_add_test(tcase, bins__are_what_the_error_is_made_of);
    tcase_add_test(tcase, error__refuses_what_is_no_probability);
    suite_add_tcase(suite, tcase);
    return suite;
}
