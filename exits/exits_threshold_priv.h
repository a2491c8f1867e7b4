/*
 * exits/exits_threshold_priv.h - the searches behind exits_threshold.h.
 *
 * Everything here counts in sums over the n samples; only the public functions divide.
 */
#ifndef EXITS_EXITS_THRESHOLD_PRIV_H
#define EXITS_EXITS_THRESHOLD_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_threshold.h"

/* Ratios of the geometric family: 1/20 .. 39/20, as published. */
enum { THRESHOLD_RATIOS = 39, THRESHOLD_RATIO_DENOMINATOR = 20 };

/* Room to search in, and the samples of each exit in the order of their scores. */
struct threshold_search {
    const struct exits_scored *scored;
    int32_t *order;                 /* [G, n], by score, the highest first */
    float *sorted;                  /* [G, n], those scores */
    int32_t *early;                 /* [n] */
    int32_t *later;                 /* [n] */
    struct threshold_point *family; /* [THRESHOLD_RATIOS] */
    bool has_family;
};

/* Minimise errors + price * cost among what costs no more than `budget`, or +inf. */
struct threshold_goal {
    double price;
    double budget;
};

struct threshold_point {
    double thresholds[EXITS_THRESHOLD_EXITS_MAX]; /* [G] */
    double errors;
    double cost;
};

/* Checks `scored`, which is lent. Errors: ERR_INVALID, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err threshold_search_init(struct threshold_search *search,
                                              const struct exits_scored *scored);
void threshold_search_release(struct threshold_search *search);

/* Errors: ERR_INVALID for a budget that nothing keeps. */
ERR_MUST_CHECK enum err threshold_check_budget(const struct exits_scored *scored, double budget);

/* Fills in errors and cost of the point's thresholds. */
void threshold_measure(const struct exits_scored *scored, struct threshold_point *point);

bool threshold_is_better(const struct exits_scored *scored, const struct threshold_goal *goal,
                         const struct threshold_point *point, const struct threshold_point *than);

/* Coordinate search from `point` until nothing improves. */
void threshold_improve(struct threshold_search *search, const struct threshold_goal *goal,
                       struct threshold_point *point);

/* Everybody who reaches `exit` leaves there and nobody before; at G nobody leaves. */
void threshold_always(const struct threshold_search *search, int exit,
                      struct threshold_point *point_out);

/* The best threshold that is the same at all exits. */
void threshold_shared(struct threshold_search *search, const struct threshold_goal *goal,
                      struct threshold_point *point_out);

/* One of the geometric family; and all published ones, lent, found once in a search. */
void threshold_geometric(struct threshold_search *search, double ratio,
                         struct threshold_point *point_out);
const struct threshold_point *threshold_family(struct threshold_search *search);

#endif
