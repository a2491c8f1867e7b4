/*
 * data/data_vocab_file.h - the JSON files of a tokenizer, as Hugging Face lays them in a folder.
 *
 * Threads: any.
 */
#ifndef DATA_DATA_VOCAB_FILE_H
#define DATA_DATA_VOCAB_FILE_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

#define DATA_TOKENIZER_JSON "tokenizer.json"

/*
 * `folder`/`name`, which must be a JSON object, plain or gzip; NULL if there is no such file.
 * The caller closes *doc_out. Errors: ERR_IO, ERR_CORRUPT, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_vocab_read_json(const char *folder, const char *name,
                                             struct jdoc **doc_out);

/* The model of a tokenizer.json of `folder` is of that type. Errors: ERR_CORRUPT. */
ERR_MUST_CHECK enum err data_vocab_need_model(const struct jdoc *model, const char *type,
                                              const char *folder);

#endif
