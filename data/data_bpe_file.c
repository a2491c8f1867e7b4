#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "data/data_bpe.h"
#include "data/data_bpe_pairs.h"
#include "data/data_bpe_priv.h"
#include "data/data_file.h"
#include "data/data_unicode.h"
#include "data/data_vocab_file.h"

enum { FIRST_STAND_IN = 256 }; /* the characters of bytes that cannot be seen: from here on */

/* Bytes that are printed as they are in Latin-1: no control, no blank, no soft hyphen. */
static int is_visible(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

int32_t data_bpe_character(int byte)
{
    int32_t code = FIRST_STAND_IN;

    if (is_visible(byte)) {
        return byte;
    }
    for (int other = 0; other < byte; other++) {
        code += !is_visible(other);
    }
    return code;
}

int data_bpe_byte(int32_t code)
{
    int32_t left = code - FIRST_STAND_IN;

    if (code < FIRST_STAND_IN) {
        return is_visible(code) ? code : -1;
    }
    for (int byte = 0; byte < 256; byte++) {
        if (!is_visible(byte) && left-- == 0) {
            return byte;
        }
    }
    return -1;
}

static enum err find_bytes(struct data_bpe *tokenizer, const char *what)
{
    for (int byte = 0; byte < 256; byte++) {
        char bytes[DATA_UNICODE_BYTES_MAX];
        const size_t count = data_unicode_put(data_bpe_character(byte), bytes);
        tokenizer->byte_ids[byte] = data_vocab_find(tokenizer->vocab, bytes, count);
        if (tokenizer->byte_ids[byte] < 0) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: no token \"%.*s\", which is byte 0x%02x, among %" PRId64
                            "; expected a byte-level vocabulary",
                            what, (int)count, bytes, (unsigned)byte,
                            data_vocab_count(tokenizer->vocab));
        }
    }
    tokenizer->end_id = data_vocab_find(tokenizer->vocab, DATA_BPE_END, strlen(DATA_BPE_END));
    return ERR_OK;
}

/* One pair of texts, which `what` and `number` name in errors. */
static enum err add_pair(struct data_bpe *tokenizer, const char *left, size_t left_bytes,
                         const char *right, size_t right_bytes, const char *what, int64_t number,
                         int32_t rank)
{
    const int32_t left_id = data_vocab_find(tokenizer->vocab, left, left_bytes);
    const int32_t right_id = data_vocab_find(tokenizer->vocab, right, right_bytes);
    char joined[1024];

    if (left_id < 0 || right_id < 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": \"%.*s\" is no token of the vocabulary",
                        what, number, (int)(left_id < 0 ? left_bytes : right_bytes),
                        left_id < 0 ? left : right);
    }
    if (left_bytes + right_bytes > sizeof(joined)) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64 ": a token of %zu bytes, expected at most %zu", what,
                        number, left_bytes + right_bytes, sizeof(joined));
    }
    memcpy(joined, left, left_bytes);
    memcpy(joined + left_bytes, right, right_bytes);
    const int32_t id = data_vocab_find(tokenizer->vocab, joined, left_bytes + right_bytes);
    if (id < 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64
                        ": \"%.*s\", which the two make, is no token of the vocabulary",
                        what, number, (int)(left_bytes + right_bytes), joined);
    }
    data_bpe_pairs_add(tokenizer->pairs, left_id, right_id,
                       (struct data_bpe_merge){.rank = rank, .id = id});
    return ERR_OK;
}

/* "left right" of `bytes` bytes. */
static enum err add_line(struct data_bpe *tokenizer, const char *line, size_t bytes,
                         const char *what, int64_t number, int32_t rank)
{
    const char *blank = memchr(line, ' ', bytes);

    if (blank == NULL || blank == line || blank + 1 == line + bytes ||
        memchr(blank + 1, ' ', bytes - (size_t)(blank + 1 - line)) != NULL) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64
                        ": found \"%.*s\", expected two tokens and a blank between",
                        what, number, (int)(bytes < 40 ? bytes : 40), line);
    }
    const size_t left_bytes = (size_t)(blank - line);
    return add_pair(tokenizer, line, left_bytes, blank + 1, bytes - left_bytes - 1, what, number,
                    rank);
}

static enum err read_merges_txt(struct data_bpe *tokenizer, const struct data_file *file)
{
    const char *text = (const char *)file->bytes;
    int64_t line_count = 1;
    int64_t number = 1;
    int32_t rank = 0;

    for (size_t at = 0; at < file->count; at++) {
        line_count += text[at] == '\n';
    }
    if (line_count > DATA_VOCAB_TOKENS_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %" PRId64 " lines, expected at most %d", file->path,
                        line_count, DATA_VOCAB_TOKENS_MAX);
    }
    ERR_TRY(data_bpe_pairs_open(line_count, &tokenizer->pairs));
    for (size_t at = 0; at < file->count; number++) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', file->count - at);
        size_t bytes = end == NULL ? file->count - at : (size_t)(end - line);
        at += bytes + 1;
        if (bytes > 0 && line[bytes - 1] == '\r') {
            bytes--;
        }
        const int is_comment = number == 1 && bytes >= 8 && memcmp(line, "#version", 8) == 0;
        const int is_last = bytes == 0 && at >= file->count;
        if (!is_comment && !is_last) {
            ERR_TRY(add_line(tokenizer, line, bytes, file->path, number, rank++));
        }
    }
    return ERR_OK;
}

/* "a b" each, or ["a", "b"]. */
static enum err read_merges_json(struct data_bpe *tokenizer, const struct jdoc *merges)
{
    static const char what[] = DATA_TOKENIZER_JSON ": model.merges";
    const size_t count = jdoc_count(merges);

    if (!jdoc_is_array(merges) || count > DATA_VOCAB_TOKENS_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: expected an array of at most %d merges", what,
                        DATA_VOCAB_TOKENS_MAX);
    }
    ERR_TRY(data_bpe_pairs_open((int64_t)count, &tokenizer->pairs));
    for (size_t i = 0; i < count; i++) {
        const struct jdoc *merge = jdoc_at(merges, i);
        const char *line = jdoc_as_text(merge);
        const char *left = jdoc_as_text(jdoc_at(merge, 0));
        const char *right = jdoc_as_text(jdoc_at(merge, 1));
        if (line != NULL) {
            ERR_TRY(add_line(tokenizer, line, strlen(line), what, (int64_t)i + 1, (int32_t)i));
        } else if (left != NULL && right != NULL) {
            ERR_TRY(add_pair(tokenizer, left, strlen(left), right, strlen(right), what,
                             (int64_t)i + 1, (int32_t)i));
        } else {
            return ERR_FAIL(ERR_CORRUPT, "%s: element %zu: expected two tokens", what, i);
        }
    }
    return ERR_OK;
}

static enum err read_tokenizer_json(const char *folder, const struct jdoc *json,
                                    struct data_bpe *tokenizer)
{
    const struct jdoc *model = jdoc_get(json, "model");

    ERR_TRY(data_vocab_need_model(model, "BPE", folder));
    ERR_TRY_AS(data_vocab_add_object(tokenizer->vocab, jdoc_get(model, "vocab"),
                                     DATA_TOKENIZER_JSON ": model.vocab"),
               "%s", folder);
    ERR_TRY(find_bytes(tokenizer, folder));
    ERR_TRY_AS(read_merges_json(tokenizer, jdoc_get(model, "merges")), "%s", folder);
    return ERR_OK;
}

static enum err read_files(const char *folder, const struct jdoc *vocab, struct data_bpe *tokenizer)
{
    struct data_file *merges = NULL;

    ERR_TRY_AS(data_vocab_add_object(tokenizer->vocab, vocab, "vocab.json"), "%s", folder);
    ERR_TRY_AS(find_bytes(tokenizer, "vocab.json"), "%s", folder);
    ERR_TRY(data_file_open(folder, "merges.txt", DATA_VOCAB_FILE_BYTES_MAX,
                           "expected beside vocab.json", &merges));
    const enum err status = read_merges_txt(tokenizer, merges);
    data_file_close(merges);
    return status;
}

enum err data_bpe_open(const char *folder, struct data_bpe **tokenizer_out)
{
    struct jdoc *vocab = NULL;
    struct jdoc *json = NULL;
    enum err status = ERR_OK;

    assert(folder != NULL && tokenizer_out != NULL);
    struct data_bpe *tokenizer = calloc(1, sizeof(*tokenizer));
    if (tokenizer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a tokenizer");
    }
    ERR_GOTO(close_tokenizer, status, data_vocab_open(&tokenizer->vocab));
    ERR_GOTO(close_tokenizer, status, data_vocab_read_json(folder, "vocab.json", &vocab));
    if (vocab != NULL) {
        ERR_GOTO(close_tokenizer, status, read_files(folder, vocab, tokenizer));
    } else {
        ERR_GOTO(close_tokenizer, status, data_vocab_read_json(folder, DATA_TOKENIZER_JSON, &json));
        if (json == NULL) {
            status = ERR_FAIL(ERR_MISSING,
                              "%s: no vocab.json, expected the folder of a GPT-2 model, with "
                              "vocab.json and merges.txt or tokenizer.json",
                              folder);
            goto close_tokenizer;
        }
        ERR_GOTO(close_tokenizer, status, read_tokenizer_json(folder, json, tokenizer));
    }
    *tokenizer_out = tokenizer;
    tokenizer = NULL;

close_tokenizer:
    jdoc_close(json);
    jdoc_close(vocab);
    data_bpe_close(tokenizer);
    return status;
}

void data_bpe_close(struct data_bpe *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    data_bpe_pairs_close(tokenizer->pairs);
    data_vocab_close(tokenizer->vocab);
    free(tokenizer);
}
