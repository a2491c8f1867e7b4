/*
 * Unit tests of exits/exits_budget.c and exits_threshold_shared(): worked examples, and every
 * possibility tried on small sets with ties.
 */
#include <check.h>
#include <math.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_budget.h"
#include "exits/exits_decide.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 2000, G_MAX = 4, INSTANCES = 200 };

static float scores[N_MAX * G_MAX];
static uint8_t correct[N_MAX * (G_MAX + 1)];
static const double costs[] = {.2, .4, .55, .8, 1};

/* Scores of few values; the end is right most often. */
static struct exits_scored make(uint64_t seed, int n, int values)
{
    for (uint64_t at = 0; at < (uint64_t)n * G_MAX; at++) {
        scores[at] = (float)floor(values * rng_uniform(seed, RNG_TEST, at, 1)) / (float)values;
    }
    for (uint64_t at = 0; at < (uint64_t)n * (G_MAX + 1); at++) {
        const double p = .4 + .1 * (double)(at % (G_MAX + 1));
        correct[at] = rng_uniform(seed, RNG_TEST, at, 0) < p;
    }
    return (struct exits_scored){n, G_MAX, scores, correct, costs};
}

/* A point is what its thresholds are worth, and keeps the budget. */
static void check_point(const struct exits_scored *scored, const double thresholds[],
                        struct exits_point point, double budget)
{
    const struct exits_point measured = exits_threshold_measure(scored, thresholds);

    ck_assert_double_eq_tol(point.error, measured.error, 1e-12);
    ck_assert_double_eq_tol(point.cost, measured.cost, 1e-12);
    ck_assert_double_le(point.cost, budget * (1 + 1e-9));
}

START_TEST(shared__is_the_best_of_all_shared_thresholds)
{
    for (uint64_t seed = 0; seed < INSTANCES; seed++) {
        const struct exits_scored scored = make(seed, 1 + (int)seed % 20, 6);
        const double budget = .2 + .8 * rng_uniform(seed, RNG_TEST, 0, 9);
        double thresholds[G_MAX], all[G_MAX];
        struct exits_point point;
        double least = 1;

        ck_assert_int_eq(exits_threshold_shared(&scored, budget, thresholds, &point), ERR_OK);
        check_point(&scored, thresholds, point, budget);
        for (int at = -1; at < scored.n * G_MAX; at++) {
            for (int l = 0; l < G_MAX; l++) {
                all[l] = at < 0 ? (double)INFINITY : (double)scores[at];
            }
            const struct exits_point other = exits_threshold_measure(&scored, all);
            if (other.cost <= budget) {
                least = fmin(least, other.error);
            }
        }
        ck_assert_double_eq_tol(point.error, least, 1e-9);
    }
}
END_TEST

START_TEST(geometric__is_the_best_of_39_ratios)
{
    for (uint64_t seed = 0; seed < INSTANCES; seed++) {
        const struct exits_scored scored = make(seed, 100, 50);
        const double budget = .3 + .6 * rng_uniform(seed, RNG_TEST, 0, 9);
        double thresholds[G_MAX], other[G_MAX];
        struct exits_point point;
        double least = 2;

        ck_assert_int_eq(exits_budget_geometric(&scored, budget, thresholds, &point), ERR_OK);
        check_point(&scored, thresholds, point, budget);
        for (int r = 1; r <= 39; r++) {
            ck_assert_int_eq(exits_threshold_geometric(&scored, r / 20.0, other), ERR_OK);
            const struct exits_point value = exits_threshold_measure(&scored, other);
            if (value.cost <= budget) {
                least = fmin(least, value.error);
            }
        }
        if (least <= 1) {
            ck_assert_double_eq_tol(point.error, least, 1e-9);
        }
    }
}
END_TEST

/* Of 7 samples: 4, 2, 1 for a ratio of 1/2; a third of 9 each for 1; and 1, 2, 4 of 7 for 2. */
START_TEST(geometric__shares_are_powers_of_the_ratio)
{
    const double ratios[] = {.5, 1, 2};
    const int sizes[] = {7, 9, 7}, shares[3][3] = {{4, 2, 1}, {3, 3, 3}, {1, 2, 4}};
    float s[9 * 2];
    const uint8_t ok[9 * 3] = {0};
    int32_t chosen[9];
    double thresholds[2];

    for (int i = 0; i < 9; i++) {
        s[2 * i] = (float)(i * 5 % 9);
        s[2 * i + 1] = (float)(i * 7 % 9);
    }
    for (int r = 0; r < 3; r++) {
        const struct exits_scored scored = {sizes[r], 2, s, ok, costs};
        int left[3] = {0};
        ck_assert_int_eq(exits_threshold_geometric(&scored, ratios[r], thresholds), ERR_OK);
        exits_decide_threshold(s, thresholds, sizes[r], 2, chosen);
        for (int i = 0; i < sizes[r]; i++) {
            left[chosen[i]]++;
        }
        ck_assert_mem_eq(left, shares[r], sizeof(left));
    }
}
END_TEST

START_TEST(geometric__lets_all_leave_at_once_when_no_ratio_keeps_the_budget)
{
    const struct exits_scored scored = make(3, 100, 1000);
    double thresholds[G_MAX];
    struct exits_point point;

    ck_assert_int_eq(exits_budget_geometric(&scored, .2, thresholds, &point), ERR_OK);
    ck_assert_double_eq_tol(point.cost, .2, 1e-12);
}
END_TEST

START_TEST(mean__spends_the_budget_as_far_as_whole_samples_allow)
{
    const struct exits_scored scored = make(1, N_MAX, 1 << 20);

    for (int step = 0; step <= 16; step++) {
        const double budget = .2 + .05 * step;
        double thresholds[G_MAX];
        struct exits_point point;

        ck_assert_int_eq(exits_budget_mean(&scored, budget, thresholds, &point), ERR_OK);
        check_point(&scored, thresholds, point, budget);
        ck_assert_double_ge(point.cost, budget - .004); /* four exits, a sample each */
    }
}
END_TEST

START_TEST(mean__of_a_published_ratios_cost_is_that_ratio)
{
    const struct exits_scored scored = make(2, N_MAX, 1 << 20);
    double want[G_MAX], thresholds[G_MAX];
    struct exits_point point;

    ck_assert_int_eq(exits_threshold_geometric(&scored, .8, want), ERR_OK);
    const double budget = exits_threshold_measure(&scored, want).cost;
    ck_assert_int_eq(exits_budget_mean(&scored, budget, thresholds, &point), ERR_OK);
    /* Costs move by whole samples, not always the same way as the ratio. */
    ck_assert_double_eq_tol(point.cost, budget, 1e-3);
    for (int l = 0; l < G_MAX; l++) {
        ck_assert_double_eq_tol(thresholds[l], want[l], .01);
    }
}
END_TEST

START_TEST(peak__lets_nobody_pass_the_cap)
{
    const struct exits_scored scored = make(5, 500, 40);
    const double peaks[] = {.2, .39, .4, .6, .8, .99, 1, 5};
    const int caps[] = {0, 0, 1, 2, 3, 3, 4, 4};
    int32_t chosen[500];

    for (int p = 0; p < 8; p++) {
        double thresholds[G_MAX];
        struct exits_point point;
        int cap = -1;

        ck_assert_int_eq(
            exits_budget_peak(&scored, peaks[p], (double)INFINITY, thresholds, &cap, &point),
            ERR_OK);
        ck_assert_int_eq(cap, caps[p]);
        check_point(&scored, thresholds, point, costs[cap]);
        exits_decide_threshold(scores, thresholds, 500, G_MAX, chosen);
        for (int i = 0; i < 500; i++) {
            ck_assert_int_le(chosen[i], cap);
        }
        if (cap < G_MAX) {
            ck_assert_double_eq(thresholds[cap], -(double)INFINITY);
        }
        for (int l = cap + 1; l < G_MAX; l++) {
            ck_assert_double_eq(thresholds[l], (double)INFINITY);
        }
    }
}
END_TEST

START_TEST(peak__is_as_good_as_free_thresholds_of_the_network_that_ends_there)
{
    enum { CAP = 2 };
    static float cut_scores[300 * CAP];
    static uint8_t cut_correct[300 * (CAP + 1)];
    const struct exits_scored scored = make(6, 300, 40);
    const struct exits_scored cut = {300, CAP, cut_scores, cut_correct, costs};
    const double budget = .35;
    double thresholds[G_MAX], free_thresholds[CAP];
    struct exits_point point, free_point;
    int cap;

    for (int i = 0; i < 300; i++) {
        memcpy(cut_scores + (ptrdiff_t)i * CAP, scores + (ptrdiff_t)i * G_MAX, CAP * sizeof(float));
        memcpy(cut_correct + (ptrdiff_t)i * (CAP + 1), correct + (ptrdiff_t)i * (G_MAX + 1),
               CAP + 1);
    }
    ck_assert_int_eq(exits_budget_peak(&scored, .6, budget, thresholds, &cap, &point), ERR_OK);
    ck_assert_int_eq(exits_threshold_for_budgets(&cut, &budget, 1, free_thresholds, &free_point),
                     ERR_OK);
    check_point(&scored, thresholds, point, budget);
    ck_assert_double_eq_tol(point.error, free_point.error, 1e-12);
    ck_assert_mem_eq(thresholds, free_thresholds, sizeof(free_thresholds));
}
END_TEST

START_TEST(patience__is_the_best_that_keeps_the_budget)
{
    enum { N = 4, G = 4 };
    const int32_t predicted[N][G + 1] = {
        {1, 2, 2, 2, 0}, {5, 5, 5, 0, 0}, {1, 1, 2, 2, 1}, {0, 1, 2, 3, 4}};
    const float agreements[N][G] = {{0, 0, 1, 2}, {0, 1, 2, 0}, {0, 1, 0, 1}, {0, 0, 0, 0}};
    const int32_t labels[N] = {2, 5, 1, 4};
    uint8_t ok[N][G + 1];
    double thresholds[G];
    struct exits_point point;
    int patience = -2;

    for (int i = 0; i < N; i++) {
        for (int l = 0; l <= G; l++) {
            ok[i][l] = predicted[i][l] == labels[i];
        }
    }
    const struct exits_scored scored = {N, G, agreements[0], ok[0], costs};
    /* Patience 1 leaves at exits 2, 1, 1, 4, all right, for (.55 + .4 + .4 + 1) / 4. */
    ck_assert_int_eq(exits_budget_patience(&scored, 1, thresholds, &patience, &point), ERR_OK);
    ck_assert_int_eq(patience, 1);
    ck_assert_double_eq(point.error, 0);
    ck_assert_double_eq_tol(point.cost, .5875, 1e-12);
    check_point(&scored, thresholds, point, 1);
    ck_assert_int_eq(exits_budget_patience(&scored, .5, thresholds, &patience, &point), ERR_OK);
    ck_assert_int_eq(patience, -1);
    ck_assert_double_eq_tol(point.cost, .2, 1e-12);
}
END_TEST

START_TEST(functions__do_not_depend_on_the_order_of_samples)
{
    enum { N = 400 };
    static float moved_scores[N * G_MAX];
    static uint8_t moved_correct[N * (G_MAX + 1)];
    const struct exits_scored scored = make(8, N, 30);
    const struct exits_scored moved = {N, G_MAX, moved_scores, moved_correct, costs};
    double a[G_MAX], b[G_MAX];
    struct exits_point at, bt;

    for (int i = 0; i < N; i++) {
        const int to = (i * 7 + 3) % N;
        memcpy(moved_scores + (ptrdiff_t)to * G_MAX, scores + (ptrdiff_t)i * G_MAX,
               G_MAX * sizeof(float));
        memcpy(moved_correct + (ptrdiff_t)to * (G_MAX + 1), correct + (ptrdiff_t)i * (G_MAX + 1),
               G_MAX + 1);
    }
    ck_assert_int_eq(exits_budget_geometric(&scored, .5, a, &at), ERR_OK);
    ck_assert_int_eq(exits_budget_geometric(&moved, .5, b, &bt), ERR_OK);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_int_eq(exits_budget_mean(&scored, .5, a, &at), ERR_OK);
    ck_assert_int_eq(exits_budget_mean(&moved, .5, b, &bt), ERR_OK);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_int_eq(exits_threshold_shared(&scored, .5, a, &at), ERR_OK);
    ck_assert_int_eq(exits_threshold_shared(&moved, .5, b, &bt), ERR_OK);
    ck_assert_mem_eq(a, b, sizeof(a));
}
END_TEST

START_TEST(functions__refuse_a_budget_below_the_first_exit)
{
    const struct exits_scored scored = make(9, 50, 30);
    double thresholds[G_MAX] = {7, 7, 7, 7};
    struct exits_point point;
    int whole = 7;

    ck_assert_int_eq(exits_threshold_shared(&scored, .19, thresholds, &point), ERR_INVALID);
    ck_assert_int_eq(exits_budget_geometric(&scored, .19, thresholds, &point), ERR_INVALID);
    ck_assert_int_eq(exits_budget_mean(&scored, (double)NAN, thresholds, &point), ERR_INVALID);
    ck_assert_int_eq(exits_budget_peak(&scored, .19, 1, thresholds, &whole, &point), ERR_INVALID);
    ck_assert_int_eq(exits_budget_peak(&scored, 1, .19, thresholds, &whole, &point), ERR_INVALID);
    ck_assert_int_eq(exits_budget_patience(&scored, .19, thresholds, &whole, &point), ERR_INVALID);
    scores[3] = NAN;
    ck_assert_int_eq(exits_budget_peak(&scored, .2, 1, thresholds, &whole, &point), ERR_INVALID);
    ck_assert_int_eq(whole, 7);
    ck_assert_double_eq(thresholds[0], 7);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_budget");
    TCase *tcase = tcase_create("exits_budget");

    tcase_add_test(tcase, shared__is_the_best_of_all_shared_thresholds);
    tcase_add_test(tcase, geometric__is_the_best_of_39_ratios);
    tcase_add_test(tcase, geometric__shares_are_powers_of_the_ratio);
    tcase_add_test(tcase, geometric__lets_all_leave_at_once_when_no_ratio_keeps_the_budget);
    tcase_add_test(tcase, mean__spends_the_budget_as_far_as_whole_samples_allow);
    tcase_add_test(tcase, mean__of_a_published_ratios_cost_is_that_ratio);
    tcase_add_test(tcase, peak__lets_nobody_pass_the_cap);
    tcase_add_test(tcase, peak__is_as_good_as_free_thresholds_of_the_network_that_ends_there);
    tcase_add_test(tcase, patience__is_the_best_that_keeps_the_budget);
    tcase_add_test(tcase, functions__do_not_depend_on_the_order_of_samples);
    tcase_add_test(tcase, functions__refuse_a_budget_below_the_first_exit);
    suite_add_tcase(suite, tcase);
    return suite;
}
