/*
 * trainer/kernels/kern_likeliest.h - the likeliest class of each row of logits, and how sure that is.
 *
 *      predicted = argmax z, the lowest index on ties;   p = softmax(z)
 *      max_prob = p(1),   margin = p(1) - p(2),   entropy = H(p) in nats
 *
 * What kern_xent_forward_fn tells as well, for few rows of many classes: there eight rows are a
 * vector, of which a text that is written token by token fills one. Here eight classes are a vector, and the
 * exponentials are left out where nobody asks how sure.
 *
 * |fast - portable| <= KERN_XENT_TOLERANCE * max(1, |portable|) for |z| <= 30; predicted is equal.
 */
#ifndef TRAINER_KERNELS_KERN_LIKELIEST_H
#define TRAINER_KERNELS_KERN_LIKELIEST_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kern_likeliest {
    int32_t predicted; /* -1: a logit of the row is NaN or infinite, and the rest is 0 */
    float max_prob, margin, entropy;
};

/*
 * out      [N]     out
 * z        [N, K]  in, contiguous, K >= 2
 * wants_certainty  false: max_prob, margin and entropy are not wanted and become 0
 */
typedef void kern_likeliest_fn(struct kern_likeliest *out, const float *z, int64_t N, int64_t K,
                               bool wants_certainty);

kern_likeliest_fn kern_likeliest_portable, kern_likeliest_avx2;

#ifdef __cplusplus
}
#endif

#endif
