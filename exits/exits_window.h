/*
 * exits/exits_window.h - early exit where an answer may be refused: only the undecided go on.
 *
 * The task is to answer or to refuse: a sample is accepted if its confidence reaches accept_l, the point
 * of decision of the exit where it left. Whoever lies far from it on either side is decided already;
 * those within a window around it go on (exits_decide_window()):
 *
 *      leaves refused          goes on            leaves accepted
 *      ------------------- low ( accept ) high -------------------> confidence
 *
 * G. Xia and C. Bouganis, "Window-Based Early-Exit Cascades for Uncertainty Estimation: When Deep
 * Ensembles are More Efficient than Single Models", ICCV 2023. As there the edges lie the same share
 * of the samples below and above the point of decision; that share is solved for a budget here.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any. Memory: 4 n (G + 1) bytes while a function runs.
 */
#ifndef EXITS_EXITS_WINDOW_H
#define EXITS_EXITS_WINDOW_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_threshold.h"

/*
 * The points of decision. At the end: the lowest confidence such that, of the samples that reach it, at
 * most the share `risk` is answered wrongly; +inf where there is none, and nothing is accepted. At an
 * exit: what accepts as many samples there as are accepted at the end, so that all exits stand at the
 * same coverage.
 *
 * confidence  [n, G + 1]  in, finite
 * correct     [n, G + 1]  in, 1 if that exit's prediction is right, else 0
 * accept_out  [G + 1]
 *
 * Errors: ERR_INVALID if n < 1; ERR_NO_MEMORY. Cost: a sort of n values an exit.
 */
ERR_MUST_CHECK enum err exits_window_accept(const float confidence[], const uint8_t correct[],
                                            int64_t n, int G, double risk, double accept_out[]);

/*
 * The widest windows within a budget of mean cost: with scored->scores the confidences of the exits,
 * low_l and high_l are the scores w samples below and above accept_l in the order of that exit, for the
 * largest w, 0 .. n, that keeps the budget. *width_out is w.
 * Errors: as exits_threshold.h. Cost: a sort of n values an exit, log n passes.
 */
ERR_MUST_CHECK enum err exits_window_for_budget(const struct exits_scored *scored,
                                                const double accept[], double budget,
                                                double lows_out[], double highs_out[],
                                                int64_t *width_out);

/* What windows are worth where answers may be refused. */
struct exits_window_value {
    double cost;      /* mean */
    double coverage;  /* share that is accepted */
    double risk;      /* share of those that is wrong; 0 if there are none */
    double agreement; /* share that is accepted, or refused, as at the end */
};

/*
 * Of choices [n] of exits, with the points of decision accept [G + 1]; confidence and correct
 * [n, G + 1], costs [G + 1] in. Cannot fail.
 */
struct exits_window_value exits_window_measure(const int32_t chosen[], const float confidence[],
                                               const uint8_t correct[], const double costs[],
                                               const double accept[], int64_t n, int G);

#endif
