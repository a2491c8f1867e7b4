#include "data/data_vocab.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/hash.h"
#include "data/data_unicode.h"

/* Slots of the first table; always a power of two, at most half of them taken. */
enum { FIRST_SLOTS = 1024, FIRST_POOL_BYTES = 16384 };

struct data_vocab {
    char *pool; /* the tokens, one behind the other */
    size_t pool_room;
    size_t *starts; /* [slot_count / 2 + 1]: token i is [starts[i], starts[i + 1]) of the pool */
    int32_t *slots; /* [slot_count]: an id, or -1; open addressing, linear probing */
    size_t slot_count;
    int64_t count;
    size_t bytes_max;
};

enum err data_vocab_open(struct data_vocab **vocab_out)
{
    struct data_vocab *vocab = calloc(1, sizeof(*vocab));

    assert(vocab_out != NULL);
    if (vocab == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a vocabulary");
    }
    *vocab_out = vocab;
    return ERR_OK;
}

void data_vocab_close(struct data_vocab *vocab)
{
    if (vocab == NULL) {
        return;
    }
    free(vocab->slots);
    free(vocab->starts);
    free(vocab->pool);
    free(vocab);
}

const char *data_vocab_text(const struct data_vocab *vocab, int32_t id, size_t *bytes_out)
{
    assert(id >= 0);
    assert(id < vocab->count);
    *bytes_out = vocab->starts[id + 1] - vocab->starts[id];
    return vocab->pool + vocab->starts[id];
}

/* The slot that holds the token, or the free one where it belongs. */
static size_t find_slot(const struct data_vocab *vocab, const char *text, size_t bytes)
{
    const size_t mask = vocab->slot_count - 1;
    size_t at = (size_t)hash_bytes(text, bytes).low & mask;

    while (vocab->slots[at] >= 0) {
        size_t other_bytes = 0;
        const char *other = data_vocab_text(vocab, vocab->slots[at], &other_bytes);
        if (other_bytes == bytes && memcmp(other, text, bytes) == 0) {
            break;
        }
        at = (at + 1) & mask;
    }
    return at;
}

static enum err no_room(int64_t count)
{
    return ERR_FAIL(ERR_NO_MEMORY, "a vocabulary of %" PRId64 " tokens", count);
}

/* Twice the slots, or the first ones, and all tokens in them anew. */
static enum err grow_table(struct data_vocab *vocab)
{
    const size_t slot_count = vocab->slot_count == 0 ? FIRST_SLOTS : 2 * vocab->slot_count;
    int32_t *slots = malloc(slot_count * sizeof(*slots));
    size_t *starts = realloc(vocab->starts, (slot_count / 2 + 1) * sizeof(*starts));

    if (starts != NULL) {
        starts[0] = 0;
        vocab->starts = starts;
    }
    if (slots == NULL || starts == NULL) {
        free(slots);
        return no_room(vocab->count + 1);
    }
    free(vocab->slots);
    vocab->slots = slots;
    vocab->slot_count = slot_count;
    memset(slots, 0xFF, slot_count * sizeof(*slots)); /* every one -1 */
    for (int32_t id = 0; id < vocab->count; id++) {
        size_t bytes = 0;
        const char *text = data_vocab_text(vocab, id, &bytes);
        slots[find_slot(vocab, text, bytes)] = id;
    }
    return ERR_OK;
}

enum err data_vocab_add(struct data_vocab *vocab, const char *text, size_t bytes)
{
    const size_t end = vocab->count == 0 ? 0 : vocab->starts[vocab->count];

    if (vocab->count == DATA_VOCAB_TOKENS_MAX || bytes > DATA_VOCAB_FILE_BYTES_MAX) {
        return no_room(vocab->count + 1);
    }
    if ((size_t)vocab->count == vocab->slot_count / 2) {
        ERR_TRY(grow_table(vocab));
    }
    if (vocab->pool_room - end < bytes || vocab->pool == NULL) {
        const size_t room = 2 * vocab->pool_room + bytes + FIRST_POOL_BYTES;
        char *pool = realloc(vocab->pool, room);
        if (pool == NULL) {
            return no_room(vocab->count + 1);
        }
        vocab->pool = pool;
        vocab->pool_room = room;
    }
    const size_t slot = find_slot(vocab, text, bytes);
    memcpy(vocab->pool + end, text, bytes);
    vocab->slots[slot] = (int32_t)vocab->count;
    vocab->count++;
    vocab->starts[vocab->count] = end + bytes;
    vocab->bytes_max = bytes > vocab->bytes_max ? bytes : vocab->bytes_max;
    return ERR_OK;
}

/* U+FFFD itself, written out, is a character like others. */
static bool is_utf8(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const size_t before = at;
        if (data_unicode_next(text, bytes, &at) == DATA_UNICODE_REPLACEMENT &&
            (at - before != 3 || memcmp(text + before, "\xEF\xBF\xBD", 3) != 0)) {
            return false;
        }
    }
    return true;
}

enum err data_vocab_add_lines(struct data_vocab *vocab, const char *lines, size_t count,
                              const char *what)
{
    int64_t line = 1;

    if (count == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: empty, expected a token a line", what);
    }
    for (size_t at = 0; at < count; line++) {
        const char *text = lines + at;
        const char *end = memchr(text, '\n', count - at);
        size_t bytes = end == NULL ? count - at : (size_t)(end - text);
        at += bytes + 1;
        if (bytes > 0 && text[bytes - 1] == '\r') {
            bytes--;
        }
        if (memchr(text, '\0', bytes) != NULL || !is_utf8(text, bytes)) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: line %" PRId64 ": found %s, expected a token in UTF-8", what, line,
                            memchr(text, '\0', bytes) != NULL ? "a NUL byte"
                                                              : "bytes that are not UTF-8");
        }
        ERR_TRY_AS(data_vocab_add(vocab, text, bytes), "%s", what);
    }
    return ERR_OK;
}

/* The keys of the object by their ids; NULL where an id has none yet. */
static enum err collect_keys(const struct jdoc *object, const char *what, int64_t count,
                             const char **keys)
{
    for (void *member = jdoc_first(object); member != NULL; member = jdoc_next(object, member)) {
        const struct jdoc *value = jdoc_member_value(member);
        const char *key = jdoc_member_key(member);
        if (!jdoc_is_int(value)) {
            return ERR_FAIL(ERR_CORRUPT, "%s: token \"%.40s\": the id is no integer", what, key);
        }
        const int64_t id = jdoc_as_int(value);
        if (id < 0 || id >= count) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: token \"%.40s\": id %" PRId64 ", expected 0 to %" PRId64
                            ", as there are %" PRId64 " tokens",
                            what, key, id, count - 1, count);
        }
        if (keys[id] != NULL) {
            return ERR_FAIL(ERR_CORRUPT, "%s: tokens \"%.40s\" and \"%.40s\" both have id %" PRId64,
                            what, keys[id], key, id);
        }
        keys[id] = key;
    }
    return ERR_OK;
}

enum err data_vocab_add_object(struct data_vocab *vocab, const struct jdoc *object,
                               const char *what)
{
    const int64_t count = (int64_t)jdoc_count(object);

    assert(vocab->count == 0);
    if (!jdoc_is_object(object) || count == 0 || count > DATA_VOCAB_TOKENS_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: expected an object of 1 to %d tokens and their ids", what,
                        DATA_VOCAB_TOKENS_MAX);
    }
    const char **keys = calloc((size_t)count, sizeof(*keys));
    if (keys == NULL) {
        return no_room(count);
    }
    enum err status = collect_keys(object, what, count, keys);
    for (int64_t id = 0; id < count && status == ERR_OK; id++) {
        assert(keys[id] != NULL); /* as many keys as ids, and no id twice */
        status = data_vocab_add(vocab, keys[id], strlen(keys[id]));
    }
    free(keys);
    return status;
}

int64_t data_vocab_count(const struct data_vocab *vocab)
{
    return vocab->count;
}

size_t data_vocab_bytes_max(const struct data_vocab *vocab)
{
    return vocab->bytes_max;
}

int32_t data_vocab_find(const struct data_vocab *vocab, const char *text, size_t bytes)
{
    if (vocab->slot_count == 0 || bytes > vocab->bytes_max) {
        return -1;
    }
    return vocab->slots[find_slot(vocab, text, bytes)];
}
