/*
 * exits/exits_gate_loss.h - the loss of a sample's gates: weighted binary cross entropy.
 *
 *      loss     = sum_l  w_l t_l softplus(-a_l) + (1 - t_l) softplus(a_l)
 *      d / da_l = (1 - t_l) sigmoid(a_l) - w_l t_l sigmoid(-a_l)
 *
 * with softplus(a) = log(1 + e^a). JEI-DNN's gate step (Regol et al., ICLR 2024) on the
 * targets and weights of exits_target.h.
 *
 * Both are sums over the G gates of one sample. The published loss is the mean over N
 * samples and G gates: add up the sums of all samples on all ranks and divide once, by the
 * global N G. A mean of the ranks' means is another number when ranks hold different N.
 *
 * Threads: any. Allocates nothing, cannot fail.
 */
#ifndef EXITS_EXITS_GATE_LOSS_H
#define EXITS_EXITS_GATE_LOSS_H

#include <math.h>
#include <stddef.h>

#include "trainer/kernels/kern_fn.h"

/*
 * gates      [G]  in, logits, any finite value
 * targets    [G]  in, 0 .. 1
 * weights    [G]  in, of open targets; NULL: all 1
 * dgates_out [G]  the gradient of the returned sum by the logits
 */
KERN_FN double exits_gate_loss(const float gates[], const float targets[], const float weights[],
                               int G, float dgates_out[])
{
    double sum = 0;

    for (int l = 0; l < G; l++) {
        const double a = (double)gates[l];
        const double closed = 1 - (double)targets[l];
        const double open = (double)targets[l] * (weights == NULL ? 1 : (double)weights[l]);
        const double small = exp(-fabs(a)); /* 0 .. 1: nothing below can overflow */
        const double tail = log1p(small);
        const double near_1 = 1 / (1 + small), near_0 = small / (1 + small);

        sum += closed * (fmax(a, 0.0) + tail) + open * (fmax(-a, 0.0) + tail);
        dgates_out[l] =
            (float)(a >= 0 ? closed * near_1 - open * near_0 : closed * near_0 - open * near_1);
    }
    return sum;
}

#endif
