#define _GNU_SOURCE
#include "launch/supervisor/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/hash.h"
#include "launch/exit_code.h"
#include "launch/incarnation.h"
#include "launch/supervisor/supervisor_job.h"
#include "launch/supervisor/supervisor_report.h"
#include "snapshot/snap_disk.h"

enum {
    TICK_MS = 50,   /* between looks at a job of which nothing is heard */
    IDLE_MS = 1000, /* without a job */
    LATE_S = 5,     /* a supervisor that itself was stopped for so long has seen no silence */
};

struct supervisor {
    const struct supervisor_options *options;
    struct supervisor_state state;
    struct detector detector;
    struct report *report;
    struct job *job; /* NULL: none */
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
    bool claimed; /* some start got to training */

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

static enum err find_folder(struct supervisor *supervisor)
{
    char *real = realpath(supervisor->options->output_dir, NULL);

    if (real == NULL) {
        return ERR_FAIL(ERR_IO, "output_dir %s is not there", supervisor->options->output_dir);
    }
    snprintf(supervisor->folder, sizeof(supervisor->folder),
             "/dev/shm/offramp-progress.%u.%016" PRIx64, (unsigned)geteuid(),
             hash_bytes(real, strlen(real)).low);
    free(real);
    return ERR_OK;
}

static void do_launch(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;
    const struct job_options job = {
        .rank_count = options->rank_count,
        .mpirun = options->mpirun,
        .ranks = options->ranks,
        .folder = supervisor->folder,
        .incarnation = supervisor->state.fences ? supervisor->state.incarnation : 0,
    };
    struct jdoc *details = jdoc_object();

    supervisor->launched_ns = clock_now_ns();
    supervisor->is_told = false;
    supervisor->noted_ns = 0;
    supervisor->hung_ms = 0;
    detector_start(&supervisor->detector, options->rank_count, clock_now_ms());
    supervisor->status = job_start(&job, &supervisor->job);
    jdoc_set_int(details, "ranks", job.rank_count);
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
    case SUPERVISOR_WAIT: return; /* the state knows until when */
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

/* What all ranks that are seen have told, as one. */
struct summary {
    int seen;
    int64_t step, kept;        /* the newest */
    uint64_t signs;            /* of all ranks */
    enum progress_phase phase; /* of the rank that is furthest from the end */
    bool claimed;
    struct progress first; /* of a rank that has made a step; process 0: none has */
};

static void sum_up(const struct job *job, int rank_count, struct summary *sum_out)
{
    struct summary sum = {.step = -1, .kept = -1, .phase = PROGRESS_LEAVES};
    struct progress told;

    for (int r = 0; r < rank_count; r++) {
        if (!job_progress(job, r, &told)) {
            continue;
        }
        sum.seen++;
        sum.signs += told.beats;
        sum.phase = told.phase < sum.phase ? told.phase : sum.phase;
        sum.step = told.step > sum.step ? told.step : sum.step;
        sum.kept = told.kept > sum.kept ? told.kept : sum.kept;
        sum.claimed = sum.claimed || told.from >= 0;
        if (told.first_step_ns != 0 &&
            (sum.first.process == 0 || told.first_step_ns < sum.first.first_step_ns)) {
            sum.first = told;
        }
    }
    *sum_out = sum;
}

static enum detector_kind kind_of(enum progress_phase phase)
{
    switch (phase) {
    case PROGRESS_STEPS: return DETECTOR_STEP;
    case PROGRESS_SAVES:
    case PROGRESS_EVALUATES:
    case PROGRESS_LEAVES: return DETECTOR_SAVE;
    default: return DETECTOR_START;
    }
}

/* Only of ranks that are seen: of a job that is all on other nodes silence means nothing. */
static void look_for_hang(struct supervisor *supervisor, const struct summary *sum, int64_t now_ms)
{
    struct detector *detector = &supervisor->detector;

    if (sum->seen == 0 || job_dead_rank(supervisor->job) >= 0 ||
        !detector_observe(detector, kind_of(sum->phase), sum->signs, now_ms)) {
        return;
    }
    supervisor->hung_rank = job_slowest(supervisor->job);
    supervisor->hung_ms = now_ms - detector->since_ms;
    supervisor->noted_ns = clock_now_ns();
    tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_HANGS});
}

static void job_is_lost(struct supervisor *supervisor, const struct job_end *end, int64_t step)
{
    struct report_loss *loss = &supervisor->loss;

    *loss = (struct report_loss){
        .end = *end,
        .hung_ms = supervisor->hung_ms,
        .step = step,
        .noted_ns = supervisor->noted_ns != 0 ? supervisor->noted_ns : clock_now_ns(),
    };
    if (loss->hung_ms > 0) {
        loss->end.rank = supervisor->hung_rank;
        gethostname(loss->end.host, sizeof(loss->end.host) - 1);
    }
    supervisor->was_lost = true;
}

static void end_job(struct supervisor *supervisor, const struct summary *sum)
{
    struct job_end end;

    job_end_of(supervisor->job, &end);
    job_close(supervisor->job);
    supervisor->job = NULL;
    supervisor->over_ns = clock_now_ns();
    const bool is_lost = end.signal != 0 || (end.code != EXIT_DONE && end.code != EXIT_REQUEUE);
    if (is_lost) {
        job_is_lost(supervisor, &end, sum->step);
    }
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

static void look_at_job(struct supervisor *supervisor)
{
    const int64_t now_ms = clock_now_ms();
    const int64_t looked_ns = supervisor->looked_ns;
    struct summary sum;

    supervisor->looked_ns = clock_now_ns();
    if (1e-9 * (double)(supervisor->looked_ns - looked_ns) > LATE_S) {
        supervisor->detector.since_ms = now_ms;
    }
    job_look(supervisor->job, now_ms);
    sum_up(supervisor->job, supervisor->options->rank_count, &sum);
    supervisor->claimed = supervisor->claimed || sum.claimed;
    if (supervisor->noted_ns == 0 && job_dead_rank(supervisor->job) >= 0) {
        supervisor->noted_ns = clock_now_ns();
    }
    if (sum.kept >= 0) {
        tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_STEP_KEPT, .step = sum.kept});
    }
    if (supervisor->was_lost && !supervisor->is_told && sum.first.process != 0) {
        report_recovered(supervisor->report, &supervisor->loss, &sum.first, supervisor->over_ns,
                         supervisor->launched_ns);
        supervisor->is_told = true;
    }
    if (job_is_over(supervisor->job)) {
        end_job(supervisor, &sum);
    } else {
        look_for_hang(supervisor, &sum, now_ms);
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
    if (poll(supervisor->polls, (nfds_t)count, timeout_ms) < 0 && errno != EINTR) {
        supervisor->status = ERR_FAIL(ERR_IO, "poll: %s", strerror(errno));
    }
}

static enum err prepare(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;

    supervisor->poll_room = options->rank_count + 4;
    supervisor->polls = calloc((size_t)supervisor->poll_room, sizeof(*supervisor->polls));
    if (supervisor->polls == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d ranks", options->rank_count);
    }
    ERR_TRY(take_lock(supervisor));
    ERR_TRY(find_folder(supervisor));
    ERR_TRY(take_signals(supervisor));
    supervisor_init(&supervisor->state, &options->limits, incarnation_last(options->output_dir),
                    snap_disk_newest(options->output_dir));
    detector_init(&supervisor->detector, &options->detector);
    return report_open(options->output_dir, clock_now_ns(), &supervisor->report);
}

static void run(struct supervisor *supervisor)
{
    struct jdoc *details = jdoc_object();

    jdoc_set_int(details, "process", (int64_t)getpid());
    jdoc_set_real(details, "monotonic_s", 1e-9 * (double)clock_now_ns());
    report_event(supervisor->report, "run.begun", details);
    supervisor->looked_ns = clock_now_ns();
    tell(supervisor, (struct supervisor_event){.kind = SUPERVISOR_BEGINS});
    while (supervisor->status == ERR_OK && supervisor->state.phase != SUPERVISOR_OVER) {
        wait_for_something(supervisor);
        take_user_signals(supervisor);
        if (supervisor->job != NULL) {
            look_at_job(supervisor);
        } else {
            supervisor->looked_ns = clock_now_ns();
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
    }
    job_close(supervisor->job);
    report_close(supervisor->report);
    for (int i = 0; i < 2; i++) {
        const int file = i == 0 ? supervisor->lock : supervisor->signals;
        if (file >= 0) {
            close(file);
        }
    }
    free(supervisor->polls);
    free(supervisor);
    return status;
}
