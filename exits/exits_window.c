#include "exits/exits_window.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "exits/exits_decide.h"

static int descending(const void *left, const void *right)
{
    const float a = *(const float *)left, b = *(const float *)right;

    return (a < b) - (a > b);
}

/* values_out [n]: column `at` of rows of `stride`, the highest first. */
static void sort_column(const float rows[], int stride, int at, int64_t n, float values_out[])
{
    for (int64_t i = 0; i < n; i++) {
        values_out[i] = rows[i * stride + at];
    }
    qsort(values_out, (size_t)n, sizeof(*values_out), descending);
}

struct answer {
    float confidence;
    uint8_t correct;
};

static int by_confidence(const void *left, const void *right)
{
    return descending(&((const struct answer *)left)->confidence,
                      &((const struct answer *)right)->confidence);
}

/* How many of sorted answers may be accepted; those of equal confidence are together. */
static int64_t count_within(const struct answer answers[], int64_t n, double risk)
{
    int64_t wrong = 0, accepted = 0;

    for (int64_t i = 0; i < n; i++) {
        wrong += answers[i].correct == 0;
        const int is_last = i + 1 == n || answers[i + 1].confidence < answers[i].confidence;
        if (is_last && (double)wrong <= risk * (double)(i + 1)) {
            accepted = i + 1;
        }
    }
    return accepted;
}

static int64_t accepted_at_end(const float confidence[], const uint8_t correct[], int64_t n, int G,
                               double risk, struct answer answers[])
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = i * (G + 1) + G;
        answers[i] = (struct answer){confidence[at], correct[at]};
    }
    qsort(answers, (size_t)n, sizeof(*answers), by_confidence);
    return count_within(answers, n, risk);
}

enum err exits_window_accept(const float confidence[], const uint8_t correct[], int64_t n, int G,
                             double risk, double accept_out[])
{
    if (n < 1) {
        return ERR_FAIL(ERR_INVALID, "%" PRId64 " samples to accept, at least 1 is needed", n);
    }
    struct answer *answers = calloc((size_t)n, sizeof(*answers));
    float *sorted = calloc((size_t)n, sizeof(*sorted));
    if (answers == NULL || sorted == NULL) {
        free(answers);
        free(sorted);
        return ERR_FAIL(ERR_NO_MEMORY, "the confidences of %" PRId64 " samples", n);
    }
    const int64_t accepted = accepted_at_end(confidence, correct, n, G, risk, answers);
    for (int l = 0; l <= G; l++) {
        sort_column(confidence, G + 1, l, n, sorted);
        accept_out[l] = accepted == 0 ? (double)INFINITY : (double)sorted[accepted - 1];
    }
    free(answers);
    free(sorted);
    return ERR_OK;
}

/* How many of n sorted values, the highest first, are >= value. */
static int64_t rank_of(const float sorted[], int64_t n, double value)
{
    int64_t low = 0, high = n;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if ((double)sorted[middle] >= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Edges w samples from the point of decision; beyond the last sample nobody leaves on that side. */
static void edges(const float sorted[], int64_t n, int64_t rank, int64_t w, double *low_out,
                  double *high_out)
{
    const int64_t above = rank - 1 - w, below = rank + w;

    *high_out = above >= 0 ? (double)sorted[above] : (double)INFINITY;
    *low_out = below < n ? (double)sorted[below] : -(double)INFINITY;
}

static double cost_of(const struct exits_scored *scored, const double lows[], const double highs[],
                      int32_t chosen[])
{
    double cost = 0;

    exits_decide_window(scored->scores, lows, highs, scored->n, scored->G, chosen);
    for (int64_t i = 0; i < scored->n; i++) {
        cost += scored->costs[chosen[i]];
    }
    return cost / (double)scored->n;
}

static int64_t widest(const struct exits_scored *scored, const float sorted[],
                      const int64_t ranks[], double budget, double lows[], double highs[],
                      int32_t chosen[])
{
    const int64_t n = scored->n;
    int64_t kept = 0, over = n + 1;

    /* Nobody goes on with a width of 0, so it keeps any budget; costs never fall with the width. */
    while (over - kept > 1) {
        const int64_t w = kept + (over - kept) / 2;
        for (int l = 0; l < scored->G; l++) {
            edges(sorted + n * l, n, ranks[l], w, &lows[l], &highs[l]);
        }
        if (cost_of(scored, lows, highs, chosen) <= budget) {
            kept = w;
        } else {
            over = w;
        }
    }
    for (int l = 0; l < scored->G; l++) {
        edges(sorted + n * l, n, ranks[l], kept, &lows[l], &highs[l]);
    }
    return kept;
}

static enum err check(const struct exits_scored *scored, double budget)
{
    ERR_TRY(exits_scored_check(scored));
    if (!(budget >= scored->costs[0])) {
        return ERR_FAIL(ERR_INVALID,
                        "budget %g, at least the cost %g of the first exit is expected", budget,
                        scored->costs[0]);
    }
    return ERR_OK;
}

enum err exits_window_for_budget(const struct exits_scored *scored, const double accept[],
                                 double budget, double lows_out[], double highs_out[],
                                 int64_t *width_out)
{
    int64_t ranks[EXITS_THRESHOLD_EXITS_MAX];

    ERR_TRY(check(scored, budget));
    float *sorted = calloc((size_t)(scored->n * scored->G), sizeof(*sorted));
    int32_t *chosen = calloc((size_t)scored->n, sizeof(*chosen));
    if (sorted == NULL || chosen == NULL) {
        free(sorted);
        free(chosen);
        return ERR_FAIL(ERR_NO_MEMORY, "the scores of %" PRId64 " samples", scored->n);
    }
    for (int l = 0; l < scored->G; l++) {
        sort_column(scored->scores, scored->G, l, scored->n, sorted + scored->n * l);
        ranks[l] = rank_of(sorted + scored->n * l, scored->n, accept[l]);
    }
    *width_out = widest(scored, sorted, ranks, budget, lows_out, highs_out, chosen);
    free(sorted);
    free(chosen);
    return ERR_OK;
}

struct exits_window_value exits_window_measure(const int32_t chosen[], const float confidence[],
                                               const uint8_t correct[], const double costs[],
                                               const double accept[], int64_t n, int G)
{
    struct exits_window_value value = {0};
    int64_t accepted = 0, wrong = 0, agreed = 0;

    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i * (G + 1);
        const int exit = chosen[i];
        const int is_accepted = (double)confidence[row + exit] >= accept[exit];
        accepted += is_accepted;
        wrong += is_accepted && correct[row + exit] == 0;
        agreed += is_accepted == ((double)confidence[row + G] >= accept[G]);
        value.cost += costs[exit];
    }
    value.cost /= (double)n;
    value.coverage = (double)accepted / (double)n;
    value.risk = accepted == 0 ? 0 : (double)wrong / (double)accepted;
    value.agreement = (double)agreed / (double)n;
    return value;
}
