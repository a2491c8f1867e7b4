/*
 * exits/exits_focal.h - the focal loss of a head: samples that it has right already count less.
 *
 *      FL = A_y (1 - p)^gamma CE,   p = e^-CE the probability of the label y
 *
 * T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv:1708.02002). The weights A of
 * the classes are those of the effective number of samples, so that rare ones are not drowned:
 *
 *      A_k proportional to (1 - beta) / (1 - beta^n_k),  sum_k A_k = K
 *
 * for n_k samples of class k: Y. Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR
 * 2019 (arXiv:1901.05555).
 *
 * (1 - p)^gamma is not held constant: FL is a function of CE alone, and its slope
 *
 *      dFL/dCE = A_y (1 - p)^gamma (1 + gamma p CE / (1 - p))
 *
 * is the weight that the gradient of the cross entropy gets.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_FOCAL_H
#define EXITS_EXITS_FOCAL_H

#include <math.h>
#include <stdint.h>

#include "trainer/kernels/kern_fn.h"

/* FL and, in *slope_out, dFL/dCE, without A_y. cross_entropy: what rounding leaves below 0 is 0; gamma >= 0. */
KERN_FN double exits_focal_loss(double cross_entropy, double gamma, double *slope_out)
{
    const double loss = fmax(cross_entropy, 0.0);
    const double p = exp(-loss), rest = 1 - p;
    const double power = gamma > 0 ? exp(gamma * log(rest)) : 1;
    const double ratio = rest > 0 ? loss / rest : 1; /* its limit */

    *slope_out = power * (1 + gamma * p * ratio);
    return power * loss;
}

/* counts [K] in, samples of each class; 0 <= beta < 1; weights_out [K]; a class without samples has 0. */
void exits_focal_class_weights(const int64_t counts[], int64_t K, double beta, float weights_out[]);

#endif
