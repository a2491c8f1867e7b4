/*
 * trainer/kernels/kern_attention.h - multi-head self-attention of short sequences.
 *
 *      S = scale * Q K^T,   P = softmax over the last axis of S,   O = P V,   scale = 1/sqrt(D)
 *
 * A. Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762), equation 1,
 * without a mask or with a struct kern_attention_mask. Backward, with dP = dO V^T:
 *
 *      dV = P^T dO,   dS = P * (dP - row sums of P * dP),   dQ = scale dS K,   dK = scale dS^T Q
 *
 * The projections lie as the fused q/k/v product leaves them: qkv [B, T, 3, H, D].
 * What the backward pass needs of P is the implementation's choice, made by size:
 * P itself where reading it back is cheaper than computing it again, else only the
 * row's log-sum-exp (T. Dao et al., "FlashAttention", 2022, arXiv:2205.14135,
 * section 3.1). "avx2" saves P up to T = 96, so that `saved` does not grow with T alone, "portable" never; "cuda" saves the output, too. No implementation holds
 * a T x T matrix per head of more than one sample unless it is P for the backward pass.
 *
 * |fast - portable| <= KERN_ATTENTION_TOLERANCE * max(1, |portable|) for inputs of order 1.
 *
 * "avx2" is fast where D is a multiple of 8, D <= 128, T <= 256 and T * D <= 16384
 * (T up to a multiple of 8); with a mask, where the sample's length is <= 1024 and length * D <= 65536;
 * for others it calls the portable functions.
 * Its scratch is 1.4 MiB of thread-local storage, touched as far as the shape needs.
 * "cuda" takes D up to KERN_CUDA_HEAD_CHANNELS_MAX (kern_cuda.h).
 */
#ifndef TRAINER_KERNELS_KERN_ATTENTION_H
#define TRAINER_KERNELS_KERN_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KERN_ATTENTION_TOLERANCE 2e-5f

/* B samples, T tokens, H heads of D channels; each >= 1. */
struct kern_attention_shape {
    int64_t B, T, H, D;
};

/*
 * Who attends to whom. Of sample b the first lengths[b] tokens are there, the rest is padding:
 * nobody attends to it, rows of `out` and gradients that belong to it are 0, and its rows of qkv and
 * dout are not read. If causal, token i attends to tokens 0 .. i only.
 *
 * A row's bits in the forward pass depend on nothing but the tokens it attends to, neither on T nor on
 * what stands behind them; of "avx2", also on whether the sample's length fits its tiles.
 */
struct kern_attention_mask {
    const int32_t *lengths; /* [B], 1 .. T; NULL: all T everywhere */
    bool is_causal;
};

/* Floats of `saved` for one call with this shape. */
typedef int64_t kern_attention_saved_elems_fn(const struct kern_attention_shape *shape);

/*
 * out    [B, T, H, D]     out
 * saved  [saved_elems]    out, 64-byte aligned, for the backward pass; NULL: forward only
 * qkv    [B, T, 3, H, D]  in
 * query_count  1 .. T: only the first query_count tokens of each sample ask; the rows of
 *              `out` beyond them are left alone. (With cls pooling the last block needs
 *              one row.) `saved` is written for those rows only.
 * mask         NULL: every token attends to all T
 */
typedef void kern_attention_forward_fn(float *out, float *saved, const float *qkv,
                                       const struct kern_attention_shape *shape,
                                       int64_t query_count, const struct kern_attention_mask *mask);

/*
 * dqkv   [B, T, 3, H, D]  out, all of it: dq is zero for tokens that did not ask
 * dout   [B, T, H, D]     in; rows beyond query_count are not read
 * qkv, saved, query_count, mask  as in the forward pass
 */
typedef void kern_attention_backward_fn(float *dqkv, const float *dout, const float *qkv,
                                        const float *saved,
                                        const struct kern_attention_shape *shape,
                                        int64_t query_count,
                                        const struct kern_attention_mask *mask);

kern_attention_saved_elems_fn kern_attention_saved_elems_portable, kern_attention_saved_elems_avx2,
    kern_attention_saved_elems_cuda;
kern_attention_forward_fn kern_attention_forward_portable, kern_attention_forward_avx2,
    kern_attention_forward_cuda;
kern_attention_backward_fn kern_attention_backward_portable, kern_attention_backward_avx2,
    kern_attention_backward_cuda;

/*
 * The same in bfloat16 (kern_bf16.h) on a CUDA device, without a mask: products on tensor cores with float sums,
 * softmax in float, probabilities rounded to bfloat16 before they multiply V and dO.
 *
 * lse  [B, H, T]  out, then in: the log-sum-exp of each row of scores; NULL: forward only
 * out             of the backward pass: what the forward pass wrote
 */
void kern_attention_forward_bf16_cuda(uint16_t *out, float *lse, const uint16_t *qkv,
                                      const struct kern_attention_shape *shape,
                                      int64_t query_count);
void kern_attention_backward_bf16_cuda(uint16_t *dqkv, const uint16_t *dout, const uint16_t *qkv,
                                       const uint16_t *out, const float *lse,
                                       const struct kern_attention_shape *shape,
                                       int64_t query_count);

#ifdef __cplusplus
}
#endif

#endif
