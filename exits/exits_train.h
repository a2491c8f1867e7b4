/*
 * exits/exits_train.h - the losses of heads and gates on one micro-batch.
 *
 * For every set s (a lambda) and sample, with the cross entropies CE_0 .. CE_G of all
 * exits and of the final classifier, and the gates' logits a_0 .. a_{G-1}:
 *
 *      heads   sum_l W_l CE_l, W a constant: by exit probability, by certainty, equal
 *              (exits_weight.h), or a function of depth and step (exits_schedule.h); with a
 *              teacher its divergence is added to CE_l (exits_distill.h)
 *      gates   sum_l BCE(a_l, t_l) on targets from J_l = CE_l + lambda c_l
 *              (exits_target.h), or sum_l (sigmoid(a_l) - uhat_l)^2 (exits_uncertainty.h),
 *              or sum_l P_l J_l + beta KL (exits_ponder.h)
 *
 * JEI-DNN (Regol et al., ICLR 2024), with the corrections of exits/README.md. The final
 * classifier takes part in the targets always, and in the weights when the backbone is
 * trained too; the gradient that reaches the backbone is then the mean over the sets.
 *
 * What does not depend on lambda is computed once, if all sets have the same parameters at the
 * trainer's opening: heads that are not weighed by gates, and gates that no price teaches. The
 * bits are those of sets that are each trained by itself.
 *
 * The same code serves a pass of the backbone, as its step_tap, and cached features.
 *
 * Threads: a trainer belongs to one thread.
 */
#ifndef EXITS_EXITS_TRAIN_H
#define EXITS_EXITS_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_judge.h"
#include "exits/exits_net.h"
#include "exits/exits_schedule.h"
#include "trainer/step/step.h"

/* What a step trains: the `phase` of step_micro_batch(), a sum of these. */
enum { EXITS_TRAINS_HEADS = 1, EXITS_TRAINS_GATES = 2, EXITS_WARMS_UP = 4 /* heads alone */ };

struct exits_train_config {
    enum exits_loss loss;     /* the method: with the net's kind of gate, exits_method_with() */
    enum exits_weigh warm_up; /* EQUAL or DESCENDING */
    struct exits_schedule schedule; /* weigh, G and layers need not be filled in */
    enum exits_form form;
    enum exits_target_kind target;
    bool balances;            /* weights of open targets from class counts */
    double loss_floor;        /* epsilon of weights by exit probability */
    double uncertainty_floor; /* w_min */
    double focal_gamma;
    const float *class_weights; /* [K], of focal, read at the opening; NULL: 1 */
    struct exits_ponder ponder;
    struct exits_distill distill;
    double lambdas[EXITS_SETS_MAX];
    double costs[MODEL_LAYERS_MAX + 1]; /* [G + 1], of leaving at each exit; the last is 1 */
};

/*
 * Sums of one set over the samples of a step, in the order of the statistics: what a
 * report and the class weights need. G is the number of exits.
 */
struct exits_sums {
    const float *loss;    /* [G + 1] cross entropy of each exit, the final one last */
    const float *correct; /* [G + 1] samples it classifies rightly */
    const float *left;    /* [G + 1] samples that the gates let leave there */
    const float
        *bad; /* [G + 1] samples with a logit that is NaN or infinite; of set 0 the final's */
    const float *open; /* [G] targets that were 1 */
    float head_loss;   /* what is minimised: sum_l W_l L_l of the exits that are trained */
    float gate_loss;   /* what is minimised of the gates */
    float cost;        /* of the exits the gates chose */
};

int64_t exits_statistic_count(const struct exits_net *net); /* of all sets */
struct exits_sums exits_sums_of(const struct exits_net *net, const float *statistics, int set);

/* Open targets so far: [S, G], and out of how many samples. Part of the training state. */
struct exits_balance {
    double open[EXITS_SETS_MAX * MODEL_LAYERS_MAX];
    double sample_count;
};

struct exits_trainer;

/*
 * For micro-batches of up to samples_max samples. `balance` is lent and read in every
 * call. The net has its initial parameters. End it with exits_trainer_close(). Errors: ERR_NO_MEMORY,
 * ERR_DEVICE, ERR_TIMEOUT.
 */
ERR_MUST_CHECK enum err exits_trainer_open(const struct exits_net *net,
                                           const struct exits_train_config *config,
                                           const struct exits_balance *balance, int64_t samples_max,
                                           struct exits_trainer **trainer_out);
void exits_trainer_close(struct exits_trainer *trainer); /* NULL is allowed */

/* Where the next step is in its stage; step 0 of 1 if it is never told. */
void exits_trainer_at(struct exits_trainer *trainer, struct exits_moment at);

/* The trainer as a tap of a backbone's step. Lends from the trainer. */
struct step_tap exits_trainer_tap(struct exits_trainer *trainer);

/* Adds the counts of a finished step to *balance. */
void exits_balance_add(struct exits_balance *balance, const struct exits_net *net,
                       const float *statistics, double sample_count);

#endif
