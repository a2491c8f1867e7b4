#include "data/data_plain.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_file.h"
#include "data/data_tokenizer.h"
#include "data/data_unicode.h"

static const size_t FILE_BYTES_MAX = (size_t)16 << 30;

enum {
    PIECE_BYTES = 1 << 16,
    IDS_A_BYTE_MAX = 3, /* a byte that is not UTF-8 is read as U+FFFD, of three bytes */
};

/* Tokens while the file is read. */
struct row {
    int32_t *ids;
    int64_t count, room;
};

size_t data_plain_piece(const char *text, size_t text_bytes, size_t at, size_t bytes_min)
{
    size_t end = text_bytes - at < bytes_min ? text_bytes : at + bytes_min;

    for (; end < text_bytes; end++) {
        size_t next = end + 1;
        /* Before <|endoftext|>, too, white space stays together. */
        if (text[end] == '\n' && end > at && next < text_bytes && text[next] != '<' &&
            !data_unicode_is_space(data_unicode_next(text, text_bytes, &next))) {
            return end;
        }
    }
    return text_bytes;
}

static enum err add_piece(const struct data_tokenizer *tokenizer, const char *text, size_t bytes,
                          struct row *row)
{
    const int64_t ids_max = IDS_A_BYTE_MAX * (int64_t)bytes + 1;
    int64_t count = 0;

    if (row->room - row->count < ids_max) {
        const int64_t room = 2 * row->room + ids_max;
        int32_t *ids = realloc(row->ids, (size_t)room * sizeof(*ids));
        if (ids == NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "a text of more than %" PRId64 " tokens", row->count);
        }
        row->ids = ids;
        row->room = room;
    }
    ERR_TRY(data_tokenizer_encode(tokenizer, text, bytes, row->ids + row->count, ids_max, &count));
    row->count += count;
    return ERR_OK;
}

static enum err make_blocks(const struct row *row, int64_t block, const char *path,
                            struct data_set **set_out)
{
    const int64_t count = (row->count - 1) / block;
    struct data_set *set = NULL;

    if (count < 1) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: %" PRId64 " tokens, expected at least a block of %" PRId64
                        " and one to predict",
                        path, row->count, block);
    }
    assert(row->ids != NULL);
    ERR_TRY(data_set_open_blank_text(count, count * block + 1, 1, &set));
    memcpy(set->tokens, row->ids, (size_t)(count * block + 1) * sizeof(int32_t));
    set->labels = set->tokens + 1;
    set->labels_per_sample = block;
    for (int64_t i = 1; i <= count; i++) {
        set->offsets[i] = i * block;
    }
    set->tokens_max = block;
    *set_out = set;
    return ERR_OK;
}

static enum err read_row(const struct data_tokenizer *tokenizer, const struct data_file *file,
                         struct row *row)
{
    const char *text = (const char *)file->bytes;

    for (size_t at = 0; at < file->count;) {
        const size_t end = data_plain_piece(text, file->count, at, PIECE_BYTES);
        ERR_TRY(add_piece(tokenizer, text + at, end - at, row));
        at = end;
    }
    return ERR_OK;
}

enum err data_plain_open(const struct data_set_source *source, struct data_set **set_out)
{
    struct data_file *file = NULL;
    struct row row = {0};

    assert(source != NULL && source->format == DATA_PLAIN && source->tokenizer != NULL);
    if (source->tokens_max < 2 || source->tokens_max > DATA_TOKENS_MAX) {
        return ERR_FAIL(ERR_INVALID, "blocks of %" PRId64 " tokens, expected 2 to %d",
                        source->tokens_max, DATA_TOKENS_MAX);
    }
    if (source->tokenizer->bpe == NULL) {
        return ERR_FAIL(ERR_CONFIG,
                        "plain text for a language model, and the tokenizer of BERT: expected "
                        "that of GPT-2, with vocab.json and merges.txt");
    }
    ERR_TRY(data_file_open(source->folder, source->part == DATA_TRAIN ? "train.txt" : "test.txt",
                           FILE_BYTES_MAX, "expected plain text", &file));
    enum err status = read_row(source->tokenizer, file, &row);
    if (status == ERR_OK) {
        status = make_blocks(&row, source->tokens_max, file->path, set_out);
    }
    if (status == ERR_OK) {
        (*set_out)->pad_id = source->tokenizer->pad_id;
        (*set_out)->shape.class_count = source->tokenizer->vocab_count;
    }
    free(row.ids);
    data_file_close(file);
    return status;
}
