/*
 * exits/exits_schedule.h - weights of the heads' losses that are functions of the step.
 *
 * They are the same for all samples of a step, and a function of its number, not of history:
 * a run that resumes goes on where it was. Always of all exits, the final classifier last; a
 * frozen one's weight falls away.
 *
 *      LayerSkip   W_l = C_l e_l / sum_j C_j e_j    (M. Elhoushi et al., ACL 2024, arXiv:2404.16710)
 *      EE-LLM      W_l = peak_l * ramp(step), the end 1    (Y. Chen et al., ICML 2024, arXiv:2312.04916)
 *      BERxiT      1 in odd steps, in even ones 0, the end 1    (J. Xin et al., EACL 2021)
 *
 * A constant ramp with peaks by hand is BranchyNet's list (S. Teerapittayanon et al., ICPR 2016).
 * LayerSkip's layer dropout is trainer/step/layer_dropout.h. The other rows of exits_method.def are in
 * exits_weight.h.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_SCHEDULE_H
#define EXITS_EXITS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "exits/exits_method.h"
#include "trainer/model/model_config.h"

/*
 * e of layer l of L, from 0, before all but the last are multiplied by a share s:
 *      PAPER         sum_{i<=l} i, and of the last L - 1 + s sum_{i<=L-2} i; the first is 0
 *      UNIFORM 1   LINEAR l + 1   SUM sum_{i<=l} (i + 1)   SQRT, INVERSE, INVERSE_SQRT of l + 1
 */
enum exits_scale {
    EXITS_SCALE_PAPER,
    EXITS_SCALE_UNIFORM,
    EXITS_SCALE_LINEAR,
    EXITS_SCALE_SUM,
    EXITS_SCALE_SQRT,
    EXITS_SCALE_INVERSE,
    EXITS_SCALE_INVERSE_SQRT,
};

/*
 * Which exits are on, C_l, the last always:
 *      ROTATIONAL  of every `rotation` exits one, the next one in each step
 *      GRADUAL     from the last to the first; all from half of the steps on
 */
enum exits_curriculum {
    EXITS_CURRICULUM_NONE,
    EXITS_CURRICULUM_ROTATIONAL,
    EXITS_CURRICULUM_GRADUAL
};

enum exits_ramp { EXITS_RAMP_CONSTANT, EXITS_RAMP_LINEAR, EXITS_RAMP_COSINE };

struct exits_schedule {
    enum exits_weigh weigh;
    int G;
    int64_t layers[MODEL_LAYERS_MAX]; /* [G], of the exits, from 0 */
    int64_t layer_count;              /* L */
    float peaks[MODEL_LAYERS_MAX];    /* [G], of RAMP and WARM */
    enum exits_ramp ramp;             /* of WARM */
    int64_t ramp_steps;               /* >= 1 */
    enum exits_scale scale;           /* of SCALE */
    double scale_share;               /* s */
    enum exits_curriculum curriculum;
    int64_t rotation; /* >= 1 */
};

/* Where a step is: 0 .. step_count - 1. */
struct exits_moment {
    int64_t step, step_count;
};

/* e of layer l, times s if it is not the last. */
double exits_scale_of(enum exits_scale scale, double s, int64_t layer, int64_t layer_count);

/* C_l of exit g of G, the end being exit G and always on. */
bool exits_curriculum_has(const struct exits_schedule *schedule, int g, struct exits_moment at);

/* 0 .. 1 while the steps go by, 1 from ramp_steps on. */
double exits_ramp_at(enum exits_ramp ramp, int64_t step, int64_t ramp_steps);

/* weights_out [G + 1]; of weights that need the sample, nothing is written. */
void exits_schedule_weights(const struct exits_schedule *schedule, struct exits_moment at,
                            float weights_out[]);

#endif
