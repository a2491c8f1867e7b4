/*
 * exits/exits_mixture.h - the answer of all exits together, weighed by the probability to leave.
 *
 *      Y_l = conf_l y_l + (1 - conf_l) Y_{l+1},   Y_G = y_G      and the same of costs
 *
 * PTEENet (spokV/PTEENET), whose loss is -log Y_0(label) + lambda cost_0. With conf the gates' hazards
 * Y_0 = sum_l P_l y_l, P as in exits_probability.h. It is no way to save compute, for all exits are
 * needed: it is the expectation of what a sample that draws its exit is answered, and differs from
 * the expected cross entropy of exits_expect(), which it never exceeds.
 *
 * Shape letters: G exits before the end, K classes.
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_MIXTURE_H
#define EXITS_EXITS_MIXTURE_H

#include <stdint.h>

/*
 * confidence  [G]         in, 0 .. 1
 * answers     [G + 1, K]  in, probabilities of the classes at each exit
 * mixed_out   [K]         Y_0; sums to 1 if all answers do
 */
void exits_mixture(const float confidence[], const float answers[], int G, int64_t K,
                   float mixed_out[]);

/* The same of costs [G + 1]. */
double exits_mixture_cost(const float confidence[], const double costs[], int G);

/* -log Y(label) + lambda cost; +inf if Y(label) is 0. */
double exits_mixture_loss(const float mixed[], int32_t label, double cost, double lambda);

#endif
