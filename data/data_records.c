#include "data/data_records.h"

#include <assert.h>
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
    struct data_file *file;
    bool is_json;
    size_t at;
    int64_t line;      /* of the last record */
    struct jdoc *json; /* of the last record, which points into it */
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

enum err data_records_open(const char *folder, const char *part, bool has_header,
                           struct data_records **records_out)
{
    char tsv[64];
    char jsonl[64];
    size_t skipped = 0;

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
    records->is_json = is_json;
    if (records->file->count >= 3 && memcmp(records->file->bytes, "\xEF\xBB\xBF", 3) == 0) {
        records->at = 3;
    }
    if (has_header && !is_json && records->at < records->file->count) {
        take_line(records, &skipped);
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
    data_file_close(records->file);
    free(records);
}

const char *data_records_path(const struct data_records *records)
{
    return records->file->path;
}

bool data_records_are_json(const struct data_records *records)
{
    return records->is_json;
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
    if (bytes == 0 || fields != 2) {
        return ERR_FAIL(
            ERR_CORRUPT, "%s: line %" PRId64 ": found %d field%s, expected two: label, TAB, text",
            path, records->line, bytes == 0 ? 0 : fields, fields == 1 && bytes > 0 ? "" : "s");
    }
    if (tab == line) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": the label is empty", path,
                        records->line);
    }
    record->label = (struct data_label){.text = line, .bytes = (size_t)(tab - line)};
    record->text = tab + 1;
    record->text_bytes = bytes - record->label.bytes - 1;
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
    const struct jdoc *label = jdoc_get(records->json, "label");
    if (jdoc_is_int(label)) {
        record->label = (struct data_label){.number = jdoc_as_int(label)};
        return ERR_OK;
    }
    ERR_TRY(jdoc_need_text(records->json, "label", what, &record->label.text));
    record->label.bytes = strlen(record->label.text);
    if (record->label.bytes == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: the label is empty", what);
    }
    return ERR_OK;
}

enum err data_records_next(struct data_records *records, struct data_record *record_out,
                           bool *is_there_out)
{
    size_t bytes = 0;

    if (records->at == records->file->count) {
        *is_there_out = false;
        return ERR_OK;
    }
    const char *line = take_line(records, &bytes);
    struct data_record record = {.line = records->line};
    ERR_TRY(records->is_json ? read_json(records, line, bytes, &record)
                             : read_tsv(records, line, bytes, &record));
    *record_out = record;
    *is_there_out = true;
    return ERR_OK;
}
