/*
 * Fuzz target: data_set_open() of a folder of texts whose files are the input.
 *
 * Input: files, parted by a byte FF; the first byte of each says which it is: a train.tsv,
 * b train.jsonl, c labels.txt. Without the byte, all is a train.tsv.
 *
 * Property: it either refuses with a message of one line, or texts, labels and names are
 * within what the set says of itself.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "data/data_set.h"
#include "data/data_tokenizer.h"
#include "tests/support/fuzz_folder.h"

enum { TOKENS_MAX = 9 };

static const char *const names[] = {"train.tsv", "train.jsonl", "labels.txt"};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void write_file(const char *name, const void *bytes, size_t count)
{
    char path[FILE_PATH_BYTES_MAX];

    fuzz_folder_path(path, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        abort();
    }
}

static void write_files(const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        const uint8_t *end = memchr(bytes + at, 0xFF, count - at);
        const size_t part = end == NULL ? count - at : (size_t)(end - (bytes + at));
        const int is_named = part > 0 && bytes[at] >= 'a' && bytes[at] <= 'c';
        write_file(names[is_named ? bytes[at] - 'a' : 0], bytes + at + is_named,
                   part - (size_t)is_named);
        at += part + 1;
    }
}

static void check(const struct data_set *set)
{
    int64_t longest = 0;

    for (int64_t i = 0; i < set->shape.count; i++) {
        const int64_t length = data_set_length(set, i);
        longest = length > longest ? length : longest;
        if (length < 2 || length > TOKENS_MAX || set->labels[i] < 0 ||
            set->labels[i] >= set->shape.class_count) {
            abort();
        }
        for (int64_t j = set->offsets[i]; j < set->offsets[i + 1]; j++) {
            if (set->tokens[j] < 0 || set->tokens[j] > 6) {
                abort();
            }
        }
    }
    for (int64_t i = 0; i < set->shape.class_count; i++) {
        if (set->class_names[i][0] == '\0') {
            abort();
        }
    }
    if (longest != set->tokens_max || set->offsets[0] != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##c\n";
    static struct data_tokenizer *tokenizer;
    struct data_set *set = NULL;
    char message[8192];
    char path[FILE_PATH_BYTES_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fuzz_folder_path(path, names[i]);
        unlink(path);
    }
    if (tokenizer == NULL) {
        write_file("vocab.txt", vocab, sizeof(vocab) - 1);
        if (data_tokenizer_open(fuzz_folder, &tokenizer) != ERR_OK) {
            abort();
        }
    }
    write_files(bytes, count);
    const struct data_set_source source = {.format = DATA_TEXT,
                                           .folder = fuzz_folder,
                                           .part = DATA_TRAIN,
                                           .tokenizer = tokenizer,
                                           .tokens_max = TOKENS_MAX};
    if (data_set_open(&source, &set) != ERR_OK) {
        err_text(message, sizeof(message));
        if (message[0] == '\0' || strchr(message, '\n') != NULL) {
            abort();
        }
        err_clear();
        return 0;
    }
    check(set);
    data_set_close(set);
    return 0;
}
