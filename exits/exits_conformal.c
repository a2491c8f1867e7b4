#include "exits/exits_conformal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "comm/base/rng.h"
#include "exits/exits_rank.h"

/* (n + 1) (1 - delta) is a whole number for many a delta that is no binary fraction. */
static const double RANK_SLACK = 1e-9;

int64_t exits_conformal_rank(int64_t n, double delta)
{
    return (int64_t)ceil((double)(n + 1) * (1 - delta) - RANK_SLACK);
}

double exits_conformal_quantile(const double sorted[], int64_t n, double delta)
{
    const int64_t k = exits_conformal_rank(n, delta);

    return k > n ? (double)INFINITY : sorted[k - 1];
}

static enum err check(const struct exits_scored *scored, double delta)
{
    ERR_TRY(exits_scored_check(scored));
    return delta > 0 && delta < 1
               ? ERR_OK
               : ERR_FAIL(ERR_INVALID, "a risk of %g, between 0 and 1 is expected", delta);
}

/* order_out [n]: the samples at `exit`, the lowest score first. scratch [n]. */
static void sort_exit(const struct exits_scored *scored, int exit, struct exits_ranked scratch[],
                      struct exits_ranked order_out[])
{
    for (int64_t i = 0; i < scored->n; i++) {
        order_out[i] = (struct exits_ranked){scored->scores[i * scored->G + exit], (uint32_t)i};
    }
    exits_rank(order_out, scratch, scored->n);
}

static int class_of(const struct exits_scored *scored, uint32_t sample, int exit)
{
    return scored->correct[(int64_t)sample * (scored->G + 1) + exit] != 0;
}

/* Of the samples of an exit in the order of their scores, those whose `uses` entry is not 0. */
static struct exits_conformal fit_sorted(const struct exits_scored *scored, int exit, double delta,
                                         const struct exits_ranked order[], const uint8_t uses[])
{
    struct exits_conformal fit = {.right_from = -(double)INFINITY, .wrong_to = (double)INFINITY};
    int64_t left[EXITS_CONFORMAL_CLASSES] = {0};

    for (int64_t r = 0; r < scored->n; r++) {
        fit.counts[class_of(scored, order[r].sample, exit)] += uses[order[r].sample] != 0;
    }
    for (int c = 0; c < EXITS_CONFORMAL_CLASSES; c++) {
        left[c] = exits_conformal_rank(fit.counts[c], delta);
        left[c] = left[c] > fit.counts[c] ? -1 : left[c];
    }
    /* The k-th lowest score of those that are wrong, the k-th highest of those that are right. */
    left[EXITS_CONFORMAL_RIGHT] =
        left[EXITS_CONFORMAL_RIGHT] < 0
            ? -1
            : fit.counts[EXITS_CONFORMAL_RIGHT] - left[EXITS_CONFORMAL_RIGHT] + 1;
    for (int64_t r = 0; r < scored->n; r++) {
        const int c = class_of(scored, order[r].sample, exit);
        if (uses[order[r].sample] != 0 && left[c] > 0 && --left[c] == 0) {
            *(c == EXITS_CONFORMAL_RIGHT ? &fit.right_from : &fit.wrong_to) =
                (double)order[r].score;
        }
    }
    return fit;
}

enum err exits_conformal_fit(const struct exits_scored *scored, double delta,
                             struct exits_conformal fits_out[])
{
    ERR_TRY(check(scored, delta));
    struct exits_ranked *order = calloc(2 * (size_t)scored->n, sizeof(*order));
    uint8_t *uses = malloc((size_t)scored->n);
    if (order == NULL || uses == NULL) {
        free(order);
        free(uses);
        return ERR_FAIL(ERR_NO_MEMORY, "the calibration of %" PRId64 " samples", scored->n);
    }
    for (int64_t i = 0; i < scored->n; i++) {
        uses[i] = 1;
    }
    for (int l = 0; l < scored->G; l++) {
        sort_exit(scored, l, order + scored->n, order);
        fits_out[l] = fit_sorted(scored, l, delta, order, uses);
    }
    free(order);
    free(uses);
    return ERR_OK;
}

unsigned exits_conformal_set(const struct exits_conformal *fit, double score)
{
    return (score <= fit->wrong_to ? 1U << EXITS_CONFORMAL_WRONG : 0U) |
           (score >= fit->right_from ? 1U << EXITS_CONFORMAL_RIGHT : 0U);
}

double exits_conformal_threshold(const struct exits_conformal *fit)
{
    return fmax(fit->right_from, nextafter(fit->wrong_to, (double)INFINITY));
}

int exits_conformal_calibrates(uint64_t seed, uint32_t id, int split)
{
    return (int)(rng_u64(seed, RNG_POLICY, id, (uint32_t)split) >> 63);
}

void exits_conformal_draw(uint64_t seed, const uint32_t *ids, int64_t n, int split_count,
                          uint8_t halves_out[])
{
    for (int s = 0; s < split_count; s++) {
        for (int64_t i = 0; i < n; i++) {
            halves_out[s * n + i] =
                (uint8_t)exits_conformal_calibrates(seed, ids == NULL ? (uint32_t)i : ids[i], s);
        }
    }
}

static void test_split(const struct exits_scored *scored, int exit,
                       const struct exits_conformal *fit, const uint8_t uses[],
                       struct exits_conformal_split split_out[])
{
    for (int c = 0; c < EXITS_CONFORMAL_CLASSES; c++) {
        split_out[c] = (struct exits_conformal_split){.calibrated = fit->counts[c]};
    }
    for (uint32_t i = 0; i < (uint32_t)scored->n; i++) {
        if (uses[i] == 0) {
            const int c = class_of(scored, i, exit);
            const double score = (double)scored->scores[(int64_t)i * scored->G + exit];
            split_out[c].tested++;
            split_out[c].missed += (exits_conformal_set(fit, score) >> c & 1U) == 0;
        }
    }
}

enum err exits_conformal_splits(const struct exits_scored *scored, double delta, int split_count,
                                const uint8_t halves[], struct exits_conformal_split splits_out[])
{
    ERR_TRY(check(scored, delta));
    const int64_t n = scored->n;
    const int G = scored->G;
    struct exits_ranked *order = calloc((size_t)(n * (G + 1)), sizeof(*order));
    if (order == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "splits of %" PRId64 " samples", n);
    }
    for (int l = 0; l < G; l++) {
        sort_exit(scored, l, order + n * G, order + n * l);
    }
    for (int s = 0; s < split_count; s++) {
        const uint8_t *uses = halves + s * n;
        for (int l = 0; l < G; l++) {
            const struct exits_conformal fit = fit_sorted(scored, l, delta, order + n * l, uses);
            test_split(scored, l, &fit, uses,
                       splits_out + ((int64_t)s * G + l) * EXITS_CONFORMAL_CLASSES);
        }
    }
    free(order);
    return ERR_OK;
}
