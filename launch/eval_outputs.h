/*
 * launch/eval_outputs.h - what all exits say of all samples of a part, as tables.
 *
 * Shape letters: n samples, G exits before the end; arrays are sample by sample.
 * Threads: the step's.
 */
#ifndef LAUNCH_EVAL_OUTPUTS_H
#define LAUNCH_EVAL_OUTPUTS_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_cache.h"
#include "launch/train_run.h"

struct eval_outputs {
    int64_t n;
    int G;
    float *gates;          /* [n, G], logits */
    float *max_prob;       /* [n, G] */
    float *confidence;     /* [n, G + 1], of the predicted class */
    float *loss;           /* [n, G + 1] */
    uint8_t *correct;      /* [n, G + 1] */
    int32_t *predicted;    /* [n, G + 1] */
    float *features;       /* [n, G, 4], standardised: exits_net.h */
    const int32_t *labels; /* [n], lent by who opened it */
    int64_t classes;       /* K */
};

/*
 * For one set of heads and gates; without exits, G is 0 and set is ignored. labels [n] in
 * the order of the cache's rows, and stay as long as the outputs. End it with eval_outputs_close().
 * Errors: ERR_NO_MEMORY, ERR_NOT_FINITE.
 */
ERR_MUST_CHECK enum err eval_outputs_open(const struct train_run *run,
                                          const struct exits_cache *cache, const int32_t *labels,
                                          int set, struct eval_outputs *outputs_out);
void eval_outputs_close(struct eval_outputs *outputs); /* zeroed is allowed */

#endif
