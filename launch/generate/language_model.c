#include "launch/generate/language_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/options.h"
#include "launch/train_state.h"
#include "snapshot/snap_disk.h"
#include "trainer/model/model_files.h"

static enum err check(const char *path, const struct model_config *config)
{
    if (config->mask != MODEL_MASK_CAUSAL || !config->ties_classifier) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no language model: found %s, expected a GPT-2 whose classifier is "
                        "tied to its words (GPT2LMHeadModel)",
                        path,
                        config->embedding == MODEL_EMBEDDING_PATCHES ? "a model of images"
                        : config->mask == MODEL_MASK_CAUSAL          ? "a classifier of texts"
                                                                     : "a BERT");
    }
    return ERR_OK;
}

/* A folder that nothing of a run lies in. */
static bool is_foreign(const char *path)
{
    return snap_disk_step(path) < 0 && file_is_in(path, MODEL_CONFIG_FILE) &&
           !file_is_in(path, TRAIN_STATE_FILE);
}

static enum err import(const char *folder, bool needs_exits, struct trained_network *source)
{
    struct model_config config;
    struct kern_ops ops;
    char *notes = NULL;

    ERR_TRY(model_files_read_config(folder, &config));
    ERR_TRY(check(folder, &config));
    if (needs_exits) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no exits there: they are in the checkpoints of a run; without any, "
                        "--mode full writes texts",
                        folder);
    }
    if (strlen(folder) >= sizeof(source->folder)) {
        return ERR_FAIL(ERR_INVALID, "a path of %zu bytes", strlen(folder));
    }
    snprintf(source->folder, sizeof(source->folder), "%s", folder);
    ERR_TRY(kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_PORTABLE, &ops));
    if (strcmp(ops.isa, "avx2") == 0) {
        ERR_TRY(kern_ops_choose(KERN_ISA_AVX2, KERN_MATMUL_OWN, &ops));
    }
    ERR_TRY(model_open(&config, &ops, &source->model));
    ERR_TRY(model_files_import_weights(source->model, folder, 0, &notes));
    if (notes != NULL) {
        fprintf(stderr, "%s\n", notes);
    }
    free(notes);
    return ERR_OK;
}

/* Of a checkpoint: whatever it holds is told apart before its weights are read. */
static enum err load(const char *path, bool needs_exits, struct trained_network *source)
{
    static const struct trained_network_wish wish = {.needs_no_exits = true, .has_free_rows = true};

    ERR_TRY(trained_network_open(path, &wish, source));
    ERR_TRY(check(source->folder, model_config_of(source->model)));
    if (needs_exits && source->net == NULL) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: no exits there: the run has none yet; --mode full writes texts "
                        "without",
                        source->folder);
    }
    return ERR_OK;
}

static bool has_tokenizer(const char *folder)
{
    return file_is_in(folder, "vocab.json") || file_is_in(folder, "tokenizer.json");
}

/* The tokenizer that the settings of the run name. */
static enum err open_of_run(const struct trained_network *source, struct data_tokenizer **to)
{
    char path[FILE_PATH_BYTES_MAX];
    struct options_run *options = NULL;

    ERR_TRY(file_path(path, source->output_dir, "config.resolved.yaml"));
    if (source->output_dir[0] == '\0' || !file_exists(path)) {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no tokenizer there (vocab.json and merges.txt, or tokenizer.json): "
                        "name its folder with --tokenizer",
                        source->folder);
    }
    ERR_TRY(options_load(path, NULL, 0, &options));
    const char *folder =
        options->run.tokenizer[0] != '\0' ? options->run.tokenizer : options->run.init_from;
    const enum err status =
        folder[0] == '\0'
            ? ERR_FAIL(ERR_MISSING, "%s names no tokenizer: name its folder with --tokenizer", path)
            : data_tokenizer_open(folder, to);
    options_close(options);
    ERR_TRY_AS(status, "the tokenizer of %s (--tokenizer names another folder)", path);
    return ERR_OK;
}

static enum err open_tokenizer(const char *folder, struct language_model *model)
{
    const int64_t vocab = model_config_of(model->source.model)->vocab_size;

    if (folder == NULL && has_tokenizer(model->source.folder)) {
        folder = model->source.folder;
    }
    if (folder != NULL) {
        ERR_TRY_AS(data_tokenizer_open(folder, &model->tokenizer), "tokenizer");
    } else {
        ERR_TRY(open_of_run(&model->source, &model->tokenizer));
    }
    if (model->tokenizer->bpe == NULL) {
        return ERR_FAIL(ERR_CONFIG, "the tokenizer is BERT's WordPiece, GPT-2's byte-level BPE is "
                                    "expected");
    }
    if (model->tokenizer->vocab_count > vocab) {
        return ERR_FAIL(ERR_CONFIG,
                        "the tokenizer has %" PRId64 " tokens and the model knows %" PRId64
                        ": they do not belong together",
                        model->tokenizer->vocab_count, vocab);
    }
    return ERR_OK;
}

enum err language_model_open(const char *path, const char *tokenizer_folder, bool needs_exits,
                             struct language_model *model_out)
{
    struct language_model model = {0};
    enum err status = is_foreign(path) ? import(path, needs_exits, &model.source)
                                       : load(path, needs_exits, &model.source);

    if (status == ERR_OK) {
        status = open_tokenizer(tokenizer_folder, &model);
    }
    if (status != ERR_OK) {
        language_model_close(&model);
        return status;
    }
    model.context = model_config_of(model.source.model)->max_length;
    model_pack(model.source.model, false);
    if (model.source.net != NULL) {
        exits_net_pack(model.source.net);
    }
    *model_out = model;
    return ERR_OK;
}

void language_model_close(struct language_model *model)
{
    data_tokenizer_close(model->tokenizer);
    trained_network_close(&model->source);
    *model = (struct language_model){0};
}
