/*
 * exits/exits_budget.h - the published ways from a budget of compute to thresholds.
 *
 * Each is told validation samples (struct exits_scored) and a budget of mean cost, in the unit of the
 * costs: multiply-adds, or milliseconds measured for each exit. The free thresholds of
 * exits_threshold.h contain all of these but the patience; they are here to be compared with.
 *
 * In common: the result keeps the budget on the samples given, point_out is what it is worth there, and
 * does not depend on the order of the samples. Errors: ERR_INVALID for what exits_threshold.h refuses
 * and a budget below the cost of the first exit; ERR_NO_MEMORY.
 *
 * Threads: any. Memory: that of exits_threshold.h.
 */
#ifndef EXITS_EXITS_BUDGET_H
#define EXITS_EXITS_BUDGET_H

#include "comm/base/err.h"
#include "exits/exits_threshold.h"

/*
 * MSDNet (G. Huang et al., ICLR 2018): of the series with ratios 1/20, 2/20 .. 39/20
 * (exits_threshold_geometric()) the one with the fewest errors that keeps the budget; where none
 * does, everybody leaves at the first exit. Cost: one sort of n values an exit, 39 passes.
 */
ERR_MUST_CHECK enum err exits_budget_geometric(const struct exits_scored *scored, double budget,
                                               double thresholds_out[],
                                               struct exits_point *point_out);

/*
 * DeeR (Y. Yue et al., NeurIPS 2024), the mean budget: the ratio of the same series, 1e-3 .. 1e3, is
 * bisected until the mean cost is as near to the budget as whole samples allow. It spends the
 * budget, whether that helps or not, as published. Cost: 30 passes.
 */
ERR_MUST_CHECK enum err exits_budget_mean(const struct exits_scored *scored, double budget,
                                          double thresholds_out[], struct exits_point *point_out);

/*
 * DeeR, the budget of the peak: no sample may cost more than `peak`. The cap is the last exit that
 * costs no more; everybody who comes there leaves (threshold -inf), later ones are off (+inf) and
 * their layers are never computed, or loaded. Before the cap the thresholds are free, for a mean cost
 * within `budget`; +inf for no budget but the peak. *cap_out 0 .. G.
 * Errors: also ERR_INVALID for a peak below the cost of the first exit.
 */
ERR_MUST_CHECK enum err exits_budget_peak(const struct exits_scored *scored, double peak,
                                          double budget, double thresholds_out[], int *cap_out,
                                          struct exits_point *point_out);

/*
 * PABEE (W. Zhou et al., NeurIPS 2020): the patience with the fewest errors that keeps the budget,
 * 1 .. G, or 0, which always goes to the end; of equal ones the cheapest. scored->scores are
 * agreements (EXITS_SCORE_AGREEMENT), against which the thresholds are the patience at every exit
 * (+inf for 0). Where no patience keeps the budget, for a patience of 1 cannot leave before the second
 * exit, *patience_out is -1 and everybody leaves at the first exit.
 */
ERR_MUST_CHECK enum err exits_budget_patience(const struct exits_scored *scored, double budget,
                                              double thresholds_out[], int *patience_out,
                                              struct exits_point *point_out);

#endif
