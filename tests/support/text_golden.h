/*
 * tests/support/text_golden.h - cases of texts, and the ids that another program gives them.
 * The file that includes this defines _POSIX_C_SOURCE 200809L and GOLDEN_FOLDER.
 */
#ifndef TESTS_SUPPORT_TEXT_GOLDEN_H
#define TESTS_SUPPORT_TEXT_GOLDEN_H

#include <check.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/temp_folder.h"
#include "tests/text/text_case.h"

/* Ids of a text into `ids`, at most `ids_max`; returns how many. */
typedef int64_t (*text_golden_encode_fn)(const void *tokenizer, const char *text, size_t bytes,
                                         int32_t *ids, int64_t ids_max);

static inline FILE *text_golden_open(const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/text/%s", GOLDEN_FOLDER, name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    return file;
}

/* Puts the golden file `name` into `folder` under the name `as`. */
static inline void text_golden_copy(const struct temp_folder *folder, const char *name,
                                    const char *as)
{
    FILE *file = text_golden_open(name);
    static char bytes[1 << 20];
    const size_t count = fread(bytes, 1, sizeof(bytes), file);

    ck_assert_uint_lt(count, sizeof(bytes));
    fclose(file);
    temp_folder_write(folder, as, bytes, count);
}

/* Every line of hard_cases.txt has the ids of the same line of `name`. Returns the lines. */
static inline int text_golden_check(const char *name, int64_t ids_max, text_golden_encode_fn encode,
                                    const void *tokenizer)
{
    FILE *cases = text_golden_open("hard_cases.txt");
    FILE *golden = text_golden_open(name);
    char *text = NULL, *expected = NULL;
    size_t text_room = 0, expected_room = 0;
    int lines = 0;

    for (;; lines++) {
        ssize_t bytes = getline(&text, &text_room, cases);
        const ssize_t expected_bytes = getline(&expected, &expected_room, golden);
        char found[8192] = "";
        int32_t ids[1024];
        ck_assert_int_eq(bytes > 0, expected_bytes > 0);
        if (bytes <= 0) {
            break;
        }
        bytes -= text[bytes - 1] == '\n';
        const size_t count = text_case_unescape(text, (size_t)bytes);
        const int64_t id_count = encode(tokenizer, text, count, ids, ids_max);
        for (int64_t i = 0; i < id_count; i++) {
            const size_t used = strlen(found);
            snprintf(found + used, sizeof(found) - used, "%s%" PRId32, i == 0 ? "" : " ", ids[i]);
        }
        expected[strcspn(expected, "\n")] = '\0';
        ck_assert_msg(strcmp(found, expected) == 0, "line %d of %s: found %s, expected %s",
                      lines + 1, name, found, expected);
    }
    free(text);
    free(expected);
    fclose(cases);
    fclose(golden);
    return lines;
}

#endif
