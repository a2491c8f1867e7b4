/* Unit tests of exits/exits_band.c: tails by enumeration, and known numbers. */
#include <check.h>
#include <math.h>

#include "exits/exits_band.h"
#include "tests/support/test_suite.h"

START_TEST(binomial__leaves_as_little_outside_as_it_says)
{
    for (int m = 1; m < 60; m += 7) {
        for (int percent = 5; percent < 100; percent += 30) {
            const double p = percent / 100.;
            const struct exits_band band = exits_band_binomial(m, p, .91);
            double mass = pow(1 - p, m), below = 0, above = 0, at_low = 0, at_high = 0;
            for (int x = 0; x <= m; x++) {
                below += x < band.low ? mass : 0;
                above += x > band.high ? mass : 0;
                at_low += x == band.low ? mass : 0;
                at_high += x == band.high ? mass : 0;
                mass *= (m - x) / (x + 1.) * p / (1 - p);
            }
            ck_assert_double_le(below, .045 + 1e-9);
            ck_assert_double_le(above, .045 + 1e-9);
            ck_assert_double_gt(below + at_low, .045); /* one narrower would leave more */
            ck_assert_double_gt(above + at_high, .045);
        }
    }
}
END_TEST

START_TEST(binomial__of_10000_is_that_of_the_tables)
{
    const struct exits_band band = exits_band_binomial(10000, .05, .99);

    ck_assert_int_ge(band.low, 444); /* 500 -+ 2.576 * 21.8 */
    ck_assert_int_le(band.low, 446);
    ck_assert_int_ge(band.high, 556);
    ck_assert_int_le(band.high, 558);
}
END_TEST

START_TEST(binomial__of_a_certain_outcome_is_that_outcome)
{
    const struct exits_band never = exits_band_binomial(50, 0, .99);
    const struct exits_band always = exits_band_binomial(50, 1, .99);

    ck_assert_int_eq(never.low, 0);
    ck_assert_int_eq(never.high, 0);
    ck_assert_int_eq(always.low, 50);
    ck_assert_int_eq(always.high, 50);
}
END_TEST

START_TEST(beta_binomial__is_uniform_for_a_uniform_rate_and_wider_than_the_binomial)
{
    const struct exits_band uniform = exits_band_beta_binomial(99, 1, 1, .89);
    const struct exits_band wide = exits_band_beta_binomial(1000, 50, 950, .99);
    const struct exits_band narrow = exits_band_binomial(1000, .05, .99);

    ck_assert_int_eq(uniform.low, 5);
    ck_assert_int_eq(uniform.high, 94);
    /* As many calibrate as are tested: sqrt(2) times as wide. */
    ck_assert_double_eq_tol((double)(wide.high - wide.low) / (double)(narrow.high - narrow.low),
                            sqrt(2), .1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_band");
    TCase *tcase = tcase_create("exits_band");

    tcase_add_test(tcase, binomial__leaves_as_little_outside_as_it_says);
    tcase_add_test(tcase, binomial__of_10000_is_that_of_the_tables);
    tcase_add_test(tcase, binomial__of_a_certain_outcome_is_that_outcome);
    tcase_add_test(tcase, beta_binomial__is_uniform_for_a_uniform_rate_and_wider_than_the_binomial);
    suite_add_tcase(suite, tcase);
    return suite;
}
