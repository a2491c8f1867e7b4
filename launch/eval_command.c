#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/banner.h"
#include "launch/checkpoint.h"
#include "launch/commands.h"
#include "launch/evaluate.h"
#include "launch/session.h"

enum { SETS_MAX = 128, SET_BYTES_MAX = 4200, KEY_SET = 1000, KEY_JSON };

struct arguments {
    const char *run_dir;
    const char *json;
    const char *sets[SETS_MAX];
    int set_count;
};

static const struct argp_option eval_options[] = {
    {"set", KEY_SET, "KEY=VALUE", 0, "a setting other than the run's, such as timing_samples=0", 0},
    {"json", KEY_JSON, "FILE", 0, "write the results there as well", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_SET:
        if (arguments->set_count == SETS_MAX - 1) { /* one is ours: init_from */
            argp_error(state, "more than %d settings", SETS_MAX - 1);
        }
        arguments->sets[arguments->set_count++] = text;
        return 0;
    case KEY_JSON: arguments->json = text; return 0;
    case ARGP_KEY_ARG:
        if (arguments->run_dir != NULL) {
            argp_error(state, "one folder is expected, found %s and %s", arguments->run_dir, text);
        }
        arguments->run_dir = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->run_dir == NULL) {
            argp_error(state, "the output_dir of a run is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static enum err evaluate_run(const struct session *session, const struct options_run *options,
                             const char *json)
{
    struct train_run run = {0};
    struct jdoc *results = NULL;
    char *text = NULL;

    ERR_TRY(train_run_open(options, session->world, &run));
    if (session_is_first(session)) {
        banner_print(&run);
    }
    enum err status = evaluate(&run, &results);
    if (status == ERR_OK && results != NULL && json != NULL) {
        status = jdoc_text(results, 2, &text);
        if (status == ERR_OK) {
            status = file_write_text(json, text);
        }
        free(text);
    }
    jdoc_close(results);
    train_run_close(&run);
    return status;
}

/* The run's own settings, on the weights of its newest checkpoint. */
static enum err eval(const struct session *session, struct arguments *arguments,
                     struct options_run **options_out)
{
    char path[FILE_PATH_BYTES_MAX];
    char checkpoint[FILE_PATH_BYTES_MAX];
    static char init_from[SET_BYTES_MAX];

    ERR_TRY(checkpoint_find(arguments->run_dir, checkpoint));
    if (checkpoint[0] == '\0') {
        return ERR_FAIL(ERR_MISSING, "%s: no checkpoint there: give the output_dir of a run",
                        arguments->run_dir);
    }
    snprintf(init_from, sizeof(init_from), "init_from=%s", checkpoint);
    arguments->sets[arguments->set_count++] = init_from;
    ERR_TRY(file_path(path, arguments->run_dir, "config.resolved.yaml"));
    ERR_TRY(options_load(path, arguments->sets, arguments->set_count, options_out));
    return evaluate_run(session, *options_out, arguments->json);
}

int command_eval(int argc, char **argv)
{
    static const struct argp argp = {
        eval_options,
        parse,
        "RUN_DIR",
        "Evaluates the newest checkpoint of a run: accuracy against compute of every policy.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {0};
    struct session session = {0};
    struct options_run *options = NULL;

    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    enum err status = session_open(&session);
    if (status == ERR_OK) {
        status = eval(&session, &arguments, &options);
    }
    const int code = session_close(&session, status);
    options_close(options);
    return code;
}
