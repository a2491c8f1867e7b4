/*
 * exits/exits_baseline.h - what a policy must beat, and what none can: for one budget of mean cost.
 *
 *      static   everybody leaves at the same exit, the best that keeps the budget
 *      random   everybody draws an exit, whatever the sample is; the best way to draw is between two
 *               exits, on the upper hull of (cost, accuracy)
 *      oracle   knows the label: leaves at the first exit that is right, and at the first of all where
 *               none is. It bounds every policy that picks one of the exits' answers.
 *
 * The gap of a policy is the oracle's accuracy less its own. Costs are in any unit, ascending; a budget
 * is at least that of the first exit.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_BASELINE_H
#define EXITS_EXITS_BASELINE_H

#include <stdint.h>

/* The best single exit: accuracy [G + 1] of each, ties to the cheaper. */
int exits_baseline_static(const double accuracy[], const double costs[], int G, double budget);

/* shares_out [G + 1], of at most two exits not 0, sum 1; ties to the cheaper. */
void exits_baseline_random(const double accuracy[], const double costs[], int G, double budget,
                           double shares_out[]);

struct exits_baseline_point {
    double accuracy, cost;
};

/*
 * The oracle's accuracy and mean cost within the budget, exactly: samples that are right at once
 * cost the first exit, and the cheapest of the others go on as far as the budget lasts.
 * correct [n, G + 1] in.
 */
struct exits_baseline_point exits_baseline_oracle(const uint8_t correct[], const double costs[],
                                                  int64_t n, int G, double budget);

#endif
