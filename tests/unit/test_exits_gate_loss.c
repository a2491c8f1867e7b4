/* Unit tests of exits/exits_gate_loss.c. */
#include <check.h>
#include <math.h>
#include <stddef.h>

#include "comm/base/rng.h"
#include "exits/exits_gate_loss.h"
#include "tests/support/test_suite.h"

enum { N = 2, G = 3 };

static const double TOLERANCE = 1e-6;

START_TEST(gate_loss__gives_the_published_mean_when_divided_by_samples_and_gates)
{
    const float gates[N][G] = {{-1, .5f, 2}, {.3f, -.7f, 1.5f}};
    const float targets[N][G] = {{0, 1, 1}, {0, 0, 1}};
    const float weights[G] = {2, .5f, 3};
    const double expected[N][G] = {{.0448235702, -.0314617224, -.0596014610},
                                   {.0957404195, .0553020380, -.0912127619}};
    double sum = 0;

    for (int i = 0; i < N; i++) {
        float dgates[G];
        sum += exits_gate_loss(gates[i], targets[i], weights, G, dgates);
        for (int l = 0; l < G; l++) {
            ck_assert_double_eq_tol((double)dgates[l] / (N * G), expected[i][l], TOLERANCE);
        }
    }
    ck_assert_double_eq_tol(sum / (N * G), .4654775567, TOLERANCE);
}
END_TEST

START_TEST(gate_loss__takes_no_weights_for_weights_of_1)
{
    const float gates[G] = {-1, .5f, 2}, targets[G] = {1, 0, 1}, ones[G] = {1, 1, 1};
    float with[G], without[G];

    ck_assert_double_eq(exits_gate_loss(gates, targets, ones, G, with),
                        exits_gate_loss(gates, targets, NULL, G, without));
    ck_assert_mem_eq(with, without, sizeof(with));
}
END_TEST

START_TEST(gate_loss__stays_finite_and_keeps_small_terms_for_large_logits)
{
    const float gates[] = {1000, -1000, 40, -40};
    const float wrong[] = {0, 1, 0, 1}, right[] = {1, 0, 1, 0};
    float dgates[4];

    ck_assert_double_eq_tol(exits_gate_loss(gates, wrong, NULL, 4, dgates), 2080, 1e-9);
    ck_assert_float_eq(dgates[0], 1);
    ck_assert_float_eq(dgates[1], -1);
    ck_assert_double_eq_tol(exits_gate_loss(gates, right, NULL, 4, dgates) / 8.4967085e-18, 1,
                            1e-6); /* 2 e^-40 */
    ck_assert_float_eq(dgates[0], 0);
    ck_assert_float_lt(dgates[2], 0);
}
END_TEST

START_TEST(gate_loss__has_the_gradient_of_its_differences)
{
    const float step = 1.0f / 1024;

    for (uint64_t i = 0; i < 200; i++) {
        float gates[G], targets[G], weights[G], dgates[G], unused[G];
        for (uint32_t l = 0; l < G; l++) {
            gates[l] = roundf((float)(3 * rng_normal(1, RNG_TEST, i, l)) * 1024) / 1024;
            targets[l] = (float)rng_uniform(2, RNG_TEST, i, l);
            weights[l] = (float)(5 * rng_uniform(3, RNG_TEST, i, l));
        }
        exits_gate_loss(gates, targets, weights, G, dgates);
        for (int l = 0; l < G; l++) {
            const float at = gates[l];
            gates[l] = at + step;
            const double above = exits_gate_loss(gates, targets, weights, G, unused);
            gates[l] = at - step;
            const double below = exits_gate_loss(gates, targets, weights, G, unused);
            gates[l] = at;
            ck_assert_double_eq_tol((double)dgates[l], (above - below) / (2 * (double)step), 2e-6);
        }
    }
}
END_TEST

/* Ranks of unequal size: sums and counts travel, and are divided once. */
START_TEST(gate_loss__gives_one_global_mean_however_samples_lie_on_ranks)
{
    enum { SAMPLES = 9, FIRST = 6 };
    double sums[2] = {0}, whole = 0;
    float unused[G];

    for (int i = 0; i < SAMPLES; i++) {
        const float gates[G] = {(float)i, -1, .5f}, targets[G] = {0, 1, 0};
        const double loss = exits_gate_loss(gates, targets, NULL, G, unused);
        sums[i >= FIRST] += loss;
        whole += loss;
    }
    const double mean = whole / SAMPLES;
    const double mean_of_means = (sums[0] / FIRST + sums[1] / (SAMPLES - FIRST)) / 2;
    ck_assert_double_eq_tol((sums[0] + sums[1]) / SAMPLES, mean, 1e-12);
    ck_assert_double_gt(fabs(mean_of_means - mean), .5);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_gate_loss");
    TCase *tcase = tcase_create("exits_gate_loss");

    tcase_add_test(tcase, gate_loss__gives_the_published_mean_when_divided_by_samples_and_gates);
    tcase_add_test(tcase, gate_loss__takes_no_weights_for_weights_of_1);
    tcase_add_test(tcase, gate_loss__stays_finite_and_keeps_small_terms_for_large_logits);
    tcase_add_test(tcase, gate_loss__has_the_gradient_of_its_differences);
    tcase_add_test(tcase, gate_loss__gives_one_global_mean_however_samples_lie_on_ranks);
    suite_add_tcase(suite, tcase);
    return suite;
}
