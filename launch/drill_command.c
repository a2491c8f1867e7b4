#define _GNU_SOURCE
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "launch/commands.h"
#include "launch/drill/drill.h"
#include "launch/exit_code.h"

enum {
    KEY_ACTION = 1000, /* and those behind it, by the number of the action */
    KEY_NODES = KEY_ACTION + DRILL_ACTIONS,
    KEY_SPARES,
    KEY_OUTPUT_DIR,
    KEY_TOGETHER,
    KEY_MATRIX,
    KEY_EVERY_VICTIM,
    KEY_RANDOM,
    KEY_SEED,
    KEY_LIST,
    KEY_JUNIT,
    KEY_HANG,
    KEY_DEADLINE,
    KEY_KEEP,
    KEY_CLUSTER,
    KEY_DRY_RUN,
    KEY_VCLUSTER,
    KEY_SHARE,
};

enum { RANKS_MAX = 1024, SECONDS_MAX = 86400, WORDS_MAX = 256 };

struct arguments {
    const char *output_dir, *junit, *cluster, *vcluster;
    const char *shares[DRILL_NODES_SHARES];
    int share_count;
    int ranks, nodes, spares; /* nodes 0: as many as ranks */
    int hang_s, deadline_s, random_count;
    uint64_t seed;
    bool is_together, has_matrix, has_every_victim, lists, keeps, is_dry;
    struct drill_fault faults[DRILL_CASE_FAULTS_MAX];
    int fault_count;
    char **train; /* from "train" on */
    int train_count;
};

static const struct argp_option drill_options[] = {
    {NULL, 0, NULL, 0, "What the run is:", 1},
    {"nranks", 'n', "N", 0, "ranks (4)", 1},
    {"nodes", KEY_NODES, "K", 0, "nodes they are on, the same number on each (one rank a node)", 1},
    {"spares", KEY_SPARES, "B", 0, "nodes more, which take the place of those that are lost (0)",
     1},
    {"cluster", KEY_CLUSTER, "KIND", 0,
     "plain: names on this machine; virtual: namespaces, which can lose power (plain)", 1},
    {"vcluster", KEY_VCLUSTER, "PATH", 0, "the command of --cluster virtual (vcluster)", 1},
    {"share", KEY_SHARE, "DIR", 0, "a folder below /tmp that its nodes see, too; may be repeated",
     1},
    {"output-dir", KEY_OUTPUT_DIR, "DIR", 0, "the drill's own folder", 1},
    {"output_dir", KEY_OUTPUT_DIR, "DIR", OPTION_ALIAS | OPTION_HIDDEN, NULL, 1},
    {"hang-s", KEY_HANG, "S", 0, "as of launch (5)", 1},
    {"deadline-s", KEY_DEADLINE, "S", 0,
     "a run that takes longer has failed; each of its faults adds as much (300)", 1},

#define ACTION(action, name, form, help)                                                           \
    {                                                                                              \
        name, KEY_ACTION + (action), form, 0, help, 2                                              \
    }
    {NULL, 0, NULL, 0, "What happens to it, each in a run of its own; may be repeated:", 2},
    ACTION(
        DRILL_KILL, "kill", "rank|node|keeper=N@WHEN",
        "SIGKILL; a node loses its memory with all its processes. WHEN is step=S, once step S is "
        "done, or point=P[@rank=R][#HIT][+MS], at a fault point of this program, the HIT-th time "
        "(1) "
        "that the victim, or rank R, comes by, MS milliseconds (0) later"),
    ACTION(DRILL_STOP, "stop", "rank=N@WHEN", "SIGSTOP: a rank that hangs"),
    ACTION(DRILL_CORRUPT, "corrupt", "node=N@WHEN",
           "flip bytes in the node's snapshots, then kill the ranks"),
    ACTION(DRILL_DROP_KEEPER, "drop-keeper", "node=N@WHEN", "SIGKILL of the node's keeper"),
    ACTION(DRILL_FILL_DISK, "fill-disk", "step=S",
           "for a while no checkpoint can be written; needs the right to mount"),
    ACTION(DRILL_TERM, "term", "step=S",
           "SIGTERM to launch, which must end with 75; then the same command again"),
    ACTION(DRILL_SUPERVISOR, "supervisor", "step=S",
           "SIGKILL of launch; then the same command again"),
    ACTION(
        DRILL_ORPHAN, "orphan", "rank=N@step=S",
        "stop a rank and kill all who know of it; then the same command again, which must not let "
        "it live"),
    ACTION(DRILL_POWER, "power", "node=N@WHEN",
           "a node of a virtual cluster goes without a word to anybody"),
    ACTION(DRILL_CUT, "cut", "node=N@WHEN",
           "its cable is cut, and healed when the run has gone on"),
    ACTION(DRILL_FREEZE, "freeze", "node=N@WHEN",
           "all its processes stop, and go on when the run has gone on"),
#undef ACTION
    {"together", KEY_TOGETHER, NULL, 0, "all of them in one run", 2},

    {NULL, 0, NULL, 0, "Many at once:", 3},
    {"matrix", KEY_MATRIX, NULL, 0, "every fault point x {rank, keeper, node}, each a run", 3},
    {"every-victim", KEY_EVERY_VICTIM, NULL, 0, "with --matrix: x every rank, keeper and node", 3},
    {"random", KEY_RANDOM, "N", 0, "one run with N faults at random steps (a Poisson process)", 3},
    {"seed", KEY_SEED, "S", 0, "of --random (1)", 3},

    {NULL, 0, NULL, 0, "What is told:", 4},
    {"list", KEY_LIST, NULL, 0, "the faults and the fault points, and nothing is done", 4},
    {"dry-run", KEY_DRY_RUN, NULL, 0, "the runs that would be made, and nothing is done", 4},
    {"junit", KEY_JUNIT, "FILE", 0, "also as JUnit XML, a testcase for each fault", 4},
    {"keep", KEY_KEEP, NULL, 0, "keep the checkpoints of runs that passed, too", 4},
    {0},
};

static void add_fault(struct arguments *arguments, enum drill_action action, const char *text,
                      struct argp_state *state)
{
    char why[512];

    if (arguments->fault_count == DRILL_CASE_FAULTS_MAX) {
        argp_error(state, "more than %d faults", DRILL_CASE_FAULTS_MAX);
    }
    if (drill_fault_parse(action, text, &arguments->faults[arguments->fault_count]) != ERR_OK) {
        err_text(why, sizeof(why));
        argp_error(state, "%s", why);
    }
    arguments->fault_count++;
}

static void check_end(const struct arguments *arguments, struct argp_state *state)
{
    if (arguments->lists) {
        return;
    }
    if (arguments->train == NULL || strcmp(arguments->train[0], "train") != 0) {
        argp_error(state, "-- train RECIPE ... is expected at the end");
    }
    if (arguments->output_dir == NULL) {
        argp_error(state, "--output-dir DIR, the drill's own folder, is expected");
    }
    if (arguments->fault_count == 0 && !arguments->has_matrix && arguments->random_count == 0) {
        argp_error(state, "a fault is expected: --list names them; or --matrix, or --random N");
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    if (key >= KEY_ACTION && key < KEY_ACTION + DRILL_ACTIONS) {
        add_fault(arguments, (enum drill_action)(key - KEY_ACTION), text, state);
        return 0;
    }
    switch (key) {
    case 'n': arguments->ranks = (int)arguments_number(text, 1, RANKS_MAX, state); return 0;
    case KEY_NODES: arguments->nodes = (int)arguments_number(text, 1, RANKS_MAX, state); return 0;
    case KEY_SPARES: arguments->spares = (int)arguments_number(text, 0, RANKS_MAX, state); return 0;
    case KEY_CLUSTER: arguments->cluster = text; return 0;
    case KEY_SHARE:
        if (arguments->share_count == DRILL_NODES_SHARES) {
            argp_error(state, "more than %d folders", DRILL_NODES_SHARES);
        }
        arguments->shares[arguments->share_count++] = text;
        return 0;
    case KEY_VCLUSTER: arguments->vcluster = text; return 0;
    case KEY_OUTPUT_DIR: arguments->output_dir = text; return 0;
    case KEY_HANG: arguments->hang_s = (int)arguments_number(text, 1, SECONDS_MAX, state); return 0;
    case KEY_DEADLINE:
        arguments->deadline_s = (int)arguments_number(text, 1, SECONDS_MAX, state);
        return 0;
    case KEY_TOGETHER: arguments->is_together = true; return 0;
    case KEY_MATRIX: arguments->has_matrix = true; return 0;
    case KEY_EVERY_VICTIM: arguments->has_every_victim = true; return 0;
    case KEY_RANDOM:
        arguments->random_count = (int)arguments_number(text, 1, DRILL_CASE_FAULTS_MAX, state);
        return 0;
    case KEY_SEED:
        arguments->seed = (uint64_t)(int)arguments_number(text, 0, 1000000000, state);
        return 0;
    case KEY_LIST: arguments->lists = true; return 0;
    case KEY_DRY_RUN: arguments->is_dry = true; return 0;
    case KEY_JUNIT: arguments->junit = text; return 0;
    case KEY_KEEP: arguments->keeps = true; return 0;
    case ARGP_KEY_ARG: /* the rest is the ranks' */
        arguments->train = state->argv + state->next - 1;
        arguments->train_count = state->argc - state->next + 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_END: check_end(arguments, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void list(void)
{
    printf("faults:\n");
    for (int a = 0; a < DRILL_ACTIONS; a++) {
        const enum drill_action action = (enum drill_action)a;
        printf("  --%-12s %-40s %s\n", drill_action_name(action), drill_action_form(action),
               drill_action_help(action));
    }
#ifdef OFFRAMP_FAULTS
    printf("points, and the state of the world there:\n");
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        printf("  %-22s %s\n", fault_name((enum fault_point)p), fault_state((enum fault_point)p));
    }
#else
    printf("points: none, this build has no fault points (-DOFFRAMP_FAULTS=ON)\n");
#endif
}

static enum err check_fault(const struct drill_fault *fault, const struct drill_plan *plan)
{
    const struct drill_options *run = &plan->run;
    const int most = fault->victim == DRILL_RUN    ? 0
                     : fault->victim == DRILL_RANK ? run->ranks - 1
                                                   : run->nodes;
    char text[DRILL_FAULT_BYTES];

    drill_fault_text(fault, text);
    if (fault->number > most) {
        return ERR_FAIL(ERR_CONFIG, "%s: there are %d ranks, from 0 on, and %d nodes, from 1 on",
                        text, run->ranks, run->nodes);
    }
    if (fault->met_by >= run->ranks) {
        return ERR_FAIL(ERR_CONFIG, "%s: there are %d ranks, from 0 on", text, run->ranks);
    }
    if ((run->backend->actions & 1u << fault->action) == 0 ||
        (run->backend->is_remote && fault->victim == DRILL_KEEPER)) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s nodes cannot do that", text, run->backend->name);
    }
#ifndef OFFRAMP_FAULTS
    if (fault->step == 0) {
        return ERR_FAIL(ERR_CONFIG, "%s: this build has no fault points (-DOFFRAMP_FAULTS=ON)",
                        text);
    }
#endif
    return ERR_OK;
}

static enum err check_cases(const struct drill_plan *plan)
{
    for (int i = 0; i < plan->cases.count; i++) {
        const struct drill_case *what = &plan->cases.cases[i];
        int points = 0;
        for (int f = 0; f < what->count; f++) {
            ERR_TRY(check_fault(&what->faults[f], plan));
            points += what->faults[f].step == 0 ? 1 : 0;
        }
        if (points > 1) {
            return ERR_FAIL(ERR_CONFIG,
                            "--together: one fault at a point, and others at steps, "
                            "found %d",
                            points);
        }
    }
    return ERR_OK;
}

static int by_step(const void *a, const void *b)
{
    const struct drill_fault *left = a, *right = b;

    return (left->step > right->step) - (left->step < right->step);
}

static enum err make_cases(struct arguments *arguments, struct drill_plan *plan)
{
    const struct drill_size size = {plan->run.ranks, plan->run.nodes, plan->run.backend->is_remote};
    char name[DRILL_FAULT_BYTES];

    if (arguments->is_together && arguments->fault_count > 0) {
        qsort(arguments->faults, (size_t)arguments->fault_count, sizeof(arguments->faults[0]),
              by_step);
        ERR_TRY(
            drill_cases_add(&plan->cases, "together", arguments->faults, arguments->fault_count));
    }
    for (int i = 0; i < arguments->fault_count && !arguments->is_together; i++) {
        drill_fault_name(&arguments->faults[i], name);
        ERR_TRY(drill_cases_add(&plan->cases, name, &arguments->faults[i], 1));
    }
    if (arguments->has_matrix) {
        ERR_TRY(drill_schedule_matrix(size, arguments->has_every_victim, &plan->cases));
    }
    return check_cases(plan);
}

/* Settings are checked before anything runs; snapshots are on in a drill. */
static enum err check_train(struct arguments *arguments, const char **words)
{
    static char name[] = "offramp train";
    struct arguments_sets sets = {.count = 0};
    struct options_run *options = NULL;
    char *train = arguments->train[0];
    int count = 0;

    if (arguments->train_count + 4 > WORDS_MAX) {
        return ERR_FAIL(ERR_USAGE, "more than %d words behind --", WORDS_MAX - 4);
    }
    for (int i = 0; i < arguments->train_count; i++) { /* before argp puts them in another order */
        words[count++] = arguments->train[i];
    }
    arguments->train[0] = name;
    const enum err status =
        train_options_load(arguments->train_count, arguments->train, &sets, &options);
    arguments->train[0] = train;
    if (status == ERR_OK) {
        if (options->run.snapshot_steps == 0) {
            words[count++] = "--set";
            words[count++] = "snapshot_steps=1";
        }
        words[count] = NULL;
    }
    options_close(options);
    arguments_close(&sets);
    return status;
}

static enum err describe(const struct arguments *arguments, const struct drill_plan *plan,
                         char **text_out)
{
    size_t bytes = 0;
    FILE *file = open_memstream(text_out, &bytes);

    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a command line");
    }
    fprintf(file,
            "%s drill -n %d --nodes %d --spares %d --cluster %s --hang-s %d --deadline-s %d "
            "--output-dir %s",
            plan->run.program, plan->run.ranks, plan->run.nodes, plan->run.spares,
            plan->run.backend->name, arguments->hang_s, arguments->deadline_s,
            arguments->output_dir);
    if (plan->run.backend->is_remote) {
        fprintf(file, " --vcluster %s", arguments->vcluster);
        for (int i = 0; i < arguments->share_count; i++) {
            fprintf(file, " --share %s", arguments->shares[i]);
        }
    }
    return fclose(file) == 0 ? ERR_OK : ERR_FAIL(ERR_NO_MEMORY, "a command line");
}

static void print_plan(const struct drill_plan *plan)
{
    char text[DRILL_FAULT_BYTES];

    for (int i = 0; i < plan->cases.count; i++) {
        const struct drill_case *what = &plan->cases.cases[i];
        printf("%s:", what->name);
        for (int f = 0; f < what->count; f++) {
            drill_fault_text(&what->faults[f], text);
            printf(" %s", text);
        }
        putchar('\n');
    }
    if (plan->random_count > 0) {
        printf("random: %d faults, seed %llu\n", plan->random_count,
               (unsigned long long)plan->seed);
    }
}

static enum err find_backend(const char *name, const struct drill_backend **backend_out)
{
    static const struct drill_backend *const backends[] = {&drill_nodes_plain,
                                                           &drill_nodes_virtual};

    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        if (strcmp(name, backends[i]->name) == 0) {
            *backend_out = backends[i];
            return ERR_OK;
        }
    }
    return ERR_FAIL(ERR_USAGE, "--cluster %s: plain or virtual is expected", name);
}

static enum err rehearse(struct arguments *arguments, bool *passed_out)
{
    const char *words[WORDS_MAX];
    char program[FILE_PATH_BYTES_MAX];
    char *repeat = NULL;
    struct drill_plan plan = {
        .run = {.program = program,
                .vcluster = arguments->vcluster,
                .train = words,
                .ranks = arguments->ranks,
                .nodes = arguments->nodes > 0 ? arguments->nodes : arguments->ranks,
                .spares = arguments->spares,
                .hang_s = arguments->hang_s,
                .deadline_ms = 1000 * (int64_t)arguments->deadline_s},
        .folder = arguments->output_dir,
        .junit = arguments->junit,
        .random_count = arguments->random_count,
        .seed = arguments->seed,
        .keeps = arguments->keeps,
    };
    memcpy(plan.run.shares, arguments->shares, sizeof(arguments->shares));
    const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (length < 0) {
        return ERR_FAIL(ERR_IO, "/proc/self/exe cannot be read");
    }
    program[length] = '\0';
    if (plan.run.ranks % plan.run.nodes != 0) {
        return ERR_FAIL(ERR_CONFIG, "%d ranks on %d nodes: the same number on each is expected",
                        plan.run.ranks, plan.run.nodes);
    }
    ERR_TRY(find_backend(arguments->cluster, &plan.run.backend));
    ERR_TRY(check_train(arguments, words));
    enum err status = make_cases(arguments, &plan);
    if (status == ERR_OK) {
        status = describe(arguments, &plan, &repeat);
    }
    plan.repeat = repeat;
    if (status == ERR_OK && arguments->is_dry) {
        print_plan(&plan);
        *passed_out = true;
    } else if (status == ERR_OK) {
        status = drill(&plan, passed_out);
    }
    drill_cases_release(&plan.cases);
    free(repeat);
    return status;
}

int command_drill(int argc, char **argv)
{
    static const struct argp argp = {
        drill_options,
        parse,
        "-- train RECIPE [ARGUMENT...]",
        "Rehearses recovery: lets a run finish undisturbed, then the same run again under "
        "`offramp launch` while ranks, keepers and nodes are lost, and compares every bit of what "
        "they came to.\vExit code: 0 if all faults happened and all bits are the same, else 93. "
        "Only "
        "processes that the drill started are touched.",
        NULL,
        NULL,
        NULL};
    static struct arguments arguments = {.ranks = 4,
                                         .hang_s = 5,
                                         .deadline_s = 300,
                                         .seed = 1,
                                         .cluster = "plain",
                                         .vcluster = "vcluster"};
    bool passed = false;

    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments);
    if (arguments.lists) {
        list();
        return EXIT_DONE;
    }
    const enum err status = rehearse(&arguments, &passed);
    if (status != ERR_OK) {
        return (int)exit_code_report(status);
    }
    return passed ? EXIT_DONE : EXIT_DO_NOT_RESTART;
}

int command_drill_agent(int argc, char **argv)
{
    return drill_nodes_agent(argc, argv);
}
