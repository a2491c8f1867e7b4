#include <math.h>

#include "exits/exits_net_priv.h"

/* The gate of an exit in a block of this layout. */
static struct kern_gate gate_in(const struct exits_net *net, const struct exits_places *places,
                                float *block)
{
    struct kern_gate gate = {.out = block + places->at[GATE_WEIGHT],
                             .bias = block + places->at[GATE_BIAS]};

    if (net->config.gate == EXITS_GATE_MLP) {
        gate.hidden = net->config.gate_hidden;
        gate.up = block + places->at[GATE_UP_WEIGHT];
        gate.up_bias = block + places->at[GATE_UP_BIAS];
    }
    return gate;
}

void exits_gate_forward(struct exits_work *work, int i)
{
    const struct exits_net *net = work->net;
    const struct exits_rows *rows = &work->rows[i];
    const float entropy_scale = 1.0f / logf((float)net->config.classes);

    if (net->config.gate == EXITS_GATE_NONE) {
        net->ops.zero(rows->gate, rows->n);
        return;
    }
    const struct kern_gate gate = gate_in(net, &net->exits[i], net->block);
    net->ops.gate_forward(rows->gate, rows->hidden, rows->features, entropy_scale, &gate, rows->n);
}

void exits_gate_backward(struct exits_work *work, int set, int exit, const float *dgate,
                         float *gradients, bool accumulate)
{
    const struct exits_net *net = work->net;
    const int i = set * net->config.count + exit;
    const struct exits_rows *rows = &work->rows[i];

    if (net->config.gate == EXITS_GATE_NONE) {
        return;
    }
    const struct kern_gate gate = gate_in(net, &net->exits[i], net->block);
    const struct kern_gate to = gate_in(net, &net->exits[i], gradients);
    net->ops.gate_backward(&to, dgate, rows->hidden, rows->features, &gate, rows->n, accumulate);
}
