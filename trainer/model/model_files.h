/*
 * trainer/model/model_files.h - a backbone as others read and write it: config.json and
 * model.safetensors (or several, with model.safetensors.index.json), as Hugging Face has them.
 *
 * config.json    model_type vit, deit, bert or gpt2. Members of ours: "offramp_pooling" (cls, mean, last, every)
 *                and "offramp_max_length"; where they are not there, BERT's are taken from what
 *                sentence-transformers lays beside it (1_Pooling/config.json, sentence_bert_config.json),
 *                else the pooling is cls (GPT-2: last) and the length all positions. A gpt2 whose
 *                architecture is GPT2LMHeadModel has its classifier tied to the words: V classes, no
 *                tensor of its own, no bias: logits = transformer.wte.weight ln_f(x).
 *                A language model of ours is such a one, with offramp_pooling every: rows of the
 *                stream behind any layer are what exits read, and offramp_max_length is the tokens of
 *                the blocks it was trained on. Which tokens those are, its tokenizer says, which is not
 *                part of the folder: the setting `tokenizer` of config.resolved.yaml names it.
 * weights        by all names of model_aliases.def, in F32, F16 or BF16.
 *
 * Threads: any, on different folders.
 */
#ifndef TRAINER_MODEL_MODEL_FILES_H
#define TRAINER_MODEL_MODEL_FILES_H

#include "comm/base/err.h"
#include "trainer/model/model.h"

#define MODEL_CONFIG_FILE "config.json"
#define MODEL_WEIGHTS_FILE "model.safetensors"
#define MODEL_INDEX_FILE "model.safetensors.index.json"

/* What config.json says; *text_out is the caller's to free(). Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err model_files_config_text(const struct model_config *config, char **text_out);

/*
 * Reads config.json. Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT for a file that is no such
 * configuration; ERR_CONFIG for a model that is not implemented, naming what.
 */
ERR_MUST_CHECK enum err model_files_read_config(const char *folder,
                                                struct model_config *config_out);

/*
 * Reads a checkpoint of ours into `model`: the tensors of model_params() under their own names, and none
 * besides. Errors: as param_list_load().
 */
ERR_MUST_CHECK enum err model_files_load_weights(struct model *model, const char *folder);

/*
 * The same of the embedding and all layers, without what stands behind the last one: for a model of fewer layers than the
 * checkpoint has. Of the file nothing else is read (param_list_load_parts()).
 */
ERR_MUST_CHECK enum err model_files_load_layers(struct model *model, const char *folder);

/*
 * Reads weights of whatever origin into a model that has none yet. A classifier that is not there, or is one
 * of other classes, has the values that model_init() would give it. *notes_out tells of that and names every tensor of the file that was not
 * used, in lines without a newline at the end; NULL if there is nothing to tell; the caller's to
 * free().
 *
 * Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT, naming every tensor that is missing, or the first one that is of
 * another shape or type than the configuration asks for, or holds NaN or infinity; the block is then
 * undefined. Those of device_view_open().
 */
ERR_MUST_CHECK enum err model_files_import_weights(struct model *model, const char *folder,
                                                   uint64_t seed, char **notes_out);

/*
 * Writes config.json and model.safetensors under Hugging Face's names and in its layouts, so that
 * transformers' from_pretrained() of that architecture reads them. `folder` is there.
 * Errors: ERR_NO_MEMORY, ERR_IO; those of device_view_open().
 */
ERR_MUST_CHECK enum err model_files_save(struct model *model, const char *folder);

#endif
