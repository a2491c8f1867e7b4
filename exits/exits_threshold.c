#include "exits/exits_threshold.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "exits/exits_threshold_priv.h"

/* Vertices of the hull between the ends; each step finds a new one or ends the search. */
enum { HULL_STEPS_MAX = 64 };

/* Errors in all: below this a step down the hull is rounding. */
static const double HULL_PROGRESS = 1e-6;

enum err exits_scored_check(const struct exits_scored *scored)
{
    const int64_t n = scored->n;
    const int G = scored->G;

    if (n < 1 || n > INT32_MAX) {
        return ERR_FAIL(ERR_INVALID, "%" PRId64 " samples, 1 to %" PRId32 " are possible", n,
                        INT32_MAX);
    }
    if (G < 1 || G > EXITS_THRESHOLD_EXITS_MAX) {
        return ERR_FAIL(ERR_INVALID, "%d exits, 1 to %d are possible", G,
                        EXITS_THRESHOLD_EXITS_MAX);
    }
    for (int64_t at = 0; at < n * G; at++) {
        if (!isfinite(scored->scores[at])) {
            return ERR_FAIL(ERR_INVALID,
                            "the score of sample %" PRId64 " at exit %" PRId64
                            " is NaN or infinite",
                            at / G, at % G);
        }
    }
    return ERR_OK;
}

static struct exits_point mean_of(const struct exits_scored *scored,
                                  const struct threshold_point *point)
{
    return (struct exits_point){point->errors / (double)scored->n, point->cost / (double)scored->n};
}

struct exits_point exits_threshold_measure(const struct exits_scored *scored,
                                           const double thresholds[])
{
    struct threshold_point point;

    assert(scored->G >= 1 && scored->G <= EXITS_THRESHOLD_EXITS_MAX);
    memcpy(point.thresholds, thresholds, (size_t)scored->G * sizeof(*thresholds));
    threshold_measure(scored, &point);
    return mean_of(scored, &point);
}

/* Improves a start and keeps it in *best if it is better. */
static void try_start(struct threshold_search *search, const struct threshold_goal *goal,
                      const struct threshold_point *start, struct threshold_point *best)
{
    struct threshold_point point = *start;

    threshold_improve(search, goal, &point);
    if (threshold_is_better(search->scored, goal, &point, best)) {
        *best = point;
    }
}

/* The best of the geometric family. */
static void find_geometric(struct threshold_search *search, const struct threshold_goal *goal,
                           struct threshold_point *point_out)
{
    const struct threshold_point *family = threshold_family(search);
    int best = 0;

    for (int r = 1; r < THRESHOLD_RATIOS; r++) {
        if (threshold_is_better(search->scored, goal, &family[r], &family[best])) {
            best = r;
        }
    }
    *point_out = family[best];
}

/* From every start that needs no other solution. *best holds one that keeps the budget. */
static void try_all_starts(struct threshold_search *search, const struct threshold_goal *goal,
                           struct threshold_point *best)
{
    struct threshold_point start;

    for (int l = search->scored->G; l >= 0; l--) {
        threshold_always(search, l, &start);
        if (start.cost <= goal->budget) {
            try_start(search, goal, &start, best);
        }
    }
    threshold_shared(search, goal, &start);
    if (start.cost <= goal->budget) {
        try_start(search, goal, &start, best);
    }
    find_geometric(search, goal, &start);
    if (start.cost <= goal->budget) {
        try_start(search, goal, &start, best);
    }
}

static void solve_price(struct threshold_search *search, double price,
                        struct threshold_point *point_out)
{
    const struct threshold_goal goal = {price, (double)INFINITY};

    threshold_always(search, search->scored->G, point_out);
    try_all_starts(search, &goal, point_out);
}

enum err exits_threshold_for_price(const struct exits_scored *scored, double price,
                                   double thresholds_out[], struct exits_point *point_out)
{
    struct threshold_search search;
    struct threshold_point point;

    assert(price >= 0 && isfinite(price));
    ERR_TRY(threshold_search_init(&search, scored));
    solve_price(&search, price, &point);
    memcpy(thresholds_out, point.thresholds, (size_t)scored->G * sizeof(*thresholds_out));
    *point_out = mean_of(scored, &point);
    threshold_search_release(&search);
    return ERR_OK;
}

/*
 * The last vertex of the lower convex hull, in the plane of cost and errors, that keeps the
 * budget. `above` costs more than the budget and `below` keeps it; at the price at which
 * they are equally good either nothing is better and they are neighbours on the hull, or
 * what is better takes the place of one of them.
 */
static void find_vertex(struct threshold_search *search, double budget,
                        struct threshold_point above, struct threshold_point *below)
{
    for (int step = 0; step < HULL_STEPS_MAX && below->errors > above.errors; step++) {
        const struct threshold_goal goal = {
            (below->errors - above.errors) / (above.cost - below->cost), (double)INFINITY};
        struct threshold_point best = *below;
        struct threshold_point start;

        try_start(search, &goal, below, &best);
        try_start(search, &goal, &above, &best);
        threshold_always(search, search->scored->G, &start);
        try_start(search, &goal, &start, &best);
        threshold_shared(search, &goal, &start);
        try_start(search, &goal, &start, &best);
        if (best.errors + goal.price * best.cost >=
            below->errors + goal.price * below->cost - HULL_PROGRESS) {
            return;
        }
        if (best.cost <= budget) {
            *below = best;
        } else {
            above = best;
        }
    }
}

/* *vertex, *best in: those of a smaller budget, or the cheapest point there is. */
static void solve_budget(struct threshold_search *search, double budget,
                         const struct threshold_point *unbounded, struct threshold_point *vertex,
                         struct threshold_point *best)
{
    const struct threshold_goal goal = {0, budget};

    if (unbounded->cost > budget) {
        find_vertex(search, budget, *unbounded, vertex);
    } else {
        *vertex = *unbounded;
    }
    try_start(search, &goal, best, best);
    try_start(search, &goal, vertex, best);
    try_all_starts(search, &goal, best);
}

enum err threshold_check_budget(const struct exits_scored *scored, double budget)
{
    if (!(budget >= scored->costs[0])) {
        return ERR_FAIL(ERR_INVALID,
                        "budget %g, at least the cost %g of the first exit is expected", budget,
                        scored->costs[0]);
    }
    return ERR_OK;
}

enum err exits_threshold_for_budgets(const struct exits_scored *scored, const double budgets[],
                                     int count, double thresholds_out[],
                                     struct exits_point points_out[])
{
    struct threshold_search search;
    struct threshold_point unbounded, vertex, best;

    ERR_TRY(threshold_search_init(&search, scored));
    for (int b = 0; b < count; b++) {
        if (!(budgets[b] >= (b == 0 ? scored->costs[0] : budgets[b - 1]))) {
            threshold_search_release(&search);
            return ERR_FAIL(ERR_INVALID,
                            "budget %g, at least the cost %g of the first exit and the budget "
                            "before it are expected",
                            budgets[b], scored->costs[0]);
        }
    }
    solve_price(&search, 0, &unbounded);
    threshold_always(&search, 0, &best);
    vertex = best;
    for (int b = 0; b < count; b++) {
        solve_budget(&search, budgets[b] * (double)scored->n, &unbounded, &vertex, &best);
        memcpy(thresholds_out + (size_t)b * (size_t)scored->G, best.thresholds,
               (size_t)scored->G * sizeof(*thresholds_out));
        points_out[b] = mean_of(scored, &best);
    }
    threshold_search_release(&search);
    return ERR_OK;
}

enum err exits_threshold_shared(const struct exits_scored *scored, double budget,
                                double thresholds_out[], struct exits_point *point_out)
{
    struct threshold_search search;
    struct threshold_point point;

    ERR_TRY(threshold_check_budget(scored, budget));
    ERR_TRY(threshold_search_init(&search, scored));
    const struct threshold_goal goal = {0, budget * (double)scored->n};
    threshold_shared(&search, &goal, &point);
    memcpy(thresholds_out, point.thresholds, (size_t)scored->G * sizeof(*thresholds_out));
    *point_out = mean_of(scored, &point);
    threshold_search_release(&search);
    return ERR_OK;
}

enum err exits_threshold_geometric(const struct exits_scored *scored, double ratio,
                                   double thresholds_out[])
{
    struct threshold_search search;
    struct threshold_point point;

    ERR_TRY(threshold_search_init(&search, scored));
    threshold_geometric(&search, ratio, &point);
    memcpy(thresholds_out, point.thresholds, (size_t)scored->G * sizeof(*thresholds_out));
    threshold_search_release(&search);
    return ERR_OK;
}
