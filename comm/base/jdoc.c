#include "comm/base/jdoc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "comm/base/file.h"

/*
 * Why a value could not be made or put into another since this thread's last jdoc_text();
 * a document that lacks it must not be written as if it were whole.
 */
static _Thread_local enum err lost = ERR_OK;

/* struct jdoc is never defined: it is jansson's json_t under our name. */
static json_t *inner(const struct jdoc *doc)
{
    return (json_t *)(uintptr_t)doc;
}

static struct jdoc *outer(json_t *json)
{
    return (struct jdoc *)json;
}

enum err jdoc_parse(const char *text, size_t text_bytes, const char *what, struct jdoc **doc_out)
{
    json_error_t error;
    json_t *json = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);

    if (json == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %d column %d: not JSON: %s", what, error.line,
                        error.column, error.text);
    }
    *doc_out = outer(json);
    return ERR_OK;
}

enum err jdoc_read(const char *path, struct jdoc **doc_out)
{
    struct file_map map;

    ERR_TRY(file_map(path, &map));
    const enum err status = jdoc_parse((const char *)map.bytes, map.count, path, doc_out);
    file_unmap(&map);
    return status;
}

void jdoc_close(struct jdoc *doc)
{
    json_decref(inner(doc));
}

struct jdoc *jdoc_get(const struct jdoc *object, const char *key)
{
    return outer(json_object_get(inner(object), key));
}

static const char *type_name(const json_t *json)
{
    if (json == NULL) {
        return "nothing";
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

static enum err wrong_type(const char *what, const char *key, const json_t *found,
                           const char *expected)
{
    return ERR_FAIL(ERR_CORRUPT, "%s: %s: found %s, expected %s", what, key, type_name(found),
                    expected);
}

enum err jdoc_need_int(const struct jdoc *object, const char *key, const char *what,
                       int64_t *value_out)
{
    const json_t *value = json_object_get(inner(object), key);

    if (!json_is_integer(value)) {
        return wrong_type(what, key, value, "an integer");
    }
    *value_out = json_integer_value(value);
    return ERR_OK;
}

enum err jdoc_need_real(const struct jdoc *object, const char *key, const char *what,
                        double *value_out)
{
    const json_t *value = json_object_get(inner(object), key);

    if (!json_is_number(value)) {
        return wrong_type(what, key, value, "a number");
    }
    *value_out = json_number_value(value);
    return ERR_OK;
}

enum err jdoc_need_text(const struct jdoc *object, const char *key, const char *what,
                        const char **text_out)
{
    const json_t *value = json_object_get(inner(object), key);

    if (!json_is_string(value)) {
        return wrong_type(what, key, value, "a string");
    }
    *text_out = json_string_value(value);
    return ERR_OK;
}

bool jdoc_is_object(const struct jdoc *doc)
{
    return doc != NULL && json_typeof(inner(doc)) == JSON_OBJECT;
}

bool jdoc_is_array(const struct jdoc *doc)
{
    return doc != NULL && json_typeof(inner(doc)) == JSON_ARRAY;
}

bool jdoc_is_int(const struct jdoc *doc)
{
    return doc != NULL && json_typeof(inner(doc)) == JSON_INTEGER;
}

bool jdoc_is_number(const struct jdoc *doc)
{
    return json_is_number(inner(doc));
}

bool jdoc_is_true(const struct jdoc *doc)
{
    return doc != NULL && json_is_true(inner(doc));
}

bool jdoc_is_bool(const struct jdoc *doc)
{
    return doc != NULL && json_is_boolean(inner(doc));
}

bool jdoc_is_null(const struct jdoc *doc)
{
    return doc != NULL && json_is_null(inner(doc));
}

const char *jdoc_as_text(const struct jdoc *doc)
{
    return json_string_value(inner(doc));
}

int64_t jdoc_as_int(const struct jdoc *doc)
{
    return json_integer_value(inner(doc));
}

double jdoc_as_real(const struct jdoc *doc)
{
    return json_number_value(inner(doc));
}

size_t jdoc_count(const struct jdoc *doc)
{
    return jdoc_is_object(doc) ? json_object_size(inner(doc)) : json_array_size(inner(doc));
}

struct jdoc *jdoc_at(const struct jdoc *array, size_t index)
{
    return outer(json_array_get(inner(array), index));
}

void *jdoc_first(const struct jdoc *object)
{
    return json_object_iter(inner(object));
}

void *jdoc_next(const struct jdoc *object, void *member)
{
    return json_object_iter_next(inner(object), member);
}

const char *jdoc_member_key(void *member)
{
    return json_object_iter_key(member);
}

struct jdoc *jdoc_member_value(void *member)
{
    return outer(json_object_iter_value(member));
}

struct jdoc *jdoc_object(void)
{
    return outer(json_object());
}

struct jdoc *jdoc_array(void)
{
    return outer(json_array());
}

struct jdoc *jdoc_int(int64_t value)
{
    return outer(json_integer(value));
}

struct jdoc *jdoc_real(double value)
{
    return outer(isfinite(value) ? json_real(value) : json_null());
}

struct jdoc *jdoc_string(const char *text)
{
    json_t *json = json_string(text);

    if (json == NULL && lost == ERR_OK) { /* memory, or bytes that are not UTF-8 */
        json_t *bytes = json_stringn_nocheck(text, text == NULL ? 0 : strlen(text));
        lost = bytes == NULL ? ERR_NO_MEMORY : ERR_INVALID;
        json_decref(bytes);
    }
    return outer(json);
}

void jdoc_set(struct jdoc *object, const char *key, struct jdoc *value)
{
    const bool both = object != NULL && value != NULL;

    if (json_object_set_new(inner(object), key, inner(value)) != 0 && lost == ERR_OK) {
        /* The key is the only thing left that can be wrong with two values that were made. */
        lost = both ? ERR_INVALID : ERR_NO_MEMORY;
    }
}

void jdoc_set_int(struct jdoc *object, const char *key, int64_t value)
{
    jdoc_set(object, key, jdoc_int(value));
}

void jdoc_set_real(struct jdoc *object, const char *key, double value)
{
    jdoc_set(object, key, jdoc_real(value));
}

void jdoc_set_text(struct jdoc *object, const char *key, const char *text)
{
    jdoc_set(object, key, jdoc_string(text));
}

void jdoc_set_bool(struct jdoc *object, const char *key, bool value)
{
    jdoc_set(object, key, outer(json_boolean(value)));
}

void jdoc_remove(struct jdoc *object, const char *key)
{
    (void)json_object_del(inner(object), key);
}

void jdoc_append(struct jdoc *array, struct jdoc *value)
{
    if (json_array_append_new(inner(array), inner(value)) != 0 && lost == ERR_OK) {
        lost = ERR_NO_MEMORY;
    }
}

enum err jdoc_text(const struct jdoc *doc, int indent, char **text_out)
{
    const size_t flags = indent > 0 ? JSON_INDENT((size_t)indent) : JSON_COMPACT;
    const enum err missing = lost;

    lost = ERR_OK;
    if (missing == ERR_INVALID) {
        return ERR_FAIL(ERR_INVALID, "a JSON document: a text or a key is not UTF-8");
    }
    char *text =
        doc == NULL || missing != ERR_OK ? NULL : json_dumps(inner(doc), flags | JSON_ENCODE_ANY);
    if (text == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a JSON document");
    }
    *text_out = text;
    return ERR_OK;
}
