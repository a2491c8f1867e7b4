#define _GNU_SOURCE
#include "launch/supervisor/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "launch/exit_code.h"
#include "launch/halt.h"
#include "launch/incarnation.h"
#include "launch/supervisor/supervisor_job.h"
#include "launch/supervisor/supervisor_place.h"
#include "launch/supervisor/supervisor_report.h"
#include "launch/supervisor/supervisor_standing.h"
#include "launch/train_loop.h"
#include "snapshot/snap_disk.h"

enum {
    TICK_MS = 50,                       /* between looks at a job of which nothing is heard */
    IDLE_MS = 1000,                     /* without a job */
    HOST_BYTES = NODES_HOST_BYTES + 16, /* of one, with the number of its ranks */
    WORDS_OF_A_START = 10,
    LATE_S = 5, /* a supervisor that itself was stopped for so long has seen no silence */
};

struct supervisor {
    const struct supervisor_options *options;
    struct supervisor_state state;
    struct detector detector;
    struct report *report;
    struct job *job;     /* NULL: none */
    struct nodes *nodes; /* NULL: this one alone */
    char *hosts;         /* of mpirun's --host */
    const char **mpirun; /* its command for the next start */
    int mpirun_count;    /* words of it that are always the same */
    int64_t over_ms;     /* since when this job is over, and nodes are asked; 0: it is not */
    struct pollfd *polls;
    int poll_room;
    int lock, signals;
    char folder[FILE_PATH_BYTES_MAX]; /* of the pages of ranks */

    int64_t launched_ns, over_ns, looked_ns;
    int64_t noted_ns;        /* when this job was seen to be lost; 0: it was not */
    struct report_loss loss; /* of the newest job that was lost */
    bool was_lost, is_told;  /* there was one; the job since has made a step, and it was told */
    int64_t hung_ms;         /* this job was silent for so long; 0: it did not hang */
    int hung_rank;
    const char *lost_node; /* that this job was on; NULL: none */
    bool claimed;          /* some start got to training */

    enum err status; /* of the supervisor's own doing */
    struct supervisor_action finish;
};

/* The lock of the run. Errors: ERR_CONFIG if it is taken. */
static enum err take_lock(struct supervisor *supervisor)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[FILE_PATH_BYTES_MAX];
    char text[300] = "", host[256] = "";

    ERR_TRY(file_path(path, supervisor->options->output_dir, "supervisor.lock"));
    supervisor->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (supervisor->lock < 0) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
    }
    if (fcntl(supervisor->lock, F_OFD_SETLK, &whole) != 0) {
        if (errno != EAGAIN && errno != EACCES) {
            return ERR_FAIL(ERR_IO, "%s: lock: %s", path, strerror(errno));
        }
        const ssize_t length = pread(supervisor->lock, text, sizeof(text) - 1, 0);
        text[length > 0 ? length : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return ERR_FAIL(ERR_CONFIG, "%s is launched already, by %s",
                        supervisor->options->output_dir,
                        text[0] == '\0' ? "another process" : text);
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(text, sizeof(text), "process %d on %s\n", (int)getpid(), host);
    if (ftruncate(supervisor->lock, 0) != 0 ||
        pwrite(supervisor->lock, text, strlen(text), 0) != (ssize_t)strlen(text)) {
        return ERR_FAIL(ERR_IO, "%s: write: %s", path, strerror(errno));
    }
    return ERR_OK;
}

static enum err take_signals(struct supervisor *supervisor)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(&set, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN); /* whoever reads our output may leave before the run is over */
    sigprocmask(SIG_BLOCK, &set, NULL);
    supervisor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return supervisor->signals >= 0 ? ERR_OK : ERR_FAIL(ERR_IO, "signalfd: %s", strerror(errno));
}

static void do_launch(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;
    const struct nodes_list *list = options->nodes;
    const int rank_count = list == NULL ? options->ranks_per_node
                                        : place_ranks(list, supervisor->state.is_used,
                                                      options->ranks_per_node, options->shares);
    char count[16];
    const struct job_options job = {
        .rank_count = rank_count,
        .mpirun = supervisor->mpirun,
        .ranks = options->ranks,
        .folder = supervisor->folder,
        .is_spread = list != NULL,
        .incarnation = supervisor->state.fences ? supervisor->state.incarnation : 0,
    };
    struct jdoc *details = jdoc_object();
    int words = supervisor->mpirun_count;

    snprintf(count, sizeof(count), "%d", rank_count);
    supervisor->mpirun[words++] = "-n";
    supervisor->mpirun[words++] = count;
    if (job.incarnation > 0) {
        supervisor->mpirun[words++] = "-x";
        supervisor->mpirun[words++] = "OFFRAMP_INCARNATION";
    }
    if (list != NULL) {
        place_hosts(list, supervisor->state.is_used, options->ranks_per_node, rank_count,
                    supervisor->hosts, (size_t)list->count * HOST_BYTES);
        jdoc_set_text(details, "hosts", supervisor->hosts);
        supervisor->mpirun[words++] = "--host";
        supervisor->mpirun[words++] = supervisor->hosts;
        if (rank_count != options->ranks_per_node * supervisor_nodes_used(&supervisor->state)) {
            supervisor->mpirun[words++] = "--map-by"; /* a rank on each, for the memory there */
            supervisor->mpirun[words++] = "node";
        }
    }
    supervisor->mpirun[words] = NULL;
    supervisor->launched_ns = clock_now_ns();
    supervisor->is_told = false;
    supervisor->noted_ns = 0;
    supervisor->hung_ms = 0;
    supervisor->lost_node = NULL;
    supervisor->over_ms = 0;
    detector_start(&supervisor->detector, rank_count, clock_now_ms());
    supervisor->status = job_start(&job, &supervisor->job);
    jdoc_set_int(details, "ranks", rank_count);
    jdoc_set_int(details, "incarnation", (int64_t)supervisor->state.incarnation);
    report_event(supervisor->report, "job.started", details);
}

static void do_action(struct supervisor *supervisor, const struct supervisor_action *action)
{
    switch (action->kind) {
    case SUPERVISOR_SWEEP: {
        const int killed = job_sweep(supervisor->folder);
        if (killed > 0) {
            report_line("%d ranks of an earlier start still ran: killed", killed);
        }
        return;
    }
    case SUPERVISOR_LAUNCH: do_launch(supervisor); return;
    case SUPERVISOR_KILL: job_kill(supervisor->job, clock_now_ms()); return;
    case SUPERVISOR_FORWARD:
        report_line("asked to halt: the step is finished and saved, within %.0f s",
                    1e-3 * (double)supervisor->options->limits.grace_ms);
        report_event(supervisor->report, "run.asked_to_halt", NULL);
        job_forward(supervisor->job);
        return;
    case SUPERVISOR_WAIT: /* after a loss, report_lost() says so */
        if (supervisor->launched_ns == 0) {
            report_line("fewer than %d nodes answer: waiting for them, within %.0f s",
                        supervisor->options->limits.nodes_min,
                        1e-3 * (double)supervisor->options->limits.node_wait_ms);
        }
        return;
    case SUPERVISOR_FINISH: supervisor->finish = *action; return;
    }
}

/* Decides, and does it. */
static void tell(struct supervisor *supervisor, struct supervisor_event event)
{
    struct supervisor_actions actions;

    event.now_ms = clock_now_ms();
    supervisor_decide(&supervisor->state, &event, &actions);
    for (int i = 0; i < actions.count && supervisor->status == ERR_OK; i++) {
        do_action(supervisor, &actions.list[i]);
    }
}

static void take_user_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;

    while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        tell(supervisor,
             (struct supervisor_event){.kind = SUPERVISOR_SIGNAL, .signal = (int)info.ssi_signo});
    }
}

static void look_for_hang(struct supervisor *supervisor, const struct standing *standing,
                          int64_t now_ms)
{
    struct detector *detector = &supervisor->detector;

    if (job_dead_rank(supervisor->job) >= 0 ||
        !detector_observe(detector, &standing->look, now_ms)) {
        return;
    }
    supervisor->hung_rank = job_slowest(supervisor->job);
    supervisor->hung_ms = now_ms - detector->since_ms;
    supervisor->noted_ns = clock_now_ns();
    tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_HANGS});
}

static void job_is_lost(struct supervisor *supervisor, const struct job_end *end, int64_t step)
{
    const struct report_loss before = supervisor->loss;
    const bool is_another = supervisor->was_lost && !supervisor->is_told;
    const int64_t noted_ns = supervisor->noted_ns != 0 ? supervisor->noted_ns : clock_now_ns();
    struct report_loss *loss = &supervisor->loss;

    *loss = (struct report_loss){
        .end = *end,
        .node = supervisor->lost_node,
        .hung_ms = supervisor->hung_ms,
        .step = step,
        .noted_ns = noted_ns,
        .furthest = supervisor->was_lost && before.furthest > step ? before.furthest : step,
        .since_ns = is_another ? before.since_ns : noted_ns,
    };
    if (loss->hung_ms > 0) {
        const char *host =
            supervisor->hung_rank < 0 ? NULL : job_host(supervisor->job, supervisor->hung_rank);
        loss->end.rank = supervisor->hung_rank;
        gethostname(loss->end.host, sizeof(loss->end.host) - 1);
        if (host != NULL) {
            snprintf(loss->end.host, sizeof(loss->end.host), "%s", host);
        }
    }
    supervisor->was_lost = true;
}

/* Whether rank 0 says so, too: mpirun gives 0 in more cases than one. */
static bool is_finished(const struct supervisor *supervisor)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    if (file_path(path, supervisor->options->output_dir, TRAIN_SUMMARY_FILE) != ERR_OK ||
        jdoc_read(path, &doc) != ERR_OK) {
        err_clear();
        return false;
    }
    const char *verdict = jdoc_as_text(jdoc_get(doc, "verdict"));
    const bool says_so = verdict != NULL && strcmp(verdict, "finished") == 0;
    jdoc_close(doc);
    return says_so;
}

static void end_job(struct supervisor *supervisor, const struct standing *standing)
{
    struct job_end end;

    job_end_of(supervisor->job, &end);
    if (end.signal == 0 && end.code == EXIT_DONE && !is_finished(supervisor)) {
        end.code = EXIT_INTERNAL;
        snprintf(end.line, sizeof(end.line),
                 "mpirun ended with 0, but no rank says it is finished");
    }
    const bool is_lost = end.signal != 0 || (end.code != EXIT_DONE && end.code != EXIT_REQUEUE);
    if (is_lost) {
        job_is_lost(supervisor, &end, standing->step);
    }
    job_close(supervisor->job);
    supervisor->job = NULL;
    supervisor->over_ns = clock_now_ns();
    /* The loss is told before the next start speaks. */
    struct supervisor_state next = supervisor->state;
    const struct supervisor_event event = {.kind = SUPERVISOR_JOB_OVER,
                                           .code = end.code,
                                           .signal = end.signal,
                                           .now_ms = clock_now_ms()};
    struct supervisor_actions ignored;
    supervisor_decide(&next, &event, &ignored);
    if (is_lost && !supervisor->state.is_asked) {
        report_lost(supervisor->report, &supervisor->loss, &next, event.now_ms);
    }
    tell(supervisor, event);
}

static void take_told(void *with, int rank, int node, const struct progress *progress)
{
    const struct supervisor *supervisor = with;

    /* A page may still be that of an earlier start. */
    if (supervisor->job != NULL && progress->at_ns >= supervisor->launched_ns) {
        job_told(supervisor->job, rank, supervisor->options->nodes->hosts[node], progress);
    }
}

static void look_at_nodes(struct supervisor *supervisor)
{
    const struct nodes_list *list = supervisor->options->nodes;

    if (supervisor->nodes == NULL) {
        return;
    }
    nodes_look(supervisor->nodes, clock_now_ms(), take_told, supervisor);
    for (int n = 0; n < list->count; n++) {
        const bool is_gone = nodes_is_gone(supervisor->nodes, n);
        if (is_gone == supervisor->state.is_gone[n]) {
            continue;
        }
        struct jdoc *details = jdoc_object();
        const bool is_spare = supervisor->launched_ns == 0
                                  ? n >= supervisor->options->limits.nodes_wanted
                                  : !supervisor->state.is_used[n];
        report_line("node %s %s%s", list->hosts[n], is_gone ? "does not answer" : "is back",
                    is_spare ? ", a spare" : "");
        jdoc_set_text(details, "host", list->hosts[n]);
        report_event(supervisor->report, is_gone ? "node.gone" : "node.back", details);
        if (is_gone && supervisor->state.is_used[n] && supervisor->lost_node == NULL) {
            supervisor->lost_node = list->hosts[n];
            supervisor->noted_ns =
                supervisor->noted_ns == 0 ? clock_now_ns() : supervisor->noted_ns;
        }
        tell(supervisor,
             (struct supervisor_event){
                 .kind = is_gone ? SUPERVISOR_NODE_GONE : SUPERVISOR_NODE_BACK, .node = n});
    }
}

/*
 * Whether every node has spoken after `since_ms`, or is gone: a start that names a node that is not
 * there fails, or hangs.
 */
static bool nodes_are_known(const struct supervisor *supervisor, int64_t since_ms)
{
    for (int n = 0; supervisor->nodes != NULL && n < supervisor->options->nodes->count; n++) {
        if (!nodes_is_gone(supervisor->nodes, n) &&
            nodes_heard_ms(supervisor->nodes, n) <= since_ms) {
            return false;
        }
    }
    return true;
}

/* Ranks that run see it themselves. */
static void look_for_ask(struct supervisor *supervisor)
{
    struct halt_ask ask;

    if (supervisor->state.phase != SUPERVISOR_WAITING) {
        return;
    }
    if (halt_ask_read(supervisor->options->output_dir, &ask) != ERR_OK) {
        err_clear();
    } else if (ask.after_step <= supervisor->state.kept) {
        report_line("asked to halt%s%s", ask.who[0] != '\0' ? " by " : "", ask.who);
        tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_SIGNAL, .signal = SIGUSR1});
    }
}

static void look_at_job(struct supervisor *supervisor)
{
    const int64_t now_ms = clock_now_ms();
    const int64_t looked_ns = supervisor->looked_ns;
    struct standing standing;

    supervisor->looked_ns = clock_now_ns();
    if (1e-9 * (double)(supervisor->looked_ns - looked_ns) > LATE_S) {
        supervisor->detector.since_ms = now_ms;
    }
    job_look(supervisor->job, now_ms);
    standing_of_job(supervisor->job, &standing);
    supervisor->claimed = supervisor->claimed || standing.claimed;
    if (supervisor->noted_ns == 0 && job_dead_rank(supervisor->job) >= 0) {
        supervisor->noted_ns = clock_now_ns();
    }
    if (standing.kept >= 0) {
        tell(supervisor,
             (struct supervisor_event){.kind = SUPERVISOR_STEP_KEPT, .step = standing.kept});
    }
    if (supervisor->was_lost && !supervisor->is_told && standing.first.process != 0) {
        report_recovered(supervisor->report, &supervisor->loss, &standing.first,
                         supervisor->over_ns, supervisor->launched_ns);
        supervisor->is_told = true;
    }
    if (job_is_over(supervisor->job)) {
        if (supervisor->over_ms == 0) {
            supervisor->over_ms = now_ms;
            supervisor->noted_ns =
                supervisor->noted_ns == 0 ? clock_now_ns() : supervisor->noted_ns;
        }
        if (nodes_are_known(supervisor, supervisor->over_ms)) {
            end_job(supervisor, &standing);
        }
    } else {
        look_for_hang(supervisor, &standing, now_ms);
    }
}

static void wait_for_something(struct supervisor *supervisor)
{
    const int64_t left_ms = supervisor->state.until_ms - clock_now_ms();
    int timeout_ms = TICK_MS;
    int count = 0;

    supervisor->polls[count++] = (struct pollfd){.fd = supervisor->signals, .events = POLLIN};
    if (supervisor->job != NULL) {
        count +=
            job_polls(supervisor->job, supervisor->polls + count, supervisor->poll_room - count);
    } else {
        timeout_ms = left_ms < 0 ? 0 : left_ms < IDLE_MS ? (int)left_ms : IDLE_MS;
    }
    if (supervisor->nodes != NULL) {
        timeout_ms = timeout_ms < TICK_MS ? timeout_ms : TICK_MS;
        count += nodes_polls(supervisor->nodes, supervisor->polls + count,
                             supervisor->poll_room - count);
    }
    if (poll(supervisor->polls, (nfds_t)count, timeout_ms) < 0 && errno != EINTR) {
        supervisor->status = ERR_FAIL(ERR_IO, "poll: %s", strerror(errno));
    }
}

static enum err allocate(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;
    const int node_count = options->limits.node_count;

    while (options->mpirun[supervisor->mpirun_count] != NULL) {
        supervisor->mpirun_count++;
    }
    supervisor->poll_room = (options->ranks_per_node + 1) * node_count + 4;
    supervisor->polls = calloc((size_t)supervisor->poll_room, sizeof(*supervisor->polls));
    supervisor->hosts = calloc((size_t)node_count, HOST_BYTES);
    supervisor->mpirun =
        calloc((size_t)supervisor->mpirun_count + WORDS_OF_A_START, sizeof(*supervisor->mpirun));
    if (supervisor->polls == NULL || supervisor->hosts == NULL || supervisor->mpirun == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d nodes", node_count);
    }
    for (int i = 0; i < supervisor->mpirun_count; i++) {
        supervisor->mpirun[i] = options->mpirun[i];
    }
    return ERR_OK;
}

static enum err prepare(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;
    uint64_t last = 0;

    ERR_TRY(allocate(supervisor));
    ERR_TRY(take_lock(supervisor));
    ERR_TRY(progress_folder(options->output_dir, supervisor->folder));
    ERR_TRY(take_signals(supervisor));
    ERR_TRY(incarnation_last(options->output_dir, &last));
    supervisor_init(&supervisor->state, &options->limits, last,
                    snap_disk_newest(options->output_dir));
    detector_init(&supervisor->detector, &options->detector);
    ERR_TRY(report_open(options->output_dir, clock_now_ns(), &supervisor->report));
    if (halt_ask_remove(options->output_dir)) {
        report_line("%s/" HALT_FILE " was there before this start: removed", options->output_dir);
    }
    if (options->nodes == NULL) {
        return ERR_OK;
    }
    const struct nodes_options nodes = {.list = options->nodes,
                                        .agent = options->agent,
                                        .program = options->program,
                                        .folder = supervisor->folder};
    return nodes_open(&nodes, clock_now_ms(), &supervisor->nodes);
}

static void run(struct supervisor *supervisor)
{
    struct jdoc *details = jdoc_object();

    jdoc_set_int(details, "process", (int64_t)getpid());
    jdoc_set_real(details, "monotonic_s", 1e-9 * (double)clock_now_ns());
    report_event(supervisor->report, "run.begun", details);
    supervisor->looked_ns = clock_now_ns();
    while (supervisor->status == ERR_OK && supervisor->state.phase != SUPERVISOR_OVER) {
        if (supervisor->state.phase == SUPERVISOR_IDLE && nodes_are_known(supervisor, 0)) {
            tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_BEGINS});
        }
        wait_for_something(supervisor);
        take_user_signals(supervisor);
        look_at_nodes(supervisor);
        if (supervisor->job != NULL) {
            look_at_job(supervisor);
        } else {
            supervisor->looked_ns = clock_now_ns();
            look_for_ask(supervisor);
        }
        tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_TIME});
    }
}

enum err supervisor_run(const struct supervisor_options *options, int *code_out)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

    if (supervisor == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a supervisor");
    }
    supervisor->options = options;
    supervisor->lock = -1;
    supervisor->signals = -1;
    supervisor->status = prepare(supervisor);
    if (supervisor->status == ERR_OK) {
        run(supervisor);
    }
    const enum err status = supervisor->status;
    if (status == ERR_OK) {
        report_finish(supervisor->report, &supervisor->finish, &supervisor->state,
                      supervisor->was_lost ? &supervisor->loss : NULL, supervisor->claimed);
        *code_out = supervisor->finish.code;
        (void)halt_ask_remove(options->output_dir);
    }
    job_close(supervisor->job);
    nodes_close(supervisor->nodes);
    report_close(supervisor->report);
    for (int i = 0; i < 2; i++) {
        const int file = i == 0 ? supervisor->lock : supervisor->signals;
        if (file >= 0) {
            close(file);
        }
    }
    free(supervisor->polls);
    free(supervisor->hosts);
    free(supervisor->mpirun);
    free(supervisor);
    return status;
}
