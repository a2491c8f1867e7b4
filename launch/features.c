#include "launch/features.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/memory.h"
#include "data/data_pack.h"
#include "launch/progress.h"
#include "launch/sample_input.h"

/* One rank's pass over part of a set. */
struct pass {
    struct train_run *run;
    const struct features_source *source;
    struct model_work *work;
    int64_t samples_max, row_elems;
    int64_t R;                  /* rows of a sample */
    struct sample_input *input; /* samples_max samples, on the host */
    float *pooled;              /* [samples_max R, D] */
    float *logits;              /* [samples_max R, K] */
    struct model_stage *stage;  /* where the device has the samples, */
    float *device_rows;         /* and makes the rows of a batch; NULL on a CPU */
    float *rows;                /* [samples_max R, row_elems], on the host */
};

/* Which samples are this rank's, and where their features belong. */
struct order {
    uint32_t *samples; /* texts of like length together */
    uint32_t *row_of;  /* [samples of the set]: its first row of the cache, by R */
};

static void pass_close(struct pass *pass)
{
    struct device *device = pass->run->ops.device;

    model_work_close(pass->work);
    free(pass->rows);
    device_memory_close(device, pass->device_rows);
    model_stage_close(pass->stage);
    device_memory_close(device, pass->logits);
    device_memory_close(device, pass->pooled);
    sample_input_close(pass->input);
}

/* Samples begin .. end - 1 of the source are this rank's. */
static enum err order_open(const struct features_source *source, int64_t begin, int64_t end,
                           struct order *order)
{
    uint32_t *listed = calloc((size_t)(end - begin), sizeof(*listed));

    order->samples = calloc((size_t)(end - begin), sizeof(*order->samples));
    order->row_of = calloc((size_t)source->set->shape.count, sizeof(*order->row_of));
    if (listed == NULL || order->samples == NULL || order->row_of == NULL) {
        free(listed);
        return ERR_FAIL(ERR_NO_MEMORY, "the order of %" PRId64 " samples", end - begin);
    }
    for (int64_t i = begin; i < end; i++) {
        const uint32_t sample = source->samples == NULL ? (uint32_t)i : source->samples[i];
        listed[i - begin] = sample;
        order->row_of[sample] = (uint32_t)i;
    }
    data_pack_sort(source->set, listed, end - begin, order->samples);
    free(listed);
    return ERR_OK;
}

static void order_close(struct order *order)
{
    free(order->samples);
    free(order->row_of);
}

static enum err pass_open(struct train_run *run, const struct features_source *source,
                          int64_t row_elems, struct pass *pass)
{
    struct device *device = run->ops.device;
    const struct model_config *config = model_config_of(run->state.model);
    const int64_t n = run->options->run.per_device_eval_batch_size;

    const int64_t R = model_config_rows(config);

    *pass = (struct pass){
        .run = run, .source = source, .samples_max = n, .row_elems = row_elems, .R = R};
    pass->rows = malloc((size_t)(n * R * row_elems) * sizeof(*pass->rows));
    if (pass->rows == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the features of %" PRId64 " samples", n);
    }
    ERR_TRY(model_work_open(run->state.model, n, false, &pass->work));
    ERR_TRY(sample_input_open(run->ops.device, &run->data.normal, source->set, n, &pass->input));
    ERR_TRY(device_memory_open_f32(device, n * R * config->hidden_size, "pooled stream",
                                   &pass->pooled));
    ERR_TRY(device_memory_open_f32(device, n * R * config->num_labels, "logits", &pass->logits));
    ERR_TRY(model_stage_open(config, device, n, &pass->stage));
    if (device_kind(device) == DEVICE_CPU) {
        return ERR_OK;
    }
    return device_memory_open_f32(device, n * R * row_elems, "rows of the cache",
                                  &pass->device_rows);
}

/* The features of n samples of the set. */
static enum err run_batch(struct pass *pass, const uint32_t samples[], int64_t n)
{
    const struct kern_ops *ops = &pass->run->ops;
    const struct model_config *config = model_config_of(pass->run->state.model);
    const struct exits_net_config *exits =
        pass->run->state.net == NULL ? NULL : exits_net_config_of(pass->run->state.net);
    const int exit_count = exits == NULL ? 0 : exits->count;
    const int64_t D = config->hidden_size, row_elems = pass->row_elems, rows = n * pass->R;
    float *to = pass->device_rows == NULL ? pass->rows : pass->device_rows;
    const struct model_input input = sample_input_fill(pass->input, samples, n);
    struct model_input staged;
    int exit = 0;

    ERR_TRY(model_stage_put(pass->stage, &input, n, &staged));
    model_embed_forward(pass->work, &staged, n);
    for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
        model_block_forward(pass->work, layer);
        if (exit < exit_count && exits->layers[exit] == layer) {
            model_pool(pass->work, pass->pooled);
            ops->copy_rows(to + exit * D, row_elems, pass->pooled, D, rows, D);
            exit++;
        }
    }
    model_pool(pass->work, pass->pooled);
    model_head_forward(pass->work, pass->logits, pass->pooled);
    ops->copy_rows(to + exit_count * D, row_elems, pass->logits, config->num_labels, rows,
                   config->num_labels);
    return to == pass->rows ? ERR_OK
                            : device_read(ops->device, pass->rows, to,
                                          (size_t)(rows * row_elems) * sizeof(float),
                                          pass->run->options->run.serial_deadline_ms);
}

/* The features of n samples to where they belong. */
static enum err put_rows(const struct pass *pass, const struct order *order, int64_t first,
                         int64_t n, float *cache)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = order->row_of[order->samples[first + i]];
        const int64_t elems = pass->R * pass->row_elems;
        const float *row = pass->rows + i * elems;
        for (int64_t e = 0; e < elems; e++) {
            if (!isfinite(row[e])) {
                return ERR_FAIL(ERR_NOT_FINITE,
                                "the backbone's features of sample %" PRId64 " are not finite", at);
            }
        }
        memcpy(cache + at * elems, row, (size_t)elems * sizeof(*cache));
    }
    return ERR_OK;
}

/* Each rank fills an equal number of batches; the last block is padded with unused samples. */
static enum err fill(struct train_run *run, const struct features_source *source, float *cache,
                     int64_t block_samples, int64_t row_elems)
{
    struct pass pass = {0};
    struct order order = {0};
    const int64_t begin = comm_rank(run->world) * block_samples;
    const int64_t end =
        begin + block_samples < source->count ? begin + block_samples : source->count;

    if (begin >= end) {
        return ERR_OK;
    }
    enum err status = pass_open(run, source, row_elems, &pass);
    if (status == ERR_OK) {
        status = order_open(source, begin, end, &order);
    }
    for (int64_t at = 0; at < end - begin && status == ERR_OK; at += pass.samples_max) {
        const int64_t left = end - begin - at;
        const int64_t n = left < pass.samples_max ? left : pass.samples_max;
        status = run_batch(&pass, order.samples + at, n);
        if (status == ERR_OK) {
            status = put_rows(&pass, &order, at, n, cache);
        }
        progress_beat();
    }
    order_close(&order);
    pass_close(&pass);
    return status;
}

static enum err compute(struct train_run *run, const struct features_source *source,
                        const struct exits_cache_shape *shape, struct exits_cache **cache_out)
{
    struct exits_cache_shape padded = *shape;
    const int64_t batch = run->options->run.per_device_eval_batch_size;
    const int64_t ranks = comm_size(run->world);
    const int64_t batches = (source->count + batch - 1) / batch;
    const int64_t block_samples = (batches + ranks - 1) / ranks * batch;
    const int64_t block_rows = block_samples * model_config_rows(model_config_of(run->state.model));
    const int64_t row_elems = exits_cache_row_elems(shape);
    struct exits_cache *cache = NULL;

    padded.row_count = block_rows * ranks;
    ERR_TRY(exits_cache_open(&padded, &cache));
    float *rows = exits_cache_rows(cache);
    enum err status = fill(run, source, rows, block_samples, row_elems);
    if (status == ERR_OK) {
        const int64_t block_bytes = block_rows * row_elems * (int64_t)sizeof(float);
        progress_moves(block_bytes * ranks, 0);
        status = comm_allgather(run->world, rows, (size_t)block_bytes,
                                run->options->run.collective_deadline_ms);
    }
    if (status != ERR_OK) {
        exits_cache_close(cache);
        return status;
    }
    exits_cache_shrink(cache, shape->row_count);
    *cache_out = cache;
    return ERR_OK;
}

static enum err key_of(struct train_run *run, const struct features_source *source,
                       struct hash *key_out)
{
    const struct exits_net_config *exits = exits_net_config_of(run->state.net);
    const struct model_config *config = model_config_of(run->state.model);
    const int64_t shape[] = {config->patch_size, config->num_attention_heads,
                             (int64_t)config->hidden_act, (int64_t)config->pooling,
                             (int64_t)config->mask};
    struct hash_state *state = NULL;
    struct device_view view;

    ERR_TRY(hash_open(&state));
    enum err status = device_view_open(
        run->ops.device, model_block(run->state.model),
        (size_t)model_params(run->state.model)->block_elems * sizeof(float), &view);
    if (status == ERR_OK) {
        hash_add(state, view.host, view.bytes);
        status = device_view_close(&view, false);
    }
    hash_add(state, &source->set->hash, sizeof(source->set->hash));
    hash_add(state, source->samples == NULL ? NULL : source->samples,
             source->samples == NULL ? 0 : (size_t)source->count * sizeof(*source->samples));
    hash_add(state, &run->data.normal, sizeof(run->data.normal));
    hash_add(state, exits->layers, (size_t)exits->count * sizeof(exits->layers[0]));
    hash_add(state, shape, sizeof(shape)); /* what the same weights could also be run as */
    hash_add(state, &config->layer_norm_eps, sizeof(config->layer_norm_eps));
    hash_add(state, run->ops.isa, strlen(run->ops.isa));
    hash_add(state, run->ops.matmul, strlen(run->ops.matmul));
    *key_out = hash_close(state);
    return status;
}

/* Rank 0 writes the file if there is no good one; then all map it. */
static enum err open_file(struct train_run *run, const struct features_source *source,
                          const struct exits_cache_shape *shape, struct exits_cache **cache_out)
{
    const int64_t deadline_ms = run->options->run.collective_deadline_ms;
    char name[64];
    char path[FILE_PATH_BYTES_MAX];
    char text[HASH_TEXT_BYTES];
    struct hash key;
    struct exits_cache *computed = NULL;
    int64_t someone_lacks_it = 0;

    ERR_TRY(key_of(run, source, &key));
    hash_text(key, text);
    snprintf(name, sizeof(name), "features-%s.bin", text);
    ERR_TRY(file_path(path, run->options->run.output_dir, name));
    const enum err mapped = exits_cache_map(path, shape, key, cache_out);
    if (mapped != ERR_OK) {
        err_clear();
    }
    ERR_TRY(comm_agree_max(run->world, mapped != ERR_OK, deadline_ms, &someone_lacks_it));
    if (someone_lacks_it == 0) {
        return ERR_OK;
    }
    if (mapped == ERR_OK) {
        exits_cache_close(*cache_out);
        *cache_out = NULL;
    }
    ERR_TRY(compute(run, source, shape, &computed));
    enum err status = ERR_OK;
    if (comm_rank(run->world) == 0) {
        progress_moves(shape->row_count * exits_cache_row_elems(shape) * (int64_t)sizeof(float), 0);
        status = exits_cache_save(computed, key, path);
    }
    exits_cache_close(computed);
    ERR_TRY(status);
    ERR_TRY(comm_agree_max(run->world, 0, run->options->run.serial_deadline_ms, &someone_lacks_it));
    return exits_cache_map(path, shape, key, cache_out);
}

enum err features_open(struct train_run *run, const struct features_source *source, bool in_file,
                       struct exits_cache **cache_out)
{
    const struct model_config *config = model_config_of(run->state.model);
    const struct exits_cache_shape shape = {
        .row_count = source->count * model_config_rows(config),
        .exit_count = run->state.net == NULL ? 0 : exits_net_config_of(run->state.net)->count,
        .width = config->hidden_size,
        .classes = config->num_labels,
    };

    return in_file ? open_file(run, source, &shape, cache_out)
                   : compute(run, source, &shape, cache_out);
}
