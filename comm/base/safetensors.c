#define _POSIX_C_SOURCE 200809L
#include "comm/base/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/file.h"
#include "comm/base/jdoc.h"

enum { LENGTH_BYTES = 8, HEADER_BYTES_MAX = 100000000, HEADER_ALIGN = 8, ENTRY_KEYS = 3 };

static const char METADATA[] = "__metadata__";

static const struct {
    const char *name;
    size_t bytes;
} dtypes[SAFETENSORS_DTYPE_COUNT] = {
    [SAFETENSORS_C64] = {"C64", 8},         [SAFETENSORS_F64] = {"F64", 8},
    [SAFETENSORS_I64] = {"I64", 8},         [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_F32] = {"F32", 4},         [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_U32] = {"U32", 4},         [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2},       [SAFETENSORS_I16] = {"I16", 2},
    [SAFETENSORS_U16] = {"U16", 2},         [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 1},
    [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 1}, [SAFETENSORS_I8] = {"I8", 1},
    [SAFETENSORS_U8] = {"U8", 1},           [SAFETENSORS_BOOL] = {"BOOL", 1},
};

struct safetensors {
    struct file_map map; /* empty if the bytes are the caller's */
    const char *what;
    char *owned_what;
    struct jdoc *header;
    const uint8_t *buffer;
    size_t buffer_bytes;
    bool may_be_cut;
    size_t count;
    struct safetensors_tensor *tensors; /* [count], in the order of their bytes */
};

static enum err read_dtype(const struct jdoc *entry, const char *where,
                           enum safetensors_dtype *dtype_out)
{
    const char *name = NULL;

    ERR_TRY(jdoc_need_text(entry, "dtype", where, &name));
    for (int i = 0; i < SAFETENSORS_DTYPE_COUNT; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *dtype_out = (enum safetensors_dtype)i;
            return ERR_OK;
        }
    }
    return ERR_FAIL(ERR_CORRUPT, "%s: dtype %.20s is not known", where, name);
}

/* Fills rank, shape and byte_count, which must be what the dtype and the shape say. */
static enum err read_shape(const struct jdoc *entry, const char *where,
                           struct safetensors_tensor *tensor)
{
    const struct jdoc *shape = jdoc_get(entry, "shape");
    size_t byte_count = dtypes[tensor->dtype].bytes;

    if (!jdoc_is_array(shape) || jdoc_count(shape) > SAFETENSORS_RANK_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: shape is no list of at most %d dimensions", where,
                        SAFETENSORS_RANK_MAX);
    }
    tensor->rank = (int)jdoc_count(shape);
    for (int d = 0; d < tensor->rank; d++) {
        const struct jdoc *dimension = jdoc_at(shape, (size_t)d);
        if (!jdoc_is_int(dimension) || jdoc_as_int(dimension) < 0) {
            return ERR_FAIL(ERR_CORRUPT, "%s: dimension %d is no integer >= 0", where, d);
        }
        tensor->shape[d] = jdoc_as_int(dimension);
        if (__builtin_mul_overflow(byte_count, (size_t)tensor->shape[d], &byte_count)) {
            return ERR_FAIL(ERR_CORRUPT, "%s: the size overflows at dimension %d", where, d);
        }
    }
    tensor->byte_count = byte_count;
    return ERR_OK;
}

static enum err read_offsets(const struct safetensors *file, const struct jdoc *entry,
                             const char *where, struct safetensors_tensor *tensor)
{
    const struct jdoc *offsets = jdoc_get(entry, "data_offsets");

    if (!jdoc_is_array(offsets) || jdoc_count(offsets) != 2 || !jdoc_is_int(jdoc_at(offsets, 0)) ||
        !jdoc_is_int(jdoc_at(offsets, 1))) {
        return ERR_FAIL(ERR_CORRUPT, "%s: data_offsets is no pair of integers", where);
    }
    const int64_t begin = jdoc_as_int(jdoc_at(offsets, 0));
    const int64_t end = jdoc_as_int(jdoc_at(offsets, 1));
    const bool is_there = begin >= 0 && end >= begin && (size_t)end <= file->buffer_bytes;
    if (!is_there && (!file->may_be_cut || begin < 0 || end < begin)) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: data_offsets [%" PRId64 ", %" PRId64 ") lie outside the %zu bytes",
                        where, begin, end, file->buffer_bytes);
    }
    if ((size_t)(end - begin) != tensor->byte_count) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %" PRId64 " bytes where dtype and shape need %zu", where,
                        end - begin, tensor->byte_count);
    }
    tensor->bytes = is_there ? file->buffer + begin : NULL;
    return ERR_OK;
}

static enum err read_entry(const struct safetensors *file, const char *name,
                           const struct jdoc *entry, struct safetensors_tensor *tensor)
{
    char where[256];

    snprintf(where, sizeof(where), "%.120s: tensor %.100s", file->what, name);
    if (!jdoc_is_object(entry) || jdoc_count(entry) != ENTRY_KEYS) {
        return ERR_FAIL(ERR_CORRUPT, "%s: its entry is not {dtype, shape, data_offsets}", where);
    }
    tensor->name = name;
    ERR_TRY(read_dtype(entry, where, &tensor->dtype));
    ERR_TRY(read_shape(entry, where, tensor));
    return read_offsets(file, entry, where, tensor);
}

static enum err check_metadata(const struct safetensors *file, const struct jdoc *metadata)
{
    if (!jdoc_is_object(metadata)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %s is no object", file->what, METADATA);
    }
    for (void *m = jdoc_first(metadata); m != NULL; m = jdoc_next(metadata, m)) {
        if (jdoc_as_text(jdoc_member_value(m)) == NULL) {
            return ERR_FAIL(ERR_CORRUPT, "%s: %s.%.60s is no string", file->what, METADATA,
                            jdoc_member_key(m));
        }
    }
    return ERR_OK;
}

/* By place, and an empty tensor before the one that shares its place. */
static int by_offset(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    const uint8_t *const x_bytes = x->bytes, *const y_bytes = y->bytes;

    if (x_bytes != y_bytes) {
        return x_bytes < y_bytes ? -1 : 1;
    }
    return (x->byte_count > y->byte_count) - (x->byte_count < y->byte_count);
}

static enum err check_cover(const struct safetensors *file)
{
    size_t at = 0;

    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        const size_t begin = (size_t)((const uint8_t *)tensor->bytes - file->buffer);
        if (begin != at) {
            return ERR_FAIL(
                ERR_CORRUPT, "%s: tensor %.100s begins at %zu where %zu was expected: %s",
                file->what, tensor->name, begin, at, begin < at ? "an overlap" : "a hole");
        }
        at += tensor->byte_count;
    }
    if (at != file->buffer_bytes) {
        return ERR_FAIL(ERR_CORRUPT, "%s: tensors end at %zu of %zu bytes", file->what, at,
                        file->buffer_bytes);
    }
    return ERR_OK;
}

static enum err read_header(struct safetensors *file, const uint8_t *bytes, size_t count)
{
    const uint64_t header_bytes = count >= LENGTH_BYTES ? bytes_get_u64(bytes) : 0;

    if (count < LENGTH_BYTES || header_bytes < 2 || header_bytes > HEADER_BYTES_MAX ||
        header_bytes > count - LENGTH_BYTES) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: header of %" PRIu64 " bytes in a file of %zu; at most %d are allowed",
                        file->what, header_bytes, count, HEADER_BYTES_MAX);
    }
    const char *const text = (const char *)bytes + LENGTH_BYTES;
    if (text[0] != '{') {
        return ERR_FAIL(ERR_CORRUPT, "%s: the header does not begin with '{'", file->what);
    }
    ERR_TRY(jdoc_parse(text, (size_t)header_bytes, file->what, &file->header));
    file->buffer = bytes + LENGTH_BYTES + header_bytes;
    file->buffer_bytes = count - LENGTH_BYTES - (size_t)header_bytes;
    file->tensors = calloc(jdoc_count(file->header) + 1, sizeof(*file->tensors));
    if (file->tensors == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: a list of %zu tensors", file->what,
                        jdoc_count(file->header));
    }
    for (void *m = jdoc_first(file->header); m != NULL; m = jdoc_next(file->header, m)) {
        if (strcmp(jdoc_member_key(m), METADATA) == 0) {
            ERR_TRY(check_metadata(file, jdoc_member_value(m)));
        } else {
            ERR_TRY(read_entry(file, jdoc_member_key(m), jdoc_member_value(m),
                               &file->tensors[file->count]));
            file->count++;
        }
    }
    if (file->may_be_cut) {
        return ERR_OK;
    }
    qsort(file->tensors, file->count, sizeof(*file->tensors), by_offset);
    return check_cover(file);
}

static enum err parse(const uint8_t *bytes, size_t count, const char *what, bool may_be_cut,
                      struct safetensors **file_out)
{
    assert(bytes != NULL && what != NULL && file_out != NULL);
    struct safetensors *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", what);
    }
    file->what = what;
    file->may_be_cut = may_be_cut;
    const enum err status = read_header(file, bytes, count);
    if (status != ERR_OK) {
        safetensors_close(file);
        return status;
    }
    *file_out = file;
    return ERR_OK;
}

enum err safetensors_parse(const uint8_t *bytes, size_t count, const char *what,
                           struct safetensors **file_out)
{
    return parse(bytes, count, what, false, file_out);
}

static enum err open_file(const char *path, bool may_be_cut, struct safetensors **file_out)
{
    struct file_map map;
    struct safetensors *file = NULL;

    ERR_TRY(file_map(path, &map));
    const enum err status = parse(map.bytes, map.count, path, may_be_cut, &file);
    if (status != ERR_OK) {
        file_unmap(&map);
        return status;
    }
    file->map = map;
    file->what = file->owned_what = strdup(path);
    if (file->owned_what == NULL) {
        safetensors_close(file);
        return ERR_FAIL(ERR_NO_MEMORY, "%s", path);
    }
    *file_out = file;
    return ERR_OK;
}

enum err safetensors_open(const char *path, struct safetensors **file_out)
{
    return open_file(path, false, file_out);
}

enum err safetensors_open_cut(const char *path, struct safetensors **file_out)
{
    return open_file(path, true, file_out);
}

void safetensors_close(struct safetensors *file)
{
    if (file == NULL) {
        return;
    }
    jdoc_close(file->header);
    file_unmap(&file->map);
    free(file->owned_what);
    free(file->tensors);
    free(file);
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->count;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    assert(index < file->count);
    return &file->tensors[index];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (strcmp(file->tensors[i].name, name) == 0) {
            return &file->tensors[i];
        }
    }
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return jdoc_as_text(jdoc_get(jdoc_get(file->header, METADATA), key));
}

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
    assert(dtype < SAFETENSORS_DTYPE_COUNT);
    return dtypes[dtype].name;
}

void safetensors_shape_text(const struct safetensors_tensor *tensor, char *text, size_t text_bytes)
{
    size_t at = 0;

    for (int d = 0; d < tensor->rank && at < text_bytes; d++) {
        const int length = snprintf(text + at, text_bytes - at, "%s%" PRId64, d == 0 ? "[" : ", ",
                                    tensor->shape[d]);
        at += length < 0 ? 0 : (size_t)length;
    }
    if (at < text_bytes) {
        snprintf(text + at, text_bytes - at, "%s", tensor->rank == 0 ? "[]" : "]");
    }
}

static int by_dtype_then_name(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;

    if (x->dtype != y->dtype) {
        return x->dtype < y->dtype ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static struct jdoc *entry_of(const struct safetensors_tensor *tensor, size_t begin)
{
    struct jdoc *entry = jdoc_object();
    struct jdoc *shape = jdoc_array();
    struct jdoc *offsets = jdoc_array();

    for (int d = 0; d < tensor->rank; d++) {
        jdoc_append(shape, jdoc_int(tensor->shape[d]));
    }
    jdoc_append(offsets, jdoc_int((int64_t)begin));
    jdoc_append(offsets, jdoc_int((int64_t)(begin + tensor->byte_count)));
    jdoc_set_text(entry, "dtype", dtypes[tensor->dtype].name);
    jdoc_set(entry, "shape", shape);
    jdoc_set(entry, "data_offsets", offsets);
    return entry;
}

enum err safetensors_head(struct safetensors_tensor tensors[], size_t count,
                          const char *metadata_key, const char *metadata_value, uint8_t **head_out,
                          size_t *head_bytes_out)
{
    struct jdoc *header = jdoc_object();
    char *text = NULL;
    size_t at = 0;

    qsort(tensors, count, sizeof(tensors[0]), by_dtype_then_name);
    if (metadata_key != NULL) {
        struct jdoc *metadata = jdoc_object();
        jdoc_set_text(metadata, metadata_key, metadata_value);
        jdoc_set(header, METADATA, metadata);
    }
    for (size_t i = 0; i < count; i++) {
        jdoc_set(header, tensors[i].name, entry_of(&tensors[i], at));
        at += tensors[i].byte_count;
    }
    const enum err status = jdoc_text(header, 0, &text);
    jdoc_close(header);
    ERR_TRY(status);
    const size_t text_bytes = strlen(text);
    const size_t padded_bytes = (text_bytes + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN;
    uint8_t *head = malloc(LENGTH_BYTES + padded_bytes);
    if (head == NULL) {
        free(text);
        return ERR_FAIL(ERR_NO_MEMORY, "a safetensors header of %zu bytes", padded_bytes);
    }
    bytes_put_u64(head, padded_bytes);
    memcpy(head + LENGTH_BYTES, text, text_bytes);
    memset(head + LENGTH_BYTES + text_bytes, ' ', padded_bytes - text_bytes);
    free(text);
    *head_out = head;
    *head_bytes_out = LENGTH_BYTES + padded_bytes;
    return ERR_OK;
}

enum err safetensors_write(const char *path, const struct safetensors_tensor *tensors, size_t count,
                           const char *metadata_key, const char *metadata_value)
{
    uint8_t *head = NULL;
    size_t head_bytes = 0;
    enum err status = ERR_OK;

    struct safetensors_tensor *sorted = calloc(count + 1, sizeof(*sorted));
    struct file_piece *pieces = calloc(1 + count, sizeof(*pieces));
    if (sorted == NULL || pieces == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "%s: a list of %zu tensors", path, count);
        goto out;
    }
    if (count > 0) {
        memcpy(sorted, tensors, count * sizeof(*sorted));
    }
    ERR_GOTO(out, status,
             safetensors_head(sorted, count, metadata_key, metadata_value, &head, &head_bytes));
    pieces[0] = (struct file_piece){head, head_bytes};
    for (size_t i = 0; i < count; i++) {
        pieces[1 + i] = (struct file_piece){sorted[i].bytes, sorted[i].byte_count};
    }
    status = file_write(path, pieces, 1 + count);
out:
    free(head);
    free(pieces);
    free(sorted);
    return status;
}
