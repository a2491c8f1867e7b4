/*
 * A layer whose norms come behind its halves, BERT's:
 *
 *      middle = norm1(x + attention(x)),   output = norm2(middle + mlp(middle))
 */
#include <assert.h>

#include "trainer/model/model_priv.h"

void model_post_block_forward(struct model_work *work, int64_t layer)
{
    const struct model *model = work->model;
    const struct model_config *config = &model->config;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = config->hidden_size, rows = work->n * T;
    const int64_t F = config->intermediate_size, H = config->num_attention_heads;
    const struct kern_attention_shape shape = {work->n, T, H, D / H};
    const float epsilon = (float)config->layer_norm_eps;
    float *output = model_output_of(work, layer);
    struct kern_attention_mask mask;
    const struct kern_linear_epilogue project = {
        .bias = model_at(model, model->block, MODEL_query_bias, layer)};
    const struct kern_linear_epilogue join_attention = {
        .bias = model_at(model, model->block, MODEL_out_bias, layer), .residual = kept->x};
    const struct kern_linear_epilogue activate = {
        .bias = model_at(model, model->block, MODEL_up_bias, layer),
        .gelu = config->hidden_act,
        .slope = kept->slope};
    const struct kern_linear_epilogue join_mlp = {
        .bias = model_at(model, model->block, MODEL_down_bias, layer), .residual = kept->middle};

    assert(work->stream == kept->x);
    ops->linear_forward(kept->qkv, 3 * D, kept->x, D, rows, &matrices->qkv, &project);
    ops->attention_forward(kept->heads, kept->attention, kept->qkv, &shape, T,
                           model_mask_of(work, &mask));
    ops->linear_forward(kept->normed1, D, kept->heads, D, rows, &matrices->out, &join_attention);
    ops->layernorm_forward(kept->middle, kept->mean1, kept->rstd1, kept->normed1, D,
                           model_at(model, model->block, MODEL_norm1_gain, layer),
                           model_at(model, model->block, MODEL_norm1_bias, layer), rows, D,
                           epsilon);
    ops->linear_forward(kept->wide, F, kept->middle, D, rows, &matrices->up, &activate);
    ops->linear_forward(kept->normed2, D, kept->wide, F, rows, &matrices->down, &join_mlp);
    ops->layernorm_forward(output, kept->mean2, kept->rstd2, kept->normed2, D,
                           model_at(model, model->block, MODEL_norm2_gain, layer),
                           model_at(model, model->block, MODEL_norm2_bias, layer), rows, D,
                           epsilon);
    work->stream = output;
}

/* dx, of the output -> dnormed, of middle. */
static void mlp_backward(struct model_work *work, int64_t layer, float *gradients, bool accumulate)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t D = model->config.hidden_size, F = model->config.intermediate_size;
    const int64_t rows = work->n * work->T;
    float *dsum = work->dmiddle;

    ops->layernorm_backward(dsum, NULL, model_at(model, gradients, MODEL_norm2_gain, layer),
                            model_at(model, gradients, MODEL_norm2_bias, layer), work->dx,
                            kept->normed2, D, kept->mean2, kept->rstd2,
                            model_at(model, model->block, MODEL_norm2_gain, layer), rows, D,
                            accumulate);
    ops->linear_backward_weight(model_at(model, gradients, MODEL_down_weight, layer),
                                model_at(model, gradients, MODEL_down_bias, layer), dsum, D,
                                kept->wide, F, rows, D, F, accumulate);
    ops->linear_backward_data(work->dwide, F, dsum, D, rows, &matrices->down, kept->slope);
    ops->linear_backward_weight(model_at(model, gradients, MODEL_up_weight, layer),
                                model_at(model, gradients, MODEL_up_bias, layer), work->dwide, F,
                                kept->middle, D, rows, F, D, accumulate);
    ops->linear_backward_data(work->dnormed, D, work->dwide, F, rows, &matrices->up, NULL);
    ops->add(work->dnormed, dsum, rows * D);
}

void model_post_block_backward(struct model_work *work, int64_t layer, float *gradients,
                               bool accumulate)
{
    const struct model *model = work->model;
    const struct model_layer *matrices = &model->layers[layer];
    const struct model_kept *kept = &work->layers[layer];
    const struct kern_ops *ops = &model->ops;
    const int64_t T = work->T, D = model->config.hidden_size, rows = work->n * T;
    const int64_t H = model->config.num_attention_heads;
    const struct kern_attention_shape shape = {work->n, T, H, D / H};
    struct kern_attention_mask mask;
    float *dsum = work->dmiddle, *dqkv = work->dwide;

    mlp_backward(work, layer, gradients, accumulate);
    ops->layernorm_backward(dsum, NULL, model_at(model, gradients, MODEL_norm1_gain, layer),
                            model_at(model, gradients, MODEL_norm1_bias, layer), work->dnormed,
                            kept->normed1, D, kept->mean1, kept->rstd1,
                            model_at(model, model->block, MODEL_norm1_gain, layer), rows, D,
                            accumulate);
    ops->linear_backward_weight(model_at(model, gradients, MODEL_out_weight, layer),
                                model_at(model, gradients, MODEL_out_bias, layer), dsum, D,
                                kept->heads, D, rows, D, D, accumulate);
    ops->linear_backward_data(work->dnormed, D, dsum, D, rows, &matrices->out, NULL);
    ops->attention_backward(dqkv, work->dnormed, kept->qkv, kept->attention, &shape, T,
                            model_mask_of(work, &mask));
    ops->linear_backward_weight(model_at(model, gradients, MODEL_query_weight, layer),
                                model_at(model, gradients, MODEL_query_bias, layer), dqkv, 3 * D,
                                kept->x, D, rows, 3 * D, D, accumulate);
    ops->linear_backward_data(work->dx, D, dqkv, 3 * D, rows, &matrices->qkv, NULL);
    ops->add(work->dx, dsum, rows * D);
}
