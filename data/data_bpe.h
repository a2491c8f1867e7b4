/*
 * data/data_bpe.h - the tokenizer of GPT-2, byte-level byte-pair encoding: text to ids as
 * Hugging Face's GPT2TokenizerFast makes them, and back to bytes.
 *
 *      text ─> special token taken out ─> words (data_bpe_split.h) ─> bytes ─> pairs merged
 *
 * A word begins as one token a byte. As long as two neighbours are a pair of merges.txt, the
 * pair that stands first there, and of its places the leftmost, becomes one token. Any bytes
 * have ids; those that are not UTF-8 are read as U+FFFD, as a text has no other way.
 *
 * Source: R. Sennrich, B. Haddow and A. Birch, "Neural Machine Translation of Rare Words with
 * Subword Units", ACL 2016; A. Radford et al., "Language Models are Unsupervised Multitask
 * Learners", 2019, section 2.2, and the code published with it.
 *
 * Other than there: letters and numbers are those of data_unicode_version(); Hugging Face's
 * library knows a later Unicode, so words differ about what was added since.
 *
 * Memory: the vocabulary, and 16 to 64 bytes a merge. Threads: after data_bpe_open()
 * read-only, any.
 */
#ifndef DATA_DATA_BPE_H
#define DATA_DATA_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_vocab.h"

struct data_bpe_pairs;

struct data_bpe {
    struct data_vocab *vocab;     /* owned; tokens as vocab.json writes them */
    struct data_bpe_pairs *pairs; /* owned */
    int32_t byte_ids[256];        /* the token of one byte */
    int32_t end_id;               /* of <|endoftext|>, which is known in a text; -1: none */
};

/*
 * Reads vocab.json and merges.txt of `folder`, or where there is no vocab.json, tokenizer.json.
 * The caller owns *tokenizer_out and ends it with data_bpe_close(). Errors, each naming the
 * file, what was found and what was expected: ERR_MISSING; ERR_IO; ERR_CORRUPT (no JSON, a
 * byte without a token, a line that is not two tokens of the vocabulary, or makes a token that
 * is not there); ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_bpe_open(const char *folder, struct data_bpe **tokenizer_out);

/* Frees a tokenizer. NULL is allowed. */
void data_bpe_close(struct data_bpe *tokenizer);

/*
 * The ids of `text` as far as there is room. Nothing is put before or behind them.
 *
 * text       text_bytes bytes of any kind, 0 and NUL included
 * ids_out    [ids_max]  ids_max >= 1
 * count_out  ids written
 *
 * Errors: ERR_NO_MEMORY, for a word of more than 128 bytes only. Cost: n log n in a word's
 * bytes; words after the last id that has room are not read.
 */
ERR_MUST_CHECK enum err data_bpe_encode(const struct data_bpe *tokenizer, const char *text,
                                        size_t text_bytes, int32_t *ids_out, int64_t ids_max,
                                        int64_t *count_out);

/*
 * The bytes that `count` ids stand for. They may end in the middle of a character. An id that
 * is not in the vocabulary stands for nothing.
 *
 * bytes_out  [bytes_max], no NUL at the end; may be NULL if bytes_max is 0
 *
 * Returns how many bytes that are; what is beyond bytes_max is not written. Cannot fail.
 */
size_t data_bpe_decode(const struct data_bpe *tokenizer, const int32_t *ids, int64_t count,
                       char *bytes_out, size_t bytes_max);

#endif
