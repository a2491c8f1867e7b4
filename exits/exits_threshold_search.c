#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_rank.h"
#include "exits/exits_threshold_priv.h"

/* A bound against surprises: rounds end when nothing improves, in practice below ten. */
enum { ROUNDS_MAX = 100 };

/*
 * Relative; running sums of 60,000 terms err by less, and no difference that could matter to
 * anyone is smaller.
 */
static const double TOLERANCE = 1e-10;
static const double BUDGET_TOLERANCE = 1e-9;

static enum err check(const struct exits_scored *scored)
{
    ERR_TRY(exits_scored_check(scored));
    for (int l = 0; l <= scored->G; l++) {
        const double before = l == 0 ? 0 : scored->costs[l - 1];
        if (!(scored->costs[l] > before && isfinite(scored->costs[l]))) {
            return ERR_FAIL(ERR_INVALID, "exit %d costs %g, more than %g is expected", l,
                            scored->costs[l], before);
        }
    }
    return ERR_OK;
}

enum err threshold_search_init(struct threshold_search *search, const struct exits_scored *scored)
{
    ERR_TRY(check(scored));
    const size_t n = (size_t)scored->n;
    const size_t G = (size_t)scored->G;
    struct exits_ranked *ranked = calloc(2 * n, sizeof(*ranked));

    *search = (struct threshold_search){
        .scored = scored,
        .order = calloc(n * G, sizeof(int32_t)),
        .early = calloc(n, sizeof(int32_t)),
        .later = calloc(n, sizeof(int32_t)),
        .sorted = calloc(n * G, sizeof(float)),
        .family = calloc(THRESHOLD_RATIOS, sizeof(struct threshold_point)),
    };
    if (ranked == NULL || search->order == NULL || search->early == NULL || search->later == NULL ||
        search->sorted == NULL || search->family == NULL) {
        free(ranked);
        threshold_search_release(search);
        return ERR_FAIL(ERR_NO_MEMORY, "a search over %zu samples at %zu exits", n, G);
    }
    for (size_t l = 0; l < G; l++) {
        for (size_t i = 0; i < n; i++) {
            ranked[i] = (struct exits_ranked){-scored->scores[i * G + l], (uint32_t)i};
        }
        exits_rank(ranked, ranked + n, scored->n);
        for (size_t i = 0; i < n; i++) {
            search->order[l * n + i] = (int32_t)ranked[i].sample;
            search->sorted[l * n + i] = -ranked[i].score;
        }
    }
    free(ranked);
    return ERR_OK;
}

void threshold_search_release(struct threshold_search *search)
{
    free(search->family);
    free(search->sorted);
    free(search->later);
    free(search->early);
    free(search->order);
    *search = (struct threshold_search){0};
}

static double score_of(const struct exits_scored *scored, int64_t sample, int exit)
{
    return (double)scored->scores[sample * scored->G + exit];
}

static int error_of(const struct exits_scored *scored, int64_t sample, int exit)
{
    return scored->correct[sample * (scored->G + 1) + exit] == 0;
}

static bool leaves(const struct exits_scored *scored, int64_t sample, int exit, double threshold)
{
    return score_of(scored, sample, exit) >= threshold && threshold < (double)INFINITY;
}

static int first_exit(const struct exits_scored *scored, int64_t sample, const double thresholds[])
{
    int exit = 0;

    while (exit < scored->G && !leaves(scored, sample, exit, thresholds[exit])) {
        exit++;
    }
    return exit;
}

/* Of `left` [G + 1] samples that leave at each exit, `errors` of them wrong. */
static void put_sums(const struct exits_scored *scored, const int64_t left[], int64_t errors,
                     struct threshold_point *point)
{
    point->errors = (double)errors;
    point->cost = 0;
    for (int l = 0; l <= scored->G; l++) {
        point->cost += (double)left[l] * scored->costs[l];
    }
}

void threshold_measure(const struct exits_scored *scored, struct threshold_point *point)
{
    int64_t left[EXITS_THRESHOLD_EXITS_MAX + 1] = {0};
    int64_t errors = 0;

    for (int64_t i = 0; i < scored->n; i++) {
        const int exit = first_exit(scored, i, point->thresholds);
        left[exit]++;
        errors += error_of(scored, i, exit);
    }
    put_sums(scored, left, errors, point);
}

/* What leaving at `early` [n] is worth. */
static void count(const struct exits_scored *scored, const int32_t *early,
                  struct threshold_point *point)
{
    int64_t left[EXITS_THRESHOLD_EXITS_MAX + 1] = {0};
    int64_t errors = 0;

    for (int64_t i = 0; i < scored->n; i++) {
        left[early[i]]++;
        errors += error_of(scored, i, early[i]);
    }
    put_sums(scored, left, errors, point);
}

/* As threshold_measure(), and search->early becomes where samples leave. */
static void measure_all(struct threshold_search *search, struct threshold_point *point)
{
    for (int64_t i = 0; i < search->scored->n; i++) {
        search->early[i] = first_exit(search->scored, i, point->thresholds);
    }
    count(search->scored, search->early, point);
}

/* Compared by what is minimised, then by cost. */
struct value {
    double objective;
    double cost;
};

static struct value value_of(const struct threshold_goal *goal, double errors, double cost)
{
    const bool is_kept = cost <= goal->budget * (1 + BUDGET_TOLERANCE);

    return (struct value){is_kept ? errors + goal->price * cost : (double)INFINITY, cost};
}

/* Of objectives, what does not count. */
static double slack_of(const struct exits_scored *scored, const struct threshold_goal *goal)
{
    return TOLERANCE * (double)scored->n * (1 + goal->price * scored->costs[scored->G]);
}

static bool is_lower(const struct exits_scored *scored, const struct threshold_goal *goal,
                     struct value value, struct value than)
{
    const double cost_slack = TOLERANCE * (double)scored->n * scored->costs[scored->G];
    const double slack = slack_of(scored, goal);

    if (isinf(value.objective) || isinf(than.objective)) {
        return value.objective < than.objective;
    }
    if (fabs(value.objective - than.objective) > slack) {
        return value.objective < than.objective;
    }
    return value.cost < than.cost - cost_slack;
}

bool threshold_is_better(const struct exits_scored *scored, const struct threshold_goal *goal,
                         const struct threshold_point *point, const struct threshold_point *than)
{
    return is_lower(scored, goal, value_of(goal, point->errors, point->cost),
                    value_of(goal, than->errors, than->cost));
}

/* A walk from a high threshold to lower ones, and the best that was met. */
struct walk {
    const struct exits_scored *scored;
    const struct threshold_goal *goal;
    double kept, slack;  /* the most that it may cost; of an objective, what does not count */
    double errors, cost; /* at the present threshold */
    double last_score;   /* of the sample that moved last */
    bool has_moved;
    struct value best;
    double best_threshold;
};

static void offer(struct walk *walk, double threshold)
{
    const struct value value = value_of(walk->goal, walk->errors, walk->cost);

    if (is_lower(walk->scored, walk->goal, value, walk->best)) {
        walk->best = value;
        walk->best_threshold = threshold;
    }
}

/* From the state in which nobody has moved. */
static void walk_begin(struct walk *walk)
{
    walk->kept = walk->goal->budget * (1 + BUDGET_TOLERANCE);
    walk->slack = slack_of(walk->scored, walk->goal);
    walk->best = value_of(walk->goal, walk->errors, walk->cost);
    walk->best_threshold = (double)INFINITY;
}

/* Comes to a sample of this score: a threshold above it is possible unless it is a tie. */
static void walk_to(struct walk *walk, double score)
{
    /* Most thresholds are no better by far, which is seen at once. */
    if (walk->has_moved && score < walk->last_score && walk->cost <= walk->kept &&
        walk->errors + walk->goal->price * walk->cost <= walk->best.objective + walk->slack) {
        offer(walk, (walk->last_score + score) / 2);
    }
}

static void walk_move(struct walk *walk, int64_t sample, int from, int to, double score)
{
    walk->errors += error_of(walk->scored, sample, to) - error_of(walk->scored, sample, from);
    walk->cost += walk->scored->costs[to] - walk->scored->costs[from];
    walk->last_score = score;
    walk->has_moved = true;
}

static void walk_end(struct walk *walk)
{
    if (walk->has_moved) {
        offer(walk, walk->last_score);
    }
}

/*
 * The best threshold of `exit`, the others fixed: early[i] < exit is where a sample leaves
 * before, later[i] > exit where it goes if it does not leave here.
 */
static double best_threshold(const struct threshold_search *search,
                             const struct threshold_goal *goal, int exit)
{
    const struct exits_scored *scored = search->scored;
    const int32_t *order = search->order + scored->n * exit;
    const float *sorted = search->sorted + scored->n * exit;
    struct walk walk = {.scored = scored, .goal = goal};

    for (int64_t i = 0; i < scored->n; i++) {
        const int without = search->early[i] < exit ? search->early[i] : search->later[i];
        walk.errors += error_of(scored, i, without);
        walk.cost += scored->costs[without];
    }
    walk_begin(&walk);
    for (int64_t r = 0; r < scored->n; r++) {
        const int32_t i = order[r];
        if (search->early[i] >= exit) {
            const double score = (double)sorted[r];
            walk_to(&walk, score);
            walk_move(&walk, i, search->later[i], exit, score);
        }
    }
    walk_end(&walk);
    return walk.best_threshold;
}

/*
 * From the last exit to the first, so that one pass over the samples keeps both lists right:
 * `early` needs the old thresholds only, and has them; `later` the new ones only.
 */
static void improve_once(struct threshold_search *search, const struct threshold_goal *goal,
                         double thresholds[])
{
    const struct exits_scored *scored = search->scored;

    for (int64_t i = 0; i < scored->n; i++) {
        search->later[i] = scored->G;
    }
    for (int l = scored->G - 1; l >= 0; l--) {
        const int32_t *order = search->order + scored->n * l;
        const float *sorted = search->sorted + scored->n * l;
        thresholds[l] = best_threshold(search, goal, l);
        for (int64_t r = 0; r < scored->n && (double)sorted[r] >= thresholds[l] &&
                            thresholds[l] < (double)INFINITY;
             r++) {
            search->later[order[r]] = l;
        }
    }
}

void threshold_improve(struct threshold_search *search, const struct threshold_goal *goal,
                       struct threshold_point *point)
{
    struct threshold_point trial = *point;

    measure_all(search, &trial);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        improve_once(search, goal, trial.thresholds);
        measure_all(search, &trial);
        if (!threshold_is_better(search->scored, goal, &trial, point)) {
            return;
        }
        *point = trial;
    }
}

void threshold_always(const struct threshold_search *search, int exit,
                      struct threshold_point *point_out)
{
    const struct exits_scored *scored = search->scored;

    for (int l = 0; l < scored->G; l++) {
        point_out->thresholds[l] = (double)INFINITY;
    }
    if (exit < scored->G) {
        const int32_t lowest = search->order[scored->n * (exit + 1) - 1];
        point_out->thresholds[exit] = score_of(scored, lowest, exit);
    }
    threshold_measure(scored, point_out);
}

/* The exit whose next sample in order has the highest score, or -1 at the end of all. */
static int highest(const struct threshold_search *search, const int64_t at[])
{
    const struct exits_scored *scored = search->scored;
    int best = -1;
    double best_score = 0;

    for (int l = 0; l < scored->G; l++) {
        if (at[l] < scored->n) {
            const double score = score_of(scored, search->order[scored->n * l + at[l]], l);
            if (best < 0 || score > best_score) {
                best = l;
                best_score = score;
            }
        }
    }
    return best;
}

void threshold_shared(struct threshold_search *search, const struct threshold_goal *goal,
                      struct threshold_point *point_out)
{
    const struct exits_scored *scored = search->scored;
    int64_t at[EXITS_THRESHOLD_EXITS_MAX] = {0};
    struct walk walk = {.scored = scored, .goal = goal};

    for (int64_t i = 0; i < scored->n; i++) {
        search->later[i] = scored->G;
        walk.errors += error_of(scored, i, scored->G);
        walk.cost += scored->costs[scored->G];
    }
    walk_begin(&walk);
    for (int l = highest(search, at); l >= 0; l = highest(search, at)) {
        const int32_t i = search->order[scored->n * l + at[l]++];
        if (l < search->later[i]) {
            const double score = score_of(scored, i, l);
            walk_to(&walk, score);
            walk_move(&walk, i, search->later[i], l, score);
            search->later[i] = l;
        }
    }
    walk_end(&walk);
    for (int l = 0; l < scored->G; l++) {
        point_out->thresholds[l] = walk.best_threshold;
    }
    threshold_measure(scored, point_out);
}

/* Lets the first `wanted` samples in order that have not left leave, and those that equal the last. */
static double leave_in_order(struct threshold_search *search, int exit, int64_t wanted)
{
    const int64_t n = search->scored->n;
    const int G = search->scored->G;
    const int32_t *order = search->order + n * exit;
    const float *sorted = search->sorted + n * exit;
    double threshold = (double)INFINITY;
    int64_t passed = 0;

    for (int64_t r = 0; r < n && (passed < wanted || (double)sorted[r] >= threshold); r++) {
        if (search->early[order[r]] == G) {
            threshold = (double)sorted[r];
            search->early[order[r]] = exit;
            passed++;
        }
    }
    return threshold;
}

void threshold_geometric(struct threshold_search *search, double ratio,
                         struct threshold_point *point_out)
{
    const struct exits_scored *scored = search->scored;
    const int G = scored->G;
    double sum = 0;

    assert(ratio > 0);
    for (int l = 0; l <= G; l++) {
        sum += pow(ratio, l);
    }
    for (int64_t i = 0; i < scored->n; i++) {
        search->early[i] = G;
    }
    for (int l = 0; l < G; l++) {
        const double samples = (double)scored->n * pow(ratio, l) / sum;
        /* A share that is a whole number of samples must not lose one to rounding. */
        point_out->thresholds[l] = leave_in_order(search, l, (int64_t)floor(samples + 1e-9));
    }
    count(scored, search->early, point_out);
}

const struct threshold_point *threshold_family(struct threshold_search *search)
{
    for (int r = 0; r < THRESHOLD_RATIOS && !search->has_family; r++) {
        threshold_geometric(search, (r + 1.0) / THRESHOLD_RATIO_DENOMINATOR, &search->family[r]);
    }
    search->has_family = true;
    return search->family;
}
