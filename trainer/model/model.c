#include "trainer/model/model.h"

#include <assert.h>
#include <stdlib.h>

#include "trainer/model/model_priv.h"

enum { MATRICES_PER_LAYER_MAX = 5, MATRICES_OUTSIDE_LAYERS = 2, CACHE_LINE_FLOATS = 16 };

float *model_at(const struct model *model, float *block, enum model_tensor tensor, int64_t layer)
{
    assert(model->tensor_at[tensor] >= 0);
    return block +
           model->params.params[model->tensor_at[tensor] + layer * model->tensor_step[tensor]]
               .offset;
}

bool model_is_cls_only(const struct model *model, int64_t layer)
{
    return model->config.embedding == MODEL_EMBEDDING_PATCHES &&
           model->config.pooling == MODEL_POOLING_CLS && !model->config.full_last_layer &&
           layer == model->config.num_hidden_layers - 1;
}

/* Says which matrix `linear` is; its panels are placed later. */
static struct kern_linear *name_matrix(struct model *model, struct kern_linear *linear,
                                       enum model_tensor tensor, int64_t layer, int64_t N,
                                       int64_t K)
{
    *linear = (struct kern_linear){
        .N = N, .K = K, .weight = model_at(model, model->block, tensor, layer)};
    model->matrices[model->matrix_count++] = linear;
    return linear;
}

static void name_matrices(struct model *model)
{
    const struct model_config *config = &model->config;
    const int64_t D = config->hidden_size, F = config->intermediate_size;

    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        name_matrix(model, &model->patches, MODEL_patch_weight, 0, D,
                    model_config_patch_inputs(config));
    }
    name_matrix(model, &model->classes, config->ties_classifier ? MODEL_words : MODEL_class_weight,
                0, config->num_labels, D);
    for (int64_t l = 0; l < config->num_hidden_layers; l++) {
        struct model_layer *layer = &model->layers[l];
        if (model_is_cls_only(model, l)) {
            name_matrix(model, &layer->query, MODEL_query_weight, l, D, D);
            name_matrix(model, &layer->keys_values, MODEL_key_weight, l, 2 * D, D);
        } else {
            name_matrix(model, &layer->qkv, MODEL_query_weight, l, 3 * D, D);
        }
        name_matrix(model, &layer->out, MODEL_out_weight, l, D, D);
        name_matrix(model, &layer->up, MODEL_up_weight, l, F, D);
        name_matrix(model, &layer->down, MODEL_down_weight, l, D, F);
    }
}

static int64_t panel_elems(const struct model *model, const struct kern_linear *linear)
{
    const int64_t elems = model->ops.linear_panel_elems(linear->N, linear->K);

    return (elems + CACHE_LINE_FLOATS - 1) / CACHE_LINE_FLOATS * CACHE_LINE_FLOATS;
}

static enum err place_panels(struct model *model)
{
    int64_t total = 0;

    for (int64_t i = 0; i < model->matrix_count; i++) {
        total += 2 * panel_elems(model, model->matrices[i]);
    }
    ERR_TRY(device_memory_open_f32(model->ops.device, total, "weight panels", &model->panels));
    float *at = model->panels;
    for (int64_t i = 0; i < model->matrix_count; i++) {
        const int64_t elems = panel_elems(model, model->matrices[i]);
        model->matrices[i]->panels = at;
        model->matrices[i]->panels_data = at + elems;
        at += 2 * elems;
    }
    return ERR_OK;
}

static void find_tensors(struct model *model)
{
    const struct model_config *config = &model->config;

    for (int t = 0; t < MODEL_TENSOR_KINDS; t++) {
        const enum model_tensor tensor = (enum model_tensor)t;
        model->tensor_at[t] = -1;
        if (model_has_tensor(config, tensor)) {
            const int64_t first = model_tensor_index(config, tensor, 0);
            const bool has_more = config->num_hidden_layers > 1;
            model->tensor_at[t] = first;
            model->tensor_step[t] = has_more ? model_tensor_index(config, tensor, 1) - first : 0;
        }
    }
}

static enum err allocate(struct model *model)
{
    const size_t layers = (size_t)model->config.num_hidden_layers;

    model->layers = calloc(layers, sizeof(*model->layers));
    model->matrices = calloc(MATRICES_OUTSIDE_LAYERS + MATRICES_PER_LAYER_MAX * layers,
                             sizeof(struct kern_linear *));
    if (model->layers == NULL || model->matrices == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %zu layers", layers);
    }
    ERR_TRY(model_layout_open(&model->config, &model->params));
    find_tensors(model);
    ERR_TRY(device_memory_open_f32(model->ops.device, model->params.block_elems, "parameters",
                                   &model->block));
    name_matrices(model);
    return place_panels(model);
}

enum err model_open(const struct model_config *config, const struct kern_ops *ops,
                    struct model **model_out)
{
    assert(config != NULL && ops != NULL && model_out != NULL);
    ERR_TRY(model_config_check(config));
    struct model *model = calloc(1, sizeof(*model));
    if (model == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a model");
    }
    model->config = *config;
    model->ops = *ops;
    const enum err status = allocate(model);
    if (status != ERR_OK) {
        model_close(model);
        return status;
    }
    *model_out = model;
    return ERR_OK;
}

void model_close(struct model *model)
{
    if (model == NULL) {
        return;
    }
    device_memory_close(model->ops.device, model->panels);
    device_memory_close(model->ops.device, model->block);
    param_list_close(&model->params);
    free(model->matrices);
    free(model->layers);
    free(model);
}

const struct model_config *model_config_of(const struct model *model)
{
    return &model->config;
}

const struct kern_ops *model_ops(const struct model *model)
{
    return &model->ops;
}

const struct param_list *model_params(const struct model *model)
{
    return &model->params;
}

float *model_block(struct model *model)
{
    return model->block;
}

enum err model_init(struct model *model, uint64_t seed)
{
    struct device_view view;

    ERR_TRY(device_view_open(model->ops.device, model->block,
                             (size_t)model->params.block_elems * sizeof(float), &view));
    param_list_init(&model->params, view.host, model->config.initializer_range, seed, 0);
    return device_view_close(&view, true);
}

void model_pack(struct model *model, bool for_backward)
{
    for (int64_t i = 0; i < model->matrix_count; i++) {
        struct kern_linear linear = *model->matrices[i];
        if (!for_backward) {
            linear.panels_data = NULL;
        }
        model->ops.linear_pack(&linear);
    }
}
