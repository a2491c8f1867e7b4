/* Unit tests of exits/exits_target.c. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "exits/exits_target.h"
#include "tests/support/test_suite.h"

enum { G = 3 };

static const double TOLERANCE = 1e-6;
static const float loss[G + 1] = {1.2f, .5f, .45f, .4f};
static const double costs[G + 1] = {.25, .5, .75, 1};

static void check_targets(enum exits_target_kind kind, const double J[], float t0, float t1,
                          float t2)
{
    float targets[G];

    exits_targets(kind, J, G, targets);
    ck_assert_float_eq(targets[0], t0);
    ck_assert_float_eq(targets[1], t1);
    ck_assert_float_eq(targets[2], t2);
}

START_TEST(targets__are_all_closed_when_the_end_is_cheapest)
{
    double J[G + 1];

    for (int i = 0; i < 2; i++) {
        exits_objectives(loss, costs, i * .1, G, J);
        ck_assert_int_eq(exits_best(J, G), G);
        check_targets(EXITS_CUMULATIVE, J, 0, 0, 0);
        check_targets(EXITS_NO_LATER_CHEAPER, J, 0, 0, 0);
    }
}
END_TEST

START_TEST(targets__open_from_the_cheapest_exit_on)
{
    const double expected[] = {1.325, .75, .825, .9}, expected_2[] = {1.7, 1.5, 1.95, 2.4};
    double J[G + 1], J_2[G + 1];

    exits_objectives(loss, costs, .5, G, J);
    exits_objectives(loss, costs, 2, G, J_2);
    for (int l = 0; l <= G; l++) {
        ck_assert_double_eq_tol(J[l], expected[l], TOLERANCE);
        ck_assert_double_eq_tol(J_2[l], expected_2[l], TOLERANCE);
    }
    ck_assert_int_eq(exits_best(J, G), 1);
    ck_assert_int_eq(exits_best(J_2, G), 1);
    check_targets(EXITS_CUMULATIVE, J, 0, 1, 1);
    check_targets(EXITS_NO_LATER_CHEAPER, J, 0, 1, 1);
}
END_TEST

/* Between neighbours l and l + 1 the cheaper one changes at (CE_l - CE_{l+1}) / (c_{l+1} - c_l). */
START_TEST(objectives__break_even_at_the_price_of_the_difference)
{
    const double break_even[G] = {2.8, .2, .2};

    for (int l = 0; l < G; l++) {
        double below[G + 1], above[G + 1];
        exits_objectives(loss, costs, break_even[l] - 1e-5, G, below);
        exits_objectives(loss, costs, break_even[l] + 1e-5, G, above);
        ck_assert_double_gt(below[l], below[l + 1]);
        ck_assert_double_lt(above[l], above[l + 1]);
    }
}
END_TEST

START_TEST(targets__differ_between_the_kinds_where_a_later_exit_is_cheaper_again)
{
    const double J[G + 1] = {1, 3, 2, 2.5};

    check_targets(EXITS_CUMULATIVE, J, 1, 1, 1);
    check_targets(EXITS_NO_LATER_CHEAPER, J, 1, 0, 1);
}
END_TEST

START_TEST(best__is_the_lowest_index_on_ties_and_a_tie_opens_the_gate)
{
    const double J[G + 1] = {2, 1, 1, 1};

    ck_assert_int_eq(exits_best(J, G), 1);
    check_targets(EXITS_CUMULATIVE, J, 0, 1, 1);
    check_targets(EXITS_NO_LATER_CHEAPER, J, 0, 1, 1);
}
END_TEST

START_TEST(targets__open_first_at_the_best_exit_whatever_the_kind)
{
    enum { EXITS = 8 };

    for (uint64_t i = 0; i < 2000; i++) {
        double J[EXITS + 1];
        float targets[EXITS];
        for (uint32_t l = 0; l <= EXITS; l++) {
            J[l] = floor(6 * rng_uniform(5, RNG_TEST, i, l)); /* few values: many ties */
        }
        for (int kind = EXITS_NO_LATER_CHEAPER; kind <= EXITS_CUMULATIVE; kind++) {
            int first = 0;
            exits_targets((enum exits_target_kind)kind, J, EXITS, targets);
            while (first < EXITS && targets[first] == 0) {
                first++;
            }
            ck_assert_int_eq(first, exits_best(J, EXITS));
        }
    }
}
END_TEST

START_TEST(best__moves_from_least_loss_to_the_first_exit_as_the_price_rises)
{
    for (uint64_t i = 0; i < 500; i++) {
        float losses[G + 1];
        double J[G + 1];
        int least = 0, last = G;
        for (uint32_t l = 0; l <= G; l++) {
            losses[l] = (float)(3 * rng_uniform(6, RNG_TEST, i, l));
            least = losses[l] < losses[least] ? (int)l : least;
        }
        for (int step = 0; step <= 40; step++) {
            exits_objectives(losses, costs, .4 * step, G, J);
            const int best = exits_best(J, G);
            ck_assert_int_le(best, last);
            ck_assert_int_eq(step == 0 ? best : least, least);
            last = best;
        }
        ck_assert_int_eq(last, 0);
    }
}
END_TEST

START_TEST(balance_weight__is_the_clipped_ratio_of_closed_to_open)
{
    ck_assert_float_eq(exits_balance_weight(0, 128), 5);
    ck_assert_float_eq(exits_balance_weight(16, 128), 5); /* 7, clipped */
    ck_assert_float_eq(exits_balance_weight(64, 128), 1);
    ck_assert_float_eq(exits_balance_weight(112, 128), .2f); /* 1/7, which the paper leaves */
    ck_assert_float_eq(exits_balance_weight(128, 128), .2f);
    ck_assert_double_eq_tol((double)exits_balance_weight(32, 128), 3, TOLERANCE);
    ck_assert_float_eq(exits_balance_weight(0, 0), 1);
}
END_TEST

/* Deep gates of cumulative targets are open nearly always: by the count of targets they weigh
   little; by the count of best exits, which is low there, they would weigh most. */
START_TEST(balance_weight__is_low_for_deep_gates_when_cumulative_targets_are_counted)
{
    const double J[][G + 1] = {{0, 1, 1, 1}, {1, 0, 1, 1}, {0, 1, 1, 1},
                               {1, 0, 1, 1}, {0, 1, 1, 1}, {1, 1, 0, 1}};
    enum { SAMPLES = sizeof(J) / sizeof(J[0]) };
    double open[G] = {0}, best[G + 1] = {0};

    for (int i = 0; i < SAMPLES; i++) {
        float targets[G];
        exits_targets(EXITS_CUMULATIVE, J[i], G, targets);
        for (int l = 0; l < G; l++) {
            open[l] += (double)targets[l];
        }
        best[exits_best(J[i], G)]++;
    }
    ck_assert_double_eq(open[2], SAMPLES);
    ck_assert_float_eq(exits_balance_weight(open[2], SAMPLES), .2f);
    ck_assert_float_eq(exits_balance_weight(best[2], SAMPLES), 5);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_target");
    TCase *tcase = tcase_create("exits_target");

    tcase_add_test(tcase, targets__are_all_closed_when_the_end_is_cheapest);
    tcase_add_test(tcase, targets__open_from_the_cheapest_exit_on);
    tcase_add_test(tcase, objectives__break_even_at_the_price_of_the_difference);
    tcase_add_test(tcase, targets__differ_between_the_kinds_where_a_later_exit_is_cheaper_again);
    tcase_add_test(tcase, best__is_the_lowest_index_on_ties_and_a_tie_opens_the_gate);
    tcase_add_test(tcase, targets__open_first_at_the_best_exit_whatever_the_kind);
    tcase_add_test(tcase, best__moves_from_least_loss_to_the_first_exit_as_the_price_rises);
    tcase_add_test(tcase, balance_weight__is_the_clipped_ratio_of_closed_to_open);
    tcase_add_test(tcase,
                   balance_weight__is_low_for_deep_gates_when_cumulative_targets_are_counted);
    suite_add_tcase(suite, tcase);
    return suite;
}
