/*
 * exits/exits_judge.h - from what the exits of a set said of a micro-batch to what their losses are and
 * which way: weights of the heads, targets and gradients of the gates, sums.
 *
 * A sample is judged by itself; the sums then go over the samples in their order. Both are the same
 * lines for a CPU, one sample after the other, and for CUDA, a thread a sample and a thread a sum: so
 * they are functions of what lies in the device's memory.
 *
 * Sums of a set, exits_judge_sum_count() of them, each added to over the samples (exits_train.h):
 *
 *      loss, correct, left, bad [G + 1 each], open [G], gate loss, cost, head loss
 *
 * Cost: n (8 G + 8) floats written and read, some 10 exponentials a sample and exit.
 */
#ifndef EXITS_EXITS_JUDGE_H
#define EXITS_EXITS_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "exits/exits_focal.h"
#include "exits/exits_gate_loss.h"
#include "exits/exits_method.h"
#include "exits/exits_mixture.h"
#include "exits/exits_ponder.h"
#include "exits/exits_target.h"
#include "exits/exits_uncertainty.h"
#include "exits/exits_weight.h"
#include "trainer/kernels/kern_fn.h"

struct exits_judge {
    int G;
    int trained;            /* heads that are weighed: G, or G + 1 with the final classifier */
    enum exits_weigh weigh; /* of the heads; */
    enum exits_teach teach; /* the gates; */
    enum exits_score score; /* where they let a sample leave: exits_method.h */
    enum exits_form form;
    enum exits_target_kind target;
    double loss_floor;          /* of PROBABILITY and SHARE */
    double uncertainty_floor;   /* of CERTAINTY */
    double gamma;               /* of FOCAL */
    struct exits_ponder ponder; /* of PONDER; of MIXTURE exits_mixture_ponder() */
    double lambda;
    float set_share; /* 1 / number of sets */
    int64_t n;

    /* Arrays in the device's memory; those of exit g begin g strides further. */
    const double *costs;        /* [G + 1], of leaving at each */
    const float *fixed;         /* [G + 1], weights that are the same for all samples */
    const float *class_weights; /* [K], of FOCAL; NULL: 1 */
    const float *balance;       /* [G], weights of open targets; NULL: 1 */
    const float *loss_of;       /* [n] each: cross entropies of the answers */
    const float *gate_of;       /* [n] each: logits of the gates */
    const float *lesson_of;     /* [n] each: what following a teacher adds to the loss; NULL: 0 */
    const float *own_of;        /* [n] each: of the heads, where ensembles answer; NULL: the same */
    int64_t stride;             /* of these four, in floats */
    const int32_t *class_of;    /* [n] each, predicted */
    int64_t class_stride;       /* in integers */
    const float *final_loss;    /* [n] */
    const int32_t *final_class; /* [n] */
    const int32_t *labels;      /* [n] */

    float *scratch;       /* [n, exits_judge_scratch_elems()], 8-byte aligned: what is found out */
    float *weights;       /* [G, n] out, of the heads' cross entropies */
    float *dgates;        /* [G, n] out, the gradient by the gates' logits */
    float *final_weights; /* [n] in and out: this set's share is added */
    float *sums;          /* [exits_judge_sum_count()] in and out */
};

#ifdef __cplusplus
extern "C" {
#endif

typedef void exits_judge_fn(const struct exits_judge *judge);

/* On host memory; and on a CUDA device, on this thread's current stream. */
exits_judge_fn exits_judge_cpu, exits_judge_cuda;

#ifdef __cplusplus
}
#endif

/* All about one sample, cut out of the scratch. */
struct exits_judged {
    double *objectives; /* [G + 1] */
    float *loss;        /* [G + 1] */
    float *values;      /* [G + 1], what the weights are made of; of FOCAL the losses */
    float *weights;     /* [G + 1] */
    float *gates;       /* [G] */
    float *targets;     /* [G] */
    float *dgates;      /* [G] */
    float *gate_loss;
    float *left; /* the exit where it leaves */
};

KERN_FN int64_t exits_judge_scratch_elems(int G)
{
    return 8 * (int64_t)G + 8;
}

KERN_FN int64_t exits_judge_sum_count(int G)
{
    return 5 * (int64_t)G + 7;
}

KERN_FN struct exits_judged exits_judged_of(const struct exits_judge *judge, int64_t i)
{
    const int G = judge->G;
    float *at = judge->scratch + i * exits_judge_scratch_elems(G);
    struct exits_judged judged;

    judged.objectives = (double *)(void *)at;
    judged.loss = at += 2 * (G + 1);
    judged.values = at += G + 1;
    judged.weights = at += G + 1;
    judged.gates = at += G + 1;
    judged.targets = at += G;
    judged.dgates = at += G;
    judged.gate_loss = at += G;
    judged.left = at + 1;
    return judged;
}

/* Weights are slopes of the focal losses, values those losses. */
KERN_FN void exits_judge_focal(const struct exits_judge *judge, const struct exits_judged *judged,
                               int64_t i)
{
    const double class_weight =
        judge->class_weights == NULL ? 1 : (double)judge->class_weights[judge->labels[i]];
    const double share = class_weight / judge->trained;

    for (int g = 0; g < judge->trained; g++) {
        const float loss = judge->own_of != NULL && g < judge->G
                               ? judge->own_of[g * judge->stride + i]
                               : judged->loss[g];
        double slope;
        judged->values[g] = (float)(share * exits_focal_loss((double)loss, judge->gamma, &slope));
        judged->weights[g] = (float)(share * slope);
    }
}

KERN_FN void exits_judge_heads(const struct exits_judge *judge, const struct exits_judged *judged,
                               int64_t i)
{
    const int G = judge->G, count = judge->trained;

    if (judge->weigh == EXITS_WEIGH_FOCAL) {
        exits_judge_focal(judge, judged, i);
        return;
    }

    if (judge->weigh == EXITS_WEIGH_EQUAL) {
        exits_weight_uniform(count, judged->weights);
        return;
    }
    if (judge->weigh == EXITS_WEIGH_PROBABILITY) {
        exits_probability(judge->form, judged->gates, G, judged->values);
        exits_weight_jei(judged->values, count, judge->loss_floor, judged->weights);
        return;
    }
    if (judge->weigh == EXITS_WEIGH_SHARE) {
        exits_mixture_shares(judged->gates, judged->loss, G, judged->values);
        exits_weight_jei(judged->values, count, judge->loss_floor, judged->weights);
        return;
    }
    if (judge->weigh != EXITS_WEIGH_CERTAINTY) {
        for (int g = 0; g < count; g++) {
            judged->weights[g] = judge->fixed[g];
        }
        return;
    }
    for (int g = 0; g < G; g++) {
        judged->values[g] = exits_sigmoid(judged->gates[g]);
    }
    judged->values[G] = 0; /* nothing is uncertain about where the end is */
    exits_weight_certainty(judged->values, count, judge->uncertainty_floor, judged->weights);
}

/* Returns the loss of the gates of sample i. */
KERN_FN double exits_judge_gates(const struct exits_judge *judge, const struct exits_judged *judged,
                                 int64_t i)
{
    const int G = judge->G;

    if (judge->teach == EXITS_TEACH_NOTHING) {
        for (int g = 0; g < G; g++) {
            judged->targets[g] = judged->dgates[g] = 0;
        }
        return 0;
    }
    if (judge->teach == EXITS_TEACH_ANSWER) {
        double sum = 0;
        for (int g = 0; g < G; g++) {
            judged->targets[g] = 0;
            judged->dgates[g] = 1; /* by the cross entropy of the answer */
            sum += (double)judged->loss[g];
        }
        return sum;
    }
    if (judge->teach == EXITS_TEACH_DOUBT) {
        exits_uncertainty_targets(judged->loss, G, judged->targets);
        return exits_uncertainty_loss(judged->gates, judged->targets, G, judged->dgates);
    }
    if (judge->teach == EXITS_TEACH_ERROR) {
        for (int g = 0; g < G; g++) {
            judged->targets[g] =
                judge->class_of[g * judge->class_stride + i] == judge->labels[i] ? 0.0f : 1.0f;
        }
        return exits_error_loss(judged->gates, judged->targets, G, judged->dgates);
    }
    if (judge->teach == EXITS_TEACH_MIXTURE) {
        exits_mixture_objectives(judged->gates, judged->loss, judge->costs, judge->lambda, G,
                                 judged->objectives);
    } else {
        exits_objectives(judged->loss, judge->costs, judge->lambda, G, judged->objectives);
    }
    if (judge->teach == EXITS_TEACH_PONDER || judge->teach == EXITS_TEACH_MIXTURE) {
        for (int g = 0; g < G; g++) {
            judged->targets[g] = 0;
        }
        return exits_ponder_loss(&judge->ponder, judged->gates, judged->objectives, G,
                                 judged->dgates);
    }
    exits_targets(judge->target, judged->objectives, G, judged->targets);
    return exits_gate_loss(judged->gates, judged->targets, judge->balance, G, judged->dgates);
}

/* All of sample i but the sums. */
KERN_FN void exits_judge_sample(const struct exits_judge *judge, int64_t i)
{
    const int G = judge->G;
    const struct exits_judged judged = exits_judged_of(judge, i);

    for (int g = 0; g < G; g++) {
        judged.loss[g] = judge->loss_of[g * judge->stride + i];
        judged.gates[g] = judge->gate_of[g * judge->stride + i];
    }
    judged.loss[G] = judge->final_loss[i];
    exits_judge_heads(judge, &judged, i);
    *judged.gate_loss = (float)exits_judge_gates(judge, &judged, i);
    *judged.left = (float)exits_score_exit(judge->score, judge->form, judged.gates, G);
    for (int g = 0; g < G; g++) {
        judge->weights[g * judge->n + i] = judged.weights[g];
        judge->dgates[g * judge->n + i] = judged.dgates[g];
    }
    judge->final_weights[i] += judge->trained > G ? judge->set_share * judged.weights[G] : 0;
}

/* values[0] + values[stride] + ..., n of them, added to `sum` one after the other. */
KERN_FN float exits_judge_add(float sum, const float *values, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        sum += values[i * stride];
    }
    return sum;
}

KERN_FN float exits_judge_add_correct(const struct exits_judge *judge, float sum, int g)
{
    const int32_t *classes =
        g < judge->G ? judge->class_of + g * judge->class_stride : judge->final_class;

    for (int64_t i = 0; i < judge->n; i++) {
        sum += (float)(classes[i] == judge->labels[i]);
    }
    return sum;
}

/* With g < 0 the cost of where samples leave, else how many of them leave at g. */
KERN_FN float exits_judge_add_left(const struct exits_judge *judge, float sum, int g)
{
    const float *left = exits_judged_of(judge, 0).left;
    const int64_t stride = exits_judge_scratch_elems(judge->G);

    for (int64_t i = 0; i < judge->n; i++) {
        const int exit = (int)left[i * stride];
        sum += g < 0 ? (float)judge->costs[exit] : (float)(exit == g);
    }
    return sum;
}

KERN_FN float exits_judge_add_weighted(const struct exits_judge *judge, float sum)
{
    const struct exits_judged first = exits_judged_of(judge, 0);
    const int64_t stride = exits_judge_scratch_elems(judge->G);

    for (int64_t i = 0; i < judge->n; i++) {
        for (int g = 0; g < judge->trained; g++) {
            float loss = judge->own_of != NULL && g < judge->G
                             ? judge->own_of[g * judge->stride + i]
                             : first.loss[i * stride + g];
            if (judge->lesson_of != NULL && g < judge->G) {
                loss += judge->lesson_of[g * judge->stride + i];
            }
            sum += first.weights[i * stride + g] * loss;
        }
    }
    return sum;
}

/* Of losses that are no weighted cross entropies. */
KERN_FN float exits_judge_add_values(const struct exits_judge *judge, float sum)
{
    const float *values = exits_judged_of(judge, 0).values;
    const int64_t stride = exits_judge_scratch_elems(judge->G);

    for (int64_t i = 0; i < judge->n; i++) {
        for (int g = 0; g < judge->trained; g++) {
            sum += values[i * stride + g];
        }
    }
    return sum;
}

/* Sum `which`, over all samples in their order. After all samples have been judged. */
KERN_FN void exits_judge_sum(const struct exits_judge *judge, int64_t which)
{
    const int G = judge->G;
    const int list = which < 4 * (G + 1) ? (int)(which / (G + 1)) : 4;
    const int g = (int)(which - (int64_t)list * (G + 1));
    const struct exits_judged first = exits_judged_of(judge, 0);
    const int64_t stride = exits_judge_scratch_elems(G);
    float sum = judge->sums[which];

    if (list == 0) {
        sum = exits_judge_add(sum, first.loss + g, stride, judge->n);
    } else if (list == 1) {
        sum = exits_judge_add_correct(judge, sum, g);
    } else if (list == 2) {
        sum = exits_judge_add_left(judge, sum, g);
    } else if (list == 3) {
        return; /* bad: counted by kern_xent_forward_fn */
    } else if (g < G) {
        sum = exits_judge_add(sum, first.targets + g, stride, judge->n);
    } else if (g == G) {
        sum = exits_judge_add(sum, first.gate_loss, stride, judge->n);
    } else if (g == G + 1) {
        sum = exits_judge_add_left(judge, sum, -1);
    } else if (judge->weigh == EXITS_WEIGH_FOCAL) {
        sum = exits_judge_add_values(judge, sum);
    } else {
        sum = exits_judge_add_weighted(judge, sum);
    }
    judge->sums[which] = sum;
}

#endif
