#define _POSIX_C_SOURCE 200809L
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "comm/base/hash.h"
#include "launch/arguments.h"
#include "launch/banner.h"
#include "launch/commands.h"
#include "launch/evaluate.h"
#include "launch/exit_code.h"
#include "launch/features.h"
#include "launch/halt.h"
#include "launch/progress.h"
#include "launch/run_holder.h"
#include "launch/session.h"
#include "launch/train_loop.h"

enum { KEY_OUTPUT_DIR = 1000, KEY_MAX_STEPS };

struct arguments {
    const char *recipe;
    struct arguments_sets sets;
};

static const struct argp_option train_options[] = {
    {"output-dir", KEY_OUTPUT_DIR, "DIR", 0, "where checkpoints and metrics go", 0},
    {"output_dir", KEY_OUTPUT_DIR, "DIR", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"max-steps", KEY_MAX_STEPS, "N", 0, "stop after N steps of the run", 0},
    {"max_steps", KEY_MAX_STEPS, "N", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->sets; return 0;
    case KEY_OUTPUT_DIR: arguments_set(&arguments->sets, state, "output_dir", text); return 0;
    case KEY_MAX_STEPS: arguments_set(&arguments->sets, state, "max_steps", text); return 0;
    case ARGP_KEY_ARG:
        if (arguments->recipe != NULL) {
            argp_error(state, "one recipe is expected, found %s and %s", arguments->recipe, text);
        }
        arguments->recipe = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->recipe == NULL) {
            argp_error(state, "a recipe (YAML file) is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Before anything costly is done. What an earlier run left there is not touched yet. */
static enum err open_output(const struct session *session, const struct options_run *options)
{
    const char *folder = options->run.output_dir;

    if (folder[0] == '\0') {
        return ERR_FAIL(ERR_CONFIG, "output_dir is not set: give --output-dir DIR");
    }
    if (!session_is_first(session)) {
        return ERR_OK;
    }
    ERR_TRY_AS(file_make_folder(folder), "output_dir");
    if (access(folder, W_OK) != 0) {
        return ERR_FAIL(ERR_IO, "output_dir %s cannot be written to: %s", folder, strerror(errno));
    }
    halt_begin(folder);
    run_holder_begin(folder);
    return ERR_OK;
}

static enum err write_document(const struct options_run *options, const char *name, int indent,
                               const struct jdoc *document)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    ERR_TRY(jdoc_text(document, indent, &text));
    enum err status = file_path(path, options->run.output_dir, name);
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

static enum err summarize(const struct train_run *run, struct hash hash, struct jdoc *results)
{
    char digits[HASH_TEXT_BYTES];

    hash_text(hash, digits);
    jdoc_set_text(results, "verdict", "finished");
    jdoc_set_int(results, "exit_code", EXIT_DONE);
    jdoc_set_int(results, "step", run->state.step);
    jdoc_set_int(results, "world_size", comm_size(run->world));
    jdoc_set_text(results, "state_hash", digits);
    if (run->state.net != NULL) {
        ERR_TRY(write_document(run->options, TRAIN_RESULTS_FILE, 0, results));
        evaluate_shorten(results);
    }
    ERR_TRY(write_document(run->options, TRAIN_SUMMARY_FILE, 2, results));
    printf("state %s after step %" PRId64 " on %d ranks; summary in %s/summary.json\n", digits,
           run->state.step, comm_size(run->world), run->options->run.output_dir);
    return ERR_OK;
}

/*
 * A run that goes on removes the summary it finds (train_loop()). If there still is one, this
 * run was refused before it touched anything, and the summary is true of what lies there.
 */
static void summarize_failure(const struct options_run *options, enum err status, int world_size)
{
    char text[1024];
    char path[FILE_PATH_BYTES_MAX];

    err_text(text, sizeof(text));
    if (file_path(path, options->run.output_dir, TRAIN_SUMMARY_FILE) != ERR_OK ||
        file_exists(path)) {
        return;
    }
    struct jdoc *summary = jdoc_object();
    jdoc_set_text(summary, "verdict", status == ERR_HALTED ? "halted" : "failed");
    jdoc_set_int(summary, "exit_code", (int)exit_code_of(status));
    jdoc_set_text(summary, "error", text);
    jdoc_set_int(summary, "world_size", world_size);
    if (write_document(options, TRAIN_SUMMARY_FILE, 2, summary) != ERR_OK) {
        (void)ERR_FAIL(status, "%s", text); /* what failed first is what is told */
    }
    jdoc_close(summary);
}

/* As the last stage keeps those it trains on. */
static bool keeps_features(const struct options_run *options)
{
    const int last = options->stage_count - 1;

    return options->stages[last].kind == OPTIONS_EXITS &&
           options->stages[last].options.feature_cache == FEATURES_IN_FILE;
}

static enum err train(const struct session *session, const struct options_run *options)
{
    struct train_run run = {0};
    struct jdoc *results = NULL;
    struct hash hash = {0, 0};
    enum err status = ERR_OK;

    ERR_TRY(open_output(session, options));
    ERR_GOTO(out, status, train_run_open(options, session->world, &run));
    if (session_is_first(session)) {
        banner_print(&run);
    }
    progress_phase(PROGRESS_OPENED);
    ERR_GOTO(out, status, train_loop(&run, &hash));
    progress_phase(PROGRESS_EVALUATES);
    ERR_GOTO(out, status, evaluate(&run, keeps_features(options), &results));
    if (results != NULL) {
        status = summarize(&run, hash, results);
    }
out:
    if (status != ERR_OK && session_is_first(session)) {
        summarize_failure(options, status, comm_size(session->world));
    }
    if (status == ERR_OK || status == ERR_HALTED) {
        halt_done();
    }
    jdoc_close(results);
    train_run_close(&run);
    return status;
}

static const struct argp_child train_children[] = {{&arguments_set_argp, 0, NULL, 0}, {0}};
static const struct argp train_argp = {
    train_options,
    parse,
    "RECIPE",
    "Trains a run, or goes on with it: alone, or as a rank of mpirun or srun.",
    train_children,
    NULL,
    NULL};

enum err train_options_load(int argc, char **argv, struct arguments_sets *sets,
                            struct options_run **options_out)
{
    struct arguments arguments = {0};

    arguments_parse(&train_argp, argc, argv, &arguments);
    *sets = arguments.sets;
    return options_load(arguments.recipe, sets->texts, sets->count, options_out);
}

int command_train(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct session session = {0};
    struct options_run *options = NULL;

    arguments_parse(&train_argp, argc, argv, &arguments);
    progress_open(comm_launched_rank());
    enum err status = session_open(&session);
    halt_listen();
    progress_phase(PROGRESS_JOINED);
    if (status == ERR_OK) {
        status =
            options_load(arguments.recipe, arguments.sets.texts, arguments.sets.count, &options);
    }
    if (status == ERR_OK) {
        status = train(&session, options);
    }
    const int code = session_close(&session, status);
    options_close(options);
    arguments_close(&arguments.sets);
    progress_left(code);
    return code;
}
