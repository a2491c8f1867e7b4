#define _POSIX_C_SOURCE 200809L
#include "launch/export/export.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/export/export_describe.h"
#include "launch/export/export_results.h"
#include "launch/export/export_sets.h"
#include "launch/export/onnx_models.h"
#include "trainer/model/model_files.h"

#define IMAGES_FILE "preprocessor_config.json"
#define EXITS_FILE "exits.safetensors"
#define EXITS_TEXT_FILE "exits.json"
#define ONNX_FOLDER "onnx"

enum { FILES_MAX = 6 + MODEL_LAYERS_MAX + 1, NAME_BYTES = 64 };

/* An export under way. */
struct work {
    const struct trained_network *source;
    const struct export_wish *wish;
    struct export_sets sets;
    struct export_results results;
    struct onnx_models models;
    char partial[FILE_PATH_BYTES_MAX];
    char names[FILES_MAX][NAME_BYTES]; /* of files that are there */
    size_t name_count;
};

static void note(struct work *work, const char *name)
{
    snprintf(work->names[work->name_count++], NAME_BYTES, "%s", name);
}

/* A folder with something in it may be somebody's work, or an export that would be mixed with this one. */
static enum err check_free(const char *output_dir)
{
    DIR *folder = opendir(output_dir);
    const struct dirent *entry = NULL;
    bool is_empty = true;

    if (folder == NULL) {
        return errno == ENOENT
                   ? ERR_OK
                   : ERR_FAIL(ERR_IO, "--output-dir %s: %s", output_dir, strerror(errno));
    }
    while ((entry = readdir(folder)) != NULL) {
        is_empty =
            is_empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(folder);
    return is_empty ? ERR_OK
                    : ERR_FAIL(ERR_CONFIG,
                               "--output-dir %s is not empty: give a new folder, or remove it",
                               output_dir);
}

/* Everything that can be wrong but the disk. */
static enum err prepare(struct work *work)
{
    const struct trained_network *source = work->source;
    const struct export_wish *wish = work->wish;

    ERR_TRY(export_sets_choose(source, wish->has_lambda, wish->lambda, &work->sets));
    if (wish->format != EXPORT_HF && work->sets.count > 1) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s has %d lambdas and an ONNX model has the exits of one: choose it with "
                        "--lambda, or --format hf",
                        source->folder, work->sets.count);
    }
    work->models = (struct onnx_models){
        .backbone = {.config = model_config_of(source->model),
                     .params = model_params(source->model),
                     .block = model_block(source->model)},
        .exits = {.config = exits_net_config_of(source->net),
                  .params = exits_net_params(source->net),
                  .block = exits_net_block(source->net),
                  .set = work->sets.first,
                  .score = source->method.score,
                  .form = (enum exits_form)source->options.exit_form},
        .lambda = source->options.lambdas.values[work->sets.first],
    };
    ERR_TRY_AS(wish->format == EXPORT_HF ? onnx_exits_check(&work->models.exits)
                                         : onnx_models_check(&work->models),
               "%s", source->folder);
    ERR_TRY(export_results_open(source, wish->results, &work->results));
    return check_free(wish->output_dir);
}

static enum err copy_file(struct work *work, const char *name)
{
    char from[FILE_PATH_BYTES_MAX], to[FILE_PATH_BYTES_MAX];
    struct file_map map;

    ERR_TRY(file_path(from, work->source->folder, name));
    ERR_TRY(file_path(to, work->partial, name));
    ERR_TRY(file_map(from, &map));
    const enum err status =
        file_write(to, &(struct file_piece){.bytes = map.bytes, .count = map.count}, 1);
    file_unmap(&map);
    note(work, name);
    return status;
}

/* The checkpoint's own files, but for a backbone that it keeps in another layout. */
static enum err write_backbone(struct work *work)
{
    struct model *model = work->source->model;

    if (model_config_family(model_config_of(model)) != MODEL_FAMILY_GPT2) {
        ERR_TRY(copy_file(work, MODEL_CONFIG_FILE));
        return copy_file(work, MODEL_WEIGHTS_FILE);
    }
    ERR_TRY(model_files_save(model, work->partial));
    note(work, MODEL_CONFIG_FILE);
    note(work, MODEL_WEIGHTS_FILE);
    return ERR_OK;
}

static enum err write_hf(struct work *work)
{
    char path[FILE_PATH_BYTES_MAX];
    char *images = NULL;

    ERR_TRY(write_backbone(work));
    ERR_TRY(file_path(path, work->partial, EXITS_FILE));
    ERR_TRY(export_sets_write(work->source, &work->sets, path));
    note(work, EXITS_FILE);
    ERR_TRY(export_describe_images(work->source, &images));
    if (images == NULL) {
        return ERR_OK;
    }
    enum err status = file_path(path, work->partial, IMAGES_FILE);
    if (status == ERR_OK) {
        status = file_write_text(path, images);
    }
    free(images);
    note(work, IMAGES_FILE);
    return status;
}

static enum err write_onnx(struct work *work)
{
    char path[FILE_PATH_BYTES_MAX];
    char name[NAME_BYTES];

    ERR_TRY(file_path(path, work->partial, ONNX_FOLDER));
    ERR_TRY(file_make_folder(path));
    ERR_TRY(onnx_models_write(&work->models, path));
    note(work, ONNX_FOLDER "/" ONNX_MODELS_ALL);
    for (int stage = 0; stage <= exits_net_config_of(work->source->net)->count; stage++) {
        snprintf(name, sizeof(name), ONNX_FOLDER "/" ONNX_MODELS_STAGE, stage);
        note(work, name);
    }
    return ERR_OK;
}

static enum err write_description(struct work *work)
{
    const char *names[FILES_MAX];
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    for (size_t i = 0; i < work->name_count; i++) {
        names[i] = work->names[i];
    }
    ERR_TRY(export_describe(work->source, &work->sets, &work->results, work->wish->policy,
                            work->partial, names, work->name_count, &text));
    enum err status = file_path(path, work->partial, EXITS_TEXT_FILE);
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

static enum err write_all(struct work *work)
{
    const char *output_dir = work->wish->output_dir;

    ERR_TRY(file_remove_tree(work->partial)); /* of one that was interrupted */
    ERR_TRY(file_make_folder(work->partial));
    if (work->wish->format != EXPORT_ONNX) {
        ERR_TRY(write_hf(work));
    }
    if (work->wish->format != EXPORT_HF) {
        ERR_TRY(write_onnx(work));
    }
    ERR_TRY(write_description(work));
    if (rename(work->partial, output_dir) != 0) {
        return ERR_FAIL(ERR_IO, "--output-dir %s: rename: %s", output_dir, strerror(errno));
    }
    return ERR_OK;
}

/* "DIR/" -> "DIR.partial" */
static enum err name_partial(const char *output_dir, char partial[FILE_PATH_BYTES_MAX])
{
    size_t length = strlen(output_dir);

    while (length > 1 && output_dir[length - 1] == '/') {
        length--;
    }
    const int bytes =
        snprintf(partial, FILE_PATH_BYTES_MAX, "%.*s.partial", (int)length, output_dir);
    return bytes < FILE_PATH_BYTES_MAX ? ERR_OK
                                       : ERR_FAIL(ERR_INVALID, "a path of %d bytes", bytes);
}

enum err export_write(struct trained_network *source, const struct export_wish *wish)
{
    struct work *work = calloc(1, sizeof(*work));

    if (work == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an export");
    }
    work->source = source;
    work->wish = wish;
    enum err status = name_partial(wish->output_dir, work->partial);
    if (status == ERR_OK) {
        status = prepare(work);
    }
    if (status == ERR_OK) {
        status = write_all(work);
        if (status != ERR_OK) { /* the message of the first failure stays */
            (void)!file_remove_tree(work->partial);
        }
    }
    export_results_close(&work->results);
    free(work);
    return status;
}
