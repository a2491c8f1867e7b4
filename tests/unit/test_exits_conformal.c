/*
 * Unit tests of exits/exits_conformal.c: the published order statistic, its overflow, and the promise
 * itself on samples of a known law.
 */
#include <check.h>
#include <math.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_band.h"
#include "exits/exits_conformal.h"
#include "exits/exits_decide.h"
#include "tests/support/test_suite.h"

enum { N = 4000, G = 2, SPLITS = 20 };

static float scores[N * G];
static uint8_t correct[N * (G + 1)];

/* Scores of the two classes overlap; the second exit's are no probabilities. */
static struct exits_scored make(uint64_t seed, int n)
{
    for (int i = 0; i < n; i++) {
        for (uint32_t l = 0; l <= G; l++) {
            const int right = rng_uniform(seed, RNG_TEST, (uint64_t)i, l) < .7;
            correct[i * (G + 1) + (int)l] = (uint8_t)right;
            if (l < G) {
                const double x = rng_normal(seed, RNG_TEST, (uint64_t)i, 20 + l) + right;
                scores[i * G + (int)l] = (float)(l == 0 ? 1 / (1 + exp(-x)) : 9 * x);
            }
        }
    }
    return (struct exits_scored){n, G, scores, correct, NULL};
}

START_TEST(quantile__is_the_kth_smallest_and_infinite_beyond_the_last)
{
    const double sorted[] = {.05, .10, .20, .30, .40, .55, .60, .75, .80};

    ck_assert_int_eq(exits_conformal_rank(9, .1), 9);
    ck_assert_int_eq(exits_conformal_rank(9, .2), 8);
    ck_assert_int_eq(exits_conformal_rank(9, .7), 3); /* 3.0000000000000004 by rounding */
    ck_assert_int_eq(exits_conformal_rank(9, .5), 5);
    ck_assert_int_eq(exits_conformal_rank(9, .05), 10);
    ck_assert_int_eq(exits_conformal_rank(99, .01), 99);
    ck_assert_double_eq(exits_conformal_quantile(sorted, 9, .1), .80);
    ck_assert_double_eq(exits_conformal_quantile(sorted, 9, .2), .75);
    ck_assert_double_eq(exits_conformal_quantile(sorted, 9, .5), .40);
    ck_assert_double_eq(exits_conformal_quantile(sorted, 9, .05), (double)INFINITY);
    ck_assert_double_eq(exits_conformal_quantile(sorted, 0, .5), (double)INFINITY);
}
END_TEST

START_TEST(set__leaves_only_when_it_is_right_alone)
{
    /* q of "right" .3, of "wrong" .6, with scores that are probabilities. */
    const struct exits_conformal fit = {.right_from = .7, .wrong_to = .6};
    const double threshold = exits_conformal_threshold(&fit);

    ck_assert_uint_eq(exits_conformal_set(&fit, .9), 1U << EXITS_CONFORMAL_RIGHT);
    ck_assert_uint_eq(exits_conformal_set(&fit, .65), 0);
    ck_assert_uint_eq(exits_conformal_set(&fit, .55), 1U << EXITS_CONFORMAL_WRONG);
    ck_assert(.9 >= threshold);
    ck_assert(!(.65 >= threshold));
    ck_assert_uint_eq(exits_conformal_set(&fit, .7), 1U << EXITS_CONFORMAL_RIGHT);
    ck_assert(.7 >= threshold);
}
END_TEST

START_TEST(fit__takes_the_order_statistic_of_each_class)
{
    enum { EACH = 9 };
    const float s[] = {.05f, .10f, .20f, .30f, .40f, .55f, .60f, .75f, .80f};
    float both[2 * EACH];
    uint8_t ok[2 * EACH * 2];
    struct exits_conformal fit;

    for (int i = 0; i < EACH; i++) {
        both[i] = s[i];
        both[EACH + i] = 1 - s[i];
        memset(ok + (ptrdiff_t)2 * i, 0, 2);
        memset(ok + (ptrdiff_t)2 * (EACH + i), 1, 2);
    }
    const struct exits_scored scored = {2 * EACH, 1, both, ok, NULL};
    ck_assert_int_eq(exits_conformal_fit(&scored, .2, &fit), ERR_OK);
    ck_assert_double_eq(fit.wrong_to, (double).75f);
    ck_assert_double_eq(fit.right_from, (double)(1 - .75f));
    ck_assert_int_eq(fit.counts[EXITS_CONFORMAL_WRONG], EACH);
    ck_assert_int_eq(fit.counts[EXITS_CONFORMAL_RIGHT], EACH);
    ck_assert_int_eq(exits_conformal_fit(&scored, .5, &fit), ERR_OK);
    ck_assert_double_eq(fit.wrong_to, (double).40f);
    /* A sample as certain as the last of those that are wrong stays. */
    ck_assert(!((double).40f >= exits_conformal_threshold(&fit)));
    ck_assert((double)nextafterf(.40f, 1) >= fit.right_from
                  ? (double)nextafterf(.40f, 1) >= exits_conformal_threshold(&fit)
                  : 1);
}
END_TEST

/* The trap: a rank that is clamped to n would let samples leave on no evidence. */
START_TEST(fit__lets_nobody_leave_when_the_rank_overflows)
{
    const float s[] = {.1f, .2f, .9f, .95f};
    const uint8_t ok[] = {0, 1, 0, 1, 1, 1, 1, 1};
    const struct exits_scored scored = {4, 1, s, ok, NULL};
    const struct exits_scored right_only = {2, 1, s + 2, ok + 4, NULL};
    struct exits_conformal fit;

    ck_assert_int_eq(exits_conformal_fit(&scored, .05, &fit), ERR_OK);
    ck_assert_double_eq(fit.wrong_to, (double)INFINITY);
    ck_assert_double_eq(fit.right_from, -(double)INFINITY);
    ck_assert_double_eq(exits_conformal_threshold(&fit), (double)INFINITY);
    ck_assert_uint_eq(exits_conformal_set(&fit, 1), 3);
    ck_assert_int_eq(exits_conformal_fit(&right_only, .4, &fit), ERR_OK);
    ck_assert_double_eq(exits_conformal_threshold(&fit), (double)INFINITY);
    /* Two that are wrong are enough for a third. */
    ck_assert_int_eq(exits_conformal_fit(&scored, .34, &fit), ERR_OK);
    ck_assert_double_eq(fit.wrong_to, (double).2f);
}
END_TEST

START_TEST(threshold__decides_as_the_set_for_every_score_that_occurs)
{
    const struct exits_scored scored = make(3, 300);
    struct exits_conformal fits[G];
    int left = 0;

    for (int d = 1; d < 10; d++) {
        ck_assert_int_eq(exits_conformal_fit(&scored, d / 10., fits), ERR_OK);
        for (int at = 0; at < 300 * G; at++) {
            const struct exits_conformal *fit = &fits[at % G];
            const int leaves = exits_decide_leaves(
                (double)scores[at], exits_conformal_threshold(fit), -(double)INFINITY);
            ck_assert_int_eq(leaves, exits_conformal_set(fit, (double)scores[at]) ==
                                         1U << EXITS_CONFORMAL_RIGHT);
            left += leaves;
        }
    }
    ck_assert_int_gt(left, 500);
}
END_TEST

/* Of halves that are drawn for it. */
static enum err splits_of(const struct exits_scored *scored, double delta, int split_count,
                          uint64_t seed, const uint32_t *ids,
                          struct exits_conformal_split splits_out[])
{
    static uint8_t halves[SPLITS * N];

    ck_assert_int_le(scored->n * split_count, SPLITS * N);
    exits_conformal_draw(seed, ids, scored->n, split_count, halves);
    return exits_conformal_splits(scored, delta, split_count, halves, splits_out);
}

static void count_misses(double delta, int64_t tested[2], int64_t missed[2])
{
    memset(tested, 0, 2 * sizeof(*tested));
    memset(missed, 0, 2 * sizeof(*missed));
    for (uint64_t s = 0; s < SPLITS; s++) {
        const struct exits_scored scored = make(100 + s, N);
        struct exits_conformal_split split[G * 2];
        ck_assert_int_eq(splits_of(&scored, delta, 1, s, NULL, split), ERR_OK);
        for (int l = 0; l < G; l++) {
            for (int c = 0; c < 2; c++) {
                const int64_t n = split[l * 2 + c].calibrated, k = exits_conformal_rank(n, delta);
                const int64_t m = split[l * 2 + c].tested;
                const struct exits_band band =
                    exits_band_beta_binomial(m, (double)(n + 1 - k), (double)k, .9999);
                ck_assert_int_ge(split[l * 2 + c].missed, band.low);
                ck_assert_int_le(split[l * 2 + c].missed, band.high);
                tested[c] += m;
                missed[c] += split[l * 2 + c].missed;
            }
        }
    }
}

/* 20 independent draws: their misses together stay in the 99 % band of what is promised. */
START_TEST(splits__keep_the_promise_on_samples_of_a_known_law)
{
    const double deltas[] = {.02, .05, .1, .3};

    for (int d = 0; d < 4; d++) {
        int64_t tested[2], missed[2];
        count_misses(deltas[d], tested, missed);
        for (int c = 0; c < 2; c++) {
            /* As many calibrate as are tested: the variance is twice that of the binomial. */
            const struct exits_band band = exits_band_binomial(tested[c] / 2, deltas[d], .99);
            ck_assert_int_ge(missed[c], 2 * band.low - tested[c] / 500);
            ck_assert_int_le(missed[c], 2 * band.high);
            ck_assert_int_gt(tested[c], 10000);
        }
    }
}
END_TEST

START_TEST(splits__calibrate_on_one_half_and_test_on_the_other)
{
    enum { FEW = 300 };
    static float half_scores[FEW * G];
    static uint8_t half_correct[FEW * (G + 1)];
    const struct exits_scored scored = make(8, FEW);
    struct exits_conformal_split splits[3 * G * 2];
    struct exits_conformal fits[G];

    ck_assert_int_eq(splits_of(&scored, .1, 3, 5, NULL, splits), ERR_OK);
    for (int s = 0; s < 3; s++) {
        int64_t tested[G][2] = {{0}}, missed[G][2] = {{0}}, n = 0;
        for (uint32_t i = 0; i < FEW; i++) {
            if (exits_conformal_calibrates(5, i, s)) {
                memcpy(half_scores + n * G, scores + (ptrdiff_t)i * G, G * sizeof(float));
                memcpy(half_correct + n * (G + 1), correct + (ptrdiff_t)i * (G + 1), G + 1);
                n++;
            }
        }
        const struct exits_scored half = {n, G, half_scores, half_correct, NULL};
        ck_assert_int_eq(exits_conformal_fit(&half, .1, fits), ERR_OK);
        for (uint32_t at = 0; at < FEW * G; at++) {
            const int l = (int)(at % G), c = correct[at / G * (G + 1) + at % G];
            if (!exits_conformal_calibrates(5, at / G, s)) {
                tested[l][c]++;
                missed[l][c] += (exits_conformal_set(&fits[l], (double)scores[at]) >> c & 1) == 0;
            }
        }
        for (int at = 0; at < G * 2; at++) {
            const struct exits_conformal_split *split = &splits[s * G * 2 + at];
            ck_assert_int_eq(split->calibrated, fits[at / 2].counts[at % 2]);
            ck_assert_int_eq(split->tested, tested[at / 2][at % 2]);
            ck_assert_int_eq(split->missed, missed[at / 2][at % 2]);
        }
    }
}
END_TEST

START_TEST(splits__do_not_depend_on_the_order_of_samples)
{
    enum { FEW = 500 };
    static float moved_scores[FEW * G];
    static uint8_t moved_correct[FEW * (G + 1)];
    static uint32_t ids[FEW];
    const struct exits_scored scored = make(7, FEW);
    const struct exits_scored moved = {FEW, G, moved_scores, moved_correct, NULL};
    struct exits_conformal_split a[SPLITS * G * 2], b[SPLITS * G * 2];

    for (int i = 0; i < FEW; i++) {
        const int to = (i * 7 + 3) % FEW;
        memcpy(moved_scores + (ptrdiff_t)to * G, scores + (ptrdiff_t)i * G, G * sizeof(float));
        memcpy(moved_correct + (ptrdiff_t)to * (G + 1), correct + (ptrdiff_t)i * (G + 1), G + 1);
        ids[to] = (uint32_t)i;
    }
    ck_assert_int_eq(splits_of(&scored, .1, SPLITS, 5, NULL, a), ERR_OK);
    ck_assert_int_eq(splits_of(&moved, .1, SPLITS, 5, ids, b), ERR_OK);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert(memcmp(a, a + 4, 4 * sizeof(a[0])) != 0); /* splits differ */
}
END_TEST

START_TEST(functions__refuse_what_they_cannot_use)
{
    const struct exits_scored scored = make(9, 50);
    const struct exits_scored empty = {0, G, scores, correct, NULL};
    struct exits_conformal fits[G];

    ck_assert_int_eq(exits_conformal_fit(&empty, .1, fits), ERR_INVALID);
    ck_assert_int_eq(exits_conformal_fit(&scored, 0, fits), ERR_INVALID);
    ck_assert_int_eq(exits_conformal_fit(&scored, 1, fits), ERR_INVALID);
    scores[5] = NAN;
    ck_assert_int_eq(exits_conformal_fit(&scored, .1, fits), ERR_INVALID);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_conformal");
    TCase *tcase = tcase_create("exits_conformal");

    tcase_add_test(tcase, quantile__is_the_kth_smallest_and_infinite_beyond_the_last);
    tcase_add_test(tcase, set__leaves_only_when_it_is_right_alone);
    tcase_add_test(tcase, fit__takes_the_order_statistic_of_each_class);
    tcase_add_test(tcase, fit__lets_nobody_leave_when_the_rank_overflows);
    tcase_add_test(tcase, threshold__decides_as_the_set_for_every_score_that_occurs);
    tcase_add_test(tcase, splits__keep_the_promise_on_samples_of_a_known_law);
    tcase_add_test(tcase, splits__calibrate_on_one_half_and_test_on_the_other);
    tcase_add_test(tcase, splits__do_not_depend_on_the_order_of_samples);
    tcase_add_test(tcase, functions__refuse_what_they_cannot_use);
    suite_add_tcase(suite, tcase);
    return suite;
}
