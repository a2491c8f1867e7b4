#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/hash.h"
#include "launch/banner.h"
#include "launch/commands.h"
#include "launch/evaluate.h"
#include "launch/exit_code.h"
#include "launch/session.h"
#include "launch/train_loop.h"

enum { SETS_MAX = 128, SET_BYTES_MAX = 4200, KEY_OUTPUT_DIR = 1000, KEY_MAX_STEPS, KEY_SET };

struct arguments {
    const char *recipe;
    const char *sets[SETS_MAX];
    int set_count;
    char output_dir[SET_BYTES_MAX];
    char max_steps[64];
};

static const struct argp_option train_options[] = {
    {"output-dir", KEY_OUTPUT_DIR, "DIR", 0, "where checkpoints and metrics go", 0},
    {"output_dir", KEY_OUTPUT_DIR, "DIR", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"max-steps", KEY_MAX_STEPS, "N", 0, "stop after N steps of the run", 0},
    {"max_steps", KEY_MAX_STEPS, "N", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"set", KEY_SET, "KEY=VALUE", 0,
     "any setting, in all stages; STAGE.KEY=VALUE: in that kind of stage", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    if (arguments->set_count == SETS_MAX) {
        argp_error(state, "more than %d settings", SETS_MAX);
    }
    switch (key) {
    case KEY_OUTPUT_DIR:
        snprintf(arguments->output_dir, SET_BYTES_MAX, "output_dir=%s", text);
        arguments->sets[arguments->set_count++] = arguments->output_dir;
        return 0;
    case KEY_MAX_STEPS:
        snprintf(arguments->max_steps, sizeof(arguments->max_steps), "max_steps=%s", text);
        arguments->sets[arguments->set_count++] = arguments->max_steps;
        return 0;
    case KEY_SET: arguments->sets[arguments->set_count++] = text; return 0;
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

/* Rank 0 makes the folder and puts the settings there, before anything costly is done. */
static enum err open_output(const struct session *session, const struct options_run *options)
{
    char path[FILE_PATH_BYTES_MAX];
    const char *folder = options->run.output_dir;
    char *text = NULL;

    if (folder[0] == '\0') {
        return ERR_FAIL(ERR_CONFIG, "output_dir is not set: give --output-dir DIR");
    }
    if (!session_is_first(session)) {
        return ERR_OK;
    }
    ERR_TRY_AS(file_make_folder(folder), "output_dir");
    ERR_TRY(file_path(path, folder, "config.resolved.yaml"));
    ERR_TRY(options_text(options, &text));
    const enum err status = file_write_text(path, text);
    free(text);
    if (status != ERR_OK) {
        return err_context_(status, "output_dir cannot be written to");
    }
    return ERR_OK;
}

static enum err write_summary(const struct options_run *options, const struct jdoc *summary)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    ERR_TRY(jdoc_text(summary, 2, &text));
    enum err status = file_path(path, options->run.output_dir, "summary.json");
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
    ERR_TRY(write_summary(run->options, results));
    printf("state %s after step %" PRId64 " on %d ranks; summary in %s/summary.json\n", digits,
           run->state.step, comm_size(run->world), run->options->run.output_dir);
    return ERR_OK;
}

/* So that nobody takes an earlier run's summary for this one's. */
static void summarize_failure(const struct options_run *options, enum err status, int world_size)
{
    char text[1024];
    struct jdoc *summary = jdoc_object();

    err_text(text, sizeof(text));
    jdoc_set_text(summary, "verdict", "failed");
    jdoc_set_int(summary, "exit_code", (int)exit_code_of(status));
    jdoc_set_text(summary, "error", text);
    jdoc_set_int(summary, "world_size", world_size);
    if (write_summary(options, summary) != ERR_OK) {
        (void)ERR_FAIL(status, "%s", text); /* what failed first is what is told */
    }
    jdoc_close(summary);
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
    ERR_GOTO(out, status, train_loop(&run, &hash));
    ERR_GOTO(out, status, evaluate(&run, &results));
    if (results != NULL) {
        status = summarize(&run, hash, results);
    }
out:
    if (status != ERR_OK && session_is_first(session)) {
        summarize_failure(options, status, comm_size(session->world));
    }
    jdoc_close(results);
    train_run_close(&run);
    return status;
}

int command_train(int argc, char **argv)
{
    static const struct argp argp = {
        train_options, parse,
        "RECIPE",      "Trains a run, or goes on with it: alone, or as a rank of mpirun or srun.",
        NULL,          NULL,
        NULL};
    struct arguments arguments = {0};
    struct session session = {0};
    struct options_run *options = NULL;

    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    enum err status = session_open(&session);
    if (status == ERR_OK) {
        status = options_load(arguments.recipe, arguments.sets, arguments.set_count, &options);
    }
    if (status == ERR_OK) {
        status = train(&session, options);
    }
    const int code = session_close(&session, status);
    options_close(options);
    return code;
}
