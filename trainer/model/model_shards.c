#include "trainer/model/model_shards.h"

#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "trainer/model/model_files.h"

enum { FILES_MAX = 1024 };

struct shard {
    char path[FILE_PATH_BYTES_MAX];
    size_t name_at; /* in the path */
    struct safetensors *file;
};

struct model_shards {
    char path[FILE_PATH_BYTES_MAX];
    struct shard *files;
    size_t file_count;
    struct model_shard_entry *entries;
    size_t entry_count;
};

static enum err add_file(struct model_shards *shards, const char *folder, const char *name)
{
    struct shard *file = &shards->files[shards->file_count];

    ERR_TRY(file_path(file->path, folder, name));
    file->name_at = strlen(file->path) - strlen(name);
    ERR_TRY(safetensors_open(file->path, &file->file));
    shards->file_count++;
    return ERR_OK;
}

static enum err allocate(struct model_shards *shards, size_t files)
{
    shards->files = calloc(files, sizeof(*shards->files));
    return shards->files == NULL ? ERR_FAIL(ERR_NO_MEMORY, "a list of %zu files", files) : ERR_OK;
}

static enum err allocate_entries(struct model_shards *shards, size_t count)
{
    shards->entries = calloc(count + 1, sizeof(*shards->entries));
    return shards->entries == NULL ? ERR_FAIL(ERR_NO_MEMORY, "a list of %zu tensors", count)
                                   : ERR_OK;
}

static enum err open_one(struct model_shards *shards, const char *folder)
{
    ERR_TRY(allocate(shards, 1));
    ERR_TRY(add_file(shards, folder, MODEL_WEIGHTS_FILE));
    const size_t count = safetensors_count(shards->files[0].file);
    ERR_TRY(allocate_entries(shards, count));
    for (size_t i = 0; i < count; i++) {
        shards->entries[i] = (struct model_shard_entry){
            .tensor = safetensors_at(shards->files[0].file, i), .path = shards->files[0].path};
    }
    shards->entry_count = count;
    return ERR_OK;
}

/* The index of the file of that name, which is opened when it is first met. */
static enum err file_of(struct model_shards *shards, const char *folder, const char *name,
                        size_t *index_out)
{
    for (size_t i = 0; i < shards->file_count; i++) {
        if (strcmp(shards->files[i].path + shards->files[i].name_at, name) == 0) {
            *index_out = i;
            return ERR_OK;
        }
    }
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: weight_map names the file %.80s, which is no plain name",
                        shards->path, name);
    }
    if (shards->file_count == FILES_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: weight_map names more than %d files", shards->path,
                        FILES_MAX);
    }
    *index_out = shards->file_count;
    return add_file(shards, folder, name);
}

static enum err read_map(struct model_shards *shards, const char *folder, const struct jdoc *map)
{
    ERR_TRY(allocate(shards, FILES_MAX));
    ERR_TRY(allocate_entries(shards, jdoc_count(map)));
    for (void *member = jdoc_first(map); member != NULL; member = jdoc_next(map, member)) {
        const char *const tensor = jdoc_member_key(member);
        const char *const name = jdoc_as_text(jdoc_member_value(member));
        size_t at = 0;
        if (name == NULL) {
            return ERR_FAIL(ERR_CORRUPT, "%s: weight_map: the file of %.120s is no text",
                            shards->path, tensor);
        }
        ERR_TRY(file_of(shards, folder, name, &at));
        const struct shard *file = &shards->files[at];
        struct model_shard_entry *entry = &shards->entries[shards->entry_count];
        entry->tensor = safetensors_find(file->file, tensor);
        entry->path = file->path;
        if (entry->tensor == NULL) {
            return ERR_FAIL(ERR_CORRUPT, "%s: tensor %.120s is missing, which %s says is here",
                            file->path, tensor, MODEL_INDEX_FILE);
        }
        shards->entry_count++;
    }
    return ERR_OK;
}

static enum err open_indexed(struct model_shards *shards, const char *folder)
{
    struct jdoc *doc = NULL;

    ERR_TRY(jdoc_read(shards->path, &doc));
    const struct jdoc *map = jdoc_get(doc, "weight_map");
    const enum err status =
        jdoc_is_object(map) ? read_map(shards, folder, map)
                            : ERR_FAIL(ERR_CORRUPT, "%s: weight_map is no object", shards->path);
    jdoc_close(doc);
    return status;
}

static enum err open_any(struct model_shards *shards, const char *folder)
{
    char index[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(shards->path, folder, MODEL_WEIGHTS_FILE));
    ERR_TRY(file_path(index, folder, MODEL_INDEX_FILE));
    if (!file_exists(shards->path) && file_exists(index)) {
        memcpy(shards->path, index, sizeof(index));
        return open_indexed(shards, folder);
    }
    return open_one(shards, folder);
}

enum err model_shards_open(const char *folder, struct model_shards **shards_out)
{
    struct model_shards *shards = calloc(1, sizeof(*shards));

    if (shards == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the files of %s", folder);
    }
    const enum err status = open_any(shards, folder);
    if (status != ERR_OK) {
        model_shards_close(shards);
        return status;
    }
    *shards_out = shards;
    return ERR_OK;
}

void model_shards_close(struct model_shards *shards)
{
    if (shards == NULL) {
        return;
    }
    for (size_t i = 0; i < shards->file_count; i++) {
        safetensors_close(shards->files[i].file);
    }
    free(shards->entries);
    free(shards->files);
    free(shards);
}

const char *model_shards_path(const struct model_shards *shards)
{
    return shards->path;
}

size_t model_shards_count(const struct model_shards *shards)
{
    return shards->entry_count;
}

struct model_shard_entry *model_shards_at(const struct model_shards *shards, size_t index)
{
    return &shards->entries[index];
}

struct model_shard_entry *model_shards_find(const struct model_shards *shards, const char *name)
{
    for (size_t i = 0; i < shards->entry_count; i++) {
        if (strcmp(shards->entries[i].tensor->name, name) == 0) {
            return &shards->entries[i];
        }
    }
    return NULL;
}
