#include "exits/exits_risk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "exits/exits_conformal.h"

/* alpha (n + 1) is a whole number for many an alpha that is no binary fraction. */
static const double COUNT_SLACK = 1e-9;

double exits_risk_highest_loss(const float scores[], const uint8_t correct[], int G)
{
    double before = -(double)INFINITY; /* the highest score of earlier exits */
    double highest = -(double)INFINITY;

    for (int l = 0; l < G; l++) {
        const double score = (double)scores[l];
        /* Leaves here for thresholds above all earlier scores and up to this one. */
        if (score > before) {
            if (correct[G] != 0 && correct[l] == 0) {
                highest = fmax(highest, score);
            }
            before = score;
        }
    }
    return highest;
}

struct losing {
    double highest;
    uint32_t sample;
};

static int descending(const void *left, const void *right)
{
    const double a = ((const struct losing *)left)->highest;
    const double b = ((const struct losing *)right)->highest;

    return (a < b) - (a > b);
}

static enum err check(const struct exits_scored *scored, double alpha)
{
    ERR_TRY(exits_scored_check(scored));
    return alpha > 0 && alpha < 1
               ? ERR_OK
               : ERR_FAIL(ERR_INVALID, "a risk of %g, between 0 and 1 is expected", alpha);
}

/* losing_out [n]: the samples, that which loses at the highest threshold first. */
static void sort_losing(const struct exits_scored *scored, struct losing losing_out[])
{
    const int G = scored->G;

    for (int64_t i = 0; i < scored->n; i++) {
        losing_out[i] = (struct losing){
            exits_risk_highest_loss(scored->scores + i * G, scored->correct + i * (G + 1), G),
            (uint32_t)i};
    }
    qsort(losing_out, (size_t)scored->n, sizeof(*losing_out), descending);
}

/* With the samples whose `uses` entry is not 0, `n` of them. */
static double threshold_of(const struct losing losing[], int64_t count, const uint8_t uses[],
                           int64_t n, double alpha)
{
    /* So many may lose: m / (n + 1) + 1 / (n + 1) <= alpha. */
    int64_t may_lose = (int64_t)floor(alpha * (double)(n + 1) - 1 + COUNT_SLACK);

    if (may_lose < 0) {
        return (double)INFINITY;
    }
    for (int64_t r = 0; r < count; r++) {
        if ((uses == NULL || uses[losing[r].sample] != 0) && may_lose-- == 0) {
            return isinf(losing[r].highest) ? losing[r].highest
                                            : nextafter(losing[r].highest, (double)INFINITY);
        }
    }
    return -(double)INFINITY; /* all may lose */
}

enum err exits_risk_threshold(const struct exits_scored *scored, double alpha,
                              double *threshold_out)
{
    ERR_TRY(check(scored, alpha));
    struct losing *losing = calloc((size_t)scored->n, sizeof(*losing));
    if (losing == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the losses of %" PRId64 " samples", scored->n);
    }
    sort_losing(scored, losing);
    *threshold_out = threshold_of(losing, scored->n, NULL, scored->n, alpha);
    free(losing);
    return ERR_OK;
}

/* Whether a sample loses at this threshold: not the monotone bound, but what happens. */
static int loses(const struct exits_scored *scored, int64_t i, double threshold)
{
    const uint8_t *correct = scored->correct + i * (scored->G + 1);
    int exit = 0;

    while (exit < scored->G && !((double)scored->scores[i * scored->G + exit] >= threshold &&
                                 threshold < (double)INFINITY)) {
        exit++;
    }
    return correct[scored->G] != 0 && correct[exit] == 0;
}

static void run_split(const struct exits_scored *scored, const struct losing losing[],
                      const uint8_t uses[], double alpha, struct exits_risk_split *split_out)
{
    struct exits_risk_split split = {0};

    for (int64_t i = 0; i < scored->n; i++) {
        split.calibrated += uses[i] != 0;
    }
    split.tested = scored->n - split.calibrated;
    split.threshold = threshold_of(losing, scored->n, uses, split.calibrated, alpha);
    for (int64_t i = 0; i < scored->n; i++) {
        split.lost += uses[i] == 0 && loses(scored, i, split.threshold);
    }
    *split_out = split;
}

enum err exits_risk_splits(const struct exits_scored *scored, double alpha, int split_count,
                           uint64_t seed, const uint32_t *ids, struct exits_risk_split splits_out[])
{
    ERR_TRY(check(scored, alpha));
    struct losing *losing = calloc((size_t)scored->n, sizeof(*losing));
    uint8_t *uses = calloc((size_t)scored->n, 1);
    if (losing == NULL || uses == NULL) {
        free(losing);
        free(uses);
        return ERR_FAIL(ERR_NO_MEMORY, "splits of %" PRId64 " samples", scored->n);
    }
    sort_losing(scored, losing);
    for (int s = 0; s < split_count; s++) {
        for (int64_t i = 0; i < scored->n; i++) {
            uses[i] =
                (uint8_t)exits_conformal_calibrates(seed, ids == NULL ? (uint32_t)i : ids[i], s);
        }
        run_split(scored, losing, uses, alpha, &splits_out[s]);
    }
    free(losing);
    free(uses);
    return ERR_OK;
}
