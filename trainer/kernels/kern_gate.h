/*
 * trainer/kernels/kern_gate.h - the gate of an exit: from four features of its head to a logit.
 *
 *      LINEAR  a = bias + w f              MLP  a = bias + w relu(up f + up_bias)
 *
 * JEI-DNN, section 4 (F. Regol et al., ICLR 2024). Features 1 and 3 are entropies (kern_xent.h); they are
 * standardised by their maximum, ln K, first. The features are constants for the gradient.
 *
 * "avx2" has the bits of "portable".
 *
 * Floor: N (4 + H) floats read and written; some 10 flops for each.
 */
#ifndef TRAINER_KERNELS_KERN_GATE_H
#define TRAINER_KERNELS_KERN_GATE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Parameters, or their gradients. */
struct kern_gate {
    int64_t hidden; /* H; 0: linear */
    float *up;      /* [H, 4] */
    float *up_bias; /* [H] */
    float *out;     /* [H], or [4] of a linear gate */
    float *bias;    /* [1] */
};

/*
 * a         [N]     out, the logits
 * relu      [N, H]  out, for the backward pass; not with H = 0
 * features  [N, 4]  in and out: the entropies are multiplied by entropy_scale
 */
typedef void kern_gate_forward_fn(float *a, float *relu, float *features, float entropy_scale,
                                  const struct kern_gate *gate, int64_t N);

/*
 * gradients  in and out, summed over the samples in their order ("cuda": in parts); accumulate false: overwritten
 * da         [N]  in; relu, features as the forward pass left them
 */
typedef void kern_gate_backward_fn(const struct kern_gate *gradients, const float *da,
                                   const float *relu, const float *features,
                                   const struct kern_gate *gate, int64_t N, bool accumulate);

kern_gate_forward_fn kern_gate_forward_portable, kern_gate_forward_avx2, kern_gate_forward_cuda;
kern_gate_backward_fn kern_gate_backward_portable, kern_gate_backward_avx2, kern_gate_backward_cuda;

#ifdef __cplusplus
}
#endif

#endif
