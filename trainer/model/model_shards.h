/*
 * trainer/model/model_shards.h - the tensors of a folder: of model.safetensors, or of the files that
 * model.safetensors.index.json names:
 *
 *      {"metadata": {...}, "weight_map": {"name of a tensor": "model-00001-of-00002.safetensors", ...}}
 *
 * Threads: the owner's.
 */
#ifndef TRAINER_MODEL_MODEL_SHARDS_H
#define TRAINER_MODEL_MODEL_SHARDS_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/base/err.h"
#include "comm/base/safetensors.h"

struct model_shard_entry {
    const struct safetensors_tensor *tensor;
    const char *path; /* of its file */
    bool is_used;     /* the reader's: false at first */
};

struct model_shards;

/*
 * Opens model.safetensors if it is there, else all files of the index. End it with model_shards_close().
 * Errors: ERR_MISSING if there is neither; ERR_IO, ERR_NO_MEMORY; ERR_CORRUPT for a file that is none,
 * an index without a weight_map, with a file that is no plain name in the folder, or a tensor that its
 * file does not hold.
 */
ERR_MUST_CHECK enum err model_shards_open(const char *folder, struct model_shards **shards_out);
void model_shards_close(struct model_shards *shards); /* NULL is allowed */

const char *model_shards_path(const struct model_shards *shards); /* of the file or the index */

size_t model_shards_count(const struct model_shards *shards);
struct model_shard_entry *model_shards_at(const struct model_shards *shards, size_t index);
struct model_shard_entry *model_shards_find(const struct model_shards *shards, const char *name);

#endif
