/*
 * data/data_vocab.h - the tokens of a vocabulary: from a text to its id and back.
 *
 * Ids are 0, 1, 2, ... in the order in which tokens were added. A token is any bytes. One
 * that is there twice is found under its last id, as Hugging Face does, and both ids have
 * its text.
 *
 * Memory: the bytes of the tokens, and about 24 bytes a token. Threads: once filled, a
 * vocabulary is read-only; any.
 */
#ifndef DATA_DATA_VOCAB_H
#define DATA_DATA_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

enum {
    DATA_VOCAB_TOKENS_MAX = 1 << 24,
    DATA_VOCAB_FILE_BYTES_MAX = 1 << 28, /* of any file of a tokenizer */
};

struct data_vocab;

/* An empty one. The caller owns *vocab_out and ends it with data_vocab_close(). ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err data_vocab_open(struct data_vocab **vocab_out);

/* Frees a vocabulary. NULL is allowed. */
void data_vocab_close(struct data_vocab *vocab);

/* Adds a token, whose id is the count before. ERR_NO_MEMORY, also beyond DATA_VOCAB_TOKENS_MAX. */
ERR_MUST_CHECK enum err data_vocab_add(struct data_vocab *vocab, const char *text, size_t bytes);

/*
 * Adds the tokens of `count` bytes of a vocab.txt, a line each; a line ends with LF or CR LF,
 * the last one also without. `what` names the file. Errors: ERR_CORRUPT if there is none, or
 * one has a NUL byte or is not UTF-8; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_vocab_add_lines(struct data_vocab *vocab, const char *lines,
                                             size_t count, const char *what);

/*
 * Adds the tokens of a JSON object {"token": id, ...} to an empty vocabulary. Errors:
 * ERR_CORRUPT if `object` is no such thing, or its ids are not 0 to the count less one, each
 * once; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_vocab_add_object(struct data_vocab *vocab, const struct jdoc *object,
                                              const char *what);

int64_t data_vocab_count(const struct data_vocab *vocab);

/* The length of the longest token. */
size_t data_vocab_bytes_max(const struct data_vocab *vocab);

/* The id of a token, or -1. Cost: a hash of the bytes. */
int32_t data_vocab_find(const struct data_vocab *vocab, const char *text, size_t bytes);

/* The text of `id` in 0..count - 1, not NUL-terminated, lent. */
const char *data_vocab_text(const struct data_vocab *vocab, int32_t id, size_t *bytes_out);

#endif
