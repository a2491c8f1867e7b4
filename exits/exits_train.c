#include "exits/exits_train.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/memory.h"
#include "exits/exits_gate_loss.h"
#include "exits/exits_uncertainty.h"
#include "exits/exits_weight.h"

/* Everything about one sample of one set, small enough for the stack. */
struct sample {
    float loss[MODEL_LAYERS_MAX + 1];
    float gates[MODEL_LAYERS_MAX];
    float weights[MODEL_LAYERS_MAX + 1];
    float targets[MODEL_LAYERS_MAX];
    float dgates[MODEL_LAYERS_MAX];
};

struct exits_trainer {
    const struct exits_net *net;
    struct exits_train_config config;
    const struct exits_balance *balance;
    const struct kern_ops *ops;
    struct exits_work *work;
    float *block;             /* one allocation for what follows */
    float *weights;           /* [G, n], of the heads' cross entropies in one set */
    float *dgates;            /* [G, n] */
    float *final_weights;     /* [n], mean over the sets */
    float *final_loss;        /* [n] */
    float *final_lse;         /* [n] */
    float *dfeatures;         /* [n, D], of one head */
    int32_t *final_predicted; /* [n] */
    int64_t samples_max;
};

/* Floats of one set in the statistics: loss, correct, left, bad [G + 1 each]; open [G]; three more. */
static int64_t set_elems(const struct exits_net *net)
{
    return 5 * (int64_t)exits_net_config_of(net)->count + 7;
}

int64_t exits_statistic_count(const struct exits_net *net)
{
    return exits_net_config_of(net)->set_count * set_elems(net);
}

struct exits_sums exits_sums_of(const struct exits_net *net, const float *statistics, int set)
{
    const int64_t G = exits_net_config_of(net)->count;
    const float *at = statistics + set * set_elems(net);

    return (struct exits_sums){
        .loss = at,
        .correct = at + (G + 1),
        .left = at + 2 * (G + 1),
        .bad = at + 3 * (G + 1),
        .open = at + 4 * (G + 1),
        .gate_loss = at[5 * G + 4],
        .cost = at[5 * G + 5],
        .head_loss = at[5 * G + 6],
    };
}

void exits_balance_add(struct exits_balance *balance, const struct exits_net *net,
                       const float *statistics, double sample_count)
{
    const struct exits_net_config *config = exits_net_config_of(net);

    for (int set = 0; set < config->set_count; set++) {
        const struct exits_sums sums = exits_sums_of(net, statistics, set);
        for (int g = 0; g < config->count; g++) {
            balance->open[set * config->count + g] += (double)sums.open[g];
        }
    }
    balance->sample_count += sample_count;
}

static enum err allocate(struct exits_trainer *trainer)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const int64_t n = trainer->samples_max, G = config->count;

    trainer->final_predicted = calloc((size_t)n, sizeof(*trainer->final_predicted));
    if (trainer->final_predicted == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the losses of the exits");
    }
    ERR_TRY(memory_open_f32(n * (2 * G + 3 + config->width), "the losses of the exits",
                            &trainer->block));
    trainer->weights = trainer->block;
    trainer->dgates = trainer->weights + G * n;
    trainer->final_weights = trainer->dgates + G * n;
    trainer->final_loss = trainer->final_weights + n;
    trainer->final_lse = trainer->final_loss + n;
    trainer->dfeatures = trainer->final_lse + n;
    return exits_work_open(trainer->net, n, &trainer->work);
}

enum err exits_trainer_open(const struct exits_net *net, const struct exits_train_config *config,
                            const struct exits_balance *balance, int64_t samples_max,
                            struct exits_trainer **trainer_out)
{
    struct exits_trainer *trainer = calloc(1, sizeof(*trainer));

    if (trainer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the losses of the exits");
    }
    trainer->net = net;
    trainer->config = *config;
    trainer->balance = balance;
    trainer->ops = exits_net_ops(net);
    trainer->samples_max = samples_max;
    const enum err status = allocate(trainer);
    if (status != ERR_OK) {
        exits_trainer_close(trainer);
        return status;
    }
    *trainer_out = trainer;
    return ERR_OK;
}

void exits_trainer_close(struct exits_trainer *trainer)
{
    if (trainer == NULL) {
        return;
    }
    exits_work_close(trainer->work);
    memory_close(trainer->block);
    free(trainer->final_predicted);
    free(trainer);
}

/* Weights of the heads for one sample; of the final classifier too if `count` is G + 1. */
static void weigh_heads(const struct exits_trainer *trainer, uint64_t phase, int G, int count,
                        struct sample *sample)
{
    const struct exits_train_config *config = &trainer->config;
    float values[MODEL_LAYERS_MAX + 1];

    if ((phase & EXITS_WARMS_UP) != 0 || config->loss == EXITS_LOSS_UNIFORM) {
        exits_weight_uniform(count, sample->weights);
        return;
    }
    if (config->loss == EXITS_LOSS_JEI) {
        exits_probability(config->form, sample->gates, G, values);
        exits_weight_jei(values, count, config->loss_floor, sample->weights);
        return;
    }
    for (int g = 0; g < G; g++) {
        values[g] = exits_sigmoid(sample->gates[g]);
    }
    values[G] = 0; /* nothing is uncertain about where the end is */
    exits_weight_certainty(values, count, config->uncertainty_floor, sample->weights);
}

/* The gates' loss of one sample; fills targets and dgates. */
static double judge_gates(const struct exits_trainer *trainer, int set, int G,
                          struct sample *sample)
{
    const struct exits_train_config *config = &trainer->config;
    double objectives[MODEL_LAYERS_MAX + 1];
    float balance[MODEL_LAYERS_MAX];

    if (config->loss == EXITS_LOSS_UNCERTAINTY) {
        exits_uncertainty_targets(sample->loss, G, sample->targets);
        return exits_uncertainty_loss(sample->gates, sample->targets, G, sample->dgates);
    }
    exits_objectives(sample->loss, config->costs, config->lambdas[set], G, objectives);
    exits_targets(config->target, objectives, G, sample->targets);
    for (int g = 0; g < G && config->balances; g++) {
        balance[g] = exits_balance_weight(trainer->balance->open[set * G + g],
                                          trainer->balance->sample_count);
    }
    return exits_gate_loss(sample->gates, sample->targets, config->balances ? balance : NULL, G,
                           sample->dgates);
}

/* Where the gates let the sample leave. Those that predict uncertainty leave when it is low. */
static int hard_exit(const struct exits_trainer *trainer, int G, const struct sample *sample)
{
    int exit = 0;

    if (trainer->config.loss != EXITS_LOSS_UNCERTAINTY) {
        return exits_hard_exit(trainer->config.form, sample->gates, G);
    }
    while (exit < G && sample->gates[exit] > 0) {
        exit++;
    }
    return exit;
}

/* Weights, targets and sums of all samples of one set, after its forward passes. */
static void judge_set(struct exits_trainer *trainer, int set, const struct step_view *view,
                      float *sums)
{
    const int G = exits_net_config_of(trainer->net)->count;
    const int trained = view->dlogits != NULL ? G + 1 : G;
    const float set_share = 1.0f / (float)exits_net_config_of(trainer->net)->set_count;
    struct exits_view exits[MODEL_LAYERS_MAX];
    struct sample sample;

    for (int g = 0; g < G; g++) {
        exits[g] = exits_view_of(trainer->work, set, g);
    }
    for (int64_t i = 0; i < view->n; i++) {
        for (int g = 0; g < G; g++) {
            sample.loss[g] = exits[g].loss[i];
            sample.gates[g] = exits[g].gate[i];
            sums[G + 1 + g] += (float)(exits[g].predicted[i] == view->labels[i]);
        }
        sample.loss[G] = trainer->final_loss[i];
        sums[G + 1 + G] += (float)(trainer->final_predicted[i] == view->labels[i]);
        weigh_heads(trainer, view->phase, G, trained, &sample);
        sums[5 * G + 4] += (float)judge_gates(trainer, set, G, &sample);
        const int left = hard_exit(trainer, G, &sample);
        sums[2 * (G + 1) + left] += 1;
        sums[5 * G + 5] += (float)trainer->config.costs[left];
        for (int g = 0; g <= G; g++) {
            sums[g] += sample.loss[g];
            sums[5 * G + 6] += g < trained ? sample.weights[g] * sample.loss[g] : 0;
        }
        for (int g = 0; g < G; g++) {
            sums[4 * (G + 1) + g] += sample.targets[g];
            trainer->weights[g * view->n + i] = sample.weights[g];
            trainer->dgates[g * view->n + i] = sample.dgates[g];
        }
        trainer->final_weights[i] += trained > G ? set_share * sample.weights[G] : 0;
    }
}

/* Where the sums of a set count samples whose logits are not finite: [G + 1]. */
static float *bad_of(const struct exits_trainer *trainer, const struct step_view *view, int set)
{
    return view->statistics + set * set_elems(trainer->net) +
           3 * (exits_net_config_of(trainer->net)->count + 1);
}

static void add_dfeatures(const struct exits_trainer *trainer, const struct step_view *view, int g)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const float set_share = 1.0f / (float)config->set_count;

    trainer->ops->add_rows(view->dfeatures[g], config->width, trainer->dfeatures, config->width,
                           set_share, view->n, config->width);
}

static void backward_set(struct exits_trainer *trainer, int set, const struct step_view *view)
{
    const int G = exits_net_config_of(trainer->net)->count;
    float *dfeatures = view->dfeatures == NULL ? NULL : trainer->dfeatures;

    for (int g = 0; g < G; g++) {
        if ((view->phase & EXITS_TRAINS_HEADS) != 0) {
            exits_head_backward(trainer->work, set, g, view->features[g], view->labels,
                                trainer->weights + g * view->n, view->gradients, view->accumulate,
                                dfeatures);
            if (dfeatures != NULL) {
                add_dfeatures(trainer, view, g);
            }
        }
        if ((view->phase & EXITS_TRAINS_GATES) != 0) {
            exits_gate_backward(trainer->work, set, g, trainer->dgates + g * view->n,
                                view->gradients, view->accumulate);
        }
    }
}

static void judge_final(struct exits_trainer *trainer, const struct step_view *view)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const struct kern_xent_out out = {.loss = trainer->final_loss,
                                      .lse = trainer->final_lse,
                                      .predicted = trainer->final_predicted,
                                      .bad = bad_of(trainer, view, 0) + config->count};

    trainer->ops->xent_forward(&out, view->logits, view->labels, view->n, config->classes);
}

static void forward_set(struct exits_trainer *trainer, int set, const struct step_view *view)
{
    for (int g = 0; g < exits_net_config_of(trainer->net)->count; g++) {
        exits_forward(trainer->work, set, g, view->features[g], view->n, view->labels,
                      bad_of(trainer, view, set) + g);
    }
}

static enum err check(void *self, const float *statistics)
{
    const struct exits_trainer *trainer = self;
    const struct exits_net_config *config = exits_net_config_of(trainer->net);

    for (int set = 0; set < config->set_count; set++) {
        const struct exits_sums sums = exits_sums_of(trainer->net, statistics, set);
        if (sums.bad[config->count] > 0) {
            return ERR_FAIL(ERR_NOT_FINITE, "the final logits of %.0f samples are not finite",
                            (double)sums.bad[config->count]);
        }
        for (int g = 0; g < config->count; g++) {
            if (sums.bad[g] > 0) {
                return ERR_FAIL(ERR_NOT_FINITE,
                                "the logits of %.0f samples at the exit behind layer %" PRId64
                                " are not finite: a lower head_learning_rate may help",
                                (double)sums.bad[g], config->layers[g] + 1);
            }
        }
    }
    return ERR_OK;
}

static void losses(void *self, const struct step_view *view)
{
    struct exits_trainer *trainer = self;
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const uint64_t both = EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES;

    assert(view->n <= trainer->samples_max);
    if (!view->accumulate && (view->phase & both) != both) { /* nobody else writes the rest */
        trainer->ops->zero(view->gradients, exits_net_params(trainer->net)->block_elems);
    }
    memset(trainer->final_weights, 0, (size_t)view->n * sizeof(float));
    for (int g = 0; g < config->count && view->dfeatures != NULL; g++) {
        trainer->ops->zero(view->dfeatures[g], view->n * config->width);
    }
    judge_final(trainer, view);
    for (int set = 0; set < config->set_count; set++) {
        forward_set(trainer, set, view);
        judge_set(trainer, set, view, view->statistics + set * set_elems(trainer->net));
        backward_set(trainer, set, view);
    }
    if (view->dlogits != NULL) {
        trainer->ops->xent_backward(view->dlogits, view->logits, trainer->final_lse, view->labels,
                                    trainer->final_weights, view->n, config->classes);
    }
}

struct step_tap exits_trainer_tap(struct exits_trainer *trainer)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);

    return (struct step_tap){
        .self = trainer,
        .layers = config->layers,
        .layer_count = config->count,
        .gradient_elems = exits_net_params(trainer->net)->block_elems,
        .statistic_count = exits_statistic_count(trainer->net),
        .losses = losses,
        .check = check,
    };
}
