/* Unit tests of exits/exits_decay.c: worked examples, and what all kinds have in common. */
#include <check.h>
#include <math.h>

#include "exits/exits_decay.h"
#include "tests/support/test_suite.h"

static double at(enum exits_decay_kind kind, double progress)
{
    return exits_decay_threshold(&(struct exits_decay){kind, 7.5, 2.5, 4}, progress);
}

START_TEST(threshold__is_that_of_the_worked_examples)
{
    ck_assert_double_eq_tol(at(EXITS_DECAY_LINEAR, .5), 5, 1e-9);
    ck_assert_double_eq_tol(at(EXITS_DECAY_COSINE, .25), 6.7677669530, 1e-9);
    ck_assert_double_eq_tol(at(EXITS_DECAY_EXPONENTIAL, .5), 3.1766764162, 1e-9);
    ck_assert_double_eq(at(EXITS_DECAY_STEPS, .2), 7.5);
    ck_assert_double_eq(at(EXITS_DECAY_STEPS, .5), 5);
    ck_assert_double_eq(at(EXITS_DECAY_STEPS, .9), 2.5);
}
END_TEST

START_TEST(threshold__is_the_decay_of_calm)
{
    const struct exits_decay calm = {EXITS_DECAY_EXPONENTIAL, .8, .9 * .8, 4};

    ck_assert_double_eq_tol(exits_decay_threshold(&calm, .3), .8 * (.9 + .1 * exp(-1.2)), 1e-12);
}
END_TEST

START_TEST(threshold__never_rises_and_begins_where_it_is_told)
{
    for (int kind = EXITS_DECAY_LINEAR; kind <= EXITS_DECAY_STEPS; kind++) {
        double last = at((enum exits_decay_kind)kind, -1);
        ck_assert_double_eq_tol(last, 7.5, 1e-12);
        for (int p = 0; p <= 120; p++) {
            const double now = at((enum exits_decay_kind)kind, p / 100.);
            ck_assert_double_le(now, last);
            last = now;
        }
        ck_assert_double_eq_tol(last, at((enum exits_decay_kind)kind, 1), 1e-12);
        ck_assert_double_eq_tol(last, 2.5, .1);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_decay");
    TCase *tcase = tcase_create("exits_decay");

    tcase_add_test(tcase, threshold__is_that_of_the_worked_examples);
    tcase_add_test(tcase, threshold__is_the_decay_of_calm);
    tcase_add_test(tcase, threshold__never_rises_and_begins_where_it_is_told);
    suite_add_tcase(suite, tcase);
    return suite;
}
