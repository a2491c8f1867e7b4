#define _GNU_SOURCE
#include "launch/options.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "exits/exits_method.h"
#include "launch/options_schema.h"

static const char COMMAND_LINE[] = "--set";
static const char ENVIRONMENT[] = "environment";
static const char PREFIX[] = "OFFRAMP_";

/* Where the texts of a run live, and which text won. */
struct options_texts {
    char *path;
    struct options_file *file;
    struct options_layer run, stages[OPTIONS_STAGES_MAX];
};

const char *options_stage_name(enum options_stage stage)
{
    static const char *const names[OPTIONS_STAGE_KINDS] = {
        [OPTIONS_BACKBONE] = "backbone", [OPTIONS_EXITS] = "exits", [OPTIONS_JOINT] = "joint"};

    assert(stage < OPTIONS_STAGE_KINDS);
    return names[stage];
}

/* A key of the command line: dashes are underscores. OPTIONS_COUNT if it is not known. */
static int find_key(const char *key, size_t length)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        const char *name = options_schemas[i].name;
        if (strlen(name) != length) {
            continue;
        }
        size_t same = 0;
        while (same < length &&
               (key[same] == name[same] || (key[same] == '-' && name[same] == '_'))) {
            same++;
        }
        if (same == length) {
            return i;
        }
    }
    return OPTIONS_COUNT;
}

static void put(struct options_layer *layer, int option, const char *text, const char *source)
{
    layer->texts[option] = text;
    layer->sources[option] = source;
}

/* Puts a text into the run and into all its stages, or those of one kind. */
static void put_everywhere(struct options_run *run, int option, int kind, const char *text,
                           const char *source)
{
    if (kind == OPTIONS_STAGE_KINDS) {
        put(&run->texts->run, option, text, source);
    }
    for (int s = 0; s < run->stage_count; s++) {
        if (kind == OPTIONS_STAGE_KINDS || kind == (int)run->stages[s].kind) {
            put(&run->texts->stages[s], option, text, source);
        }
    }
}

static bool has_stage(const struct options_run *run, int kind)
{
    int s = 0;

    while (s < run->stage_count && kind != (int)run->stages[s].kind) {
        s++;
    }
    return s < run->stage_count;
}

static enum err take_set(struct options_run *run, const char *set)
{
    const char *const equals = strchr(set, '=');
    const char *key = set;
    char name[64];
    int kind = OPTIONS_STAGE_KINDS;

    if (equals == NULL || equals == set) {
        return ERR_FAIL(ERR_USAGE, "--set %s: it must be KEY=VALUE", set);
    }
    for (int k = 0; k < OPTIONS_STAGE_KINDS; k++) {
        const char *stage = options_stage_name((enum options_stage)k);
        const size_t length = strlen(stage);
        if (strncmp(set, stage, length) == 0 && set[length] == '.') {
            kind = k;
            key = set + length + 1;
        }
    }
    const int option = find_key(key, (size_t)(equals - key));
    if (option == OPTIONS_COUNT) {
        snprintf(name, sizeof(name), "%.*s", (int)(equals - key), key);
        const char *nearest = options_nearest(name);
        return ERR_FAIL(ERR_CONFIG, "--set %s: the key %s is not known%s%s%s", set, name,
                        nearest == NULL ? "" : ": did you mean ", nearest == NULL ? "" : nearest,
                        nearest == NULL ? "" : "?");
    }
    if (kind != OPTIONS_STAGE_KINDS && options_schemas[option].scope == OPTIONS_RUN) {
        return ERR_FAIL(ERR_CONFIG, "--set %s: %s is the same in all stages: leave out the stage",
                        set, options_schemas[option].name);
    }
    if (kind != OPTIONS_STAGE_KINDS && !has_stage(run, kind)) {
        return ERR_FAIL(ERR_CONFIG, "--set %s: the run has no stage %s", set,
                        options_stage_name((enum options_stage)kind));
    }
    put_everywhere(run, option, kind, equals + 1, COMMAND_LINE);
    return ERR_OK;
}

static void take_environment(struct options_run *run)
{
    char variable[96];

    for (int i = 0; i < OPTIONS_COUNT; i++) {
        snprintf(variable, sizeof(variable), "%s%s", PREFIX, options_schemas[i].name);
        for (char *c = variable; *c != '\0'; c++) {
            *c = (char)toupper((unsigned char)*c);
        }
        const char *text = getenv(variable);
        if (text != NULL) {
            put_everywhere(run, i, OPTIONS_STAGE_KINDS, text, ENVIRONMENT);
        }
    }
}

/* A variable that is almost a setting is one misspelt; others that begin so are not ours. */
static enum err check_environment(void)
{
    static const char *const others[] = {"OFFRAMP_FAULT", "OFFRAMP_DEBUG"};
    const size_t prefix = strlen(PREFIX);

    for (char **entry = environ; *entry != NULL; entry++) {
        const size_t length = strcspn(*entry, "=");
        char name[64] = "";
        bool known = strncmp(*entry, PREFIX, prefix) != 0 || length - prefix >= sizeof(name);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            known =
                known || (strlen(others[i]) == length && memcmp(*entry, others[i], length) == 0);
        }
        if (known) {
            continue;
        }
        for (size_t i = prefix; i < length; i++) {
            name[i - prefix] = (char)tolower((unsigned char)(*entry)[i]);
        }
        const char *nearest = options_nearest(name);
        if (nearest != NULL && strcmp(nearest, name) != 0) {
            return ERR_FAIL(ERR_CONFIG, "%s: %.*s is no setting: did you mean %s?", ENVIRONMENT,
                            (int)length, *entry, nearest);
        }
    }
    return ERR_OK;
}

static enum err read_file(struct options_run *run)
{
    struct options_texts *texts = run->texts;
    struct file_map map;

    ERR_TRY(file_map(run->path, &map));
    const enum err status =
        options_yaml_parse((const char *)map.bytes, map.count, run->path, &texts->file);
    file_unmap(&map);
    return status;
}

/* Defaults, then the file, into the layers of the run and of its stages. */
static void take_file(struct options_run *run)
{
    struct options_texts *texts = run->texts;
    const struct options_file *file = texts->file;

    run->stage_count = file == NULL || file->stage_count == 0 ? 1 : file->stage_count;
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        put(&texts->run, i, options_schemas[i].initial, NULL);
        if (file != NULL && file->run.texts[i] != NULL) {
            put(&texts->run, i, file->run.texts[i], file->run.sources[i]);
        }
    }
    for (int s = 0; s < run->stage_count; s++) {
        texts->stages[s] = texts->run;
        if (file == NULL || file->stage_count == 0) {
            run->stages[s].kind = OPTIONS_BACKBONE;
            continue;
        }
        run->stages[s].kind = file->stages[s].kind;
        for (int i = 0; i < OPTIONS_COUNT; i++) {
            if (file->stages[s].layer.texts[i] != NULL) {
                put(&texts->stages[s], i, file->stages[s].layer.texts[i],
                    file->stages[s].layer.sources[i]);
            }
        }
    }
}

static enum err convert_layer(const struct options_layer *layer, const char *stage,
                              struct options *options)
{
    char place[320];

    for (int i = 0; i < OPTIONS_COUNT; i++) {
        const char *source = layer->sources[i] == NULL ? "defaults" : layer->sources[i];
        snprintf(place, sizeof(place), "%.250s%s%s", source, stage[0] == '\0' ? "" : ": stage ",
                 stage);
        ERR_TRY(options_convert(&options_schemas[i], layer->texts[i], place, options));
    }
    return ERR_OK;
}

static enum err convert_all(struct options_run *run)
{
    ERR_TRY(convert_layer(&run->texts->run, "", &run->run));
    for (int s = 0; s < run->stage_count; s++) {
        const char *name = options_stage_name(run->stages[s].kind);
        ERR_TRY(convert_layer(&run->texts->stages[s], name, &run->stages[s].options));
    }
    return ERR_OK;
}

static enum err load(struct options_run *run, const char *path, const char *const *sets,
                     int set_count)
{
    run->texts = calloc(1, sizeof(*run->texts));
    if (run->texts == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "settings");
    }
    run->path = run->texts->path = strdup(path == NULL ? "" : path);
    if (run->path == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "settings");
    }
    if (run->path[0] != '\0') {
        ERR_TRY(read_file(run));
    }
    take_file(run);
    ERR_TRY(check_environment());
    take_environment(run);
    for (int i = 0; i < set_count; i++) {
        ERR_TRY(take_set(run, sets[i]));
    }
    return convert_all(run);
}

enum err options_load(const char *path, const char *const *sets, int set_count,
                      struct options_run **run_out)
{
    struct options_run *run = calloc(1, sizeof(*run));

    if (run == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "settings");
    }
    const enum err status = load(run, path, sets, set_count);
    if (status != ERR_OK) {
        options_close(run);
        return status;
    }
    *run_out = run;
    return ERR_OK;
}

void options_close(struct options_run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->texts != NULL) {
        options_yaml_close(run->texts->file);
        free(run->texts->path);
        free(run->texts);
    }
    free(run);
}

/* The length of the UTF-8 character at `text`, and its number; 1 and the byte if it is none. */
static size_t decode(const char *text, unsigned *number_out)
{
    const unsigned char *const bytes = (const unsigned char *)text;
    const size_t count = bytes[0] < 0xc0 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    unsigned number = count == 1 ? bytes[0] : bytes[0] & (0x7fu >> count);

    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80) { /* the text's NUL, too */
            *number_out = bytes[0];
            return 1;
        }
        number = number << 6 | (bytes[i] & 0x3fu);
    }
    *number_out = number;
    return count;
}

/* Whether YAML takes a character only as an escape: it is a control, a line end or a mark. */
static bool needs_escape(unsigned number)
{
    return number < ' ' || (number >= 0x7f && number < 0xa0) || number == 0x2028 ||
           number == 0x2029 || number == 0xfeff || number == 0xfffe || number == 0xffff;
}

/* A text between double quotes, as YAML reads it. */
static void print_quoted(FILE *to, const char *text)
{
    unsigned number = 0;

    fputc('"', to);
    for (size_t length = 0; *text != '\0'; text += length) {
        length = decode(text, &number);
        if (needs_escape(number)) {
            fprintf(to, "\\u%04x", number);
        } else {
            fprintf(to, "%s%.*s", number == '"' || number == '\\' ? "\\" : "", (int)length, text);
        }
    }
    fputc('"', to);
}

static void print_setting(FILE *to, const char *indent, const struct options_schema *schema,
                          const char *text, const char *source)
{
    const bool is_list = schema->type == OPTIONS_I64S || schema->type == OPTIONS_F64S;
    const bool lacks_brackets = is_list && strchr(text, '[') == NULL;

    fprintf(to, "%s%s: ", indent, schema->name);
    if (schema->type == OPTIONS_TEXT) {
        print_quoted(to, text);
    } else {
        fprintf(to, "%s%s%s", lacks_brackets ? "[" : "", text, lacks_brackets ? "]" : "");
    }
    if (source != NULL) {
        fprintf(to, "  # %s", source);
    }
    fputc('\n', to);
}

enum err options_text(const struct options_run *run, char **text_out)
{
    size_t bytes = 0;
    FILE *to = open_memstream(text_out, &bytes);

    if (to == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the resolved settings");
    }
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        if (options_schemas[i].scope == OPTIONS_RUN) {
            print_setting(to, "", &options_schemas[i], run->texts->run.texts[i],
                          run->texts->run.sources[i]);
        }
    }
    fprintf(to, "stages:\n");
    for (int s = 0; s < run->stage_count; s++) {
        fprintf(to, "  - stage: %s\n", options_stage_name(run->stages[s].kind));
        for (int i = 0; i < OPTIONS_COUNT; i++) {
            if (options_schemas[i].scope == OPTIONS_STAGE) {
                print_setting(to, "    ", &options_schemas[i], run->texts->stages[s].texts[i],
                              run->texts->stages[s].sources[i]);
            }
        }
    }
    return fclose(to) == 0 ? ERR_OK : ERR_FAIL(ERR_NO_MEMORY, "the resolved settings");
}

static void print_reference_row(const struct options_schema *schema)
{
    static const char *const types[] = {
        [OPTIONS_I64] = "integer",   [OPTIONS_I64_AUTO] = "`auto` or integer",
        [OPTIONS_F64] = "number",    [OPTIONS_BOOL] = "true/false",
        [OPTIONS_TEXT] = "text",     [OPTIONS_CHOICE] = "one of",
        [OPTIONS_I64S] = "integers", [OPTIONS_F64S] = "numbers"};

    printf("| `%s`%s | %s", schema->name, schema->scope == OPTIONS_STAGE ? " *" : "",
           types[schema->type]);
    if (schema->type == OPTIONS_CHOICE) {
        for (const char *at = schema->choices; *at != '\0'; at += strspn(at, "|")) {
            const int length = (int)strcspn(at, "|");
            printf(" `%.*s`", length, at);
            at += length;
        }
    } else if (schema->least < schema->most) {
        printf(", %g .. %g", schema->least, schema->most);
    }
    printf("%s%s | `%s` | %s |\n", schema->unit[0] == '\0' ? "" : ", ", schema->unit,
           schema->initial, schema->help);
}

static void print_methods(void)
{
    static const char *const gates[] = {[EXITS_GATE_LINEAR] = "linear",
                                        [EXITS_GATE_MLP] = "mlp",
                                        [EXITS_GATE_HIDDEN_LINEAR] = "hidden_linear",
                                        [EXITS_GATE_HIDDEN_MLP] = "hidden_mlp",
                                        [EXITS_GATE_SHARED] = "shared",
                                        [EXITS_GATE_ENSEMBLE] = "ensemble",
                                        [EXITS_GATE_NONE] = "none"};
    static const char *const scores[] = {[EXITS_SCORE_HAZARD] = "hazard",
                                         [EXITS_SCORE_CERTAINTY] = "certainty",
                                         [EXITS_SCORE_MAX_PROB] = "largest probability",
                                         [EXITS_SCORE_CUMULATIVE] = "cumulative probability"};
    static const char *const needs[] = {"step", "costs", "final-logits", "other-exits"};

    printf(
        "\n## Methods\n\nRows of `exits/exits_method.def`. A sample leaves by the score. Where a "
        "method has no gates of its own,\nthose of an `exit_gate` that decides learn the cheapest "
        "exit, and samples leave by hazard.\n\n| `exit_loss` | trains | its gate | leaves by | "
        "needs | source |\n|---|---|---|---|---|---|\n");
    for (int loss = 0; loss < EXITS_LOSS_COUNT; loss++) {
        const struct exits_method *method = exits_method_of((enum exits_loss)loss);
        printf("| `%s` | %s | `%s` | %s |", method->name, method->about, gates[method->gate],
               scores[method->score]);
        for (int bit = 0; bit < 4; bit++) {
            printf("%s%s", (method->needs >> bit & 1) != 0 ? " " : "",
                   (method->needs >> bit & 1) != 0 ? needs[bit] : "");
        }
        printf(" | %s |\n", method->paper);
    }
}

void options_print_reference(void)
{
    printf("# Settings\n\nMade from `launch/options.def` by `offramp config --reference`. Settings "
           "marked * may differ from\nstage to stage. Every one can be given in the YAML file, as "
           "`OFFRAMP_<NAME>` in the environment\n(upper case) and as `--set name=value`, the "
           "stronger last.\n");
#define SECTION(title)                                                                             \
    printf("\n## %s\n\n| setting | type | default | meaning |\n|---|---|---|---|\n", title);
#define OPTION(type, name, ...) print_reference_row(&options_schemas[OPTION_##name]);
#include "launch/options.def"
#undef OPTION
#undef SECTION
    print_methods();
}
