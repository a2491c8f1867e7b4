/*
 * Fuzz target: data_bpe_encode() of arbitrary bytes, by merges that the input chooses.
 *
 * Input: a byte n, then n pairs of bytes, each of which adds the merge of two tokens that are
 * there, then the text.
 *
 * Property: decoding gives the text back, with U+FFFD for what is not UTF-8; with less room,
 * the ids are the first of these.
 */
#include <stdlib.h>
#include <string.h>

#include "data/data_bpe.h"
#include "data/data_bpe_pairs.h"
#include "data/data_bpe_priv.h"
#include "data/data_unicode.h"

enum { TEXT_BYTES_MAX = 512, IDS_MAX = 3 * TEXT_BYTES_MAX };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void add_bytes(struct data_bpe *tokenizer)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[DATA_UNICODE_BYTES_MAX];
        const size_t count = data_unicode_put(data_bpe_character(byte), text);
        if (data_bpe_byte(data_bpe_character(byte)) != byte ||
            data_vocab_add(tokenizer->vocab, text, count) != ERR_OK) {
            abort();
        }
        tokenizer->byte_ids[byte] = byte;
    }
}

static void add_merge(struct data_bpe *tokenizer, int32_t left, int32_t right, int32_t rank)
{
    char joined[1 << 12];
    size_t left_bytes = 0, right_bytes = 0;
    const char *text = data_vocab_text(tokenizer->vocab, left, &left_bytes);

    if (left_bytes > sizeof(joined) / 2) {
        return;
    }
    memcpy(joined, text, left_bytes);
    text = data_vocab_text(tokenizer->vocab, right, &right_bytes);
    if (right_bytes > sizeof(joined) / 2) {
        return;
    }
    memcpy(joined + left_bytes, text, right_bytes);
    int32_t id = data_vocab_find(tokenizer->vocab, joined, left_bytes + right_bytes);
    if (id < 0) {
        id = (int32_t)data_vocab_count(tokenizer->vocab);
        if (data_vocab_add(tokenizer->vocab, joined, left_bytes + right_bytes) != ERR_OK) {
            abort();
        }
    }
    data_bpe_pairs_add(tokenizer->pairs, left, right, (struct data_bpe_merge){rank, id});
}

static void check(const struct data_bpe *tokenizer, const char *text, size_t text_bytes)
{
    static char expected[IDS_MAX], found[IDS_MAX];
    static int32_t all[IDS_MAX], some[IDS_MAX];
    int64_t all_count = 0, some_count = 0;
    size_t expected_bytes = 0;

    for (size_t at = 0; at < text_bytes;) {
        expected_bytes +=
            data_unicode_put(data_unicode_next(text, text_bytes, &at), expected + expected_bytes);
    }
    if (data_bpe_encode(tokenizer, text, text_bytes, all, IDS_MAX, &all_count) != ERR_OK ||
        data_bpe_decode(tokenizer, all, all_count, found, IDS_MAX) != expected_bytes ||
        memcmp(found, expected, expected_bytes) != 0) {
        abort();
    }
    for (int64_t room = 1; room < all_count; room += room / 4 + 1) {
        if (data_bpe_encode(tokenizer, text, text_bytes, some, room, &some_count) != ERR_OK ||
            some_count != room || memcmp(some, all, (size_t)room * sizeof(*all)) != 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct data_bpe tokenizer = {.end_id = 256};

    if (count == 0 || count < 1 + 2 * (size_t)bytes[0]) {
        return 0;
    }
    if (data_vocab_open(&tokenizer.vocab) != ERR_OK ||
        data_bpe_pairs_open(bytes[0], &tokenizer.pairs) != ERR_OK) {
        abort();
    }
    add_bytes(&tokenizer);
    if (data_vocab_add(tokenizer.vocab, DATA_BPE_END, strlen(DATA_BPE_END)) != ERR_OK) {
        abort();
    }
    for (int i = 0; i < bytes[0]; i++) {
        /* The lower half of a byte's values is itself, the upper one a token that was merged. */
        const int64_t token_count = data_vocab_count(tokenizer.vocab);
        int32_t pair[2];
        for (int side = 0; side < 2; side++) {
            const uint8_t byte = bytes[1 + 2 * i + side];
            const int32_t recent = (int32_t)(token_count - 1 - (byte & 0x7F));
            pair[side] = byte < 0x80 || recent <= 256 ? byte : recent;
        }
        add_merge(&tokenizer, pair[0], pair[1], i);
    }
    const size_t text_at = 1 + 2 * (size_t)bytes[0];
    const size_t left = count - text_at;
    check(&tokenizer, (const char *)bytes + text_at, left < TEXT_BYTES_MAX ? left : TEXT_BYTES_MAX);
    data_bpe_pairs_close(tokenizer.pairs);
    data_vocab_close(tokenizer.vocab);
    return 0;
}
