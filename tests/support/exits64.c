#include "tests/support/exits64.h"

#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ref64.h"

static double *scratch(int64_t count)
{
    double *block = calloc((size_t)count, sizeof(double));

    ck_assert_ptr_nonnull(block);
    return block;
}

void exits64_open(struct exits64 *exits, struct exits_net *net)
{
    const struct param_list *list = exits_net_params(net);

    *exits = (struct exits64){exits_net_config_of(net), list, scratch(list->block_elems)};
    for (int64_t i = 0; i < list->block_elems; i++) {
        exits->params[i] = exits_net_block(net)[i];
    }
}

void exits64_close(struct exits64 *exits)
{
    free(exits->params);
    *exits = (struct exits64){0};
}

static const double *tensor(const struct exits64 *exits, int set, int exit, const char *name)
{
    char full[2 * PARAM_NAME_BYTES];

    if (exits->config->gate == EXITS_GATE_SHARED && strncmp(name, "gate.", 5) == 0) {
        snprintf(full, sizeof(full), "exits.%d.%s", set, name);
    } else {
        snprintf(full, sizeof(full), "exits.%d.layer.%" PRId64 ".%s", set,
                 exits->config->layers[exit], name);
    }
    for (int64_t t = 0; t < exits->list->count; t++) {
        if (strcmp(exits->list->params[t].name, full) == 0) {
            return exits->params + exits->list->params[t].offset;
        }
    }
    ck_abort_msg("no tensor is called %s", full);
    return NULL;
}

/* y [outs] = weight [outs, ins] x [ins] + bias. */
static void linear(double *y, const double *x, const double *weight, const double *bias,
                   int64_t ins, int64_t outs)
{
    for (int64_t o = 0; o < outs; o++) {
        y[o] = bias[o];
        for (int64_t i = 0; i < ins; i++) {
            y[o] += weight[o * ins + i] * x[i];
        }
    }
}

static double gelu(double x)
{
    static const double pi = 3.14159265358979323846;

    return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}

void exits64_head(const struct exits64 *exits, int set, int exit, const double *h, double *z)
{
    const struct exits_net_config *config = exits->config;
    const int64_t D = config->width, hidden = config->head_hidden;
    const struct ref64_rows row = {1, D, (double)config->layer_norm_eps};
    const double *weight = tensor(exits, set, exit, "classifier.weight");
    const double *bias = tensor(exits, set, exit, "classifier.bias");
    double *normed = scratch(D), *wide = scratch(hidden + 1);

    if (config->head == EXITS_HEAD_LINEAR) {
        linear(z, h, weight, bias, D, config->classes);
    } else {
        ref64_layernorm(normed, h, tensor(exits, set, exit, "norm.weight"),
                        tensor(exits, set, exit, "norm.bias"), &row);
    }
    if (config->head == EXITS_HEAD_NORM_LINEAR) {
        linear(z, normed, weight, bias, D, config->classes);
    }
    if (config->head == EXITS_HEAD_NORM_MLP) {
        linear(wide, normed, tensor(exits, set, exit, "dense.weight"),
               tensor(exits, set, exit, "dense.bias"), D, hidden);
        for (int64_t i = 0; i < hidden; i++) {
            wide[i] = gelu(wide[i]);
        }
        linear(z, wide, weight, bias, hidden, config->classes);
    }
    free(normed);
    free(wide);
}

void exits64_chain(const struct exits64 *exits, int set, int exit, const double *before, double *z)
{
    const int64_t K = exits->config->classes;
    const struct ref64_rows row = {1, K, (double)exits->config->layer_norm_eps};

    if (exit == 0 || exits->config->heads == EXITS_HEADS_PLAIN) {
        return;
    }
    if (exits->config->heads == EXITS_HEADS_BOOSTED) {
        for (int64_t k = 0; k < K; k++) {
            z[k] += exits->config->boost * before[k];
        }
        return;
    }
    double *normed = scratch(K), *told = scratch(K);
    ref64_layernorm(normed, before, tensor(exits, set, exit, "cascade.norm.weight"),
                    tensor(exits, set, exit, "cascade.norm.bias"), &row);
    linear(told, normed, tensor(exits, set, exit, "cascade.weight"), z, K, K);
    memcpy(z, told, (size_t)K * sizeof(double));
    free(normed);
    free(told);
}

void exits64_ensemble(const struct exits64 *exits, int set, int exit, const double *z, double *e)
{
    const int64_t K = exits->config->classes;
    const double *weight = tensor(exits, set, exit, "ensemble.weight");
    const double *bias = tensor(exits, set, exit, "ensemble.bias");

    for (int64_t k = 0; k < K; k++) {
        e[k] = bias[k];
    }
    for (int j = 0; j <= exit; j++) {
        double mass = 0;
        for (int64_t k = 0; k < K; k++) {
            mass += exp(z[j * K + k]);
        }
        for (int64_t k = 0; k < K; k++) {
            e[k] += exp(weight[j]) * (z[j * K + k] - log(mass)) / (exit + 1);
        }
    }
}

void exits64_features(const double *z, int64_t K, double features_out[EXITS64_FEATURES])
{
    struct ref64_xent row;

    ref64_xent(&row, z, 0, K);
    memcpy(features_out, row.features, sizeof(row.features));
    features_out[1] /= log((double)K);
    features_out[3] /= log((double)K);
}

double exits64_gate(const struct exits64 *exits, int set, int exit,
                    const double features[EXITS64_FEATURES], const double *h)
{
    const struct exits_net_config *config = exits->config;
    const bool is_hidden = config->gate >= EXITS_GATE_HIDDEN_LINEAR;
    const int64_t hidden = config->gate_hidden, ins = is_hidden ? config->width : EXITS64_FEATURES;
    const struct ref64_rows row = {1, config->width, (double)config->layer_norm_eps};
    const double *weight = tensor(exits, set, exit, "gate.out.weight");
    const double *bias = tensor(exits, set, exit, "gate.out.bias");
    double *wide = scratch(hidden + 1), *normed = scratch(config->width);
    double a = 0;

    if (is_hidden) {
        ref64_layernorm(normed, h, tensor(exits, set, exit, "gate.norm.weight"),
                        tensor(exits, set, exit, "gate.norm.bias"), &row);
    }
    const double *inputs = is_hidden ? normed : features;
    if (config->gate != EXITS_GATE_MLP && config->gate != EXITS_GATE_HIDDEN_MLP) {
        linear(&a, inputs, weight, bias, ins, 1);
    } else {
        linear(wide, inputs, tensor(exits, set, exit, "gate.dense.weight"),
               tensor(exits, set, exit, "gate.dense.bias"), ins, hidden);
        for (int64_t i = 0; i < hidden; i++) {
            wide[i] = is_hidden ? gelu(wide[i]) : fmax(0, wide[i]);
        }
        linear(&a, wide, weight, bias, hidden, 1);
    }
    free(wide);
    free(normed);
    return a;
}

double exits64_lesson(const double *z, const double *t, int64_t K, double T)
{
    double z_mass = 0, t_mass = 0, sum = 0;

    for (int64_t k = 0; k < K; k++) {
        z_mass += exp(z[k] / T);
        t_mass += exp(t[k] / T);
    }
    for (int64_t k = 0; k < K; k++) {
        const double told = t[k] / T - log(t_mass), own = z[k] / T - log(z_mass);
        sum += exp(told) * (told - own);
    }
    return T * T * sum;
}
