/*
 * comm/base/jdoc.h - JSON in and out: what the tree needs of jansson, with our errors.
 *
 * A `struct jdoc` is one value. Values made here belong to the caller until they are
 * put into another value, which then owns them; jdoc_close() frees a value with all
 * it holds. Getters lend: what they return lives as long as its document.
 *
 * Making: every maker gives NULL when memory ran out or a text is not UTF-8, and
 * everything here accepts NULL, so a document is built without checks and the thread's
 * next jdoc_text() tells.
 *
 * Threads: a document belongs to one thread.
 */
#ifndef COMM_BASE_JDOC_H
#define COMM_BASE_JDOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

struct jdoc;

/*
 * Reads one document. Duplicate keys, numbers beyond int64 and anything after the
 * end are refused. `what` names the source in errors, as in "config.json".
 * Errors: ERR_CORRUPT, with line and column.
 */
ERR_MUST_CHECK enum err jdoc_parse(const char *text, size_t text_bytes, const char *what,
                                   struct jdoc **doc_out);

/* The same of the file `path`. Errors: ERR_MISSING, ERR_IO, ERR_CORRUPT. */
ERR_MUST_CHECK enum err jdoc_read(const char *path, struct jdoc **doc_out);

void jdoc_close(struct jdoc *doc); /* NULL is allowed */

/* The member of that name, or NULL if there is none or `object` is no object. Lent. */
struct jdoc *jdoc_get(const struct jdoc *object, const char *key);

/*
 * The member of that name, which must be there and of the type. Errors: ERR_CORRUPT,
 * "<what>: <key>: found a string, expected an integer".
 */
ERR_MUST_CHECK enum err jdoc_need_int(const struct jdoc *object, const char *key, const char *what,
                                      int64_t *value_out);
ERR_MUST_CHECK enum err jdoc_need_real(const struct jdoc *object, const char *key, const char *what,
                                       double *value_out);
ERR_MUST_CHECK enum err jdoc_need_text(const struct jdoc *object, const char *key, const char *what,
                                       const char **text_out); /* lent */

/* Type tests and plain values, for code that walks a document. Wrong type: 0 or NULL. */
bool jdoc_is_object(const struct jdoc *doc);
bool jdoc_is_array(const struct jdoc *doc);
bool jdoc_is_int(const struct jdoc *doc);
bool jdoc_is_number(const struct jdoc *doc); /* whole or not */
bool jdoc_is_true(const struct jdoc *doc);
bool jdoc_is_bool(const struct jdoc *doc);
bool jdoc_is_null(const struct jdoc *doc); /* written out: not for a member that is not there */
const char *jdoc_as_text(const struct jdoc *doc);
int64_t jdoc_as_int(const struct jdoc *doc);
double jdoc_as_real(const struct jdoc *doc);
size_t jdoc_count(const struct jdoc *doc); /* elements of an array, members of an object */
struct jdoc *jdoc_at(const struct jdoc *array, size_t index);

/* The members of an object, one by one: for (m = jdoc_first(o); m; m = jdoc_next(o, m)). */
void *jdoc_first(const struct jdoc *object);
void *jdoc_next(const struct jdoc *object, void *member);
const char *jdoc_member_key(void *member);
struct jdoc *jdoc_member_value(void *member);

struct jdoc *jdoc_object(void);
struct jdoc *jdoc_array(void);
struct jdoc *jdoc_int(int64_t value);
struct jdoc *jdoc_real(double value); /* JSON has no NaN: null */
struct jdoc *jdoc_string(const char *text);

/* Puts a value under `key`, replacing one that is there. jdoc_set() takes `value` over. */
void jdoc_set(struct jdoc *object, const char *key, struct jdoc *value);
void jdoc_set_int(struct jdoc *object, const char *key, int64_t value);
void jdoc_set_real(struct jdoc *object, const char *key, double value);
void jdoc_set_text(struct jdoc *object, const char *key, const char *text);
void jdoc_set_bool(struct jdoc *object, const char *key, bool value);

/* Takes the member of that name out and frees it, if it is there. */
void jdoc_remove(struct jdoc *object, const char *key);

void jdoc_append(struct jdoc *array, struct jdoc *value); /* takes `value` over */

/*
 * The document as text, members in the order they were set; `indent` 0 is one compact
 * line without newline. The caller frees *text_out with free(). Errors: ERR_NO_MEMORY, or
 * ERR_INVALID for a text that is not UTF-8, of anything this thread made since it last asked.
 */
ERR_MUST_CHECK enum err jdoc_text(const struct jdoc *doc, int indent, char **text_out);

#endif
