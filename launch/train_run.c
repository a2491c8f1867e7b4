#include "launch/train_run.h"

#include <inttypes.h>
#include <stdlib.h>

#include "comm/base/file.h"
#include "exits/exits_focal.h"
#include "launch/run_model.h"
#include "trainer/kernels/kern_ops_cuda.h"
#include "trainer/model/model_files.h"

static enum err open_model(struct train_run *run)
{
    const struct options *options = &run->options->run;
    struct model_config config = {0};

    ERR_TRY(kern_ops_choose((enum kern_isa)options->isa, (enum kern_matmul)options->matmul,
                            &run->host_ops));
    run->ops = run->host_ops;
    if (device_kind(run->device.device) == DEVICE_CUDA) {
        ERR_TRY(kern_ops_cuda(run->device.device, &run->ops));
    }
    ERR_TRY(run_model_config(options, &run->data, &config));
    ERR_TRY(run_model_check_device(&config, run->device.device));
    ERR_TRY(model_open(&config, &run->ops, &run->state.model));
    if (options->init_from[0] != '\0') {
        ERR_TRY_AS(model_files_import_weights(run->state.model, options->init_from,
                                              (uint64_t)options->seed, &run->init_notes),
                   "init_from");
    }
    return ERR_OK;
}

enum err train_run_init(struct train_run *run)
{
    const struct options *options = &run->options->run;

    return options->init_from[0] != '\0' ? ERR_OK
                                         : model_init(run->state.model, (uint64_t)options->seed);
}

static bool has_exits(const struct options_run *options)
{
    for (int s = 0; s < options->stage_count; s++) {
        if (options->stages[s].kind != OPTIONS_BACKBONE) {
            return true;
        }
    }
    return false;
}

static enum err fill_exit_layers(const struct options *options, int64_t layer_count,
                                 struct exits_net_config *config)
{
    const struct options_i64s *wanted = &options->exit_layers;

    config->count = wanted->count > 0 ? wanted->count : (int)layer_count - 1;
    for (int g = 0; g < config->count; g++) {
        config->layers[g] = wanted->count > 0 ? wanted->values[g] - 1 : g;
        if (config->layers[g] > layer_count - 2) {
            return ERR_FAIL(ERR_CONFIG,
                            "exit_layers: no exit can stand behind layer %" PRId64 " of %" PRId64
                            ", the final classifier is there",
                            config->layers[g] + 1, layer_count);
        }
    }
    return ERR_OK;
}

/* What of the heads' weights follows from the step. */
static enum err fill_schedule(const struct options *options, const struct model_config *model,
                              int exit_count, struct exits_train_config *config)
{
    const struct options_f64s *peaks = &options->exit_peaks;

    if (peaks->count != 0 && peaks->count != exit_count) {
        return ERR_FAIL(ERR_CONFIG, "exit_peaks has %d values, there are %d exits", peaks->count,
                        exit_count);
    }
    config->schedule = (struct exits_schedule){
        .layer_count = model->num_hidden_layers,
        .ramp = (enum exits_ramp)options->exit_ramp,
        .ramp_steps = options->exit_ramp_steps,
        .scale = (enum exits_scale)options->exit_scale,
        .scale_share = options->exit_scale_share,
        .curriculum = (enum exits_curriculum)options->exit_curriculum,
        .rotation = options->exit_rotation,
    };
    for (int g = 0; g < exit_count; g++) {
        config->schedule.peaks[g] = (float)(peaks->count > 0 ? peaks->values[g] : config->costs[g]);
    }
    return ERR_OK;
}

struct exits_cost_shape train_run_cost_shape(const struct model_config *model, int64_t tokens,
                                             const struct exits_net_config *net)
{
    const bool is_text = model->embedding == MODEL_EMBEDDING_TOKENS;

    return (struct exits_cost_shape){
        .tokens = tokens,
        .is_of_token = model->pooling == MODEL_POOLING_EVERY,
        .width = model->hidden_size,
        .intermediate = model->intermediate_size,
        .layers = model->num_hidden_layers,
        .patches = model_config_patches(model),
        .patch_inputs = model_config_patch_inputs(model),
        .classes = model->num_labels,
        .pools_last_block = !is_text && model->pooling == MODEL_POOLING_CLS,
        .has_gates = true,
        .head = net->head,
        .head_hidden = net->head_hidden,
        .heads = net->heads,
        .gate = net->gate,
        .gate_hidden = net->gate_hidden,
        .exit_count = net->count,
        .exit_layers = net->layers,
    };
}

/* From the samples that are trained on; with focal_beta 0 none are needed. */
static enum err open_class_weights(struct train_run *run)
{
    const struct options *options = &run->options->run;
    const struct data_split *split = run->data.split;
    const int64_t K = exits_net_config_of(run->state.net)->classes;
    const int64_t R = run->data.train->labels_per_sample;

    if (options->exit_loss != EXITS_LOSS_FOCAL || options->focal_beta == 0) {
        return ERR_OK;
    }
    int64_t *counts = calloc((size_t)K, sizeof(*counts));
    run->class_weights = calloc((size_t)K, sizeof(*run->class_weights));
    if (counts == NULL || run->class_weights == NULL) {
        free(counts);
        return ERR_FAIL(ERR_NO_MEMORY, "weights of %" PRId64 " classes", K);
    }
    for (int64_t i = 0; i < split->train_count * R; i++) {
        counts[run->data.train->labels[split->train[i / R] * R + i % R]]++;
    }
    exits_focal_class_weights(counts, K, options->focal_beta, run->class_weights);
    free(counts);
    return ERR_OK;
}

/* Costs of the exits, and what the losses need besides. */
static void fill_train_config(struct train_run *run, const struct exits_net_config *net)
{
    const struct options *options = &run->options->run;
    const struct model_config *model = model_config_of(run->state.model);
    const int64_t tokens = model->embedding == MODEL_EMBEDDING_TOKENS
                               ? run_data_mean_tokens(&run->data)
                               : model_config_tokens(model);

    run->cost_shape = train_run_cost_shape(model, tokens, exits_net_config_of(run->state.net));
    exits_cost(&run->cost_shape, run->macs);
    run->exits = (struct exits_train_config){
        .loss = (enum exits_loss)options->exit_loss,
        .form = (enum exits_form)options->exit_form,
        .target = (enum exits_target_kind)options->gate_target,
        .balances = options->gate_balance,
        .loss_floor = options->exit_loss_floor,
        .uncertainty_floor = options->uncertainty_floor,
        .focal_gamma = options->focal_gamma,
        .class_weights = run->class_weights,
        .ponder = {options->exit_prior, options->exit_prior_weight,
                   (enum exits_divergence)options->exit_prior_divergence},
        .distill = {options->distill_temperature, options->distill_weight},
        .warm_up = options->exit_warmup_weights == 0 ? EXITS_WEIGH_EQUAL : EXITS_WEIGH_DESCENDING,
    };
    exits_cost_shares(run->macs, net->count, run->exits.costs);
    for (int set = 0; set < net->set_count; set++) {
        run->exits.lambdas[set] = options->lambdas.values[set];
    }
}

/* The exits of init_from, if that folder has any; they must then fit the settings. */
static enum err load_exits(struct train_run *run)
{
    char path[FILE_PATH_BYTES_MAX];

    if (run->options->run.init_from[0] == '\0') {
        return ERR_OK;
    }
    ERR_TRY(file_path(path, run->options->run.init_from, TRAIN_STATE_EXITS_FILE));
    if (!file_exists(path)) {
        return ERR_OK;
    }
    ERR_TRY_AS(param_list_load(exits_net_params(run->state.net), run->ops.device,
                               exits_net_block(run->state.net), path),
               "init_from");
    return ERR_OK;
}

static enum exits_gate_kind gate_kind(const struct options *options)
{
    return options->exit_gate == 0 ? exits_method_of((enum exits_loss)options->exit_loss)->gate
                                   : (enum exits_gate_kind)(options->exit_gate - 1);
}

static enum err check_method(const struct options *options)
{
    const enum exits_loss loss = (enum exits_loss)options->exit_loss;
    const struct exits_method *method = exits_method_of(loss);

    if (!exits_method_allows(loss, gate_kind(options))) {
        return ERR_FAIL(ERR_CONFIG,
                        "exit_loss %s cannot be trained with this exit_gate: auto is what it "
                        "is published with",
                        method->name);
    }
    const bool needs_hazards =
        method->teach == EXITS_TEACH_PONDER || method->teach == EXITS_TEACH_MIXTURE;
    if (needs_hazards && options->exit_form != EXITS_HAZARD) {
        return ERR_FAIL(ERR_CONFIG, "exit_loss %s needs exit_form hazard", method->name);
    }
    return ERR_OK;
}

enum err train_run_exits_config(const struct options *options, const struct model_config *model,
                                struct exits_net_config *config_out)
{
    struct exits_net_config config = {
        .set_count = options->lambdas.count,
        .width = model->hidden_size,
        .classes = model->num_labels,
        .head = (enum exits_head_kind)options->exit_head,
        .head_hidden = options->exit_head_hidden,
        .heads = exits_method_of((enum exits_loss)options->exit_loss)->heads,
        .boost = options->exit_boost,
        .gate = gate_kind(options),
        .gate_hidden = options->exit_gate_hidden,
        .layer_norm_eps = (float)model->layer_norm_eps,
    };

    ERR_TRY(check_method(options));
    if (options->lambdas.count > EXITS_SETS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "lambdas has %d values, at most %d are possible",
                        options->lambdas.count, EXITS_SETS_MAX);
    }
    ERR_TRY(fill_exit_layers(options, model->num_hidden_layers, &config));
    *config_out = config;
    return ERR_OK;
}

static enum err open_exits(struct train_run *run)
{
    const struct options *options = &run->options->run;
    const struct model_config *model = model_config_of(run->state.model);
    struct exits_net_config config;
    double prior[MODEL_LAYERS_MAX];

    if (!has_exits(run->options)) {
        return ERR_OK;
    }
    ERR_TRY(train_run_exits_config(options, model, &config));
    ERR_TRY(exits_net_open(&config, &run->ops, &run->state.net));
    ERR_TRY(open_class_weights(run));
    fill_train_config(run, &config);
    ERR_TRY(fill_schedule(options, model, config.count, &run->exits));
    for (int g = 0; g < config.count; g++) { /* every exit equally probable at first */
        prior[g] = run->exits.form == EXITS_HAZARD ? 1.0 / (config.count + 1 - g)
                                                   : 1.0 / (config.count + 1);
    }
    ERR_TRY(exits_net_init(run->state.net, (uint64_t)options->seed, prior));
    return load_exits(run);
}

enum err train_run_open(const struct options_run *options, struct comm_group *world,
                        struct train_run *run_out)
{
    struct train_run run = {.options = options, .world = world};
    enum err status = ERR_OK;

    ERR_GOTO(err_close, status,
             run_device_open((enum device_kind)options->run.device, world,
                             options->run.collective_deadline_ms, &run.device));
    ERR_GOTO(err_close, status, run_data_open(&options->run, &run.data));
    ERR_GOTO(err_close, status, open_model(&run));
    ERR_GOTO(err_close, status, open_exits(&run));
    ERR_GOTO(err_close, status, comm_duplicate(world, &run.sums));
    *run_out = run;
    return ERR_OK;

err_close:
    train_run_close(&run);
    return status;
}

void train_run_close(struct train_run *run)
{
    free(run->class_weights);
    free(run->init_notes);
    comm_close(run->sums);
    exits_net_close(run->state.net);
    model_close(run->state.model);
    run_data_close(&run->data);
    run_device_close(&run->device);
    *run = (struct train_run){0};
}

void train_run_pack(struct train_run *run, bool for_backward)
{
    model_pack(run->state.model, for_backward);
    if (run->state.net != NULL) {
        exits_net_pack(run->state.net);
    }
}
