/*
 * exits/exits_ponder.h - gates that learn to ponder: an expected loss, and a prior of where to leave.
 *
 *      L = sum_l P_l (CE_l + lambda c_l) + beta KL,    P the hazard product of exits_probability.h
 *
 *      EXITS_POSTERIOR_PRIOR   KL(P || Q) = sum_l P_l log (P_l / Q_l)
 *      EXITS_PRIOR_POSTERIOR   KL(Q || P) = sum_l Q_l log (Q_l / P_l)
 *
 * with Q_l = p (1 - p)^l, and what is left of it at the end. PonderNet (A. Banino et al., 2021,
 * arXiv:2107.05407) writes the first, with lambda 0; PALBERT (N. Balagansky and D. Gavrilov, NeurIPS
 * 2022, arXiv:2204.03276) says the same and its code computes the second, since the library's
 * function takes its arguments the other way round. The end takes all mass that is left in both
 * P and Q, so that they sum to 1; PALBERT's code leaves some out. Its gate reads the streams of two
 * layers and their position; here, as elsewhere, that of its own exit.
 *
 * The gradient by the heads is P_l that of CE_l: weights of their losses (exits_weight_jei(), with the
 * floor 0). On a frozen backbone, whose end is good from the first step, that ends badly: gates close
 * before heads have learnt anything, and closed gates teach no head. So there is a floor. By a
 * gate's logit, with V_l = d L / d P_l, the mass R_l that comes to l, and what it goes on to,
 * C_l = g_l V_l + (1 - g_l) C_{l+1}, C_G = V_G, it is R_l g_l (1 - g_l) (V_l - C_{l+1}).
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_PONDER_H
#define EXITS_EXITS_PONDER_H

#include <math.h>
#include <stdbool.h>

#include "trainer/kernels/kern_fn.h"

enum exits_divergence { EXITS_POSTERIOR_PRIOR, EXITS_PRIOR_POSTERIOR };

struct exits_ponder {
    double prior;  /* p, between 0 and 1 */
    double weight; /* beta */
    enum exits_divergence divergence;
};

/* log sigmoid(a), for any a. */
KERN_FN double exits_log_sigmoid(double a)
{
    return -(fmax(-a, 0.0) + log1p(exp(-fabs(a))));
}

/* log Q_l of G exits and the end. */
KERN_FN double exits_ponder_log_prior(const struct exits_ponder *ponder, int l, int G)
{
    return l * log1p(-ponder->prior) + (l < G ? log(ponder->prior) : 0);
}

/*
 * Returns L of one sample.
 *
 * gates       [G]      in, logits
 * objectives  [G + 1]  in, CE_l + lambda c_l; lost
 * dgates_out  [G]
 */
KERN_FN double exits_ponder_loss(const struct exits_ponder *ponder, const float gates[],
                                 double objectives[], int G, float dgates_out[])
{
    const bool is_reversed = ponder->divergence == EXITS_PRIOR_POSTERIOR;
    double log_left = 0, sum = 0;

    for (int l = 0; l <= G; l++) {
        const double log_p = log_left + (l < G ? exits_log_sigmoid((double)gates[l]) : 0);
        const double log_q = exits_ponder_log_prior(ponder, l, G), excess = log_p - log_q;
        const double p = exp(log_p);

        sum +=
            p * objectives[l] + ponder->weight * (is_reversed ? -exp(log_q) * excess : p * excess);
        objectives[l] += is_reversed ? 0 : ponder->weight * excess; /* V, but for a constant */
        log_left += l < G ? exits_log_sigmoid(-(double)gates[l]) : 0;
    }
    double onwards = objectives[G], later = exp(exits_ponder_log_prior(ponder, G, G));
    for (int l = G - 1; l >= 0; l--) {
        const double a = (double)gates[l];
        const double g = exp(exits_log_sigmoid(a)), stays = exp(exits_log_sigmoid(-a));
        const double q = exp(exits_ponder_log_prior(ponder, l, G));

        log_left -= exits_log_sigmoid(-a);
        double slope = exp(log_left) * g * stays * (objectives[l] - onwards);
        if (is_reversed) { /* V P = -beta Q, whatever P */
            slope += ponder->weight * (g * later - stays * q);
        }
        dgates_out[l] = (float)slope;
        onwards = g * objectives[l] + stays * onwards;
        later += q;
    }
    return sum;
}

#endif
