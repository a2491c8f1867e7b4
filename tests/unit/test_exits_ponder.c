/* Unit tests of exits/exits_ponder.h: PonderNet's published example, slopes, both divergences. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_ponder.h"
#include "exits/exits_score.h"
#include "tests/support/test_suite.h"

enum { G = 3 };

static const double TOLERANCE = 1e-6;
static const double hazards[G] = {.2, .5, .25}, loss[G + 1] = {1.5, 1, .8, .7};

static void fill(float gates[G], double objectives[G + 1])
{
    for (int l = 0; l < G; l++) {
        gates[l] = (float)log(hazards[l] / (1 - hazards[l]));
    }
    for (int l = 0; l <= G; l++) {
        objectives[l] = loss[l];
    }
}

static double loss_of(double weight, enum exits_divergence divergence, float dgates[G])
{
    const struct exits_ponder ponder = {.1, weight, divergence};
    double objectives[G + 1];
    float gates[G];

    fill(gates, objectives);
    return exits_ponder_loss(&ponder, gates, objectives, G, dgates);
}

START_TEST(loss__is_the_published_one)
{
    const double slopes[G] = {.6400393883, .2368391445, .0443944492};
    float dgates[G];

    ck_assert_double_eq_tol(loss_of(0, EXITS_POSTERIOR_PRIOR, dgates), .99, TOLERANCE);
    ck_assert_double_eq_tol(loss_of(.01, EXITS_POSTERIOR_PRIOR, dgates), .9948999611, TOLERANCE);
    for (int l = 0; l < G; l++) { /* by the logit, from that by the hazard */
        ck_assert_double_eq_tol((double)dgates[l], slopes[l] * hazards[l] * (1 - hazards[l]),
                                TOLERANCE);
    }
}
END_TEST

START_TEST(divergences__are_the_two_and_not_each_other)
{
    float dgates[G];

    ck_assert_double_eq_tol(loss_of(1, EXITS_POSTERIOR_PRIOR, dgates) - .99, .4899961127,
                            TOLERANCE);
    ck_assert_double_eq_tol(loss_of(1, EXITS_PRIOR_POSTERIOR, dgates) - .99, .4266406661,
                            TOLERANCE);
}
END_TEST

START_TEST(prior__sums_to_1_with_what_is_left_at_the_end)
{
    const struct exits_ponder ponder = {.prior = .1};
    const double expected[G + 1] = {.1, .09, .081, .729};

    for (int l = 0; l <= G; l++) {
        ck_assert_double_eq_tol(exp(exits_ponder_log_prior(&ponder, l, G)), expected[l], TOLERANCE);
    }
}
END_TEST

/* Where the posterior is the prior, both divergences are 0 and so are their slopes. */
START_TEST(loss__wants_nothing_of_gates_that_are_the_prior)
{
    const struct exits_ponder ponder = {.2, 3, (enum exits_divergence)_i};
    double objectives[G + 1] = {0};
    const float a = (float)log(.2 / .8), gates[G] = {a, a, a};
    float dgates[G];

    ck_assert_double_eq_tol(exits_ponder_loss(&ponder, gates, objectives, G, dgates), 0, TOLERANCE);
    for (int l = 0; l < G; l++) {
        ck_assert_double_eq_tol((double)dgates[l], 0, TOLERANCE);
    }
}
END_TEST

/* In double from the equations, at gates drawn at random. */
static double plain_loss(const struct exits_ponder *ponder, const double a[G],
                         const double J[G + 1])
{
    double left = 1, prior_left = 1, sum = 0;

    for (int l = 0; l <= G; l++) {
        const double p = l < G ? left / (1 + exp(-a[l])) : left;
        const double q = l < G ? prior_left * ponder->prior : prior_left;
        sum += p * J[l];
        sum += ponder->weight *
               (ponder->divergence == EXITS_POSTERIOR_PRIOR ? p * log(p / q) : q * log(q / p));
        left -= p;
        prior_left -= q;
    }
    return sum;
}

START_TEST(loss__has_the_slopes_of_the_equations)
{
    for (uint64_t i = 0; i < 50; i++) {
        const struct exits_ponder ponder = {.3, .7, (enum exits_divergence)_i};
        double a[G], J[G + 1], lost[G + 1];
        float gates[G], dgates[G];
        for (uint32_t l = 0; l <= G; l++) {
            J[l] = lost[l] = fabs(rng_normal(7, RNG_TEST, i, l));
        }
        for (uint32_t l = 0; l < G; l++) {
            gates[l] = (float)(2 * rng_normal(8, RNG_TEST, i, l));
            a[l] = (double)gates[l];
        }
        ck_assert_double_eq_tol(exits_ponder_loss(&ponder, gates, lost, G, dgates),
                                plain_loss(&ponder, a, J), 1e-9);
        for (int l = 0; l < G; l++) {
            const double step = 1e-5, at = a[l];
            a[l] = at + step;
            double slope = plain_loss(&ponder, a, J);
            a[l] = at - step;
            slope -= plain_loss(&ponder, a, J);
            a[l] = at;
            ck_assert_double_eq_tol((double)dgates[l], slope / (2 * step), 1e-6);
        }
    }
}
END_TEST

START_TEST(loss__is_finite_for_gates_that_are_sure)
{
    const float gates[G] = {-500, 800, 30};
    const struct exits_ponder ponder = {.1, .5, (enum exits_divergence)_i};
    double objectives[G + 1];
    float unused[G], dgates[G];

    fill(unused, objectives);
    ck_assert(isfinite(exits_ponder_loss(&ponder, gates, objectives, G, dgates)));
    for (int l = 0; l < G; l++) {
        ck_assert(isfinite(dgates[l]));
    }
}
END_TEST

/* .2, .6: the second exit is the first with half of the mass behind it; 2.5 steps on average. */
START_TEST(q_exit__leaves_at_the_median)
{
    const double steps[G + 1] = {1, 2, 3, 4};
    const float no_loss[G + 1] = {0};
    double objectives[G + 1];
    float gates[G], p[G + 1];

    fill(gates, objectives);
    ck_assert_int_eq(exits_score_exit(EXITS_SCORE_CUMULATIVE, EXITS_HAZARD, gates, G), 1);
    exits_probability(EXITS_HAZARD, gates, G, p);
    ck_assert_double_eq_tol(exits_expect(p, no_loss, steps, 0, G).cost, 2.5, TOLERANCE);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_ponder");
    TCase *tcase = tcase_create("exits_ponder");

    tcase_add_test(tcase, loss__is_the_published_one);
    tcase_add_test(tcase, divergences__are_the_two_and_not_each_other);
    tcase_add_test(tcase, prior__sums_to_1_with_what_is_left_at_the_end);
    tcase_add_loop_test(tcase, loss__wants_nothing_of_gates_that_are_the_prior, 0, 2);
    tcase_add_loop_test(tcase, loss__has_the_slopes_of_the_equations, 0, 2);
    tcase_add_loop_test(tcase, loss__is_finite_for_gates_that_are_sure, 0, 2);
    tcase_add_test(tcase, q_exit__leaves_at_the_median);
    suite_add_tcase(suite, tcase);
    return suite;
}
