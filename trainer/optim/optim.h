/*
 * trainer/optim/optim.h - summed gradients to new parameters.
 *
 * Parameters are ranges of one block. A range belongs to a group; a group has its own
 * learning rate, its own count of updates (for Adam's bias correction) and its own
 * clipping. An update names the groups it touches: parameters and moments of the others
 * keep their bits - no decay, no momentum, no drift.
 *
 * Clipping (R. Pascanu, T. Mikolov and Y. Bengio, 2013, algorithm 1) is by the norm of the
 * ranges of one group and one clip number, not of all: otherwise the gates' gradient, which
 * depends on lambda, would reach the heads through the common factor, and one lambda's
 * exits those of another.
 *
 * Memory: two further blocks (AdamW) or one (SGD). Threads: the owner's.
 */
#ifndef TRAINER_OPTIM_OPTIM_H
#define TRAINER_OPTIM_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/kernels/kern_ops.h"

enum optim_kind { OPTIM_ADAMW, OPTIM_SGD };

enum { OPTIM_GROUPS_MAX = 4, OPTIM_CLIPS_MAX = 64 };

struct optim_range {
    int64_t begin, end; /* elements of the block */
    int group;
    bool decays;
    int clip; /* 0 .. OPTIM_CLIPS_MAX - 1: ranges of a group with one number are clipped together */
};

struct optim_options {
    enum optim_kind kind;
    double beta1, beta2, epsilon; /* AdamW */
    double momentum;              /* SGD */
    double weight_decay;
    double max_grad_norm; /* of what is clipped together; <= 0: no clipping */
    /* Memory for the state that is lent and kept as it is; NULL: made here, zero. */
    float *moment1, *moment2; /* [elems] */
    int64_t *counts;          /* [OPTIM_GROUPS_MAX] */
};

struct optim;

/*
 * For a block of `elems` floats; `ranges` is copied.
 * End it with optim_close(). Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err optim_open(const struct optim_options *options, const struct kern_ops *ops,
                                   const struct optim_range *ranges, int64_t range_count,
                                   int64_t elems, struct optim **optim_out);
void optim_close(struct optim *optim); /* NULL is allowed */

/* What one update does to one group. */
struct optim_step {
    bool active;
    double learning_rate;
    double norm; /* out: of the group's mean gradient, before clipping; 0 if not active */
};

/*
 * One update. params [elems] in and out; gradients [elems] in, sums over `sample_count`
 * samples; groups [OPTIM_GROUPS_MAX] in and out.
 *
 * Errors: ERR_NOT_FINITE if a gradient of an active group is; then nothing has changed.
 */
ERR_MUST_CHECK enum err optim_update(struct optim *optim, float *params, const float *gradients,
                                     double sample_count,
                                     struct optim_step groups[OPTIM_GROUPS_MAX]);

/* The state besides the parameters: moments (NULL if the kind has none) and update counts. */
float *optim_moment1(struct optim *optim);  /* [elems] */
float *optim_moment2(struct optim *optim);  /* [elems], NULL with SGD */
int64_t *optim_counts(struct optim *optim); /* [OPTIM_GROUPS_MAX] */

enum optim_schedule { OPTIM_LINEAR, OPTIM_COSINE, OPTIM_CONSTANT };

/*
 * The factor of the learning rate in step 0 .. step_count - 1 of a schedule:
 *
 *      s < warmup   (s + 1) / warmup
 *      otherwise, with p = (s - warmup) / (step_count - warmup):
 *      LINEAR 1 - p      COSINE (1 + cos(pi p)) / 2      CONSTANT 1
 */
double optim_schedule_factor(enum optim_schedule schedule, int64_t step, int64_t warmup_steps,
                             int64_t step_count);

#endif
