#define _DEFAULT_SOURCE
#include "launch/export/export_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "launch/checkpoint.h"
#include "launch/options_schema.h"
#include "launch/train_run.h"
#include "launch/train_state.h"
#include "snapshot/snap_disk.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/model/model_files.h"

/* "OUT/checkpoint-5/" -> "OUT", "checkpoint-5" -> "." */
static void parent_of(const char *path, char parent_out[FILE_PATH_BYTES_MAX])
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    snprintf(parent_out, FILE_PATH_BYTES_MAX, "%.*s", length == 0 ? 1 : (int)length,
             length == 0 ? "." : path);
}

static enum err find(const char *path, struct export_source *source)
{
    if (strlen(path) >= FILE_PATH_BYTES_MAX) {
        return ERR_FAIL(ERR_INVALID, "a path of %zu bytes", strlen(path));
    }
    if (!file_exists(path)) {
        return ERR_FAIL(ERR_MISSING,
                        "%s is not there: a checkpoint or the output_dir of a run is "
                        "expected",
                        path);
    }
    if (snap_disk_step(path) >= 0 || file_is_in(path, TRAIN_STATE_FILE)) {
        snprintf(source->folder, sizeof(source->folder), "%s", path);
        parent_of(path, source->output_dir);
        return checkpoint_verify(path);
    }
    snprintf(source->output_dir, sizeof(source->output_dir), "%s", path);
    ERR_TRY(checkpoint_find(path, -1, source->folder));
    if (source->folder[0] == '\0') {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no checkpoint there: a checkpoint or the output_dir of a run is "
                        "expected",
                        path);
    }
    return ERR_OK;
}

static const struct options_schema *find_schema(const char *name, size_t length)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        if (strlen(options_schemas[i].name) == length &&
            memcmp(options_schemas[i].name, name, length) == 0) {
            return &options_schemas[i];
        }
    }
    return NULL;
}

/* Lines "name: value" of train_settings_text() into the values that the whole run has. */
static enum err read_settings(char *settings, const char *place, struct options *options)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        ERR_TRY(options_convert(&options_schemas[i], options_schemas[i].initial, place, options));
    }
    for (char *rest = settings; rest != NULL && *rest != '\0';) {
        char *line = strsep(&rest, "\n");
        char *colon = strstr(line, ": ");
        const struct options_schema *schema =
            colon == NULL ? NULL : find_schema(line, (size_t)(colon - line));
        if (schema != NULL) {
            ERR_TRY(options_convert(schema, colon + 2, place, options));
        } else if (strncmp(line, "exit_", 5) == 0) {
            return ERR_FAIL(ERR_CONFIG, "%s: the setting %s is not known to this version", place,
                            line);
        }
    }
    return ERR_OK;
}

static enum err read_state(struct export_source *source)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;
    const char *text = NULL;

    ERR_TRY(file_path(path, source->folder, TRAIN_STATE_FILE));
    ERR_TRY(jdoc_read(path, &doc));
    enum err status = jdoc_need_int(doc, "global_step", path, &source->step);
    if (status == ERR_OK) {
        status = jdoc_need_text(doc, "settings", path, &text);
    }
    if (status == ERR_OK) {
        source->settings = strdup(text);
        status = source->settings == NULL ? ERR_FAIL(ERR_NO_MEMORY, "%s", path)
                                          : read_settings(source->settings, path, &source->options);
    }
    jdoc_close(doc);
    return status;
}

static enum err load(struct export_source *source)
{
    char path[FILE_PATH_BYTES_MAX];
    struct model_config model;
    struct exits_net_config exits;
    struct kern_ops ops;

    ERR_TRY(file_path(path, source->folder, TRAIN_STATE_EXITS_FILE));
    if (!file_exists(path)) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no " TRAIN_STATE_EXITS_FILE ": a run without exits has nothing to "
                        "export but the backbone, which others read as it is",
                        source->folder);
    }
    ERR_TRY(kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_AUTO, &ops));
    ERR_TRY(model_files_read_config(source->folder, &model));
    ERR_TRY(train_run_exits_config(&source->options, &model, &exits));
    source->method = exits_method_with((enum exits_loss)source->options.exit_loss, exits.gate);
    ERR_TRY(model_open(&model, &ops, &source->model));
    ERR_TRY(model_files_load_weights(source->model, source->folder));
    ERR_TRY(exits_net_open(&exits, &ops, &source->net));
    return param_list_load(exits_net_params(source->net), ops.device, exits_net_block(source->net),
                           path);
}

enum err export_source_open(const char *path, struct export_source *source_out)
{
    struct export_source source = {0};
    enum err status = find(path, &source);

    if (status == ERR_OK) {
        status = read_state(&source);
    }
    if (status == ERR_OK) {
        status = load(&source);
    }
    if (status != ERR_OK) {
        export_source_close(&source);
        return status;
    }
    *source_out = source;
    return ERR_OK;
}

void export_source_close(struct export_source *source)
{
    exits_net_close(source->net);
    model_close(source->model);
    free(source->settings);
    *source = (struct export_source){0};
}
