/*
 * trainer/kernels/kern_xent.h - softmax, cross entropy and the four features of a gate,
 * in one pass over the logits.
 *
 *      lse(z) = log sum_k exp z_k,   p = softmax(z),   q = softmax(2z)
 *      loss = lse(z) - z_label
 *      features: 0  p_max
 *                1  H(p) = lse(z) - sum p z                nats
 *                2  p(1) - p(2), the margin of the two largest
 *                3  H(q) = lse(2z) - 2 sum q z             nats; q_k = p_k^2 / sum p^2
 *
 * F. Regol et al., "Jointly-Learned Exit and Inference for a Dynamic Neural Network
 * (JEI-DNN)", ICLR 2024, the gate's inputs. The entropies are taken from log-sum-exps:
 * p log p is NaN at p = 0, and exp overflows above 88. All logits are shifted by their
 * maximum first, which leaves H a sum of two terms that are never negative:
 *
 *      t = z - z_max,   s = sum exp t,   H(p) = log s - (sum t exp t) / s
 *
 * so that neither large logits nor one-hot rows cost digits.
 *
 * |fast - portable| <= KERN_XENT_TOLERANCE * max(1, |portable|) for |z| <= 30.
 */
#ifndef TRAINER_KERNELS_KERN_XENT_H
#define TRAINER_KERNELS_KERN_XENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERN_XENT_TOLERANCE 4e-6f

enum { KERN_XENT_FEATURES = 4 };

/* Per row; any pointer may be NULL if its values are not wanted. */
struct kern_xent_out {
    float *loss;        /* [N], nats; needs labels */
    float *lse;         /* [N], lse(z), for the backward pass */
    float *features;    /* [N, 4], as above, not standardised */
    int32_t *predicted; /* [N], argmax, the lowest index on ties */
    float *bad; /* [1], in and out: the rows with a logit that is NaN or infinite are added */
};

/*
 * z       [N, K]  in, contiguous, N >= 0, K >= 2
 * label   [N]     in, 0 .. K-1; NULL if loss is not wanted
 *
 * A row with a logit that is NaN or infinite has NaN for loss, lse and features and 0 for
 * predicted, and is counted in `bad`; the caller reports it.
 */
typedef void kern_xent_forward_fn(const struct kern_xent_out *out, const float *z,
                                  const int32_t *label, int64_t N, int64_t K);

/*
 * Since lse is a float, p is good to about 1e-7 * max(1, |lse|) relative: harmless for
 * the logits of a model that trains, and no more than a direction for |z| > 1e6.
 *
 * dz[n, k] = weight[n] * (p[n, k] - [k = label[n]]), the gradient of weight[n] * loss[n].
 *
 * dz      [N, K]  out; may be z
 * z, lse  as in the forward pass; weight [N] in
 */
typedef void kern_xent_backward_fn(float *dz, const float *z, const float *lse,
                                   const int32_t *label, const float *weight, int64_t N, int64_t K);

kern_xent_forward_fn kern_xent_forward_portable, kern_xent_forward_avx2, kern_xent_forward_cuda;
kern_xent_backward_fn kern_xent_backward_portable, kern_xent_backward_avx2, kern_xent_backward_cuda;

/* Of logits in bfloat16 (kern_bf16.h); all but z and dz is float. */
void kern_xent_forward_bf16_cuda(const struct kern_xent_out *out, const uint16_t *z,
                                 const int32_t *label, int64_t N, int64_t K);
void kern_xent_backward_bf16_cuda(uint16_t *dz, const uint16_t *z, const float *lse,
                                  const int32_t *label, const float *weight, int64_t N, int64_t K);

#ifdef __cplusplus
}
#endif

#endif
