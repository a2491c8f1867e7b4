#define _GNU_SOURCE
#include <argp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/supervisor/supervisor.h"

enum {
    KEY_NODES_MIN = 1000,
    KEY_HOSTFILE,
    KEY_SPARES,
    KEY_AGENT,
    KEY_MAX_RESTARTS,
    KEY_MAX_STALLS,
    KEY_MPIRUN,
    KEY_OVERSUBSCRIBE,
    KEY_GRACE,
    KEY_HANG,
};

/* LAUNCH_MS: from the start of mpirun to a rank's first word, where nothing is known of it. */
enum { LAUNCH_MS = 120000, RANKS_MAX = 65536, WORDS_MAX = 256, SECONDS_MAX = 86400 };

struct arguments {
    const char *hostfile, *agent;
    int spares, nodes_min; /* 0: as many as are wanted */
    int ranks, max_restarts, max_stalls, grace_s, hang_s;
    bool oversubscribes;
    char *extra[WORDS_MAX]; /* of mpirun */
    int extra_count;
    char **train; /* the command of the ranks, from "train" on */
    int train_count;
};

static const struct argp_option launch_options[] = {
    {"nranks", 'n', "N", 0, "ranks to start; with a hostfile, as many as it has slots for", 0},
    {"hostfile", KEY_HOSTFILE, "FILE", 0, "nodes to start them on, as mpirun's: HOST slots=N", 0},
    {"spares", KEY_SPARES, "B", 0, "of them, the last B are used when others are lost (0)", 0},
    {"nodes-min", KEY_NODES_MIN, "A", 0,
     "go on with fewer nodes, down to A, when there is no spare", 0},
    {"nodes_min", KEY_NODES_MIN, "A", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"agent", KEY_AGENT, "WORDS", 0, "how a node is reached (ssh -o BatchMode=yes)", 0},
    {"max-restarts", KEY_MAX_RESTARTS, "N", 0, "give up after so many restarts within an hour (20)",
     0},
    {"max_restarts", KEY_MAX_RESTARTS, "N", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"max-stalls", KEY_MAX_STALLS, "K", 0,
     "give up after K starts in a row that kept no new step (3)", 0},
    {"max_stalls", KEY_MAX_STALLS, "K", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"hang-s", KEY_HANG, "S", 0,
     "a step is taken for hung after S seconds without a sign, and three times what the slowest "
     "in a hundred took (10)",
     0},
    {"hang_s", KEY_HANG, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"grace-s", KEY_GRACE, "S", 0, "after a signal, wait so long for ranks to save (120)", 0},
    {"grace_s", KEY_GRACE, "S", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"oversubscribe", KEY_OVERSUBSCRIBE, NULL, 0, "more ranks than cores, as mpirun's", 0},
    {"mpirun", KEY_MPIRUN, "ARGS", 0, "more arguments for mpirun, separated by blanks", 0},
    {0},
};

static void add_words(struct arguments *arguments, char *text, struct argp_state *state)
{
    char *rest = text;

    for (char *word = strsep(&rest, " \t"); word != NULL; word = strsep(&rest, " \t")) {
        if (word[0] == '\0') {
            continue;
        }
        if (arguments->extra_count == WORDS_MAX) {
            argp_error(state, "more than %d arguments for mpirun", WORDS_MAX);
        }
        arguments->extra[arguments->extra_count++] = word;
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'n': arguments->ranks = (int)arguments_number(text, 1, RANKS_MAX, state); return 0;
    case KEY_HOSTFILE: arguments->hostfile = text; return 0;
    case KEY_AGENT:
        if (text[0] != '/' && memchr(text, '/', strcspn(text, " ")) != NULL) {
            argp_error(state, "--agent %s: expected a command in PATH, or a whole path", text);
        }
        arguments->agent = text;
        return 0;
    case KEY_SPARES:
        arguments->spares = (int)arguments_number(text, 0, SUPERVISOR_NODES_MAX, state);
        return 0;
    case KEY_NODES_MIN:
        arguments->nodes_min = (int)arguments_number(text, 1, SUPERVISOR_NODES_MAX, state);
        return 0;
    case KEY_MAX_RESTARTS:
        arguments->max_restarts = (int)arguments_number(text, 0, SUPERVISOR_RESTARTS_MAX, state);
        return 0;
    case KEY_MAX_STALLS:
        arguments->max_stalls = (int)arguments_number(text, 1, 1000, state);
        return 0;
    case KEY_HANG: arguments->hang_s = (int)arguments_number(text, 1, SECONDS_MAX, state); return 0;
    case KEY_GRACE:
        arguments->grace_s = (int)arguments_number(text, 0, SECONDS_MAX, state);
        return 0;
    case KEY_OVERSUBSCRIBE: arguments->oversubscribes = true; return 0;
    case KEY_MPIRUN: add_words(arguments, text, state); return 0;
    case ARGP_KEY_ARG: /* the rest is the ranks' */
        arguments->train = state->argv + state->next - 1;
        arguments->train_count = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END:
        if (arguments->train == NULL || strcmp(arguments->train[0], "train") != 0) {
            argp_error(state, "-- train RECIPE ... is expected at the end");
        }
        if (arguments->ranks == 0 && arguments->hostfile == NULL) {
            argp_error(state, "-n N, the number of ranks, is expected");
        }
        if (arguments->hostfile == NULL &&
            (arguments->spares > 0 || arguments->nodes_min > 0 || arguments->agent != NULL)) {
            argp_error(state, "--spares, --nodes-min and --agent go with --hostfile");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/*
 * Open MPI 4.1.4 takes a second to end a job of which a rank died, of which it needs 30 ms, and
 * minutes to notice a node that is gone without a word.
 */
static const char *const mpirun_settings[] = {
    "mpirun", "--mca", "odls_base_sigkill_timeout", "0", "--mca", "oob_tcp_keepalive_time",
    "1",      "--mca", "oob_tcp_keepalive_intvl",   "1", "--mca", "oob_tcp_keepalive_probes",
    "3",      "-x",    "OFFRAMP_PROGRESS",
};

enum { SETTING_COUNT = sizeof(mpirun_settings) / sizeof(mpirun_settings[0]) };

struct command {
    const char *mpirun[SETTING_COUNT + WORDS_MAX + 8];
    const char **ranks;
    char program[FILE_PATH_BYTES_MAX];
};

static enum err make_command(const struct arguments *arguments, struct command *command)
{
    const ssize_t length =
        readlink("/proc/self/exe", command->program, sizeof(command->program) - 1);
    int count = 0;

    if (length < 0) {
        return ERR_FAIL(ERR_IO, "/proc/self/exe cannot be read");
    }
    command->program[length] = '\0';
    for (int i = 0; i < SETTING_COUNT; i++) {
        command->mpirun[count++] = mpirun_settings[i];
    }
    if (arguments->hostfile != NULL) {
        command->mpirun[count++] = "--mca"; /* so that no node is started through another */
        command->mpirun[count++] = "plm_rsh_no_tree_spawn";
        command->mpirun[count++] = "1";
    }
    if (arguments->agent != NULL) {
        command->mpirun[count++] = "--mca";
        command->mpirun[count++] = "plm_rsh_agent";
        command->mpirun[count++] = arguments->agent;
    }
    if (arguments->oversubscribes) {
        command->mpirun[count++] = "--oversubscribe";
    }
    for (int i = 0; i < arguments->extra_count; i++) {
        command->mpirun[count++] = arguments->extra[i];
    }
    command->mpirun[count] = NULL;
    command->ranks = calloc((size_t)arguments->train_count + 2, sizeof(*command->ranks));
    if (command->ranks == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the command of the ranks");
    }
    command->ranks[0] = command->program;
    for (int i = 0; i < arguments->train_count; i++) {
        command->ranks[i + 1] = arguments->train[i];
    }
    return ERR_OK;
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Into how many shares all steps can be cut: what the number of ranks must divide. */
static int64_t count_shares(const struct options_run *run)
{
    int64_t shares = 0;

    for (int s = 0; s < run->stage_count; s++) {
        const struct options *options = &run->stages[s].options;
        int64_t a = options->train_batch_size / options->per_device_train_batch_size;
        while (a != 0) { /* the greatest common divisor */
            const int64_t rest = shares % a;
            shares = a;
            a = rest;
        }
    }
    return shares;
}

/* Which nodes there are, and how many ranks each has. */
static enum err plan_nodes(const struct arguments *arguments, const struct nodes_list *list,
                           struct supervisor_options *supervisor)
{
    struct supervisor_limits *limits = &supervisor->limits;
    int slots = INT_MAX;

    limits->node_count = limits->nodes_wanted = limits->nodes_min = 1;
    supervisor->ranks_per_node = arguments->ranks;
    if (list->count == 0) {
        return ERR_OK;
    }
    if (list->count > SUPERVISOR_NODES_MAX || arguments->spares >= list->count) {
        return ERR_FAIL(ERR_CONFIG, "%s has %d nodes, %d of them spares", arguments->hostfile,
                        list->count, arguments->spares);
    }
    for (int n = 0; n < list->count; n++) {
        slots = list->slots[n] < slots ? list->slots[n] : slots;
    }
    limits->node_count = list->count;
    limits->nodes_wanted = list->count - arguments->spares;
    limits->nodes_min = arguments->nodes_min > 0 ? arguments->nodes_min : limits->nodes_wanted;
    const int ranks = arguments->ranks > 0 ? arguments->ranks : slots * limits->nodes_wanted;
    supervisor->ranks_per_node = ranks / limits->nodes_wanted;
    supervisor->nodes = list;
    if (limits->nodes_min > limits->nodes_wanted) {
        return ERR_FAIL(ERR_CONFIG, "--nodes-min %d is more than the %d nodes that are not spares",
                        limits->nodes_min, limits->nodes_wanted);
    }
    if (ranks % limits->nodes_wanted != 0 || supervisor->ranks_per_node > slots) {
        return ERR_FAIL(ERR_CONFIG,
                        "%d ranks on %d nodes: the same number on each is expected, at most %d",
                        ranks, limits->nodes_wanted, slots);
    }
    return ERR_OK;
}

/*
 * Until it is known how long phases take. Inside of them ranks give signs, or say how long they will
 * not; only mpirun, a start-up and a first step have no measure but the ranks' own deadlines.
 */
static void set_patience(const struct options *options, int64_t hang_ms,
                         struct detector_limits *limits)
{
    for (int kind = 0; kind < DETECTOR_KINDS; kind++) {
        limits->floor_ms[kind] = limits->first_ms[kind] = 3 * hang_ms;
    }
    limits->floor_ms[DETECTOR_STEP] = hang_ms;
    limits->first_ms[DETECTOR_STEP] = at_least(options->collective_deadline_ms, hang_ms);
    limits->first_ms[DETECTOR_LAUNCH] = at_least(LAUNCH_MS, 3 * hang_ms);
    limits->first_ms[DETECTOR_START] = at_least(options->serial_deadline_ms, 3 * hang_ms);
    limits->most_ms =
        at_least(limits->first_ms[DETECTOR_LAUNCH],
                 at_least(limits->first_ms[DETECTOR_STEP], limits->first_ms[DETECTOR_START]));
}

static enum err supervise(const struct arguments *arguments, const struct options_run *run,
                          const struct nodes_list *list, const struct command *command,
                          int *code_out)
{
    const struct options *options = &run->run;
    const int64_t hang_ms = 1000 * (int64_t)arguments->hang_s;
    struct supervisor_options supervisor = {
        .output_dir = options->output_dir,
        .mpirun = command->mpirun,
        .ranks = command->ranks,
        .shares = count_shares(run),
        .agent = arguments->agent != NULL ? arguments->agent : "ssh -o BatchMode=yes",
        .program = command->program,
        .limits = {.restarts_per_hour = arguments->max_restarts,
                   .stalls_max = arguments->max_stalls,
                   .backoff_ms = 1000,
                   .backoff_max_ms = 60000,
                   .node_wait_ms = 600000,
                   .grace_ms = 1000 * (int64_t)arguments->grace_s},
    };

    set_patience(options, hang_ms, &supervisor.detector);
    ERR_TRY(plan_nodes(arguments, list, &supervisor));
    return supervisor_run(&supervisor, code_out);
}

static enum err launch(const struct arguments *arguments, const struct options_run *run,
                       int *code_out)
{
    struct command command = {.ranks = NULL};
    struct nodes_list list = {.count = 0};

    if (run->run.output_dir[0] == '\0') {
        return ERR_FAIL(ERR_CONFIG, "output_dir is not set: give --output-dir DIR");
    }
    if (arguments->hostfile != NULL) {
        ERR_TRY(nodes_list_read(arguments->hostfile, &list));
    }
    enum err status = file_make_folder(run->run.output_dir);
    if (status == ERR_OK) {
        status = make_command(arguments, &command);
    }
    if (status == ERR_OK) {
        status = supervise(arguments, run, &list, &command, code_out);
    }
    free(command.ranks);
    nodes_list_release(&list);
    return status;
}

int command_launch(int argc, char **argv)
{
    static const struct argp argp = {
        launch_options,
        parse,
        "-- train RECIPE [ARGUMENT...]",
        "Starts the ranks of a run under mpirun, watches them, and starts them again when they are "
        "lost, until the run is done.",
        NULL,
        NULL,
        NULL};
    static char name[] = "offramp train";
    struct arguments arguments = {
        .max_restarts = 20, .max_stalls = 3, .grace_s = 120, .hang_s = 10};
    struct arguments_sets sets = {.count = 0};
    struct options_run *options = NULL;
    int code = EXIT_DONE;

    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments);
    char *train = arguments.train[0];
    arguments.train[0] = name;
    enum err status = train_options_load(arguments.train_count, arguments.train, &sets, &options);
    arguments.train[0] = train;
    if (status == ERR_OK) {
        status = launch(&arguments, options, &code);
    }
    options_close(options);
    arguments_close(&sets);
    return status == ERR_OK ? code : (int)exit_code_report(status);
}
