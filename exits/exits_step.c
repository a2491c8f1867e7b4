#include "exits/exits_step.h"

#include <stdlib.h>
#include <string.h>

#include "comm/base/memory.h"
#include "trainer/step/step_sum.h"

/* The step's own sums, before the trainer's. */
enum { SUM_SAMPLES, SUM_VOTES, SUM_COUNT };

struct exits_step {
    struct exits_step_options options;
    bool votes; /* in the micro-batch that is next */
    struct step_tap tap;
    struct step_sum *sum;
    float *block;     /* one allocation for the gathered rows */
    float **features; /* [G] of [n, D] */
    float *logits;    /* [n, K] */
    int32_t *labels;  /* [n] */
};

static enum err allocate(struct exits_step *step)
{
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const int64_t n = step->options.micro_samples, D = config->width;
    const int64_t buckets[] = {step->tap.gradient_elems, SUM_COUNT + step->tap.statistic_count};

    step->features = calloc((size_t)config->count, sizeof(*step->features));
    step->labels = calloc((size_t)n, sizeof(*step->labels));
    if (step->features == NULL || step->labels == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a step of the exits");
    }
    ERR_TRY(memory_open_f32(n * (config->count * D + config->classes), "a step of the exits",
                            &step->block));
    for (int g = 0; g < config->count; g++) {
        step->features[g] = step->block + g * n * D;
    }
    step->logits = step->block + config->count * n * D;
    return step_sum_open(step->options.group, step->options.order, step->options.ops, buckets, 2,
                         step->options.micro_count, &step->sum);
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
    memory_close(step->block);
    free(step->features);
    free(step->labels);
    free(step);
}

static void gather(struct exits_step *step, const struct exits_cache *cache,
                   const uint32_t *samples, const int32_t *labels)
{
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const int64_t n = step->options.micro_samples;
    const int64_t row_elems = exits_cache_row_elems(exits_cache_shape_of(cache));

    for (int g = 0; g < config->count; g++) {
        step->options.ops->gather_rows(step->features[g], exits_cache_features(cache, 0, g),
                                       row_elems, samples, n, config->width);
    }
    step->options.ops->gather_rows(step->logits, exits_cache_logits(cache, 0), row_elems, samples,
                                   n, config->classes);
    for (int64_t i = 0; i < n; i++) {
        step->labels[i] = labels[samples[i]];
    }
}

static enum err run_micro_batch(struct exits_step *step, uint64_t phase)
{
    bool accumulate = false;
    float *vector = step_sum_begin_leaf(step->sum, &accumulate);
    float *sums = vector + step->tap.gradient_elems;

    if (!accumulate) {
        memset(sums, 0, (size_t)(SUM_COUNT + step->tap.statistic_count) * sizeof(float));
    }
    sums[SUM_SAMPLES] += (float)step->options.micro_samples;
    sums[SUM_VOTES] += step->votes ? 1 : 0;
    step->votes = false;
    const struct step_view view = {
        .n = step->options.micro_samples,
        .features = (const float *const *)step->features,
        .logits = step->logits,
        .labels = step->labels,
        .phase = phase,
        .gradients = vector,
        .accumulate = accumulate,
        .statistics = sums + SUM_COUNT,
    };
    step->tap.losses(step->tap.self, &view);
    ERR_TRY(step_sum_ready(step->sum, 0));
    ERR_TRY(step_sum_ready(step->sum, 1));
    return step_sum_end_leaf(step->sum);
}

void exits_step_vote(struct exits_step *step)
{
    step->votes = true;
}

enum err exits_step_run(struct exits_step *step, const struct exits_cache *cache,
                        const uint32_t *samples, const int32_t *labels, uint64_t phase,
                        int64_t deadline_ms, struct step_result *result_out)
{
    const struct exits_net_config *config = exits_net_config_of(step->options.net);
    const float *vector = NULL;

    for (int64_t m = 0; m < step->options.micro_count; m++) {
        gather(step, cache, samples + m * step->options.micro_samples, labels);
        ERR_TRY(run_micro_batch(step, phase));
    }
    ERR_TRY(step_sum_finish(step->sum, deadline_ms, &vector));
    const float *own = vector + step->tap.gradient_elems;
    const float *statistics = own + SUM_COUNT;
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
