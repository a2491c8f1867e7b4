#define _GNU_SOURCE
#include "launch/supervisor/supervisor_job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/process.h"
#include "launch/exit_code.h"

enum {
    LONELY_MS = 1000, /* mpirun without a child */
    MAIMED_MS = 5000, /* a job of which a rank is dead: longer than ranks need to agree on a code */
    TERM_MS = 500,    /* mpirun that was told to end the job: where nodes are lost it cannot */
    DRAIN_MS = 500,   /* output that does not end with its job */
    DEATH_MS = 5000,  /* a process that was killed, and is not gone */
    SWEEP_NAP_US = 5000,
    CODE_NO_PROGRAM = 127,
};

struct rank {
    struct progress_view *view; /* NULL: has no page yet */
    struct progress told;
    const char *host; /* another node's; NULL: this one, or not known */
    int handle;       /* of its process; -1: not known, or gone */
    bool is_dead;
};

struct job {
    int rank_count;
    uint64_t incarnation; /* 0: not known */
    struct rank *ranks;
    char *folder;
    pid_t mpirun;
    int handle; /* of mpirun */
    int pipes[2];
    struct output outputs[2];
    bool is_spread, is_reaped, was_killed, mpirun_hung, had_child;
    int status;        /* of mpirun, as waitpid() tells it */
    int first_dead;    /* rank; -1: none */
    int64_t dead_ms;   /* since when that is so; these are 0 while it is not: */
    int64_t lonely_ms; /* since when mpirun has no child */
    int64_t kill_ms;   /* since when it is being killed */
    int64_t reaped_ms; /* since when mpirun is gone */
};

/* In the child. */
static void become_mpirun(const struct job_options *options, char **arguments, int out, int err,
                          const char *incarnation, pid_t supervisor)
{
    const int nowhere = open("/dev/null", O_RDONLY);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != supervisor) {
        _exit(EXIT_INTERNAL);
    }
    dup2(nowhere, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    setenv(PROGRESS_VARIABLE, options->folder, 1);
    if (options->incarnation > 0) {
        setenv("OFFRAMP_INCARNATION", incarnation, 1);
    } else {
        unsetenv("OFFRAMP_INCARNATION");
    }
    execvp(options->mpirun[0], arguments);
    dprintf(STDERR_FILENO, "offramp: %s: %s\n", options->mpirun[0], strerror(errno));
    _exit(CODE_NO_PROGRAM);
}

static size_t count_of(const char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL) {
        count++;
    }
    return count;
}

static enum err spawn(struct job *job, const struct job_options *options)
{
    const size_t head = count_of(options->mpirun), tail = count_of(options->ranks);
    char **arguments = calloc(head + tail + 1, sizeof(*arguments));
    const pid_t supervisor = getpid();
    char incarnation[32];
    int out[2] = {-1, -1}, err[2] = {-1, -1};

    snprintf(incarnation, sizeof(incarnation), "%llu", (unsigned long long)options->incarnation);
    if (arguments == NULL || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        free(arguments);
        for (int i = 0; i < 2 && out[i] >= 0; i++) {
            close(out[i]);
        }
        return ERR_FAIL(ERR_IO, "pipes of mpirun: %s", strerror(errno));
    }
    for (size_t i = 0; i < head + tail; i++) {
        arguments[i] =
            (char *)(uintptr_t)(i < head ? options->mpirun[i] : options->ranks[i - head]);
    }
    job->mpirun = fork();
    if (job->mpirun == 0) {
        become_mpirun(options, arguments, out[1], err[1], incarnation, supervisor);
    }
    close(out[1]);
    close(err[1]);
    free(arguments);
    job->pipes[0] = out[0];
    job->pipes[1] = err[0];
    if (job->mpirun < 0) {
        return ERR_FAIL(ERR_IO, "fork: %s", strerror(errno));
    }
    job->handle = process_open(job->mpirun, 0);
    for (int i = 0; i < 2; i++) {
        fcntl(job->pipes[i], F_SETFL, O_NONBLOCK);
        output_init(&job->outputs[i], STDOUT_FILENO + i);
    }
    return ERR_OK;
}

enum err job_start(const struct job_options *options, struct job **job_out)
{
    struct job *job = calloc(1, sizeof(*job));
    enum err status = ERR_OK;

    if (job == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a job");
    }
    *job = (struct job){.rank_count = options->rank_count,
                        .incarnation = options->incarnation,
                        .is_spread = options->is_spread,
                        .mpirun = -1,
                        .handle = -1,
                        .pipes = {-1, -1},
                        .first_dead = -1};
    job->ranks = calloc((size_t)job->rank_count, sizeof(*job->ranks));
    job->folder = strdup(options->folder);
    if (job->ranks == NULL || job->folder == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "%d ranks", job->rank_count);
        goto err_close;
    }
    for (int r = 0; r < job->rank_count; r++) {
        job->ranks[r].handle = -1;
    }
    ERR_GOTO(err_close, status, file_remove_tree(job->folder));
    ERR_GOTO(err_close, status, spawn(job, options));
    *job_out = job;
    return ERR_OK;

err_close:
    job_close(job);
    return status;
}

/* Calls `each` for the children of mpirun that live, and counts them. */
static int walk_children(const struct job *job, bool kills)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)job->mpirun);
    DIR *tasks = opendir(path);
    for (struct dirent *task = tasks == NULL ? NULL : readdir(tasks); task != NULL;
         task = readdir(tasks)) {
        char name[400];
        int child = 0;
        snprintf(name, sizeof(name), "%s/%s/children", path, task->d_name);
        FILE *list = task->d_name[0] == '.' ? NULL : fopen(name, "re");
        while (list != NULL && fscanf(list, "%d", &child) == 1) {
            struct process process;
            if (process_describe(child, &process) != ERR_OK) {
                err_clear();
            } else if (process.parent == job->mpirun && process.state != 'Z') {
                count++;
                if (kills) {
                    kill(child, SIGKILL);
                }
            }
        }
        if (list != NULL) {
            fclose(list);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return count;
}

static void kill_ranks(const struct job *job)
{
    for (int r = 0; r < job->rank_count; r++) {
        if (job->ranks[r].handle >= 0) {
            process_signal(job->ranks[r].handle, SIGKILL);
        }
    }
}

void job_close(struct job *job)
{
    if (job == NULL) {
        return;
    }
    if (job->ranks != NULL) {
        kill_ranks(job);
    }
    if (job->mpirun > 0 && !job->is_reaped) {
        kill(job->mpirun, SIGKILL);
        waitpid(job->mpirun, NULL, 0);
    }
    for (int r = 0; job->ranks != NULL && r < job->rank_count; r++) {
        progress_view_close(job->ranks[r].view);
        if (job->ranks[r].handle >= 0) {
            close(job->ranks[r].handle);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (job->pipes[i] >= 0) {
            close(job->pipes[i]);
        }
    }
    if (job->handle >= 0) {
        close(job->handle);
    }
    free(job->ranks);
    free(job->folder);
    free(job);
}

int job_polls(const struct job *job, struct pollfd *polls, int room)
{
    int count = 0;

    for (int i = 0; i < 2 && count < room; i++) {
        if (job->pipes[i] >= 0) {
            polls[count++] = (struct pollfd){.fd = job->pipes[i], .events = POLLIN};
        }
    }
    if (!job->is_reaped && count < room) {
        polls[count++] = (struct pollfd){.fd = job->handle, .events = POLLIN};
    }
    for (int r = 0; r < job->rank_count && count < room; r++) {
        if (job->ranks[r].handle >= 0) {
            polls[count++] = (struct pollfd){.fd = job->ranks[r].handle, .events = POLLIN};
        }
    }
    return count;
}

static void read_output(struct job *job)
{
    char bytes[16384];

    for (int i = 0; i < 2; i++) {
        ssize_t count = 1;
        while (job->pipes[i] >= 0 && count > 0) {
            count = read(job->pipes[i], bytes, sizeof(bytes));
            if (count > 0) {
                output_take(&job->outputs[i], bytes, (size_t)count);
            } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
                close(job->pipes[i]);
                job->pipes[i] = -1;
            }
        }
    }
}

static bool has_ended(int handle)
{
    struct pollfd ends = {.fd = handle, .events = POLLIN};

    return poll(&ends, 1, 0) == 1;
}

/* For where there is no handle: too many files are open, or the kernel is older than 5.3. */
static bool is_alive(const struct progress *told)
{
    struct process process;

    if (process_describe(told->process, &process) != ERR_OK) {
        err_clear();
        return false;
    }
    return process.start == told->start && process.state != 'Z';
}

static void look_at_rank(struct job *job, int r, int64_t now_ms)
{
    struct rank *rank = &job->ranks[r];

    if (rank->view == NULL) {
        if (progress_view_open(job->folder, r, &rank->view) != ERR_OK) {
            err_clear();
            return;
        }
        rank->host = NULL;
    }
    if (!progress_view_read(rank->view, &rank->told) || rank->is_dead) {
        return;
    }
    if (rank->handle < 0) {
        rank->handle = process_open(rank->told.process, rank->told.start);
    }
    if (rank->handle < 0 ? !is_alive(&rank->told) : has_ended(rank->handle)) {
        rank->is_dead = true;
        (void)progress_view_read(rank->view, &rank->told); /* it may have spoken since */
        if (rank->told.code != EXIT_DONE && job->first_dead < 0) {
            job->first_dead = r;
            job->dead_ms = now_ms;
        }
        if (rank->handle >= 0) {
            close(rank->handle);
            rank->handle = -1;
        }
    }
}

static void look_at_mpirun(struct job *job, int64_t now_ms)
{
    if (waitpid(job->mpirun, &job->status, WNOHANG) == job->mpirun) {
        job->is_reaped = true;
        job->reaped_ms = now_ms;
        kill_ranks(job);
        return;
    }
    if (walk_children(job, false) > 0) {
        job->had_child = true;
        job->lonely_ms = 0;
    } else if (job->had_child && job->lonely_ms == 0) {
        job->lonely_ms = now_ms;
    }
    if (!job->is_spread && job->lonely_ms > 0 && now_ms - job->lonely_ms > LONELY_MS) {
        job->mpirun_hung = true;
        kill(job->mpirun, SIGKILL);
    }
    if (job->kill_ms > 0 && now_ms - job->kill_ms > TERM_MS) {
        walk_children(job, true);
        kill(job->mpirun, SIGKILL);
    }
    if (job->kill_ms == 0 && job->dead_ms > 0 && now_ms - job->dead_ms > MAIMED_MS) {
        job_kill(job, now_ms);
    }
}

void job_look(struct job *job, int64_t now_ms)
{
    read_output(job);
    for (int r = 0; r < job->rank_count; r++) {
        look_at_rank(job, r, now_ms);
    }
    if (!job->is_reaped) {
        look_at_mpirun(job, now_ms);
    } else if (job->was_killed || now_ms - job->reaped_ms > DRAIN_MS) {
        for (int i = 0; i < 2; i++) {
            if (job->pipes[i] >= 0) {
                close(job->pipes[i]);
                job->pipes[i] = -1;
            }
        }
    }
}

bool job_is_over(const struct job *job)
{
    bool lives = false;

    if (!job->is_reaped || job->pipes[0] >= 0 || job->pipes[1] >= 0) {
        return false;
    }
    for (int r = 0; r < job->rank_count; r++) {
        lives = lives || job->ranks[r].handle >= 0;
    }
    return !lives || clock_now_ms() - job->reaped_ms > DEATH_MS;
}

void job_kill(struct job *job, int64_t now_ms)
{
    if (job->is_reaped || job->kill_ms > 0) {
        return;
    }
    job->was_killed = true;
    job->kill_ms = now_ms;
    kill_ranks(job);
    walk_children(job, true);
    kill(job->mpirun, SIGTERM);
    kill(job->mpirun, SIGCONT); /* in case it is stopped */
}

void job_forward(struct job *job)
{
    if (!job->is_reaped) {
        kill(job->mpirun, SIGUSR1);
    }
}

void job_told(struct job *job, int rank, const char *host, const struct progress *progress)
{
    const bool is_of_another = job->incarnation != 0 && progress->incarnation != 0 &&
                               progress->incarnation != job->incarnation;

    if (rank < job->rank_count && job->ranks[rank].view == NULL && !is_of_another) {
        job->ranks[rank].told = *progress;
        job->ranks[rank].host = host;
    }
}

int job_rank_count(const struct job *job)
{
    return job->rank_count;
}

const char *job_host(const struct job *job, int rank)
{
    return job->ranks[rank].host;
}

bool job_progress(const struct job *job, int rank, struct progress *progress_out)
{
    if (job->ranks[rank].told.process == 0) {
        return false;
    }
    *progress_out = job->ranks[rank].told;
    return true;
}

int job_dead_rank(const struct job *job)
{
    return job->first_dead;
}

int job_slowest(const struct job *job)
{
    int slowest = -1;

    for (int r = 0; r < job->rank_count; r++) {
        const struct rank *rank = &job->ranks[r];
        struct process process;
        if (rank->told.process == 0 || rank->is_dead) {
            continue;
        }
        if (rank->host != NULL) {
            /* its number means nothing here */
        } else if (process_describe(rank->told.process, &process) != ERR_OK) {
            err_clear();
        } else if (process.state == 'T' || process.state == 't') {
            return r;
        }
        if (slowest < 0 || rank->told.beats < job->ranks[slowest].told.beats) {
            slowest = r;
        }
    }
    return slowest;
}

/* Of the job as a whole. mpirun that was killed tells nothing, but ranks told how they left. */
static void find_code(const struct job *job, struct job_end *end)
{
    int known = 0, done = 0, highest = 0;

    for (int r = 0; r < job->rank_count; r++) {
        const struct progress *told = &job->ranks[r].told;
        if (job->ranks[r].host != NULL) {
            continue; /* what it told last may be half a second old */
        }
        known += told->process != 0 ? 1 : 0;
        done += told->process != 0 && told->code == EXIT_DONE ? 1 : 0;
        highest = told->process != 0 && told->code > highest ? told->code : highest;
    }
    const int blame = job->outputs[1].blame.signal;
    const int code = WIFEXITED(job->status) ? WEXITSTATUS(job->status) : -1;
    if (code == EXIT_DONE && done < known) { /* as with --enable-recovery, where it always is 0 */
        end->code = highest;
        end->signal = highest == 0 ? SIGKILL : 0;
    } else if (blame > 0 && code == 128 + blame) { /* other codes as high are mpirun's own errors */
        end->signal = blame;
    } else if (code >= 0) {
        end->code = code;
    } else if (done == job->rank_count || highest > 0) {
        end->code = highest;
    } else {
        end->signal = WTERMSIG(job->status);
    }
}

void job_end_of(const struct job *job, struct job_end *end_out)
{
    const struct output_blame *blame = &job->outputs[1].blame;
    struct job_end end = {.rank = blame->rank, .mpirun_hung = job->mpirun_hung};

    find_code(job, &end);
    if (end.rank < 0 || end.rank >= job->rank_count || job->was_killed) {
        end.rank = job->first_dead;
    }
    end.rank_signal = end.signal;
    if (end.rank >= 0) {
        end.progress = job->ranks[end.rank].told;
    }
    if (job->was_killed && end.rank >= 0) { /* what mpirun says is of that */
        end.code = end.progress.code > 0 ? end.progress.code : 0;
        end.signal = end.code == 0 ? SIGKILL : 0;
        end.rank_signal = end.code == 0 ? -1 : 0;
    }
    if (end.rank >= 0 && job->ranks[end.rank].host != NULL) {
        snprintf(end.host, sizeof(end.host), "%s", job->ranks[end.rank].host);
    } else if (blame->host[0] != '\0') {
        memcpy(end.host, blame->host, sizeof(end.host));
    } else {
        gethostname(end.host, sizeof(end.host) - 1);
    }
    const char *line = job->outputs[1].complaint;
    line = line[0] == '\0' ? job->outputs[1].last : line;
    line = line[0] == '\0' ? job->outputs[0].last : line;
    memcpy(end.line, line, sizeof(end.line));
    *end_out = end;
}

int job_sweep(const char *folder)
{
    DIR *pages = opendir(folder);
    int killed = 0;

    for (struct dirent *entry = pages == NULL ? NULL : readdir(pages); entry != NULL;
         entry = readdir(pages)) {
        struct progress_view *view = NULL;
        struct progress told;
        int rank = 0, handle = -1;
        if (sscanf(entry->d_name, "progress-%d", &rank) != 1) {
            continue;
        }
        if (progress_view_open(folder, rank, &view) != ERR_OK) {
            err_clear();
            continue;
        }
        if (progress_view_read(view, &told)) {
            handle = process_open(told.process, told.start);
        }
        if (handle >= 0 && !has_ended(handle)) {
            process_signal(handle, SIGKILL);
            for (int i = 0; i < DEATH_MS * 1000 / SWEEP_NAP_US && !has_ended(handle); i++) {
                clock_nap_us(SWEEP_NAP_US);
            }
            killed++;
        }
        if (handle >= 0) {
            close(handle);
        }
        progress_view_close(view);
    }
    if (pages != NULL) {
        closedir(pages);
    }
    if (file_remove_tree(folder) != ERR_OK) {
        err_clear();
    }
    return killed;
}
