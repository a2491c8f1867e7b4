/*
 * Fuzz target: arbitrary bytes as the config.json of a backbone.
 *
 * Property: it is refused; or it is a configuration that passes its own check, and what we write of it is read
 * back as the same.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fuzz_folder.h"
#include "trainer/model/model_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void write_file(const char *name, const void *bytes, size_t count)
{
    char path[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(path, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        abort();
    }
}

static bool are_same(const struct model_config *a, const struct model_config *b)
{
    return a->image_size == b->image_size && a->patch_size == b->patch_size &&
           a->num_channels == b->num_channels && a->vocab_size == b->vocab_size &&
           a->max_position_embeddings == b->max_position_embeddings &&
           a->type_vocab_size == b->type_vocab_size && a->max_length == b->max_length &&
           a->hidden_size == b->hidden_size && a->num_hidden_layers == b->num_hidden_layers &&
           a->num_attention_heads == b->num_attention_heads &&
           a->intermediate_size == b->intermediate_size && a->num_labels == b->num_labels &&
           a->layer_norm_eps == b->layer_norm_eps && a->initializer_range == b->initializer_range &&
           a->hidden_act == b->hidden_act && a->embedding == b->embedding && a->norm == b->norm &&
           a->mask == b->mask && a->pooling == b->pooling &&
           a->ties_classifier == b->ties_classifier &&
           a->has_distillation_token == b->has_distillation_token;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct model_config config, again;
    char folder[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    fuzz_folder_path(folder, "any");
    *strrchr(folder, '/') = '\0';
    write_file(MODEL_CONFIG_FILE, bytes, count);
    if (model_files_read_config(folder, &config) != ERR_OK) {
        err_clear();
        return 0;
    }
    if (config.num_labels > 100000 && !config.ties_classifier) {
        return 0; /* a list of labels that takes longer to write than the fuzzer has */
    }
    if (model_config_check(&config) != ERR_OK || model_config_tokens(&config) < 1 ||
        model_files_config_text(&config, &text) != ERR_OK) {
        abort();
    }
    write_file(MODEL_CONFIG_FILE, text, strlen(text));
    free(text);
    if (model_files_read_config(folder, &again) != ERR_OK || !are_same(&config, &again)) {
        abort();
    }
    return 0;
}
