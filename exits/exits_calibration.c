#include "exits/exits_calibration.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_rank.h"

/* Of samples in the order of their confidence. bins [EXITS_CALIBRATION_BINS], zero, or NULL. */
static double error_of(const struct exits_ranked ranked[], const uint8_t correct[], int64_t n,
                       struct exits_calibration_bin *bins)
{
    double excess[EXITS_CALIBRATION_BINS] = {0}; /* sum of correct - confidence */
    double sum = 0;
    int64_t bin = 0;

    for (int64_t i = 0; i < n; i++) {
        const double right = correct[ranked[i].sample] != 0 ? 1 : 0;
        if (i == 0 || ranked[i].score > ranked[i - 1].score) {
            bin = i * EXITS_CALIBRATION_BINS / n;
        }
        excess[bin] += right - (double)ranked[i].score;
        if (bins != NULL) {
            bins[bin].n++;
            bins[bin].confidence += (double)ranked[i].score;
            bins[bin].accuracy += right;
        }
    }
    for (int b = 0; b < EXITS_CALIBRATION_BINS; b++) {
        sum += fabs(excess[b]);
    }
    return n == 0 ? 0 : sum / (double)n;
}

enum err exits_calibration_error(const float confidence[], const uint8_t correct[], int64_t n,
                                 double *error_out)
{
    return exits_calibration_bins(confidence, correct, n, NULL, error_out);
}

static void average(struct exits_calibration_bin bins[])
{
    for (int b = 0; b < EXITS_CALIBRATION_BINS; b++) {
        if (bins[b].n > 0) {
            bins[b].confidence /= (double)bins[b].n;
            bins[b].accuracy /= (double)bins[b].n;
        }
    }
}

enum err exits_calibration_bins(const float confidence[], const uint8_t correct[], int64_t n,
                                struct exits_calibration_bin bins_out[], double *error_out)
{
    struct exits_calibration_bin bins[EXITS_CALIBRATION_BINS] = {{0}};

    for (int64_t i = 0; i < n; i++) {
        if (!(confidence[i] >= 0 && confidence[i] <= 1)) {
            return ERR_FAIL(ERR_INVALID, "confidence %g of sample %" PRId64 ", 0 to 1 is possible",
                            (double)confidence[i], i);
        }
    }
    struct exits_ranked *ranked = calloc(2 * (size_t)n + 1, sizeof(*ranked));
    if (ranked == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the calibration of %" PRId64 " samples", n);
    }
    for (int64_t i = 0; i < n; i++) {
        ranked[i] = (struct exits_ranked){confidence[i], (uint32_t)i};
    }
    exits_rank(ranked, ranked + n, n);
    *error_out = error_of(ranked, correct, n, bins);
    if (bins_out != NULL) {
        average(bins);
        memcpy(bins_out, bins, sizeof(bins));
    }
    free(ranked);
    return ERR_OK;
}
