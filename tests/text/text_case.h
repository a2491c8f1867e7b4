/* tests/text/text_case.h - a text as it stands in a file of cases: any byte may be \xHH. */
#ifndef TESTS_TEXT_TEXT_CASE_H
#define TESTS_TEXT_TEXT_CASE_H

#include <stdlib.h>
#include <string.h>

/* In place; returns the bytes that are left. What is no \xHH stays. */
static inline size_t text_case_unescape(char *text, size_t bytes)
{
    size_t to = 0;

    for (size_t from = 0; from < bytes; to++) {
        if (bytes - from >= 4 && text[from] == '\\' && text[from + 1] == 'x') {
            const char digits[3] = {text[from + 2], text[from + 3], '\0'};
            char *end = NULL;
            const long value = strtol(digits, &end, 16);
            if (end == digits + 2) {
                text[to] = (char)value;
                from += 4;
                continue;
            }
        }
        text[to] = text[from++];
    }
    return to;
}

#endif
