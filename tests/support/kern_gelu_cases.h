/*
 * tests/support/kern_gelu_cases.h - every version of GELU against erf() and tanh() in
 * double, and its derivative against central differences of those.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of the table of versions
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here.
 */
#ifndef TESTS_SUPPORT_KERN_GELU_CASES_H
#define TESTS_SUPPORT_KERN_GELU_CASES_H

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_gelu.h"

enum { GRID = 60001 };

static kern_gelu_fn *const versions[] = {KERN_CASES_VERSIONS};
static const enum kern_gelu forms[] = {KERN_GELU_TANH, KERN_GELU_ERF};

static double gelu_f64(double x, enum kern_gelu form)
{
    if (form == KERN_GELU_ERF) {
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    }
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

/* Central differences with one step of Richardson's extrapolation: good to 1e-11 here. */
static double gelu_slope_f64(double x, enum kern_gelu form)
{
    const double h = 1e-3;
    const double wide = (gelu_f64(x + 2 * h, form) - gelu_f64(x - 2 * h, form)) / (4 * h);
    const double near = (gelu_f64(x + h, form) - gelu_f64(x - h, form)) / (2 * h);

    return near + (near - wide) / 3;
}

/* -15 .. 15 in even steps, then a few that grids leave out. */
static struct float_block grid(void)
{
    static const float more[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 100.0f, -100.0f, 1e20f, -1e20f};
    const struct float_block block = float_block_open(GRID + sizeof(more) / sizeof(more[0]));

    for (int i = 0; i < GRID; i++) {
        block.data[i] = -15.0f + 30.0f * (float)i / (GRID - 1);
    }
    memcpy(block.data + GRID, more, sizeof(more));
    return block;
}

START_TEST(gelu__and_its_slope_are_right_to_the_tolerance_over_the_whole_range)
{
    const struct float_block x = grid();
    const struct float_block y = float_block_open(x.count);
    const struct float_block slope = float_block_open(x.count);
    const enum kern_gelu form = forms[_i];

    for (int version = 0; version < KERN_CASES_COUNT; version++) {
        versions[version](y.data, slope.data, x.data, x.count, form);
        for (int64_t i = 0; i < x.count; i++) {
            const double at = (double)x.data[i];
            const double want = gelu_f64(at, form);
            const double want_slope = gelu_slope_f64(fmin(fmax(at, -20), 20), form);
            if (!kern_is_close((double)y.data[i], want, (double)KERN_GELU_TOLERANCE)) {
                ck_abort_msg("version %d, form %d: gelu(%.9g) is %.9g, not %.9g", version,
                             (int)form, at, (double)y.data[i], want);
            }
            if (!kern_is_close((double)slope.data[i], want_slope, (double)KERN_GELU_TOLERANCE)) {
                ck_abort_msg("version %d, form %d: gelu'(%.9g) is %.9g, not %.9g", version,
                             (int)form, at, (double)slope.data[i], want_slope);
            }
        }
    }
    float_block_close(&x);
    float_block_close(&y);
    float_block_close(&slope);
}
END_TEST

START_TEST(gelu__gives_nan_for_nan_and_the_limits_for_infinities)
{
    const float x[] = {NAN, INFINITY, -INFINITY, -NAN, 3.4e38f, -3.4e38f};
    float y[6], slope[6];

    for (int version = 0; version < KERN_CASES_COUNT; version++) {
        versions[version](y, slope, x, 6, forms[_i]);
        ck_assert_float_nan(y[0]);
        ck_assert_float_nan(slope[0]);
        ck_assert(isinf(y[1]) && y[1] > 0);
        ck_assert_float_eq_tol(slope[1], 1.0f, 1e-6f);
        ck_assert_float_eq_tol(y[2], 0.0f, 1e-6f);
        ck_assert_float_eq_tol(slope[2], 0.0f, 1e-6f);
        ck_assert_float_nan(y[3]);
        ck_assert_float_nan(slope[3]);
        ck_assert_float_eq(y[4], 3.4e38f);
        ck_assert_float_eq_tol(slope[4], 1.0f, 1e-6f);
        ck_assert_float_eq_tol(y[5], 0.0f, 1e-6f);
        ck_assert_float_eq_tol(slope[5], 0.0f, 1e-6f);
    }
}
END_TEST

START_TEST(gelu__has_the_same_bits_in_place_at_any_length_and_without_a_slope)
{
    const struct float_block x = float_block_normal(40, 1);
    float y[40], slope[40];

    for (int version = 0; version < KERN_CASES_COUNT; version++) {
        versions[version](y, slope, x.data, 40, forms[_i]);
        for (int64_t count = 0; count <= 33; count++) {
            const struct float_block out = float_block_open(count);
            const struct float_block out_slope = float_block_open(count);
            const size_t bytes = (size_t)count * sizeof(float);
            versions[version](out.data, NULL, x.data, count, forms[_i]);
            ck_assert_int_eq(memcmp(out.data, y, bytes), 0);
            memcpy(out.data, x.data, bytes);
            versions[version](out.data, out_slope.data, out.data, count, forms[_i]);
            ck_assert_int_eq(memcmp(out.data, y, bytes), 0);
            ck_assert_int_eq(memcmp(out_slope.data, slope, bytes), 0);
            float_block_close(&out);
            float_block_close(&out_slope);
        }
    }
    float_block_close(&x);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_gelu");
    TCase *tcase = tcase_create("kern_gelu");

    tcase_add_loop_test(tcase, gelu__and_its_slope_are_right_to_the_tolerance_over_the_whole_range,
                        0, 2);
    tcase_add_loop_test(tcase, gelu__gives_nan_for_nan_and_the_limits_for_infinities, 0, 2);
    tcase_add_loop_test(tcase, gelu__has_the_same_bits_in_place_at_any_length_and_without_a_slope,
                        0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
