/*
 * exits/exits_probability.h - from the logits of a sample's gates to where it leaves.
 *
 * With g_l = sigmoid(a_l) for the gates l = 0 .. G-1, the sample leaves at exit l with
 * probability P_l and stays to the end with P_G; the P sum to 1.
 *
 *      EXITS_HAZARD  P_l = g_l prod_{j<l} (1 - g_j)             P_G = prod_{j<G} (1 - g_j)
 *      EXITS_DIRECT  P_l = min(g_l, 1 - sum_{j<l} P_j)          P_G = 1 - sum_{j<G} P_j
 *
 * The hazard h_l is the probability to leave at l of a sample that came as far as l. Used
 * without randomness, the gates let a sample leave at the first l with h_l >= 1/2, ties
 * included, and at the end if there is none.
 *
 * EXITS_DIRECT is the published form: F. Regol et al., "Jointly-Learned Exit and Inference
 * for a Dynamic Neural Network" (JEI-DNN), ICLR 2024. Its trap: the early gates can use up
 * all the mass, behind which later gates have no gradient; and a hazard there is 0/0, which
 * is 1 here (whoever comes that far leaves), where a NaN would never leave. EXITS_HAZARD has
 * neither (A. Banino et al., "PonderNet: Learning to Ponder", 2021, arXiv:2107.05407) and is the default.
 *
 * Threads: any. Nothing here allocates or fails. Cost: G exponentials.
 */
#ifndef EXITS_EXITS_PROBABILITY_H
#define EXITS_EXITS_PROBABILITY_H

#include <math.h>

#include "trainer/kernels/kern_fn.h"

enum exits_form { EXITS_HAZARD, EXITS_DIRECT };

/* 1 / (1 + e^-a), without overflow for any a. */
KERN_FN float exits_sigmoid(float a)
{
    const double small = exp(-fabs((double)a));

    return (float)(a >= 0 ? 1 / (1 + small) : small / (1 + small));
}

/*
 * gates              [G]      in, logits
 * probabilities_out  [G + 1]  P; sums to 1 within 1e-6
 */
KERN_FN void exits_probability(enum exits_form form, const float gates[], int G,
                               float probabilities_out[])
{
    float left = 1; /* the mass that has not left yet */

    for (int l = 0; l < G; l++) {
        const float g = exits_sigmoid(gates[l]);
        if (form == EXITS_HAZARD) {
            probabilities_out[l] = g * left;
            left *= exits_sigmoid(-gates[l]); /* 1 - g would lose the digits of a g near 1 */
        } else {
            probabilities_out[l] = fminf(g, left);
            left -= probabilities_out[l];
        }
    }
    probabilities_out[G] = left;
}

/* gates [G] in, logits; hazards_out [G], 0 .. 1. */
void exits_hazards(enum exits_form form, const float gates[], int G, float hazards_out[]);

/*
 * The exit, 0 .. G, at which a sample with these gates [G] leaves. With EXITS_HAZARD this is
 * the first gate whose logit is >= 0.
 */
KERN_FN int exits_hard_exit(enum exits_form form, const float gates[], int G)
{
    float left = 1;

    for (int l = 0; l < G; l++) {
        if (form == EXITS_HAZARD) {
            /* On the logit: g rounds to 1/2 already for logits a little below 0. */
            if (gates[l] >= 0) {
                return l;
            }
        } else {
            const float g = exits_sigmoid(gates[l]);
            if (g >= left / 2) {
                return l;
            }
            left -= g;
        }
    }
    return G;
}

struct exits_expectation {
    double loss;      /* E[CE] = sum_l P_l CE_l */
    double cost;      /* E[c]  = sum_l P_l c_l */
    double objective; /* E[CE] + lambda E[c] */
};

/*
 * What a sample costs on average when its exit is drawn from P: JEI-DNN's objective. It is
 * not the cost of the hard rule; that one is measured (exits_tally.h).
 *
 * probabilities, loss, costs  [G + 1] in; lambda >= 0
 */
struct exits_expectation exits_expect(const float probabilities[], const float loss[],
                                      const double costs[], double lambda, int G);

#endif
