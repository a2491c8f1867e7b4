/*
 * Unit tests of exits/exits_threshold.c and exits_threshold_search.c.
 *
 * Method: on small sets every combination of thresholds is tried, so that the optimum is
 * known; scores have few values there, for ties. On larger ones the solutions are held
 * against the families they must beat.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_decide.h"
#include "exits/exits_threshold.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 3000, G_MAX = 5, SMALL_N = 12, SMALL_G = 3, INSTANCES = 300 };

static float scores[N_MAX * G_MAX];
static uint8_t correct[N_MAX * (G_MAX + 1)];
static const double costs_of[] = {.1, .3, .45, .7, .8, 1};

/* Small sets: no pattern at all, the hardest case for a local search. */
static struct exits_scored make_small(uint64_t seed, int G)
{
    const int n = 1 + (int)(seed % SMALL_N);

    for (int at = 0; at < n * (G + 1); at++) {
        correct[at] = rng_uniform(seed, RNG_TEST, (uint64_t)at, 0) < .5;
    }
    for (int at = 0; at < n * G; at++) {
        scores[at] = (float)floor(8 * rng_uniform(seed, RNG_TEST, (uint64_t)at, 1));
    }
    return (struct exits_scored){n, G, scores, correct, costs_of + 5 - G};
}

/*
 * Like a trained network: samples differ in difficulty, exits in strength, and scores tell
 * imperfectly how likely the exit is right. The first exit is weak.
 */
static struct exits_scored make_large(uint64_t seed, int n)
{
    const double strength[] = {.25, .7, .8, .86, .9, .92};

    for (int i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)i;
        const double difficulty = rng_uniform(seed, RNG_TEST, id, 0);
        for (uint32_t l = 0; l <= G_MAX; l++) {
            const double p = 1 / (1 + exp(-12 * (strength[l] - difficulty)));
            const double noise = .8 * rng_normal(seed, RNG_TEST, id, 1 + l);
            correct[i * (G_MAX + 1) + (int)l] = rng_uniform(seed, RNG_TEST, id, 20 + l) < p;
            if (l < G_MAX) {
                scores[i * G_MAX + (int)l] =
                    (float)(1 / (1 + exp(-12 * (strength[l] - difficulty) - noise)));
            }
        }
    }
    return (struct exits_scored){n, G_MAX, scores, correct, costs_of};
}

/* The thresholds of one combination: digit 0 switches an exit off, digit d is sample d - 1's score. */
static void decode(const struct exits_scored *scored, int code, double thresholds_out[])
{
    const int digits = (int)scored->n + 1;

    for (int l = 0; l < scored->G; l++) {
        const int digit = code % digits;
        thresholds_out[l] =
            digit == 0 ? (double)INFINITY : (double)scored->scores[(digit - 1) * scored->G + l];
        code /= digits;
    }
}

static int combination_count(const struct exits_scored *scored)
{
    int count = 1;

    for (int l = 0; l < scored->G; l++) {
        count *= (int)scored->n + 1;
    }
    return count;
}

/* The least error + price * cost of all that cost no more than `budget`. */
static double best_of_all(const struct exits_scored *scored, double price, double budget)
{
    const int count = combination_count(scored);
    double best = (double)INFINITY;

    for (int code = 0; code < count; code++) {
        double thresholds[SMALL_G];
        decode(scored, code, thresholds);
        const struct exits_point point = exits_threshold_measure(scored, thresholds);
        if (point.cost <= budget + 1e-12) {
            best = fmin(best, point.error + price * point.cost);
        }
    }
    return best;
}

/* The same over thresholds that all exits share. */
static double best_shared(const struct exits_scored *scored, double price, double budget)
{
    double best = (double)INFINITY;

    for (int64_t at = -1; at < scored->n * scored->G; at++) {
        double thresholds[G_MAX];
        for (int l = 0; l < scored->G; l++) {
            thresholds[l] = at < 0 ? (double)INFINITY : (double)scored->scores[at];
        }
        const struct exits_point point = exits_threshold_measure(scored, thresholds);
        if (point.cost <= budget) {
            best = fmin(best, point.error + price * point.cost);
        }
    }
    return best;
}

static struct exits_point for_price(const struct exits_scored *scored, double price,
                                    double thresholds_out[])
{
    struct exits_point point = {0};

    ck_assert_int_eq(exits_threshold_for_price(scored, price, thresholds_out, &point), ERR_OK);
    const struct exits_point measured = exits_threshold_measure(scored, thresholds_out);
    ck_assert_double_eq(measured.error, point.error);
    ck_assert_double_eq(measured.cost, point.cost);
    return point;
}

START_TEST(measure__agrees_with_the_rule_that_decides)
{
    const struct exits_scored scored = make_large(1, 500);
    const double thresholds[] = {(double)INFINITY, .9, .8, .75, .6};
    int32_t chosen[500];
    double errors = 0, cost = 0;

    exits_decide_threshold(scores, thresholds, 500, G_MAX, chosen);
    for (int i = 0; i < 500; i++) {
        errors += correct[i * (G_MAX + 1) + chosen[i]] == 0;
        cost += costs_of[chosen[i]];
    }
    const struct exits_point point = exits_threshold_measure(&scored, thresholds);
    ck_assert_double_eq_tol(point.error, errors / 500, 1e-12);
    ck_assert_double_eq_tol(point.cost, cost / 500, 1e-12);
}
END_TEST

START_TEST(for_price__finds_the_optimum_of_nearly_all_small_sets)
{
    int reached = 0, tried = 0;

    for (uint64_t seed = 0; seed < INSTANCES; seed++) {
        const int G = 1 + (int)(seed / SMALL_N % SMALL_G);
        const struct exits_scored scored = make_small(seed, G);
        const double prices[] = {0, .3, 1.1};
        for (int p = 0; p < 3; p++) {
            double thresholds[SMALL_G];
            const struct exits_point point = for_price(&scored, prices[p], thresholds);
            const double found = point.error + prices[p] * point.cost;
            const double best = best_of_all(&scored, prices[p], (double)INFINITY);
            ck_assert_double_ge(found, best - 1e-9);
            ck_assert(G > 1 || found <= best + 1e-9); /* one exit alone is solved exactly */
            reached += found <= best + 1e-9;
            tried++;
        }
    }
    ck_assert_msg(reached >= tried * 97 / 100, "%d of %d", reached, tried);
}
END_TEST

START_TEST(for_price__is_never_worse_than_a_shared_threshold)
{
    double thresholds[G_MAX];

    for (uint64_t seed = 0; seed < 60; seed++) {
        const struct exits_scored scored = make_small(seed, SMALL_G);
        const struct exits_point point = for_price(&scored, .4, thresholds);
        ck_assert_double_le(point.error + .4 * point.cost,
                            best_shared(&scored, .4, (double)INFINITY) + 1e-9);
    }
    const struct exits_scored scored = make_large(2, 300);
    for (int p = 0; p < 8; p++) {
        const double price = .05 * p;
        const struct exits_point point = for_price(&scored, price, thresholds);
        ck_assert_double_le(point.error + price * point.cost,
                            best_shared(&scored, price, (double)INFINITY) + 1e-9);
    }
}
END_TEST

START_TEST(for_price__spends_less_as_the_price_rises_until_all_leave_first)
{
    const struct exits_scored scored = make_large(3, N_MAX);
    const double prices[] = {0, .02, .05, .1, .2, .4, .8, 1.6, 6};
    double thresholds[G_MAX], last = 2;

    for (int p = 0; p < 9; p++) {
        const struct exits_point point = for_price(&scored, prices[p], thresholds);
        ck_assert_double_le(point.cost, last + 1e-3);
        last = point.cost;
    }
    ck_assert_double_eq_tol(last, costs_of[0], 1e-9); /* 1 error costs less than 6 (c_1 - c_0) */
}
END_TEST

START_TEST(for_price__switches_an_exit_off_that_is_of_no_use)
{
    /* Exit 0 is certain and wrong, exit 1 and the end are right. */
    const float s[] = {.99f, .5f, .98f, .4f, .97f, .6f};
    const uint8_t ok[] = {0, 1, 1, 0, 1, 1, 0, 1, 1};
    const double costs[] = {.25, .5, 1};
    const struct exits_scored scored = {3, 2, s, ok, costs};
    double thresholds[2];

    const struct exits_point point = for_price(&scored, .1, thresholds);
    ck_assert_double_eq(point.error, 0);
    ck_assert_double_eq(point.cost, .5);
    ck_assert_double_infinite(thresholds[0]);
    ck_assert_double_gt(thresholds[0], 0);
}
END_TEST

START_TEST(for_price__puts_a_threshold_half_way_between_leaving_and_staying)
{
    const float s[] = {.75f, .25f, .5f, .875f};
    const uint8_t ok[] = {1, 1, 0, 1, 0, 1, 1, 1};
    const double costs[] = {.5, 1};
    const struct exits_scored scored = {4, 1, s, ok, costs};
    double threshold;

    const struct exits_point point = for_price(&scored, .1, &threshold);
    ck_assert_double_eq(threshold, .625);
    ck_assert_double_eq(point.error, 0);
    ck_assert_double_eq(point.cost, .75);
}
END_TEST

START_TEST(for_budgets__finds_the_optimum_of_nearly_all_small_sets)
{
    int reached = 0, tried = 0;

    for (uint64_t seed = 0; seed < INSTANCES; seed++) {
        const int G = 1 + (int)(seed / SMALL_N % SMALL_G);
        const struct exits_scored scored = make_small(seed, G);
        const double budget = scored.costs[0] + .31 * (1 - scored.costs[0]);
        double thresholds[SMALL_G];
        struct exits_point point;
        ck_assert_int_eq(exits_threshold_for_budgets(&scored, &budget, 1, thresholds, &point),
                         ERR_OK);
        const double best = best_of_all(&scored, 0, budget);
        ck_assert_double_le(point.cost, budget * (1 + 1e-9));
        ck_assert_double_ge(point.error, best - 1e-9);
        ck_assert(G > 1 || point.error <= best + 1e-9);
        reached += point.error <= best + 1e-9;
        tried++;
    }
    ck_assert_msg(reached >= tried * 95 / 100, "%d of %d", reached, tried);
}
END_TEST

START_TEST(for_budgets__keeps_each_budget_and_errs_less_with_more)
{
    enum { BUDGETS = 12 };
    double budgets[BUDGETS], thresholds[BUDGETS][G_MAX];
    struct exits_point points[BUDGETS];

    for (uint64_t seed = 0; seed < 5; seed++) {
        const struct exits_scored scored = make_large(seed, 400);
        for (int b = 0; b < BUDGETS; b++) {
            budgets[b] = .1 + .075 * b;
        }
        ck_assert_int_eq(
            exits_threshold_for_budgets(&scored, budgets, BUDGETS, thresholds[0], points), ERR_OK);
        for (int b = 0; b < BUDGETS; b++) {
            const struct exits_point measured = exits_threshold_measure(&scored, thresholds[b]);
            ck_assert_double_eq(measured.error, points[b].error);
            ck_assert_double_eq(measured.cost, points[b].cost);
            ck_assert_double_le(points[b].cost, budgets[b] * (1 + 1e-9));
            ck_assert(b == 0 || points[b].error <= points[b - 1].error);
            ck_assert_double_le(points[b].error, best_shared(&scored, 0, budgets[b]) + 1e-12);
        }
        ck_assert_double_eq_tol(points[0].cost, costs_of[0], 1e-9);
    }
}
END_TEST

START_TEST(for_budgets__beats_the_geometric_family_at_its_own_costs)
{
    enum { RATIOS = 39 };
    double thresholds[G_MAX], solved[G_MAX];
    struct exits_point point;
    double gained = 0;
    const struct exits_scored scored = make_large(9, 600);

    for (int r = 1; r <= RATIOS; r++) {
        ck_assert_int_eq(exits_threshold_geometric(&scored, r / 20.0, thresholds), ERR_OK);
        const struct exits_point baseline = exits_threshold_measure(&scored, thresholds);
        ck_assert_int_eq(exits_threshold_for_budgets(&scored, &baseline.cost, 1, solved, &point),
                         ERR_OK);
        ck_assert_double_le(point.error, baseline.error);
        ck_assert_double_le(point.cost, baseline.cost * (1 + 1e-9));
        gained += (baseline.error - point.error) / RATIOS;
    }
    ck_assert_double_gt(gained, .01); /* the weak first exit is forced on the family */
}
END_TEST

START_TEST(geometric__is_the_published_budget_solver)
{
    enum { N = 10, G = 2 };
    const float confidence[G][N] = {{.95f, .90f, .80f, .70f, .65f, .60f, .55f, .50f, .45f, .40f},
                                    {.97f, .92f, .85f, .60f, .90f, .88f, .50f, .75f, .99f, .58f}};
    const double costs[] = {.2, .5, 1};
    const int32_t expected[N] = {0, 0, 0, 0, 0, 1, 2, 2, 1, 2};
    const uint8_t ok[N * (G + 1)] = {0};
    float s[N][G];
    double thresholds[G];
    int32_t chosen[N];

    for (int i = 0; i < N; i++) {
        s[i][0] = confidence[0][i];
        s[i][1] = confidence[1][i];
    }
    const struct exits_scored scored = {N, G, s[0], ok, costs};
    ck_assert_int_eq(exits_threshold_geometric(&scored, .5, thresholds), ERR_OK);
    ck_assert_double_eq(thresholds[0], (double).65f);
    ck_assert_double_eq(thresholds[1], (double).88f);
    exits_decide_threshold(s[0], thresholds, N, G, chosen);
    ck_assert_mem_eq(chosen, expected, sizeof(expected));
    ck_assert_double_eq_tol(exits_threshold_measure(&scored, thresholds).cost, .5, 1e-12);
    /* 10 / 400 and 10 * 20 / 400: less than one sample leaves first. */
    ck_assert_int_eq(exits_threshold_geometric(&scored, 20, thresholds), ERR_OK);
    ck_assert_double_infinite(thresholds[0]);
}
END_TEST

START_TEST(solutions__do_not_depend_on_the_order_of_samples)
{
    enum { N = 400 };
    static float moved_scores[N * G_MAX];
    static uint8_t moved_correct[N * (G_MAX + 1)];
    const struct exits_scored scored = make_large(4, N);
    const struct exits_scored moved = {N, G_MAX, moved_scores, moved_correct, costs_of};
    double thresholds[G_MAX], thresholds_moved[G_MAX];

    for (int i = 0; i < N; i++) {
        const int to = (i * 7 + 3) % N;
        memcpy(moved_scores + to * G_MAX, scores + i * G_MAX, G_MAX * sizeof(float));
        memcpy(moved_correct + to * (G_MAX + 1), correct + i * (G_MAX + 1), G_MAX + 1);
    }
    const struct exits_point point = for_price(&scored, .1, thresholds);
    const struct exits_point point_moved = for_price(&moved, .1, thresholds_moved);
    ck_assert_double_eq_tol(point.error + .1 * point.cost,
                            point_moved.error + .1 * point_moved.cost, 1e-9);
}
END_TEST

START_TEST(functions__refuse_what_they_cannot_solve)
{
    const float bad_scores[] = {.5f, NAN};
    const uint8_t ok[] = {1, 0, 1, 1, 1, 0};
    const double bad_costs[] = {.5, .5, 1}, costs[] = {.25, .5, 1}, too_little = .2;
    const float s[] = {.5f, .25f};
    const struct exits_scored good = {1, 2, s, ok, costs};
    struct exits_scored bad = good;
    struct exits_point point = {-1, -1};
    double thresholds[2];

    bad.scores = bad_scores;
    ck_assert_int_eq(exits_threshold_for_price(&bad, 0, thresholds, &point), ERR_INVALID);
    bad = good;
    bad.costs = bad_costs;
    ck_assert_int_eq(exits_threshold_geometric(&bad, 1, thresholds), ERR_INVALID);
    bad = good;
    bad.n = 0;
    ck_assert_int_eq(exits_threshold_for_price(&bad, 0, thresholds, &point), ERR_INVALID);
    ck_assert_int_eq(exits_threshold_for_budgets(&good, &too_little, 1, thresholds, &point),
                     ERR_INVALID);
    const double falling[] = {.75, .5};
    struct exits_point points[2];
    double both[2 * 2];
    ck_assert_int_eq(exits_threshold_for_budgets(&good, falling, 2, both, points), ERR_INVALID);
    ck_assert_double_eq(point.error, -1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_threshold");
    TCase *tcase = tcase_create("exits_threshold");

    tcase_add_test(tcase, measure__agrees_with_the_rule_that_decides);
    tcase_add_test(tcase, for_price__finds_the_optimum_of_nearly_all_small_sets);
    tcase_add_test(tcase, for_price__is_never_worse_than_a_shared_threshold);
    tcase_add_test(tcase, for_price__spends_less_as_the_price_rises_until_all_leave_first);
    tcase_add_test(tcase, for_price__switches_an_exit_off_that_is_of_no_use);
    tcase_add_test(tcase, for_price__puts_a_threshold_half_way_between_leaving_and_staying);
    tcase_add_test(tcase, for_budgets__finds_the_optimum_of_nearly_all_small_sets);
    tcase_add_test(tcase, for_budgets__keeps_each_budget_and_errs_less_with_more);
    tcase_add_test(tcase, for_budgets__beats_the_geometric_family_at_its_own_costs);
    tcase_add_test(tcase, geometric__is_the_published_budget_solver);
    tcase_add_test(tcase, solutions__do_not_depend_on_the_order_of_samples);
    tcase_add_test(tcase, functions__refuse_what_they_cannot_solve);
    suite_add_tcase(suite, tcase);
    return suite;
}
