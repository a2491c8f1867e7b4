/*
 * data/data_tokenizer.h - the tokenizer of a Hugging Face folder, of whichever kind.
 *
 *      the folder has                                      kind
 *      vocab.txt, or tokenizer.json of type WordPiece      data_wordpiece.h, of BERT
 *      vocab.json, or tokenizer.json of type BPE           data_bpe.h, of GPT-2
 *
 * The first that is there of vocab.txt, vocab.json and tokenizer.json decides.
 *
 * Threads: after data_tokenizer_open() read-only, any.
 */
#ifndef DATA_DATA_TOKENIZER_H
#define DATA_DATA_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_bpe.h"
#include "data/data_wordpiece.h"

/* One of the two is there, the other NULL. Both owned. */
struct data_tokenizer {
    struct data_wordpiece *wordpiece;
    struct data_bpe *bpe;
    int64_t vocab_count; /* ids are below it */
    int32_t pad_id;      /* what fills up a row: [PAD]; <|endoftext|> or else 0 for GPT-2 */
};

/*
 * The caller owns *tokenizer_out and ends it with data_tokenizer_close(). Errors: ERR_MISSING
 * if the folder has none of the files; else as data_wordpiece_open() and data_bpe_open().
 */
ERR_MUST_CHECK enum err data_tokenizer_open(const char *folder,
                                            struct data_tokenizer **tokenizer_out);

/* Frees a tokenizer. NULL is allowed. */
void data_tokenizer_close(struct data_tokenizer *tokenizer);

/*
 * The ids of a text, at most ids_max >= 2 of them: data_wordpiece_encode(), which adds [CLS]
 * and [SEP], or data_bpe_encode(), which adds nothing. Errors: as the latter.
 */
ERR_MUST_CHECK enum err data_tokenizer_encode(const struct data_tokenizer *tokenizer,
                                              const char *text, size_t text_bytes, int32_t *ids_out,
                                              int64_t ids_max, int64_t *count_out);

#endif
