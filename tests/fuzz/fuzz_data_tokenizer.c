/*
 * Fuzz target: data_tokenizer_open() of a folder whose files are the input.
 *
 * Input: files, parted by a byte FF; the first byte of each says which it is: a vocab.txt,
 * b vocab.json, c merges.txt, d tokenizer.json, e tokenizer_config.json.
 *
 * Property: it either refuses with a message of one line, or it encodes to ids of its
 * vocabulary.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "data/data_tokenizer.h"
#include "tests/support/fuzz_folder.h"

static const char *const names[] = {"vocab.txt", "vocab.json", "merges.txt", "tokenizer.json",
                                    "tokenizer_config.json"};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void write_file(const char *name, const uint8_t *bytes, size_t count)
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
        if (part > 0 && bytes[at] >= 'a' && bytes[at] <= 'e') {
            write_file(names[bytes[at] - 'a'], bytes + at + 1, part - 1);
        }
        at += part + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char text[] = "The [MASK] caf\xC3\xA9's \xE4\xB8\xAD 12 <|endoftext|>";
    struct data_tokenizer *tokenizer = NULL;
    int32_t ids[64];
    int64_t id_count = 0;
    char message[2048];
    char path[FILE_PATH_BYTES_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fuzz_folder_path(path, names[i]);
        unlink(path);
    }
    write_files(bytes, count);
    if (data_tokenizer_open(fuzz_folder, &tokenizer) != ERR_OK) {
        err_text(message, sizeof(message));
        if (message[0] == '\0' || strchr(message, '\n') != NULL) {
            abort();
        }
        err_clear();
        return 0;
    }
    if (data_tokenizer_encode(tokenizer, text, sizeof(text) - 1, ids, 64, &id_count) != ERR_OK) {
        abort();
    }
    for (int64_t i = 0; i < id_count; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->vocab_count) {
            abort();
        }
    }
    data_tokenizer_close(tokenizer);
    return 0;
}
