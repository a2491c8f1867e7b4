/*
 * exits/exits_target.h - what a gate should have answered, and how much that weighs.
 *
 * Leaving at exit l costs J_l = CE_l + lambda c_l, for l = 0 .. G with G the end. The best
 * exit of a sample is l* = argmin J, ties to the lowest index.
 *
 *      EXITS_NO_LATER_CHEAPER  t_l = 1[J_l <= min_{j>l} J_j]
 *      EXITS_CUMULATIVE        t_l = 1[l >= l*]
 *
 * EXITS_CUMULATIVE is JEI-DNN's (Regol et al., ICLR 2024). It opens gates behind l* where a
 * still later exit is cheaper; EXITS_NO_LATER_CHEAPER asks of every gate the question it has
 * to answer, "is it of no use to go on from here", also for samples that should have left
 * before. The first gate with t_l = 1 is l* in both.
 *
 * Class weights: with n_l samples out of M that have t_l = 1, an open target weighs
 * clip((M - n_l) / max(n_l, 0.1), 1/5, 5). n_l counts targets, not samples whose best exit is
 * l: with cumulative targets that count gives the largest weight to the deep gates, where
 * nearly all targets are open already.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_TARGET_H
#define EXITS_EXITS_TARGET_H

#include <math.h>
#include <stdbool.h>

#include "trainer/kernels/kern_fn.h"

enum exits_target_kind { EXITS_NO_LATER_CHEAPER, EXITS_CUMULATIVE };

#define EXITS_BALANCE_MIN 0.2
#define EXITS_BALANCE_MAX 5.0

/* objectives_out [G + 1] = J; loss [G + 1] in, finite; costs [G + 1] in; lambda >= 0. */
KERN_FN void exits_objectives(const float loss[], const double costs[], double lambda, int G,
                              double objectives_out[])
{
    for (int l = 0; l <= G; l++) {
        objectives_out[l] = (double)loss[l] + lambda * costs[l];
    }
}

/* l*, 0 .. G; objectives [G + 1] in. */
KERN_FN int exits_best(const double objectives[], int G)
{
    int best = 0;

    for (int l = 1; l <= G; l++) {
        if (objectives[l] < objectives[best]) {
            best = l;
        }
    }
    return best;
}

/* targets_out [G], each 0 or 1; objectives [G + 1] in. */
KERN_FN void exits_targets(enum exits_target_kind kind, const double objectives[], int G,
                           float targets_out[])
{
    const int best = exits_best(objectives, G);
    double later = objectives[G]; /* the cheapest exit behind l */

    for (int l = G - 1; l >= 0; l--) {
        const bool open = kind == EXITS_CUMULATIVE ? l >= best : objectives[l] <= later;
        targets_out[l] = open ? 1 : 0;
        later = fmin(later, objectives[l]);
    }
}

/* The weight of an open target when `open` of `sample_count` were; 1 before any were counted. */
float exits_balance_weight(double open, double sample_count);

#endif
