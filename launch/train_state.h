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

enum { TRAIN_STATE_FORMAT_VERSION = 1 };

/* What has parameters, and an optimizer where a stage trains it. */
enum train_part { TRAIN_BACKBONE, TRAIN_EXITS, TRAIN_PARTS };

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

/* First and second moments of the parts; NULL where there is none. */
struct train_moments {
    float *values[TRAIN_PARTS][2];
};

/* Those of the stage's optimizers, lent. */
struct train_moments train_state_moments(const struct train_state *state);

/* The tensor of a moment in TRAIN_STATE_MOMENTS_FILE: "backbone.exp_avg". */
const char *train_moment_name(enum train_part part, int which);

/* Elements of a part's block of parameters; 0 if the run does not have it. */
int64_t train_state_elems(const struct train_state *state, enum train_part part);

/* A part's block of parameters, of the device; NULL if the run does not have it. */
float *train_state_block(const struct train_state *state, enum train_part part);

/* Counts of open targets that the state has: one for each exit of each set. */
int train_state_open_count(const struct train_state *state);

/* Errors: ERR_NO_MEMORY; those of device_view_open(). Cost: one pass over the state. */
ERR_MUST_CHECK enum err train_state_hash(const struct train_state *state, struct hash *hash_out);

/* Errors: ERR_NOT_FINITE if a parameter is NaN or infinite: a later run could not load it. */
ERR_MUST_CHECK enum err train_state_check(const struct train_state *state);

/*
 * Reads the files of a checkpoint (train_files.h), in two parts, since the optimizers are made
 * with the stage, and the stage needs the weights: `_load` reads step, stage, stage_step, class
 * counts and all parameters, after comparing the settings; `_load_optimizers` moments and update
 * counts. Errors: ERR_MISSING, ERR_CORRUPT; ERR_CONFIG if the settings differ, naming the first.
 */
ERR_MUST_CHECK enum err train_state_load(struct train_state *state, const char *folder,
                                         const char *settings);
ERR_MUST_CHECK enum err train_state_load_optimizers(struct train_state *state, const char *folder);

/*
 * Reads what `text`, a trainer_state.json, says: all of it, update counts into `counts`, which
 * may be NULL. `what` names it in errors, which are the same.
 */
ERR_MUST_CHECK enum err train_state_read(struct train_state *state, const char *text,
                                         size_t text_bytes, const char *what, const char *settings,
                                         int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX]);

#endif
