/*
 * exits/exits_risk.h - a bound on the accuracy that leaving early costs: conformal risk control.
 *
 * One threshold lambda on the score for all exits: a sample leaves at the first exit whose score is >=
 * lambda. Its loss is 1 if the full network answers it rightly and the exit where it leaves does not,
 * else 0. That is no monotone function of lambda (a later exit may be wrong where an earlier one was
 * right), so what is bounded is
 *
 *      L_i(lambda) = the largest loss at any threshold >= lambda
 *
 * which is, is 0 where nobody leaves, and never below the loss itself. A. Angelopoulos, S. Bates, A. Fisch,
 * L. Lei and T. Schuster, "Conformal Risk Control", ICLR 2024 (arXiv:2208.02814), with B = 1, the most
 * that a loss can be, and R_n the mean of L_i over n calibration samples:
 *
 *      lambda-hat = inf { lambda : n / (n + 1) R_n(lambda) + B / (n + 1) <= alpha }
 *
 * Guarantee: for a sample exchangeable with those of the calibration E[L(lambda-hat)] <= alpha, so at
 * most the share alpha of all samples, in the mean over calibrations, loses the right answer of the full
 * network; and accuracy falls by at most alpha. It takes n >= 1 / alpha - 1 samples; with fewer nobody
 * leaves (+inf). As the infimum is over an open set, the threshold is the next number above it.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any.
 */
#ifndef EXITS_EXITS_RISK_H
#define EXITS_EXITS_RISK_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_threshold.h"

/*
 * The highest threshold at which a sample loses, or -inf if there is none: L(lambda) = 1 for all
 * lambda up to it. scores [G], correct [G + 1] in.
 */
double exits_risk_highest_loss(const float scores[], const uint8_t correct[], int G);

/*
 * lambda-hat, for 0 < alpha < 1; scored->costs are not looked at.
 * Errors: ERR_INVALID for n, G, a score that is not finite, alpha; ERR_NO_MEMORY.
 * Cost: a pass over n G scores, one sort of n values.
 */
ERR_MUST_CHECK enum err exits_risk_threshold(const struct exits_scored *scored, double alpha,
                                             double *threshold_out);

struct exits_risk_split {
    int64_t calibrated, tested;
    int64_t lost; /* of those tested: the full network is right, the exit is not */
    double threshold;
};

/*
 * The same held to the samples themselves, as exits_conformal_splits() does, with its halves.
 * splits_out [split_count]. Errors: as above.
 */
ERR_MUST_CHECK enum err exits_risk_splits(const struct exits_scored *scored, double alpha,
                                          int split_count, const uint8_t halves[],
                                          struct exits_risk_split splits_out[]);

#endif
