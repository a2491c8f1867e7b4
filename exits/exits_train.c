#include "exits/exits_train.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/device/device.h"

/* Weights that are functions of the step: of the method, and of its warm-up. */
enum { FIXED, FIXED_WARM_UP, FIXED_COUNT };

struct exits_trainer {
    const struct exits_net *net;
    struct exits_train_config config;
    struct exits_method method;
    struct exits_moment at;
    const struct exits_balance *balance;
    const struct kern_ops *ops;
    struct exits_work *work;
    bool shares_heads, shares_gates; /* between sets: exits_work_share() */
    exits_judge_fn *judge;
    double *costs;        /* [G + 1], of the device */
    float *class_weights; /* [K], of the device, or NULL */
    float *step_weights;  /* on the host, in this step: fixed [FIXED_COUNT, G + 1], and of open */
    void *staging;        /* targets [S, G]; where the device gets them, NULL on a CPU; */
    const float *fixed;   /* and where it finds both */
    const float *balances;
    float *block;             /* one allocation for what follows, of the device */
    float *scratch;           /* [n, exits_judge_scratch_elems()] */
    float *weights;           /* [G, n], of the heads' cross entropies in one set */
    float *dgates;            /* [G, n] */
    float *final_weights;     /* [n], mean over the sets */
    float *final_loss;        /* [n] */
    float *final_lse;         /* [n] */
    float *dfeatures;         /* [n, D], of one head */
    int32_t *final_predicted; /* [n] */
    int64_t samples_max;
};

/* Floats of one set in the statistics. */
static int64_t set_elems(const struct exits_net *net)
{
    return exits_judge_sum_count(exits_net_config_of(net)->count);
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

static struct device *device_of(const struct exits_trainer *trainer)
{
    return trainer->ops->device;
}

/* A copy of `bytes` bytes for the device; *there_out is set also where the copy fails. */
static enum err open_copy(const struct exits_trainer *trainer, const void *from, size_t bytes,
                          const char *what, void **there_out)
{
    struct device_view view;

    ERR_TRY(device_memory_open(device_of(trainer), bytes, what, there_out));
    ERR_TRY(device_view_open(device_of(trainer), *there_out, bytes, &view));
    memcpy(view.host, from, bytes);
    return device_view_close(&view, true);
}

static enum err open_constants(struct exits_trainer *trainer)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    void *costs = NULL, *weights = NULL;
    enum err status = open_copy(trainer, trainer->config.costs,
                                (size_t)(config->count + 1) * sizeof(*trainer->costs),
                                "costs of the exits", &costs);

    trainer->costs = costs;
    if (status == ERR_OK && trainer->config.class_weights != NULL) {
        status = open_copy(trainer, trainer->config.class_weights,
                           (size_t)config->classes * sizeof(float), "weights of classes", &weights);
        trainer->class_weights = weights;
    }
    return status;
}

static int64_t step_weight_count(const struct exits_trainer *trainer)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);

    return FIXED_COUNT * (config->count + 1) + config->set_count * config->count;
}

/* Sets that begin alike and do not know their prices stay alike: they are trained once. */
static enum err share(struct exits_trainer *trainer)
{
    const bool heads = !exits_method_heads_know_price(&trainer->method);
    const bool gates = !exits_method_gates_know_price(&trainer->method);
    bool are_equal = false;

    if (heads && exits_net_config_of(trainer->net)->set_count > 1) {
        ERR_TRY(exits_net_compare(trainer->net, &are_equal));
    }
    trainer->shares_heads = heads && are_equal;
    trainer->shares_gates = gates && are_equal;
    exits_work_share(trainer->work, trainer->shares_heads, trainer->shares_gates);
    return ERR_OK;
}

static enum err allocate(struct exits_trainer *trainer)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const int64_t n = trainer->samples_max, G = config->count;
    const size_t weight_bytes = (size_t)step_weight_count(trainer) * sizeof(float);
    void *pinned = NULL;

    ERR_TRY(device_memory_open_f32(
        device_of(trainer),
        n * (exits_judge_scratch_elems(config->count) + 2 * G + 4 + config->width),
        "the losses of the exits", &trainer->block));
    trainer->scratch = trainer->block;
    trainer->weights = trainer->scratch + n * exits_judge_scratch_elems(config->count);
    trainer->dgates = trainer->weights + G * n;
    trainer->final_weights = trainer->dgates + G * n;
    trainer->final_loss = trainer->final_weights + n;
    trainer->final_lse = trainer->final_loss + n;
    trainer->final_predicted = (int32_t *)(void *)(trainer->final_lse + n);
    trainer->dfeatures = trainer->final_lse + 2 * n;
    ERR_TRY(open_constants(trainer));
    ERR_TRY(device_pinned_open(device_of(trainer), weight_bytes, "weights of a step", &pinned));
    trainer->step_weights = pinned;
    if (device_kind(device_of(trainer)) != DEVICE_CPU) {
        ERR_TRY(device_memory_open(device_of(trainer), weight_bytes, "weights of a step",
                                   &trainer->staging));
    }
    ERR_TRY(exits_work_open(trainer->net, n, &trainer->work));
    return share(trainer);
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
    trainer->method = exits_method_with(config->loss, exits_net_config_of(net)->gate);
    trainer->at = (struct exits_moment){0, 1};
    trainer->balance = balance;
    trainer->ops = exits_net_ops(net);
    trainer->samples_max = samples_max;
    trainer->judge =
        device_kind(device_of(trainer)) == DEVICE_CUDA ? exits_judge_cuda : exits_judge_cpu;
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
    device_memory_close(device_of(trainer), trainer->staging);
    device_pinned_close(device_of(trainer), trainer->step_weights);
    device_memory_close(device_of(trainer), trainer->class_weights);
    device_memory_close(device_of(trainer), trainer->costs);
    device_memory_close(device_of(trainer), trainer->block);
    free(trainer);
}

void exits_trainer_at(struct exits_trainer *trainer, struct exits_moment at)
{
    assert(at.step >= 0 && at.step_count > 0);
    trainer->at = at;
}

static bool is_fixed(enum exits_weigh weigh)
{
    return weigh >= EXITS_WEIGH_LINEAR;
}

/* How much heads count, and open targets, in this step. */
static enum err prepare(void *self)
{
    struct exits_trainer *trainer = self;
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const enum exits_weigh weighs[FIXED_COUNT] = {trainer->method.weigh, trainer->config.warm_up};
    float *open_weights = trainer->step_weights + FIXED_COUNT * (config->count + 1);
    struct exits_schedule schedule = trainer->config.schedule;
    const void *staged = NULL;

    if (!trainer->config.balances && !is_fixed(weighs[FIXED]) && !is_fixed(weighs[FIXED_WARM_UP])) {
        return ERR_OK;
    }
    schedule.G = config->count;
    memcpy(schedule.layers, config->layers, sizeof(schedule.layers));
    for (int f = 0; f < FIXED_COUNT; f++) {
        schedule.weigh = weighs[f];
        exits_schedule_weights(&schedule, trainer->at,
                               trainer->step_weights + f * (config->count + 1));
    }
    for (int i = 0; i < config->set_count * config->count; i++) {
        open_weights[i] =
            exits_balance_weight(trainer->balance->open[i], trainer->balance->sample_count);
    }
    ERR_TRY(device_stage(device_of(trainer), trainer->staging, trainer->step_weights,
                         (size_t)step_weight_count(trainer) * sizeof(float), &staged));
    trainer->fixed = staged;
    trainer->balances = trainer->fixed + FIXED_COUNT * (config->count + 1);
    return ERR_OK;
}

/* Without the end's own steps there are none to take turns with. */
static enum exits_weigh weigh_of(const struct exits_trainer *trainer, const struct step_view *view)
{
    if ((view->phase & EXITS_WARMS_UP) != 0) {
        return trainer->config.warm_up;
    }
    return trainer->method.weigh == EXITS_WEIGH_ALTERNATE && view->dlogits == NULL
               ? EXITS_WEIGH_EQUAL
               : trainer->method.weigh;
}

/* Weights, targets and sums of all samples of one set, after its forward passes. */
static void judge_set(struct exits_trainer *trainer, int set, const struct step_view *view)
{
    const struct exits_train_config *config = &trainer->config;
    const struct exits_net_config *net = exits_net_config_of(trainer->net);
    const struct exits_view first = exits_view_of(trainer->work, set, 0);
    const struct exits_strides strides = exits_strides_of(trainer->work);
    const bool warms_up = (view->phase & EXITS_WARMS_UP) != 0;
    const struct exits_judge judge = {
        .G = net->count,
        .trained = view->dlogits != NULL ? net->count + 1 : net->count,
        .weigh = weigh_of(trainer, view),
        .teach = trainer->method.teach,
        .score = trainer->method.score,
        .form = config->form,
        .target = config->target,
        .loss_floor = config->loss_floor,
        .uncertainty_floor = config->uncertainty_floor,
        .gamma = config->focal_gamma,
        .class_weights = trainer->class_weights,
        .ponder =
            trainer->method.teach == EXITS_TEACH_MIXTURE ? exits_mixture_ponder() : config->ponder,
        .lambda = config->lambdas[set],
        .set_share = 1.0f / (float)net->set_count,
        .n = view->n,
        .costs = trainer->costs,
        .fixed = trainer->fixed == NULL
                     ? NULL
                     : trainer->fixed + (warms_up ? FIXED_WARM_UP : FIXED) * (net->count + 1),
        .balance = config->balances ? trainer->balances + set * net->count : NULL,
        .loss_of = first.loss,
        .gate_of = first.gate,
        .lesson_of = trainer->method.teacher == EXITS_TEACHER_NOBODY ? NULL : first.lesson,
        .own_of = net->gate == EXITS_GATE_ENSEMBLE ? first.own_loss : NULL,
        .stride = strides.stride,
        .class_of = first.predicted,
        .class_stride = strides.class_stride,
        .final_loss = trainer->final_loss,
        .final_class = trainer->final_predicted,
        .labels = view->labels,
        .scratch = trainer->scratch,
        .weights = trainer->weights,
        .dgates = trainer->dgates,
        .final_weights = trainer->final_weights,
        .sums = view->statistics + set * set_elems(trainer->net),
    };

    trainer->judge(&judge);
}

/* Where the sums of a set count samples whose logits are not finite: [G + 1]. */
static float *bad_of(const struct exits_trainer *trainer, const struct step_view *view, int set)
{
    return view->statistics + set * set_elems(trainer->net) +
           3 * (exits_net_config_of(trainer->net)->count + 1);
}

/* Of one set, or of all that share it, one after the other. */
static void add_dfeatures(const struct exits_trainer *trainer, const struct step_view *view, int g)
{
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const float set_share = 1.0f / (float)config->set_count;

    for (int set = 0; set < (trainer->shares_heads ? config->set_count : 1); set++) {
        trainer->ops->add_rows(view->dfeatures[g], config->width, trainer->dfeatures, config->width,
                               set_share, view->n, config->width);
    }
}

static void backward_set(struct exits_trainer *trainer, int set, const struct step_view *view)
{
    const int G = exits_net_config_of(trainer->net)->count;
    float *dfeatures = view->dfeatures == NULL ? NULL : trainer->dfeatures;
    const bool heads =
        (view->phase & EXITS_TRAINS_HEADS) != 0 && (set == 0 || !trainer->shares_heads);
    const bool gates =
        (view->phase & EXITS_TRAINS_GATES) != 0 && (set == 0 || !trainer->shares_gates);

    for (int g = 0; g < G; g++) {
        if (heads) {
            exits_head_backward(trainer->work, set, g, view->features[g], view->labels,
                                trainer->weights + g * view->n, view->gradients, view->accumulate,
                                dfeatures);
            if (dfeatures != NULL) {
                add_dfeatures(trainer, view, g);
            }
        }
        if (gates) {
            exits_gate_backward(trainer->work, set, g, view->features[g],
                                trainer->dgates + g * view->n, view->gradients, view->accumulate);
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

/* Teachers are the logits of this pass, of the end or of the exit behind. */
static void follow_set(struct exits_trainer *trainer, int set, const struct step_view *view)
{
    const int G = exits_net_config_of(trainer->net)->count;

    if (trainer->method.teacher == EXITS_TEACHER_NOBODY || (set > 0 && trainer->shares_heads)) {
        return;
    }
    for (int g = 0; g < G; g++) {
        const bool is_end = trainer->method.teacher == EXITS_TEACHER_LAST || g == G - 1;
        exits_follow(trainer->work, set, g,
                     is_end ? view->logits : exits_view_of(trainer->work, set, g + 1).logits,
                     &trainer->config.distill);
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

static enum err losses(void *self, const struct step_view *view)
{
    struct exits_trainer *trainer = self;
    const struct exits_net_config *config = exits_net_config_of(trainer->net);
    const uint64_t both = EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES;

    assert(view->n <= trainer->samples_max);
    if (!view->accumulate && (view->phase & both) != both) { /* nobody else writes the rest */
        trainer->ops->zero(view->gradients, exits_net_params(trainer->net)->block_elems);
    }
    trainer->ops->zero(trainer->final_weights, view->n);
    for (int g = 0; g < config->count && view->dfeatures != NULL; g++) {
        trainer->ops->zero(view->dfeatures[g], view->n * config->width);
    }
    judge_final(trainer, view);
    for (int set = 0; set < config->set_count; set++) {
        forward_set(trainer, set, view);
        follow_set(trainer, set, view);
        judge_set(trainer, set, view);
        backward_set(trainer, set, view);
    }
    if (trainer->shares_heads) {
        exits_share_gradients(trainer->work, view->gradients);
    }
    if (view->dlogits != NULL) {
        trainer->ops->xent_backward(view->dlogits, view->logits, trainer->final_lse, view->labels,
                                    trainer->final_weights, view->n, config->classes);
    }
    return ERR_OK;
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
        .prepare = prepare,
        .losses = losses,
        .check = check,
    };
}
