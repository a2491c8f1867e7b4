/* A model as Hugging Face has it: what is fused or transposed there is put together here. */
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "trainer/model/model_aliases.h"
#include "trainer/model/model_files.h"

/* Tensors of the file; those that are not as they lie in the block have memory of their own. */
struct saved {
    char (*names)[PARAM_NAME_BYTES];
    struct safetensors_tensor *tensors;
    float **made; /* or NULL */
    size_t count, capacity;
};

static enum err saved_open(struct saved *saved, size_t capacity)
{
    saved->capacity = capacity;
    saved->names = calloc(capacity, sizeof(*saved->names));
    saved->tensors = calloc(capacity, sizeof(*saved->tensors));
    saved->made = calloc(capacity, sizeof(*saved->made));
    if (saved->names == NULL || saved->tensors == NULL || saved->made == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a list of %zu tensors", capacity);
    }
    return ERR_OK;
}

static void saved_close(struct saved *saved)
{
    for (size_t i = 0; saved->made != NULL && i < saved->count; i++) {
        free(saved->made[i]);
    }
    free(saved->made);
    free(saved->tensors);
    free(saved->names);
}

/* The place of a tensor of the file, which several of ours may make up. */
static size_t place_of(struct saved *saved, const char *name)
{
    size_t i = 0;

    while (i < saved->count && strcmp(saved->names[i], name) != 0) {
        i++;
    }
    if (i == saved->count) {
        memcpy(saved->names[i], name, PARAM_NAME_BYTES);
        saved->tensors[i].name = saved->names[i];
        saved->count++;
    }
    return i;
}

static enum err put(struct saved *saved, const struct param *param, const struct model_alias *alias,
                    const float *values)
{
    const struct model_form form = alias->form;
    const int64_t rows = param->shape[0], columns = param->count / rows;
    const int64_t all = form.parts * rows;
    const size_t i = place_of(saved, alias->name);
    struct safetensors_tensor *tensor = &saved->tensors[i];

    tensor->dtype = SAFETENSORS_F32;
    tensor->rank = param->rank;
    tensor->byte_count = (size_t)(param->count * form.parts) * sizeof(float);
    memcpy(tensor->shape, param->shape, sizeof(param->shape));
    if (form.parts == 1 && !form.is_turned) {
        tensor->bytes = values;
        return ERR_OK;
    }
    tensor->shape[0] = form.is_turned ? columns : all;
    if (form.is_turned) {
        tensor->shape[1] = all;
    }
    if (saved->made[i] == NULL) {
        saved->made[i] = malloc(tensor->byte_count);
        tensor->bytes = saved->made[i];
    }
    if (saved->made[i] == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "tensor %s", alias->name);
    }
    for (int64_t e = 0; e < param->count; e++) {
        const int64_t row = form.part * rows + e / columns, column = e % columns;
        saved->made[i][form.is_turned ? column * all + row : row * columns + column] = values[e];
    }
    return ERR_OK;
}

static enum err put_all(struct saved *saved, const struct model *model, const float *values)
{
    const struct model_config *config = model_config_of(model);
    const struct param_list *list = model_params(model);
    struct model_alias alias;

    ERR_TRY(saved_open(saved, (size_t)list->count));
    for (int t = 0; t < MODEL_TENSOR_KINDS; t++) {
        const enum model_tensor kind = (enum model_tensor)t;
        const bool is_of_layers = kind >= MODEL_norm1_gain && kind <= MODEL_down_bias;
        const int64_t layers = is_of_layers ? config->num_hidden_layers : 1;
        for (int64_t layer = 0; model_has_tensor(config, kind) && layer < layers; layer++) {
            const struct param *param = &list->params[model_tensor_index(config, kind, layer)];
            model_alias_saved(config, kind, layer, param->name, &alias);
            ERR_TRY(put(saved, param, &alias, values + param->offset));
        }
    }
    return ERR_OK;
}

static enum err write_config(const struct model *model, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    ERR_TRY(file_path(path, folder, MODEL_CONFIG_FILE));
    ERR_TRY(model_files_config_text(model_config_of(model), &text));
    const enum err status = file_write_text(path, text);
    free(text);
    return status;
}

enum err model_files_save(struct model *model, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    struct saved saved = {.count = 0};
    struct device_view view;

    ERR_TRY(write_config(model, folder));
    ERR_TRY(file_path(path, folder, MODEL_WEIGHTS_FILE));
    ERR_TRY(device_view_open(model_ops(model)->device, model_block(model),
                             (size_t)model_params(model)->block_elems * sizeof(float), &view));
    enum err status = put_all(&saved, model, view.host);
    if (status == ERR_OK) {
        status = safetensors_write(path, saved.tensors, saved.count, "format", "pt");
    }
    saved_close(&saved);
    const enum err closed = device_view_close(&view, false);
    return status == ERR_OK ? closed : status;
}
