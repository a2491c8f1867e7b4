#include "data/data_wordpiece.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_unicode.h"
#include "data/data_wordpiece_priv.h"

enum {
    PREFIX_BYTES = 2, /* of "##", which stands before a piece that goes on */
    WORD_BYTES_MAX = DATA_WORDPIECE_CHARACTERS_MAX * DATA_UNICODE_BYTES_MAX,

    /* More marks than this on one character make a word of more than 100 characters anyway. */
    MARKS_MAX = DATA_WORDPIECE_CHARACTERS_MAX + 1,
};

/* Text on its way to ids; a word is collected until something parts it from the next. */
struct writer {
    const struct data_wordpiece *tokenizer;
    int32_t *ids;
    int64_t count;
    int64_t room; /* of `ids`, without the place of [SEP] */

    /* With room for a "##" before it; [0, word_bytes) after that. */
    char word[PREFIX_BYTES + WORD_BYTES_MAX];
    size_t word_bytes;
    int word_characters; /* beyond DATA_WORDPIECE_CHARACTERS_MAX the rest is only counted */

    /* Marks (no accents, those are dropped) since the last base character, by class. */
    int32_t marks[MARKS_MAX];
    int mark_count;
};

static void put_id(struct writer *writer, int32_t id)
{
    if (writer->count < writer->room) {
        writer->ids[writer->count++] = id;
    }
}

/* The longest token at `start` of the word, where it ends, or -1; writes over what is before `start`. */
static int32_t find_piece(struct writer *writer, size_t start, size_t *end_out)
{
    const struct data_vocab *vocab = writer->tokenizer->vocab;
    const size_t bytes_max = data_vocab_bytes_max(vocab);
    const size_t prefix_bytes = start == 0 ? 0 : PREFIX_BYTES;
    const char *word = writer->word + PREFIX_BYTES;
    char *piece = writer->word + PREFIX_BYTES + start - prefix_bytes;
    size_t end = writer->word_bytes;

    memset(piece, '#', prefix_bytes);
    if (end - start + prefix_bytes > bytes_max) {
        end = bytes_max < prefix_bytes ? start : start + bytes_max - prefix_bytes;
    }
    for (; end > start; end--) {
        const bool is_whole = end == writer->word_bytes || ((uint8_t)word[end] & 0xC0) != 0x80;
        if (is_whole) {
            const int32_t id = data_vocab_find(vocab, piece, end - start + prefix_bytes);
            if (id >= 0) {
                *end_out = end;
                return id;
            }
        }
    }
    return -1;
}

static void end_word(struct writer *writer)
{
    int32_t pieces[DATA_WORDPIECE_CHARACTERS_MAX];
    int count = 0;
    bool is_known = writer->word_characters <= DATA_WORDPIECE_CHARACTERS_MAX;

    for (size_t at = 0; at < writer->word_bytes && is_known;) {
        pieces[count] = find_piece(writer, at, &at);
        is_known = pieces[count++] >= 0;
    }
    if (!is_known) {
        count = 1;
        pieces[0] = writer->tokenizer->special_ids[DATA_WORDPIECE_UNK];
    }
    for (int i = 0; i < count; i++) {
        put_id(writer, pieces[i]);
    }
    writer->word_bytes = 0;
    writer->word_characters = 0;
}

static void add_to_word(struct writer *writer, int32_t code)
{
    if (writer->word_characters < DATA_WORDPIECE_CHARACTERS_MAX) {
        writer->word_bytes +=
            data_unicode_put(code, writer->word + PREFIX_BYTES + writer->word_bytes);
    }
    if (writer->word_characters <= DATA_WORDPIECE_CHARACTERS_MAX) {
        writer->word_characters++;
    }
}

static void put_clean(struct writer *writer, int32_t code)
{
    if (data_unicode_is_space(code)) {
        end_word(writer);
    } else if (data_unicode_is_punctuation(code)) {
        end_word(writer);
        add_to_word(writer, code);
        end_word(writer);
    } else {
        add_to_word(writer, code);
    }
}

static void put_cased(struct writer *writer, int32_t code)
{
    int32_t lower[DATA_UNICODE_LOWER_MAX] = {code};
    const int count = writer->tokenizer->lowers ? data_unicode_lower(code, lower) : 1;

    for (int i = 0; i < count; i++) {
        put_clean(writer, lower[i]);
    }
}

static void put_marks(struct writer *writer)
{
    for (int i = 0; i < writer->mark_count; i++) {
        put_cased(writer, writer->marks[i]);
    }
    writer->mark_count = 0;
}

/* One code point of a canonical decomposition; marks wait until they can be put in order. */
static void put_decomposed(struct writer *writer, int32_t code)
{
    const int class = data_unicode_combining_class(code);

    if (class == 0) {
        put_marks(writer);
    }
    if (data_unicode_is_mark(code) || writer->mark_count == MARKS_MAX) {
        return;
    }
    if (class == 0) {
        put_cased(writer, code);
        return;
    }
    int at = writer->mark_count++;
    while (at > 0 && data_unicode_combining_class(writer->marks[at - 1]) > class) {
        writer->marks[at] = writer->marks[at - 1];
        at--;
    }
    writer->marks[at] = code;
}

static void put_code(struct writer *writer, int32_t code)
{
    int32_t parts[DATA_UNICODE_DECOMPOSED_MAX];

    if (!writer->tokenizer->strips_accents) {
        put_cased(writer, code);
        return;
    }
    const int count = data_unicode_decompose(code, parts);
    for (int i = 0; i < count; i++) {
        put_decomposed(writer, parts[i]);
    }
}

/* The blocks that BERT calls Chinese; the gap from 2B820 to 2B91F is Hugging Face's. */
static bool is_ideograph(int32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B81F) ||
           (code >= 0x2B920 && code <= 0x2CEAF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x2F800 && code <= 0x2FA1F);
}

static void put_raw(struct writer *writer, int32_t code)
{
    const bool is_blank =
        code == '\t' || code == '\n' || code == '\r' || data_unicode_is_space(code);

    if (code == 0 || code == DATA_UNICODE_REPLACEMENT ||
        (data_unicode_is_control(code) && code != '\t' && code != '\n' && code != '\r')) {
        return;
    }
    if (is_blank) {
        put_code(writer, ' ');
    } else if (writer->tokenizer->splits_ideographs && is_ideograph(code)) {
        put_code(writer, ' ');
        put_code(writer, code);
        put_code(writer, ' ');
    } else {
        put_code(writer, code);
    }
}

/* Which special token is written at the start of the bytes, or -1. */
static int find_special(const struct data_wordpiece *tokenizer, const char *text, size_t text_bytes,
                        size_t *bytes_out)
{
    for (int i = 0; i < DATA_WORDPIECE_SPECIALS && text[0] == '['; i++) {
        const size_t bytes = strlen(data_wordpiece_special_names[i]);
        if (tokenizer->special_ids[i] >= 0 && bytes <= text_bytes &&
            memcmp(text, data_wordpiece_special_names[i], bytes) == 0) {
            *bytes_out = bytes;
            return i;
        }
    }
    return -1;
}

int64_t data_wordpiece_encode(const struct data_wordpiece *tokenizer, const char *text,
                              size_t text_bytes, int32_t *ids_out, int64_t ids_max)
{
    struct writer writer = {.tokenizer = tokenizer, .ids = ids_out, .room = ids_max - 1};

    assert(ids_max >= DATA_WORDPIECE_IDS_MIN);
    put_id(&writer, tokenizer->special_ids[DATA_WORDPIECE_CLS]);
    for (size_t at = 0; at < text_bytes && writer.count < writer.room;) {
        size_t bytes = 0;
        const int special = find_special(tokenizer, text + at, text_bytes - at, &bytes);
        if (special < 0) {
            put_raw(&writer, data_unicode_next(text, text_bytes, &at));
            continue;
        }
        put_marks(&writer);
        end_word(&writer);
        put_id(&writer, tokenizer->special_ids[special]);
        at += bytes;
    }
    put_marks(&writer);
    end_word(&writer);
    ids_out[writer.count++] = tokenizer->special_ids[DATA_WORDPIECE_SEP];
    return writer.count;
}
