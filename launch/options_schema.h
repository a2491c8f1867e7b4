/*
 * launch/options_schema.h - options.def as tables, for the files that read and write settings.
 *
 * Threads: read-only.
 */
#ifndef LAUNCH_OPTIONS_SCHEMA_H
#define LAUNCH_OPTIONS_SCHEMA_H

#include <stdio.h>

#include "launch/options.h"

enum options_scope { OPTIONS_RUN, OPTIONS_STAGE };

enum options_type {
    OPTIONS_I64,
    OPTIONS_I64_AUTO,
    OPTIONS_F64,
    OPTIONS_BOOL,
    OPTIONS_TEXT,
    OPTIONS_CHOICE,
    OPTIONS_I64S,
    OPTIONS_F64S,
};

enum options_id {
#define SECTION(title)
#define OPTION(type, name, ...) OPTION_##name,
#include "launch/options.def"
#undef OPTION
#undef SECTION
    OPTIONS_COUNT,
};

struct options_schema {
    const char *name;
    enum options_type type;
    enum options_scope scope;
    const char *initial;
    double least, most;
    const char *choices; /* separated by | */
    const char *unit;
    const char *help;
    size_t offset; /* in struct options */
};

extern const struct options_schema options_schemas[OPTIONS_COUNT];

/* Settings as they were written: NULL where nothing was. Lists are "[a, b]". */
struct options_layer {
    const char *texts[OPTIONS_COUNT];
    const char *sources[OPTIONS_COUNT]; /* where each was written */
};

/* What a file says. The texts are its own. */
struct options_file {
    struct options_layer run;
    int stage_count;
    struct {
        enum options_stage kind;
        struct options_layer layer;
    } stages[OPTIONS_STAGES_MAX];
    void *owner;
};

/* Reads the YAML text of `path`. End it with options_yaml_close(). Errors: as options_load(). */
ERR_MUST_CHECK enum err options_yaml_parse(const char *text, size_t text_bytes, const char *path,
                                           struct options_file **file_out);
void options_yaml_close(struct options_file *file); /* NULL is allowed */

/* The known name nearest to `name`, if it is near enough to be meant; else NULL. */
const char *options_nearest(const char *name);

/*
 * Reads `text` as a value of `schema` into its place in *options. `place` says where the
 * text was written. Texts are lent, not copied. Errors: ERR_CONFIG.
 */
ERR_MUST_CHECK enum err options_convert(const struct options_schema *schema, const char *text,
                                        const char *place, struct options *options);

/* Writes the value of `schema` in *options, the same text for equal values. */
void options_print_value(FILE *to, const struct options_schema *schema,
                         const struct options *options);

#endif
