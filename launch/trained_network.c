#define _DEFAULT_SOURCE
#include "launch/trained_network.h"

#include <inttypes.h>
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

/* The newest checkpoint of a run; unless `is_verified`, whatever is in it. */
static enum err find_newest(const char *output_dir, bool is_verified,
                            char folder_out[FILE_PATH_BYTES_MAX])
{
    char name[32];
    int64_t step = -1;

    folder_out[0] = '\0';
    if (is_verified) {
        ERR_TRY(checkpoint_find(output_dir, -1, folder_out));
    } else if ((step = snap_disk_newest(output_dir)) >= 0) {
        snprintf(name, sizeof(name), "checkpoint-%" PRId64, step);
        ERR_TRY(file_path(folder_out, output_dir, name));
    }
    if (folder_out[0] == '\0') {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no checkpoint there: a checkpoint or the output_dir of a run is "
                        "expected",
                        output_dir);
    }
    return ERR_OK;
}

static enum err find(const char *path, bool is_verified, struct trained_network *network)
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
        snprintf(network->folder, sizeof(network->folder), "%s", path);
        parent_of(path, network->output_dir);
        return is_verified ? checkpoint_verify(path) : ERR_OK;
    }
    snprintf(network->output_dir, sizeof(network->output_dir), "%s", path);
    return find_newest(path, is_verified, network->folder);
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

static enum err read_state(struct trained_network *network)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;
    const char *text = NULL;

    ERR_TRY(file_path(path, network->folder, TRAIN_STATE_FILE));
    ERR_TRY(jdoc_read(path, &doc));
    enum err status = jdoc_need_int(doc, "global_step", path, &network->step);
    if (status == ERR_OK) {
        status = jdoc_need_text(doc, "settings", path, &text);
    }
    if (status == ERR_OK) {
        network->settings = strdup(text);
        status = network->settings == NULL
                     ? ERR_FAIL(ERR_NO_MEMORY, "%s", path)
                     : read_settings(network->settings, path, &network->options);
    }
    jdoc_close(doc);
    return status;
}

/* The last exit within layers_max. */
static enum err choose_cap(const struct trained_network *network,
                           const struct exits_net_config *exits, int64_t layers_max, int *cap_out)
{
    int cap = -1;

    *cap_out = -1;
    if (layers_max == 0 || layers_max >= network->whole.num_hidden_layers) {
        return ERR_OK;
    }
    while (cap + 1 < exits->count && exits->layers[cap + 1] < layers_max) {
        cap++;
    }
    if (cap < 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no exit within %" PRId64
                        " layers, the first stands behind layer %" PRId64,
                        network->folder, layers_max, exits->layers[0] + 1);
    }
    *cap_out = cap;
    return ERR_OK;
}

static enum err load_model(struct trained_network *network, const struct exits_net_config *exits,
                           const struct kern_ops *ops)
{
    struct model_config model = network->whole;

    if (network->cap < 0) {
        ERR_TRY(model_open(&model, ops, &network->model));
        return model_files_load_weights(network->model, network->folder);
    }
    model.num_hidden_layers = exits->layers[network->cap] + 1;
    ERR_TRY(model_open(&model, ops, &network->model));
    return model_files_load_layers(network->model, network->folder);
}

/* As long as texts are cut to, if there are positions for it. */
static void make_room(struct trained_network *network)
{
    const int64_t wanted = network->options.max_seq_length;
    struct model_config *whole = &network->whole;

    if (whole->embedding == MODEL_EMBEDDING_TOKENS) {
        whole->max_length =
            wanted < whole->max_position_embeddings ? wanted : whole->max_position_embeddings;
    }
}

/* Rows of a BLAS library's products depend on how many there are. */
static enum err choose_ops(const struct options *options, const struct trained_network_wish *wish,
                           struct kern_ops *ops_out)
{
    if (!wish->has_free_rows) {
        return kern_ops_choose((enum kern_isa)options->isa, (enum kern_matmul)options->matmul,
                               ops_out);
    }
    ERR_TRY(kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_PORTABLE, ops_out));
    return strcmp(ops_out->isa, "avx2") == 0
               ? kern_ops_choose(KERN_ISA_AVX2, KERN_MATMUL_OWN, ops_out)
               : ERR_OK;
}

static enum err load(struct trained_network *network, const struct trained_network_wish *wish)
{
    const struct options *options = &network->options;
    char path[FILE_PATH_BYTES_MAX];
    struct exits_net_config exits;
    struct kern_ops ops;

    ERR_TRY(file_path(path, network->folder, TRAIN_STATE_EXITS_FILE));
    const bool has_exits = file_exists(path);
    if (!has_exits && !wish->needs_no_exits) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no " TRAIN_STATE_EXITS_FILE ": a run without exits has but a "
                        "backbone, which others read as it is",
                        network->folder);
    }
    ERR_TRY(choose_ops(options, wish, &ops));
    ERR_TRY(model_files_read_config(network->folder, &network->whole));
    if (wish->has_room) {
        make_room(network);
    }
    if (!has_exits) {
        ERR_TRY(model_open(&network->whole, &ops, &network->model));
        return model_files_load_weights(network->model, network->folder);
    }
    ERR_TRY(train_run_exits_config(options, &network->whole, &exits));
    ERR_TRY(choose_cap(network, &exits, wish->layers_max, &network->cap));
    network->method = exits_method_with((enum exits_loss)options->exit_loss, exits.gate);
    ERR_TRY(load_model(network, &exits, &ops));
    ERR_TRY(exits_net_open(&exits, &ops, &network->net));
    return param_list_load(exits_net_params(network->net), ops.device,
                           exits_net_block(network->net), path);
}

enum err trained_network_open(const char *path, const struct trained_network_wish *wish,
                              struct trained_network *network_out)
{
    struct trained_network network = {.cap = -1};
    enum err status = find(path, wish->layers_max == 0, &network);

    if (status == ERR_OK) {
        status = read_state(&network);
    }
    if (status == ERR_OK) {
        status = load(&network, wish);
    }
    if (status != ERR_OK) {
        trained_network_close(&network);
        return status;
    }
    *network_out = network;
    return ERR_OK;
}

void trained_network_close(struct trained_network *network)
{
    exits_net_close(network->net);
    model_close(network->model);
    free(network->settings);
    *network = (struct trained_network){0};
}
