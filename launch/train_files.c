#include "launch/train_files.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "comm/base/safetensors.h"
#include "trainer/model/model_files.h"

enum {
    DIGITS_MAX = 20, /* of an integer */
    TEXT_ALIGN = 256,
};

static struct jdoc *counts_of(struct optim *optim)
{
    struct jdoc *counts = jdoc_array();

    for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
        jdoc_append(counts, jdoc_int(optim == NULL ? 0 : optim_counts(optim)[group]));
    }
    return counts;
}

static enum err describe(const struct train_state *state, const char *settings, char **text_out)
{
    struct jdoc *doc = jdoc_object();
    struct jdoc *open = jdoc_array();

    jdoc_set_int(doc, "format_version", TRAIN_STATE_FORMAT_VERSION);
    jdoc_set_int(doc, "global_step", state->step);
    jdoc_set_int(doc, "stage", state->stage);
    jdoc_set_int(doc, "stage_step", state->stage_step);
    jdoc_set(doc, "backbone_updates", counts_of(state->backbone_optim));
    jdoc_set(doc, "exits_updates", counts_of(state->exits_optim));
    for (int i = 0; i < train_state_open_count(state); i++) {
        jdoc_append(open, jdoc_int((int64_t)state->balance.open[i]));
    }
    jdoc_set(doc, "open_targets", open);
    jdoc_set_int(doc, "open_targets_of", (int64_t)state->balance.sample_count);
    jdoc_set_text(doc, "settings", settings);
    const enum err status = jdoc_text(doc, 2, text_out);
    jdoc_close(doc);
    return status;
}

/* Room for the text at any step: with all numbers 0, and as many digits more as they may get. */
static enum err size_text(const struct train_state *state, const char *settings, size_t *bytes_out)
{
    const struct train_state fresh = {.model = state->model, .net = state->net};
    const int numbers = 4 + 2 * OPTIM_GROUPS_MAX + train_state_open_count(state);
    char *text = NULL;

    ERR_TRY(describe(&fresh, settings, &text));
    const size_t bytes = strlen(text) + (size_t)numbers * DIGITS_MAX;
    free(text);
    *bytes_out = (bytes + TEXT_ALIGN - 1) / TEXT_ALIGN * TEXT_ALIGN;
    return ERR_OK;
}

enum err train_files_refresh(struct train_files *files, const struct train_state *state,
                             const char *settings)
{
    char *text = NULL;

    ERR_TRY(describe(state, settings, &text));
    const size_t length = strlen(text);
    assert(length < files->text_bytes);
    memcpy(files->text, text, length);
    memset(files->text + length, ' ', files->text_bytes - length);
    files->text[files->text_bytes - 1] = '\n';
    free(text);
    return ERR_OK;
}

/* Appends a file of `count` pieces, `own` the first, which is taken over; NULL without memory. */
static struct train_file *add_file(struct train_files *files, const char *name, size_t count,
                                   void *own, size_t own_bytes)
{
    struct file_piece *pieces = own == NULL ? NULL : calloc(count, sizeof(*pieces));

    assert(files->count < TRAIN_FILES_MAX);
    if (pieces == NULL) {
        free(own);
        return NULL;
    }
    pieces[0] = (struct file_piece){own, own_bytes};
    struct train_file *file = &files->files[files->count++];
    *file = (struct train_file){name, pieces, count, own};
    return file;
}

static enum err add_safetensors(struct train_files *files, const char *name,
                                struct safetensors_tensor *tensors, size_t count)
{
    uint8_t *head = NULL;
    size_t head_bytes = 0;

    ERR_TRY(safetensors_head(tensors, count, "format", "pt", &head, &head_bytes));
    struct train_file *file = add_file(files, name, 1 + count, head, head_bytes);
    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", name);
    }
    for (size_t t = 0; t < count; t++) {
        file->pieces[1 + t] = (struct file_piece){tensors[t].bytes, tensors[t].byte_count};
    }
    return ERR_OK;
}

static enum err add_params(struct train_files *files, const char *name,
                           const struct param_list *list, const float *block)
{
    struct safetensors_tensor *tensors = calloc((size_t)list->count + 1, sizeof(*tensors));

    if (tensors == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", name);
    }
    param_list_tensors(list, block, tensors);
    const enum err status = add_safetensors(files, name, tensors, (size_t)list->count);
    free(tensors);
    return status;
}

static enum err add_moments(struct train_files *files, const struct train_state *state,
                            const struct train_moments *moments)
{
    struct safetensors_tensor tensors[2 * TRAIN_PARTS];
    size_t count = 0;

    for (int part = 0; part < TRAIN_PARTS; part++) {
        const int64_t elems = train_state_elems(state, (enum train_part)part);
        for (int which = 0; which < 2; which++) {
            if (moments->values[part][which] != NULL && elems > 0) {
                tensors[count++] = (struct safetensors_tensor){
                    .name = train_moment_name((enum train_part)part, which),
                    .dtype = SAFETENSORS_F32,
                    .rank = 1,
                    .shape = {elems},
                    .bytes = moments->values[part][which],
                    .byte_count = (size_t)elems * sizeof(float),
                };
            }
        }
    }
    return add_safetensors(files, TRAIN_STATE_MOMENTS_FILE, tensors, count);
}

static enum err add_all(struct train_files *files, const struct train_state *state,
                        const struct train_moments *moments, const char *settings)
{
    char *config = NULL;

    ERR_TRY(model_files_config_text(model_config_of(state->model), &config));
    if (add_file(files, MODEL_CONFIG_FILE, 1, config, strlen(config)) == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, MODEL_CONFIG_FILE);
    }
    ERR_TRY(add_params(files, MODEL_WEIGHTS_FILE, model_params(state->model),
                       model_block(state->model)));
    if (state->net != NULL) {
        ERR_TRY(add_params(files, TRAIN_STATE_EXITS_FILE, exits_net_params(state->net),
                           exits_net_block(state->net)));
    }
    ERR_TRY(add_moments(files, state, moments));
    ERR_TRY(size_text(state, settings, &files->text_bytes));
    files->text = malloc(files->text_bytes);
    if (add_file(files, TRAIN_STATE_FILE, 1, files->text, files->text_bytes) == NULL) {
        files->text = NULL;
        return ERR_FAIL(ERR_NO_MEMORY, TRAIN_STATE_FILE);
    }
    return train_files_refresh(files, state, settings);
}

enum err train_files_open(const struct train_state *state, const struct train_moments *moments,
                          const char *settings, struct train_files *files_out)
{
    struct train_files files = {.device = model_ops(state->model)->device};
    const enum err status = add_all(&files, state, moments, settings);

    if (status != ERR_OK) {
        train_files_close(&files);
        return status;
    }
    *files_out = files;
    return ERR_OK;
}

/* The pieces as the host sees them, one view for each but the first. */
static enum err write_views(const struct train_file *file, struct device *device, const char *path,
                            struct file_piece *pieces, struct device_view *views)
{
    size_t opened = 1;
    enum err status = ERR_OK;

    pieces[0] = file->pieces[0];
    while (opened < file->piece_count && status == ERR_OK) {
        const struct file_piece *piece = &file->pieces[opened];
        status =
            device_view_open(device, (void *)(uintptr_t)piece->bytes, piece->count, &views[opened]);
        if (status == ERR_OK) {
            pieces[opened] = (struct file_piece){views[opened].host, piece->count};
            opened++;
        }
    }
    if (status == ERR_OK) {
        status = file_write(path, pieces, file->piece_count);
    }
    for (size_t p = 1; p < opened; p++) {
        const enum err closed = device_view_close(&views[p], false);
        status = status == ERR_OK ? closed : status;
    }
    return status;
}

enum err train_files_write(const struct train_files *files, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;

    for (int i = 0; i < files->count && status == ERR_OK; i++) {
        const struct train_file *file = &files->files[i];
        struct file_piece *pieces = calloc(file->piece_count, sizeof(*pieces));
        struct device_view *views = calloc(file->piece_count, sizeof(*views));
        if (pieces == NULL || views == NULL) {
            status = ERR_FAIL(ERR_NO_MEMORY, "%s", file->name);
        } else {
            status = file_path(path, folder, file->name);
        }
        if (status == ERR_OK) {
            status = write_views(file, files->device, path, pieces, views);
        }
        free(views);
        free(pieces);
    }
    return status;
}

void train_files_close(struct train_files *files)
{
    for (int i = 0; i < TRAIN_FILES_MAX; i++) {
        free(files->files[i].own);
        free(files->files[i].pieces);
    }
    *files = (struct train_files){0};
}
