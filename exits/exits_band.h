/*
 * exits/exits_band.h - between which counts chance stays: central bands of two distributions.
 *
 * BINOMIAL: misses among m samples that each miss with probability p. BETA_BINOMIAL: the same where p
 * itself is drawn from Beta(a, b), which is what a conformal threshold does that was calibrated on n
 * samples: a = n + 1 - k, b = k (exits_conformal.h), whatever the scores are, if they have no ties. It is
 * wider, by about sqrt(1 + m / n): it counts the luck of the calibration, which the binomial leaves out.
 *
 * Threads: any. Nothing here allocates or fails. Cost: some 20 standard deviations of multiplications.
 */
#ifndef EXITS_EXITS_BAND_H
#define EXITS_EXITS_BAND_H

#include <stdint.h>

struct exits_band {
    int64_t low, high; /* both included */
};

/* The narrowest counts with at most (1 - level) / 2 outside on each side; 0 <= p <= 1. */
struct exits_band exits_band_binomial(int64_t m, double p, double level);

/* a, b >= 1. */
struct exits_band exits_band_beta_binomial(int64_t m, double a, double b, double level);

#endif
