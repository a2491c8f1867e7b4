/*
 * Fuzz target: data_set_open() of a folder of texts whose files are the input.
 *
 * Input: files, parted by a byte FF; the first byte of each says which it is: a train.tsv,
 * b train.jsonl, c labels.txt. Without the byte, all is a train.tsv.
 *
 * Property: it either refuses with a message of one line, or texts, labels and names are
 * within what the set says of itself. And each file by itself, as texts of every kind that may lack labels, is
 * read to its end, or refused likewise, line by line.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "data/data_records.h"
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

static void expect_message(void)
{
    char message[8192];

    err_text(message, sizeof(message));
    if (message[0] == '\0' || strchr(message, '\n') != NULL) {
        abort();
    }
    err_clear();
}

/* Every line is one record or one refusal, in their order. */
static void read_alone(const char *name, enum data_records_kind kind)
{
    struct data_records *records = NULL;
    struct data_record record = {0};
    char path[FILE_PATH_BYTES_MAX];
    size_t bytes = 0;
    bool is_there = true;

    fuzz_folder_path(path, name);
    if (data_records_open_file(path, kind, false, &records) != ERR_OK) {
        expect_message();
        return;
    }
    for (int64_t last = 0; is_there;) {
        if (data_records_next(records, &record, &is_there) != ERR_OK) {
            expect_message();
            continue;
        }
        if (is_there && (record.line <= last || (record.has_id && kind != DATA_RECORDS_JSONL) ||
                         (record.has_label && kind == DATA_RECORDS_LINES))) {
            abort();
        }
        last = record.line;
        for (size_t i = 0; is_there && i < record.text_bytes; i++) {
            bytes += record.text[i] == '\n' && kind != DATA_RECORDS_JSONL; /* reads all of it */
        }
    }
    if (bytes > 0) {
        abort();
    }
    data_records_close(records);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##c\n";
    static struct data_tokenizer *tokenizer;
    struct data_set *set = NULL;
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
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        read_alone(names[i], DATA_RECORDS_LINES);
        read_alone(names[i], DATA_RECORDS_TSV);
        read_alone(names[i], DATA_RECORDS_JSONL);
    }
    const struct data_set_source source = {.format = DATA_TEXT,
                                           .folder = fuzz_folder,
                                           .part = DATA_TRAIN,
                                           .tokenizer = tokenizer,
                                           .tokens_max = TOKENS_MAX};
    if (data_set_open(&source, &set) != ERR_OK) {
        expect_message();
        return 0;
    }
    check(set);
    data_set_close(set);
    return 0;
}
