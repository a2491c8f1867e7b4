#include <assert.h>
#include <stdlib.h>

#include "trainer/model/model_priv.h"

enum { CACHE_LINE_FLOATS = 16 };

/* Hands out the pieces of one allocation; with no block yet, only counts. */
struct carver {
    float *block;
    int64_t used;
};

static float *carve(struct carver *carver, int64_t elems)
{
    float *piece = carver->block == NULL ? NULL : carver->block + carver->used;

    carver->used += (elems + CACHE_LINE_FLOATS - 1) / CACHE_LINE_FLOATS * CACHE_LINE_FLOATS;
    return piece;
}

/* The most that attention saves at any width. */
static int64_t attention_elems(const struct model_work *work)
{
    const struct model_config *config = &work->model->config;
    const int64_t H = config->num_attention_heads, D = config->hidden_size / H;
    const int64_t widest = model_config_tokens(config);
    struct kern_attention_shape shape = {work->samples_max, widest, H, D};
    int64_t most = work->model->ops.attention_saved_elems(&shape);

    for (shape.T = MODEL_TOKENS_STEP;
         config->embedding == MODEL_EMBEDDING_TOKENS && shape.T < widest;
         shape.T += MODEL_TOKENS_STEP) {
        const int64_t elems = work->model->ops.attention_saved_elems(&shape);
        most = elems > most ? elems : most;
    }
    return most;
}

/* What the embedding keeps. */
static void carve_embedding(struct model_work *work, struct carver *carver)
{
    const struct model_config *config = &work->model->config;
    const int64_t n = work->samples_max, T = model_config_tokens(config);

    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        work->patches =
            carve(carver, n * model_config_patches(config) * model_config_patch_inputs(config));
        return;
    }
    work->lengths = (int32_t *)(void *)carve(carver, n);
    if (config->norm == MODEL_NORM_POST) {
        work->embedded = carve(carver, n * T * config->hidden_size);
    }
    if (config->norm == MODEL_NORM_POST && work->keeps) {
        work->embed_mean = carve(carver, n * T);
        work->embed_rstd = carve(carver, n * T);
    }
}

static void carve_layer(const struct model_work *work, struct carver *carver,
                        struct model_kept *kept)
{
    const struct model_config *config = &work->model->config;
    const int64_t n = work->samples_max, T = model_config_tokens(config);
    const int64_t D = config->hidden_size, F = config->intermediate_size;

    kept->x = carve(carver, n * T * D);
    kept->normed1 = carve(carver, n * T * D);
    kept->qkv = carve(carver, n * T * 3 * D);
    kept->heads = carve(carver, n * T * D);
    kept->middle = carve(carver, n * T * D);
    kept->wide = carve(carver, n * T * F);
    if (!work->keeps) { /* each value is read once, before the next is written */
        kept->normed2 = kept->normed1;
        return;
    }
    kept->normed2 = carve(carver, n * T * D);
    kept->slope = carve(carver, n * T * F);
    kept->mean1 = carve(carver, n * T);
    kept->rstd1 = carve(carver, n * T);
    kept->mean2 = carve(carver, n * T);
    kept->rstd2 = carve(carver, n * T);
    kept->attention = carve(carver, attention_elems(work));
}

static void carve_all(struct model_work *work, struct carver *carver)
{
    const struct model_config *config = &work->model->config;
    const int64_t n = work->samples_max, T = model_config_tokens(config);
    const int64_t D = config->hidden_size, F = config->intermediate_size;
    const int64_t rows = n * model_config_rows(config);

    for (int64_t l = 0; l < config->num_hidden_layers; l++) {
        if (work->keeps || l == 0) {
            carve_layer(work, carver, &work->layers[l]);
        } else {
            work->layers[l] = work->layers[0];
        }
    }
    carve_embedding(work, carver);
    work->head_normed = carve(carver, rows * D);
    work->head_pooled = carve(carver, rows * D);
    work->head_mean = carve(carver, rows);
    work->head_rstd = carve(carver, rows);
    work->last = work->layers[0].x;
    if (work->keeps) {
        work->last = carve(carver, n * T * D);
        work->dx = carve(carver, n * T * D);
        work->dmiddle = carve(carver, n * T * D);
        work->dnormed = carve(carver, n * T * D);
        work->dwide = carve(carver, n * T * (F > 3 * D ? F : 3 * D));
        work->dquery = carve(carver, rows * D);
    }
}

enum err model_work_open(const struct model *model, int64_t samples_max, bool keeps,
                         struct model_work **work_out)
{
    assert(samples_max >= 1);
    struct carver carver = {0};
    struct model_work *work = calloc(1, sizeof(*work));
    enum err status = ERR_OK;

    if (work == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a pass");
    }
    work->model = model;
    work->samples_max = samples_max;
    work->keeps = keeps;
    work->layers = calloc((size_t)model->config.num_hidden_layers, sizeof(*work->layers));
    if (work->layers == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "a pass");
        goto err_close;
    }
    carve_all(work, &carver);
    ERR_GOTO(err_close, status,
             device_memory_open_f32(model->ops.device, carver.used, "activations", &work->block));
    if (!keeps && device_kind(model->ops.device) != DEVICE_CPU) {
        ERR_GOTO(err_close, status,
                 device_memory_open(model->ops.device, (size_t)samples_max * sizeof(uint32_t),
                                    "samples that are kept", &work->kept));
    }
    work->bytes = carver.used * (int64_t)sizeof(float);
    carver = (struct carver){.block = work->block};
    carve_all(work, &carver);
    *work_out = work;
    return ERR_OK;

err_close:
    model_work_close(work);
    return status;
}

void model_work_close(struct model_work *work)
{
    if (work == NULL) {
        return;
    }
    device_memory_close(work->model->ops.device, work->kept);
    device_memory_close(work->model->ops.device, work->block);
    free(work->layers);
    free(work);
}

int64_t model_work_bytes(const struct model_work *work)
{
    return work->bytes;
}

int64_t model_sample_count(const struct model_work *work)
{
    return work->n;
}

int64_t model_token_count(const struct model_work *work)
{
    return work->T;
}

const float *model_stream(const struct model_work *work)
{
    return work->stream;
}

const struct kern_attention_mask *model_mask_of(const struct model_work *work,
                                                struct kern_attention_mask *mask)
{
    const enum model_mask kind = work->model->config.mask;

    *mask = (struct kern_attention_mask){work->lengths, kind == MODEL_MASK_CAUSAL};
    return kind == MODEL_MASK_NONE ? NULL : mask;
}

struct model_rows model_rows_of(const struct model_work *work, int64_t layer)
{
    const int64_t T = work->T, D = work->model->config.hidden_size;

    if (model_is_cls_only(work->model, layer)) {
        return (struct model_rows){work->n, T * D};
    }
    return (struct model_rows){work->n * T, D};
}

struct kern_embed_shape model_embed_shape(const struct model_work *work, int64_t n)
{
    const struct model_config *config = &work->model->config;

    return (struct kern_embed_shape){.B = n,
                                     .C = config->num_channels,
                                     .S = config->image_size,
                                     .P = config->patch_size,
                                     .D = config->hidden_size};
}

float *model_output_of(const struct model_work *work, int64_t layer)
{
    if (layer + 1 < work->model->config.num_hidden_layers) {
        return work->layers[layer + 1].x;
    }
    return work->last;
}

enum err model_keep_samples(struct model_work *work, const uint32_t kept[], int64_t kept_count)
{
    const struct kern_ops *ops = &work->model->ops;
    const int64_t elems = work->T * work->model->config.hidden_size;
    const void *staged = NULL;

    assert(!work->keeps && kept_count <= work->n);
    ERR_TRY(
        device_stage(ops->device, work->kept, kept, (size_t)kept_count * sizeof(*kept), &staged));
    ops->keep_rows(work->stream, work->layers[0].normed1, staged, kept_count, elems);
    if (work->lengths != NULL) { /* as floats, of which only the bytes are moved */
        ops->keep_rows((float *)(void *)work->lengths, work->layers[0].normed1, staged, kept_count,
                       1);
    }
    work->n = kept_count;
    return ERR_OK;
}
