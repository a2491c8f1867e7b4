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
#include "snapshot/snap_packs.h"
#include "trainer/model/model_files.h"

enum { CHECK_MS = 60000 }; /* for what is on the device's stream before it */

static struct optim *optim_of(const struct train_state *state, int part)
{
    return part == TRAIN_BACKBONE ? state->backbone_optim : state->exits_optim;
}

struct train_moments train_state_moments(const struct train_state *state)
{
    struct train_moments moments = {0};

    for (int part = 0; part < TRAIN_PARTS; part++) {
        if (optim_of(state, part) != NULL) {
            moments.values[part][0] = optim_moment1(optim_of(state, part));
            moments.values[part][1] = optim_moment2(optim_of(state, part));
        }
    }
    return moments;
}

const char *train_moment_name(enum train_part part, int which)
{
    static const char *const names[TRAIN_PARTS][2] = {{"backbone.exp_avg", "backbone.exp_avg_sq"},
                                                      {"exits.exp_avg", "exits.exp_avg_sq"}};

    return names[part][which];
}

int64_t train_state_elems(const struct train_state *state, enum train_part part)
{
    if (part == TRAIN_BACKBONE) {
        return model_params(state->model)->block_elems;
    }
    return state->net == NULL ? 0 : exits_net_params(state->net)->block_elems;
}

float *train_state_block(const struct train_state *state, enum train_part part)
{
    if (part == TRAIN_BACKBONE) {
        return model_block(state->model);
    }
    return state->net == NULL ? NULL : exits_net_block(state->net);
}

int train_state_open_count(const struct train_state *state)
{
    const struct exits_net_config *config =
        state->net == NULL ? NULL : exits_net_config_of(state->net);

    return config == NULL ? 0 : config->set_count * config->count;
}

static void hash_i64(struct hash_state *hash, int64_t value)
{
    uint8_t bytes[8];

    bytes_put_u64(bytes, (uint64_t)value);
    hash_add(hash, bytes, sizeof(bytes));
}

static enum err hash_floats(struct hash_state *hash, const struct train_state *state, float *values,
                            enum train_part part)
{
    struct device_view view;

    if (values == NULL) {
        return ERR_OK;
    }
    ERR_TRY(device_view_open(model_ops(state->model)->device, values,
                             (size_t)train_state_elems(state, part) * sizeof(float), &view));
    hash_add(hash, view.host, view.bytes);
    return device_view_close(&view, false);
}

static void hash_blob(struct hash_state *hash, const struct train_state *state)
{
    hash_i64(hash, state->step);
    hash_i64(hash, state->stage);
    hash_i64(hash, state->stage_step);
    for (int part = 0; part < TRAIN_PARTS; part++) {
        struct optim *optim = optim_of(state, part);
        for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
            hash_i64(hash, optim == NULL ? 0 : optim_counts(optim)[group]);
        }
    }
    hash_add(hash, &state->balance, sizeof(state->balance));
}

enum err train_state_hash(const struct train_state *state, struct hash *hash_out)
{
    const struct train_moments moments = train_state_moments(state);
    struct hash_state *hash = NULL;

    ERR_TRY(hash_open(&hash));
    enum err status = ERR_OK;
    for (int part = 0; part < TRAIN_PARTS && status == ERR_OK; part++) {
        status = hash_floats(hash, state, train_state_block(state, (enum train_part)part),
                             (enum train_part)part);
    }
    for (int i = 0; i < 2 * TRAIN_PARTS && status == ERR_OK; i++) {
        status = hash_floats(hash, state, moments.values[i / 2][i % 2], (enum train_part)(i / 2));
    }
    hash_blob(hash, state);
    *hash_out = hash_close(hash);
    return status;
}

enum err train_state_check(const struct train_state *state)
{
    const struct kern_ops *ops = model_ops(state->model);
    void *sum = NULL;
    double squares = 0;

    ERR_TRY(device_memory_open(ops->device, sizeof(squares), "a sum of squares", &sum));
    for (int part = 0; part < TRAIN_PARTS; part++) {
        ops->sum_squares(sum, train_state_block(state, (enum train_part)part),
                         train_state_elems(state, (enum train_part)part));
    }
    const enum err status = device_read(ops->device, &squares, sum, sizeof(squares), CHECK_MS);
    device_memory_close(ops->device, sum);
    ERR_TRY(status);
    if (!isfinite(squares)) {
        return ERR_FAIL(ERR_NOT_FINITE,
                        "a parameter is NaN or infinite after step %" PRId64
                        ": a lower learning_rate may help",
                        state->step);
    }
    return ERR_OK;
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

static enum err check_version(const struct jdoc *doc, const char *what)
{
    int64_t version = 0;

    ERR_TRY(jdoc_need_int(doc, "format_version", what, &version));
    if (version != TRAIN_STATE_FORMAT_VERSION) {
        return ERR_FAIL(ERR_CORRUPT, "%s: format_version %" PRId64 ", expected %d", what, version,
                        TRAIN_STATE_FORMAT_VERSION);
    }
    return ERR_OK;
}

static enum err read_position(const struct jdoc *doc, const char *what, const char *settings,
                              struct train_state *state)
{
    const char *saved = NULL;

    ERR_TRY(jdoc_need_text(doc, "settings", what, &saved));
    ERR_TRY(compare_settings(saved, settings, what));
    ERR_TRY(jdoc_need_int(doc, "global_step", what, &state->step));
    ERR_TRY(jdoc_need_int(doc, "stage", what, &state->stage));
    ERR_TRY(jdoc_need_int(doc, "stage_step", what, &state->stage_step));
    if (state->step < 0 || state->stage < 0 || state->stage_step < 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: a step below 0", what);
    }
    return ERR_OK;
}

static enum err read_balance(const struct jdoc *doc, const char *what, struct train_state *state)
{
    const struct jdoc *open = jdoc_get(doc, "open_targets");
    const int count = train_state_open_count(state);
    int64_t sample_count = 0;

    ERR_TRY(jdoc_need_int(doc, "open_targets_of", what, &sample_count));
    if ((int)jdoc_count(open) != count) {
        return ERR_FAIL(ERR_CORRUPT, "%s: open_targets is no list of %d", what, count);
    }
    for (int i = 0; i < count; i++) {
        state->balance.open[i] = (double)jdoc_as_int(jdoc_at(open, (size_t)i));
    }
    state->balance.sample_count = (double)sample_count;
    return ERR_OK;
}

static enum err read_counts(const struct jdoc *doc, const char *what,
                            int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX])
{
    static const char *const keys[TRAIN_PARTS] = {"backbone_updates", "exits_updates"};

    for (int part = 0; part < TRAIN_PARTS; part++) {
        const struct jdoc *list = jdoc_get(doc, keys[part]);
        if (jdoc_count(list) != OPTIM_GROUPS_MAX) {
            return ERR_FAIL(ERR_CORRUPT, "%s: %s is no list of %d", what, keys[part],
                            OPTIM_GROUPS_MAX);
        }
        for (int group = 0; group < OPTIM_GROUPS_MAX && counts != NULL; group++) {
            counts[part][group] = jdoc_as_int(jdoc_at(list, (size_t)group));
        }
    }
    return ERR_OK;
}

enum err train_state_read(struct train_state *state, const char *text, size_t text_bytes,
                          const char *what, const char *settings,
                          int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX])
{
    struct jdoc *doc = NULL;

    ERR_TRY(jdoc_parse(text, text_bytes, what, &doc));
    enum err status = check_version(doc, what);
    if (status == ERR_OK) {
        status = read_position(doc, what, settings, state);
    }
    if (status == ERR_OK) {
        status = read_balance(doc, what, state);
    }
    if (status == ERR_OK) {
        status = read_counts(doc, what, counts);
    }
    jdoc_close(doc);
    return status;
}

enum err train_state_load(struct train_state *state, const char *folder, const char *settings)
{
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    ERR_TRY(file_path(path, folder, TRAIN_STATE_FILE));
    ERR_TRY(file_map(path, &map));
    const enum err status =
        train_state_read(state, (const char *)map.bytes, map.count, path, settings, NULL);
    file_unmap(&map);
    ERR_TRY(status);
    ERR_TRY(model_files_load_weights(state->model, folder));
    if (state->net == NULL) {
        return ERR_OK;
    }
    ERR_TRY(file_path(path, folder, TRAIN_STATE_EXITS_FILE));
    return param_list_load(exits_net_params(state->net), model_ops(state->model)->device,
                           exits_net_block(state->net), path);
}

/* The file of moments, or what its packs make; *bytes_out, if any, outlives it. */
static enum err open_moments(const char *folder, char path[FILE_PATH_BYTES_MAX],
                             uint8_t **bytes_out, struct safetensors **file_out)
{
    size_t count = 0;

    ERR_TRY(file_path(path, folder, TRAIN_STATE_MOMENTS_FILE));
    if (file_exists(path)) {
        return safetensors_open(path, file_out);
    }
    ERR_TRY(snap_packs_read(folder, TRAIN_STATE_MOMENTS_FILE, bytes_out, &count));
    return safetensors_parse(*bytes_out, count, path, file_out);
}

/* Those of the stage's optimizers; what else the file may hold is of other stages. */
static enum err load_moments(const struct train_state *state, const char *folder)
{
    const struct train_moments moments = train_state_moments(state);
    char path[FILE_PATH_BYTES_MAX];
    struct safetensors *file = NULL;
    uint8_t *bytes = NULL;

    enum err status = open_moments(folder, path, &bytes, &file);
    for (int i = 0; i < 2 * TRAIN_PARTS && status == ERR_OK; i++) {
        const enum train_part part = (enum train_part)(i / 2);
        float *values = moments.values[part][i % 2];
        const int64_t elems = train_state_elems(state, part);
        const char *name = train_moment_name(part, i % 2);
        const struct safetensors_tensor *tensor = safetensors_find(file, name);
        if (values == NULL) {
            continue;
        }
        if (tensor == NULL || tensor->dtype != SAFETENSORS_F32 ||
            tensor->byte_count != (size_t)elems * sizeof(float)) {
            status = ERR_FAIL(ERR_CORRUPT, "%s: %s is missing or not F32 of %" PRId64 " elements",
                              path, name, elems);
        } else {
            struct device_view view;
            status = device_view_open(model_ops(state->model)->device, values, tensor->byte_count,
                                      &view);
            if (status == ERR_OK) {
                memcpy(view.host, tensor->bytes, tensor->byte_count);
                status = device_view_close(&view, true);
            }
        }
    }
    safetensors_close(file);
    free(bytes);
    return status;
}

enum err train_state_load_optimizers(struct train_state *state, const char *folder)
{
    int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX];
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    ERR_TRY(load_moments(state, folder));
    ERR_TRY(file_path(path, folder, TRAIN_STATE_FILE));
    ERR_TRY(jdoc_read(path, &doc));
    const enum err status = read_counts(doc, path, counts);
    jdoc_close(doc);
    for (int part = 0; part < TRAIN_PARTS && status == ERR_OK; part++) {
        if (optim_of(state, part) != NULL) {
            memcpy(optim_counts(optim_of(state, part)), counts[part], sizeof(counts[part]));
        }
    }
    return status;
}
