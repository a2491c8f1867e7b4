/*
 * launch/options.h - the settings of a run: from defaults, file, environment and command
 * line to checked values.
 *
 * A setting is looked for, weakest first, in: options.def; the YAML file; the file's
 * entry for the stage; the environment (OFFRAMP_LEARNING_RATE=...); the command line
 * (--set learning_rate=...). Environment and command line reach every stage, unless the
 * key is preceded by a stage's name (--set exits.learning_rate=...).
 *
 * Threads: read-only once loaded.
 */
#ifndef LAUNCH_OPTIONS_H
#define LAUNCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { OPTIONS_LIST_MAX = 256, OPTIONS_STAGES_MAX = 16, OPTIONS_AUTO = -1 };

struct options_i64s {
    int64_t values[OPTIONS_LIST_MAX];
    int count;
};

struct options_f64s {
    double values[OPTIONS_LIST_MAX];
    int count;
};

typedef int64_t options_type_I64;
typedef int64_t options_type_I64_AUTO; /* or OPTIONS_AUTO */
typedef double options_type_F64;
typedef bool options_type_BOOL;
typedef const char *options_type_TEXT;
typedef int options_type_CHOICE; /* the place in the list of choices */
typedef struct options_i64s options_type_I64S;
typedef struct options_f64s options_type_F64S;

struct options {
#define SECTION(title)
#define OPTION(type, name, scope, initial, least, most, choices, unit, help)                       \
    options_type_##type name;
#include "launch/options.def"
#undef OPTION
#undef SECTION
};

enum options_stage { OPTIONS_BACKBONE, OPTIONS_EXITS, OPTIONS_JOINT, OPTIONS_STAGE_KINDS };

const char *options_stage_name(enum options_stage stage); /* "backbone" */

struct options_run {
    const char *path;   /* of the file; "" without one */
    struct options run; /* what is not a stage's */
    int stage_count;    /* >= 1: without `stages` in the file, one backbone stage */
    struct {
        enum options_stage kind;
        struct options options;
    } stages[OPTIONS_STAGES_MAX];
    struct options_texts *texts; /* owner of the texts above */
};

/*
 * Loads a run. `path` NULL or "": no file. `sets` [set_count] are "key=value" texts of
 * the command line. End it with options_close().
 *
 * Errors: ERR_MISSING if the file is not there; ERR_CONFIG for a key that is not known (with the
 * nearest one that is), twice there, of the wrong type or out of range, with its place;
 * ERR_USAGE for a `set` that is not key=value.
 */
ERR_MUST_CHECK enum err options_load(const char *path, const char *const *sets, int set_count,
                                     struct options_run **run_out);
void options_close(struct options_run *run); /* NULL is allowed */

/*
 * The whole run as a YAML file that gives the same run again; settings that are not the
 * default are followed by where they come from, as in "# run.yaml". The caller frees
 * *text_out. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err options_text(const struct options_run *run, char **text_out);

/* The reference of all settings, in Markdown, to stdout. */
void options_print_reference(void);

#endif
