/* Unit tests of exits/exits_risk.c: the definition by brute force, and the promise on a known law. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_conformal.h"
#include "exits/exits_risk.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 2000, G = 3, SPLITS = 20 };

static float scores[N_MAX * G];
static uint8_t correct[N_MAX * (G + 1)];

static struct exits_scored make(uint64_t seed, int n, int values)
{
    for (int i = 0; i < n; i++) {
        for (uint32_t l = 0; l <= G; l++) {
            const double u = rng_uniform(seed, RNG_TEST, (uint64_t)i, l);
            const double s = floor(u * values) / values;
            correct[i * (G + 1) + (int)l] =
                rng_uniform(seed, RNG_TEST, (uint64_t)i, 10 + l) < (l == G ? .9 : .4 + .6 * u);
            if (l < G) {
                scores[i * G + (int)l] = (float)s;
            }
        }
    }
    return (struct exits_scored){n, G, scores, correct, NULL};
}

static int loses(const float s[], const uint8_t ok[], double threshold)
{
    int exit = 0;

    while (exit < G && (double)s[exit] < threshold) {
        exit++;
    }
    return ok[G] && !ok[exit];
}

/* The largest loss at any threshold from this one up, of the scores that occur. */
static int bound_of(const float s[], const uint8_t ok[], double threshold)
{
    int most = loses(s, ok, threshold);

    for (int l = 0; l < G; l++) {
        if ((double)s[l] >= threshold) {
            most |= loses(s, ok, (double)s[l]);
        }
    }
    return most;
}

START_TEST(highest_loss__bounds_the_loss_at_every_threshold)
{
    const struct exits_scored scored = make(1, 500, 8);
    int lost = 0;

    for (int i = 0; i < 500; i++) {
        const float *s = scores + (ptrdiff_t)i * G;
        const uint8_t *ok = correct + (ptrdiff_t)i * (G + 1);
        const double highest = exits_risk_highest_loss(s, ok, G);
        for (int v = -1; v <= 9; v++) {
            ck_assert_int_eq(highest >= v / 8., bound_of(s, ok, v / 8.));
        }
        lost += isfinite(highest);
    }
    ck_assert_int_gt(lost, 50);
    ck_assert_int_lt(lost, 450);
    ck_assert_int_eq(scored.n, 500);
}
END_TEST

START_TEST(threshold__is_the_least_that_keeps_the_corrected_risk)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        const int n = 1 + (int)seed % 60;
        const struct exits_scored scored = make(seed, n, seed % 3 == 0 ? 5 : 1 << 20);
        const double alpha = .02 + .3 * rng_uniform(seed, RNG_TEST, 0, 99);
        double threshold = -7;
        int at = 0, below = 0;

        ck_assert_int_eq(exits_risk_threshold(&scored, alpha, &threshold), ERR_OK);
        for (int i = 0; i < n; i++) {
            const float *s = scores + (ptrdiff_t)i * G;
            const uint8_t *ok = correct + (ptrdiff_t)i * (G + 1);
            at += bound_of(s, ok, threshold);
            below += bound_of(s, ok, nextafter(threshold, -(double)INFINITY));
        }
        /* n / (n + 1) R_n + 1 / (n + 1) */
        if (isfinite(threshold)) {
            ck_assert_double_le((at + 1.) / (n + 1), alpha + 1e-9);
            ck_assert_double_gt((below + 1.) / (n + 1), alpha);
        } else if (threshold > 0) {
            ck_assert_double_gt(1. / (n + 1), alpha);
        } else {
            ck_assert_double_le((at + 1.) / (n + 1), alpha + 1e-9);
        }
    }
}
END_TEST

START_TEST(threshold__lets_nobody_leave_with_too_few_samples)
{
    const struct exits_scored scored = make(4, 98, 100);
    double threshold = 0;

    ck_assert_int_eq(exits_risk_threshold(&scored, .01, &threshold), ERR_OK);
    ck_assert_double_eq(threshold, (double)INFINITY);
    const struct exits_scored enough = make(4, 99, 100); /* 99 >= 1 / .01 - 1 */
    ck_assert_int_eq(exits_risk_threshold(&enough, .01, &threshold), ERR_OK);
    ck_assert_double_lt(threshold, 1.1);
}
END_TEST

START_TEST(threshold__does_not_depend_on_the_order_and_falls_with_alpha)
{
    static float moved_scores[N_MAX * G];
    static uint8_t moved_correct[N_MAX * (G + 1)];
    const struct exits_scored scored = make(5, 900, 100);
    const struct exits_scored moved = {900, G, moved_scores, moved_correct, NULL};
    double last = (double)INFINITY;

    for (int i = 0; i < 900; i++) {
        const ptrdiff_t to = (i * 7 + 3) % 900;
        memcpy(moved_scores + to * G, scores + (ptrdiff_t)i * G, G * sizeof(float));
        memcpy(moved_correct + to * (G + 1), correct + (ptrdiff_t)i * (G + 1), G + 1);
    }
    for (int a = 1; a < 30; a++) {
        double threshold, again;
        ck_assert_int_eq(exits_risk_threshold(&scored, a / 100., &threshold), ERR_OK);
        ck_assert_int_eq(exits_risk_threshold(&moved, a / 100., &again), ERR_OK);
        ck_assert_double_eq(threshold, again);
        ck_assert_double_le(threshold, last);
        last = threshold;
    }
    ck_assert_double_lt(last, .9);
}
END_TEST

/* Of halves that are drawn for it. */
static enum err splits_of(const struct exits_scored *scored, double alpha, int split_count,
                          uint64_t seed, struct exits_risk_split splits_out[])
{
    static uint8_t halves[SPLITS * N_MAX];

    ck_assert_int_le(scored->n * split_count, SPLITS * N_MAX);
    exits_conformal_draw(seed, NULL, scored->n, split_count, halves);
    return exits_risk_splits(scored, alpha, split_count, halves, splits_out);
}

/* 20 independent draws lose, together, no more than promised; and not nothing. */
START_TEST(splits__keep_the_promise_on_samples_of_a_known_law)
{
    const double alphas[] = {.01, .03, .1};

    for (int a = 0; a < 3; a++) {
        int64_t tested = 0, lost = 0;
        for (uint64_t s = 0; s < SPLITS; s++) {
            const struct exits_scored scored = make(100 + s, N_MAX, 1 << 20);
            struct exits_risk_split split;
            ck_assert_int_eq(splits_of(&scored, alphas[a], 1, s, &split), ERR_OK);
            ck_assert_int_eq(split.calibrated + split.tested, N_MAX);
            tested += split.tested;
            lost += split.lost;
        }
        const double n = (double)tested;
        const double sd = sqrt(2 * n * alphas[a] * (1 - alphas[a])); /* calibration's luck, too */
        ck_assert_double_le((double)lost, alphas[a] * n + 2.576 * sd);
        ck_assert_double_ge((double)lost, .5 * alphas[a] * n);
    }
}
END_TEST

START_TEST(splits__use_the_same_halves_as_conformal_ones)
{
    const struct exits_scored scored = make(6, 400, 100);
    struct exits_risk_split splits[SPLITS];

    ck_assert_int_eq(splits_of(&scored, .1, SPLITS, 9, splits), ERR_OK);
    for (int s = 0; s < SPLITS; s++) {
        int64_t calibrated = 0;
        for (uint32_t i = 0; i < 400; i++) {
            calibrated += exits_conformal_calibrates(9, i, s);
        }
        ck_assert_int_eq(splits[s].calibrated, calibrated);
        ck_assert_int_gt(calibrated, 140);
        ck_assert_int_lt(calibrated, 260);
    }
}
END_TEST

START_TEST(functions__refuse_what_they_cannot_use)
{
    const struct exits_scored scored = make(9, 50, 10);
    const struct exits_scored empty = {0, G, scores, correct, NULL};
    double threshold = 7;

    ck_assert_int_eq(exits_risk_threshold(&empty, .1, &threshold), ERR_INVALID);
    ck_assert_int_eq(exits_risk_threshold(&scored, 0, &threshold), ERR_INVALID);
    ck_assert_int_eq(exits_risk_threshold(&scored, 1, &threshold), ERR_INVALID);
    scores[5] = NAN;
    ck_assert_int_eq(exits_risk_threshold(&scored, .1, &threshold), ERR_INVALID);
    ck_assert_double_eq(threshold, 7);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_risk");
    TCase *tcase = tcase_create("exits_risk");

    tcase_add_test(tcase, highest_loss__bounds_the_loss_at_every_threshold);
    tcase_add_test(tcase, threshold__is_the_least_that_keeps_the_corrected_risk);
    tcase_add_test(tcase, threshold__lets_nobody_leave_with_too_few_samples);
    tcase_add_test(tcase, threshold__does_not_depend_on_the_order_and_falls_with_alpha);
    tcase_add_test(tcase, splits__keep_the_promise_on_samples_of_a_known_law);
    tcase_add_test(tcase, splits__use_the_same_halves_as_conformal_ones);
    tcase_add_test(tcase, functions__refuse_what_they_cannot_use);
    suite_add_tcase(suite, tcase);
    return suite;
}
