/*
 * text_ids FOLDER IDS_MAX: the ids of every line of standard input by the tokenizer of FOLDER,
 * a line each, for comparison with other programs. In a line \xHH is a byte; so is what else
 * is there.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_tokenizer.h"
#include "tests/text/text_case.h"

enum { IDS_MAX = 16384 };

static int32_t ids[IDS_MAX];

static int fail(void)
{
    char text[1024];

    err_text(text, sizeof(text));
    fprintf(stderr, "text_ids: %s\n", text);
    return 1;
}

int main(int argc, char **argv)
{
    struct data_tokenizer *tokenizer = NULL;
    char *line = NULL;
    size_t room = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: text_ids FOLDER IDS_MAX\n");
        return 2;
    }
    const int64_t ids_max = strtoll(argv[2], NULL, 10);
    if (ids_max < DATA_WORDPIECE_IDS_MIN || ids_max > IDS_MAX) {
        fprintf(stderr, "text_ids: expected IDS_MAX of %d to %d\n", DATA_WORDPIECE_IDS_MIN,
                IDS_MAX);
        return 2;
    }
    if (data_tokenizer_open(argv[1], &tokenizer) != ERR_OK) {
        return fail();
    }
    for (ssize_t bytes = getline(&line, &room, stdin); bytes > 0;
         bytes = getline(&line, &room, stdin)) {
        bytes -= line[bytes - 1] == '\n';
        const size_t count = text_case_unescape(line, (size_t)bytes);
        int64_t id_count = 0;
        if (data_tokenizer_encode(tokenizer, line, count, ids, ids_max, &id_count) != ERR_OK) {
            return fail();
        }
        for (int64_t i = 0; i < id_count; i++) {
            printf("%s%" PRId32, i == 0 ? "" : " ", ids[i]);
        }
        putchar('\n');
    }
    data_tokenizer_close(tokenizer);
    free(line);
    return 0;
}
