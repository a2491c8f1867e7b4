#include "exits/exits_net.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_net_priv.h"

/* SALT tells the random numbers of exits from those of the backbone. */
enum { CACHE_LINE_FLOATS = 16, SALT = 1, LINEARS_MAX = 5 };

bool exits_net_has(const struct exits_net_config *config, enum exits_tensor tensor)
{
    switch (tensor) {
    case NORM_GAIN:
    case NORM_BIAS: return config->head != EXITS_HEAD_LINEAR;
    case UP_WEIGHT:
    case UP_BIAS: return config->head == EXITS_HEAD_NORM_MLP;
    case GATE_NORM_GAIN:
    case GATE_NORM_BIAS: return exits_gate_is_hidden(config->gate);
    case GATE_UP_WEIGHT:
    case GATE_UP_BIAS:
        return config->gate == EXITS_GATE_MLP || config->gate == EXITS_GATE_HIDDEN_MLP;
    case GATE_WEIGHT:
    case GATE_BIAS: return exits_gate_decides(config->gate);
    case CASCADE_NORM_GAIN:
    case CASCADE_NORM_BIAS:
    case CASCADE_WEIGHT: return config->heads == EXITS_HEADS_CASCADED;
    case ENSEMBLE_WEIGHT:
    case ENSEMBLE_BIAS: return config->gate == EXITS_GATE_ENSEMBLE;
    default: return true;
    }
}

static int64_t head_inputs(const struct exits_net_config *config)
{
    return config->head == EXITS_HEAD_NORM_MLP ? config->head_hidden : config->width;
}

/* Of a gate's first layer, and of its last. */
static int64_t gate_inputs(const struct exits_net_config *config)
{
    return exits_gate_is_hidden(config->gate) ? config->width : FEATURES;
}

static int64_t gate_out_inputs(const struct exits_net_config *config)
{
    return exits_net_has(config, GATE_UP_WEIGHT) ? config->gate_hidden : gate_inputs(config);
}

/* The first head has none before it. */
static bool is_of_later(int tensor)
{
    return tensor >= CASCADE_NORM_GAIN && tensor <= CASCADE_WEIGHT;
}

static bool is_shared(const struct exits_net_config *config, int tensor)
{
    return config->gate == EXITS_GATE_SHARED && tensor >= GATE_NORM_GAIN;
}

/* Of an exit, or with layer < 0 of a set. */
static void name_tensor(int set, int64_t layer, const char *name, char to[PARAM_NAME_BYTES])
{
    if (layer < 0) {
        snprintf(to, PARAM_NAME_BYTES, "exits.%d.%s", set, name);
    } else {
        snprintf(to, PARAM_NAME_BYTES, "exits.%d.layer.%" PRId64 ".%s", set, layer, name);
    }
}

static enum err add_exit(struct exits_net *net, int set, int exit)
{
    const struct exits_net_config *config = &net->config;
    const int64_t D = config->width, K = config->classes;
    const struct {
        const char *name;
        int rank;
        int64_t rows, columns;
        enum param_init init;
    } table[TENSORS] = {
        [NORM_GAIN] = {"norm.weight", 1, D, 1, PARAM_ONE},
        [NORM_BIAS] = {"norm.bias", 1, D, 1, PARAM_ZERO},
        [UP_WEIGHT] = {"dense.weight", 2, config->head_hidden, D, PARAM_XAVIER},
        [UP_BIAS] = {"dense.bias", 1, config->head_hidden, 1, PARAM_ZERO},
        [HEAD_WEIGHT] = {"classifier.weight", 2, K, head_inputs(config), PARAM_XAVIER},
        [HEAD_BIAS] = {"classifier.bias", 1, K, 1, PARAM_ZERO},
        [CASCADE_NORM_GAIN] = {"cascade.norm.weight", 1, K, 1, PARAM_ONE},
        [CASCADE_NORM_BIAS] = {"cascade.norm.bias", 1, K, 1, PARAM_ZERO},
        [CASCADE_WEIGHT] = {"cascade.weight", 2, K, K, PARAM_XAVIER},
        [GATE_NORM_GAIN] = {"gate.norm.weight", 1, D, 1, PARAM_ONE},
        [GATE_NORM_BIAS] = {"gate.norm.bias", 1, D, 1, PARAM_ZERO},
        [GATE_UP_WEIGHT] = {"gate.dense.weight", 2, config->gate_hidden, gate_inputs(config),
                            PARAM_XAVIER},
        [GATE_UP_BIAS] = {"gate.dense.bias", 1, config->gate_hidden, 1, PARAM_ZERO},
        [GATE_WEIGHT] = {"gate.out.weight", 2, 1, gate_out_inputs(config), PARAM_ZERO},
        [GATE_BIAS] = {"gate.out.bias", 1, 1, 1, PARAM_ZERO},
        [ENSEMBLE_WEIGHT] = {"ensemble.weight", 1, exit + 1, 1, PARAM_ZERO},
        [ENSEMBLE_BIAS] = {"ensemble.bias", 1, K, 1, PARAM_ZERO},
    };
    struct exits_places *places = &net->exits[set * config->count + exit];

    for (int t = 0; t < TENSORS; t++) {
        struct param param = {
            .rank = table[t].rank,
            .shape = {table[t].rows, table[t].columns},
            .part = set,
            .group = t < GATE_NORM_GAIN ? EXITS_GROUP_HEADS : EXITS_GROUP_GATES,
            .decays = table[t].rank == 2 && t < GATE_NORM_GAIN,
            .init = table[t].init,
        };
        places->at[t] = -1;
        if (is_of_later(t) && exit == 0) {
            continue;
        }
        if (is_shared(config, t) && exit > 0) {
            places->at[t] = places[-exit].at[t];
        } else if (exits_net_has(config, (enum exits_tensor)t)) {
            name_tensor(set, is_shared(config, t) ? -1 : config->layers[exit], table[t].name,
                        param.name);
            ERR_TRY(param_list_add(&net->params, &param));
            places->at[t] = net->params.params[net->params.count - 1].offset;
        }
    }
    return ERR_OK;
}

static enum err check(const struct exits_net_config *config)
{
    if (config->set_count < 1 || config->set_count > EXITS_SETS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "%d lambdas, 1 to %d are possible", config->set_count,
                        EXITS_SETS_MAX);
    }
    for (int g = 1; g < config->count; g++) {
        if (config->layers[g] <= config->layers[g - 1]) {
            return ERR_FAIL(ERR_CONFIG, "exit_layers must ascend, %" PRId64 " follows %" PRId64,
                            config->layers[g] + 1, config->layers[g - 1] + 1);
        }
    }
    if (config->count < 1 || config->layers[0] < 0) {
        return ERR_FAIL(ERR_CONFIG, "exit_layers names no layer before the last");
    }
    return ERR_OK;
}

static int64_t panel_elems(const struct exits_net *net, const struct kern_linear *linear)
{
    const int64_t elems = net->ops.linear_panel_elems(linear->N, linear->K);

    return (elems + CACHE_LINE_FLOATS - 1) / CACHE_LINE_FLOATS * CACHE_LINE_FLOATS;
}

static void place_linear(struct exits_net *net, struct kern_linear *linear, float **at)
{
    const int64_t elems = panel_elems(net, linear);

    linear->panels = *at;
    linear->panels_data = *at + elems;
    *at += 2 * elems;
}

/* The linear maps of an exit; returns how many. */
static int linears_of(const struct exits_net *net, struct exits_places *places,
                      struct kern_linear *linears_out[LINEARS_MAX])
{
    const bool is_hidden = exits_gate_is_hidden(net->config.gate);
    int count = 0;

    linears_out[count++] = &places->head;
    if (exits_net_has(&net->config, UP_WEIGHT)) {
        linears_out[count++] = &places->up;
    }
    if (places->at[CASCADE_WEIGHT] >= 0) {
        linears_out[count++] = &places->cascade;
    }
    if (is_hidden) {
        linears_out[count++] = &places->gate_out;
    }
    if (is_hidden && exits_net_has(&net->config, GATE_UP_WEIGHT)) {
        linears_out[count++] = &places->gate_up;
    }
    return count;
}

static void shape_linears(const struct exits_net *net, struct exits_places *places)
{
    const struct exits_net_config *config = &net->config;

    places->head = (struct kern_linear){.N = config->classes,
                                        .K = head_inputs(config),
                                        .weight = net->block + places->at[HEAD_WEIGHT]};
    places->up = (struct kern_linear){
        .N = config->head_hidden, .K = config->width, .weight = net->block + places->at[UP_WEIGHT]};
    places->cascade = (struct kern_linear){.N = config->classes,
                                           .K = config->classes,
                                           .weight = net->block + places->at[CASCADE_WEIGHT]};
    places->gate_up = (struct kern_linear){.N = config->gate_hidden,
                                           .K = gate_inputs(config),
                                           .weight = net->block + places->at[GATE_UP_WEIGHT]};
    places->gate_out = (struct kern_linear){
        .N = 1, .K = gate_out_inputs(config), .weight = net->block + places->at[GATE_WEIGHT]};
}

static enum err allocate(struct exits_net *net)
{
    const struct exits_net_config *config = &net->config;
    const int exit_count = config->set_count * config->count;
    struct kern_linear *linears[LINEARS_MAX];
    int64_t panels = 0;

    net->exits = calloc((size_t)exit_count, sizeof(*net->exits));
    if (net->exits == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %d exits", exit_count);
    }
    for (int i = 0; i < exit_count; i++) {
        ERR_TRY(add_exit(net, i / config->count, i % config->count));
    }
    ERR_TRY(device_memory_open_f32(net->ops.device, net->params.block_elems, "exits", &net->block));
    for (int i = 0; i < exit_count; i++) {
        shape_linears(net, &net->exits[i]);
        for (int j = linears_of(net, &net->exits[i], linears) - 1; j >= 0; j--) {
            panels += 2 * panel_elems(net, linears[j]);
        }
    }
    ERR_TRY(device_memory_open_f32(net->ops.device, panels, "panels of the exits", &net->panels));
    float *at = net->panels;
    for (int i = 0; i < exit_count; i++) {
        const int count = linears_of(net, &net->exits[i], linears);
        for (int j = 0; j < count; j++) {
            place_linear(net, linears[j], &at);
        }
    }
    return ERR_OK;
}

enum err exits_net_open(const struct exits_net_config *config, const struct kern_ops *ops,
                        struct exits_net **net_out)
{
    ERR_TRY(check(config));
    struct exits_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "exits");
    }
    net->config = *config;
    net->ops = *ops;
    const enum err status = allocate(net);
    if (status != ERR_OK) {
        exits_net_close(net);
        return status;
    }
    *net_out = net;
    return ERR_OK;
}

void exits_net_close(struct exits_net *net)
{
    if (net == NULL) {
        return;
    }
    device_memory_close(net->ops.device, net->panels);
    device_memory_close(net->ops.device, net->block);
    param_list_close(&net->params);
    free(net->exits);
    free(net);
}

const struct exits_net_config *exits_net_config_of(const struct exits_net *net)
{
    return &net->config;
}

const struct kern_ops *exits_net_ops(const struct exits_net *net)
{
    return &net->ops;
}

const struct param_list *exits_net_params(const struct exits_net *net)
{
    return &net->params;
}

float *exits_net_block(struct exits_net *net)
{
    return net->block;
}

enum err exits_net_init(struct exits_net *net, uint64_t seed, const double prior[])
{
    static const double unused_std = 1;
    const int64_t set_elems = net->params.block_elems / net->config.set_count;
    struct device_view view;

    ERR_TRY(device_view_open(net->ops.device, net->block,
                             (size_t)net->params.block_elems * sizeof(float), &view));
    float *block = view.host;
    param_list_init(&net->params, block, unused_std, seed, SALT);
    for (int g = 0; g < net->config.count && exits_net_has(&net->config, GATE_BIAS); g++) {
        const double first = is_shared(&net->config, GATE_BIAS) ? 0.5 : prior[g];
        block[net->exits[g].at[GATE_BIAS]] = (float)log(first / (1 - first));
    }
    for (int set = 1; set < net->config.set_count; set++) {
        memcpy(block + set * set_elems, block, (size_t)set_elems * sizeof(float));
    }
    return device_view_close(&view, true);
}

enum err exits_net_compare(const struct exits_net *net, bool *equal_out)
{
    const int64_t set_elems = net->params.block_elems / net->config.set_count;
    struct device_view view;

    *equal_out = true;
    ERR_TRY(device_view_open(net->ops.device, net->block,
                             (size_t)net->params.block_elems * sizeof(float), &view));
    const float *block = view.host;
    for (int set = 1; set < net->config.set_count && *equal_out; set++) {
        *equal_out = memcmp(block + set * set_elems, block, (size_t)set_elems * sizeof(float)) == 0;
    }
    return device_view_close(&view, false);
}

void exits_net_pack(struct exits_net *net)
{
    struct kern_linear *linears[LINEARS_MAX];

    for (int i = 0; i < net->config.set_count * net->config.count; i++) {
        for (int j = linears_of(net, &net->exits[i], linears) - 1; j >= 0; j--) {
            net->ops.linear_pack(linears[j]);
        }
    }
}
