#define _GNU_SOURCE
#include "launch/drill/drill_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "launch/drill/drill_run_priv.h"
#include "launch/exit_code.h"

enum {
    TICK_US = 1000,
    FILES_LOOK_MS = 20, /* at what ranks of other nodes write */
    NODES_LOOK_MS = 50, /* at what launch says of nodes */
    WORDS_MAX = 512,
};

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
    asked = number;
}

void drill_run_listen(void)
{
    const struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that a stopped rank may lose its parent: see orphan() */
}

/* In the child. */
static void become_launch(const struct drill_run *run, const char *const *words, int log,
                          pid_t drill)
{
    const int nowhere = open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != drill) {
        _exit(EXIT_INTERNAL);
    }
    run->options->backend->environment(run->nodes);
    dup2(nowhere, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(words[0], (char **)(uintptr_t)words);
    dprintf(STDERR_FILENO, "offramp: %s: %s\n", words[0], strerror(errno));
    _exit(EXIT_NO_INPUT);
}

static enum err start_launch(struct drill_run *run)
{
    const struct drill_options *options = run->options;
    const char *words[WORDS_MAX];
    char ranks[16], spares[16], hang[16];
    char log_path[FILE_PATH_BYTES_MAX];
    int count = 0;

    snprintf(ranks, sizeof(ranks), "%d", options->ranks);
    snprintf(spares, sizeof(spares), "%d", options->spares);
    snprintf(hang, sizeof(hang), "%d", options->hang_s);
    if (options->backend->prefix != NULL) {
        count = options->backend->prefix(run->nodes, words);
    }
    /* It is not the number of restarts that is rehearsed; a reference needs none. */
    const char *const stalls = run->what->count > 0 ? "10" : "2";
    const char *const head[] = {options->program, "launch", "-n",           ranks,
                                "--spares",       spares,   "--hang-s",     hang,
                                "--max-restarts", "1000",   "--max-stalls", stalls};
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++) {
        words[count++] = head[i];
    }
    count += options->backend->words(run->nodes, words + count, DRILL_NODES_WORDS);
    words[count++] = "--";
    for (int i = 0; options->train[i] != NULL; i++) {
        if (count + 4 > WORDS_MAX) {
            return ERR_FAIL(ERR_USAGE, "more than %d words", WORDS_MAX);
        }
        words[count++] = options->train[i];
    }
    words[count++] = "--output-dir";
    words[count++] = run->out;
    words[count] = NULL;
    ERR_TRY(file_path(log_path, run->folder, DRILL_LOG_FILE));
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", log_path, strerror(errno));
    }
    const pid_t drill = getpid();
    run->launch = fork();
    if (run->launch == 0) {
        become_launch(run, words, log, drill);
    }
    close(log);
    run->expected = DRILL_ENDS_DONE;
    return run->launch > 0 ? ERR_OK : ERR_FAIL(ERR_IO, "fork: %s", strerror(errno));
}

/* How far the ranks are: the furthest of them, of the newest start. */
static void look_at_ranks(struct drill_run *run)
{
    struct progress newest = {0}, told;
    int64_t kept = -1;

    if (run->options->backend->is_remote) {
        if (clock_now_ms() - run->read_ms >= FILES_LOOK_MS) {
            run->newest = drill_events_progress(run->out);
            run->read_ms = clock_now_ms();
        }
        return;
    }
    if (run->pages[0] == '\0' && !drill_processes_progress(run->token, run->pages)) {
        return;
    }
    for (int r = 0; r < run->options->ranks; r++) {
        struct progress_view *view = NULL;
        if (progress_view_open(run->pages, r, &view) != ERR_OK) {
            err_clear();
            continue;
        }
        if (progress_view_read(view, &told)) {
            kept = told.kept > kept ? told.kept : kept;
            newest = newest.process == 0 || told.step > newest.step ? told : newest;
        }
        progress_view_close(view);
    }
    run->newest = newest;
    run->newest.kept = kept;
}

/* Whether the process that is due at a point has told so. */
static bool has_fired(const struct drill_run *run)
{
    char text[96] = "";
    const int file = open(run->fired, O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return false;
    }
    const ssize_t length = read(file, text, sizeof(text) - 1);
    close(file);
    return length > 0 && text[length - 1] == '\n';
}

/* Whether all that happened before is over; what is to happen at the same step does not wait. */
static bool is_its_turn(const struct drill_run *run, int i)
{
    for (int j = 0; j < i; j++) {
        const bool is_together = run->what->faults[j].step == run->what->faults[i].step;
        if (run->what->faults[j].step > 0 &&
            (run->phases[j] == DRILL_WAITS || (run->phases[j] == DRILL_STRUCK && !is_together))) {
            return false;
        }
    }
    return true;
}

static bool is_due(struct drill_run *run, int i)
{
    const struct drill_fault *fault = &run->what->faults[i];

    if (fault->step == 0) {
        run->fired_ms = run->fired_ms == 0 && has_fired(run) ? clock_now_ms() : run->fired_ms;
        return run->fired_ms > 0 && clock_now_ms() - run->fired_ms >= fault->after_ms;
    }
    return run->expected == DRILL_ENDS_DONE && run->newest.process != 0 &&
           run->newest.step >= fault->step && is_its_turn(run, i);
}

/* Where it does not matter which node it is, one that is there, and whose loss is felt. */
static void aim(struct drill_run *run, int i)
{
    struct drill_fault *fault = &run->what->faults[i];
    const int count = run->options->nodes + run->options->spares;

    if (!run->what->draws || (fault->victim != DRILL_NODE && fault->victim != DRILL_KEEPER)) {
        return;
    }
    for (int n = 0; n < count &&
                    (run->is_down[fault->number] || !drill_events_is_used(run->out, fault->number));
         n++) {
        fault->number = fault->number % count + 1;
    }
}

static void strike(struct drill_run *run, int i)
{
    struct drill_outcome *outcome = &run->outcomes[i];
    bool is_done = false;

    look_at_ranks(run);
    aim(run, i);
    run->kept[i] = run->newest.process == 0 ? -1 : run->newest.kept;
    run->resumed[i] = drill_events_resumed(run->out, 0).count;
    const enum err status = drill_inject(run, i, &is_done);
    if (status != ERR_OK) {
        err_text(outcome->what, sizeof(outcome->what));
        err_clear();
        run->phases[i] = DRILL_PAST;
    } else if (is_done) {
        outcome->happened = run->what->faults[i].action != DRILL_FILL_DISK; /* that is to be seen */
        run->phases[i] = DRILL_STRUCK;
    }
    /* Where the job is lost, what others had done at that moment is what counts: see look_for_repair(). */
    if (run->what->faults[i].step == 0 &&
        (status != ERR_OK || (is_done && !drill_fault_loses_job(&run->what->faults[i])))) {
        drill_inject_release(run);
    }
}

/* Whether a node's memory is lost by it, or not to be had at the next start. */
static bool loses_memory(const struct drill_fault *fault)
{
    return fault->action == DRILL_CORRUPT || drill_fault_is_virtual(fault) ||
           (fault->action == DRILL_KILL && fault->victim == DRILL_NODE);
}

/* Whether the step that was kept when fault `i` came should have outlived it. */
static bool should_be_kept(const struct drill_run *run, int i)
{
    int lost = 0;

    for (int j = 0; j < run->what->count; j++) {
        /* What was lost before that step was committed is made good by it. */
        lost += run->outcomes[j].happened && loses_memory(&run->what->faults[j]) &&
                run->outcomes[j].step >= run->kept[i];
    }
    return lost == 0 || lost <= drill_events_survives(run->folder);
}

/* What was to come of fault `i` besides the same bits. */
static void judge(struct drill_run *run, int i, int64_t from)
{
    struct drill_outcome *outcome = &run->outcomes[i];
    const struct drill_resumed resumed = drill_events_resumed(run->out, run->resumed[i]);
    const struct drill_process *orphan = &run->orphans[i];

    if (resumed.of_memory > 0) {
        outcome->rebuilt = resumed.rebuilt;
    }
    if (from >= 0 && from < run->kept[i] && should_be_kept(run, i)) {
        snprintf(outcome->wrong, sizeof(outcome->wrong),
                 "step %" PRId64 " was told to be kept, and the next start went on from %" PRId64,
                 run->kept[i], from);
    }
    if (run->what->faults[i].action == DRILL_CORRUPT && outcome->rebuilt == 0) {
        snprintf(outcome->wrong, sizeof(outcome->wrong),
                 "snapshots were read, and nobody found the bytes that were flipped");
    }
    if (orphan->pid != 0 && drill_process_is_alive(orphan)) {
        snprintf(outcome->wrong, sizeof(outcome->wrong),
                 "rank %d of the earlier start (process %d) still lives", orphan->rank,
                 orphan->pid);
        drill_process_signal(orphan, SIGCONT); /* so that it does what it would have done */
    }
}

/* A disk that is full is made larger as soon as a checkpoint could not be written. */
static enum err look_at_disk(struct drill_run *run, int i)
{
    struct drill_outcome *outcome = &run->outcomes[i];
    const int failed = drill_events_count(run->out, "checkpoint.failed") - run->failed_saves;

    if (failed <= 0) {
        return ERR_OK;
    }
    ERR_TRY(drill_disk_leave(run->out, 0));
    snprintf(outcome->what, sizeof(outcome->what),
             "the disk was full, %d checkpoints could not be written", failed);
    outcome->happened = true;
    run->phases[i] = DRILL_PAST;
    return ERR_OK;
}

/* Whether the run has gone on since fault `i`. */
static void look_for_repair(struct drill_run *run, int i)
{
    const struct drill_fault *fault = &run->what->faults[i];
    struct drill_outcome *outcome = &run->outcomes[i];
    const struct progress *newest = &run->newest;

    if (!drill_fault_loses_job(fault)) {
        run->phases[i] =
            newest->process != 0 && newest->step > outcome->step ? DRILL_PAST : DRILL_STRUCK;
        return;
    }
    /* A start that was under way when the fault came is not the one that repairs it. */
    if (newest->process == 0 || newest->since_ns[PROGRESS_BEGUN] <= outcome->at_ns ||
        newest->first_step_ns == 0) {
        return;
    }
    outcome->repair_s = 1e-9 * (double)(newest->first_step_ns - outcome->at_ns);
    if (newest->from >= 0 && outcome->step >= newest->from) {
        outcome->redone = outcome->step - newest->from;
    }
    run->phases[i] = DRILL_PAST;
    if (fault->step == 0) {
        drill_inject_release(
            run); /* if it lives on somewhere, it does now what it would have done */
    }
    judge(run, i, newest->from);
}

static enum err bring_back(const struct drill_run *run, const struct drill_fault *fault)
{
    const struct drill_backend *backend = run->options->backend;

    switch (fault->action) {
    case DRILL_CUT: return backend->heal(run->nodes, fault->number);
    case DRILL_FREEZE: return backend->thaw(run->nodes, fault->number);
    default: return backend->start(run->nodes, fault->number);
    }
}

/* Whether fault `i` is what befell its node last. */
static bool is_newest(const struct drill_run *run, int i)
{
    for (int j = i + 1; j < run->what->count; j++) {
        if (run->what->faults[j].victim == DRILL_NODE && run->outcomes[j].happened &&
            run->what->faults[j].number == run->what->faults[i].number) {
            return false;
        }
    }
    return true;
}

/* Nodes that are down come back, their memory empty, once launch knows, and where it needs them. */
static enum err look_at_nodes(struct drill_run *run)
{
    const int count = run->options->nodes + run->options->spares;
    const int64_t now_ms = clock_now_ms();
    int up = 0;

    if (now_ms - run->looked_ms < NODES_LOOK_MS) {
        return ERR_OK;
    }
    run->looked_ms = now_ms;
    for (int n = 1; n <= count; n++) {
        up += run->is_down[n] ? 0 : 1;
    }
    for (int i = 0; i < run->what->count; i++) {
        const struct drill_fault *fault = &run->what->faults[i];
        if (fault->victim != DRILL_NODE || !run->outcomes[i].happened ||
            !run->is_down[fault->number] || !is_newest(run, i)) {
            continue;
        }
        char host[DRILL_HOST_BYTES];
        drill_nodes_host(fault->number, host);
        const bool is_missed =
            up < run->options->nodes &&
            drill_events_newest_ns(run->out, "node.gone", host) >= run->outcomes[i].at_ns;
        const bool lives_on = fault->action == DRILL_CUT || fault->action == DRILL_FREEZE;
        if (is_missed || (lives_on && run->phases[i] == DRILL_PAST)) {
            ERR_TRY(bring_back(run, fault));
            run->is_down[fault->number] = false;
            up++;
        }
    }
    return ERR_OK;
}

/* False while launch runs. *code_out: 128 + n if it died of signal n. */
static bool has_ended(struct drill_run *run, int *code_out)
{
    int status = 0;
    pid_t ended = 0;

    do { /* whoever lost its parent is this process's child now */
        ended = waitpid(-1, &status, WNOHANG);
    } while (ended > 0 && ended != run->launch);
    if (ended <= 0) {
        return false;
    }
    run->launch = 0;
    *code_out = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

/* Launch has ended with `code`: whether the run is over. */
static enum err look_at_end(struct drill_run *run, int code, struct drill_run_result *result,
                            bool *over_out)
{
    const int wanted = run->expected == DRILL_ENDS_ASKED    ? (int)EXIT_REQUEUE
                       : run->expected == DRILL_ENDS_KILLED ? 128 + SIGKILL
                                                            : (int)EXIT_DONE;

    *over_out = true;
    if (code != wanted && !(code == EXIT_DONE && run->expected == DRILL_ENDS_ASKED)) {
        snprintf(result->failure, sizeof(result->failure),
                 "launch ended with code %d, expected was %d: see %.300s/" DRILL_LOG_FILE, code,
                 wanted, run->folder);
        return ERR_OK;
    }
    if (run->expected == DRILL_ENDS_DONE) {
        return ERR_OK;
    }
    *over_out = false;
    return start_launch(run);
}

static enum err step(struct drill_run *run, struct drill_run_result *result, bool *over_out)
{
    int code = 0;

    look_at_ranks(run);
    for (int i = 0; i < run->what->count; i++) {
        if (run->phases[i] == DRILL_WAITS && is_due(run, i)) {
            strike(run, i);
        } else if (run->phases[i] == DRILL_STRUCK &&
                   run->what->faults[i].action == DRILL_FILL_DISK) {
            ERR_TRY(look_at_disk(run, i));
        } else if (run->phases[i] == DRILL_STRUCK) {
            look_for_repair(run, i);
        }
    }
    ERR_TRY(look_at_nodes(run));
    if (has_ended(run, &code)) {
        return look_at_end(run, code, result, over_out);
    }
    clock_nap_us(TICK_US);
    return ERR_OK;
}

static enum err watch(struct drill_run *run, struct drill_run_result *result)
{
    const int64_t start_ms = clock_now_ms();
    const int64_t deadline_ms = run->options->deadline_ms * (1 + run->what->count);
    bool is_over = false;

    ERR_TRY(start_launch(run));
    while (!is_over) {
        ERR_TRY(step(run, result, &is_over));
        if (asked != 0) {
            return ERR_FAIL(ERR_HALTED, "asked to end by signal %d", (int)asked);
        }
        if (!is_over && clock_now_ms() - start_ms > deadline_ms) {
            snprintf(result->failure, sizeof(result->failure),
                     "it was not over after %" PRId64 " s: see %.300s/" DRILL_LOG_FILE,
                     deadline_ms / 1000, run->folder);
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* What is known only when all is over. */
static void conclude(struct drill_run *run)
{
    const int64_t now_ns = clock_now_ns();

    for (int i = 0; i < run->what->count; i++) {
        struct drill_outcome *outcome = &run->outcomes[i];
        if (!outcome->happened && outcome->what[0] == '\0') {
            snprintf(outcome->what, sizeof(outcome->what), "it did not happen: %s",
                     run->what->faults[i].step > 0
                         ? "the run was over before, or the victim not there"
                         : "no process came by there");
        }
        if (run->phases[i] == DRILL_STRUCK && drill_fault_loses_job(&run->what->faults[i])) {
            outcome->repair_s = 1e-9 * (double)(now_ns - outcome->at_ns); /* no step was left */
            judge(run, i, -1);
        }
    }
    drill_events_measure(run->out, run->what, run->outcomes);
}

static enum err allocate(struct drill_run *run)
{
    const size_t count = (size_t)run->what->count;
    const size_t nodes = (size_t)run->options->nodes + (size_t)run->options->spares;

    run->phases = calloc(count + 1, sizeof(*run->phases));
    run->orphans = calloc(count + 1, sizeof(*run->orphans));
    run->kept = calloc(count + 1, sizeof(*run->kept));
    run->resumed = calloc(count + 1, sizeof(*run->resumed));
    run->is_down = calloc(nodes + 1, sizeof(*run->is_down));
    if (run->phases == NULL || run->orphans == NULL || run->kept == NULL || run->resumed == NULL ||
        run->is_down == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%zu faults", count);
    }
    for (size_t i = 0; i < count; i++) {
        run->outcomes[i] = (struct drill_outcome){
            .step = -1, .detect_s = -1, .repair_s = -1, .redone = -1, .rebuilt = -1};
    }
    return ERR_OK;
}

static enum err prepare(struct drill_run *run)
{
    static int number;
    bool has_disk = false;
    struct drill_nodes_options nodes = {
        .program = run->options->program,
        .folder = run->folder,
        .token = run->token,
        .vcluster = run->options->vcluster,
        .shares = run->options->shares,
        .count = run->options->nodes + run->options->spares,
        .slots = run->options->ranks / run->options->nodes,
    };

    for (int i = 0; i < run->what->count; i++) {
        if (run->what->faults[i].step == 0) {
            nodes.fault = &run->what->faults[i];
        }
        has_disk = has_disk || run->what->faults[i].action == DRILL_FILL_DISK;
        nodes.stays_attached = nodes.stays_attached || run->what->faults[i].action == DRILL_ORPHAN;
    }
    snprintf(run->token, sizeof(run->token), "%d.%" PRId64 ".%d", (int)getpid(), clock_now_ns(),
             ++number);
    ERR_TRY(allocate(run));
    ERR_TRY(file_path(run->out, run->folder, DRILL_OUTPUT));
    ERR_TRY(file_path(run->fired, run->folder, DRILL_FIRED_FILE));
    if (has_disk) {
        ERR_TRY(file_make_folder(run->out));
        ERR_TRY(drill_disk_open(run->out));
    }
    return run->options->backend->open(&nodes, &run->nodes);
}

enum err drill_run(const struct drill_options *options, const char *folder,
                   const struct drill_case *what, struct drill_outcome outcomes[],
                   struct drill_run_result *result_out)
{
    struct drill_run run = {
        .options = options, .what = what, .outcomes = outcomes, .folder = folder};
    struct drill_run_result result = {.failure = ""};
    const int64_t start_ns = clock_now_ns();

    enum err status = prepare(&run);
    if (status == ERR_OK) {
        status = watch(&run, &result);
    }
    if (status == ERR_OK) {
        conclude(&run);
        result.took_s = clock_since_s(start_ns);
        *result_out = result;
    }
    if (run.launch > 0) {
        kill(run.launch, SIGKILL);
        waitpid(run.launch, NULL, 0);
    }
    if (run.nodes != NULL) {
        options->backend->close(run.nodes);
    }
    if (run.pages[0] != '\0' && file_remove_tree(run.pages) != ERR_OK) {
        err_clear();
    }
    free(run.phases);
    free(run.orphans);
    free(run.kept);
    free(run.resumed);
    free(run.is_down);
    return status;
}
