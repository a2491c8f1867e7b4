/*
 * Fuzz target: arbitrary bytes as model.safetensors.index.json, beside the two files that it may name.
 *
 * Property: it is refused; or every tensor it lists is in the file it says.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fuzz_folder.h"
#include "trainer/model/model_files.h"
#include "trainer/model/model_shards.h"

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

static void write_weights(const char *name, const char *tensor)
{
    static const float values[2];
    const struct safetensors_tensor one = {.name = tensor,
                                           .rank = 1,
                                           .dtype = SAFETENSORS_F32,
                                           .shape = {2},
                                           .bytes = values,
                                           .byte_count = 8};
    char path[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(path, name);
    if (!file_exists(path) && safetensors_write(path, &one, 1, NULL, NULL) != ERR_OK) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct model_shards *shards = NULL;
    char folder[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(folder, "any");
    *strrchr(folder, '/') = '\0';
    write_weights("a.safetensors", "a");
    write_weights("b.safetensors", "b");
    write_file(MODEL_INDEX_FILE, bytes, count);
    if (model_shards_open(folder, &shards) != ERR_OK) {
        err_clear();
        return 0;
    }
    for (size_t i = 0; i < model_shards_count(shards); i++) {
        const struct model_shard_entry *entry = model_shards_at(shards, i);
        const char *file = strrchr(entry->path, '/') + 1;
        if (entry->tensor->byte_count != 8 || entry->tensor->name[0] != file[0] ||
            model_shards_find(shards, entry->tensor->name) == NULL) {
            abort();
        }
    }
    model_shards_close(shards);
    return 0;
}
