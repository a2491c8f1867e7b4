#include "trainer/step/step.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "comm/device/device_replay.h"
#include "trainer/step/step_sum.h"

/* The step's own sums, before the tap's. */
enum { SUM_SAMPLES, SUM_VOTES, SUM_LOSS, SUM_CORRECT, SUM_BAD, SUM_COUNT };

enum { READ_MS = 60000 }; /* for what is on the device's stream before it */

struct step {
    struct step_options options;
    struct step_tap tap; /* layer_count 0 if there is none */
    struct model_work *work;
    struct step_sum *sum;
    bool votes;                    /* in the micro-batch that is next */
    struct device_replay *replays; /* [micro_count, piece_count] */
    int piece_count; /* of a micro-batch's work: parts of the backward pass, then the forward one */
    int64_t leaf;    /* the micro-batch that is next */
    uint64_t phase;  /* that the work was recorded with */
    bool is_irregular; /* micro-batches differ in what they do: nothing is recorded any more */
    bool skips[MODEL_LAYERS_MAX]; /* layers that the next micro-batch leaves out */
    int64_t backbone_elems;       /* 0 if it is frozen */
    int64_t vector_elems;
    int part_count;           /* buckets: the backbone's parts, then the tap, then the statistics */
    float *rows;              /* one allocation for what follows */
    float *pooled;            /* [n R, D], final */
    float *dpooled;           /* [n R, D] */
    float *logits;            /* [n R, K] */
    float *dlogits;           /* [n R, K] */
    float *loss, *lse, *ones; /* [n R] */
    int32_t *predicted;       /* [n R] */
    struct model_stage *stage; /* where the device has the samples of a micro-batch, */
    void *labels;              /* and their labels; NULL on a CPU */
    float *sums;               /* [SUM_COUNT + statistic_count], on the host: those of the step */
    float **features;          /* [layer_count] of [n R, D] */
    float **dfeatures;
};

static struct device *device_of(const struct step *step)
{
    return model_ops(step->options.model)->device;
}

/* The rows of so many samples. */
static int64_t rows_of(const struct step *step, int64_t samples)
{
    return samples * model_config_rows(model_config_of(step->options.model));
}

static enum err fill_ones(struct step *step, int64_t n)
{
    struct device_view view;

    ERR_TRY(device_view_open(device_of(step), step->ones, (size_t)n * sizeof(float), &view));
    for (int64_t i = 0; i < n; i++) {
        ((float *)view.host)[i] = 1;
    }
    return device_view_close(&view, true);
}

static enum err open_rows(struct step *step)
{
    const struct model_config *config = model_config_of(step->options.model);
    const int64_t n = rows_of(step, step->options.micro_samples);
    const int64_t D = config->hidden_size, K = config->num_labels;
    const int64_t taps = step->tap.layer_count;

    step->features = calloc((size_t)taps + 1, sizeof(float *));
    step->dfeatures = calloc((size_t)taps + 1, sizeof(float *));
    if (step->features == NULL || step->dfeatures == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the rows of a micro-batch");
    }
    ERR_TRY(device_memory_open_f32(device_of(step), n * ((2 + 2 * taps) * D + 2 * K + 4),
                                   "the rows of a micro-batch", &step->rows));
    float *at = step->rows;
    step->pooled = at;
    step->dpooled = at += n * D;
    for (int64_t i = 0; i < taps; i++) {
        step->features[i] = at += n * D;
        step->dfeatures[i] = at += n * D;
    }
    step->logits = at += n * D;
    step->dlogits = at += n * K;
    step->loss = at += n * K;
    step->lse = at += n;
    step->predicted = (int32_t *)(void *)(at += n);
    step->ones = at + n;
    return fill_ones(step, n);
}

/* Where micro-batches and sums change between host and device. */
static enum err open_exchange(struct step *step)
{
    const struct model_config *config = model_config_of(step->options.model);
    const size_t n = (size_t)rows_of(step, step->options.micro_samples);
    const size_t sums = (size_t)(SUM_COUNT + step->tap.statistic_count);
    void *pinned = NULL;

    ERR_TRY(device_pinned_open(device_of(step), sums * sizeof(float), "sums of a step", &pinned));
    step->sums = pinned;
    ERR_TRY(model_stage_open(config, device_of(step), step->options.micro_samples, &step->stage));
    if (device_kind(device_of(step)) == DEVICE_CPU) {
        return ERR_OK;
    }
    return device_memory_open(device_of(step), n * sizeof(int32_t), "labels", &step->labels);
}

static enum err open_sum(struct step *step)
{
    const struct step_options *options = &step->options;
    const struct param_list *params = model_params(options->model);
    const int parts =
        options->trains_backbone ? (int)model_part_count(model_config_of(options->model)) : 0;
    int64_t *elems = calloc((size_t)parts + 2, sizeof(*elems));

    if (elems == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of buckets");
    }
    for (int part = 0; part < parts; part++) {
        int64_t begin = 0, end = 0;
        param_list_part(params, part, &begin, &end);
        elems[part] = end - begin;
    }
    elems[parts] = step->tap.gradient_elems;
    elems[parts + 1] = SUM_COUNT + step->tap.statistic_count;
    step->part_count = parts;
    step->backbone_elems = parts > 0 ? params->block_elems : 0;
    step->vector_elems = step->backbone_elems + elems[parts] + elems[parts + 1];
    const enum err status = step_sum_open(options->group, options->order, model_ops(options->model),
                                          elems, parts + 2, options->micro_count, &step->sum);
    free(elems);
    return status;
}

static enum err open_replays(struct step *step)
{
    step->piece_count = step->part_count + 1;
    step->replays =
        calloc((size_t)(step->options.micro_count * step->piece_count), sizeof(*step->replays));
    return step->replays == NULL ? ERR_FAIL(ERR_NO_MEMORY, "the pieces of a step") : ERR_OK;
}

static void forget_replays(struct step *step)
{
    for (int64_t i = 0; step->replays != NULL && i < step->options.micro_count * step->piece_count;
         i++) {
        device_replay_close(&step->replays[i]);
    }
}

enum err step_open(const struct step_options *options, struct step **step_out)
{
    struct step *step = calloc(1, sizeof(*step));
    enum err status = ERR_OK;

    if (step == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a step");
    }
    step->options = *options;
    /* Texts are as wide as they are long: no two micro-batches have the same work. */
    step->is_irregular = model_config_of(options->model)->embedding == MODEL_EMBEDDING_TOKENS;
    if (options->tap != NULL) {
        step->tap = *options->tap;
    }
    ERR_GOTO(err_close, status,
             model_work_open(options->model, options->micro_samples, options->trains_backbone,
                             &step->work));
    ERR_GOTO(err_close, status, open_rows(step));
    ERR_GOTO(err_close, status, open_exchange(step));
    ERR_GOTO(err_close, status, open_sum(step));
    ERR_GOTO(err_close, status, open_replays(step));
    *step_out = step;
    return ERR_OK;

err_close:
    step_close(step);
    return status;
}

void step_close(struct step *step)
{
    if (step == NULL) {
        return;
    }
    step_sum_close(step->sum);
    forget_replays(step);
    free(step->replays);
    model_work_close(step->work);
    device_memory_close(device_of(step), step->labels);
    model_stage_close(step->stage);
    device_pinned_close(device_of(step), step->sums);
    device_memory_close(device_of(step), step->rows);
    free(step->features);
    free(step->dfeatures);
    free(step);
}

int64_t step_bytes(const struct step *step)
{
    return model_work_bytes(step->work) + step->vector_elems * (int64_t)sizeof(float);
}

/* Runs all layers; fills features, pooled and logits. */
static void forward(struct step *step, const struct model_input *input, int64_t n)
{
    const int64_t layers = model_config_of(step->options.model)->num_hidden_layers;
    int tapped = 0;

    model_embed_forward(step->work, input, n);
    for (int64_t layer = 0; layer < layers; layer++) {
        if (step->skips[layer]) {
            model_block_skip(step->work, layer);
        } else {
            model_block_forward(step->work, layer);
        }
        if (tapped < step->tap.layer_count && step->tap.layers[tapped] == layer) {
            model_pool(step->work, step->features[tapped]);
            tapped++;
        }
    }
    model_pool(step->work, step->pooled);
    model_head_forward(step->work, step->logits, step->pooled);
}

/* The final classifier's cross entropy, for the sums and, without a tap, as the loss. */
static void final_loss(struct step *step, const int32_t *labels, int64_t n, float *sums)
{
    const struct kern_ops *ops = model_ops(step->options.model);
    const int64_t K = model_config_of(step->options.model)->num_labels;
    const struct kern_xent_out out = {
        .loss = step->loss, .lse = step->lse, .predicted = step->predicted, .bad = sums + SUM_BAD};

    ops->xent_forward(&out, step->logits, labels, n, K);
    ops->tally(&sums[SUM_LOSS], &sums[SUM_CORRECT], step->loss, step->predicted, labels, n);
    if (step->tap.losses == NULL && step->options.trains_backbone) {
        ops->xent_backward(step->dlogits, step->logits, step->lse, labels, step->ones, n, K);
    }
}

/* What the pieces of a micro-batch's work are about. */
struct micro_batch {
    struct model_input input; /* of the device */
    const int32_t *labels;
    int64_t n, rows;
    uint64_t phase;
    float *vector;
    bool accumulate;
    int64_t layer; /* of layer_backward() */
};

static enum err forward_and_losses(void *self, const void *arguments)
{
    struct step *step = self;
    const struct micro_batch *micro = arguments;
    const bool trains = step->options.trains_backbone;
    float *tap_gradients = micro->vector + step->backbone_elems;
    float *sums = tap_gradients + step->tap.gradient_elems;

    forward(step, &micro->input, micro->n);
    final_loss(step, micro->labels, micro->rows, sums);
    if (step->tap.losses == NULL) {
        return ERR_OK;
    }
    const struct step_view view = {
        .n = micro->rows,
        .features = (const float *const *)step->features,
        .logits = step->logits,
        .labels = micro->labels,
        .phase = micro->phase,
        .dfeatures = trains ? step->dfeatures : NULL,
        .dlogits = trains ? step->dlogits : NULL,
        .gradients = tap_gradients,
        .accumulate = micro->accumulate,
        .statistics = sums + SUM_COUNT,
    };
    return step->tap.losses(step->tap.self, &view);
}

static enum err head_backward(void *self, const void *arguments)
{
    struct step *step = self;
    const struct micro_batch *micro = arguments;

    model_head_backward(step->work, step->dpooled, step->dlogits, micro->vector, micro->accumulate);
    return ERR_OK;
}

static enum err layer_backward(void *self, const void *arguments)
{
    struct step *step = self;
    const struct micro_batch *micro = arguments;

    if (micro->layer == model_config_of(step->options.model)->num_hidden_layers - 1) {
        model_pool_backward(step->work, step->dpooled, true);
    }
    for (int i = 0; i < step->tap.layer_count; i++) {
        if (step->tap.layers[i] == micro->layer) {
            model_pool_backward(step->work, step->dfeatures[i], false);
        }
    }
    if (step->skips[micro->layer]) {
        model_block_skip_backward(step->work, micro->layer, micro->vector, micro->accumulate);
    } else {
        model_block_backward(step->work, micro->layer, micro->vector, micro->accumulate);
    }
    return ERR_OK;
}

static enum err embed_backward(void *self, const void *arguments)
{
    struct step *step = self;
    const struct micro_batch *micro = arguments;

    model_embed_backward(step->work, micro->vector, micro->accumulate);
    return ERR_OK;
}

/* A piece of the present leaf's work, which is that of the same leaf of the step before. */
static enum err run_piece(struct step *step, int piece, device_work_fn *work,
                          const struct micro_batch *micro)
{
    if (step->is_irregular) {
        return work(step, micro);
    }
    return device_replay_run(&step->replays[step->leaf * step->piece_count + piece],
                             device_of(step), work, step, micro);
}

/* Each part of the gradient is announced when it is complete. */
static enum err backward(struct step *step, struct micro_batch *micro)
{
    const int layers = (int)model_config_of(step->options.model)->num_hidden_layers;

    ERR_TRY(run_piece(step, layers + 1, head_backward, micro));
    ERR_TRY(step_sum_ready(step->sum, layers + 1));
    for (int layer = layers - 1; layer >= 0; layer--) {
        micro->layer = layer;
        ERR_TRY(run_piece(step, layer + 1, layer_backward, micro));
        ERR_TRY(step_sum_ready(step->sum, layer + 1));
    }
    ERR_TRY(run_piece(step, 0, embed_backward, micro));
    return step_sum_ready(step->sum, 0);
}

/* Samples and labels to where the device finds them; sums to where the leaf begins. */
static enum err begin_micro_batch(struct step *step, const struct model_input *input,
                                  const int32_t *labels, struct micro_batch *micro)
{
    const struct kern_ops *ops = model_ops(step->options.model);
    float *sums = micro->vector + step->backbone_elems + step->tap.gradient_elems;
    const void *staged = NULL;

    if (!micro->accumulate) {
        ops->zero(sums, SUM_COUNT + step->tap.statistic_count);
    }
    ops->count(&sums[SUM_SAMPLES], (float)micro->rows, step->votes ? 1 : 0);
    step->votes = false;
    ERR_TRY(model_stage_put(step->stage, input, micro->n, &micro->input));
    ERR_TRY(device_stage(ops->device, step->labels, labels, (size_t)micro->rows * sizeof(*labels),
                         &staged));
    micro->labels = staged;
    return ERR_OK;
}

enum err step_micro_batch(struct step *step, const struct model_input *input, const int32_t *labels,
                          int64_t n, uint64_t phase)
{
    struct micro_batch micro = {.n = n, .rows = rows_of(step, n), .phase = phase};

    assert(n >= 1 && n <= step->options.micro_samples);
    micro.vector = step_sum_begin_leaf(step->sum, &micro.accumulate);
    if (step->phase != phase || n != step->options.micro_samples) {
        forget_replays(step);
        step->phase = phase;
        step->is_irregular = step->is_irregular || n != step->options.micro_samples;
    }
    ERR_TRY(begin_micro_batch(step, input, labels, &micro));
    if (step->tap.prepare != NULL) {
        ERR_TRY(step->tap.prepare(step->tap.self));
    }
    ERR_TRY(run_piece(step, step->part_count, forward_and_losses, &micro));
    ERR_TRY(step_sum_ready(step->sum, step->part_count));
    ERR_TRY(step_sum_ready(step->sum, step->part_count + 1));
    if (step->options.trains_backbone) {
        ERR_TRY(backward(step, &micro));
    }
    step->leaf = (step->leaf + 1) % step->options.micro_count;
    return step_sum_end_leaf(step->sum);
}

void step_skip_layers(struct step *step, const bool skips[])
{
    const int64_t layers = model_config_of(step->options.model)->num_hidden_layers;

    forget_replays(step);
    step->is_irregular = true;
    memcpy(step->skips, skips, (size_t)layers * sizeof(skips[0]));
}

void step_vote(struct step *step)
{
    step->votes = true;
}

enum err step_finish(struct step *step, int64_t deadline_ms, struct step_result *result_out)
{
    const float *vector = NULL;

    ERR_TRY(step_sum_finish(step->sum, deadline_ms, &vector));
    const float *tap_gradients = vector + step->backbone_elems;
    const float *sums = step->sums;
    ERR_TRY(device_read(device_of(step), step->sums, tap_gradients + step->tap.gradient_elems,
                        (size_t)(SUM_COUNT + step->tap.statistic_count) * sizeof(float), READ_MS));
    if (sums[SUM_BAD] > 0) {
        return ERR_FAIL(ERR_NOT_FINITE,
                        "the final logits of %.0f of %.0f samples are NaN or infinite: a lower "
                        "learning_rate or max_grad_norm may help",
                        (double)sums[SUM_BAD], (double)sums[SUM_SAMPLES]);
    }
    if (step->tap.check != NULL) {
        ERR_TRY(step->tap.check(step->tap.self, sums + SUM_COUNT));
    }
    *result_out = (struct step_result){
        .sample_count = sums[SUM_SAMPLES],
        .votes = sums[SUM_VOTES],
        .loss = sums[SUM_LOSS],
        .correct = sums[SUM_CORRECT],
        .gradients = step->options.trains_backbone ? vector : NULL,
        .tap_gradients = tap_gradients,
        .tap_statistics = sums + SUM_COUNT,
    };
    return ERR_OK;
}
