/* Unit tests of exits/exits_mixture.h. */
#include <check.h>
#include <math.h>

#include "exits/exits_mixture.h"
#include "exits/exits_probability.h"
#include "tests/support/test_suite.h"

enum { G = 2 };

static const double costs[G + 1] = {.3, .6, 1};

/* By the recursion as it is published. */
static double loss64(const double gates[G], const double loss[G + 1], double lambda)
{
    double answer = exp(-loss[G]), cost = costs[G];

    for (int l = G - 1; l >= 0; l--) {
        const double g = 1 / (1 + exp(-gates[l]));
        answer = g * exp(-loss[l]) + (1 - g) * answer;
        cost = g * costs[l] + (1 - g) * cost;
    }
    return -log(answer) + lambda * cost;
}

static double mixture_loss(const float gates[G], const float loss[G + 1], double lambda,
                           float dgates[G])
{
    const struct exits_ponder ponder = exits_mixture_ponder();
    double objectives[G + 1];

    exits_mixture_objectives(gates, loss, costs, lambda, G, objectives);
    return exits_ponder_loss(&ponder, gates, objectives, G, dgates);
}

/* Probabilities .4 .8 .9 of the label, confidences .5 .25. */
START_TEST(mixture__agrees_with_a_worked_example)
{
    const float gates[G] = {0, logf(.25f / .75f)};
    const float loss[G + 1] = {-logf(.4f), -logf(.8f), -logf(.9f)};
    float dgates[G], shares[G + 1];

    ck_assert_double_eq_tol(mixture_loss(gates, loss, .5, dgates), .7502010019, 1e-6);
    exits_mixture_shares(gates, loss, G, shares);
    ck_assert_double_eq_tol((double)shares[0], .5 * .4 / .6375, 1e-6);
    ck_assert_double_eq_tol((double)shares[1], .125 * .8 / .6375, 1e-6);
    ck_assert_double_eq_tol((double)shares[2], .375 * .9 / .6375, 1e-6);
}
END_TEST

START_TEST(mixture__has_the_slopes_of_its_value)
{
    static const double step = 1e-5;

    for (int i = 0; i < 81; i++) {
        const int digits[] = {i % 3, i / 3 % 3, i / 9 % 3, i / 27};
        const float gates[G] = {(float)digits[0] - 1.3f, 2.0f * (float)digits[1] - 2};
        const float loss[G + 1] = {.1f + (float)digits[2], .7f, 3.0f * (float)digits[3]};
        const double lambda = i % 4;
        float dgates[G], shares[G + 1], p[G + 1];

        const double value = mixture_loss(gates, loss, lambda, dgates);
        exits_mixture_shares(gates, loss, G, shares);
        for (int at = 0; at < 2 * G + 1; at++) {
            double sides[2];
            for (int side = 0; side < 2; side++) {
                double a[G] = {gates[0], gates[1]}, ce[G + 1] = {loss[0], loss[1], loss[2]};
                *(at < G ? &a[at] : &ce[at - G]) += side == 0 ? -step : step;
                sides[side] = loss64(a, ce, lambda);
            }
            ck_assert_double_eq_tol((double)(at < G ? dgates[at] : shares[at - G]),
                                    (sides[1] - sides[0]) / (2 * step), 1e-6);
        }
        exits_probability(EXITS_HAZARD, gates, G, p);
        ck_assert_double_le(value, exits_expect(p, loss, costs, lambda, G).objective + 1e-6);
    }
}
END_TEST

START_TEST(mixture__is_finite_for_losses_and_gates_of_any_size)
{
    static const float gates[][G] = {{-800, -800}, {800, 0}, {-800, 800}, {90, -90}};
    static const float losses[][G + 1] = {{1000, 2000, 3000}, {0, 0, 0}, {3000, 1000, 0}};

    for (int i = 0; i < 12; i++) {
        float dgates[G], shares[G + 1];
        ck_assert(isfinite(mixture_loss(gates[i / 3], losses[i % 3], .5, dgates)));
        exits_mixture_shares(gates[i / 3], losses[i % 3], G, shares);
        for (int l = 0; l <= G; l++) {
            ck_assert(shares[l] >= 0 && shares[l] <= 1.000001f);
            ck_assert(l == G || isfinite(dgates[l]));
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_mixture");
    TCase *tcase = tcase_create("exits_mixture");

    tcase_add_test(tcase, mixture__agrees_with_a_worked_example);
    tcase_add_test(tcase, mixture__has_the_slopes_of_its_value);
    tcase_add_test(tcase, mixture__is_finite_for_losses_and_gates_of_any_size);
    suite_add_tcase(suite, tcase);
    return suite;
}
