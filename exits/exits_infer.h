/*
 * exits/exits_infer.h - inference that really stops early.
 *
 * A batch runs layer by layer. Behind a layer with an exit, every sample that is still
 * there is classified and scored (exits_score.h); those whose score reaches the exit's threshold,
 * or lies as low as its low one, leave with that answer, and the rest are moved together, so that the next layer costs no
 * more than they do. Who reaches the end gets the final classifier's answer.
 *
 * Of a model that gives a sample one row: the tokens of a text cannot leave alone.
 *
 * Threads: an infer belongs to one thread.
 */
#ifndef EXITS_EXITS_INFER_H
#define EXITS_EXITS_INFER_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_net.h"
#include "exits/exits_score.h"
#include "trainer/model/model.h"

struct exits_policy {
    int set;
    enum exits_score score;   /* what thresholds are compared with */
    enum exits_form form;     /* of HAZARD and CUMULATIVE */
    const double *thresholds; /* [G]; a sample leaves if score >= threshold; +inf: nobody does */
    const double *lows;       /* [G]; and if score <= low; NULL or -inf: nobody does */
};

/* What is told of n samples; what is NULL is not wanted. */
struct exits_infer_out {
    int32_t *chosen;      /* [n] the exit each sample left at, G for the end; not NULL */
    int32_t *predicted;   /* [n] the class it left with; not NULL */
    float *probabilities; /* [n, K] of that exit's answer: a softmax */
};

struct exits_infer;

/* For batches of up to samples_max samples. Lends both until the close. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err exits_infer_open(const struct model *model, const struct exits_net *net,
                                         int64_t samples_max, struct exits_infer **infer_out);
void exits_infer_close(struct exits_infer *infer); /* NULL is allowed */

/*
 * `input` are n samples in the memory of the host, n <= samples_max.
 *
 * An exit with the threshold +inf and no low one is not computed and costs nothing, unless scores
 * of later exits follow from what it says (exits_score_accumulates()) or their heads from its logits.
 * With -inf everybody who comes there leaves: no later layer is computed.
 * Errors: ERR_NOT_FINITE; those of model_stage_put().
 */
ERR_MUST_CHECK enum err exits_infer_run(struct exits_infer *infer,
                                        const struct exits_policy *policy,
                                        const struct model_input *input, int64_t n,
                                        const struct exits_infer_out *out);

#endif
