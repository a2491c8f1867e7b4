#define _POSIX_C_SOURCE 200809L
#include "data/data_records.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "data/data_file.h"

/* Far above any text set that fits into memory; a bound for what inflates without end. */
static const size_t FILE_BYTES_MAX = (size_t)16 << 30;

struct data_records {
    struct data_file *file; /* of standard input its name, and of its bytes the line */
    enum data_records_kind kind;
    bool may_lack_labels;
    bool is_stream;
    size_t at;
    int64_t line;      /* of the last record */
    struct jdoc *json; /* of the last record, which points into it */
    char *buffer;      /* of getline() */
    size_t buffer_bytes;
};

static bool has_file(const char *folder, const char *name)
{
    char path[DATA_FILE_PATH_BYTES_MAX];

    for (int i = 0; i < 2; i++) {
        const int length =
            snprintf(path, sizeof(path), "%s/%s%s", folder, name, i == 0 ? "" : ".gz");
        if (length > 0 && (size_t)length < sizeof(path) && file_exists(path)) {
            return true;
        }
    }
    return false;
}

/* The bytes of the line at `at`, without its end, and moves `at` behind it. */
static const char *take_line(struct data_records *records, size_t *bytes_out)
{
    const char *line = (const char *)records->file->bytes + records->at;
    const size_t left = records->file->count - records->at;
    const char *end = memchr(line, '\n', left);
    size_t bytes = end == NULL ? left : (size_t)(end - line);

    records->at += end == NULL ? left : bytes + 1;
    records->line++;
    if (bytes > 0 && line[bytes - 1] == '\r') {
        bytes--;
    }
    *bytes_out = bytes;
    return line;
}

static void skip_mark(struct data_records *records)
{
    const struct data_file *file = records->file;

    records->at = file->count >= 3 && memcmp(file->bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

static void skip_head(struct data_records *records, bool has_header)
{
    size_t skipped = 0;

    skip_mark(records);
    if (has_header && records->kind == DATA_RECORDS_TSV && records->at < records->file->count) {
        take_line(records, &skipped);
    }
}

/* The next line of standard input as the bytes of the file; at the end there are none. */
static enum err fill_line(struct data_records *records)
{
    struct data_file *file = records->file;

    records->at = 0;
    file->count = 0;
    errno = 0;
    const ssize_t bytes = getline(&records->buffer, &records->buffer_bytes, stdin);
    if (bytes < 0) {
        return errno == 0 || feof(stdin) ? ERR_OK
                                         : ERR_FAIL(errno == ENOMEM ? ERR_NO_MEMORY : ERR_IO,
                                                    "read %s: line %" PRId64 ": %s", file->path,
                                                    records->line + 1, strerror(errno));
    }
    file->bytes = (uint8_t *)records->buffer;
    file->count = (size_t)bytes;
    if (records->line == 0 && bytes >= 2 && memcmp(file->bytes, "\x1F\x8B", 2) == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: compressed with gzip: expected texts, as zcat gives them",
                        file->path);
    }
    if (records->line == 0) {
        skip_mark(records);
    }
    return ERR_OK;
}

static enum err take_stream_head(struct data_records *records, bool has_header)
{
    size_t skipped = 0;

    if (!has_header || records->kind != DATA_RECORDS_TSV) {
        return ERR_OK;
    }
    ERR_TRY(fill_line(records));
    if (records->file->count > 0) {
        take_line(records, &skipped);
    }
    return ERR_OK;
}

enum err data_records_open(const char *folder, const char *part, bool has_header,
                           struct data_records **records_out)
{
    char tsv[64];
    char jsonl[64];

    assert(folder != NULL && part != NULL && records_out != NULL);
    snprintf(tsv, sizeof(tsv), "%s.tsv", part);
    snprintf(jsonl, sizeof(jsonl), "%s.jsonl", part);
    const bool is_json = has_file(folder, jsonl);
    if (is_json && has_file(folder, tsv)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: has both %s and %s, expected one of them", folder, tsv,
                        jsonl);
    }
    struct data_records *records = calloc(1, sizeof(*records));
    if (records == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s/%s: no memory to read it", folder, part);
    }
    const enum err status =
        data_file_open(folder, is_json ? jsonl : tsv, FILE_BYTES_MAX,
                       "expected lines of label, TAB, text, or a .jsonl", &records->file);
    if (status != ERR_OK) {
        free(records);
        return status;
    }
    records->kind = is_json ? DATA_RECORDS_JSONL : DATA_RECORDS_TSV;
    skip_head(records, has_header);
    *records_out = records;
    return ERR_OK;
}

enum err data_records_open_file(const char *path, enum data_records_kind kind, bool has_header,
                                struct data_records **records_out)
{
    static const struct data_file input = {.path = "standard input"};
    enum err status = ERR_OK;

    struct data_records *records = calloc(1, sizeof(*records));
    if (records == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: no memory to read it", path);
    }
    records->kind = kind;
    records->may_lack_labels = true;
    records->is_stream = strcmp(path, "-") == 0;
    if (records->is_stream) {
        records->file = malloc(sizeof(input));
        status = records->file == NULL ? ERR_FAIL(ERR_NO_MEMORY, "%s", input.path) : ERR_OK;
    } else {
        status = data_file_open_path(path, FILE_BYTES_MAX, &records->file);
    }
    if (status == ERR_OK && records->is_stream) {
        *records->file = input;
        status = take_stream_head(records, has_header);
    } else if (status == ERR_OK) {
        skip_head(records, has_header);
    }
    if (status != ERR_OK) {
        data_records_close(records);
        return status;
    }
    *records_out = records;
    return ERR_OK;
}

void data_records_close(struct data_records *records)
{
    if (records == NULL) {
        return;
    }
    jdoc_close(records->json);
    if (records->is_stream && records->file != NULL) {
        records->file->bytes = NULL; /* the buffer's */
    }
    free(records->buffer);
    data_file_close(records->file);
    free(records);
}

const char *data_records_path(const struct data_records *records)
{
    return records->file->path;
}

bool data_records_are_json(const struct data_records *records)
{
    return records->kind == DATA_RECORDS_JSONL;
}

static enum err read_tsv(const struct data_records *records, const char *line, size_t bytes,
                         struct data_record *record)
{
    const char *path = records->file->path;
    const char *tab = memchr(line, '\t', bytes);
    int fields = 1;

    for (size_t i = 0; i < bytes; i++) {
        fields += line[i] == '\t';
    }
    if (fields == 1 && bytes > 0 && records->may_lack_labels) {
        record->text = line;
        record->text_bytes = bytes;
        return ERR_OK;
    }
    if (bytes == 0 || fields != 2) {
        return ERR_FAIL(
            ERR_CORRUPT, "%s: line %" PRId64 ": found %d field%s, expected two: label, TAB, text",
            path, records->line, bytes == 0 ? 0 : fields, fields == 1 && bytes > 0 ? "" : "s");
    }
    if (tab == line) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": the label is empty", path,
                        records->line);
    }
    record->has_label = true;
    record->label = (struct data_label){.text = line, .bytes = (size_t)(tab - line)};
    record->text = tab + 1;
    record->text_bytes = bytes - record->label.bytes - 1;
    return ERR_OK;
}

/* A string or an integer; where it may be missing, also null. */
static enum err read_member(const struct jdoc *object, const char *key, const char *what,
                            bool may_be_missing, bool *has_out, struct data_label *value_out)
{
    const struct jdoc *value = jdoc_get(object, key);

    *has_out = !may_be_missing || (value != NULL && !jdoc_is_null(value));
    if (!*has_out) {
        return ERR_OK;
    }
    if (jdoc_is_int(value)) {
        *value_out = (struct data_label){.number = jdoc_as_int(value)};
        return ERR_OK;
    }
    ERR_TRY(jdoc_need_text(object, key, what, &value_out->text));
    value_out->bytes = strlen(value_out->text);
    return ERR_OK;
}

static enum err read_json(struct data_records *records, const char *line, size_t bytes,
                          struct data_record *record)
{
    char what[DATA_FILE_PATH_BYTES_MAX + 32];

    snprintf(what, sizeof(what), "%s: line %" PRId64, records->file->path, records->line);
    jdoc_close(records->json);
    records->json = NULL;
    ERR_TRY(jdoc_parse(line, bytes, what, &records->json));
    if (!jdoc_is_object(records->json)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: expected an object, {\"text\": ..., \"label\": ...}",
                        what);
    }
    ERR_TRY(jdoc_need_text(records->json, "text", what, &record->text));
    record->text_bytes = strlen(record->text);
    if (records->may_lack_labels) {
        ERR_TRY(read_member(records->json, "id", what, true, &record->has_id, &record->id));
    }
    ERR_TRY(read_member(records->json, "label", what, records->may_lack_labels, &record->has_label,
                        &record->label));
    if (record->has_label && record->label.text != NULL && record->label.bytes == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: the label is empty", what);
    }
    return ERR_OK;
}

enum err data_records_next(struct data_records *records, struct data_record *record_out,
                           bool *is_there_out)
{
    size_t bytes = 0;

    if (records->is_stream) {
        ERR_TRY(fill_line(records));
    }
    if (records->at == records->file->count) {
        *is_there_out = false;
        return ERR_OK;
    }
    const char *line = take_line(records, &bytes);
    struct data_record record = {.line = records->line};
    switch (records->kind) {
    case DATA_RECORDS_LINES:
        record.text = line;
        record.text_bytes = bytes;
        break;
    case DATA_RECORDS_TSV: ERR_TRY(read_tsv(records, line, bytes, &record)); break;
    case DATA_RECORDS_JSONL: ERR_TRY(read_json(records, line, bytes, &record)); break;
    }
    *record_out = record;
    *is_there_out = true;
    return ERR_OK;
}
