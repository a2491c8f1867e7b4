/*
 * trainer/kernels/kern_tokens.h - from the tokens of a text to the stream, and from the stream to one
 * row a sample.
 *
 *      x[b, t] = words[tokens[b, t]] + positions[t] + type       t < lengths[b], else 0
 *
 * J. Devlin et al., "BERT", NAACL 2019 (arXiv:1810.04805), figure 2, with all tokens of one type;
 * without a type that is GPT-2's. Backward is the transpose: rows of dx are added up where they came
 * from, samples upwards and in a sample tokens upwards, so that the bits of a sum depend on nothing else.
 *
 * Of sample b the first lengths[b] tokens are there, 1 .. T; rows of x and dx beyond them are
 * padding: not read. A row of the result depends on no other sample and not on T.
 *
 * "cuda" gives the bits of the portable functions.
 */
#ifndef TRAINER_KERNELS_KERN_TOKENS_H
#define TRAINER_KERNELS_KERN_TOKENS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* B samples, T tokens of the stream, D channels, V words. tokens [B, ld], ld >= every length. */
struct kern_tokens_shape {
    int64_t B, T, D, V;
    int64_t ld;
};

struct kern_tokens {
    const float *words;     /* [V, D] */
    const float *positions; /* [>= T, D] */
    const float *type;      /* [D]; NULL: none */
};

struct kern_tokens_gradients {
    float *words;     /* [V, D] */
    float *positions; /* [>= T, D]: rows beyond T are left alone */
    float *type;      /* [D] or NULL */
};

/* x [B, T, D] out, padding 0; tokens [B, ld], each 0 .. V-1, and lengths [B] in. */
typedef void kern_tokens_forward_fn(float *x, const int32_t *tokens, const int32_t *lengths,
                                    const struct kern_tokens *from,
                                    const struct kern_tokens_shape *shape);

/* Adds to the gradients; clearing them is the caller's. */
typedef void kern_tokens_backward_fn(const struct kern_tokens_gradients *to, const float *dx,
                                     const int32_t *tokens, const int32_t *lengths,
                                     const struct kern_tokens_shape *shape);

/*
 * mean[b] = (x[b, 0] + ... + x[b, lengths[b] - 1]) / lengths[b], added up in that order; mean [B, D],
 * x [B, T, D]. Backward: dx[b, t] += dmean[b] / lengths[b], t < lengths[b].
 */
typedef void kern_token_mean_forward_fn(float *mean, const float *x, const int32_t *lengths,
                                        int64_t B, int64_t T, int64_t D);
typedef void kern_token_mean_backward_fn(float *dx, const float *dmean, const int32_t *lengths,
                                         int64_t B, int64_t T, int64_t D);

/* last[b] = x[b, lengths[b] - 1]. Backward: dx[b, lengths[b] - 1] += dlast[b]. */
typedef void kern_token_last_forward_fn(float *last, const float *x, const int32_t *lengths,
                                        int64_t B, int64_t T, int64_t D);
typedef void kern_token_last_backward_fn(float *dx, const float *dlast, const int32_t *lengths,
                                         int64_t B, int64_t T, int64_t D);

kern_tokens_forward_fn kern_tokens_forward_portable, kern_tokens_forward_cuda;
kern_tokens_backward_fn kern_tokens_backward_portable, kern_tokens_backward_cuda;
kern_token_mean_forward_fn kern_token_mean_forward_portable, kern_token_mean_forward_cuda;
kern_token_mean_backward_fn kern_token_mean_backward_portable, kern_token_mean_backward_cuda;
kern_token_last_forward_fn kern_token_last_forward_portable, kern_token_last_forward_cuda;
kern_token_last_backward_fn kern_token_last_backward_portable, kern_token_last_backward_cuda;

#ifdef __cplusplus
}
#endif

#endif
