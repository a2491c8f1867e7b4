#include "trainer/step/step.h"

#include <assert.h>
#include <stdlib.h>

#include "comm/device/device.h"
#include "trainer/step/step_sum.h"

/* The step's own sums, before the tap's. */
enum { SUM_SAMPLES, SUM_VOTES, SUM_LOSS, SUM_CORRECT, SUM_BAD, SUM_COUNT };

enum { READ_MS = 60000 }; /* for what is on the device's stream before it */

struct step {
    struct step_options options;
    struct step_tap tap; /* layer_count 0 if there is none */
    struct model_work *work;
    struct step_sum *sum;
    bool votes;             /* in the micro-batch that is next */
    int64_t backbone_elems; /* 0 if it is frozen */
    int64_t vector_elems;
    int part_count;           /* buckets: the backbone's parts, then the tap, then the statistics */
    float *rows;              /* one allocation for what follows */
    float *pooled;            /* [n, D], final */
    float *dpooled;           /* [n, D] */
    float *logits;            /* [n, K] */
    float *dlogits;           /* [n, K] */
    float *loss, *lse, *ones; /* [n] */
    int32_t *predicted;       /* [n] */
    void *images, *labels;    /* where the device has those of a micro-batch; NULL on a CPU */
    float *sums;              /* [SUM_COUNT + statistic_count], on the host: those of the step */
    float **features;         /* [layer_count] of [n, D] */
    float **dfeatures;
};

static struct device *device_of(const struct step *step)
{
    return model_ops(step->options.model)->device;
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
    const int64_t n = step->options.micro_samples;
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
    const size_t n = (size_t)step->options.micro_samples;
    const size_t pixels = (size_t)(config->num_channels * config->image_size * config->image_size);
    const size_t sums = (size_t)(SUM_COUNT + step->tap.statistic_count);
    void *pinned = NULL;

    ERR_TRY(device_pinned_open(device_of(step), sums * sizeof(float), "sums of a step", &pinned));
    step->sums = pinned;
    if (device_kind(device_of(step)) == DEVICE_CPU) {
        return ERR_OK;
    }
    ERR_TRY(
        device_memory_open(device_of(step), n * pixels * sizeof(float), "images", &step->images));
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

enum err step_open(const struct step_options *options, struct step **step_out)
{
    struct step *step = calloc(1, sizeof(*step));
    enum err status = ERR_OK;

    if (step == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a step");
    }
    step->options = *options;
    if (options->tap != NULL) {
        step->tap = *options->tap;
    }
    ERR_GOTO(err_close, status,
             model_work_open(options->model, options->micro_samples, options->trains_backbone,
                             &step->work));
    ERR_GOTO(err_close, status, open_rows(step));
    ERR_GOTO(err_close, status, open_exchange(step));
    ERR_GOTO(err_close, status, open_sum(step));
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
    model_work_close(step->work);
    device_memory_close(device_of(step), step->labels);
    device_memory_close(device_of(step), step->images);
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
static void forward(struct step *step, const float *images, int64_t n)
{
    const int64_t layers = model_config_of(step->options.model)->num_hidden_layers;
    int tapped = 0;

    model_embed_forward(step->work, images, n);
    for (int64_t layer = 0; layer < layers; layer++) {
        model_block_forward(step->work, layer);
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

static enum err backward(struct step *step, float *vector, bool accumulate)
{
    const int64_t layers = model_config_of(step->options.model)->num_hidden_layers;
    int tapped = step->tap.layer_count;

    model_head_backward(step->work, step->dpooled, step->dlogits, vector, accumulate);
    ERR_TRY(step_sum_ready(step->sum, (int)layers + 1));
    model_pool_backward(step->work, step->dpooled, true);
    for (int64_t layer = layers - 1; layer >= 0; layer--) {
        if (tapped > 0 && step->tap.layers[tapped - 1] == layer) {
            tapped--;
            model_pool_backward(step->work, step->dfeatures[tapped], false);
        }
        model_block_backward(step->work, layer, vector, accumulate);
        ERR_TRY(step_sum_ready(step->sum, (int)layer + 1));
    }
    model_embed_backward(step->work, vector, accumulate);
    return step_sum_ready(step->sum, 0);
}

enum err step_micro_batch(struct step *step, const float *images, const int32_t *labels, int64_t n,
                          uint64_t phase)
{
    const struct kern_ops *ops = model_ops(step->options.model);
    const struct model_config *config = model_config_of(step->options.model);
    const int64_t pixels = config->num_channels * config->image_size * config->image_size;
    const bool trains = step->options.trains_backbone;
    const void *staged = NULL;
    bool accumulate = false;

    assert(n >= 1 && n <= step->options.micro_samples);
    float *vector = step_sum_begin_leaf(step->sum, &accumulate);
    float *tap_gradients = vector + step->backbone_elems;
    float *sums = tap_gradients + step->tap.gradient_elems;
    if (!accumulate) {
        ops->zero(sums, SUM_COUNT + step->tap.statistic_count);
    }
    ops->count(&sums[SUM_SAMPLES], (float)n, step->votes ? 1 : 0);
    step->votes = false;
    ERR_TRY(device_stage(ops->device, step->images, images, (size_t)(n * pixels) * sizeof(float),
                         &staged));
    forward(step, staged, n);
    ERR_TRY(device_stage(ops->device, step->labels, labels, (size_t)n * sizeof(*labels), &staged));
    labels = staged;
    final_loss(step, labels, n, sums);
    if (step->tap.losses != NULL) {
        const struct step_view view = {
            .n = n,
            .features = (const float *const *)step->features,
            .logits = step->logits,
            .labels = labels,
            .phase = phase,
            .dfeatures = trains ? step->dfeatures : NULL,
            .dlogits = trains ? step->dlogits : NULL,
            .gradients = tap_gradients,
            .accumulate = accumulate,
            .statistics = sums + SUM_COUNT,
        };
        ERR_TRY(step->tap.losses(step->tap.self, &view));
    }
    ERR_TRY(step_sum_ready(step->sum, step->part_count));
    ERR_TRY(step_sum_ready(step->sum, step->part_count + 1));
    if (trains) {
        ERR_TRY(backward(step, vector, accumulate));
    }
    return step_sum_end_leaf(step->sum);
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
