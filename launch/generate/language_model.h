/*
 * launch/generate/language_model.h - what texts are written with: a language model, its exits and
 * its tokenizer, from a run, a checkpoint or a folder of Hugging Face's.
 *
 * Threads: any.
 */
#ifndef LAUNCH_GENERATE_LANGUAGE_MODEL_H
#define LAUNCH_GENERATE_LANGUAGE_MODEL_H

#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_tokenizer.h"
#include "launch/trained_network.h"

struct language_model {
    struct trained_network source; /* of a folder of Hugging Face's only the model; all packed */
    struct data_tokenizer *tokenizer;
    int64_t context; /* tokens of the longest text */
};

/*
 * path              a run's output_dir, a checkpoint, or a folder with config.json and weights of a GPT2LMHeadModel
 * tokenizer_folder  NULL: where the model lies, else what the run was trained with
 * needs_exits       those of the checkpoint
 *
 * On the CPU, with products whose rows do not depend on each other: "own", or "portable" where the CPU has no AVX2.
 * End it with language_model_close(). Errors: those of trained_network_open(), model_files_import_weights() and
 * data_tokenizer_open(); ERR_CONFIG for a model that is no language model, and for a tokenizer that is not GPT-2's
 * or knows more tokens than the model; ERR_MISSING if no tokenizer is known.
 */
ERR_MUST_CHECK enum err language_model_open(const char *path, const char *tokenizer_folder,
                                            bool needs_exits, struct language_model *model_out);
void language_model_close(struct language_model *model); /* a zeroed one is allowed */

#endif
