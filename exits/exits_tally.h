/*
 * exits/exits_tally.h - what a choice of exits is worth: accuracy, cost, shares, calibration.
 *
 * Everything follows from exact counts of the hard choice: the cost is sum_l left_l c_l / n,
 * never the expected cost of soft probabilities, from which it differs.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any.
 */
#ifndef EXITS_EXITS_TALLY_H
#define EXITS_EXITS_TALLY_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_calibration.h"
#include "trainer/model/model_config.h"

struct exits_outcomes {
    int64_t n;
    int G;                   /* 0 .. MODEL_LAYERS_MAX */
    const int32_t *chosen;   /* [n], 0 .. G */
    const uint8_t *correct;  /* [n, G + 1], 1 if that exit's prediction is right, else 0 */
    const float *confidence; /* [n, G + 1], probability of the predicted class */
    const float *loss;       /* [n, G + 1], cross entropy */
    const double *costs;     /* [G + 1], in any unit; for lambda it is the share of the whole */
    double lambda;
};

struct exits_tally_exit {
    int64_t correct;      /* of all n samples */
    int64_t left;         /* samples that left here */
    int64_t left_correct; /* of those */
};

struct exits_tally {
    int64_t n;
    double accuracy;          /* 0 .. 1, of the chosen exits */
    double mean_cost;         /* in the unit of costs */
    double mean_loss;         /* cross entropy of the chosen exits */
    double mean_objective;    /* mean_loss + lambda mean_cost */
    double calibration_error; /* of the chosen exits' confidence: exits_calibration.h */
    struct exits_tally_exit exits[MODEL_LAYERS_MAX + 1];       /* the first G + 1 */
    struct exits_calibration_bin bins[EXITS_CALIBRATION_BINS]; /* of the same confidence */
};

/*
 * Errors: ERR_INVALID if n is 0, a choice is outside 0 .. G, or a confidence outside 0 .. 1;
 * ERR_NO_MEMORY. Cost: one pass over `correct`, one sort of n values.
 */
ERR_MUST_CHECK enum err exits_tally(const struct exits_outcomes *outcomes,
                                    struct exits_tally *tally_out);

#endif
