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

static void forward_hidden(struct exits_work *work, int i, const float *features)
{
    const struct exits_net *net = work->net;
    const struct exits_places *places = &net->exits[i];
    const struct exits_rows *rows = &work->rows[i];
    const int64_t D = net->config.width, H = net->config.gate_hidden;
    const float *inputs = rows->gate_normed;
    const struct kern_linear_epilogue decide = {.bias = net->block + places->at[GATE_BIAS]};

    net->ops.layernorm_forward(rows->gate_normed, rows->gate_mean, rows->gate_rstd, features, D,
                               net->block + places->at[GATE_NORM_GAIN],
                               net->block + places->at[GATE_NORM_BIAS], rows->n, D,
                               net->config.layer_norm_eps);
    if (net->config.gate == EXITS_GATE_HIDDEN_MLP) {
        const struct kern_linear_epilogue activate = {.bias = net->block + places->at[GATE_UP_BIAS],
                                                      .gelu = KERN_GELU_TANH,
                                                      .slope = rows->gate_slope};
        net->ops.linear_forward(rows->hidden, H, inputs, D, rows->n, &places->gate_up, &activate);
        inputs = rows->hidden;
    }
    net->ops.linear_forward(rows->gate, 1, inputs, places->gate_out.K, rows->n, &places->gate_out,
                            &decide);
}

void exits_gate_forward(struct exits_work *work, int i, const float *features)
{
    const struct exits_net *net = work->net;
    const int set = i / net->config.count;
    const struct exits_rows *rows = &work->rows[i];
    float *features_of_head = exits_head_rows(work, set, i % net->config.count)->features;
    /* Set 0 has scaled what it lends. */
    const float entropy_scale =
        set > 0 && work->shares_heads ? 1.0f : 1.0f / logf((float)net->config.classes);

    if (!exits_gate_decides(net->config.gate)) {
        net->ops.zero(rows->gate, rows->n);
        return;
    }
    if (exits_gate_is_hidden(net->config.gate)) {
        forward_hidden(work, i, features);
        return;
    }
    const struct kern_gate gate = gate_in(net, &net->exits[i], net->block);
    net->ops.gate_forward(rows->gate, rows->hidden, features_of_head, entropy_scale, &gate,
                          rows->n);
}

static void backward_hidden(struct exits_work *work, int i, const float *features,
                            const float *dgate, float *gradients, bool accumulate)
{
    const struct exits_net *net = work->net;
    const struct kern_ops *ops = &net->ops;
    const struct exits_places *places = &net->exits[i];
    const struct exits_rows *rows = &work->rows[i];
    const int64_t n = rows->n, D = net->config.width, H = net->config.gate_hidden;
    const bool is_deep = net->config.gate == EXITS_GATE_HIDDEN_MLP;

    ops->linear_backward_weight(gradients + places->at[GATE_WEIGHT],
                                gradients + places->at[GATE_BIAS], dgate, 1,
                                is_deep ? rows->hidden : rows->gate_normed, places->gate_out.K, n,
                                1, places->gate_out.K, accumulate);
    if (is_deep) {
        ops->linear_backward_data(work->dhidden, H, dgate, 1, n, &places->gate_out,
                                  rows->gate_slope);
        ops->linear_backward_weight(gradients + places->at[GATE_UP_WEIGHT],
                                    gradients + places->at[GATE_UP_BIAS], work->dhidden, H,
                                    rows->gate_normed, D, n, H, D, accumulate);
        ops->linear_backward_data(work->dnormed, D, work->dhidden, H, n, &places->gate_up, NULL);
    } else {
        ops->linear_backward_data(work->dnormed, D, dgate, 1, n, &places->gate_out, NULL);
    }
    /* Nobody wants the gradient by the stream. */
    ops->layernorm_backward(NULL, NULL, gradients + places->at[GATE_NORM_GAIN],
                            gradients + places->at[GATE_NORM_BIAS], work->dnormed, features, D,
                            rows->gate_mean, rows->gate_rstd,
                            net->block + places->at[GATE_NORM_GAIN], n, D, accumulate);
}

static void backward_ensemble(struct exits_work *work, int i, const float *weights,
                              float *gradients, bool accumulate)
{
    const struct exits_net *net = work->net;
    const struct exits_rows *rows = &work->rows[i];
    struct exits_ensemble ensemble = exits_ensemble_of(work, i);

    net->ops.xent_backward(work->dlogits, rows->answer, rows->answer_lse, rows->labels, weights,
                           rows->n, net->config.classes);
    ensemble.danswer = work->dlogits;
    ensemble.dweights = gradients + net->exits[i].at[ENSEMBLE_WEIGHT];
    ensemble.dbias = gradients + net->exits[i].at[ENSEMBLE_BIAS];
    ensemble.accumulate = accumulate;
    work->answer_backward(&ensemble);
}

void exits_gate_backward(struct exits_work *work, int set, int exit, const float *features,
                         const float *dgate, float *gradients, bool accumulate)
{
    const struct exits_net *net = work->net;
    const int i = set * net->config.count + exit;
    const struct exits_rows *rows = &work->rows[i];

    if (net->config.gate == EXITS_GATE_NONE) {
        return;
    }
    if (net->config.gate == EXITS_GATE_ENSEMBLE) {
        backward_ensemble(work, i, dgate, gradients, accumulate);
        return;
    }
    if (exits_gate_is_hidden(net->config.gate)) {
        const bool adds = accumulate || (net->config.gate == EXITS_GATE_SHARED && exit > 0);
        backward_hidden(work, i, features, dgate, gradients, adds);
        return;
    }
    const struct kern_gate gate = gate_in(net, &net->exits[i], net->block);
    const struct kern_gate to = gate_in(net, &net->exits[i], gradients);
    net->ops.gate_backward(&to, dgate, rows->hidden, exits_head_rows(work, set, exit)->features,
                           &gate, rows->n, accumulate);
}
