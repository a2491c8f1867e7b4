#include "exits/exits_calibration.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct outcome {
    float confidence;
    uint8_t correct;
};

static int by_confidence(const void *left, const void *right)
{
    const float a = ((const struct outcome *)left)->confidence;
    const float b = ((const struct outcome *)right)->confidence;

    return (a > b) - (a < b);
}

/* Of sorted outcomes. bins [EXITS_CALIBRATION_BINS], zero, or NULL. */
static double error_of(const struct outcome outcomes[], int64_t n,
                       struct exits_calibration_bin *bins)
{
    double excess[EXITS_CALIBRATION_BINS] = {0}; /* sum of correct - confidence */
    double sum = 0;
    int64_t bin = 0;

    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || outcomes[i].confidence > outcomes[i - 1].confidence) {
            bin = i * EXITS_CALIBRATION_BINS / n;
        }
        excess[bin] += (double)outcomes[i].correct - (double)outcomes[i].confidence;
        if (bins != NULL) {
            bins[bin].n++;
            bins[bin].confidence += (double)outcomes[i].confidence;
            bins[bin].accuracy += (double)outcomes[i].correct;
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
    struct outcome *outcomes = calloc(n > 0 ? (size_t)n : 1, sizeof(*outcomes));
    if (outcomes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the calibration of %" PRId64 " samples", n);
    }
    for (int64_t i = 0; i < n; i++) {
        outcomes[i] = (struct outcome){confidence[i], correct[i] != 0};
    }
    qsort(outcomes, (size_t)n, sizeof(*outcomes), by_confidence);
    *error_out = error_of(outcomes, n, bins);
    if (bins_out != NULL) {
        average(bins);
        memcpy(bins_out, bins, sizeof(bins));
    }
    free(outcomes);
    return ERR_OK;
}
