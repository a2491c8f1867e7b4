/*
 * exits/exits_mixture.h - heads and gates trained for the answer of all exits together.
 *
 *      Y = sum_l P_l y_l,   C = sum_l P_l c_l,   L = -log Y + lambda C
 *
 * with y_l = e^-CE_l the probability of the label at exit l, and P the hazard product of
 * exits_probability.h: the same as Y_l = g_l y_l + (1 - g_l) Y_{l+1} from the end on, for gates g. A. Lahiany and
 * Y. Aperstein, "PTEENet", IEEE Access 2022 (spokV/PTEENET). It is the likelihood of a sample that draws its
 * exit, and never above the expected cross entropy of exits_expect().
 *
 * The gradient by CE_l is the exit's share of the answer, r_l = P_l y_l / Y: weights of the heads' losses that
 * sum to 1. By the gates it is that of sum_l P_l V_l with V_l = lambda c_l - y_l / Y held: exits_ponder_loss()
 * without a prior.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_MIXTURE_H
#define EXITS_EXITS_MIXTURE_H

#include <math.h>

#include "exits/exits_ponder.h"
#include "trainer/kernels/kern_fn.h"

/* The least cross entropy: y of that exit is 1 in what follows, so that no exp() of all is 0. */
KERN_FN double exits_mixture_least(const float loss[], int G)
{
    double least = (double)loss[0];

    for (int l = 1; l <= G; l++) {
        least = fmin(least, (double)loss[l]);
    }
    return least;
}

/* P_l, and *left, which is 1 before the first exit, becomes what goes on. */
KERN_FN double exits_mixture_leave(const float gates[], int l, int G, double *left)
{
    const double small = l < G ? exp(-fabs((double)gates[l])) : 0;
    const bool is_open = l == G || gates[l] >= 0;
    const double p = *left * (is_open ? 1 : small) / (1 + small);

    *left *= (is_open ? small : 1) / (1 + small);
    return p;
}

/* Y; not 0 where gates are shut for all that matters. */
KERN_FN double exits_mixture_answer(const float gates[], const float loss[], double least, int G)
{
    double left = 1, answer = 1e-300;

    for (int l = 0; l <= G; l++) {
        answer += exits_mixture_leave(gates, l, G, &left) * exp(least - (double)loss[l]);
    }
    return answer;
}

/*
 * gates       [G]      in, logits
 * loss        [G + 1]  in, CE_l
 * shares_out  [G + 1]  r_l
 */
KERN_FN void exits_mixture_shares(const float gates[], const float loss[], int G,
                                  float shares_out[])
{
    const double least = exits_mixture_least(loss, G);
    const double answer = exits_mixture_answer(gates, loss, least, G);
    double left = 1;

    for (int l = 0; l <= G; l++) {
        shares_out[l] = (float)(exits_mixture_leave(gates, l, G, &left) *
                                exp(least - (double)loss[l]) / answer);
    }
}

/* The prior that exits_ponder_loss() is to have: none. */
KERN_FN struct exits_ponder exits_mixture_ponder(void)
{
    const struct exits_ponder without_prior = {0.5, 0, EXITS_POSTERIOR_PRIOR};

    return without_prior;
}

/*
 * Of one sample: L is exits_ponder_loss() of these objectives.
 *
 * gates, loss     as above
 * costs           [G + 1]  in; lambda >= 0
 * objectives_out  [G + 1]  V_l and a constant, for sum_l P_l is 1, and sum_l P_l y_l / Y too
 */
KERN_FN void exits_mixture_objectives(const float gates[], const float loss[], const double costs[],
                                      double lambda, int G, double objectives_out[])
{
    const double least = exits_mixture_least(loss, G);
    const double answer = exits_mixture_answer(gates, loss, least, G);
    const double constant = 1 + least - log(answer);

    for (int l = 0; l <= G; l++) {
        objectives_out[l] = constant + lambda * costs[l] - exp(least - (double)loss[l]) / answer;
    }
}

#endif
