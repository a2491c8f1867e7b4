#include "launch/export/onnx_models.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/commands.h"

enum { TEXT_BYTES = 2048, NAME_BYTES = 64 };

enum err onnx_models_check(const struct onnx_models *models)
{
    ERR_TRY(onnx_backbone_check(models->backbone.config));
    return onnx_exits_check(&models->exits);
}

static void describe(const struct onnx_models *models, struct onnx_graph *graph)
{
    const struct exits_net_config *exits = models->exits.config;
    char text[TEXT_BYTES];
    int at = 0;

    text[0] = '\0';
    for (int g = 0; g < exits->count && at < TEXT_BYTES; g++) {
        at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "%s%" PRId64, g == 0 ? "" : ",",
                       exits->layers[g] + 1);
    }
    onnx_graph_metadata(graph, "offramp.exit_layers", text);
    snprintf(text, sizeof(text), "%.17g", models->lambda);
    onnx_graph_metadata(graph, "offramp.lambda", text);
    onnx_graph_metadata(graph, "offramp.gate_score", onnx_exits_score_name(models->exits.score));
    onnx_graph_metadata(graph, "offramp.version", OFFRAMP_VERSION);
}

static void put_logits(const struct onnx_models *models, struct onnx_graph *graph, const char *name,
                       onnx_value logits)
{
    const int64_t dims[] = {ONNX_ANY, models->backbone.config->num_labels};

    onnx_graph_output(graph, name, logits, dims, 2);
}

static void put_score(struct onnx_graph *graph, const char *name, onnx_value score)
{
    const int64_t dims[] = {ONNX_ANY};

    onnx_graph_output(graph, name, score, dims, 1);
}

static struct onnx_exits_answer answer_at(const struct onnx_models *models,
                                          struct onnx_graph *graph, int exit, onnx_value stream,
                                          const struct onnx_backbone_mask *mask,
                                          struct onnx_exits_carry *carry)
{
    onnx_graph_scope(graph, "exit.%d", exit + 1);
    return onnx_exits_add(graph, &models->exits, exit,
                          onnx_backbone_pool(graph, &models->backbone, stream, mask), carry);
}

static onnx_value classify(const struct onnx_models *models, struct onnx_graph *graph,
                           onnx_value stream, const struct onnx_backbone_mask *mask)
{
    onnx_graph_scope(graph, "final");
    return onnx_backbone_classify(graph, &models->backbone,
                                  onnx_backbone_pool(graph, &models->backbone, stream, mask));
}

enum err onnx_models_all(const struct onnx_models *models, struct onnx_graph **graph_out)
{
    const struct exits_net_config *exits = models->exits.config;
    struct onnx_exits_answer answers[MODEL_LAYERS_MAX];
    struct onnx_exits_carry carry = {0};
    struct onnx_graph *graph = NULL;
    char name[NAME_BYTES];
    int exit = 0;

    ERR_TRY(onnx_graph_open("all_exits", "a backbone, and what all its exits say", &graph));
    describe(models, graph);
    onnx_value stream = onnx_backbone_embed(graph, &models->backbone);
    const struct onnx_backbone_mask mask = onnx_backbone_mask(graph, &models->backbone);
    for (int64_t layer = 0; layer < models->backbone.config->num_hidden_layers; layer++) {
        stream = onnx_backbone_layer(graph, &models->backbone, layer, stream, &mask);
        if (exit < exits->count && exits->layers[exit] == layer) {
            answers[exit] = answer_at(models, graph, exit, stream, &mask, &carry);
            exit++;
        }
    }
    put_logits(models, graph, "logits", classify(models, graph, stream, &mask));
    for (int g = 0; g < exit; g++) {
        snprintf(name, sizeof(name), "exit_%d_logits", g + 1);
        put_logits(models, graph, name, answers[g].logits);
        snprintf(name, sizeof(name), "exit_%d_gate", g + 1);
        put_score(graph, name, answers[g].score);
    }
    *graph_out = graph;
    return ERR_OK;
}

/* The end of a stage that has an exit: exit `stage`. */
static void finish_with_exit(const struct onnx_models *models, struct onnx_graph *graph, int stage,
                             onnx_value stream, const struct onnx_backbone_mask *mask)
{
    const struct onnx_exits *exits = &models->exits;
    const int64_t mass_dims[] = {ONNX_ANY, 1}, logits_dims[] = {ONNX_ANY, exits->config->classes};
    const int64_t K = exits->config->classes, heads_dims[] = {ONNX_ANY, stage, K};
    struct onnx_exits_carry carry = {0};
    int64_t dims[3];

    if (stage > 0 && onnx_exits_carry_mass(exits)) {
        carry.mass = onnx_graph_input(graph, "mass", mass_dims, 2);
    }
    if (stage > 0 && onnx_exits_carry_logits(exits)) {
        carry.logits = onnx_graph_input(graph, "previous_logits", logits_dims, 2);
    }
    if (stage > 0 && onnx_exits_carry_heads(exits)) {
        carry.heads = onnx_graph_input(graph, "previous_heads", heads_dims, 3);
    }
    const struct onnx_exits_answer answer = answer_at(models, graph, stage, stream, mask, &carry);
    onnx_backbone_stream_dims(&models->backbone, dims);
    onnx_graph_output(graph, "next_hidden_states", stream, dims, 3);
    put_logits(models, graph, "exit_logits", answer.logits);
    put_score(graph, "exit_gate", answer.score);
    if (onnx_exits_carry_mass(exits) && stage + 1 < exits->config->count) {
        onnx_graph_output(graph, "next_mass", carry.mass, mass_dims, 2);
    }
    if (onnx_exits_carry_heads(exits) && stage + 1 < exits->config->count) {
        const int64_t next_dims[] = {ONNX_ANY, stage + 1, K};
        onnx_graph_output(graph, "next_heads", carry.heads, next_dims, 3);
    }
}

enum err onnx_models_stage(const struct onnx_models *models, int stage,
                           struct onnx_graph **graph_out)
{
    const struct exits_net_config *exits = models->exits.config;
    const int64_t begin = stage == 0 ? 0 : exits->layers[stage - 1] + 1;
    const int64_t end = stage == exits->count ? models->backbone.config->num_hidden_layers
                                              : exits->layers[stage] + 1;
    struct onnx_graph *graph = NULL;
    onnx_value stream = "";
    char name[NAME_BYTES];
    int64_t dims[3];

    snprintf(name, sizeof(name), "stage_%d", stage);
    ERR_TRY(onnx_graph_open(name, "the layers between two exits of a backbone", &graph));
    describe(models, graph);
    if (stage == 0) {
        stream = onnx_backbone_embed(graph, &models->backbone);
    } else {
        onnx_backbone_stream_dims(&models->backbone, dims);
        stream = onnx_graph_input(graph, "hidden_states", dims, 3);
    }
    const struct onnx_backbone_mask mask = onnx_backbone_mask(graph, &models->backbone);
    for (int64_t layer = begin; layer < end; layer++) {
        stream = onnx_backbone_layer(graph, &models->backbone, layer, stream, &mask);
    }
    if (stage < exits->count) {
        finish_with_exit(models, graph, stage, stream, &mask);
    } else {
        put_logits(models, graph, "logits", classify(models, graph, stream, &mask));
    }
    *graph_out = graph;
    return ERR_OK;
}

static enum err write(const struct onnx_graph *graph, const char *folder, const char *name)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, folder, name));
    return onnx_graph_write(graph, path);
}

enum err onnx_models_write(const struct onnx_models *models, const char *folder)
{
    struct onnx_graph *graph = NULL;
    char name[NAME_BYTES];

    ERR_TRY(onnx_models_all(models, &graph));
    enum err status = write(graph, folder, ONNX_MODELS_ALL);
    onnx_graph_close(graph);
    for (int stage = 0; stage <= models->exits.config->count && status == ERR_OK; stage++) {
        ERR_TRY(onnx_models_stage(models, stage, &graph));
        snprintf(name, sizeof(name), ONNX_MODELS_STAGE, stage);
        status = write(graph, folder, name);
        onnx_graph_close(graph);
    }
    return status;
}
