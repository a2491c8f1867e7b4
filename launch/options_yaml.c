#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cyaml/cyaml.h>

#include "launch/options_schema.h"

/*
 * libcyaml checks the shape: which keys there are, each once, scalars and lists where they
 * belong. Scalars are taken as texts: its own conversions accept "1.5" for an integer
 * and "maybe" for true.
 */
typedef char *yaml_scalar;
struct yaml_list {
    char **items;
    unsigned count;
};

typedef yaml_scalar yaml_I64, yaml_F64, yaml_BOOL, yaml_TEXT, yaml_CHOICE, yaml_I64_AUTO;
typedef struct yaml_list yaml_I64S, yaml_F64S;

struct yaml_layer {
#define SECTION(title)
#define OPTION(type, name, ...) yaml_##type name;
#include "launch/options.def"
#undef OPTION
#undef SECTION
    char *stage; /* of a stage only: its kind */
};

struct yaml_run {
    struct yaml_layer layer;
    struct yaml_layer *stages;
    unsigned stages_count;
};

static const cyaml_schema_value_t text_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED)};

#define FLAGS (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER)
#define FIELD_SCALAR(holder, member, name, initial)                                                \
    CYAML_FIELD_STRING_PTR(#name, FLAGS, holder, member, 0, CYAML_UNLIMITED),
/* libcyaml gives an empty list as it gives none: it is accepted where that is the same. */
#define FIELD_LIST(holder, member, name, initial)                                                  \
    {.key = #name,                                                                                 \
     .value = {.type = CYAML_SEQUENCE,                                                             \
               .flags = FLAGS,                                                                     \
               .data_size = sizeof(char *),                                                        \
               .sequence = {.entry = &text_schema,                                                 \
                            .min = sizeof(initial) > 1,                                            \
                            .max = OPTIONS_LIST_MAX}},                                             \
     .data_offset = offsetof(holder, member.items),  /* NOLINT(bugprone-macro-parentheses) */      \
     .count_offset = offsetof(holder, member.count), /* NOLINT(bugprone-macro-parentheses) */      \
     .count_size = sizeof(unsigned)},
#define FIELD_I64 FIELD_SCALAR
#define FIELD_F64 FIELD_SCALAR
#define FIELD_BOOL FIELD_SCALAR
#define FIELD_TEXT FIELD_SCALAR
#define FIELD_CHOICE FIELD_SCALAR
#define FIELD_I64_AUTO FIELD_SCALAR
#define FIELD_I64S FIELD_LIST
#define FIELD_F64S FIELD_LIST

/* Only a stage's own settings are known inside a stage. */
#define IN_STAGE_RUN(field)
#define IN_STAGE_STAGE(field) field

static const cyaml_schema_field_t stage_fields[] = {
#define SECTION(title)
#define OPTION(type, name, scope, initial, ...)                                                    \
    IN_STAGE_##scope(FIELD_##type(struct yaml_layer, name, name, initial))
#include "launch/options.def"
#undef OPTION
#undef SECTION
    CYAML_FIELD_STRING_PTR("stage", CYAML_FLAG_POINTER, struct yaml_layer, stage, 0,
                           CYAML_UNLIMITED),
    CYAML_FIELD_END};

static const cyaml_schema_value_t stage_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_layer, stage_fields)};

static const cyaml_schema_field_t run_fields[] = {
#define SECTION(title)
#define OPTION(type, name, scope, initial, ...)                                                    \
    FIELD_##type(struct yaml_run, layer.name, name, initial)
#include "launch/options.def"
#undef OPTION
#undef SECTION
    CYAML_FIELD_SEQUENCE("stages", FLAGS, struct yaml_run, stages, &stage_schema, 1,
                         OPTIONS_STAGES_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t run_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_run, run_fields)};

/*
 * The first message and the first place that libcyaml reports: the place, from 1, of what
 * it had read last; 0 if it had read nothing.
 */
struct complaint {
    char message[256];
    bool is_traced; /* what follows are the places */
    int line, column;
};

static void listen(cyaml_log_t level, void *context, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void listen(cyaml_log_t level, void *context, const char *format, va_list args)
{
    struct complaint *complaint = context;
    char line[256];

    (void)level;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    const char *const text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    const char *const where = strstr(line, "(line: ");
    complaint->is_traced = complaint->is_traced || strcmp(text, "Backtrace:") == 0;
    if (complaint->message[0] == '\0' && !complaint->is_traced) {
        snprintf(complaint->message, sizeof(complaint->message), "%s", text);
    } else if (complaint->line == 0 && where != NULL) {
        sscanf(where, "(line: %d, column: %d)", &complaint->line, &complaint->column);
    }
}

static const cyaml_config_t base_config = {
    .log_fn = listen, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_WARNING};

enum { PLACE_BYTES = 288, PLACES_MAX = OPTIONS_STAGES_MAX + 1 };

struct file_owner {
    struct options_file file; /* first: options_yaml_close() goes back from it */
    struct yaml_run *run;
    char *lists; /* all lists as texts, one after the other */
    char path[256];
    char (*places)[PLACE_BYTES]; /* "path: line 3" of every setting that is there */
};

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* Whether a mapping's key of that name is written at text[at]. */
static bool is_key_at(const char *text, size_t text_bytes, size_t at, const char *key)
{
    size_t end = at + strlen(key);

    if (end > text_bytes || memcmp(text + at, key, end - at) != 0 ||
        (at > 0 && is_name(text[at - 1]))) {
        return false;
    }
    while (end < text_bytes && strchr("\"' \t", text[end]) != NULL) {
        end++;
    }
    return end < text_bytes && text[end] == ':';
}

/* Moves the complaint's place on to `key`, which is the next thing of that name. */
static void move_to_key(struct complaint *complaint, const char *text, size_t text_bytes,
                        const char *key)
{
    int line = 1;
    int column = 1;

    for (size_t i = 0; i < text_bytes; i++) {
        const bool is_behind =
            line > complaint->line || (line == complaint->line && column >= complaint->column);
        if (is_behind && is_key_at(text, text_bytes, i, key)) {
            complaint->line = line;
            complaint->column = column;
            return;
        }
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
}

/* What follows `start` in the message, or NULL if it starts otherwise. */
static const char *rest_after(const char *message, const char *start)
{
    const size_t length = strlen(start);

    return strncmp(message, start, length) == 0 ? message + length : NULL;
}

static enum err refuse(const char *path, struct complaint *complaint, const char *text,
                       size_t text_bytes)
{
    const char *const unknown = rest_after(complaint->message, "Unexpected key: ");
    const char *const repeated = rest_after(complaint->message, "Mapping field already seen: ");
    const char *const syntax = rest_after(complaint->message, "libyaml: ");
    const char *const key = unknown != NULL ? unknown : repeated;
    char place[64] = "the beginning";

    if (key != NULL) {
        move_to_key(complaint, text, text_bytes, key);
    }
    if (complaint->line > 0) {
        snprintf(place, sizeof(place), "line %d, column %d", complaint->line, complaint->column);
    }
    if (repeated != NULL) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s: the key %s is there twice", path, place, repeated);
    }
    if (syntax != NULL) {
        return ERR_FAIL(ERR_CONFIG, "%s: after %s: %s", path, place, syntax);
    }
    if (unknown == NULL) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s: %s", path, place, complaint->message);
    }
    const char *const nearest = options_nearest(unknown);
    if (nearest != NULL && strcmp(nearest, unknown) == 0) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s: %s is the same in all stages: it stands above them",
                        path, place, unknown);
    }
    return ERR_FAIL(ERR_CONFIG, "%s: %s: the key %s is not known%s%s%s", path, place, unknown,
                    nearest == NULL ? " here" : ": did you mean ", nearest == NULL ? "" : nearest,
                    nearest == NULL ? "" : "?");
}

/* "[a, b]" at *at, which moves behind it. A list that is not there stays NULL. */
static const char *join(const struct yaml_list *list, char **at)
{
    char *const text = *at;

    if (list->items == NULL) {
        return NULL;
    }
    char *end = stpcpy(text, "[");
    for (unsigned i = 0; i < list->count; i++) {
        end = stpcpy(stpcpy(end, i == 0 ? "" : ", "), list->items[i]);
    }
    *at = stpcpy(end, "]") + 1;
    return text;
}

static size_t joined_bytes(const struct yaml_list *list)
{
    size_t bytes = sizeof("[]");

    for (unsigned i = 0; i < list->count; i++) {
        bytes += strlen(list->items[i]) + sizeof(", ");
    }
    return bytes;
}

#define TEXT_OF_SCALAR(value, at) (value)
#define TEXT_OF_LIST(value, at) join(&(value), at)
#define TEXT_OF_I64 TEXT_OF_SCALAR
#define TEXT_OF_F64 TEXT_OF_SCALAR
#define TEXT_OF_BOOL TEXT_OF_SCALAR
#define TEXT_OF_TEXT TEXT_OF_SCALAR
#define TEXT_OF_CHOICE TEXT_OF_SCALAR
#define TEXT_OF_I64_AUTO TEXT_OF_SCALAR
#define TEXT_OF_I64S TEXT_OF_LIST
#define TEXT_OF_F64S TEXT_OF_LIST

/*
 * The lines on which `key` stands as the key of a mapping, at most PLACES_MAX; how many there
 * are. What follows a # is a comment; who hides a # in a text may get no line numbers.
 */
static int find_lines(const char *text, size_t text_bytes, const char *key, int lines[PLACES_MAX])
{
    bool is_comment = false;
    int line = 1;
    int count = 0;

    for (size_t i = 0; i < text_bytes; i++) {
        is_comment =
            is_comment || (text[i] == '#' && (i == 0 || strchr(" \t\n", text[i - 1]) != NULL));
        if (text[i] == '\n') {
            is_comment = false;
            line++;
        } else if (!is_comment && is_key_at(text, text_bytes, i, key)) {
            lines[count < PLACES_MAX ? count : PLACES_MAX - 1] = line;
            count++;
        }
    }
    return count;
}

/*
 * Names the line of every setting. libcyaml does not tell it for a value it has taken, so it
 * is looked for: a key's lines are those of the stages, in order, and one before or behind
 * them; if there are more or fewer than settings, the line is left out.
 */
static enum err name_places(struct file_owner *owner, const char *text, size_t text_bytes)
{
    struct options_file *file = &owner->file;
    int lines[PLACES_MAX] = {0};
    size_t used = 0;
    const int stages_line = find_lines(text, text_bytes, "stages", lines) == 1 ? lines[0] : 0;

    owner->places = calloc((size_t)OPTIONS_COUNT * (size_t)(file->stage_count + 1), PLACE_BYTES);
    if (owner->places == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", owner->path);
    }
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        struct options_layer *layers[PLACES_MAX];
        int count = 0;
        const int found = find_lines(text, text_bytes, options_schemas[i].name, lines);
        const bool run_is_first = stages_line == 0 || lines[0] < stages_line;
        if (file->run.texts[i] != NULL && run_is_first) {
            layers[count++] = &file->run;
        }
        for (int s = 0; s < file->stage_count; s++) {
            if (file->stages[s].layer.texts[i] != NULL) {
                layers[count++] = &file->stages[s].layer;
            }
        }
        if (file->run.texts[i] != NULL && !run_is_first) {
            layers[count++] = &file->run;
        }
        for (int l = 0; l < count && found == count; l++) {
            char *place = owner->places[used++];
            snprintf(place, PLACE_BYTES, "%s: line %d", owner->path, lines[l]);
            layers[l]->sources[i] = place;
        }
    }
    return ERR_OK;
}

static void take_layer(const struct yaml_layer *yaml, const char *place, char **at,
                       struct options_layer *layer)
{
    const char *const texts[OPTIONS_COUNT] = {
#define SECTION(title)
#define OPTION(type, name, ...) [OPTION_##name] = TEXT_OF_##type(yaml->name, at),
#include "launch/options.def"
#undef OPTION
#undef SECTION
    };

    for (int i = 0; i < OPTIONS_COUNT; i++) {
        layer->texts[i] = texts[i];
        layer->sources[i] = place;
    }
}

static size_t layer_bytes(const struct yaml_layer *yaml)
{
    size_t bytes = 0;

#define BYTES_SCALAR(value) 0
#define BYTES_LIST(value) joined_bytes(&(value))
#define BYTES_I64 BYTES_SCALAR
#define BYTES_F64 BYTES_SCALAR
#define BYTES_BOOL BYTES_SCALAR
#define BYTES_TEXT BYTES_SCALAR
#define BYTES_CHOICE BYTES_SCALAR
#define BYTES_I64_AUTO BYTES_SCALAR
#define BYTES_I64S BYTES_LIST
#define BYTES_F64S BYTES_LIST
#define SECTION(title)
#define OPTION(type, name, ...) bytes += BYTES_##type(yaml->name);
#include "launch/options.def"
#undef OPTION
#undef SECTION
    return bytes;
}

static enum err take_stages(struct file_owner *owner, char **at)
{
    struct options_file *file = &owner->file;

    for (unsigned i = 0; i < owner->run->stages_count; i++) {
        const struct yaml_layer *yaml = &owner->run->stages[i];
        int kind = 0;
        while (kind < OPTIONS_STAGE_KINDS &&
               strcmp(yaml->stage, options_stage_name((enum options_stage)kind)) != 0) {
            kind++;
        }
        if (kind == OPTIONS_STAGE_KINDS) {
            return ERR_FAIL(ERR_CONFIG,
                            "%s: stage %u is \"%.60s\", it must be backbone, exits or joint",
                            owner->path, i + 1, yaml->stage);
        }
        file->stages[i].kind = (enum options_stage)kind;
        take_layer(yaml, owner->path, at, &file->stages[i].layer);
        file->stage_count++;
    }
    return ERR_OK;
}

enum err options_yaml_parse(const char *text, size_t text_bytes, const char *path,
                            struct options_file **file_out)
{
    struct complaint complaint = {0};
    cyaml_config_t config = base_config;
    struct file_owner *owner = calloc(1, sizeof(*owner));
    enum err status = ERR_OK;
    size_t bytes = 1;

    if (owner == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", path);
    }
    snprintf(owner->path, sizeof(owner->path), "%s", path);
    config.log_ctx = &complaint;
    const cyaml_err_t code = cyaml_load_data((const uint8_t *)text, text_bytes, &config,
                                             &run_schema, (cyaml_data_t **)&owner->run, NULL);
    if (code != CYAML_OK || complaint.message[0] != '\0') {
        if (complaint.message[0] == '\0') {
            snprintf(complaint.message, sizeof(complaint.message), "%s", cyaml_strerror(code));
        }
        status = refuse(path, &complaint, text, text_bytes);
        goto err_close;
    }
    if (owner->run != NULL) { /* else the file is empty */
        bytes += layer_bytes(&owner->run->layer);
        for (unsigned i = 0; i < owner->run->stages_count; i++) {
            bytes += layer_bytes(&owner->run->stages[i]);
        }
        owner->lists = malloc(bytes);
        if (owner->lists == NULL) {
            status = ERR_FAIL(ERR_NO_MEMORY, "%s", path);
            goto err_close;
        }
        char *at = owner->lists;
        take_layer(&owner->run->layer, owner->path, &at, &owner->file.run);
        ERR_GOTO(err_close, status, take_stages(owner, &at));
        ERR_GOTO(err_close, status, name_places(owner, text, text_bytes));
    }
    *file_out = &owner->file;
    return ERR_OK;

err_close:
    options_yaml_close(&owner->file);
    return status;
}

void options_yaml_close(struct options_file *file)
{
    struct file_owner *owner = (struct file_owner *)file;

    if (owner == NULL) {
        return;
    }
    if (owner->run != NULL) {
        struct complaint ignored = {0};
        cyaml_config_t config = base_config;
        config.log_ctx = &ignored;
        cyaml_free(&config, &run_schema, owner->run, 0);
    }
    free(owner->lists);
    free(owner->places);
    free(owner);
}
