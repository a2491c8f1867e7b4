/* Unit tests of exits/exits_distill.h. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_distill.h"
#include "tests/support/test_suite.h"

enum { N = 4, K = 3 };

static const double TOLERANCE = 1e-6;

/* By hand: logits 2 .5 -1, teacher 1 0 .25. With the temperature behind the softmax it would be .0184. */
START_TEST(loss__divides_logits_by_the_temperature)
{
    static const struct {
        double temperature, loss, slopes[K];
    } rows[] = {{1, .3089108480, {.2421914229, -.0246173606, -.2175740623}},
                {2, .4037676821, {.3076873077, .0283624320, -.3360497397}}};
    static const float logits[K] = {2, .5f, -1}, teacher[K] = {1, 0, .25f}, weight = 2;
    float loss = 0, dlogits[K] = {10, 10, 10};
    const struct exits_distill_rows distill = {.distill = {rows[_i].temperature, 3},
                                               .n = 1,
                                               .K = K,
                                               .logits = logits,
                                               .teacher = teacher,
                                               .loss = &loss,
                                               .dlogits = dlogits,
                                               .weights = &weight};

    exits_distill_cpu(&distill);
    ck_assert_double_eq_tol((double)loss, 3 * rows[_i].loss, TOLERANCE);
    for (int k = 0; k < K; k++) {
        ck_assert_double_eq_tol((double)dlogits[k], 10 + 6 * rows[_i].slopes[k], 2 * TOLERANCE);
    }
}
END_TEST

static double plain_loss(const double z[K], const float t[K], double T)
{
    double z_mass = 0, t_mass = 0, sum = 0;

    for (int k = 0; k < K; k++) {
        z_mass += exp(z[k] / T);
        t_mass += exp((double)t[k] / T);
    }
    for (int k = 0; k < K; k++) {
        const double p = exp((double)t[k] / T) / t_mass;
        sum += p * log(p / (exp(z[k] / T) / z_mass));
    }
    return T * T * sum;
}

START_TEST(slope__is_that_of_the_loss_and_0_for_the_teacher_itself)
{
    float logits[N * K], teacher[N * K], loss[N], dlogits[N * K] = {0};
    const float weights[N] = {1, 1, 1, 1};
    const double T = 0.5 + 0.7 * _i, step = 1e-5;

    for (uint64_t i = 0; i < N * K; i++) {
        logits[i] = (float)rng_normal(1, RNG_TEST, i, 0);
        teacher[i] = i < K ? logits[i] : (float)rng_normal(1, RNG_TEST, i, 1);
    }
    const struct exits_distill_rows distill = {{T, 1},  N,    K,       logits,
                                               teacher, loss, dlogits, weights};
    exits_distill_cpu(&distill);
    for (int i = 0; i < N; i++) {
        double z[K];
        for (int k = 0; k < K; k++) {
            z[k] = (double)logits[i * K + k];
        }
        ck_assert_double_eq_tol((double)loss[i], plain_loss(z, teacher + i * K, T), TOLERANCE);
        for (int k = 0; k < K; k++) {
            z[k] += step;
            double slope = plain_loss(z, teacher + i * K, T);
            z[k] -= 2 * step;
            slope -= plain_loss(z, teacher + i * K, T);
            z[k] += step;
            ck_assert_double_eq_tol((double)dlogits[i * K + k], slope / (2 * step), TOLERANCE);
            ck_assert(i > 0 || fabsf(dlogits[k]) < 1e-7f);
        }
    }
    ck_assert_float_lt(fabsf(loss[0]), 1e-7f);
}
END_TEST

START_TEST(loss__is_finite_for_logits_that_are_sure)
{
    static const float logits[K] = {900, -900, 0}, teacher[K] = {-900, 900, 0};
    float loss = 0;
    const struct exits_distill_rows distill = {{1, 1}, 1, K, logits, teacher, &loss, NULL, NULL};

    exits_distill_cpu(&distill);
    ck_assert(isfinite(loss));
    ck_assert_float_gt(loss, 1799);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_distill");
    TCase *tcase = tcase_create("exits_distill");

    tcase_add_loop_test(tcase, loss__divides_logits_by_the_temperature, 0, 2);
    tcase_add_loop_test(tcase, slope__is_that_of_the_loss_and_0_for_the_teacher_itself, 0, 4);
    tcase_add_test(tcase, loss__is_finite_for_logits_that_are_sure);
    suite_add_tcase(suite, tcase);
    return suite;
}
