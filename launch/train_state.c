#include "launch/train_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "comm/base/safetensors.h"
#include "trainer/model/model_files.h"

enum { FORMAT_VERSION = 1, RANGES_MAX = 4 };

/* One moment of one optimizer, as a range of floats with a name. */
struct range {
    const char *name;
    float *values;
    int64_t elems;
};

static int list_moments(const struct train_state *state, struct range ranges[RANGES_MAX])
{
    const struct {
        struct optim *optim;
        int64_t elems;
        const char *names[2];
    } owners[] = {
        {state->backbone_optim,
         model_params(state->model)->block_elems,
         {"backbone.exp_avg", "backbone.exp_avg_sq"}},
        {state->exits_optim,
         state->net == NULL ? 0 : exits_net_params(state->net)->block_elems,
         {"exits.exp_avg", "exits.exp_avg_sq"}},
    };
    int count = 0;

    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        if (owners[i].optim == NULL) {
            continue;
        }
        float *const moments[2] = {optim_moment1(owners[i].optim), optim_moment2(owners[i].optim)};
        for (int m = 0; m < 2; m++) {
            if (moments[m] != NULL) {
                ranges[count++] = (struct range){owners[i].names[m], moments[m], owners[i].elems};
            }
        }
    }
    return count;
}

static void hash_i64(struct hash_state *hash, int64_t value)
{
    uint8_t bytes[8];

    bytes_put_u64(bytes, (uint64_t)value);
    hash_add(hash, bytes, sizeof(bytes));
}

static void hash_floats(struct hash_state *hash, const float *values, int64_t count)
{
    hash_add(hash, values, (size_t)count * sizeof(float));
}

static void hash_blob(struct hash_state *hash, const struct train_state *state)
{
    struct optim *const optims[] = {state->backbone_optim, state->exits_optim};

    hash_i64(hash, state->step);
    hash_i64(hash, state->stage);
    hash_i64(hash, state->stage_step);
    for (size_t i = 0; i < sizeof(optims) / sizeof(optims[0]); i++) {
        for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
            hash_i64(hash, optims[i] == NULL ? 0 : optim_counts(optims[i])[group]);
        }
    }
    hash_add(hash, &state->balance, sizeof(state->balance));
}

enum err train_state_hash(const struct train_state *state, struct hash *hash_out)
{
    struct hash_state *hash = NULL;
    struct range ranges[RANGES_MAX];

    ERR_TRY(hash_open(&hash));
    hash_floats(hash, model_block(state->model), model_params(state->model)->block_elems);
    if (state->net != NULL) {
        hash_floats(hash, exits_net_block(state->net), exits_net_params(state->net)->block_elems);
    }
    const int count = list_moments(state, ranges);
    for (int i = 0; i < count; i++) {
        hash_floats(hash, ranges[i].values, ranges[i].elems);
    }
    hash_blob(hash, state);
    *hash_out = hash_close(hash);
    return ERR_OK;
}

static enum err save_moments(const struct train_state *state, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    struct range ranges[RANGES_MAX];
    struct safetensors_tensor tensors[RANGES_MAX];
    const int count = list_moments(state, ranges);

    for (int i = 0; i < count; i++) {
        tensors[i] = (struct safetensors_tensor){
            .name = ranges[i].name,
            .dtype = SAFETENSORS_F32,
            .rank = 1,
            .shape = {ranges[i].elems},
            .bytes = ranges[i].values,
            .byte_count = (size_t)ranges[i].elems * sizeof(float),
        };
    }
    ERR_TRY(file_path(path, folder, TRAIN_STATE_MOMENTS_FILE));
    return safetensors_write(path, tensors, (size_t)count, NULL, NULL);
}

static struct jdoc *counts_of(struct optim *optim)
{
    struct jdoc *counts = jdoc_array();

    for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
        jdoc_append(counts, jdoc_int(optim == NULL ? 0 : optim_counts(optim)[group]));
    }
    return counts;
}

static int balance_count(const struct train_state *state)
{
    const struct exits_net_config *config =
        state->net == NULL ? NULL : exits_net_config_of(state->net);

    return config == NULL ? 0 : config->set_count * config->count;
}

static enum err save_blob(const struct train_state *state, const char *folder, const char *settings)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;
    struct jdoc *doc = jdoc_object();
    struct jdoc *open = jdoc_array();

    jdoc_set_int(doc, "format_version", FORMAT_VERSION);
    jdoc_set_int(doc, "global_step", state->step);
    jdoc_set_int(doc, "stage", state->stage);
    jdoc_set_int(doc, "stage_step", state->stage_step);
    jdoc_set(doc, "backbone_updates", counts_of(state->backbone_optim));
    jdoc_set(doc, "exits_updates", counts_of(state->exits_optim));
    for (int i = 0; i < balance_count(state); i++) {
        jdoc_append(open, jdoc_int((int64_t)state->balance.open[i]));
    }
    jdoc_set(doc, "open_targets", open);
    jdoc_set_int(doc, "open_targets_of", (int64_t)state->balance.sample_count);
    jdoc_set_text(doc, "settings", settings);
    enum err status = jdoc_text(doc, 2, &text);
    jdoc_close(doc);
    ERR_TRY(status);
    status = file_path(path, folder, TRAIN_STATE_FILE);
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

/* What a later run could not load is not saved. */
static enum err check_finite(const struct train_state *state)
{
    const struct kern_ops *ops = model_ops(state->model);
    double squares =
        ops->sum_squares(model_block(state->model), model_params(state->model)->block_elems);

    if (state->net != NULL) {
        squares += ops->sum_squares(exits_net_block(state->net),
                                    exits_net_params(state->net)->block_elems);
    }
    if (!isfinite(squares)) {
        return ERR_FAIL(ERR_NOT_FINITE,
                        "a parameter is NaN or infinite after step %" PRId64
                        ": a lower learning_rate may help",
                        state->step);
    }
    return ERR_OK;
}

enum err train_state_save(const struct train_state *state, const char *folder, const char *settings)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(check_finite(state));
    ERR_TRY(model_files_save(state->model, folder));
    if (state->net != NULL) {
        ERR_TRY(file_path(path, folder, TRAIN_STATE_EXITS_FILE));
        ERR_TRY(param_list_save(exits_net_params(state->net), exits_net_block(state->net), path));
    }
    ERR_TRY(save_moments(state, folder));
    return save_blob(state, folder, settings);
}

/* Both are lines "name: value"; tells the first line that is not the same. */
static enum err compare_settings(const char *saved, const char *now, const char *path)
{
    while (*saved != '\0' || *now != '\0') {
        const size_t saved_length = strcspn(saved, "\n"), now_length = strcspn(now, "\n");
        if (saved_length != now_length || memcmp(saved, now, now_length) != 0) {
            return ERR_FAIL(ERR_CONFIG,
                            "%s: written with \"%.*s\", the run has \"%.*s\": resume with the same "
                            "settings, or start anew in another output_dir",
                            path, (int)saved_length, saved, (int)now_length, now);
        }
        saved += saved_length + (saved[saved_length] != '\0');
        now += now_length + (now[now_length] != '\0');
    }
    return ERR_OK;
}

static enum err read_state_file(const char *folder, char path[FILE_PATH_BYTES_MAX],
                                struct jdoc **doc_out)
{
    struct file_map map;
    int64_t version = 0;

    ERR_TRY(file_path(path, folder, TRAIN_STATE_FILE));
    ERR_TRY(file_map(path, &map));
    const enum err parsed = jdoc_parse((const char *)map.bytes, map.count, path, doc_out);
    file_unmap(&map);
    ERR_TRY(parsed);
    const enum err status = jdoc_need_int(*doc_out, "format_version", path, &version);
    if (status == ERR_OK && version == FORMAT_VERSION) {
        return ERR_OK;
    }
    jdoc_close(*doc_out);
    return status != ERR_OK ? status
                            : ERR_FAIL(ERR_CORRUPT, "%s: format_version %" PRId64 ", expected %d",
                                       path, version, FORMAT_VERSION);
}

static enum err read_position(const struct jdoc *doc, const char *path, const char *settings,
                              struct train_state *state)
{
    const char *saved = NULL;

    ERR_TRY(jdoc_need_text(doc, "settings", path, &saved));
    ERR_TRY(compare_settings(saved, settings, path));
    ERR_TRY(jdoc_need_int(doc, "global_step", path, &state->step));
    ERR_TRY(jdoc_need_int(doc, "stage", path, &state->stage));
    ERR_TRY(jdoc_need_int(doc, "stage_step", path, &state->stage_step));
    if (state->step < 0 || state->stage < 0 || state->stage_step < 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: a step below 0", path);
    }
    return ERR_OK;
}

enum err train_state_load(struct train_state *state, const char *folder, const char *settings)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    ERR_TRY(read_state_file(folder, path, &doc));
    const enum err status = read_position(doc, path, settings, state);
    jdoc_close(doc);
    ERR_TRY(status);
    ERR_TRY(model_files_load_weights(state->model, folder));
    if (state->net == NULL) {
        return ERR_OK;
    }
    ERR_TRY(file_path(path, folder, TRAIN_STATE_EXITS_FILE));
    return param_list_load(exits_net_params(state->net), exits_net_block(state->net), path);
}

static enum err load_moments(const struct train_state *state, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    struct range ranges[RANGES_MAX];
    struct safetensors *file = NULL;
    enum err status = ERR_OK;
    const int count = list_moments(state, ranges);

    ERR_TRY(file_path(path, folder, TRAIN_STATE_MOMENTS_FILE));
    ERR_TRY(safetensors_open(path, &file));
    if ((int)safetensors_count(file) != count) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: %zu moments, expected %d", path,
                          safetensors_count(file), count);
    }
    for (int i = 0; i < count && status == ERR_OK; i++) {
        const struct safetensors_tensor *tensor = safetensors_find(file, ranges[i].name);
        if (tensor == NULL || tensor->dtype != SAFETENSORS_F32 ||
            tensor->byte_count != (size_t)ranges[i].elems * sizeof(float)) {
            status = ERR_FAIL(ERR_CORRUPT, "%s: %s is missing or not F32 of %" PRId64 " elements",
                              path, ranges[i].name, ranges[i].elems);
        } else {
            memcpy(ranges[i].values, tensor->bytes, tensor->byte_count);
        }
    }
    safetensors_close(file);
    return status;
}

static enum err read_counts(const struct jdoc *doc, const char *key, const char *path,
                            struct optim *optim)
{
    const struct jdoc *counts = jdoc_get(doc, key);

    if (jdoc_count(counts) != OPTIM_GROUPS_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %s is no list of %d", path, key, OPTIM_GROUPS_MAX);
    }
    for (int group = 0; group < OPTIM_GROUPS_MAX && optim != NULL; group++) {
        optim_counts(optim)[group] = jdoc_as_int(jdoc_at(counts, (size_t)group));
    }
    return ERR_OK;
}

static enum err read_values(const struct jdoc *doc, const char *path, struct train_state *state)
{
    const struct jdoc *open = jdoc_get(doc, "open_targets");
    int64_t sample_count = 0;

    ERR_TRY(read_counts(doc, "backbone_updates", path, state->backbone_optim));
    ERR_TRY(read_counts(doc, "exits_updates", path, state->exits_optim));
    ERR_TRY(jdoc_need_int(doc, "open_targets_of", path, &sample_count));
    if ((int)jdoc_count(open) != balance_count(state)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: open_targets is no list of %d", path,
                        balance_count(state));
    }
    for (int i = 0; i < balance_count(state); i++) {
        state->balance.open[i] = (double)jdoc_as_int(jdoc_at(open, (size_t)i));
    }
    state->balance.sample_count = (double)sample_count;
    return ERR_OK;
}

enum err train_state_load_optimizers(struct train_state *state, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    ERR_TRY(load_moments(state, folder));
    ERR_TRY(read_state_file(folder, path, &doc));
    const enum err status = read_values(doc, path, state);
    jdoc_close(doc);
    return status;
}
