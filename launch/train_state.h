/*
 * launch/train_state.h - everything a run must remember between two steps, as named
 * byte ranges and a small blob.
 *
 *      parameters   of the backbone and of the exits
 *      moments      of the stage's optimizers
 *      blob         step, stage, step of the stage, update counts, class counts
 *
 * It is the same on every rank and does not depend on their number. Its hash is what two
 * runs are compared by.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_STATE_H
#define LAUNCH_TRAIN_STATE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "exits/exits_train.h"
#include "trainer/model/model.h"
#include "trainer/optim/optim.h"

/* Of a checkpoint, besides MODEL_CONFIG_FILE and MODEL_WEIGHTS_FILE. */
#define TRAIN_STATE_FILE "trainer_state.json"
#define TRAIN_STATE_MOMENTS_FILE "optimizer.safetensors"
#define TRAIN_STATE_EXITS_FILE "exits.safetensors" /* if the run has exits */

struct train_state {
    struct model *model;
    struct exits_net *net;        /* NULL if the run has no exits */
    struct optim *backbone_optim; /* NULL where the stage does not train it */
    struct optim *exits_optim;    /* likewise */
    struct exits_balance balance; /* counts of open targets; of the exits */

    int64_t step;       /* optimizer steps of the run so far */
    int64_t stage;      /* 0-based */
    int64_t stage_step; /* steps of this stage so far */
};

/* Errors: ERR_NO_MEMORY. Cost: one pass over the state. */
ERR_MUST_CHECK enum err train_state_hash(const struct train_state *state, struct hash *hash_out);

/*
 * Writes the state as the files of a checkpoint into `folder`, which exists:
 * model.safetensors, config.json, exits.safetensors, optimizer.safetensors and
 * trainer_state.json (with `settings`, the settings that fix the numbers).
 * Errors: ERR_IO, ERR_NO_MEMORY; ERR_NOT_FINITE, with nothing written, if a parameter is.
 */
ERR_MUST_CHECK enum err train_state_save(const struct train_state *state, const char *folder,
                                         const char *settings);

/*
 * The reverse, in two parts, since the optimizers are made with the stage, and the stage
 * needs the weights: `_load` reads step, stage, stage_step and all parameters, after
 * comparing the settings; `_load_optimizers` the moments, update counts and class counts.
 * Errors: ERR_MISSING, ERR_CORRUPT; ERR_CONFIG if the settings differ, naming the first.
 */
ERR_MUST_CHECK enum err train_state_load(struct train_state *state, const char *folder,
                                         const char *settings);
ERR_MUST_CHECK enum err train_state_load_optimizers(struct train_state *state, const char *folder);

#endif
