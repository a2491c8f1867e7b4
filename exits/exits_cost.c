#include "exits/exits_cost.h"

#include <assert.h>

int64_t exits_cost_block(int64_t tokens, int64_t width, int64_t intermediate)
{
    return tokens * (4 * width * width + 2 * width * intermediate) + 2 * tokens * tokens * width;
}

int64_t exits_cost_block_pooled(int64_t tokens, int64_t width, int64_t intermediate)
{
    const int64_t keys_and_values = 2 * tokens * width * width;
    const int64_t query_and_output = 2 * width * width;
    const int64_t attention = 2 * tokens * width;

    return keys_and_values + query_and_output + attention + 2 * width * intermediate;
}

/* Of the sample, or a token's share. */
static int64_t block_cost(const struct exits_cost_shape *shape, int64_t layer)
{
    const int64_t D = shape->width, F = shape->intermediate;

    if (shape->pools_last_block && layer == shape->layers - 1) {
        return exits_cost_block_pooled(shape->tokens, D, F);
    }
    return exits_cost_block(shape->tokens, D, F) / (shape->is_of_token ? shape->tokens : 1);
}

/* What an exit makes of the heads before it. */
static int64_t chain_cost(const struct exits_cost_shape *shape, int exit)
{
    const int64_t K = shape->classes;
    const int64_t ensemble = shape->gate == EXITS_GATE_ENSEMBLE ? (exit + 2) * K : 0;

    if (exit == 0 || shape->heads == EXITS_HEADS_PLAIN) {
        return ensemble;
    }
    return ensemble + (shape->heads == EXITS_HEADS_BOOSTED ? K : K * K);
}

static int64_t head_cost(const struct exits_cost_shape *shape, int exit)
{
    const int64_t chain = chain_cost(shape, exit);

    if (shape->head == EXITS_HEAD_NORM_MLP) {
        return shape->head_hidden * (shape->width + shape->classes) + chain;
    }
    return shape->width * shape->classes + chain;
}

static int64_t gate_cost(const struct exits_cost_shape *shape)
{
    const bool is_hidden = shape->gate == EXITS_GATE_HIDDEN_LINEAR ||
                           shape->gate == EXITS_GATE_HIDDEN_MLP || shape->gate == EXITS_GATE_SHARED;
    const bool is_deep = shape->gate == EXITS_GATE_MLP || shape->gate == EXITS_GATE_HIDDEN_MLP;
    const int64_t inputs = is_hidden ? shape->width : 4;
    const int64_t features = is_hidden ? 0 : 9 * shape->classes + 1; /* K + (K + 1) + 2 K + 5 K */

    if (!shape->has_gates || !exits_gate_decides(shape->gate)) {
        return 0;
    }
    if (is_deep) {
        return features + (inputs + 1) * shape->gate_hidden + shape->gate_hidden + 1;
    }
    return features + inputs + 1;
}

void exits_cost(const struct exits_cost_shape *shape, int64_t macs_out[])
{
    const int64_t D = shape->width;
    int64_t macs = shape->patches * shape->patch_inputs * D;
    int exit = 0;

    for (int64_t layer = 0; layer < shape->layers; layer++) {
        macs += block_cost(shape, layer);
        if (exit < shape->exit_count && shape->exit_layers[exit] == layer) {
            assert(layer < shape->layers - 1);
            macs += head_cost(shape, exit) + gate_cost(shape);
            macs_out[exit] = macs;
            exit++;
        }
    }
    assert(exit == shape->exit_count);
    macs_out[exit] = macs + D * shape->classes;
}

void exits_cost_shares(const int64_t macs[], int G, double shares_out[])
{
    for (int l = 0; l <= G; l++) {
        shares_out[l] = (double)macs[l] / (double)macs[G];
    }
}
