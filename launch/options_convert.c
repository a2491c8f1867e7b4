#define _GNU_SOURCE
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_method.h"
#include "launch/options_schema.h"

const struct options_schema options_schemas[OPTIONS_COUNT] = {
#define SECTION(title)
#define OPTION(type, name, scope, initial, least, most, choices, unit, help)                       \
    [OPTION_##name] = {#name,                                                                      \
                       OPTIONS_##type,                                                             \
                       OPTIONS_##scope,                                                            \
                       initial,                                                                    \
                       least,                                                                      \
                       most,                                                                       \
                       choices,                                                                    \
                       unit,                                                                       \
                       help,                                                                       \
                       offsetof(struct options, name)},
#include "launch/options.def"
#undef OPTION
#undef SECTION
};

enum { NAME_BYTES_MAX = 64 };

/* Levenshtein's distance, row by row. Longer names than the buffer count as far away. */
static int distance(const char *a, const char *b)
{
    int row[NAME_BYTES_MAX + 1];
    const size_t a_length = strlen(a), b_length = strlen(b);

    if (a_length > NAME_BYTES_MAX || b_length > NAME_BYTES_MAX) {
        return NAME_BYTES_MAX;
    }
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            const int above = row[j];
            const int replaced = diagonal + (a[i - 1] != b[j - 1]);
            const int shifted = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = replaced < shifted ? replaced : shifted;
            diagonal = above;
        }
    }
    return row[b_length];
}

const char *options_nearest(const char *name)
{
    const char *nearest = NULL;
    int best = (int)strlen(name) / 3 + 1; /* further than that is another word */

    for (int i = 0; i < OPTIONS_COUNT; i++) {
        const int d = distance(name, options_schemas[i].name);
        if (d <= best) {
            best = d - 1;
            nearest = options_schemas[i].name;
        }
    }
    return nearest;
}

static enum err refuse(const struct options_schema *schema, const char *text, const char *place)
{
    static const char *const expected[] = {
        [OPTIONS_I64] = "a whole number",    [OPTIONS_I64_AUTO] = "auto or a whole number",
        [OPTIONS_F64] = "a number",          [OPTIONS_BOOL] = "true or false",
        [OPTIONS_TEXT] = "a text",           [OPTIONS_I64S] = "a list of whole numbers",
        [OPTIONS_F64S] = "a list of numbers"};

    if (schema->type == OPTIONS_CHOICE) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s is \"%.60s\", it must be one of %s", place,
                        schema->name, text, schema->choices);
    }
    return ERR_FAIL(ERR_CONFIG, "%s: %s is \"%.60s\", it must be %s%s", place, schema->name, text,
                    expected[schema->type],
                    schema->type == OPTIONS_I64S || schema->type == OPTIONS_F64S ? " such as [1, 2]"
                                                                                 : "");
}

static enum err check_range(const struct options_schema *schema, double value, const char *place)
{
    if (!(value >= schema->least && value <= schema->most)) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s is %g, it must lie in %g .. %g", place, schema->name,
                        value, schema->least, schema->most);
    }
    return ERR_OK;
}

/* A whole number may be written 1e6 or 128.0, as YAML has it, but not 1.5. */
static enum err read_number(const struct options_schema *schema, const char *text, bool whole,
                            const char *place, double *value_out)
{
    char *end = NULL;

    errno = 0;
    const double value = strtod(text, &end);
    while (isspace((unsigned char)*end)) {
        end++;
    }
    if (end == text || *end != '\0' || errno != 0 || !isfinite(value) ||
        (whole && value != floor(value))) {
        return refuse(schema, text, place);
    }
    ERR_TRY(check_range(schema, value, place));
    *value_out = value;
    return ERR_OK;
}

static enum err read_choice(const struct options_schema *schema, const char *text,
                            const char *place, int *choice_out)
{
    int choice = 0;

    for (const char *at = schema->choices; at != NULL; choice++) {
        const char *bar = strchr(at, '|');
        const size_t length = bar == NULL ? strlen(at) : (size_t)(bar - at);
        if (strlen(text) == length && memcmp(text, at, length) == 0) {
            *choice_out = choice;
            return ERR_OK;
        }
        at = bar == NULL ? NULL : bar + 1;
    }
    return refuse(schema, text, place);
}

static enum err read_bool(const struct options_schema *schema, const char *text, const char *place,
                          bool *value_out)
{
    static const char *const words[][2] = {
        {"true", "false"}, {"yes", "no"}, {"on", "off"}, {"1", "0"}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (int j = 0; j < 2; j++) {
            if (strcasecmp(text, words[i][j]) == 0) {
                *value_out = j == 0;
                return ERR_OK;
            }
        }
    }
    return refuse(schema, text, place);
}

/* "[a, b]", "a, b" or "a": numbers into values[OPTIONS_LIST_MAX]; "[]" and "" are empty. */
static enum err read_list(const struct options_schema *schema, const char *text, bool whole,
                          const char *place, double values[OPTIONS_LIST_MAX], int *count_out)
{
    static const char blanks[] = " \t";
    char item[64];
    int count = 0;
    const char *at = text + strspn(text, blanks);
    const char end = *at == '[' ? ']' : '\0';

    do {
        at += count > 0 || *at == '[';
        at += strspn(at, blanks);
        if (count == 0 && *at == end) {
            break;
        }
        const size_t length = strcspn(at, "[], \t");
        if (length == 0 || count == OPTIONS_LIST_MAX || length >= sizeof(item)) {
            return refuse(schema, text, place);
        }
        memcpy(item, at, length);
        item[length] = '\0';
        ERR_TRY(read_number(schema, item, whole, place, &values[count]));
        count++;
        at += length;
        at += strspn(at, blanks);
    } while (*at == ',');
    if (*at != end || at[end == '\0' ? 0 : 1 + strspn(at + 1, blanks)] != '\0') {
        return refuse(schema, text, place);
    }
    *count_out = count;
    return ERR_OK;
}

static enum err convert_list(const struct options_schema *schema, const char *text,
                             const char *place, void *to)
{
    double values[OPTIONS_LIST_MAX] = {0};
    int count = 0;

    ERR_TRY(read_list(schema, text, schema->type == OPTIONS_I64S, place, values, &count));
    if (count == 0 && schema->initial[0] != '\0') { /* empty means something only as a default */
        return refuse(schema, text, place);
    }
    if (schema->type == OPTIONS_F64S) {
        struct options_f64s *list = to;
        memcpy(list->values, values, (size_t)count * sizeof(double));
        list->count = count;
        return ERR_OK;
    }
    struct options_i64s *list = to;
    for (int i = 0; i < count; i++) {
        list->values[i] = (int64_t)values[i];
    }
    list->count = count;
    return ERR_OK;
}

enum err options_convert(const struct options_schema *schema, const char *text, const char *place,
                         struct options *options)
{
    void *to = (char *)options + schema->offset;
    double value = 0;

    switch (schema->type) {
    case OPTIONS_I64_AUTO:
        if (strcmp(text, "auto") == 0) {
            *(int64_t *)to = OPTIONS_AUTO;
            return ERR_OK;
        } /* fall through */
    case OPTIONS_I64:
        ERR_TRY(read_number(schema, text, true, place, &value));
        *(int64_t *)to = (int64_t)value;
        return ERR_OK;
    case OPTIONS_F64: return read_number(schema, text, false, place, to);
    case OPTIONS_BOOL: return read_bool(schema, text, place, to);
    case OPTIONS_TEXT: *(const char **)to = text; return ERR_OK;
    case OPTIONS_CHOICE: return read_choice(schema, text, place, to);
    case OPTIONS_I64S:
    case OPTIONS_F64S: return convert_list(schema, text, place, to);
    }
    assert(false); /* every type has its converter above */
    return ERR_OK;
}

static void print_choice(FILE *to, const char *choices, int choice)
{
    for (; choice > 0; choice--) {
        choices = strchr(choices, '|') + 1;
    }
    fprintf(to, "%.*s", (int)strcspn(choices, "|"), choices);
}

/* Numbers are printed so that they read back as the same value. */
void options_print_value(FILE *to, const struct options_schema *schema,
                         const struct options *options)
{
    const void *from = (const char *)options + schema->offset;

    switch (schema->type) {
    case OPTIONS_I64_AUTO:
        if (*(const int64_t *)from == OPTIONS_AUTO) {
            fputs("auto", to);
            return;
        } /* fall through */
    case OPTIONS_I64: fprintf(to, "%" PRId64, *(const int64_t *)from); return;
    case OPTIONS_F64: fprintf(to, "%.17g", *(const double *)from); return;
    case OPTIONS_BOOL: fputs(*(const bool *)from ? "true" : "false", to); return;
    case OPTIONS_TEXT: fputs(*(const char *const *)from, to); return;
    case OPTIONS_CHOICE: print_choice(to, schema->choices, *(const int *)from); return;
    case OPTIONS_I64S: {
        const struct options_i64s *list = from;
        for (int i = 0; i < list->count; i++) {
            fprintf(to, "%s%" PRId64, i == 0 ? "" : ", ", list->values[i]);
        }
        return;
    }
    case OPTIONS_F64S: {
        const struct options_f64s *list = from;
        for (int i = 0; i < list->count; i++) {
            fprintf(to, "%s%.17g", i == 0 ? "" : ", ", list->values[i]);
        }
        return;
    }
    }
}
