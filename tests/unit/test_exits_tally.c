/* Unit tests of exits/exits_tally.c. */
#include <check.h>
#include <string.h>

#include "exits/exits_tally.h"
#include "tests/support/test_suite.h"

enum { N = 4, G = 2 };

static const int32_t chosen[N] = {0, 2, 0, 1};
static const uint8_t correct[N][G + 1] = {{1, 0, 1}, {0, 0, 1}, {0, 1, 1}, {0, 1, 0}};
static const float confidence[N][G + 1] = {{.9f, 0, 0}, {0, 0, .9f}, {.9f, 0, 0}, {0, .9f, 0}};
static const float loss[N][G + 1] = {{.1f, 9, 9}, {9, 9, .2f}, {1.5f, 9, 9}, {9, .4f, 9}};
static const double costs[G + 1] = {.25, .5, 1};
static struct exits_tally tally;

static struct exits_outcomes outcomes(void)
{
    return (struct exits_outcomes){
        .n = N,
        .G = G,
        .chosen = chosen,
        .correct = &correct[0][0],
        .confidence = &confidence[0][0],
        .loss = &loss[0][0],
        .costs = costs,
        .lambda = .5,
    };
}

START_TEST(tally__counts_who_left_where_and_who_was_right)
{
    const struct exits_outcomes given = outcomes();
    const struct exits_tally_exit expected[G + 1] = {{1, 2, 1}, {2, 1, 1}, {3, 1, 1}};

    ck_assert_int_eq(exits_tally(&given, &tally), ERR_OK);
    ck_assert_mem_eq(tally.exits, expected, sizeof(expected));
    ck_assert_int_eq(tally.n, N);
    ck_assert_double_eq_tol(tally.accuracy, .75, 1e-12);
}
END_TEST

START_TEST(tally__takes_cost_and_objective_from_the_hard_choice)
{
    const struct exits_outcomes given = outcomes();
    double cost = 0;

    ck_assert_int_eq(exits_tally(&given, &tally), ERR_OK);
    for (int l = 0; l <= G; l++) {
        cost += (double)tally.exits[l].left / N * costs[l];
    }
    ck_assert_double_eq_tol(tally.mean_cost, .5, 1e-12); /* (.25 + 1 + .25 + .5) / 4 */
    ck_assert_double_eq_tol(tally.mean_cost, cost, 1e-12);
    ck_assert_double_eq_tol(tally.mean_loss, .55, 1e-7);
    ck_assert_double_eq_tol(tally.mean_objective, .8, 1e-7);
}
END_TEST

START_TEST(tally__calibrates_the_confidence_of_the_chosen_exits)
{
    const struct exits_outcomes given = outcomes();

    ck_assert_int_eq(exits_tally(&given, &tally), ERR_OK);
    ck_assert_double_eq_tol(tally.calibration_error, .15, 1e-6); /* .9 against 3 of 4 */
}
END_TEST

START_TEST(tally__refuses_no_samples_and_exits_that_are_not_there)
{
    const int32_t beyond[N] = {0, 3, 0, 1};
    struct exits_outcomes given = outcomes();

    memset(&tally, 0x55, sizeof(tally));
    given.n = 0;
    ck_assert_int_eq(exits_tally(&given, &tally), ERR_INVALID);
    given = outcomes();
    given.chosen = beyond;
    ck_assert_int_eq(exits_tally(&given, &tally), ERR_INVALID);
    ck_assert_int_eq(tally.n, 0x5555555555555555);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_tally");
    TCase *tcase = tcase_create("exits_tally");

    tcase_add_test(tcase, tally__counts_who_left_where_and_who_was_right);
    tcase_add_test(tcase, tally__takes_cost_and_objective_from_the_hard_choice);
    tcase_add_test(tcase, tally__calibrates_the_confidence_of_the_chosen_exits);
    tcase_add_test(tcase, tally__refuses_no_samples_and_exits_that_are_not_there);
    suite_add_tcase(suite, tcase);
    return suite;
}
