#include <argp.h>
#include <stdlib.h>

#include "comm/base/fault.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/supervisor/supervisor_watch.h"
#include "snapshot/keeper.h"

enum { KEY_FOLDER = 1000, KEY_GRACE, KEY_RETAIN, KEY_REPORT, SECONDS_MAX = 100000000 };

struct arguments {
    struct keeper_options keeper;
    const char *report; /* NULL: it is a keeper */
};

static const struct argp_option keeper_options[] = {
    {"folder", KEY_FOLDER, "DIR", 0, "of the snapshots of one job on this node", 0},
    {"grace-s", KEY_GRACE, "S", 0,
     "after all ranks are gone, wait so long for a new start before writing to disk (10)", 0},
    {"grace_s", KEY_GRACE, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"retain-s", KEY_RETAIN, "S", 0, "then keep the memory so long (3600)", 0},
    {"retain_s", KEY_RETAIN, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"report", KEY_REPORT, "DIR", 0,
     "keep nothing, but tell on stdout every half second what ranks of this node told in DIR; "
     "offramp launch starts it",
     0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct keeper_options *options = &arguments->keeper;

    switch (key) {
    case KEY_FOLDER: options->folder = text; return 0;
    case KEY_GRACE: options->grace_s = (int)arguments_number(text, 0, SECONDS_MAX, state); return 0;
    case KEY_RETAIN:
        options->retain_s = (int)arguments_number(text, 0, SECONDS_MAX, state);
        return 0;
    case KEY_REPORT: arguments->report = text; return 0;
    case ARGP_KEY_ARG: argp_error(state, "no argument is expected, found %s", text); return 0;
    case ARGP_KEY_END:
        if (options->folder == NULL && arguments->report == NULL) {
            argp_error(state, "--folder DIR is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int command_keeper(int argc, char **argv)
{
    static const struct argp argp = {
        keeper_options,
        parse,
        NULL,
        "Keeps the snapshots of one job on this node. Ranks start it where there is none; a job "
        "script starts it where processes of a rank would not outlive the rank.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.keeper = {.grace_s = 10, .retain_s = 3600}};

    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments);
    enum err status = fault_arm(getenv("OFFRAMP_FAULT"), 0);
    if (status == ERR_OK) {
        status =
            arguments.report != NULL ? watch_run(arguments.report) : keeper_run(&arguments.keeper);
    }
    return (int)exit_code_report(status);
}
