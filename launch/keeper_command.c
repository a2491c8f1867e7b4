#include <argp.h>
#include <stdlib.h>

#include "comm/base/fault.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "snapshot/keeper.h"

enum { KEY_FOLDER = 1000, KEY_GRACE, KEY_RETAIN };

static const struct argp_option keeper_options[] = {
    {"folder", KEY_FOLDER, "DIR", 0, "of the snapshots of one job on this node", 0},
    {"grace-s", KEY_GRACE, "S", 0,
     "after all ranks are gone, wait so long for a new start before writing to disk (10)", 0},
    {"grace_s", KEY_GRACE, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"retain-s", KEY_RETAIN, "S", 0, "then keep the memory so long (3600)", 0},
    {"retain_s", KEY_RETAIN, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {0},
};

static int seconds(const char *text, struct argp_state *state)
{
    char *end = NULL;
    const long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 0 || value > 100000000) {
        argp_error(state, "a number of seconds is expected, found %s", text);
    }
    return (int)value;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct keeper_options *options = state->input;

    switch (key) {
    case KEY_FOLDER: options->folder = text; return 0;
    case KEY_GRACE: options->grace_s = seconds(text, state); return 0;
    case KEY_RETAIN: options->retain_s = seconds(text, state); return 0;
    case ARGP_KEY_ARG: argp_error(state, "no argument is expected, found %s", text); return 0;
    case ARGP_KEY_END:
        if (options->folder == NULL) {
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
    struct keeper_options options = {.grace_s = 10, .retain_s = 3600};

    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options);
    enum err status = fault_arm(getenv("OFFRAMP_FAULT"), 0);
    if (status == ERR_OK) {
        status = keeper_run(&options);
    }
    return (int)exit_code_report(status);
}
