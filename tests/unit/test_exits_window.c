/* Unit tests of exits/exits_window.c: worked examples, and every width tried. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_decide.h"
#include "exits/exits_window.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 400, G = 2 };

static float confidence[N_MAX * (G + 1)], scores[N_MAX * G];
static uint8_t correct[N_MAX * (G + 1)];
static int32_t chosen[N_MAX];
static const double costs[G + 1] = {.25, .5, 1};

static struct exits_scored make(uint64_t seed, int n, int values)
{
    for (int i = 0; i < n; i++) {
        for (uint32_t l = 0; l <= G; l++) {
            const double u = rng_uniform(seed, RNG_TEST, (uint64_t)i, l);
            const int at = i * (G + 1) + (int)l;
            confidence[at] = (float)(ceil(u * values) / values);
            correct[at] = rng_uniform(seed, RNG_TEST, (uint64_t)i, 10 + l) < (double)confidence[at];
            if (l < G) {
                scores[i * G + (int)l] = confidence[at];
            }
        }
    }
    return (struct exits_scored){n, G, scores, correct, costs};
}

START_TEST(accept__is_the_lowest_confidence_within_the_risk_and_of_equal_coverage)
{
    enum { N = 6 };
    /* Of the end: .9 .8 .7 right, .6 wrong, .6 right, .5 wrong. */
    const float c[N][2] = {{.1f, .9f}, {.6f, .8f}, {.2f, .7f}, {.5f, .6f}, {.4f, .6f}, {.3f, .5f}};
    const uint8_t ok[N][2] = {{1, 1}, {1, 1}, {1, 1}, {1, 0}, {1, 1}, {1, 0}};
    uint8_t turned[N][2];
    double accept[2];

    ck_assert_int_eq(exits_window_accept(c[0], ok[0], N, 1, 0, accept), ERR_OK);
    ck_assert_double_eq(accept[1], (double).7f);
    ck_assert_double_eq(accept[0], (double).4f); /* the third highest there */
    /* One wrong of five; those of confidence .6 come together. */
    ck_assert_int_eq(exits_window_accept(c[0], ok[0], N, 1, .2, accept), ERR_OK);
    ck_assert_double_eq(accept[1], (double).6f);
    ck_assert_double_eq(accept[0], (double).2f);
    ck_assert_int_eq(exits_window_accept(c[0], ok[0], N, 1, .19, accept), ERR_OK);
    ck_assert_double_eq(accept[1], (double).7f);
    ck_assert_int_eq(exits_window_accept(c[0], ok[0], N, 1, 1, accept), ERR_OK);
    ck_assert_double_eq(accept[1], (double).5f);
    /* Nor does it matter which of those that are equal comes first. */
    for (int i = 0; i < N; i++) {
        memcpy(turned[i], ok[i], sizeof(ok[i]));
    }
    turned[3][1] = 1;
    turned[4][1] = 0;
    ck_assert_int_eq(exits_window_accept(c[0], turned[0], N, 1, .19, accept), ERR_OK);
    ck_assert_double_eq(accept[1], (double).7f);
}
END_TEST

START_TEST(accept__accepts_nobody_where_all_are_wrong)
{
    const float c[] = {.9f, .9f};
    const uint8_t ok[] = {0, 0};
    double accept[2] = {0, 0};

    ck_assert_int_eq(exits_window_accept(c, ok, 1, 1, .05, accept), ERR_OK);
    ck_assert_double_infinite(accept[0]);
    ck_assert_double_infinite(accept[1]);
    ck_assert_int_eq(exits_window_accept(c, ok, 0, 1, .05, accept), ERR_INVALID);
}
END_TEST

static double cost_of(int n)
{
    double cost = 0;

    for (int i = 0; i < n; i++) {
        cost += costs[chosen[i]];
    }
    return cost / n;
}

/* The windows of every width, by counting: nothing wider than the result keeps the budget. */
START_TEST(for_budget__finds_the_widest_window_that_keeps_the_budget)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        const int n = 2 + (int)seed * 7;
        const struct exits_scored scored = make(seed, n, seed % 2 == 0 ? 20 : 1 << 20);
        const double budget = .25 + .8 * rng_uniform(seed, RNG_TEST, 0, 99);
        double accept[G + 1], lows[G], highs[G];
        int64_t width = -1;

        ck_assert_int_eq(exits_window_accept(confidence, correct, n, G, .3, accept), ERR_OK);
        ck_assert_int_eq(exits_window_for_budget(&scored, accept, budget, lows, highs, &width),
                         ERR_OK);
        exits_decide_window(scores, lows, highs, n, G, chosen);
        ck_assert_double_le(cost_of(n), budget);
        for (int l = 0; l < G; l++) {
            int inside_above = 0, inside_below = 0, above = 0;
            for (int i = 0; i < n; i++) {
                const double s = (double)scores[i * G + l];
                above += s >= accept[l];
                inside_above += s < highs[l] && s >= accept[l];
                inside_below += s > lows[l] && s < accept[l];
            }
            ck_assert_int_le(inside_above, width); /* fewer where several are equal */
            ck_assert_int_le(inside_below, width);
            if (seed % 2 == 1) { /* no two are equal */
                ck_assert_int_eq(inside_above, width < above ? width : above);
                ck_assert_int_eq(inside_below, width < n - above ? width : n - above);
            }
        }
        if (width < n) {
            /* One more would not: ask with a budget that the next wider just keeps. */
            double wider_lows[G], wider_highs[G], more = budget;
            int64_t wider = width;
            while (wider == width) {
                more += .001;
                ck_assert_int_eq(
                    exits_window_for_budget(&scored, accept, more, wider_lows, wider_highs, &wider),
                    ERR_OK);
            }
            exits_decide_window(scores, wider_lows, wider_highs, n, G, chosen);
            ck_assert_double_gt(cost_of(n), budget);
        }
    }
}
END_TEST

START_TEST(for_budget__sends_nobody_on_for_the_least_and_all_for_the_most)
{
    const struct exits_scored scored = make(1, 100, 1 << 20);
    double accept[G + 1], lows[G], highs[G];
    int64_t width = -1;

    ck_assert_int_eq(exits_window_accept(confidence, correct, 100, G, .3, accept), ERR_OK);
    ck_assert_int_eq(exits_window_for_budget(&scored, accept, .25, lows, highs, &width), ERR_OK);
    ck_assert_int_eq(width, 0);
    exits_decide_window(scores, lows, highs, 100, G, chosen);
    ck_assert_double_eq(cost_of(100), .25);
    ck_assert_int_eq(exits_window_for_budget(&scored, accept, 1, lows, highs, &width), ERR_OK);
    ck_assert_int_eq(width, 100);
    exits_decide_window(scores, lows, highs, 100, G, chosen);
    ck_assert_double_eq(cost_of(100), 1);
    ck_assert_int_eq(exits_window_for_budget(&scored, accept, .24, lows, highs, &width),
                     ERR_INVALID);
}
END_TEST

START_TEST(measure__counts_what_is_accepted_wrong_and_as_at_the_end)
{
    enum { N = 4 };
    const float c[N][2] = {{.9f, .9f}, {.9f, .1f}, {.1f, .9f}, {.2f, .1f}};
    const uint8_t ok[N][2] = {{1, 1}, {0, 1}, {1, 0}, {1, 1}};
    const int32_t exits[N] = {0, 0, 1, 0};
    const double price[2] = {.5, 1}, accept[2] = {.5, .6};
    const struct exits_window_value value =
        exits_window_measure(exits, c[0], ok[0], price, accept, N, 1);

    ck_assert_double_eq_tol(value.cost, .625, 1e-12);
    ck_assert_double_eq_tol(value.coverage, .75, 1e-12);
    ck_assert_double_eq_tol(value.risk, 2. / 3, 1e-12);
    ck_assert_double_eq_tol(value.agreement, .75, 1e-12);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_window");
    TCase *tcase = tcase_create("exits_window");

    tcase_add_test(tcase, accept__is_the_lowest_confidence_within_the_risk_and_of_equal_coverage);
    tcase_add_test(tcase, accept__accepts_nobody_where_all_are_wrong);
    tcase_add_test(tcase, for_budget__finds_the_widest_window_that_keeps_the_budget);
    tcase_add_test(tcase, for_budget__sends_nobody_on_for_the_least_and_all_for_the_most);
    tcase_add_test(tcase, measure__counts_what_is_accepted_wrong_and_as_at_the_end);
    suite_add_tcase(suite, tcase);
    return suite;
}
