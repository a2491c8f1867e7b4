#include "exits/exits_budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_threshold_priv.h"

/* Halvings of the logarithm of the ratio: it is then known to 1e-8. */
enum { BISECTIONS = 30 };

static const double RATIO_LEAST = 1e-3, RATIO_MOST = 1e3;

static void give(const struct exits_scored *scored, const struct threshold_point *point,
                 double thresholds_out[], struct exits_point *point_out)
{
    memcpy(thresholds_out, point->thresholds, (size_t)scored->G * sizeof(*thresholds_out));
    *point_out =
        (struct exits_point){point->errors / (double)scored->n, point->cost / (double)scored->n};
}

enum err exits_budget_geometric(const struct exits_scored *scored, double budget,
                                double thresholds_out[], struct exits_point *point_out)
{
    struct threshold_search search;
    struct threshold_point best;
    bool is_found = false;

    ERR_TRY(threshold_check_budget(scored, budget));
    ERR_TRY(threshold_search_init(&search, scored));
    const struct threshold_goal goal = {0, budget * (double)scored->n};
    const struct threshold_point *family = threshold_family(&search);
    threshold_always(&search, 0, &best);
    for (int r = 0; r < THRESHOLD_RATIOS; r++) {
        if (family[r].cost <= goal.budget &&
            (!is_found || threshold_is_better(scored, &goal, &family[r], &best))) {
            best = family[r];
            is_found = true;
        }
    }
    give(scored, &best, thresholds_out, point_out);
    threshold_search_release(&search);
    return ERR_OK;
}

enum err exits_budget_mean(const struct exits_scored *scored, double budget,
                           double thresholds_out[], struct exits_point *point_out)
{
    double low = log(RATIO_LEAST), high = log(RATIO_MOST);
    struct threshold_search search;
    struct threshold_point best, point;

    ERR_TRY(threshold_check_budget(scored, budget));
    ERR_TRY(threshold_search_init(&search, scored));
    threshold_always(&search, 0, &best);
    threshold_geometric(&search, RATIO_MOST, &point);
    if (point.cost <= budget * (double)scored->n) {
        best = point;
        low = high;
    }
    for (int step = 0; step < BISECTIONS && low < high; step++) {
        const double middle = (low + high) / 2;
        threshold_geometric(&search, exp(middle), &point);
        if (point.cost <= budget * (double)scored->n) {
            low = middle;
            best = point.cost >= best.cost ? point : best;
        } else {
            high = middle;
        }
    }
    give(scored, &best, thresholds_out, point_out);
    threshold_search_release(&search);
    return ERR_OK;
}

/* The same samples as if the network ended at exit `cap`; arrays of the copy in *memory_out. */
static enum err cut_at(const struct exits_scored *scored, int cap, struct exits_scored *cut_out,
                       void **memory_out)
{
    const size_t n = (size_t)scored->n, kept = (size_t)cap, G = (size_t)scored->G;
    float *scores = calloc(n * kept + n * (kept + 1) / sizeof(float) + 1, sizeof(*scores));

    if (scores == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%zu samples up to exit %d", n, cap);
    }
    uint8_t *correct = (uint8_t *)(scores + n * kept);
    for (size_t i = 0; i < n; i++) {
        memcpy(scores + i * kept, scored->scores + i * G, kept * sizeof(*scores));
        memcpy(correct + i * (kept + 1), scored->correct + i * (G + 1), kept + 1);
    }
    *cut_out = (struct exits_scored){scored->n, cap, scores, correct, scored->costs};
    *memory_out = scores;
    return ERR_OK;
}

static enum err solve_below(const struct exits_scored *scored, int cap, double budget,
                            double thresholds_out[])
{
    struct exits_scored cut;
    struct exits_point point;
    void *memory = NULL;

    ERR_TRY(cut_at(scored, cap, &cut, &memory));
    const double kept = fmin(budget, scored->costs[cap]);
    const enum err status = exits_threshold_for_budgets(&cut, &kept, 1, thresholds_out, &point);
    free(memory);
    return status;
}

enum err exits_budget_peak(const struct exits_scored *scored, double peak, double budget,
                           double thresholds_out[], int *cap_out, struct exits_point *point_out)
{
    double thresholds[EXITS_THRESHOLD_EXITS_MAX];
    struct threshold_search search;
    int cap = 0;

    ERR_TRY(threshold_check_budget(scored, fmin(peak, budget)));
    ERR_TRY(threshold_search_init(&search, scored)); /* for its checks of the samples */
    threshold_search_release(&search);
    while (cap < scored->G && scored->costs[cap + 1] <= peak) {
        cap++;
    }
    if (cap > 0) {
        ERR_TRY(solve_below(scored, cap, budget, thresholds));
    }
    for (int l = cap; l < scored->G; l++) {
        thresholds[l] = l == cap ? -(double)INFINITY : (double)INFINITY;
    }
    memcpy(thresholds_out, thresholds, (size_t)scored->G * sizeof(*thresholds_out));
    *point_out = exits_threshold_measure(scored, thresholds);
    *cap_out = cap;
    return ERR_OK;
}

enum err exits_budget_patience(const struct exits_scored *scored, double budget,
                               double thresholds_out[], int *patience_out,
                               struct exits_point *point_out)
{
    struct threshold_search search;
    struct threshold_point best, point;
    int best_patience = -1;

    ERR_TRY(threshold_check_budget(scored, budget));
    ERR_TRY(threshold_search_init(&search, scored));
    const struct threshold_goal goal = {0, budget * (double)scored->n};
    threshold_always(&search, 0, &best);
    for (int patience = 0; patience <= scored->G; patience++) {
        for (int l = 0; l < scored->G; l++) {
            point.thresholds[l] = patience == 0 ? (double)INFINITY : patience;
        }
        threshold_measure(scored, &point);
        if (point.cost <= goal.budget &&
            (best_patience < 0 || threshold_is_better(scored, &goal, &point, &best))) {
            best = point;
            best_patience = patience;
        }
    }
    give(scored, &best, thresholds_out, point_out);
    *patience_out = best_patience;
    threshold_search_release(&search);
    return ERR_OK;
}
