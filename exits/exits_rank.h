/*
 * exits/exits_rank.h - samples in the order of their scores.
 *
 * Thresholds, quantiles and bins of all exit rules begin with this order, hundreds of times in an
 * evaluation: so it is a radix sort, by the four bytes of a float (D. Knuth, "The Art of Computer
 * Programming", volume 3, section 5.2.5).
 *
 * Threads: any.
 */
#ifndef EXITS_EXITS_RANK_H
#define EXITS_EXITS_RANK_H

#include <stdint.h>

struct exits_ranked {
    float score;
    uint32_t sample;
};

/*
 * Sorts by score, the lowest first; what is equal, as -0 and 0 are, keeps its order. For the highest
 * first give -score.
 *
 * ranked   [n]  in and out; no score is NaN
 * scratch  [n]  overwritten
 *
 * Cost: 5 passes over n entries.
 */
void exits_rank(struct exits_ranked ranked[], struct exits_ranked scratch[], int64_t n);

#endif
