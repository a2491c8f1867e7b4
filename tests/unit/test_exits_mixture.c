/* Unit tests of exits/exits_mixture.c. */
#include <check.h>
#include <math.h>

#include "exits/exits_mixture.h"
#include "exits/exits_probability.h"
#include "tests/support/test_suite.h"

enum { G = 2, K = 2 };

static const float confidence[G] = {.5f, .25f};
static const float answers[(G + 1) * K] = {.6f, .4f, .2f, .8f, .1f, .9f};
static const double costs[G + 1] = {.3, .6, 1};

START_TEST(mixture__is_the_published_recursion)
{
    float mixed[K];

    exits_mixture(confidence, answers, G, K, mixed);
    const double cost = exits_mixture_cost(confidence, costs, G);
    ck_assert_double_eq_tol((double)mixed[0], .3625, 1e-6);
    ck_assert_double_eq_tol((double)mixed[1], .6375, 1e-6);
    ck_assert_double_eq_tol(cost, .6, 1e-9);
    ck_assert_double_eq_tol(exits_mixture_loss(mixed, 1, cost, .5), .7502010019, 1e-6);
}
END_TEST

START_TEST(mixture__weighs_by_the_probability_to_leave)
{
    float gates[G], p[G + 1], mixed[K];

    for (int l = 0; l < G; l++) {
        gates[l] = logf(confidence[l] / (1 - confidence[l]));
    }
    exits_probability(EXITS_HAZARD, gates, G, p);
    exits_mixture(confidence, answers, G, K, mixed);
    for (int k = 0; k < K; k++) {
        double want = 0;
        for (int l = 0; l <= G; l++) {
            want += (double)(p[l] * answers[l * K + k]);
        }
        ck_assert_double_eq_tol((double)mixed[k], want, 1e-6);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_mixture");
    TCase *tcase = tcase_create("exits_mixture");

    tcase_add_test(tcase, mixture__is_the_published_recursion);
    tcase_add_test(tcase, mixture__weighs_by_the_probability_to_leave);
    suite_add_tcase(suite, tcase);
    return suite;
}
