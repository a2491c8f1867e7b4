/*
 * exits/exits_decide.h - which exit each sample takes, from what every exit said of it.
 *
 * For evaluation, where all exits of all samples are known; exits_infer.h stops for real and
 * agrees with exits_decide_threshold(). An exit is 0 .. G, with G the end.
 *
 * One convention for ties everywhere: a score that equals its threshold leaves. Published
 * code has both (MSDNet and JEI-DNN >=, Zero-Time-Waste >).
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_DECIDE_H
#define EXITS_EXITS_DECIDE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Whether a sample of this score leaves: score >= high or score <= low. NaN never does; +inf for
 * high and -inf for low mean that nobody does on that side, whatever the score.
 */
static inline bool exits_decide_leaves(double score, double high, double low)
{
    return (score >= high && high < (double)INFINITY) || (score <= low && low > -(double)INFINITY);
}

/*
 * The first exit with score >= threshold, else G. Scores grow with certainty: give an
 * entropy or an uncertainty with its sign changed.
 *
 * scores      [n, G]  in; NaN never leaves
 * thresholds  [G]     in; +inf: nobody leaves there, whatever the score
 * chosen_out  [n]
 */
void exits_decide_threshold(const float scores[], const double thresholds[], int64_t n, int G,
                            int32_t chosen_out[]);

/*
 * The first exit at which the score does not lie inside the window (low, high), else G: only samples
 * near the point of decision go on, clear yes and clear no leave (G. Xia and C. Bouganis,
 * "Window-Based Early-Exit Cascades for Uncertainty Estimation", ICCV 2023). A score that equals
 * either edge leaves. lows, highs [G] in; the rest as above.
 */
void exits_decide_window(const float scores[], const double lows[], const double highs[], int64_t n,
                         int G, int32_t chosen_out[]);

/*
 * PABEE (W. Zhou et al., NeurIPS 2020, arXiv:2006.04152): the first exit at which `patience` exits
 * in a row have agreed with the one before them, else G. predicted [n, G + 1] in, the
 * predicted classes; patience >= 1, or 0 for "always to the end", as published.
 */
void exits_decide_patience(const int32_t predicted[], int patience, int64_t n, int G,
                           int32_t chosen_out[]);

/*
 * The exit with the lowest loss + lambda * cost, ties to the lowest: it knows the label and
 * bounds what a gate can reach. loss [n, G + 1] in: cross entropies, or 1 for a wrong
 * prediction and 0 for a right one; costs [G + 1] in.
 */
void exits_decide_oracle(const float loss[], const double costs[], double lambda, int64_t n, int G,
                         int32_t chosen_out[]);

/* Every sample at `exit`, 0 .. G. */
void exits_decide_always(int exit, int64_t n, int32_t chosen_out[]);

#endif
