/*
 * exits/exits_calibration.h - how far confidence is from accuracy.
 *
 *      ECE = sum_b (n_b / n) |accuracy of bin b - mean confidence of bin b|
 *
 * over 15 bins of equal mass: the samples in the order of their confidence, cut in 15 parts.
 * Samples of equal confidence stay in one bin, that of the first of them, so that the result
 * does not depend on the order of the samples. M. Naeini et al., "Obtaining Well Calibrated
 * Probabilities Using Bayesian Binning", AAAI 2015; equal mass as in JEI-DNN (Regol et al.,
 * ICLR 2024).
 *
 * Compute it once over the whole set. A mean over batches measures noise: a perfectly
 * calibrated predictor at 85 % accuracy scores 11 % in batches of 64, 3 % in slices of 1000
 * and 1 % on 10,000 samples. Give it probabilities, not the softmax of probabilities.
 *
 * Threads: any.
 */
#ifndef EXITS_EXITS_CALIBRATION_H
#define EXITS_EXITS_CALIBRATION_H

#include <stdint.h>

#include "comm/base/err.h"

enum { EXITS_CALIBRATION_BINS = 15 };

/* One bin of a reliability diagram. */
struct exits_calibration_bin {
    int64_t n;         /* 0: the bin is empty, and the rest 0 */
    double confidence; /* mean */
    double accuracy;
};

/*
 * confidence  [n]  in, the probability of the predicted class, 0 .. 1
 * correct     [n]  in, 1 if that class is right, else 0
 * error_out   0 .. 1; 0 if n is 0
 *
 * bins_out    [EXITS_CALIBRATION_BINS], the least confident first; NULL if they are not wanted
 *
 * Errors: ERR_INVALID if a confidence is outside 0 .. 1 or NaN; ERR_NO_MEMORY.
 * Cost: one sort of n values, 16 n bytes.
 */
ERR_MUST_CHECK enum err exits_calibration_error(const float confidence[], const uint8_t correct[],
                                                int64_t n, double *error_out);

ERR_MUST_CHECK enum err exits_calibration_bins(const float confidence[], const uint8_t correct[],
                                               int64_t n, struct exits_calibration_bin bins_out[],
                                               double *error_out);

#endif
