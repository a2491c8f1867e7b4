#include "exits/exits_net.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_net_priv.h"

/* SALT tells the random numbers of exits from those of the backbone. */
enum { CACHE_LINE_FLOATS = 16, SALT = 1 };

bool exits_net_has(const struct exits_net_config *config, enum exits_tensor tensor)
{
    switch (tensor) {
    case NORM_GAIN:
    case NORM_BIAS: return config->head != EXITS_HEAD_LINEAR;
    case UP_WEIGHT:
    case UP_BIAS: return config->head == EXITS_HEAD_NORM_MLP;
    case GATE_UP_WEIGHT:
    case GATE_UP_BIAS: return config->gate == EXITS_GATE_MLP;
    case GATE_WEIGHT:
    case GATE_BIAS: return config->gate != EXITS_GATE_NONE;
    default: return true;
    }
}

static int64_t head_inputs(const struct exits_net_config *config)
{
    return config->head == EXITS_HEAD_NORM_MLP ? config->head_hidden : config->width;
}

static int64_t gate_inputs(const struct exits_net_config *config)
{
    return config->gate == EXITS_GATE_MLP ? config->gate_hidden : FEATURES;
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
        [GATE_UP_WEIGHT] = {"gate.dense.weight", 2, config->gate_hidden, FEATURES, PARAM_XAVIER},
        [GATE_UP_BIAS] = {"gate.dense.bias", 1, config->gate_hidden, 1, PARAM_ZERO},
        [GATE_WEIGHT] = {"gate.out.weight", 2, 1, gate_inputs(config), PARAM_ZERO},
        [GATE_BIAS] = {"gate.out.bias", 1, 1, 1, PARAM_ZERO},
    };
    struct exits_places *places = &net->exits[set * config->count + exit];

    for (int t = 0; t < TENSORS; t++) {
        struct param param = {
            .rank = table[t].rank,
            .shape = {table[t].rows, table[t].columns},
            .part = set,
            .group = t < GATE_UP_WEIGHT ? EXITS_GROUP_HEADS : EXITS_GROUP_GATES,
            .decays = table[t].rank == 2 && t < GATE_UP_WEIGHT,
            .init = table[t].init,
        };
        places->at[t] = -1;
        if (exits_net_has(config, (enum exits_tensor)t)) {
            snprintf(param.name, sizeof(param.name), "exits.%d.layer.%" PRId64 ".%s", set,
                     config->layers[exit], table[t].name);
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

static enum err allocate(struct exits_net *net)
{
    const struct exits_net_config *config = &net->config;
    const int exit_count = config->set_count * config->count;
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
        struct exits_places *places = &net->exits[i];
        places->head = (struct kern_linear){.N = config->classes,
                                            .K = head_inputs(config),
                                            .weight = net->block + places->at[HEAD_WEIGHT]};
        panels += 2 * panel_elems(net, &places->head);
        if (exits_net_has(config, UP_WEIGHT)) {
            places->up = (struct kern_linear){.N = config->head_hidden,
                                              .K = config->width,
                                              .weight = net->block + places->at[UP_WEIGHT]};
            panels += 2 * panel_elems(net, &places->up);
        }
    }
    ERR_TRY(device_memory_open_f32(net->ops.device, panels, "panels of the exits", &net->panels));
    float *at = net->panels;
    for (int i = 0; i < exit_count; i++) {
        place_linear(net, &net->exits[i].head, &at);
        if (exits_net_has(config, UP_WEIGHT)) {
            place_linear(net, &net->exits[i].up, &at);
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
        block[net->exits[g].at[GATE_BIAS]] = (float)log(prior[g] / (1 - prior[g]));
    }
    for (int set = 1; set < net->config.set_count; set++) {
        memcpy(block + set * set_elems, block, (size_t)set_elems * sizeof(float));
    }
    return device_view_close(&view, true);
}

void exits_net_pack(struct exits_net *net)
{
    for (int i = 0; i < net->config.set_count * net->config.count; i++) {
        net->ops.linear_pack(&net->exits[i].head);
        if (exits_net_has(&net->config, UP_WEIGHT)) {
            net->ops.linear_pack(&net->exits[i].up);
        }
    }
}
