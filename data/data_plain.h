/*
 * data/data_plain.h - plain text as a data set for a language model: blocks of tokens.
 *
 *      train.txt, test.txt     plain or gzip; <|endoftext|> parts documents, if anything does
 *
 * The whole file is one row of tokens, cut into blocks of tokens_max. A token's label is the token
 * behind it, so there are as many classes as tokens in the tokenizer, and the labels are the same
 * row one further on: the last one of a block is the first token of the next. What is left over
 * at the end is dropped.
 *
 * The file is tokenized in pieces, which end before a line feed that neither white space nor
 * what may be <|endoftext|> follows: there GPT-2's words end, too, so the ids are those of the
 * whole.
 *
 * Threads: any.
 */
#ifndef DATA_DATA_PLAIN_H
#define DATA_DATA_PLAIN_H

#include <stddef.h>

#include "comm/base/err.h"
#include "data/data_set.h"

/*
 * Reads the set of a source of format DATA_PLAIN, whose tokenizer is of GPT-2's kind, without
 * its hash: what data_set_open() calls. The caller owns *set_out and ends it with
 * data_set_close(). Errors: ERR_INVALID if tokens_max is out of range; ERR_CONFIG for BERT's
 * tokenizer, which adds tokens to every text; ERR_CORRUPT if the file has too few tokens for a
 * block and the label of its last one, or a damaged gzip stream; ERR_MISSING; ERR_IO; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_plain_open(const struct data_set_source *source,
                                        struct data_set **set_out);

/*
 * Where the piece ends that begins at `at` < text_bytes: at the first place behind at least
 * `bytes_min` bytes where one may end, or at text_bytes.
 */
size_t data_plain_piece(const char *text, size_t text_bytes, size_t at, size_t bytes_min);

#endif
