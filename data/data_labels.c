#include "data/data_labels.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_file.h"
#include "data/data_set.h"
#include "data/data_vocab.h"

enum { LABELS_FILE_BYTES_MAX = 1 << 20 };

static const char FROM_TRAINING[] = "the training file";
static const char FROM_LABELS[] = "labels.txt";

/* "0" to "999...": an integer without a sign, of at most 9 digits; else -1. */
static int64_t as_number(const struct data_label *label)
{
    int64_t number = 0;

    if (label->text == NULL) {
        return label->number;
    }
    if (label->bytes == 0 || label->bytes > 9) {
        return -1;
    }
    for (size_t i = 0; i < label->bytes; i++) {
        if (label->text[i] < '0' || label->text[i] > '9') {
            return -1;
        }
        number = 10 * number + (label->text[i] - '0');
    }
    return number;
}

/* Adds a name, which is not there yet. */
static enum err add_name(struct data_labels *labels, const char *name, size_t bytes)
{
    assert(labels->count < DATA_CLASSES_MAX);
    char *copy = malloc(bytes + 1);
    if (copy == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the name of a class");
    }
    memcpy(copy, name, bytes);
    copy[bytes] = '\0';
    labels->names[labels->count++] = copy;
    return data_vocab_add(labels->lookup, name, bytes);
}

/* Refuses a name that cannot be one; `path` and `line` are where it is. */
static enum err check_name(const struct data_labels *labels, const char *name, size_t bytes,
                           const char *path, int64_t line)
{
    if (bytes == 0 || bytes > DATA_LABEL_BYTES_MAX || memchr(name, '\0', bytes) != NULL) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64 ": a name of %zu bytes%s, expected 1 to %d", path, line,
                        bytes, memchr(name, '\0', bytes) != NULL ? ", one of them NUL" : "",
                        DATA_LABEL_BYTES_MAX);
    }
    if (labels->count == DATA_CLASSES_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": class \"%.*s\" is one more than %d",
                        path, line, (int)bytes, name, DATA_CLASSES_MAX);
    }
    return ERR_OK;
}

static enum err read_labels_txt(struct data_labels *labels, const struct data_file *file)
{
    int64_t line = 1;

    for (size_t at = 0; at < file->count; line++) {
        const char *name = (const char *)file->bytes + at;
        const char *end = memchr(name, '\n', file->count - at);
        size_t bytes = end == NULL ? file->count - at : (size_t)(end - name);
        at += bytes + (end == NULL ? 0 : 1);
        if (bytes > 0 && name[bytes - 1] == '\r') {
            bytes--;
        }
        ERR_TRY(check_name(labels, name, bytes, file->path, line));
        const int32_t other = data_vocab_find(labels->lookup, name, bytes);
        if (other >= 0) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: line %" PRId64 ": class \"%.*s\" is on line %" PRId32 ", too",
                            file->path, line, (int)bytes, name, other + 1);
        }
        ERR_TRY(add_name(labels, name, bytes));
    }
    if (labels->count == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: empty, expected the name of a class a line", file->path);
    }
    labels->origin = FROM_LABELS;
    return ERR_OK;
}

/* What the labels of a training file have shown so far. */
struct survey {
    bool is_json;
    bool is_begun;
    bool first_is_text; /* and not an integer, as JSON may have it */
    bool all_are_numbers;
    int64_t largest;
};

static enum err look_at(struct data_labels *labels, struct survey *survey,
                        const struct data_record *record, const char *path)
{
    const struct data_label *label = &record->label;
    const bool is_text = label->text != NULL;
    const int64_t number = as_number(label);

    if (survey->is_begun && is_text != survey->first_is_text) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64 ": the label is %s, expected %s as on the first line",
                        path, record->line, is_text ? "a string" : "an integer",
                        is_text ? "an integer" : "a string");
    }
    survey->is_begun = true;
    survey->first_is_text = is_text;
    survey->all_are_numbers =
        survey->all_are_numbers && number >= 0 && (!is_text || !survey->is_json);
    if (number > survey->largest) {
        survey->largest = number;
    }
    if (!is_text) {
        if (number >= 0 && number < DATA_CLASSES_MAX) {
            return ERR_OK;
        }
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": label %" PRId64 ", expected 0 to %d",
                        path, record->line, number, DATA_CLASSES_MAX - 1);
    }
    if (data_vocab_find(labels->lookup, label->text, label->bytes) >= 0) {
        return ERR_OK;
    }
    ERR_TRY(check_name(labels, label->text, label->bytes, path, record->line));
    return add_name(labels, label->text, label->bytes);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void forget_names(struct data_labels *labels)
{
    for (int64_t i = 0; labels->names != NULL && i < labels->count; i++) {
        free(labels->names[i]);
    }
    labels->count = 0;
    data_vocab_close(labels->lookup);
    labels->lookup = NULL;
}

static enum err add_numbers(struct data_labels *labels, int64_t count)
{
    char name[32];

    for (int64_t i = 0; i < count; i++) {
        const int bytes = snprintf(name, sizeof(name), "%" PRId64, i);
        ERR_TRY(add_name(labels, name, (size_t)bytes));
    }
    return ERR_OK;
}

/* The names in their order, from those that were found in the order of the file. */
static enum err settle(struct data_labels *labels, const struct survey *survey)
{
    if (survey->all_are_numbers && survey->largest < DATA_CLASSES_MAX) {
        forget_names(labels);
        ERR_TRY(data_vocab_open(&labels->lookup));
        return add_numbers(labels, survey->largest + 1);
    }
    qsort(labels->names, (size_t)labels->count, sizeof(labels->names[0]), by_bytes);
    data_vocab_close(labels->lookup);
    labels->lookup = NULL;
    ERR_TRY(data_vocab_open(&labels->lookup));
    for (int64_t i = 0; i < labels->count; i++) {
        ERR_TRY(data_vocab_add(labels->lookup, labels->names[i], strlen(labels->names[i])));
    }
    return ERR_OK;
}

static enum err read_training(struct data_labels *labels, struct data_records *records)
{
    struct survey survey = {
        .is_json = data_records_are_json(records), .all_are_numbers = true, .largest = -1};
    struct data_record record;
    bool is_there = true;

    labels->origin = FROM_TRAINING;
    for (int64_t count = 0;; count++) {
        ERR_TRY(data_records_next(records, &record, &is_there));
        if (!is_there && count == 0) {
            return ERR_FAIL(ERR_CORRUPT, "%s: no text in it, expected at least one",
                            data_records_path(records));
        }
        if (!is_there) {
            return settle(labels, &survey);
        }
        ERR_TRY(look_at(labels, &survey, &record, data_records_path(records)));
    }
}

static enum err read_names(const char *folder, bool has_header, struct data_labels *labels)
{
    struct data_file *file = NULL;
    struct data_records *records = NULL;

    const enum err found = data_file_open(folder, FROM_LABELS, LABELS_FILE_BYTES_MAX, "", &file);
    if (found == ERR_OK) {
        const enum err status = read_labels_txt(labels, file);
        data_file_close(file);
        return status;
    }
    if (found != ERR_MISSING) {
        return found;
    }
    err_clear();
    ERR_TRY(data_records_open(folder, "train", has_header, &records));
    const enum err status = read_training(labels, records);
    data_records_close(records);
    return status;
}

/* Without a name yet. */
static enum err open_empty(struct data_labels **labels_out)
{
    struct data_labels *labels = calloc(1, sizeof(*labels));

    if (labels == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the classes of a text set");
    }
    labels->names = calloc(DATA_CLASSES_MAX, sizeof(*labels->names));
    enum err status = labels->names == NULL ? ERR_FAIL(ERR_NO_MEMORY, "the classes of a text set")
                                            : data_vocab_open(&labels->lookup);
    if (status != ERR_OK) {
        data_labels_close(labels);
        return status;
    }
    *labels_out = labels;
    return ERR_OK;
}

enum err data_labels_open(const char *folder, bool has_header, struct data_labels **labels_out)
{
    struct data_labels *labels = NULL;

    assert(folder != NULL && labels_out != NULL);
    ERR_TRY(open_empty(&labels));
    const enum err status = read_names(folder, has_header, labels);
    if (status != ERR_OK) {
        data_labels_close(labels);
        return status;
    }
    *labels_out = labels;
    return ERR_OK;
}

enum err data_labels_open_numbers(int64_t count, const char *origin,
                                  struct data_labels **labels_out)
{
    struct data_labels *labels = NULL;

    if (count < 1 || count > DATA_CLASSES_MAX) {
        return ERR_FAIL(ERR_INVALID, "%" PRId64 " classes, expected 1 to %d", count,
                        DATA_CLASSES_MAX);
    }
    ERR_TRY(open_empty(&labels));
    labels->origin = origin;
    const enum err status = add_numbers(labels, count);
    if (status != ERR_OK) {
        data_labels_close(labels);
        return status;
    }
    *labels_out = labels;
    return ERR_OK;
}

void data_labels_close(struct data_labels *labels)
{
    if (labels == NULL) {
        return;
    }
    forget_names(labels); /* which another may have taken over */
    free(labels->names);
    free(labels);
}

enum err data_labels_find(const struct data_labels *labels, const struct data_record *record,
                          const char *path, int32_t *class_out)
{
    const struct data_label *label = &record->label;
    int64_t class = label->text == NULL
                        ? label->number
                        : data_vocab_find(labels->lookup, label->text, label->bytes);

    if (label->text != NULL && class < 0 && labels->origin == FROM_LABELS) {
        class = as_number(label);
    }
    if (class >= 0 && class < labels->count) {
        *class_out = (int32_t) class;
        return ERR_OK;
    }
    if (label->text == NULL) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: line %" PRId64 ": label %" PRId64 ", expected 0 to %" PRId64
                        ", as %s has %" PRId64 " classes",
                        path, record->line, label->number, labels->count - 1, labels->origin,
                        labels->count);
    }
    return ERR_FAIL(ERR_CORRUPT,
                    "%s: line %" PRId64 ": label \"%.*s\" is none of the %" PRId64
                    " classes of %s: \"%s\" to \"%s\"",
                    path, record->line, (int)(label->bytes < 40 ? label->bytes : 40), label->text,
                    labels->count, labels->origin, labels->names[0],
                    labels->names[labels->count - 1]);
}
