/*
 * trainer/step/step.h - one training step of a backbone: forward, loss, backward, sum.
 *
 * A step is a number of micro-batches, each given to step_micro_batch(); the gradients
 * and losses of all of them, on all ranks, are one sum (step_sum.h). What is done with
 * it is the caller's: optim_update() for training, nothing for a check.
 *
 * Something that stands on the backbone - the exits - joins in through a struct step_tap:
 * it sees the pooled stream after the layers it names, computes the losses, and gives
 * back the gradients that enter the stream there. Without a tap the loss is the cross
 * entropy of the final classifier.
 *
 * What is classified are rows: one a sample, or R = model_config_rows() of them, every token of a
 * text for a language model. Losses and counts are of rows; to what stands on the backbone a row
 * is a sample.
 *
 *      vector of the sum:  [ backbone gradients, L + 2 parts | tap's gradients | statistics ]
 *
 * Threads: the owner's.
 */
#ifndef TRAINER_STEP_STEP_H
#define TRAINER_STEP_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_reduce.h"
#include "trainer/model/model.h"

/* What the tap is shown of one micro-batch, and what it fills in. */
struct step_view {
    int64_t n;                    /* rows */
    const float *const *features; /* [layer_count] of [n, D], in the order of step_tap.layers */
    const float *logits;          /* [n, K], of the final classifier */
    const int32_t *labels;        /* [n] */
    uint64_t phase;               /* the caller's: given to step_micro_batch() */
    float *const *dfeatures;      /* [layer_count] of [n, D] out; NULL if the backbone is frozen */
    float *dlogits;               /* [n, K] out; NULL if the backbone is frozen */
    float *gradients;             /* [gradient_elems] out */
    bool accumulate;              /* gradients are added to what is there, else overwritten */
    float *statistics;            /* [statistic_count], zero: in and out, sums over samples */
};

struct step_tap {
    void *self;
    const int64_t *layers; /* [layer_count] ascending, 0 .. L-2: called after each of these */
    int layer_count;
    int64_t gradient_elems;  /* of its own parameters */
    int64_t statistic_count; /* of its own sums */
    /* Before each micro-batch: what the host knows goes to the device. NULL: nothing. Errors: ERR_DEVICE. */
    enum err (*prepare)(void *self);
    /* Work of the device alone, for it may be recorded (device_replay.h). Errors: ERR_DEVICE. */
    enum err (*losses)(void *self, const struct step_view *view);
    /* What the sums of a step say of it. Errors: ERR_NOT_FINITE, naming the exit. */
    enum err (*check)(void *self, const float *statistics);
};

struct step_options {
    struct model *model;
    struct comm_group *group;
    enum comm_reduce_order order;
    int64_t micro_samples; /* most samples of a micro-batch */
    int64_t micro_count;   /* micro-batches of a step on this rank */
    bool trains_backbone;  /* false: frozen, no activations are kept and no backward pass runs */
    const struct step_tap *tap; /* NULL: none; lent until the close */
};

struct step;

/* Errors: ERR_NO_MEMORY, ERR_INVALID. End it with step_close(). */
ERR_MUST_CHECK enum err step_open(const struct step_options *options, struct step **step_out);
void step_close(struct step *step); /* NULL is allowed */

/*
 * Adds one micro-batch: the host's samples and labels [n R], 1 <= n <= micro_samples.
 * model_pack() has been called since the last change of the parameters.
 * Errors: those of model_stage_put(); the tap's; ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err step_micro_batch(struct step *step, const struct model_input *input,
                                         const int32_t *labels, int64_t n, uint64_t phase);

/*
 * The micro-batches from the next one on leave these layers out: skips [L]. Without a call none is. On a
 * device their work is launched piece by piece from then on, not replayed.
 */
void step_skip_layers(struct step *step, const bool skips[]);

/*
 * This rank votes, in the next step it begins: for whatever the caller agrees on that way, at no
 * cost of its own. Once a step.
 */
void step_vote(struct step *step);

/* The sums of a step over all rows of all ranks. */
struct step_result {
    double sample_count;    /* rows */
    double votes;           /* ranks that voted */
    double loss;            /* of the final classifier: sum of cross entropies */
    double correct;         /* samples it classifies rightly */
    const float *gradients; /* [backbone block], NULL if it is frozen; lent until the next step */
    const float *tap_gradients;  /* [gradient_elems] */
    const float *tap_statistics; /* [statistic_count] */
};

/*
 * After micro_count micro-batches. Errors: ERR_NOT_FINITE, on all ranks, if a logit of any was NaN or
 * infinite; ERR_TIMEOUT, ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err step_finish(struct step *step, int64_t deadline_ms,
                                    struct step_result *result_out);

/* Bytes of activations and gradient sums. */
int64_t step_bytes(const struct step *step);

#endif
