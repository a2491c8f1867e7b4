/*
 * exits/exits_uncertainty.h - gates that predict how wrong their exit is.
 *
 * DeeDiff (S. Tang et al., 2023, arXiv:2309.17074), carried from the error of a regression
 * to classification:
 *
 *      u_l    = sigmoid(a_l)                 what the gate says: high means "go on"
 *      uhat_l = 1 - p_l(label) = 1 - e^-CE_l what it should have said, 0 .. 1
 *      L_u    = sum_l (u_l - uhat_l)^2       d L_u / da_l = 2 (u_l - uhat_l) u_l (1 - u_l)
 *
 * DeeDiff's own uhat is the mean of tanh |error|. L_u trains gates only and the weights
 * 1 - u_l (exits_weight.h) train heads only. If the gradient passed through uhat, a head
 * would be rewarded for error; through u in the heads' loss, gates for calling all exits
 * uncertain. Like all losses here L_u is the sum of one sample, divided once by the global
 * number of samples: as a sum over the batch, its share would follow the batch size.
 *
 * BERxiT's learning-to-exit (J. Xin et al., EACL 2021) is the same with uhat_l = 1[answer wrong] and
 * the mean over the exits, from one gate that all of them share. There its gradient reaches the
 * backbone; here gates read constants.
 *
 * Mind the sign: these gates let a sample leave when u_l is low.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_UNCERTAINTY_H
#define EXITS_EXITS_UNCERTAINTY_H

#include <math.h>

#include "exits/exits_probability.h"
#include "trainer/kernels/kern_fn.h"

/* targets_out [G] = uhat; loss [G] in, cross entropies >= 0. */
KERN_FN void exits_uncertainty_targets(const float loss[], int G, float targets_out[])
{
    for (int l = 0; l < G; l++) {
        targets_out[l] = (float)-expm1(-(double)loss[l]);
    }
}

/* Returns L_u; gates [G] logits and targets [G] in, dgates_out [G]. */
KERN_FN double exits_uncertainty_loss(const float gates[], const float targets[], int G,
                                      float dgates_out[])
{
    double sum = 0;

    for (int l = 0; l < G; l++) {
        const double u = (double)exits_sigmoid(gates[l]);
        const double certainty = (double)exits_sigmoid(-gates[l]);
        const double excess = u - (double)targets[l];

        sum += excess * excess;
        dgates_out[l] = (float)(2 * excess * u * certainty);
    }
    return sum;
}

/* The mean instead of the sum: 1 / G of L_u and of its gradient. */
KERN_FN double exits_error_loss(const float gates[], const float targets[], int G,
                                float dgates_out[])
{
    const double sum = exits_uncertainty_loss(gates, targets, G, dgates_out);

    for (int l = 0; l < G; l++) {
        dgates_out[l] /= (float)G;
    }
    return sum / G;
}

#endif
