#include "launch/report/report_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_LEAST = 256 };

static const char REPLACEMENT[] = "\xef\xbf\xbd"; /* U+FFFD */

void report_text_release(struct report_text *text)
{
    free(text->bytes);
    *text = (struct report_text){0};
}

enum err report_text_check(const struct report_text *text)
{
    return text->is_short ? ERR_FAIL(ERR_NO_MEMORY, "a report of more than %zu bytes", text->count)
                          : ERR_OK;
}

/* Room for `more` bytes and the NUL. */
static bool grow(struct report_text *text, size_t more)
{
    size_t room = text->room < ROOM_LEAST ? ROOM_LEAST : text->room;

    while (!text->is_short && room - text->count <= more) {
        text->is_short = room > SIZE_MAX / 2;
        room *= 2;
    }
    if (!text->is_short && room != text->room) {
        char *bytes = realloc(text->bytes, room);
        text->is_short = bytes == NULL;
        if (bytes != NULL) {
            text->bytes = bytes;
            text->room = room;
        }
    }
    return !text->is_short;
}

void report_text_bytes(struct report_text *text, const char *bytes, size_t count)
{
    if (grow(text, count)) {
        memcpy(text->bytes + text->count, bytes, count);
        text->count += count;
        text->bytes[text->count] = '\0';
    }
}

void report_text_add(struct report_text *text, const char *format, ...)
{
    va_list list, again;

    va_start(list, format);
    va_copy(again, list);
    const int length = vsnprintf(NULL, 0, format, list);
    if (length >= 0 && grow(text, (size_t)length)) {
        vsnprintf(text->bytes + text->count, (size_t)length + 1, format, again);
        text->count += (size_t)length;
    }
    va_end(again);
    va_end(list);
}

/* Bytes of the character that begins there; 0 if none does. Overlong forms, surrogates and what is
 * beyond U+10FFFF are none. */
static size_t character(const unsigned char *at)
{
    static const struct {
        unsigned char first, last, least, most; /* of the first byte, and of the second */
        size_t length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
        if (at[0] < forms[f].first || at[0] > forms[f].last) {
            continue;
        }
        if (forms[f].length > 1 && (at[1] < forms[f].least || at[1] > forms[f].most)) {
            return 0;
        }
        for (size_t i = 2; i < forms[f].length; i++) { /* a NUL is none either, and ends it */
            if ((at[i] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[f].length;
    }
    return 0;
}

void report_text_escaped(struct report_text *text, const char *words)
{
    const unsigned char *at = (const unsigned char *)words;

    while (*at != '\0') {
        const size_t length = character(at);
        const char *instead = NULL;
        switch (*at) {
        case '&': instead = "&amp;"; break;
        case '<': instead = "&lt;"; break;
        case '>': instead = "&gt;"; break;
        case '"': instead = "&quot;"; break;
        case '\'': instead = "&#39;"; break;
        case '\t':
        case '\n': break;
        default: instead = length == 0 || *at < 0x20 || *at == 0x7f ? REPLACEMENT : NULL; break;
        }
        if (instead != NULL) {
            report_text_bytes(text, instead, strlen(instead));
        } else {
            report_text_bytes(text, (const char *)at, length);
        }
        at += length == 0 ? 1 : length;
    }
}

void report_text_quoted(struct report_text *text, const char *words)
{
    const unsigned char *at = (const unsigned char *)words;

    report_text_bytes(text, "'", 1);
    while (*at != '\0') {
        const size_t length = character(at);
        if (*at == '\'') {
            report_text_bytes(text, "''", 2);
        } else if (length == 0 || *at < 0x20 || *at == 0x7f) {
            report_text_bytes(text, " ", 1);
        } else {
            report_text_bytes(text, (const char *)at, length);
        }
        at += length == 0 ? 1 : length;
    }
    report_text_bytes(text, "'", 1);
}

void report_text_number(struct report_text *text, double value)
{
    if (isfinite(value)) {
        report_text_add(text, " %.9g", value);
    } else {
        report_text_add(text, " NaN");
    }
}
