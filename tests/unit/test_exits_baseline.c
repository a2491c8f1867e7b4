/* Unit tests of exits/exits_baseline.c: worked examples, and brute force on small sets. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_baseline.h"
#include "tests/support/test_suite.h"

enum { G = 3 };

static const double costs[G + 1] = {.25, .5, .75, 1};

START_TEST(static__is_the_best_exit_that_keeps_the_budget)
{
    const double accuracy[G + 1] = {.7, .8, .8, .79};

    ck_assert_int_eq(exits_baseline_static(accuracy, costs, G, .25), 0);
    ck_assert_int_eq(exits_baseline_static(accuracy, costs, G, .5), 1);
    ck_assert_int_eq(exits_baseline_static(accuracy, costs, G, 1), 1); /* the cheaper of two */
    ck_assert_int_eq(exits_baseline_static(accuracy, costs, G, .49), 0);
}
END_TEST

/* Every way to draw, in steps of 1/20, is no better. */
START_TEST(random__mixes_the_two_exits_that_are_best_together)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        const double budget = .25 + .05 * floor(16 * rng_uniform(seed, RNG_TEST, 0, 0));
        double accuracy[G + 1], shares[G + 1], value = 0, cost = 0, sum = 0;
        int used = 0;

        for (uint32_t l = 0; l <= G; l++) {
            accuracy[l] = rng_uniform(seed, RNG_TEST, 1, l);
        }
        exits_baseline_random(accuracy, costs, G, budget, shares);
        for (int l = 0; l <= G; l++) {
            value += shares[l] * accuracy[l];
            cost += shares[l] * costs[l];
            sum += shares[l];
            used += shares[l] > 0;
            ck_assert_double_ge(shares[l], 0);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-12);
        ck_assert_double_le(cost, budget + 1e-9);
        ck_assert_int_le(used, 2);
        for (int code = 0; code < 21 * 21 * 21; code++) {
            const int a = code % 21, b = code / 21 % 21, c = code / 441, d = 20 - a - b - c;
            const double mixed_cost = (.25 * a + .5 * b + .75 * c + d) / 20;
            if (d >= 0 && mixed_cost <= budget + 1e-12) {
                ck_assert_double_le(
                    (accuracy[0] * a + accuracy[1] * b + accuracy[2] * c + accuracy[3] * d) / 20,
                    value + 1e-9);
            }
        }
    }
}
END_TEST

START_TEST(oracle__is_the_best_of_all_choices)
{
    enum { N = 5 };
    for (uint64_t seed = 0; seed < 60; seed++) {
        const double budget = .25 + .75 * rng_uniform(seed, RNG_TEST, 0, 9);
        uint8_t correct[N][G + 1];
        int best = 0;

        for (uint64_t at = 0; at < N * (G + 1); at++) {
            correct[at / (G + 1)][at % (G + 1)] = rng_uniform(seed, RNG_TEST, at, 0) < .4;
        }
        const struct exits_baseline_point point =
            exits_baseline_oracle(correct[0], costs, N, G, budget);
        for (int code = 0; code < 1024; code++) { /* 4^5 choices */
            double cost = 0;
            int right = 0;
            for (int i = 0; i < N; i++) {
                const int exit = code >> 2 * i & 3;
                cost += costs[exit];
                right += correct[i][exit];
            }
            if (cost <= budget * N + 1e-9 && right > best) {
                best = right;
            }
        }
        ck_assert_double_eq_tol(point.accuracy, best / (double)N, 1e-12);
        ck_assert_double_le(point.cost, budget * (1 + 1e-8));
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_baseline");
    TCase *tcase = tcase_create("exits_baseline");

    tcase_add_test(tcase, static__is_the_best_exit_that_keeps_the_budget);
    tcase_add_test(tcase, random__mixes_the_two_exits_that_are_best_together);
    tcase_add_test(tcase, oracle__is_the_best_of_all_choices);
    suite_add_tcase(suite, tcase);
    return suite;
}
