#include "trainer/model/model_tensors.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum part { EMBED, LAYER, HEAD };

enum { DECAY = 1, JOINED = 2, CLASSES = 4, DISTILLED = 8 };

#define NORMAL PARAM_NORMAL
#define XAVIER PARAM_XAVIER
#define ZERO PARAM_ZERO
#define ONE PARAM_ONE
#define NONE NULL

/* What of a tensor does not depend on sizes. */
struct kind {
    enum part part;
    int flags;
    const char *names[MODEL_FAMILIES];
};

static const struct kind kinds[MODEL_TENSOR_KINDS] = {
#define TENSOR(part, name, rank, d0, d1, d2, d3, init, flags, ...) {part, flags, {__VA_ARGS__}},
#include "trainer/model/model_tensors.def"
#undef TENSOR
};

bool model_has_tensor(const struct model_config *config, enum model_tensor tensor)
{
    const struct kind *kind = &kinds[tensor];

    return kind->names[model_config_family(config)] != NULL &&
           ((kind->flags & CLASSES) == 0 || !config->ties_classifier) &&
           ((kind->flags & DISTILLED) == 0 || config->has_distillation_token);
}

void model_tensor_name(char *name, const char *pattern, int64_t layer)
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

/* The shapes of all tensors, those included that the backbone has not. */
struct shapes {
    int rank[MODEL_TENSOR_KINDS];
    int64_t shape[MODEL_TENSOR_KINDS][PARAM_RANK_MAX];
    enum param_init init[MODEL_TENSOR_KINDS];
};

static void fill_shapes(const struct model_config *config, struct shapes *shapes)
{
    const bool is_of_images = config->embedding == MODEL_EMBEDDING_PATCHES;
    const int64_t K = config->num_labels, D = config->hidden_size, F = config->intermediate_size;
    const int64_t C = config->num_channels, P = config->patch_size;
    const int64_t T = is_of_images ? model_config_tokens(config) : 0;
    const int64_t V = config->vocab_size, S = config->max_position_embeddings;
    const int64_t Y = config->type_vocab_size;

    *shapes = (struct shapes){
        .rank =
            {
#define TENSOR(part, name, rank, ...) rank,
#include "trainer/model/model_tensors.def"
#undef TENSOR
            },
        .shape =
            {
#define TENSOR(part, name, rank, d0, d1, d2, d3, ...) {d0, d1, d2, d3},
#include "trainer/model/model_tensors.def"
#undef TENSOR
            },
        .init =
            {
#define TENSOR(part, name, rank, d0, d1, d2, d3, init, ...) init,
#include "trainer/model/model_tensors.def"
#undef TENSOR
            },
    };
}

/* Adds all tensors of a part that the backbone has. */
static enum err add_part(struct param_list *list, const struct model_config *config,
                         const struct shapes *shapes, enum part part, int64_t layer, int bucket)
{
    static const char vit[] = "vit.";

    for (int t = 0; t < MODEL_TENSOR_KINDS; t++) {
        if (kinds[t].part != part || !model_has_tensor(config, (enum model_tensor)t)) {
            continue;
        }
        struct param param = {
            .rank = shapes->rank[t],
            .part = bucket,
            .decays = (kinds[t].flags & DECAY) != 0,
            .joined = (kinds[t].flags & JOINED) != 0,
            .init = shapes->init[t],
        };
        const char *name = kinds[t].names[model_config_family(config)];
        if (config->has_distillation_token && strncmp(name, vit, strlen(vit)) == 0) {
            char deit[PARAM_NAME_BYTES];
            snprintf(deit, sizeof(deit), "deit.%s", name + strlen(vit));
            model_tensor_name(param.name, deit, layer);
        } else {
            model_tensor_name(param.name, name, layer);
        }
        memcpy(param.shape, shapes->shape[t], sizeof(param.shape));
        ERR_TRY(param_list_add(list, &param));
    }
    return ERR_OK;
}

enum err model_layout_open(const struct model_config *config, struct param_list *list_out)
{
    const int64_t layers = config->num_hidden_layers;
    struct shapes shapes;
    struct param_list list = {0};

    fill_shapes(config, &shapes);
    enum err status = add_part(&list, config, &shapes, EMBED, 0, 0);
    for (int64_t layer = 0; layer < layers && status == ERR_OK; layer++) {
        status = add_part(&list, config, &shapes, LAYER, layer, (int)layer + 1);
    }
    if (status == ERR_OK) {
        status = add_part(&list, config, &shapes, HEAD, 0, (int)layers + 1);
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
    int64_t before[] = {[EMBED] = 0, [LAYER] = 0, [HEAD] = 0};
    int64_t per_layer = 0;

    assert(model_has_tensor(config, tensor));
    for (int t = 0; t < MODEL_TENSOR_KINDS; t++) {
        const bool is_there = model_has_tensor(config, (enum model_tensor)t);
        before[kinds[t].part] += is_there && t < (int)tensor ? 1 : 0;
        per_layer += is_there && kinds[t].part == LAYER ? 1 : 0;
    }
    switch (kinds[tensor].part) {
    case EMBED: return before[EMBED];
    case LAYER:
        assert(layer >= 0 && layer < config->num_hidden_layers);
        return before[EMBED] + layer * per_layer + before[LAYER];
    case HEAD: break;
    }
    return before[EMBED] + config->num_hidden_layers * per_layer + before[HEAD];
}

int64_t model_part_count(const struct model_config *config)
{
    return config->num_hidden_layers + 2;
}
