/*
 * trainer/model/model_files.h - a backbone as others read it: config.json and
 * model.safetensors, in Hugging Face's names for ViTForImageClassification.
 *
 * Threads: any, on different folders.
 */
#ifndef TRAINER_MODEL_MODEL_FILES_H
#define TRAINER_MODEL_MODEL_FILES_H

#include "comm/base/err.h"
#include "trainer/model/model.h"

#define MODEL_CONFIG_FILE "config.json"
#define MODEL_WEIGHTS_FILE "model.safetensors"

/* What config.json says; *text_out is the caller's to free(). Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err model_files_config_text(const struct model_config *config, char **text_out);

/*
 * Reads config.json. Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT for a file that is no such
 * configuration; ERR_CONFIG for a model that is not implemented, naming what.
 */
ERR_MUST_CHECK enum err model_files_read_config(const char *folder,
                                                struct model_config *config_out);

/* Reads the weights into `model`. Errors: as param_list_load(). */
ERR_MUST_CHECK enum err model_files_load_weights(struct model *model, const char *folder);

#endif
