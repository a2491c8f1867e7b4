/*
 * exits/exits_score.h - the number that lets a sample leave, in one sense for all methods.
 *
 * A sample leaves at the first exit whose score is >= the exit's threshold. Two scores have
 * thresholds by definition (exits_score_threshold()); those of the others are solved on
 * validation samples (exits_threshold.h). Where published code has > (Q-exit), here it is >=.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_SCORE_H
#define EXITS_EXITS_SCORE_H

#include <stdbool.h>

#include "exits/exits_probability.h"
#include "trainer/kernels/kern_fn.h"

/* All grow with certainty. */
enum exits_score {
    EXITS_SCORE_HAZARD,     /* the probability to leave here, of those that came here */
    EXITS_SCORE_CERTAINTY,  /* minus the gate's logit, for gates that predict uncertainty */
    EXITS_SCORE_MAX_PROB,   /* the largest probability of the exit's answer */
    EXITS_SCORE_CUMULATIVE, /* the probability to have left by here: PALBERT's Q-exit */
};

/*
 * The score at `exit`, from the gates' logits up to it, gates [exit + 1], and the exit's
 * largest probability. Gates before it are read where exits_score_accumulates().
 */
float exits_score_at(enum exits_score score, enum exits_form form, const float gates[],
                     float max_prob, int exit);

/* Whether scores of later exits follow from the gate of this one, too. */
bool exits_score_accumulates(enum exits_score score, enum exits_form form);

/* Whether a score has one threshold by definition, and which. */
bool exits_score_threshold(enum exits_score score, double *threshold_out);

/* The probability to have left at `exit` or before; gates [exit + 1]. */
KERN_FN float exits_score_cumulative(enum exits_form form, const float gates[], int exit)
{
    float left = 1;

    for (int l = 0; l <= exit; l++) {
        left = form == EXITS_HAZARD ? left * exits_sigmoid(-gates[l])
                                    : left - fminf(left, exits_sigmoid(gates[l]));
    }
    return 1 - left;
}

/* Where a sample with these gates [G] leaves by definition; of uncertainty, where 1/2 would be too much. */
KERN_FN int exits_score_exit(enum exits_score score, enum exits_form form, const float gates[],
                             int G)
{
    int exit = 0;

    switch (score) {
    case EXITS_SCORE_HAZARD: return exits_hard_exit(form, gates, G);
    case EXITS_SCORE_CERTAINTY:
        while (exit < G && gates[exit] > 0) {
            exit++;
        }
        return exit;
    case EXITS_SCORE_CUMULATIVE:
        while (exit < G && exits_score_cumulative(form, gates, exit) < 0.5f) {
            exit++;
        }
        return exit;
    case EXITS_SCORE_MAX_PROB: break;
    }
    return G;
}

#endif
