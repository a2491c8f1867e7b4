#include "exits/exits_step.h"

#include <stdlib.h>

#include "comm/device/device_replay.h"
#include "trainer/step/step_sum.h"

/* The step's own sums, before the trainer's. */
enum { SUM_SAMPLES, SUM_VOTES, SUM_COUNT };

enum { READ_MS = 60000 }; /* for what is on the device's stream before it */

struct exits_step {
    struct exits_step_options options;
    bool votes; /* in the micro-batch that is next */
    struct step_tap tap;
    struct step_sum *sum;
    float *rows;       /* one allocation for the gathered rows */
    float **features;  /* [G] of [n, D] */
    float *logits;     /* [n, K] */
    int32_t *labels;   /* [n], on the host */
    float *statistics; /* on the host: the sums of the step */
    void *cached;      /* where the device has the cache, and what of it a micro-batch takes; */
    void *samples, *staging;       /* NULL on a CPU */
    struct device_replay *replays; /* [micro_count] */
    int64_t leaf;                  /* the micro-batch that is next */
    uint64_t phase;                /* that the work was recorded with */
};

static struct device *device_of(const struct exits_step *step)
{
    return step->options.ops->device;
}

/* What is moved between host and device. */
static enum err open_exchange(struct exits_step *step)
{
    const struct exits_cache_shape *shape = exits_cache_shape_of(step->options.cache);
    const size_t n = (size_t)step->options.micro_samples;
    const size_t sums = (size_t)(SUM_COUNT + step->tap.statistic_count);
    const size_t cache_bytes =
        (size_t)(shape->row_count * exits_cache_row_elems(shape)) * sizeof(float);
    void *pinned = NULL;
    const void *staged = NULL;

    ERR_TRY(device_pinned_open(device_of(step), sums * sizeof(float), "sums of a step", &pinned));
    step->statistics = pinned;
    if (device_kind(device_of(step)) == DEVICE_CPU) {
        return ERR_OK;
    }
    ERR_TRY(device_memory_open(device_of(step), n * sizeof(uint32_t), "samples", &step->samples));
    ERR_TRY(device_memory_open(device_of(step), n * sizeof(int32_t), "labels", &step->staging));
    ERR_TRY(device_memory_open(device_of(step), cache_bytes, "the feature cache", &step->cached));
    return device_stage(device_of(step), step->cached,
                        exits_cache_features(step->options.cache, 0, 0), cache_bytes, &staged);
}

static enum err allocate(struct exits_step *step)
{
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const int64_t n = step->options.micro_samples, D = config->width;
    const int64_t buckets[] = {step->tap.gradient_elems, SUM_COUNT + step->tap.statistic_count};

    step->features = calloc((size_t)config->count, sizeof(*step->features));
    step->labels = calloc((size_t)n, sizeof(*step->labels));
    step->replays = calloc((size_t)step->options.micro_count, sizeof(*step->replays));
    if (step->features == NULL || step->labels == NULL || step->replays == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a step of the exits");
    }
    ERR_TRY(device_memory_open_f32(device_of(step), n * (config->count * D + config->classes),
                                   "a step of the exits", &step->rows));
    for (int g = 0; g < config->count; g++) {
        step->features[g] = step->rows + g * n * D;
    }
    step->logits = step->rows + config->count * n * D;
    ERR_TRY(open_exchange(step));
    return step_sum_open(step->options.group, step->options.order, step->options.ops, buckets, 2,
                         step->options.micro_count, &step->sum);
}

static void forget_replays(struct exits_step *step)
{
    for (int64_t i = 0; step->replays != NULL && i < step->options.micro_count; i++) {
        device_replay_close(&step->replays[i]);
    }
}

enum err exits_step_open(const struct exits_step_options *options, struct exits_step **step_out)
{
    struct exits_step *step = calloc(1, sizeof(*step));

    if (step == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a step of the exits");
    }
    step->options = *options;
    step->tap = exits_trainer_tap(options->trainer);
    const enum err status = allocate(step);
    if (status != ERR_OK) {
        exits_step_close(step);
        return status;
    }
    *step_out = step;
    return ERR_OK;
}

void exits_step_close(struct exits_step *step)
{
    if (step == NULL) {
        return;
    }
    step_sum_close(step->sum);
    forget_replays(step);
    free(step->replays);
    device_memory_close(device_of(step), step->cached);
    device_memory_close(device_of(step), step->staging);
    device_memory_close(device_of(step), step->samples);
    device_pinned_close(device_of(step), step->statistics);
    device_memory_close(device_of(step), step->rows);
    free(step->features);
    free(step->labels);
    free(step);
}

/* What the work of a micro-batch is about; all of it the device's. */
struct micro_batch {
    const uint32_t *samples;
    const int32_t *labels;
    uint64_t phase;
    float *vector;
    bool accumulate;
};

/* Rows of the cache to features and logits, and on to the losses. */
static enum err gather_and_losses(void *self, const void *arguments)
{
    struct exits_step *step = self;
    const struct micro_batch *micro = arguments;
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const struct exits_cache *cache = step->options.cache;
    const struct kern_ops *ops = step->options.ops;
    const int64_t n = step->options.micro_samples, D = config->width;
    const int64_t row_elems = exits_cache_row_elems(exits_cache_shape_of(cache));
    const float *rows = step->cached == NULL ? exits_cache_features(cache, 0, 0) : step->cached;

    for (int g = 0; g < config->count; g++) {
        ops->gather_rows(step->features[g], rows + g * D, row_elems, micro->samples, n, D);
    }
    ops->gather_rows(step->logits, rows + config->count * D, row_elems, micro->samples, n,
                     config->classes);
    const struct step_view view = {
        .n = n,
        .features = (const float *const *)step->features,
        .logits = step->logits,
        .labels = micro->labels,
        .phase = micro->phase,
        .gradients = micro->vector,
        .accumulate = micro->accumulate,
        .statistics = micro->vector + step->tap.gradient_elems + SUM_COUNT,
    };
    return step->tap.losses(step->tap.self, &view);
}

/* Samples and labels to where the device finds them; sums to where the leaf begins. */
static enum err begin_micro_batch(struct exits_step *step, const uint32_t *samples,
                                  struct micro_batch *micro)
{
    const struct kern_ops *ops = step->options.ops;
    const size_t n = (size_t)step->options.micro_samples;
    float *sums = micro->vector + step->tap.gradient_elems;
    const void *staged = NULL;

    for (size_t i = 0; i < n; i++) {
        step->labels[i] = step->options.labels[samples[i]];
    }
    ERR_TRY(device_stage(ops->device, step->samples, samples, n * sizeof(*samples), &staged));
    micro->samples = staged;
    ERR_TRY(
        device_stage(ops->device, step->staging, step->labels, n * sizeof(*step->labels), &staged));
    micro->labels = staged;
    if (!micro->accumulate) {
        ops->zero(sums, SUM_COUNT + step->tap.statistic_count);
    }
    ops->count(&sums[SUM_SAMPLES], (float)n, step->votes ? 1 : 0);
    step->votes = false;
    return ERR_OK;
}

static enum err run_micro_batch(struct exits_step *step, const uint32_t *samples, uint64_t phase)
{
    struct micro_batch micro = {.phase = phase};

    if (step->phase != phase) {
        forget_replays(step);
        step->phase = phase;
    }
    micro.vector = step_sum_begin_leaf(step->sum, &micro.accumulate);
    ERR_TRY(begin_micro_batch(step, samples, &micro));
    ERR_TRY(step->tap.prepare(step->tap.self));
    /* On a CPU the samples lie elsewhere each time, but there nothing is recorded. */
    ERR_TRY(device_replay_run(&step->replays[step->leaf], device_of(step), gather_and_losses, step,
                              &micro));
    ERR_TRY(step_sum_ready(step->sum, 0));
    ERR_TRY(step_sum_ready(step->sum, 1));
    step->leaf = (step->leaf + 1) % step->options.micro_count;
    return step_sum_end_leaf(step->sum);
}

void exits_step_vote(struct exits_step *step)
{
    step->votes = true;
}

enum err exits_step_run(struct exits_step *step, const uint32_t *samples, uint64_t phase,
                        int64_t deadline_ms, struct step_result *result_out)
{
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const float *vector = NULL;

    for (int64_t m = 0; m < step->options.micro_count; m++) {
        ERR_TRY(run_micro_batch(step, samples + m * step->options.micro_samples, phase));
    }
    ERR_TRY(step_sum_finish(step->sum, deadline_ms, &vector));
    const float *own = step->statistics, *statistics = own + SUM_COUNT;
    ERR_TRY(device_read(device_of(step), step->statistics, vector + step->tap.gradient_elems,
                        (size_t)(SUM_COUNT + step->tap.statistic_count) * sizeof(float), READ_MS));
    ERR_TRY(step->tap.check(step->tap.self, statistics));
    const struct exits_sums sums = exits_sums_of(step->options.net, statistics, 0);
    *result_out = (struct step_result){
        .sample_count = own[SUM_SAMPLES],
        .votes = own[SUM_VOTES],
        .loss = sums.loss[config->count],
        .correct = sums.correct[config->count],
        .tap_gradients = vector,
        .tap_statistics = statistics,
    };
    return ERR_OK;
}
