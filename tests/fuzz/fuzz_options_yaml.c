/*
 * Fuzz target: options_load() of arbitrary bytes as a YAML file.
 *
 * Property: it either refuses with a message of one line, or the settings it gave, written
 * by options_text() and loaded again, are the same settings.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "launch/options.h"
#include "launch/options_schema.h"
#include "tests/support/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void write_file(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        abort();
    }
}

static int same_list(const void *a, const void *b, int a_count, int b_count, size_t item_bytes)
{
    return a_count == b_count && memcmp(a, b, (size_t)a_count * item_bytes) == 0;
}

static void check_same(const struct options *a, const struct options *b)
{
    int same = 1;

#define SAME_I64(name) same = same && a->name == b->name;
#define SAME_F64(name) same = same && memcmp(&a->name, &b->name, sizeof(a->name)) == 0;
#define SAME_BOOL SAME_I64
#define SAME_CHOICE SAME_I64
#define SAME_I64_AUTO SAME_I64
#define SAME_TEXT(name) same = same && strcmp(a->name, b->name) == 0;
#define SAME_LIST(name)                                                                            \
    same = same && same_list(a->name.values, b->name.values, a->name.count, b->name.count,         \
                             sizeof(a->name.values[0]));
#define SAME_I64S SAME_LIST
#define SAME_F64S SAME_LIST
#define SECTION(title)
#define OPTION(type, name, ...) SAME_##type(name)
#include "launch/options.def"
#undef OPTION
#undef SECTION
    if (!same) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct options_run *first = NULL, *second = NULL;
    char path[FILE_PATH_BYTES_MAX];
    char message[2048];
    char *text = NULL;

    fuzz_folder_path(path, "run.yaml");
    write_file(path, bytes, count);
    if (options_load(path, NULL, 0, &first) != ERR_OK) {
        err_text(message, sizeof(message));
        if (message[0] == '\0' || strchr(message, '\n') != NULL) {
            abort();
        }
        err_clear();
        return 0;
    }
    if (options_text(first, &text) != ERR_OK) {
        abort();
    }
    write_file(path, text, strlen(text));
    if (options_load(path, NULL, 0, &second) != ERR_OK ||
        first->stage_count != second->stage_count) {
        abort();
    }
    for (int s = 0; s < first->stage_count; s++) {
        if (first->stages[s].kind != second->stages[s].kind) {
            abort();
        }
        check_same(&first->stages[s].options, &second->stages[s].options);
    }
    options_close(second);
    free(text);
    options_close(first);
    return 0;
}
