#include "launch/train_stage.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "data/data_stream.h"
#include "exits/exits_cache.h"
#include "exits/exits_equilibrium.h"
#include "exits/exits_step.h"
#include "launch/features.h"
#include "launch/halt.h"
#include "launch/progress.h"
#include "launch/snapshots.h"
#include "trainer/step/layer_dropout.h"

static_assert((int)EXITS_SETS_MAX <= (int)OPTIM_CLIPS_MAX, "each lambda is clipped by itself");

/* Of exit_gradient. */
enum { GRADIENT_SUMS, GRADIENT_MEANS };

struct train_stage {
    struct train_run *run;
    enum options_stage kind;
    const struct options *options;
    struct data_stream_options stream_options;
    struct data_augment augment;
    struct data_stream *stream;     /* NULL with cached features */
    struct exits_cache *cache;      /* NULL without */
    struct exits_trainer *trainer;  /* NULL in BACKBONE */
    struct step *step;              /* NULL with cached features */
    struct exits_step *cached_step; /* NULL without */
    uint32_t *samples;              /* of a step of this rank, with cached features: their rows */
    struct step_tap tap;
    int64_t micro_count; /* of this rank in a step */
    int64_t step_count;
};

/* Rows of a sample, which is what is classified. */
static int64_t rows_of(const struct train_stage *stage)
{
    return model_config_rows(model_config_of(stage->run->state.model));
}

static bool trains_backbone(const struct train_stage *stage)
{
    return stage->kind != OPTIONS_EXITS;
}

static bool trains_exits(const struct train_stage *stage)
{
    return stage->kind != OPTIONS_BACKBONE;
}

static bool uses_cache(const struct train_stage *stage)
{
    const bool augments = stage->options->augment_pad > 0 || stage->options->augment_flip;

    return stage->kind == OPTIONS_EXITS && stage->options->feature_cache != FEATURES_NOT_KEPT &&
           !augments;
}

/* The ranges of a block: neighbours of one kind in one piece, so that kernels run long.
 * Each lambda's exits are clipped by their own norm, the backbone as a whole. */
static enum err open_optim(const struct train_stage *stage, enum train_part part,
                           const struct param_list *params, struct optim **optim_out)
{
    const bool clips_parts = part == TRAIN_EXITS;
    const struct options *options = stage->options;
    const struct optim_options optim_options = {
        .kind = (enum optim_kind)options->optim,
        .beta1 = options->adam_beta1,
        .beta2 = options->adam_beta2,
        .epsilon = options->adam_epsilon,
        .momentum = options->momentum,
        .weight_decay = options->weight_decay,
        .max_grad_norm = options->max_grad_norm,
        .moment1 = snapshots_moment(stage->run->snapshots, part, 0),
        .moment2 = snapshots_moment(stage->run->snapshots, part, 1),
        .counts = snapshots_counts(stage->run->snapshots, part),
    };
    struct optim_range *ranges = calloc((size_t)params->count, sizeof(*ranges));
    int64_t count = 0;

    if (ranges == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %" PRId64 " ranges", params->count);
    }
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        const struct optim_range range = {param->offset, param->offset + param->count, param->group,
                                          param->decays, clips_parts ? param->part : 0};
        struct optim_range *last = count > 0 ? &ranges[count - 1] : NULL;
        if (last != NULL && last->group == range.group && last->decays == range.decays &&
            last->clip == range.clip && last->end == range.begin) {
            last->end = range.end;
        } else {
            ranges[count++] = range;
        }
    }
    const enum err status =
        optim_open(&optim_options, &stage->run->ops, ranges, count, params->block_elems, optim_out);
    free(ranges);
    return status;
}

static enum err open_optims(struct train_stage *stage)
{
    struct train_state *state = &stage->run->state;

    if (trains_backbone(stage)) {
        ERR_TRY(
            open_optim(stage, TRAIN_BACKBONE, model_params(state->model), &state->backbone_optim));
    }
    if (trains_exits(stage)) {
        ERR_TRY(open_optim(stage, TRAIN_EXITS, exits_net_params(state->net), &state->exits_optim));
    }
    return ERR_OK;
}

static enum err open_data(struct train_stage *stage)
{
    const struct train_run *run = stage->run;
    const struct options *options = stage->options;
    const struct data_augment_options augment = {
        .seed = (uint64_t)options->seed,
        .pad_pixels = options->augment_pad,
        .flips = options->augment_flip,
    };

    if (run->data.train->kind == DATA_IMAGES) {
        ERR_TRY(data_augment_init(&stage->augment, &augment, &run->data.normal,
                                  run->data.train->shape.channels));
    } else if (options->augment_pad > 0 || options->augment_flip) {
        return ERR_FAIL(ERR_CONFIG, "augment_pad and augment_flip are for images, %s has texts",
                        options->data_dir);
    }
    stage->stream_options = (struct data_stream_options){
        .set = run->data.train,
        .augment = &stage->augment,
        .samples = run->data.split->train,
        .sample_count = run->data.split->train_count,
        .seed = (uint64_t)options->seed + (uint64_t)run->state.stage,
        .batch_samples = options->train_batch_size,
        .micro_samples = options->per_device_train_batch_size,
        .rank = comm_rank(run->world),
        .rank_count = comm_size(run->world),
        .timeout_ms = options->collective_deadline_ms,
    };
    ERR_TRY(data_stream_check(&stage->stream_options));
    stage->micro_count =
        options->train_batch_size / options->per_device_train_batch_size / comm_size(run->world);
    if (options->gradient_accumulation_steps > 0 &&
        options->gradient_accumulation_steps != stage->micro_count) {
        return ERR_FAIL(ERR_CONFIG,
                        "gradient_accumulation_steps is %" PRId64 ", but train_batch_size %" PRId64
                        " on %d ranks in passes of %" PRId64 " is %" PRId64 " passes",
                        options->gradient_accumulation_steps, options->train_batch_size,
                        comm_size(run->world), options->per_device_train_batch_size,
                        stage->micro_count);
    }
    const double epochs = options->num_train_epochs;
    stage->step_count =
        options->num_steps >= 0
            ? options->num_steps
            : (int64_t)ceil(epochs * (double)data_stream_epoch_batches(&stage->stream_options));
    return ERR_OK;
}

static enum err open_cached_step(struct train_stage *stage)
{
    struct train_run *run = stage->run;
    const struct features_source all = {.set = run->data.train,
                                        .count = run->data.train->shape.count};
    struct exits_step_options options = {
        .net = run->state.net,
        .trainer = stage->trainer,
        .labels = run->data.train->labels,
        .ops = &run->ops,
        .group = run->sums,
        .order = (enum comm_reduce_order)run->options->run.reduce,
        .micro_samples = stage->options->per_device_train_batch_size * rows_of(stage),
        .micro_count = stage->micro_count,
    };

    stage->samples =
        calloc((size_t)(stage->micro_count * options.micro_samples), sizeof(*stage->samples));
    if (stage->samples == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the samples of a step");
    }
    ERR_TRY(
        features_open(run, &all, stage->options->feature_cache == FEATURES_IN_FILE, &stage->cache));
    options.cache = stage->cache;
    return exits_step_open(&options, &stage->cached_step);
}

static enum err open_step(struct train_stage *stage)
{
    struct train_run *run = stage->run;

    if (stage->trainer != NULL) {
        stage->tap = exits_trainer_tap(stage->trainer);
    }
    const struct step_options options = {
        .model = run->state.model,
        .group = run->sums,
        .order = (enum comm_reduce_order)run->options->run.reduce,
        .micro_samples = stage->options->per_device_train_batch_size,
        .micro_count = stage->micro_count,
        .trains_backbone = trains_backbone(stage),
        .tap = stage->trainer == NULL ? NULL : &stage->tap,
    };
    ERR_TRY(step_open(&options, &stage->step));
    return data_stream_open(&stage->stream_options, run->state.stage_step, &stage->stream);
}

static enum err open_parts(struct train_stage *stage)
{
    struct train_run *run = stage->run;

    ERR_TRY(open_data(stage));
    ERR_TRY(open_optims(stage));
    train_run_pack(run, trains_backbone(stage));
    if (trains_exits(stage)) {
        ERR_TRY(exits_trainer_open(run->state.net, &run->exits, &run->state.balance,
                                   stage->options->per_device_train_batch_size * rows_of(stage),
                                   &stage->trainer));
    }
    return uses_cache(stage) ? open_cached_step(stage) : open_step(stage);
}

enum err train_stage_check(struct train_run *run, int index, int64_t *steps_out)
{
    const enum options_stage kind = run->options->stages[index].kind;
    struct train_stage stage = {
        .run = run, .kind = kind, .options = &run->options->stages[index].options};

    ERR_TRY_AS(open_data(&stage), "stage %d (%s)", index + 1, options_stage_name(kind));
    *steps_out = stage.step_count;
    return ERR_OK;
}

enum err train_stage_open(struct train_run *run, int index, struct train_stage **stage_out)
{
    struct train_stage *stage = calloc(1, sizeof(*stage));

    if (stage == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a stage");
    }
    stage->run = run;
    stage->kind = run->options->stages[index].kind;
    stage->options = &run->options->stages[index].options;
    const enum err status = open_parts(stage);
    if (status != ERR_OK) {
        train_stage_close(stage);
        return status;
    }
    *stage_out = stage;
    return ERR_OK;
}

void train_stage_close(struct train_stage *stage)
{
    if (stage == NULL) {
        return;
    }
    data_stream_close(stage->stream);
    step_close(stage->step);
    exits_step_close(stage->cached_step);
    exits_cache_close(stage->cache);
    free(stage->samples);
    exits_trainer_close(stage->trainer);
    optim_close(stage->run->state.backbone_optim);
    optim_close(stage->run->state.exits_optim);
    stage->run->state.backbone_optim = NULL;
    stage->run->state.exits_optim = NULL;
    free(stage);
}

int64_t train_stage_steps(const struct train_stage *stage)
{
    return stage->step_count;
}

/* What step `step` of the stage trains: a function of the step, not of history. */
static uint64_t phase_of(const struct train_stage *stage, int64_t step)
{
    const struct options *options = stage->options;
    const int64_t warmup = options->exit_warmup_steps;

    if (step < warmup) {
        return EXITS_TRAINS_HEADS | EXITS_WARMS_UP;
    }
    if (options->exit_phase == 0) {
        return EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES;
    }
    return (step - warmup) / options->exit_phase_steps % 2 == 0 ? EXITS_TRAINS_GATES
                                                                : EXITS_TRAINS_HEADS;
}

/* Of micro-batch m of this rank in the present step. */
static void drop_layers(const struct train_stage *stage, int64_t m)
{
    const struct train_run *run = stage->run;
    const int64_t first = run->state.step * comm_size(run->world) + comm_rank(run->world);
    const uint64_t micro = (uint64_t)(first * stage->micro_count + m);
    bool skips[MODEL_LAYERS_MAX];

    if (stage->options->layer_dropout > 0 && trains_backbone(stage)) {
        layer_dropout_draw((uint64_t)run->options->run.seed, micro, stage->options->layer_dropout,
                           model_config_of(run->state.model)->num_hidden_layers, skips);
        step_skip_layers(stage->step, skips);
    }
}

static enum err run_backbone_passes(struct train_stage *stage, struct train_report *report)
{
    const int64_t micro = stage->options->per_device_train_batch_size;
    const int64_t R = rows_of(stage);
    const struct model_config *config = model_config_of(stage->run->state.model);
    struct data_batch batch;

    ERR_TRY(data_stream_next(stage->stream, &batch));
    assert(batch.step == stage->run->state.stage_step);
    report->epoch = batch.epoch;
    if (halt_is_wanted()) {
        step_vote(stage->step);
    }
    const struct model_input input = {.images = batch.images,
                                      .tokens = batch.tokens,
                                      .lengths = batch.lengths,
                                      .token_stride = batch.token_stride};
    for (int64_t m = 0; m < stage->micro_count; m++) {
        drop_layers(stage, m);
        const struct model_input part = model_input_from(config, &input, m * micro);
        ERR_TRY(step_micro_batch(stage->step, &part, batch.labels + m * micro * R, micro,
                                 report->phase));
        progress_beat();
    }
    return step_finish(stage->step, stage->options->collective_deadline_ms, &report->result);
}

/* The rows of n samples, whose numbers they replace. */
static void spread_rows(uint32_t *samples, int64_t n, int64_t R)
{
    for (int64_t i = n * R - 1; i >= 0; i--) { /* from the last on: none is read too late */
        samples[i] = (uint32_t)(samples[i / R] * R + i % R);
    }
}

static enum err run_cached_passes(struct train_stage *stage, struct train_report *report)
{
    data_stream_part(&stage->stream_options, stage->run->state.stage_step, stage->samples,
                     &report->epoch);
    spread_rows(stage->samples, stage->micro_count * stage->options->per_device_train_batch_size,
                rows_of(stage));
    if (halt_is_wanted()) {
        exits_step_vote(stage->cached_step);
    }
    return exits_step_run(stage->cached_step, stage->samples, report->phase,
                          stage->options->collective_deadline_ms, &report->result);
}

/* Learning rates of this step; a group that is not trained in it is not active. */
static void plan_update(const struct train_stage *stage, uint64_t phase,
                        struct optim_step groups[OPTIM_GROUPS_MAX])
{
    const struct options *options = stage->options;
    const double warmup = options->warmup_steps < 1
                              ? options->warmup_steps * (double)stage->step_count
                              : options->warmup_steps;
    const double factor =
        optim_schedule_factor((enum optim_schedule)options->lr_scheduler_type,
                              stage->run->state.stage_step, (int64_t)warmup, stage->step_count);
    const double heads =
        options->head_learning_rate < 0 ? options->learning_rate : options->head_learning_rate;
    const double gates = options->gate_learning_rate < 0 ? 10 * heads : options->gate_learning_rate;

    memset(groups, 0, OPTIM_GROUPS_MAX * sizeof(groups[0]));
    groups[0] = (struct optim_step){trains_backbone(stage), factor * options->learning_rate, 0};
    groups[EXITS_GROUP_HEADS] = (struct optim_step){
        trains_exits(stage) && (phase & EXITS_TRAINS_HEADS) != 0, factor * heads, 0};
    groups[EXITS_GROUP_GATES] = (struct optim_step){
        trains_exits(stage) && (phase & EXITS_TRAINS_GATES) != 0, factor * gates, 0};
}

static bool teaches_targets(const struct train_stage *stage)
{
    const struct exits_net_config *config = exits_net_config_of(stage->run->state.net);

    return exits_method_with(stage->run->exits.loss, config->gate).teach == EXITS_TEACH_TARGET;
}

/* In place: they are lent until the next step, and nobody reads them as they were. */
static void balance_gradients(const struct train_stage *stage, const float *lent)
{
    const struct exits_net_config *config = exits_net_config_of(stage->run->state.net);

    exits_equilibrium_apply(&stage->run->ops, config->layers, config->count,
                            model_params(stage->run->state.model), (float *)lent);
}

static enum err update(struct train_stage *stage, struct train_report *report)
{
    struct train_state *state = &stage->run->state;
    const struct step_result *result = &report->result;

    ERR_TRY(snapshots_fence(stage->run->snapshots)); /* from here on the state is written */
    plan_update(stage, report->phase, report->groups);
    if (stage->kind == OPTIONS_JOINT && stage->run->options->run.exit_gradient == GRADIENT_MEANS) {
        balance_gradients(stage, result->gradients);
    }
    if (trains_backbone(stage)) {
        ERR_TRY(optim_update(state->backbone_optim, model_block(state->model), result->gradients,
                             result->sample_count, report->groups));
    }
    if (trains_exits(stage)) {
        struct optim_step exits[OPTIM_GROUPS_MAX];
        memcpy(exits, report->groups, sizeof(exits));
        ERR_TRY(optim_update(state->exits_optim, exits_net_block(state->net), result->tap_gradients,
                             result->sample_count, exits));
        memcpy(&report->groups[1], &exits[1], sizeof(exits) - sizeof(exits[0]));
        if (teaches_targets(stage)) { /* those of others are no counts */
            exits_balance_add(&state->balance, state->net, result->tap_statistics,
                              result->sample_count);
        }
    }
    if (trains_backbone(stage)) {
        model_pack(state->model, true);
    }
    if (trains_exits(stage)) {
        exits_net_pack(state->net);
    }
    return ERR_OK;
}

enum err train_stage_step(struct train_stage *stage, struct train_report *report_out)
{
    const int64_t start_ns = clock_now_ns();

    *report_out = (struct train_report){.phase = phase_of(stage, stage->run->state.stage_step)};
    if (stage->trainer != NULL) {
        exits_trainer_at(stage->trainer,
                         (struct exits_moment){stage->run->state.stage_step, stage->step_count});
    }
    ERR_TRY(stage->cache != NULL ? run_cached_passes(stage, report_out)
                                 : run_backbone_passes(stage, report_out));
    ERR_TRY(update(stage, report_out));
    stage->run->state.step++;
    stage->run->state.stage_step++;
    report_out->step_s = clock_since_s(start_ns);
    return ERR_OK;
}
