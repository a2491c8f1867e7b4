/*
 * trainer/model/model_aliases.h - the names of model_aliases.def, one after the other.
 *
 * Threads: constants.
 */
#ifndef TRAINER_MODEL_MODEL_ALIASES_H
#define TRAINER_MODEL_MODEL_ALIASES_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/model/model_tensors.h"

/* How a file holds a tensor: the third of `parts` (1 or 3) blocks of rows, transposed or not. */
struct model_form {
    int parts;
    int part;
    bool is_turned;
};

/* A name of a tensor, and in which form it is there. */
struct model_alias {
    char name[PARAM_NAME_BYTES];
    struct model_form form;
};

/*
 * The `which`-th name (0: its own) of a tensor in a layer; false: there are no more.
 * `own` is its name in model_params().
 */
bool model_alias_at(const struct model_config *config, enum model_tensor tensor, int64_t layer,
                    const char *own, int which, struct model_alias *alias_out);

/* As model_files_save() writes it: its own name, or GPT-2's of Hugging Face. */
void model_alias_saved(const struct model_config *config, enum model_tensor tensor, int64_t layer,
                       const char *own, struct model_alias *alias_out);

/* Whether a tensor of that name is a constant, which is no parameter. */
bool model_alias_is_constant(const struct model_config *config, const char *name);

#endif
