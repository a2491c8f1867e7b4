/*
 * exits/exits_threshold.h - thresholds for a price or a budget of compute, from validation data.
 *
 * Given the score every exit gave every sample, whether its prediction was right, and the
 * cost of each exit, find thresholds T [G] for the rule of exits_decide_threshold(), each
 * exit's own, +inf for an exit that is switched off:
 *
 *      for a price mu     minimise  error + mu * mean cost
 *      for a budget B     minimise  error  subject to  mean cost <= B
 *
 * where error is the share of samples whose chosen exit is wrong. Shared thresholds and
 * thresholds from a geometric family of exit shares (exits_threshold_geometric(), the usual
 * baseline) are special cases, and among the starts of the search. That matters: most of the
 * published advantage of learned gates over thresholds is that the geometric family forces
 * samples out at exits too weak for them.
 *
 * Method: coordinate search. With the other thresholds fixed, the best T_l is found exactly
 * by walking the samples that reach l in the order of their scores; from the last exit to
 * the first, until a whole round brings nothing. The joint problem is not convex and has
 * local minima, hence several starts: nobody leaves, everybody leaves at l (for each l), the
 * best shared threshold, a geometric family. The result is never worse than any start. For a
 * budget, mu is found between the solutions on its two sides: it is set to the price at which
 * both are equally good, and what is better there replaces one, until they are neighbours on
 * the lower convex hull of what is possible. Then the vertex that keeps the budget, and every
 * start that does, are improved by the same search under the constraint itself, which finds
 * points between those of the hull.
 *
 * A threshold lies half-way between the scores of the last sample that leaves and the first
 * that stays. All is deterministic, and independent of the order of the samples but for
 * choices between equally good points.
 *
 * Threads: any. Memory: about (4 G + 16) n bytes while a function runs.
 */
#ifndef EXITS_EXITS_THRESHOLD_H
#define EXITS_EXITS_THRESHOLD_H

#include <stdint.h>

#include "comm/base/err.h"

enum { EXITS_THRESHOLD_EXITS_MAX = 256 };

struct exits_scored {
    int64_t n;              /* 1 .. INT32_MAX */
    int G;                  /* 1 .. EXITS_THRESHOLD_EXITS_MAX */
    const float *scores;    /* [n, G], finite, growing with certainty */
    const uint8_t *correct; /* [n, G + 1], 1 if that exit's prediction is right, else 0 */
    const double *costs;    /* [G + 1], > 0, ascending, in any unit */
};

/* Whether n, G and the scores are as above; of costs each solver wants its own. ERR_INVALID. */
ERR_MUST_CHECK enum err exits_scored_check(const struct exits_scored *scored);

struct exits_point {
    double error; /* 0 .. 1 */
    double cost;  /* mean, in the unit of costs */
};

/* What thresholds [G] are worth on these samples. Cannot fail. */
struct exits_point exits_threshold_measure(const struct exits_scored *scored,
                                           const double thresholds[]);

/*
 * For a price mu >= 0, in errors per unit of cost. thresholds_out [G].
 *
 * Errors: ERR_INVALID if n, G, a score or the costs are outside the above; ERR_NO_MEMORY.
 * Cost: G sorts of n values, then G + 3 starts of a few rounds each, a round walking n G
 * scores; grows as n G^2.
 */
ERR_MUST_CHECK enum err exits_threshold_for_price(const struct exits_scored *scored, double price,
                                                  double thresholds_out[],
                                                  struct exits_point *point_out);

/*
 * For each of an ascending list of budgets of mean cost. A solution is also a start for the
 * next budget, so errors never rise along the list. A budget is kept to within 1e-9 of it.
 *
 * budgets         [count]     in, ascending
 * thresholds_out  [count, G]
 * points_out      [count]
 *
 * Errors: as above; ERR_INVALID also for a budget below the cost of the first exit, which
 * nothing can keep. Cost: about three solutions for a price for each budget.
 */
ERR_MUST_CHECK enum err exits_threshold_for_budgets(const struct exits_scored *scored,
                                                    const double budgets[], int count,
                                                    double thresholds_out[],
                                                    struct exits_point points_out[]);

/*
 * The threshold that is best when all exits share it, for one budget: what Shallow-Deep Networks,
 * BranchyNet with one entropy, and PALBERT's Q-exit have. Everything as above, exactly.
 */
ERR_MUST_CHECK enum err exits_threshold_shared(const struct exits_scored *scored, double budget,
                                               double thresholds_out[],
                                               struct exits_point *point_out);

/*
 * The baseline of MSDNet (G. Huang et al., "Multi-Scale Dense Networks", ICLR 2018, budgeted
 * batch classification): shares of the samples p_l ~ ratio^l, l = 0 .. G, sum 1; T_l is the
 * score of the floor(n p_l)-th most certain sample that has not left before. Its code takes
 * ratios 1/20, 2/20 .. 39/20. thresholds_out [G]; +inf where the share is no sample.
 * Errors: as above.
 */
ERR_MUST_CHECK enum err exits_threshold_geometric(const struct exits_scored *scored, double ratio,
                                                  double thresholds_out[]);

#endif
