#include "launch/export/export_describe.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "comm/base/hash.h"
#include "exits/exits_cost.h"
#include "launch/commands.h"
#include "launch/export/onnx_exits.h"
#include "launch/train_run.h"

enum { PREFIX_BYTES = 32 };

static struct jdoc *describe_heads(const struct exits_net_config *config)
{
    struct jdoc *object = jdoc_object();

    jdoc_set_text(object, "kind", onnx_exits_head_name(config->head));
    if (config->head == EXITS_HEAD_NORM_MLP) {
        jdoc_set_int(object, "hidden", config->head_hidden);
        jdoc_set_text(object, "hidden_act", "gelu_new");
    }
    jdoc_set_text(object, "joined", onnx_exits_heads_name(config->heads));
    if (config->heads == EXITS_HEADS_BOOSTED) {
        jdoc_set_real(object, "boost", config->boost);
    }
    return object;
}

static struct jdoc *describe_gates(const struct trained_network *source,
                                   const struct exits_net_config *config)
{
    struct jdoc *object = jdoc_object();

    jdoc_set_text(object, "kind", onnx_exits_gate_name(config->gate));
    if (config->gate == EXITS_GATE_MLP || config->gate == EXITS_GATE_HIDDEN_MLP) {
        jdoc_set_int(object, "hidden", config->gate_hidden);
        jdoc_set_text(object, "hidden_act", config->gate == EXITS_GATE_MLP ? "relu" : "gelu_new");
    }
    jdoc_set_text(object, "score", onnx_exits_score_name(source->method.score));
    jdoc_set_text(object, "form",
                  source->options.exit_form == (int)EXITS_DIRECT ? "direct" : "hazard");
    return object;
}

/* Of each exit and of the end: where it stands, and what leaving there costs. */
static void describe_exits(const struct trained_network *source,
                           const struct exits_net_config *config, struct jdoc *doc)
{
    const struct model_config *model = model_config_of(source->model);
    struct exits_cost_shape shape = train_run_cost_shape(model, model_config_tokens(model), config);
    int64_t with_gates[MODEL_LAYERS_MAX + 1], without[MODEL_LAYERS_MAX + 1];
    int64_t full[MODEL_LAYERS_MAX + 1];
    struct jdoc *exits = jdoc_array();
    char prefix[PREFIX_BYTES];

    exits_cost(&shape, with_gates);
    shape.has_gates = false;
    exits_cost(&shape, without);
    shape.exit_count = 0;
    exits_cost(&shape, full);
    for (int g = 0; g <= config->count; g++) {
        struct jdoc *exit = jdoc_object();
        const bool is_end = g == config->count;
        jdoc_set_int(exit, "layer", is_end ? shape.layers : config->layers[g] + 1);
        if (!is_end) { /* behind that of the lambda */
            snprintf(prefix, sizeof(prefix), "layer.%" PRId64 ".", config->layers[g]);
            jdoc_set_text(exit, "prefix", prefix);
        }
        jdoc_set_int(exit, "macs", with_gates[g]);
        jdoc_set_int(exit, "macs_without_gates", without[g]);
        jdoc_set_real(exit, "macs_share", (double)with_gates[g] / (double)full[0]);
        jdoc_append(exits, exit);
    }
    jdoc_set(doc, "exits", exits);
    jdoc_set_int(doc, "full_macs", full[0]);
    jdoc_set_int(doc, "macs_tokens", shape.tokens);
}

static enum err describe_lambdas(const struct trained_network *source,
                                 const struct export_sets *sets,
                                 const struct export_results *results, const char *policy,
                                 struct jdoc *doc)
{
    struct jdoc *lambdas = jdoc_array();
    char prefix[PREFIX_BYTES];

    jdoc_set(doc, "lambdas", lambdas);
    for (int s = 0; s < sets->count; s++) {
        const double lambda = source->options.lambdas.values[sets->first + s];
        struct jdoc *policies = NULL;
        ERR_TRY(export_results_of(results, source, lambda, policy, &policies));
        struct jdoc *entry = jdoc_object();
        jdoc_set_real(entry, "lambda", lambda);
        snprintf(prefix, sizeof(prefix), "exits.%d.", s);
        jdoc_set_text(entry, "prefix", prefix);
        jdoc_set(entry, "policies", policies);
        jdoc_append(lambdas, entry);
    }
    return ERR_OK;
}

/* One value for all channels becomes one for each. */
static struct jdoc *describe_channels(const struct options_f64s *values, int64_t channels)
{
    struct jdoc *array = jdoc_array();

    for (int64_t c = 0; c < channels; c++) {
        jdoc_append(array, jdoc_real(values->values[values->count == 1 ? 0 : c]));
    }
    return array;
}

static enum err describe_files(const char *folder, const char *const files[], size_t file_count,
                               struct jdoc *doc)
{
    struct jdoc *object = jdoc_object();
    char path[FILE_PATH_BYTES_MAX];
    char text[HASH_TEXT_BYTES];
    struct file_map map;

    jdoc_set(doc, "files", object);
    for (size_t i = 0; i < file_count; i++) {
        ERR_TRY(file_path(path, folder, files[i]));
        ERR_TRY(file_map(path, &map));
        struct jdoc *file = jdoc_object();
        hash_text(hash_bytes(map.bytes, map.count), text);
        jdoc_set_int(file, "bytes", (int64_t)map.count);
        jdoc_set_text(file, "xxh128", text);
        jdoc_set(object, files[i], file);
        file_unmap(&map);
    }
    return ERR_OK;
}

static void describe_network(const struct trained_network *source, struct jdoc *doc)
{
    static const char *const families[MODEL_FAMILIES] = {
        [MODEL_FAMILY_VIT] = "vit", [MODEL_FAMILY_BERT] = "bert", [MODEL_FAMILY_GPT2] = "gpt2"};
    static const char *const poolings[] = {
        [MODEL_POOLING_CLS] = "cls",
        [MODEL_POOLING_MEAN] = "mean",
        [MODEL_POOLING_LAST] = "last",
        [MODEL_POOLING_EVERY] = "every",
    };
    const struct model_config *model = model_config_of(source->model);
    const struct exits_net_config *exits = exits_net_config_of(source->net);

    jdoc_set_text(doc, "format", "offramp-exits");
    jdoc_set_int(doc, "format_version", EXPORT_FORMAT_VERSION);
    jdoc_set_text(doc, "offramp_version", OFFRAMP_VERSION);
    jdoc_set_int(doc, "step", source->step);
    jdoc_set_text(doc, "model_type",
                  model->has_distillation_token ? "deit" : families[model_config_family(model)]);
    jdoc_set_int(doc, "num_labels", model->num_labels);
    jdoc_set_int(doc, "hidden_size", model->hidden_size);
    jdoc_set_text(doc, "pooling", poolings[model->pooling]);
    jdoc_set_real(doc, "layer_norm_eps", model->layer_norm_eps);
    jdoc_set_text(doc, "exit_loss", source->method.name);
    jdoc_set(doc, "head", describe_heads(exits));
    jdoc_set(doc, "gate", describe_gates(source, exits));
    describe_exits(source, exits, doc);
}

enum err export_describe(const struct trained_network *source, const struct export_sets *sets,
                         const struct export_results *results, const char *policy,
                         const char *folder, const char *const files[], size_t file_count,
                         char **text_out)
{
    struct jdoc *doc = jdoc_object();

    describe_network(source, doc);
    enum err status = describe_lambdas(source, sets, results, policy, doc);
    if (status == ERR_OK) {
        status = describe_files(folder, files, file_count, doc);
    }
    if (status == ERR_OK) {
        status = jdoc_text(doc, 2, text_out);
    }
    jdoc_close(doc);
    return status;
}

enum err export_describe_images(const struct trained_network *source, char **text_out)
{
    static const int64_t BILINEAR = 2;
    const struct model_config *model = model_config_of(source->model);
    const struct options *options = &source->options;
    struct jdoc *doc = NULL;

    *text_out = NULL;
    if (model->embedding != MODEL_EMBEDDING_PATCHES || options->image_mean.count == 0) {
        return ERR_OK;
    }
    doc = jdoc_object();
    struct jdoc *size = jdoc_object();
    jdoc_set_text(doc, "image_processor_type", "ViTImageProcessor");
    jdoc_set_bool(doc, "do_resize", true);
    jdoc_set_int(size, "height", model->image_size);
    jdoc_set_int(size, "width", model->image_size);
    jdoc_set(doc, "size", size);
    jdoc_set_int(doc, "resample", BILINEAR);
    jdoc_set_bool(doc, "do_rescale", true);
    jdoc_set_real(doc, "rescale_factor", 1.0 / 255);
    jdoc_set_bool(doc, "do_normalize", true);
    jdoc_set(doc, "image_mean", describe_channels(&options->image_mean, model->num_channels));
    jdoc_set(doc, "image_std", describe_channels(&options->image_std, model->num_channels));
    const enum err status = jdoc_text(doc, 2, text_out);
    jdoc_close(doc);
    return status;
}
