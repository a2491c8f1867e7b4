/*
 * exits/exits_weight.h - how much the cross entropy of each exit counts in the heads' loss.
 *
 *      loss of a sample = sum_l W_l CE_l
 *
 * The weights are constants: no gradient passes through them, whatever they were computed
 * from. Where it does, the published losses turn into others:
 *
 * - JEI-DNN rescales sum_l P_l CE_l to sum_l CE_l per sample. With the scale inside the
 *   gradient the P cancel, and every head is trained equally; so there is no scale here.
 * - With the uncertainty 1 - p(label) inside the gradient, a sample with CE > 1 is pushed
 *   away from its label (exits_uncertainty.h).
 *
 * `count` is the number of exits that are trained: G with a frozen final classifier, G + 1
 * when the final one is among them, last. weights_out is [count] everywhere.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_WEIGHT_H
#define EXITS_EXITS_WEIGHT_H

#include <math.h>

#include "trainer/kernels/kern_fn.h"

/*
 * W_l = (1 - floor) P_l + floor / count. JEI-DNN (Regol et al., ICLR 2024), without its
 * scale; the floor, 0 .. 1, keeps heads alive that the gates do not choose yet.
 * probabilities [count] in.
 */
KERN_FN void exits_weight_jei(const float probabilities[], int count, double floor,
                              float weights_out[])
{
    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)((1 - floor) * (double)probabilities[l] + floor / count);
    }
}

/*
 * W_l = max(1 - u_l, floor). DeeDiff (S. Tang et al., 2023, arXiv:2309.17074), the
 * uncertainty-aware layer loss. Without a floor "all exits bad and all u = 1" is a minimum.
 * uncertainties [count] in, 0 .. 1.
 */
KERN_FN void exits_weight_certainty(const float uncertainties[], int count, double floor,
                                    float weights_out[])
{
    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)fmax(1 - (double)uncertainties[l], floor);
    }
}

/* W_l = 1 / count. */
KERN_FN void exits_weight_uniform(int count, float weights_out[])
{
    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)(1.0 / count);
    }
}

/* W_l = (l + 1) / sum_j (j + 1). PABEE (W. Zhou et al., NeurIPS 2020, arXiv:2006.04152). */
void exits_weight_linear(int count, float weights_out[]);

/* W_l = (l + 1) / (count (count + 1)). EENet (F. Ilhan et al., WACV 2024); sums to 1/2. */
void exits_weight_depth(int count, float weights_out[]);

/* W_l = count - l: the earliest most, the last 1. JEI-DNN's warm-up, with count = G + 1. */
void exits_weight_descending(int count, float weights_out[]);

/*
 * W_l = min(C_l, 0.01 + C_l e / E), e of E epochs done. Shallow-Deep Networks (Y. Kaya et
 * al., ICML 2019, arXiv:1810.07052); the final classifier has weight 1 beside them. peaks [count]
 * in, C: the published choice is each exit's share of the whole cost.
 */
void exits_weight_ramp(const float peaks[], int count, double epoch, double epoch_count,
                       float weights_out[]);

/*
 * sum_l W_l CE_l, of any weights: an explicit list is BranchyNet's (S. Teerapittayanon et
 * al., ICPR 2016). weights, loss [count] in.
 */
double exits_weighted_loss(const float weights[], const float loss[], int count);

#endif
