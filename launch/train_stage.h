/*
 * launch/train_stage.h - one stage of a run: who is trained, by which steps.
 *
 *      BACKBONE   the transformer, on the final classifier's cross entropy
 *      EXITS      heads and gates on the frozen backbone; where nothing is augmented, on
 *                 features that are computed once
 *      JOINT      all of it
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_STAGE_H
#define LAUNCH_TRAIN_STAGE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "launch/train_run.h"
#include "trainer/step/step.h"

struct train_stage;

/* What one step did, for the metrics. Lent until the next step. */
struct train_report {
    struct step_result result;
    struct optim_step groups[OPTIM_GROUPS_MAX];
    double step_s;
    uint64_t epoch;
    uint64_t phase;
};

/*
 * Whether stage number `index` can be trained: its settings, the data and the number of ranks
 * go together. For all stages of a run before the first step of the first. *steps_out is its length.
 * Errors: ERR_CONFIG, with the stage in front.
 */
ERR_MUST_CHECK enum err train_stage_check(struct train_run *run, int index, int64_t *steps_out);

/*
 * Opens stage number `index` with fresh optimizers in run->state. Collective; in a stage
 * with cached features this runs the backbone over the training set.
 * Errors: those of the parts.
 */
ERR_MUST_CHECK enum err train_stage_open(struct train_run *run, int index,
                                         struct train_stage **stage_out);

/* Also closes the optimizers of run->state. NULL is allowed. */
void train_stage_close(struct train_stage *stage);

int64_t train_stage_steps(const struct train_stage *stage); /* its length */

/* Step run->state.stage_step: forward, backward, sum over ranks, update. Collective. */
ERR_MUST_CHECK enum err train_stage_step(struct train_stage *stage,
                                         struct train_report *report_out);

#endif
