#include "exits/exits_risk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "exits/exits_rank.h"

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

static enum err check(const struct exits_scored *scored, double alpha)
{
    ERR_TRY(exits_scored_check(scored));
    return alpha > 0 && alpha < 1
               ? ERR_OK
               : ERR_FAIL(ERR_INVALID, "a risk of %g, between 0 and 1 is expected", alpha);
}

/*
 * losing_out [n]: the samples, that which loses at the highest threshold first; scores are minus
 * that threshold. scratch [n].
 */
static void sort_losing(const struct exits_scored *scored, struct exits_ranked scratch[],
                        struct exits_ranked losing_out[])
{
    const int G = scored->G;

    for (int64_t i = 0; i < scored->n; i++) {
        const double highest =
            exits_risk_highest_loss(scored->scores + i * G, scored->correct + i * (G + 1), G);
        losing_out[i] = (struct exits_ranked){-(float)highest, (uint32_t)i}; /* it is a score */
    }
    exits_rank(losing_out, scratch, scored->n);
}

/* With the samples whose `uses` entry is not 0, `n` of them. */
static double threshold_of(const struct exits_ranked losing[], int64_t count, const uint8_t uses[],
                           int64_t n, double alpha)
{
    /* So many may lose: m / (n + 1) + 1 / (n + 1) <= alpha. */
    int64_t may_lose = (int64_t)floor(alpha * (double)(n + 1) - 1 + COUNT_SLACK);

    if (may_lose < 0) {
        return (double)INFINITY;
    }
    for (int64_t r = 0; r < count; r++) {
        if ((uses == NULL || uses[losing[r].sample] != 0) && may_lose-- == 0) {
            const double highest = -(double)losing[r].score;
            return isinf(highest) ? highest : nextafter(highest, (double)INFINITY);
        }
    }
    return -(double)INFINITY; /* all may lose */
}

enum err exits_risk_threshold(const struct exits_scored *scored, double alpha,
                              double *threshold_out)
{
    ERR_TRY(check(scored, alpha));
    struct exits_ranked *losing = calloc(2 * (size_t)scored->n, sizeof(*losing));
    if (losing == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the losses of %" PRId64 " samples", scored->n);
    }
    sort_losing(scored, losing + scored->n, losing);
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

static void run_split(const struct exits_scored *scored, const struct exits_ranked losing[],
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
                           const uint8_t halves[], struct exits_risk_split splits_out[])
{
    ERR_TRY(check(scored, alpha));
    struct exits_ranked *losing = calloc(2 * (size_t)scored->n, sizeof(*losing));
    if (losing == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "splits of %" PRId64 " samples", scored->n);
    }
    sort_losing(scored, losing + scored->n, losing);
    for (int s = 0; s < split_count; s++) {
        run_split(scored, losing, halves + s * scored->n, alpha, &splits_out[s]);
    }
    free(losing);
    return ERR_OK;
}
