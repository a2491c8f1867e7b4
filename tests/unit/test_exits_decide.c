/* Unit tests of exits/exits_decide.c. */
#include <check.h>
#include <math.h>

#include "exits/exits_decide.h"
#include "tests/support/test_suite.h"

START_TEST(threshold__lets_leave_at_the_first_score_that_reaches_it_ties_included)
{
    enum { N = 5, G = 2 };
    const float scores[N][G] = {{.9f, .1f}, {.5f, .7f}, {.49f, .7f}, {.49f, .69f}, {NAN, NAN}};
    const double thresholds[G] = {.5, (double).7f};
    const int32_t expected[N] = {0, 0, 1, 2, 2};
    int32_t chosen[N];

    exits_decide_threshold(&scores[0][0], thresholds, N, G, chosen);
    ck_assert_mem_eq(chosen, expected, sizeof(expected));
}
END_TEST

START_TEST(threshold__switches_an_exit_off_when_infinite)
{
    const float scores[] = {INFINITY, .2f};
    const double thresholds[] = {(double)INFINITY, .1}, off[] = {(double)INFINITY, INFINITY};
    int32_t chosen[1];

    exits_decide_threshold(scores, thresholds, 1, 2, chosen);
    ck_assert_int_eq(chosen[0], 1);
    exits_decide_threshold(scores, off, 1, 2, chosen);
    ck_assert_int_eq(chosen[0], 2);
}
END_TEST

START_TEST(window__lets_leave_who_is_clearly_in_or_out_and_both_edges)
{
    enum { N = 6, G = 1 };
    const float scores[N] = {.2f, .5f, .8f, .4f, .6f, NAN};
    const int32_t expected[N] = {0, 1, 0, 0, 0, 1}, upper[N] = {1, 1, 0, 1, 0, 1};
    const double low = (double).4f, high = (double).6f, none = -(double)INFINITY;
    int32_t chosen[N];

    exits_decide_window(scores, &low, &high, N, G, chosen);
    ck_assert_mem_eq(chosen, expected, sizeof(expected));
    exits_decide_window(scores, &none, &high, N, G, chosen);
    ck_assert_mem_eq(chosen, upper, sizeof(upper));
}
END_TEST

START_TEST(threshold__lets_everybody_leave_when_minus_infinite)
{
    const float scores[] = {-INFINITY, -1e30f, NAN};
    const double all = -(double)INFINITY;
    const int32_t expected[3] = {0, 0, 1};
    int32_t chosen[3];

    exits_decide_threshold(scores, &all, 3, 1, chosen);
    ck_assert_mem_eq(chosen, expected, sizeof(expected));
}
END_TEST

START_TEST(patience__counts_agreements_in_a_row)
{
    enum { N = 4, G = 4 };
    const int32_t predicted[N][G + 1] = {
        {1, 2, 2, 2, 0}, {5, 5, 5, 0, 0}, {1, 1, 2, 2, 1}, {0, 1, 2, 3, 4}};
    const int32_t expected_2[N] = {3, 2, 4, 4}, expected_1[N] = {2, 1, 1, 4};
    int32_t chosen[N];

    exits_decide_patience(&predicted[0][0], 2, N, G, chosen);
    ck_assert_mem_eq(chosen, expected_2, sizeof(chosen));
    exits_decide_patience(&predicted[0][0], 1, N, G, chosen);
    ck_assert_mem_eq(chosen, expected_1, sizeof(chosen));
    exits_decide_patience(&predicted[0][0], 0, N, G, chosen);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(chosen[i], G);
    }
}
END_TEST

START_TEST(oracle__takes_the_least_loss_plus_price)
{
    enum { N = 2, G = 3 };
    const float loss[N][G + 1] = {{1.2f, .5f, .45f, .4f}, {.1f, .1f, .1f, .1f}};
    const double costs[G + 1] = {.25, .5, .75, 1};
    const int32_t free[N] = {3, 0}, priced[N] = {1, 0}, dear[N] = {0, 0};
    int32_t chosen[N];

    exits_decide_oracle(&loss[0][0], costs, 0, N, G, chosen);
    ck_assert_mem_eq(chosen, free, sizeof(chosen));
    exits_decide_oracle(&loss[0][0], costs, .5, N, G, chosen);
    ck_assert_mem_eq(chosen, priced, sizeof(chosen));
    exits_decide_oracle(&loss[0][0], costs, 100, N, G, chosen);
    ck_assert_mem_eq(chosen, dear, sizeof(chosen));
}
END_TEST

START_TEST(always__sends_everyone_to_one_exit)
{
    int32_t chosen[3] = {-1, -1, -1};

    exits_decide_always(2, 2, chosen);
    ck_assert_int_eq(chosen[0], 2);
    ck_assert_int_eq(chosen[1], 2);
    ck_assert_int_eq(chosen[2], -1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_decide");
    TCase *tcase = tcase_create("exits_decide");

    tcase_add_test(tcase, threshold__lets_leave_at_the_first_score_that_reaches_it_ties_included);
    tcase_add_test(tcase, threshold__switches_an_exit_off_when_infinite);
    tcase_add_test(tcase, window__lets_leave_who_is_clearly_in_or_out_and_both_edges);
    tcase_add_test(tcase, threshold__lets_everybody_leave_when_minus_infinite);
    tcase_add_test(tcase, patience__counts_agreements_in_a_row);
    tcase_add_test(tcase, oracle__takes_the_least_loss_plus_price);
    tcase_add_test(tcase, always__sends_everyone_to_one_exit);
    suite_add_tcase(suite, tcase);
    return suite;
}
