#include "data/data_bpe.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_bpe_pairs.h"
#include "data/data_bpe_priv.h"
#include "data/data_bpe_split.h"
#include "data/data_unicode.h"

/* Of a word that needs no memory of its own. */
enum { SHORT_BYTES = 128 };

/* A token of a word that is being merged; they are a list, as one may vanish. */
struct symbol {
    int32_t id; /* -1: it became part of the one before it */
    int32_t previous, next;
};

/* Two neighbours that could merge; may be out of date when its turn comes. */
struct candidate {
    struct data_bpe_merge merge;
    int32_t at; /* of the left one */
};

/*
 * One word. Every merge takes a candidate away and adds at most two, and there are fewer
 * merges than symbols, so twice as many candidates as symbols are enough.
 */
struct word {
    const struct data_bpe_pairs *pairs;
    struct symbol *symbols;
    struct candidate *heap; /* the first is the one to merge: least rank, then leftmost */
    int32_t symbol_count, heap_count;
};

static bool is_before(const struct candidate *a, const struct candidate *b)
{
    return a->merge.rank != b->merge.rank ? a->merge.rank < b->merge.rank : a->at < b->at;
}

static void push(struct word *word, struct candidate candidate)
{
    int32_t at = word->heap_count++;

    while (at > 0 && is_before(&candidate, &word->heap[(at - 1) / 2])) {
        word->heap[at] = word->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    word->heap[at] = candidate;
}

static struct candidate pop(struct word *word)
{
    const struct candidate top = word->heap[0];
    const struct candidate moved = word->heap[--word->heap_count];
    int32_t at = 0;

    for (int32_t child = 1; child < word->heap_count; child = 2 * at + 1) {
        if (child + 1 < word->heap_count && is_before(&word->heap[child + 1], &word->heap[child])) {
            child++;
        }
        if (!is_before(&word->heap[child], &moved)) {
            break;
        }
        word->heap[at] = word->heap[child];
        at = child;
    }
    word->heap[at] = moved;
    return top;
}

/* Makes the symbol at `at` and the one behind it a candidate, if they are a pair. */
static void consider(struct word *word, int32_t at)
{
    if (at < 0 || word->symbols[at].next < 0) {
        return;
    }
    const struct data_bpe_merge merge = data_bpe_pairs_find(
        word->pairs, word->symbols[at].id, word->symbols[word->symbols[at].next].id);
    if (merge.rank >= 0) {
        push(word, (struct candidate){.merge = merge, .at = at});
    }
}

static void merge_all(struct word *word)
{
    for (int32_t at = 0; at + 1 < word->symbol_count; at++) {
        consider(word, at);
    }
    while (word->heap_count > 0) {
        const struct candidate top = pop(word);
        struct symbol *left = &word->symbols[top.at];
        if (left->id < 0 || left->next < 0) {
            continue;
        }
        struct symbol *right = &word->symbols[left->next];
        const struct data_bpe_merge now = data_bpe_pairs_find(word->pairs, left->id, right->id);
        if (now.rank < 0 || now.id != top.merge.id) {
            continue; /* one of the two is not what it was */
        }
        left->id = now.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) {
            word->symbols[left->next].previous = top.at;
        }
        consider(word, left->previous);
        consider(word, top.at);
    }
}

/* The tokens of single bytes, U+FFFD for what is not UTF-8; returns how many. */
static int32_t put_symbols(const struct data_bpe *tokenizer, const char *text, size_t text_bytes,
                           struct symbol *symbols)
{
    int32_t count = 0;

    for (size_t at = 0; at < text_bytes;) {
        char bytes[DATA_UNICODE_BYTES_MAX];
        const int32_t code = data_unicode_next(text, text_bytes, &at);
        const size_t byte_count = data_unicode_put(code, bytes);
        for (size_t i = 0; i < byte_count; i++) {
            symbols[count] = (struct symbol){.id = tokenizer->byte_ids[(uint8_t)bytes[i]],
                                             .previous = count - 1,
                                             .next = count + 1};
            count++;
        }
    }
    symbols[count - 1].next = -1;
    return count;
}

static enum err encode_word(const struct data_bpe *tokenizer, const char *text, size_t text_bytes,
                            int32_t *ids, int64_t ids_max, int64_t *count)
{
    struct symbol short_symbols[3 * SHORT_BYTES]; /* a byte may become the three of U+FFFD */
    struct candidate short_heap[6 * SHORT_BYTES];
    struct word word = {.pairs = tokenizer->pairs, .symbols = short_symbols, .heap = short_heap};
    void *block = NULL;

    if (text_bytes > SHORT_BYTES) {
        const size_t most = 3 * text_bytes;
        if (most > INT32_MAX / 2 ||
            (block = malloc(most * (sizeof(struct symbol) + 2 * sizeof(struct candidate)))) ==
                NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "a word of %zu bytes", text_bytes);
        }
        word.symbols = block;
        word.heap = (struct candidate *)(void *)(word.symbols + most);
    }
    word.symbol_count = put_symbols(tokenizer, text, text_bytes, word.symbols);
    merge_all(&word);
    assert(word.symbol_count > 0);
    for (int32_t at = 0; at >= 0 && *count < ids_max; at = word.symbols[at].next) {
        ids[(*count)++] = word.symbols[at].id;
    }
    free(block);
    return ERR_OK;
}

/* Where the next <|endoftext|> begins, or text_bytes. */
static size_t find_end(const struct data_bpe *tokenizer, const char *text, size_t text_bytes,
                       size_t at)
{
    const size_t bytes = strlen(DATA_BPE_END);

    while (tokenizer->end_id >= 0 && text_bytes - at >= bytes) {
        const char *found = memchr(text + at, DATA_BPE_END[0], text_bytes - at);
        if (found == NULL) {
            break;
        }
        at = (size_t)(found - text);
        if (text_bytes - at >= bytes && memcmp(found, DATA_BPE_END, bytes) == 0) {
            return at;
        }
        at++;
    }
    return text_bytes;
}

enum err data_bpe_encode(const struct data_bpe *tokenizer, const char *text, size_t text_bytes,
                         int32_t *ids_out, int64_t ids_max, int64_t *count_out)
{
    int64_t count = 0;

    assert(ids_max >= 1);
    for (size_t at = 0; at < text_bytes && count < ids_max;) {
        const size_t end = find_end(tokenizer, text, text_bytes, at);
        while (at < end && count < ids_max) {
            const size_t word_end = data_bpe_split(text, end, at);
            ERR_TRY(encode_word(tokenizer, text + at, word_end - at, ids_out, ids_max, &count));
            at = word_end;
        }
        if (at == end && end < text_bytes && count < ids_max) {
            ids_out[count++] = tokenizer->end_id;
            at += strlen(DATA_BPE_END);
        }
    }
    *count_out = count;
    return ERR_OK;
}

size_t data_bpe_decode(const struct data_bpe *tokenizer, const int32_t *ids, int64_t count,
                       char *bytes_out, size_t bytes_max)
{
    size_t written = 0;

    for (int64_t i = 0; i < count; i++) {
        size_t bytes = 0;
        if (ids[i] < 0 || ids[i] >= data_vocab_count(tokenizer->vocab)) {
            continue;
        }
        const char *text = data_vocab_text(tokenizer->vocab, ids[i], &bytes);
        for (size_t at = 0; at < bytes;) {
            const size_t before = at;
            const int byte = data_bpe_byte(data_unicode_next(text, bytes, &at));
            if (byte >= 0) {
                const char as_char = (char)byte;
                if (written < bytes_max) {
                    bytes_out[written] = as_char;
                }
                written++;
                continue;
            }
            for (size_t j = before; j < at; j++, written++) {
                if (written < bytes_max) {
                    bytes_out[written] = text[j];
                }
            }
        }
    }
    return written;
}
