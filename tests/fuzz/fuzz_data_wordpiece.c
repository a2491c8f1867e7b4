/*
 * Fuzz target: data_wordpiece_encode() of arbitrary bytes, by an arbitrary vocabulary.
 *
 * Input: a byte of switches, the lines of a vocabulary up to a byte FE, the text.
 *
 * Property: the ids are [CLS], ids of the vocabulary, [SEP]; and with less room they are the
 * first of these, then [SEP].
 */
#include <stdlib.h>
#include <string.h>

#include "data/data_wordpiece.h"

enum { IDS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void check(const struct data_wordpiece *tokenizer, const char *text, size_t text_bytes)
{
    int32_t all[IDS_MAX];
    int32_t some[IDS_MAX];
    const int64_t all_count = data_wordpiece_encode(tokenizer, text, text_bytes, all, IDS_MAX);

    if (all_count < 2 || all_count > IDS_MAX || all[0] != 2 || all[all_count - 1] != 3) {
        abort();
    }
    for (int64_t i = 0; i < all_count; i++) {
        if (all[i] < 0 || all[i] >= data_vocab_count(tokenizer->vocab)) {
            abort();
        }
    }
    for (int64_t room = 2; room < all_count; room++) {
        const int64_t some_count = data_wordpiece_encode(tokenizer, text, text_bytes, some, room);
        if (some_count != room || some[room - 1] != 3 ||
            memcmp(some, all, (size_t)(room - 1) * sizeof(*all)) != 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char specials[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    struct data_wordpiece tokenizer = {.special_ids = {0, 1, 2, 3, 4}};

    if (count == 0 || data_vocab_open(&tokenizer.vocab) != ERR_OK ||
        data_vocab_add_lines(tokenizer.vocab, specials, sizeof(specials) - 1, "s") != ERR_OK) {
        return 0;
    }
    tokenizer.lowers = (bytes[0] & 1) != 0;
    tokenizer.strips_accents = (bytes[0] & 2) != 0;
    tokenizer.splits_ideographs = (bytes[0] & 4) != 0;
    const char *vocab = (const char *)bytes + 1;
    const char *end = memchr(vocab, 0xFE, count - 1);
    const size_t vocab_bytes = end == NULL ? 0 : (size_t)(end - vocab);
    if (vocab_bytes > 0 &&
        data_vocab_add_lines(tokenizer.vocab, vocab, vocab_bytes, "vocab") != ERR_OK) {
        err_clear();
    }
    const size_t skipped = end == NULL ? 1 : vocab_bytes + 2;
    check(&tokenizer, (const char *)bytes + skipped, count - skipped);
    data_vocab_close(tokenizer.vocab);
    return 0;
}
