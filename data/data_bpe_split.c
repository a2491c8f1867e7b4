#include "data/data_bpe_split.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "data/data_unicode.h"

enum kind { LETTER, NUMBER, SPACE, OTHER };

static enum kind kind_of(int32_t code)
{
    if (data_unicode_is_space(code)) {
        return SPACE;
    }
    if (data_unicode_is_letter(code)) {
        return LETTER;
    }
    return data_unicode_is_number(code) ? NUMBER : OTHER;
}

/* The end of the contraction at `at`, or `at` if there is none. */
static size_t end_contraction(const char *text, size_t text_bytes, size_t at)
{
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};

    for (size_t i = 0; i < sizeof(contractions) / sizeof(contractions[0]); i++) {
        const size_t bytes = strlen(contractions[i]);
        if (bytes <= text_bytes - at && memcmp(text + at, contractions[i], bytes) == 0) {
            return at + bytes;
        }
    }
    return at;
}

/* The end of the characters of one kind from `at` on, and where the last of them begins. */
static size_t end_run(const char *text, size_t text_bytes, size_t at, enum kind kind,
                      size_t *last_out)
{
    for (size_t next = at; at < text_bytes; at = next) {
        if (kind_of(data_unicode_next(text, text_bytes, &next)) != kind) {
            break;
        }
        *last_out = at;
    }
    return at;
}

size_t data_bpe_split(const char *text, size_t text_bytes, size_t at)
{
    assert(at < text_bytes);
    size_t end = end_contraction(text, text_bytes, at);
    size_t next = at;
    size_t last = at;

    if (end > at) {
        return end;
    }
    enum kind kind = kind_of(data_unicode_next(text, text_bytes, &next));
    if (text[at] == ' ' && next < text_bytes) {
        size_t after = next;
        kind = kind_of(data_unicode_next(text, text_bytes, &after));
        next = kind == SPACE ? next : after;
    }
    end = end_run(text, text_bytes, next, kind, &last);
    if (kind == SPACE && end < text_bytes && last > at) {
        return last; /* the look-ahead gives one character back to the word that follows */
    }
    return end;
}
