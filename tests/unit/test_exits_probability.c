/* Unit tests of exits/exits_probability.c. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_probability.h"
#include "tests/support/test_suite.h"

enum { G = 3 };

static const double TOLERANCE = 1e-6;

/* Each form must give these for the gates' probabilities g; worked out by hand. */
static const struct example {
    float g[G];
    double direct[G + 1];
    double hazards[G];
    int exit;
} examples[] = {
    {{.3f, .5f, .4f}, {.3, .5, .2, 0}, {.3, .7142857143, 1}, 1},
    {{.2f, .1f, .3f}, {.2, .1, .3, .4}, {.2, .125, .4285714286}, 3},
    {{.6f, .7f, .5f}, {.6, .4, 0, 0}, {.6, 1, 1}, 0}, /* the last hazard is 0/0 */
    {{.25f, .25f, .25f}, {.25, .25, .25, .25}, {.25, .3333333333, .5}, 2}, /* a tie */
};
enum { EXAMPLES = sizeof(examples) / sizeof(examples[0]) };

static void logits_of(const float g[], float gates_out[])
{
    for (int l = 0; l < G; l++) {
        gates_out[l] = (float)log((double)g[l] / (1 - (double)g[l]));
    }
}

START_TEST(sigmoid__is_exact_at_0_and_finite_far_out)
{
    ck_assert_float_eq(exits_sigmoid(0), .5f);
    ck_assert_float_eq(exits_sigmoid(1000), 1);
    ck_assert_float_eq(exits_sigmoid(-1000), 0);
    ck_assert_double_eq_tol((double)exits_sigmoid(-20), 2.0611536181902037e-09, 1e-15);
    ck_assert_double_eq_tol((double)exits_sigmoid(1.5f), 0.8175744761936437, 1e-7);
}
END_TEST

START_TEST(probability__clamps_the_running_total_in_the_direct_form)
{
    const struct example *example = &examples[_i];
    float gates[G], P[G + 1];

    logits_of(example->g, gates);
    exits_probability(EXITS_DIRECT, gates, G, P);
    for (int l = 0; l <= G; l++) {
        ck_assert_double_eq_tol((double)P[l], example->direct[l], TOLERANCE);
    }
}
END_TEST

START_TEST(probability__multiplies_survivals_in_the_hazard_form)
{
    const double expected[G + 1] = {.3, .35, .14, .21}; /* .3, .7*.5, .7*.5*.4, .7*.5*.6 */
    float gates[G], P[G + 1];

    logits_of(examples[0].g, gates);
    exits_probability(EXITS_HAZARD, gates, G, P);
    for (int l = 0; l <= G; l++) {
        ck_assert_double_eq_tol((double)P[l], expected[l], TOLERANCE);
    }
}
END_TEST

START_TEST(probability__sums_to_1_and_is_never_negative_for_any_gates)
{
    enum { GATES = 12 };

    for (uint64_t i = 0; i < 2000; i++) {
        float gates[GATES], P[GATES + 1];
        for (uint32_t l = 0; l < GATES; l++) {
            gates[l] = (float)(rng_normal(3, RNG_TEST, i, l) * (i % 4 == 0 ? 30 : 3));
        }
        for (int form = EXITS_HAZARD; form <= EXITS_DIRECT; form++) {
            double sum = 0;
            exits_probability((enum exits_form)form, gates, GATES, P);
            for (int l = 0; l <= GATES; l++) {
                ck_assert_float_ge(P[l], 0);
                sum += (double)P[l];
            }
            ck_assert_double_eq_tol(sum, 1, TOLERANCE);
        }
    }
}
END_TEST

START_TEST(probability__keeps_the_digits_of_what_a_nearly_open_gate_lets_pass)
{
    const float gates[] = {25, -1};
    float P[3];

    exits_probability(EXITS_HAZARD, gates, 2, P);
    ck_assert_double_eq_tol((double)P[1] / 3.73504336e-12, 1, 1e-5); /* e^-25 sigmoid(-1) */
    ck_assert_double_eq_tol((double)P[2] / 1.01529005e-11, 1, 1e-5);
}
END_TEST

START_TEST(hazards__are_probability_over_remaining_mass_with_0_over_0_as_1)
{
    const struct example *example = &examples[_i];
    float gates[G], hazards[G];

    logits_of(example->g, gates);
    exits_hazards(EXITS_DIRECT, gates, G, hazards);
    for (int l = 0; l < G; l++) {
        ck_assert_double_eq_tol((double)hazards[l], example->hazards[l], TOLERANCE);
    }
    exits_hazards(EXITS_HAZARD, gates, G, hazards);
    for (int l = 0; l < G; l++) {
        ck_assert_double_eq_tol((double)hazards[l], (double)example->g[l], TOLERANCE);
    }
}
END_TEST

START_TEST(hazards__are_1_where_no_mass_is_left_and_none_is_asked_for)
{
    const float gates[] = {100, -200}; /* g rounds to 1 and to 0 */
    float hazards[2];

    exits_hazards(EXITS_DIRECT, gates, 2, hazards);
    ck_assert_float_eq(hazards[1], 1);
}
END_TEST

START_TEST(hard_exit__is_the_first_hazard_of_one_half_ties_included)
{
    const struct example *example = &examples[_i];
    float gates[G];

    logits_of(example->g, gates);
    ck_assert_int_eq(exits_hard_exit(EXITS_DIRECT, gates, G), example->exit);
}
END_TEST

START_TEST(hard_exit__reads_the_sign_of_the_logit_in_the_hazard_form)
{
    const float tie[] = {-1, 0, 5};
    const float just_below[] = {-1e-9f, -1e-30f, -3}; /* sigmoid rounds to 1/2 */

    ck_assert_int_eq(exits_hard_exit(EXITS_HAZARD, tie, G), 1);
    ck_assert_int_eq(exits_hard_exit(EXITS_HAZARD, just_below, G), G);
    ck_assert_int_eq(exits_hard_exit(EXITS_HAZARD, tie, 0), 0);
}
END_TEST

START_TEST(expect__weighs_loss_and_cost_by_probability)
{
    const float g[G] = {.2f, .1f, .3f}, loss[] = {1.2f, .5f, .45f, .4f};
    const double costs[] = {.25, .5, .75, 1};
    float gates[G], P[G + 1];

    logits_of(g, gates);
    exits_probability(EXITS_DIRECT, gates, G, P);
    const struct exits_expectation expected = exits_expect(P, loss, costs, .5, G);
    ck_assert_double_eq_tol(expected.loss, .585, TOLERANCE);
    ck_assert_double_eq_tol(expected.cost, .725, TOLERANCE);
    ck_assert_double_eq_tol(expected.objective, .9475, TOLERANCE);
}
END_TEST

/* Linear in each g while nothing is clamped, so that a wide difference is exact. */
START_TEST(expect__grows_by_j_minus_j_final_per_unit_of_an_unclamped_direct_gate)
{
    const float loss[] = {1.2f, .5f, .45f, .4f};
    const double costs[] = {.25, .5, .75, 1}, expected[G] = {.425, -.15, -.075};
    const float step = .25f;

    for (int l = 0; l < G; l++) {
        double objective[2];
        for (int side = 0; side < 2; side++) {
            float g[G] = {.2f, .1f, .3f}, gates[G], P[G + 1];
            g[l] += (float)side * step;
            logits_of(g, gates);
            exits_probability(EXITS_DIRECT, gates, G, P);
            objective[side] = exits_expect(P, loss, costs, .5, G).objective;
        }
        ck_assert_double_eq_tol((objective[1] - objective[0]) / (double)step, expected[l], 2e-6);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_probability");
    TCase *tcase = tcase_create("exits_probability");

    tcase_add_test(tcase, sigmoid__is_exact_at_0_and_finite_far_out);
    tcase_add_loop_test(tcase, probability__clamps_the_running_total_in_the_direct_form, 0,
                        EXAMPLES);
    tcase_add_test(tcase, probability__multiplies_survivals_in_the_hazard_form);
    tcase_add_test(tcase, probability__sums_to_1_and_is_never_negative_for_any_gates);
    tcase_add_test(tcase, probability__keeps_the_digits_of_what_a_nearly_open_gate_lets_pass);
    tcase_add_loop_test(tcase, hazards__are_probability_over_remaining_mass_with_0_over_0_as_1, 0,
                        EXAMPLES);
    tcase_add_test(tcase, hazards__are_1_where_no_mass_is_left_and_none_is_asked_for);
    tcase_add_loop_test(tcase, hard_exit__is_the_first_hazard_of_one_half_ties_included, 0,
                        EXAMPLES);
    tcase_add_test(tcase, hard_exit__reads_the_sign_of_the_logit_in_the_hazard_form);
    tcase_add_test(tcase, expect__weighs_loss_and_cost_by_probability);
    tcase_add_test(tcase, expect__grows_by_j_minus_j_final_per_unit_of_an_unclamped_direct_gate);
    suite_add_tcase(suite, tcase);
    return suite;
}
