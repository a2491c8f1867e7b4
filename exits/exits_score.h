/*
 * exits/exits_score.h - the number that lets a sample leave, in one sense for all methods and rules.
 *
 *      HAZARD      h_l of the gates (exits_probability.h), 0 .. 1
 *      CERTAINTY   -a_l, of gates that predict how wrong their exit is (exits_uncertainty.h)
 *      MAX_PROB    the largest probability of the exit's answer
 *      CUMULATIVE  sum_{j<=l} P_j of the gates: the probability to have left by here, PALBERT's Q-exit
 *      MARGIN      the largest probability less the second largest
 *      ENTROPY     1 - H(p) / ln K, 0 .. 1
 *      AGREEMENT   how many exits in a row, this one last, said what the one before them said
 *
 * A sample leaves at the first exit whose score is >= the exit's threshold. Two scores have
 * thresholds by definition (exits_score_threshold()); those of the others are solved on
 * validation samples (exits_rule.def). Where published code has > (Q-exit), here it is >=.
 *
 * CUMULATIVE and AGREEMENT, and HAZARD in the direct form, follow from what earlier exits said of the
 * sample as well: exits_score_next() is told the exits of a sample in their order, none left out.
 * Evaluation and inference both call it, so they agree to the last bit.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_SCORE_H
#define EXITS_EXITS_SCORE_H

#include <stdbool.h>
#include <stdint.h>

#include "exits/exits_probability.h"
#include "trainer/kernels/kern_fn.h"

/* All grow with certainty. */
enum exits_score {
    EXITS_SCORE_HAZARD,
    EXITS_SCORE_CERTAINTY,
    EXITS_SCORE_MAX_PROB,
    EXITS_SCORE_CUMULATIVE,
    EXITS_SCORE_MARGIN,
    EXITS_SCORE_ENTROPY,
    EXITS_SCORE_AGREEMENT,
    EXITS_SCORE_COUNT
};

const char *exits_score_name(enum exits_score score); /* "max_prob" */

bool exits_score_reads_gates(enum exits_score score); /* and costs what gates cost */

/* What one exit said of one sample. */
struct exits_said {
    const float *features; /* [4], standardised: exits_net.h */
    float gate;            /* logit */
    int32_t predicted;
};

/* What is kept of a sample from exit to exit. */
struct exits_score_state {
    int exit;   /* the next one */
    float left; /* probability not to have left before it */
    int32_t last, agreed;
};

struct exits_score_state exits_score_begin(void);

float exits_score_next(enum exits_score score, enum exits_form form, const struct exits_said *said,
                       struct exits_score_state *state);

/* What all exits said of n samples. */
struct exits_answers {
    int64_t n;
    int G;
    const float *features;    /* [n, G, 4] */
    const float *gates;       /* [n, G] */
    const int32_t *predicted; /* [n, G + 1], the end last */
};

/* scores_out [n, G]. */
void exits_scores(enum exits_score score, enum exits_form form, const struct exits_answers *answers,
                  float scores_out[]);

/*
 * A score of gates, or MAX_PROB, at `exit`, from the gates' logits up to it, gates [exit + 1], and the
 * exit's largest probability. Gates before it are read where exits_score_accumulates().
 */
float exits_score_at(enum exits_score score, enum exits_form form, const float gates[],
                     float max_prob, int exit);

/* Whether scores of later exits follow from what this one says, too, so that none may be left out. */
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
    default: break; /* no score of gates: all stay */
    }
    return G;
}

#endif
