/*
 * exits/exits_ensemble.h - an exit's answer from those of all exits so far.
 *
 *      e_m = (1 / (m + 1)) sum_{j<=m} exp(w_mj) log softmax(z_j) + b_m      answer: softmax(e_m)
 *
 * Zero-Time-Waste (M. Wolczyk et al., NeurIPS 2021, arXiv:2106.05409): the geometric mean of the heads'
 * probabilities, with weights and a bias per exit that are trained for the cross entropy of the
 * answer; the heads are constants for them. The final classifier is not among the members.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_ENSEMBLE_H
#define EXITS_EXITS_ENSEMBLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "trainer/kernels/kern_fn.h"

/* Exit m and its members; arrays in the device's memory. Those of exit j begin j strides further. */
struct exits_ensemble {
    int64_t n, K;
    int members;         /* m + 1 */
    const float *logits; /* [n, K] each, z_j */
    const float *lse;    /* [n] each, of z_j */
    int64_t stride;
    const float *weights; /* [members], w */
    const float *bias;    /* [K] */
    float *answer;        /* [n, K] out, e; of the forward pass */

    /* Of the backward pass. */
    const float *danswer;    /* [n, K], the gradient by e */
    float *dweights, *dbias; /* [members], [K], in and out */
    bool accumulate;         /* false: overwritten */
};

#ifdef __cplusplus
extern "C" {
#endif

typedef void exits_ensemble_fn(const struct exits_ensemble *ensemble);

/* On host memory; and on a CUDA device, on this thread's current stream. */
exits_ensemble_fn exits_ensemble_forward_cpu, exits_ensemble_forward_cuda;
exits_ensemble_fn exits_ensemble_backward_cpu, exits_ensemble_backward_cuda;

#ifdef __cplusplus
}
#endif

/* log softmax(z_j) of class k of sample i. */
KERN_FN double exits_ensemble_log_prob(const struct exits_ensemble *ensemble, int j, int64_t i,
                                       int64_t k)
{
    return (double)ensemble->logits[j * ensemble->stride + i * ensemble->K + k] -
           (double)ensemble->lse[j * ensemble->stride + i];
}

/* e of sample i. */
KERN_FN void exits_ensemble_sample(const struct exits_ensemble *ensemble, int64_t i)
{
    for (int64_t k = 0; k < ensemble->K; k++) {
        double sum = 0;
        for (int j = 0; j < ensemble->members; j++) {
            sum += exp((double)ensemble->weights[j]) * exits_ensemble_log_prob(ensemble, j, i, k);
        }
        ensemble->answer[i * ensemble->K + k] =
            (float)(sum / ensemble->members + (double)ensemble->bias[k]);
    }
}

/* The gradient of parameter `which`, over the samples in their order: a weight, or of the bias. */
KERN_FN void exits_ensemble_slope(const struct exits_ensemble *ensemble, int64_t which)
{
    const int64_t K = ensemble->K, k = which - ensemble->members;
    const int j = (int)which;
    float *to = k < 0 ? &ensemble->dweights[which] : &ensemble->dbias[k];
    double sum = 0;

    for (int64_t i = 0; i < ensemble->n; i++) {
        const float *de = ensemble->danswer + i * K;
        if (k >= 0) {
            sum += (double)de[k];
            continue;
        }
        for (int64_t c = 0; c < K; c++) {
            sum += (double)de[c] * exits_ensemble_log_prob(ensemble, j, i, c);
        }
    }
    if (k < 0) {
        sum *= exp((double)ensemble->weights[j]) / ensemble->members;
    }
    *to = (ensemble->accumulate ? *to : 0) + (float)sum;
}

#endif
