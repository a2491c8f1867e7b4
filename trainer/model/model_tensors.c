#include "trainer/model/model_tensors.h"

#include <assert.h>
#include <stdio.h>

enum part { EMBED, LAYER, HEAD };

enum { DECAY = 1, JOINED = 2 };

#define NORMAL PARAM_NORMAL
#define XAVIER PARAM_XAVIER
#define ZERO PARAM_ZERO
#define ONE PARAM_ONE

struct row {
    enum part part;
    const char *name;
    int rank;
    int64_t shape[PARAM_RANK_MAX];
    enum param_init init;
    int flags;
};

/* %d in a LAYER tensor's name becomes the layer's number; the table is the only source of formats. */
static void write_name(char name[PARAM_NAME_BYTES], const char *pattern, int64_t layer)
{
    int at = 0;

    for (const char *from = pattern; *from != '\0'; from++) {
        if (from[0] == '%' && from[1] == 'd') {
            at += snprintf(name + at, (size_t)(PARAM_NAME_BYTES - at), "%d", (int)layer);
            from++;
        } else {
            name[at++] = *from;
        }
        assert(at < PARAM_NAME_BYTES);
    }
    name[at] = '\0';
}

static enum err add(struct param_list *list, const struct row *row, int64_t layer, int part)
{
    struct param param = {
        .rank = row->rank,
        .part = part,
        .decays = (row->flags & DECAY) != 0,
        .joined = (row->flags & JOINED) != 0,
        .init = row->init,
    };

    write_name(param.name, row->name, layer);
    for (int d = 0; d < PARAM_RANK_MAX; d++) {
        param.shape[d] = row->shape[d];
    }
    return param_list_add(list, &param);
}

enum err model_layout_open(const struct model_config *config, struct param_list *list_out)
{
    const int64_t K = config->num_labels, D = config->hidden_size, F = config->intermediate_size;
    const int64_t T = model_config_tokens(config), C = config->num_channels, P = config->patch_size;
    const struct row rows[MODEL_TENSOR_KINDS] = {
#define TENSOR(part, name, hf_name, rank, d0, d1, d2, d3, init, flags)                             \
    {part, hf_name, rank, {d0, d1, d2, d3}, init, flags},
#include "trainer/model/model_tensors.def"
#undef TENSOR
    };
    struct param_list list = {0};
    enum err status = ERR_OK;
    int i = 0;

    for (; i < MODEL_TENSOR_KINDS && rows[i].part == EMBED && status == ERR_OK; i++) {
        status = add(&list, &rows[i], 0, 0);
    }
    const int first = i;
    for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
        for (i = first; rows[i].part == LAYER && status == ERR_OK; i++) {
            status = add(&list, &rows[i], layer, (int)layer + 1);
        }
    }
    for (; i < MODEL_TENSOR_KINDS && status == ERR_OK; i++) {
        assert(rows[i].part == HEAD);
        status = add(&list, &rows[i], 0, (int)config->num_hidden_layers + 1);
    }
    if (status != ERR_OK) {
        param_list_close(&list);
        return status;
    }
    *list_out = list;
    return ERR_OK;
}

int64_t model_tensor_index(const struct model_config *config, enum model_tensor tensor,
                           int64_t layer)
{
    enum { PER_LAYER = MODEL_final_gain - MODEL_norm1_gain };
    const int64_t layers = config->num_hidden_layers;

    if (tensor < MODEL_norm1_gain) {
        return tensor;
    }
    if (tensor < MODEL_final_gain) {
        assert(layer >= 0 && layer < layers);
        return tensor + layer * PER_LAYER;
    }
    return tensor + (layers - 1) * PER_LAYER;
}

int64_t model_part_count(const struct model_config *config)
{
    return config->num_hidden_layers + 2;
}
