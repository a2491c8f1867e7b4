/*
 * exits/exits_method.h - published ways to train exits, as rows of exits_method.def.
 *
 * A method says how the heads' losses are weighed, what gates learn, and which score lets a
 * sample leave. Adding one is a row there, and where it computes something new, its file and
 * its test. The settings (exit_loss) take their choices from the same rows.
 *
 * Threads: any.
 */
#ifndef EXITS_EXITS_METHOD_H
#define EXITS_EXITS_METHOD_H

#include "exits/exits_score.h"

enum exits_loss {
#define METHOD(ENUM, ...) EXITS_LOSS_##ENUM,
#include "exits/exits_method.def"
#undef METHOD
    EXITS_LOSS_COUNT,
};

/* The weight of each exit's cross entropy in the heads' loss: exits_weight.h. */
enum exits_weigh {
    EXITS_WEIGH_EQUAL,
    EXITS_WEIGH_PROBABILITY, /* of leaving there, by the gates */
    EXITS_WEIGH_CERTAINTY,   /* of the gates */
    EXITS_WEIGH_SHARE,       /* of the answer of all exits: exits_mixture.h */
    EXITS_WEIGH_FOCAL,       /* by how wrong the head is: exits_focal.h */

    /* The same for all samples of a step. */
    EXITS_WEIGH_LINEAR,
    EXITS_WEIGH_DEPTH,
    EXITS_WEIGH_DESCENDING,
    EXITS_WEIGH_RAMP,
    EXITS_WEIGH_SCALE,
    EXITS_WEIGH_WARM,
    EXITS_WEIGH_ALTERNATE,
};

/* What a head sees of the one before: exits_net.h. */
enum exits_heads { EXITS_HEADS_PLAIN, EXITS_HEADS_BOOSTED, EXITS_HEADS_CASCADED };

/* Whom heads follow beside the labels: exits_distill.h. */
enum exits_teacher { EXITS_TEACHER_NOBODY, EXITS_TEACHER_LAST, EXITS_TEACHER_NEXT };

/* What gates learn. */
enum exits_teach {
    EXITS_TEACH_NOTHING,
    EXITS_TEACH_TARGET,  /* whether going on is of use: exits_target.h, exits_gate_loss.h */
    EXITS_TEACH_DOUBT,   /* 1 - p(label): exits_uncertainty.h */
    EXITS_TEACH_PONDER,  /* the expected loss and a prior: exits_ponder.h */
    EXITS_TEACH_MIXTURE, /* the answer of all exits, and its price: exits_mixture.h */
    EXITS_TEACH_ANSWER,  /* the answer of the ensemble that stands in the gates' place */
    EXITS_TEACH_ERROR,   /* whether the answer is wrong: exits_uncertainty.h */
};

enum exits_gate_kind {
    EXITS_GATE_LINEAR, /* of the four features */
    EXITS_GATE_MLP,
    EXITS_GATE_HIDDEN_LINEAR, /* of the pooled stream, behind a norm of its own */
    EXITS_GATE_HIDDEN_MLP,
    EXITS_GATE_SHARED,   /* HIDDEN_LINEAR, one for all exits of a set */
    EXITS_GATE_ENSEMBLE, /* decides nothing, but answers from all heads so far: exits_ensemble.h */
    EXITS_GATE_NONE,
    EXITS_GATE_COUNT,
};

/* Whether a gate of this kind says who leaves. */
static inline bool exits_gate_decides(enum exits_gate_kind kind)
{
    return kind < EXITS_GATE_ENSEMBLE;
}

enum exits_needs {
    EXITS_NEEDS_STEP = 1,  /* where in the stage a step is */
    EXITS_NEEDS_COSTS = 2, /* of leaving at each exit */
    EXITS_NEEDS_FINAL_LOGITS = 4,
    EXITS_NEEDS_OTHER_EXITS = 8, /* the logits of the one before or behind */
};

struct exits_method {
    const char *name, *paper, *about;
    enum exits_weigh weigh;
    enum exits_heads heads;
    enum exits_teacher teacher;
    enum exits_teach teach;
    enum exits_gate_kind gate;
    enum exits_score score;
    int needs; /* a sum of enum exits_needs */
};

extern const char exits_method_choices[]; /* "|jei|uncertainty|...": for the settings */

/* Static storage. */
const struct exits_method *exits_method_of(enum exits_loss loss);

/*
 * The same with a gate of that kind: without any that decides, the largest probability counts. */
struct exits_method exits_method_with(enum exits_loss loss, enum exits_gate_kind gate);

/* Whether gates are taught by the price lambda, and whether heads feel it, through them. */
bool exits_method_gates_know_price(const struct exits_method *method);
bool exits_method_heads_know_price(const struct exits_method *method);

/* Whether a method can be trained with such gates: weights that are theirs need some. */
bool exits_method_allows(enum exits_loss loss, enum exits_gate_kind gate);

#endif
