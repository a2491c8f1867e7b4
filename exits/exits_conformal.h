/*
 * exits/exits_conformal.h - leaving with a promise: class-conditional split conformal prediction.
 *
 * The question at an exit is whether its prediction is right; s is a score of the sample there that
 * grows with the certainty that it is (the larger the probability of "right", or anything else). On n_c
 * calibration samples of each of the two classes, right and wrong, the nonconformity of "right" is -s
 * and that of "wrong" is s; q_c is the k-th smallest nonconformity of its class among them,
 *
 *      k = ceil((n_c + 1) (1 - delta)),   q_c = +inf if k > n_c
 *
 * and the prediction set of a sample holds each class whose nonconformity is at most q_c. A sample
 * leaves if and only if its set is exactly {right}.
 *
 * Guarantee: for a sample exchangeable with those of the calibration, and for each exit by itself,
 *
 *      P(the set lacks the true class | the class) <= delta,   so   P(leaves here | wrong here) <= delta
 *
 * over the draw of calibration and sample, whatever the score and its distribution, and without ties
 * also > delta - 1 / (n_c + 1). The promise is marginal, not for a given calibration set, whose own
 * rate has the distribution Beta(n_c + 1 - k, k); and it is one of each exit: over G exits in a row the
 * rates may add up, so that for P(leaves early and wrongly) <= delta over all of them each exit is to
 * be given delta / G. It takes n_wrong >= 1 / delta - 1 calibration samples that the exit gets wrong;
 * with fewer k > n_c, every set holds "wrong" and nobody leaves.
 *
 * LYNX (O. F. Akgul et al., 2025) decides so at the cues of a chain of thought. Its code clamps k to n_c,
 * which silently breaks the promise just where samples are few; there is no clamp here. JEI-DNN's takes
 * the level k / n with the next higher order statistic: one rank too many. Class-conditional conformal
 * prediction: V. Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any.
 */
#ifndef EXITS_EXITS_CONFORMAL_H
#define EXITS_EXITS_CONFORMAL_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_threshold.h"

/* The two classes, and bits of a set. */
enum exits_conformal_class {
    EXITS_CONFORMAL_WRONG,
    EXITS_CONFORMAL_RIGHT,
    EXITS_CONFORMAL_CLASSES
};

/* k, 1 .. n + 1; what rounding leaves of (n + 1) (1 - delta) above a whole number does not count. */
int64_t exits_conformal_rank(int64_t n, double delta);

/* The k-th smallest of ascending scores [n], or +inf. */
double exits_conformal_quantile(const double sorted[], int64_t n, double delta);

/* One exit, calibrated. */
struct exits_conformal {
    double right_from; /* the set holds "right" from this score on; -inf: always */
    double wrong_to;   /* and "wrong" up to this one; +inf: always */
    int64_t counts[EXITS_CONFORMAL_CLASSES]; /* n_c */
};

/*
 * Calibrates every exit. 0 < delta < 1. fits_out [G].
 * Errors: ERR_INVALID as exits_threshold_for_price() (costs are not looked at), or delta;
 * ERR_NO_MEMORY. Cost: a sort of n values an exit, 16 n bytes.
 */
ERR_MUST_CHECK enum err exits_conformal_fit(const struct exits_scored *scored, double delta,
                                            struct exits_conformal fits_out[]);

/* The set of a sample: a sum of 1 << class. */
unsigned exits_conformal_set(const struct exits_conformal *fit, double score);

/*
 * The same as a threshold: score >= it if and only if the set is {right}; +inf if that is never so.
 * For scores that are floats, widened to double.
 */
double exits_conformal_threshold(const struct exits_conformal *fit);

/* One exit and class in one split of the samples. */
struct exits_conformal_split {
    int64_t calibrated; /* n_c */
    int64_t tested;     /* samples of the class in the other half */
    int64_t missed;     /* whose set lacks it */
};

/* Whether sample `id` calibrates in this split, or tests. */
int exits_conformal_calibrates(uint64_t seed, uint32_t id, int split);

/* That of all samples: halves_out [split_count, n], 0 or 1; ids [n], or NULL: sample i's is i. */
void exits_conformal_draw(uint64_t seed, const uint32_t *ids, int64_t n, int split_count,
                          uint8_t halves_out[]);

/*
 * Holds the promise to the samples themselves: each of `split_count` splits calibrates on one half and
 * tests on the other. On which side a sample is depends on the seed, its id and the split alone, so the
 * result does not depend on the order of the samples. A half, in the mean.
 *
 * halves      [split_count, n]     in, of exits_conformal_draw(): the same for all rules and risks
 * splits_out  [split_count, G, 2]
 *
 * Errors: as above. Cost: a sort of n values an exit, then a pass over n G scores a split.
 */
ERR_MUST_CHECK enum err exits_conformal_splits(const struct exits_scored *scored, double delta,
                                               int split_count, const uint8_t halves[],
                                               struct exits_conformal_split splits_out[]);

#endif
