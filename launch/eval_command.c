#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/arguments.h"
#include "launch/banner.h"
#include "launch/checkpoint.h"
#include "launch/commands.h"
#include "launch/evaluate.h"
#include "launch/session.h"

enum { KEY_JSON = 1000 };

/* The longest wait for rank 0 to verify checkpoints. */
enum { FIND_DEADLINE_MS = 600000 };

struct arguments {
    const char *run_dir;
    const char *json;
    struct arguments_sets sets;
};

static const struct argp_option eval_options[] = {
    {"json", KEY_JSON, "FILE", 0, "write the results there as well", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->sets; return 0;
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
    /* Training may begin with a classifier that is drawn anew; there is nothing to evaluate in one. */
    enum err status =
        run.init_notes == NULL
            ? evaluate(&run, false, &results)
            : ERR_FAIL(ERR_CONFIG, "the checkpoint and the data do not go together: %s",
                       run.init_notes);
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

/* Rank 0 looks, and says what it passed over; all hear what it found. */
static enum err find_checkpoint(const struct session *session, const char *run_dir,
                                char folder[FILE_PATH_BYTES_MAX])
{
    int64_t worst = 0;

    folder[0] = '\0';
    const enum err status =
        session_is_first(session) ? checkpoint_find(run_dir, -1, folder) : ERR_OK;
    ERR_TRY(status);
    ERR_TRY(comm_agree_max(session->world, 0, FIND_DEADLINE_MS, &worst));
    ERR_TRY(comm_broadcast(session->world, folder, FILE_PATH_BYTES_MAX, 0, FIND_DEADLINE_MS));
    if (folder[0] == '\0') {
        return ERR_FAIL(ERR_MISSING, "%s: no checkpoint there: give the output_dir of a run",
                        run_dir);
    }
    return ERR_OK;
}

/* The run's own settings, on the weights of its newest checkpoint. */
static enum err eval(const struct session *session, struct arguments *arguments,
                     struct options_run **options_out)
{
    char path[FILE_PATH_BYTES_MAX];
    char checkpoint[FILE_PATH_BYTES_MAX];

    ERR_TRY(find_checkpoint(session, arguments->run_dir, checkpoint));
    arguments_set(&arguments->sets, NULL, "init_from", checkpoint);
    ERR_TRY(file_path(path, arguments->run_dir, "config.resolved.yaml"));
    ERR_TRY(options_load(path, arguments->sets.texts, arguments->sets.count, options_out));
    return evaluate_run(session, *options_out, arguments->json);
}

int command_eval(int argc, char **argv)
{
    static const struct argp_child children[] = {{&arguments_set_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        eval_options,
        parse,
        "RUN_DIR",
        "Evaluates the newest checkpoint of a run: accuracy against compute of every policy.",
        children,
        NULL,
        NULL};
    struct arguments arguments = {0};
    struct session session = {0};
    struct options_run *options = NULL;

    arguments_parse(&argp, argc, argv, &arguments);
    enum err status = session_open(&session);
    if (status == ERR_OK) {
        status = eval(&session, &arguments, &options);
    }
    const int code = session_close(&session, status);
    options_close(options);
    arguments_close(&arguments.sets);
    return code;
}
