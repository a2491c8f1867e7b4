/*
 * exits/exits_net.h - the exit heads and gates of a backbone: parameters, forward, backward.
 *
 * Behind G layers of the backbone stands an exit: a head that classifies the pooled
 * stream there, and a gate that decides from the head's own certainty whether to stop.
 * For S values of lambda there are S independent sets of heads and gates, trained side
 * by side on the same features.
 *
 *      head     LINEAR       z = W h + b
 *               NORM_LINEAR  z = W norm(h) + b
 *               NORM_MLP     z = W gelu(U norm(h) + c) + b
 *      heads    PLAIN        each by itself
 *               BOOSTED      z_l += w z_{l-1}, a constant for the gradient; the first by itself
 *               CASCADED     z_l += V norm(z_{l-1}), likewise
 *      features f = (p_max, H(p) / ln K, margin, H(q) / ln K) of z      (kern_xent.h)
 *      gate     LINEAR       a = w f + b
 *               MLP          a = w relu(U f + c) + b
 *               HIDDEN_LINEAR  a = w norm(h) + b, of a norm of its own
 *               HIDDEN_MLP     a = w gelu(U norm(h) + c) + b
 *               SHARED         HIDDEN_LINEAR, one for all exits of a set
 *               ENSEMBLE       a = 0; the exit answers from all heads so far (exits_ensemble.h)
 *               NONE           there is none; a = 0
 *
 * JEI-DNN, section 4 (Regol et al., ICLR 2024), with the two entropies standardised by
 * their maximum, so that all four features lie in 0 .. 1 for any number of classes. The
 * features are constants for the gate's gradient: gates never reach heads through them, nor the
 * backbone through h.
 *
 * Shape letters: n samples, G exits, S sets, D width, K classes.
 * Threads: a net is read-only between two exits_net_pack(); a work belongs to one thread.
 */
#ifndef EXITS_EXITS_NET_H
#define EXITS_EXITS_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_distill.h"
#include "exits/exits_method.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/model/model_config.h"
#include "trainer/model/param_list.h"

enum exits_head_kind { EXITS_HEAD_LINEAR, EXITS_HEAD_NORM_LINEAR, EXITS_HEAD_NORM_MLP };

/* Which learning rate a tensor follows: param.group. Group 0 is the backbone's; param.part
 * is the set. */
enum exits_group { EXITS_GROUP_HEADS = 1, EXITS_GROUP_GATES = 2 };

enum { EXITS_SETS_MAX = 64 };

struct exits_net_config {
    int count;                        /* G >= 1 */
    int64_t layers[MODEL_LAYERS_MAX]; /* [G] ascending, 0 .. L-2: an exit stands behind each */
    int set_count;                    /* S, 1 .. EXITS_SETS_MAX */
    int64_t width, classes;           /* D, K */
    enum exits_head_kind head;
    int64_t head_hidden; /* of NORM_MLP */
    enum exits_heads heads;
    double boost; /* w, of BOOSTED */
    enum exits_gate_kind gate;
    int64_t gate_hidden; /* of MLP and HIDDEN_MLP */
    float layer_norm_eps;
};

struct exits_net;
struct exits_work;

/* Allocates, all zero. End it with exits_net_close(). Errors: ERR_CONFIG, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err exits_net_open(const struct exits_net_config *config,
                                       const struct kern_ops *ops, struct exits_net **net_out);
void exits_net_close(struct exits_net *net); /* NULL is allowed */

const struct exits_net_config *exits_net_config_of(const struct exits_net *net);
const struct kern_ops *exits_net_ops(const struct exits_net *net);
const struct param_list *exits_net_params(const struct exits_net *net);
float *exits_net_block(struct exits_net *net);

/*
 * Initial values, the same in every set. A gate begins with zero output weights and the
 * bias that makes its probability to leave prior[g], 0 < prior < 1; one that exits share with 1/2. Errors: as device_view_open().
 */
ERR_MUST_CHECK enum err exits_net_init(struct exits_net *net, uint64_t seed, const double prior[]);

/* After every change of the parameters and before the next pass. */
void exits_net_pack(struct exits_net *net);

/* Memory for passes of up to samples_max samples. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err exits_work_open(const struct exits_net *net, int64_t samples_max,
                                        struct exits_work **work_out);
void exits_work_close(struct exits_work *work); /* NULL is allowed */

/*
 * From here on the heads, or heads and gates, of all sets are those of set 0, which comes first in
 * every pass: the others look at what set 0 computed. For sets of equal parameters that see the same
 * samples: they are then trained once, and exits_share_gradients() gives all sets what set 0 got.
 */
void exits_work_share(struct exits_work *work, bool heads, bool gates);

/* Whether sets have the same parameters, bit by bit. Errors: as device_view_open(). */
ERR_MUST_CHECK enum err exits_net_compare(const struct exits_net *net, bool *equal_out);

/* gradients [block] in and out: set 0's of what is shared, to all others. */
void exits_share_gradients(const struct exits_work *work, float *gradients);

/* What one exit of one set computed; lent until the next pass. */
struct exits_view {
    const float *logits;      /* [n, K], of the head */
    const float *answer;      /* [n, K], of the ensemble; else the head's again */
    const float *loss;        /* [n], cross entropy of the answer; undefined without labels */
    const float *own_loss;    /* [n], of the head's logits */
    const float *features;    /* [n, 4], standardised if the gate reads them */
    const int32_t *predicted; /* [n] */
    const float *gate;        /* [n], the gate's logit */
    const float *lesson;      /* [n], behind exits_follow() */
};

/*
 * One exit of one set: features [n, D] in, labels [n] or NULL. A sample with a logit that is NaN or
 * infinite has features that are NaN, and is added to *bad, if that is not NULL. With heads that
 * are not PLAIN, or ensembles, exits of a set come in their order, all for the same samples.
 */
void exits_forward(struct exits_work *work, int set, int exit, const float *features, int64_t n,
                   const int32_t *labels, float *bad);

/*
 * The logits [n, K] of one exit's own head alone, lent until the next pass: what exits_forward() begins
 * with, for who does not want the rest.
 */
const float *exits_head_logits(struct exits_work *work, int set, int exit, const float *features,
                               int64_t n);

/*
 * Behind exits_forward(): the head follows the logits teacher [n, K], too, lent until its backward
 * pass; exits_view.lesson is what that adds to its loss.
 */
void exits_follow(struct exits_work *work, int set, int exit, const float *teacher,
                  const struct exits_distill *distill);

/*
 * Of the samples that exit saw only kept [count], ascending, go on: what later heads see of it is
 * moved together. Errors: ERR_DEVICE.
 */
ERR_MUST_CHECK enum err exits_keep(struct exits_work *work, int set, int exit,
                                   const uint32_t kept[], int64_t count);

struct exits_view exits_view_of(const struct exits_work *work, int set, int exit);

/*
 * The same for the host, lent until the next read; what training alone reads is NULL. Waits for the device.
 * Errors: ERR_TIMEOUT, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err exits_read(const struct exits_work *work, int set, int exit,
                                   struct exits_view *view_out);

/* Of exit 0 of a set; arrays of floats of exit g begin g strides further, its classes g class_strides. */
struct exits_strides {
    int64_t stride, class_stride;
};

struct exits_strides exits_strides_of(const struct exits_work *work);

/*
 * Backward of the head, after its forward pass with labels.
 *
 * weights    [n]     in: the gradient of the total loss by each cross entropy
 * gradients  [block] in and out: of this exit's head; accumulate as in kern_linear.h
 * dfeatures  [n, D]  out: the gradient of the pooled stream; NULL if it is not wanted
 * features, labels   as in the forward pass
 */
void exits_head_backward(struct exits_work *work, int set, int exit, const float *features,
                         const int32_t *labels, const float *weights, float *gradients,
                         bool accumulate, float *dfeatures);

/*
 * Backward of the gate: dgate [n] in, the gradient by its logit, or of an ensemble by the cross
 * entropy of its answer; features, and labels, as in the forward pass. Of a gate that exits share,
 * exit 0 comes first, and the others add to it.
 */
void exits_gate_backward(struct exits_work *work, int set, int exit, const float *features,
                         const float *dgate, float *gradients, bool accumulate);

#endif
