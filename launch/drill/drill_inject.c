#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "launch/drill/drill_run_priv.h"
#include "snapshot/snap_area.h"

enum { DEATH_MS = 20000, FLIP_STRIDE = 4093, FLIP = 0x10 };

static void say(struct drill_run *run, int i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct drill_run *run, int i, const char *format, ...)
{
    struct drill_outcome *outcome = &run->outcomes[i];
    va_list args;

    va_start(args, format);
    vsnprintf(outcome->what, sizeof(outcome->what), format, args);
    va_end(args);
}

/* The fault begins; everything is measured from here. */
static void begin(struct drill_run *run, int i)
{
    run->outcomes[i].at_ns = clock_now_ns();
    run->outcomes[i].step = run->newest.process == 0 ? -1 : run->newest.step;
}

static enum err kill_process(struct drill_run *run, int i, const struct drill_process *process,
                             const char *who, int number)
{
    begin(run, i);
    if (!drill_process_end(process, DEATH_MS)) {
        return ERR_FAIL(ERR_TIMEOUT, "%s %d (process %d) was killed and is not dead", who, number,
                        process->pid);
    }
    say(run, i, "%s %d (process %d) was killed, is dead", who, number, process->pid);
    return ERR_OK;
}

static bool find_rank(const struct drill_run *run, int rank, struct drill_process *process_out)
{
    return drill_processes_newest(run->token, NULL, DRILL_IS_RANK, rank, process_out);
}

static bool find_keeper(const struct drill_run *run, int node, struct drill_process *process_out)
{
    char host[DRILL_HOST_BYTES];

    drill_nodes_host(node, host);
    return drill_processes_newest(run->token, host, DRILL_IS_KEEPER, -1, process_out);
}

static enum err strike_node(struct drill_run *run, int i)
{
    const struct drill_fault *fault = &run->what->faults[i];
    const struct drill_backend *backend = run->options->backend;
    const int n = fault->number;

    begin(run, i);
    switch (fault->action) {
    case DRILL_POWER:
        ERR_TRY(backend->power(run->nodes, n));
        say(run, i, "node n%d lost power", n);
        break;
    case DRILL_CUT:
        ERR_TRY(backend->cut(run->nodes, n));
        say(run, i, "node n%d was cut off", n);
        break;
    case DRILL_FREEZE:
        ERR_TRY(backend->freeze(run->nodes, n));
        say(run, i, "node n%d was frozen", n);
        break;
    default:
        ERR_TRY(backend->kill(run->nodes, n));
        say(run, i, "node n%d was killed, its processes are dead and its memory is gone", n);
        break;
    }
    run->is_down[n] = true;
    return ERR_OK;
}

/* Flips a byte in every FLIP_STRIDE of a member's data, in both slots. Returns how many. */
static enum err flip_member(const char *path, int64_t *flips_out)
{
    struct snap_area *area = NULL;
    enum err status = ERR_OK;

    ERR_TRY(snap_area_peek(path, &area));
    const struct snap_map map = snap_map_of(snap_area_layout(area), snap_area_rank(area));
    const int file = open(path, O_RDWR | O_CLOEXEC);
    for (int slot = 0; slot < SNAP_SLOTS && file >= 0; slot++) {
        if (snap_area_slots(area)->slots[slot].state < SNAP_SEALED) {
            continue;
        }
        for (uint64_t at = 0; at < map.data_bytes && status == ERR_OK; at += FLIP_STRIDE) {
            uint8_t byte = 0;
            const off_t where = (off_t)(map.data_at[slot] + at);
            if (pread(file, &byte, 1, where) != 1 ||
                (byte ^= FLIP, pwrite(file, &byte, 1, where)) != 1) {
                status = ERR_FAIL(ERR_IO, "%s: %s", path, strerror(errno));
            }
            ++*flips_out;
        }
    }
    if (file < 0) {
        status = ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
    } else {
        close(file);
    }
    snap_area_close(area);
    return status;
}

static enum err flip_node(const struct drill_run *run, int node, int64_t *flips_out)
{
    char folder[FILE_PATH_BYTES_MAX], path[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;
    uint64_t layout = 0;
    int rank = 0;

    ERR_TRY(run->options->backend->memory(run->nodes, node, folder));
    DIR *files = opendir(folder);
    if (files == NULL) {
        return ERR_OK; /* has no memory yet */
    }
    for (const struct dirent *entry = readdir(files); entry != NULL && status == ERR_OK;
         entry = readdir(files)) {
        if (snap_area_is_named(entry->d_name, SNAP_AREA_MEMBER, &layout, &rank)) {
            status = file_path(path, folder, entry->d_name);
            status = status != ERR_OK ? status : flip_member(path, flips_out);
        }
    }
    closedir(files);
    return status;
}

/* All ranks are stopped while bytes are flipped, so that no snapshot comes over them; then killed. */
static enum err corrupt(struct drill_run *run, int i, bool *done_out)
{
    const int node = run->what->faults[i].number, count = run->options->ranks;
    struct drill_process *ranks = calloc((size_t)count, sizeof(*ranks));
    enum err status = ERR_OK;
    int64_t flips = 0;
    int stopped = 0;

    if (ranks == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d ranks", count);
    }
    while (stopped < count && find_rank(run, stopped, &ranks[stopped]) &&
           drill_process_stop(&ranks[stopped], DEATH_MS)) {
        stopped++;
    }
    if (stopped == count) {
        status = flip_node(run, node, &flips);
    }
    if (status == ERR_OK && flips > 0) {
        begin(run, i);
        for (int r = 0; r < count && status == ERR_OK; r++) {
            if (!drill_process_end(&ranks[r], DEATH_MS)) {
                status = ERR_FAIL(ERR_TIMEOUT, "rank %d was killed and is not dead", r);
            }
        }
        say(run, i, "%" PRId64 " bytes of n%d's snapshots were flipped, %d ranks killed, are dead",
            flips, node, count);
        *done_out = true;
    }
    for (int r = 0; r < stopped && !*done_out; r++) {
        drill_process_signal(&ranks[r], SIGCONT);
    }
    free(ranks);
    return status;
}

static enum err strike_launch(struct drill_run *run, int i)
{
    const bool asks = run->what->faults[i].action == DRILL_TERM;

    begin(run, i);
    kill(run->launch, asks ? SIGTERM : SIGKILL);
    run->expected = asks ? DRILL_ENDS_ASKED : DRILL_ENDS_KILLED;
    say(run, i, "launch (process %d) was %s", (int)run->launch,
        asks ? "asked to halt" : "killed, is dead");
    return ERR_OK;
}

/*
 * A rank of which nobody knows: it is stopped, so it does not notice that all others are killed, and
 * its page is removed. Only the memory it has open tells the next start of it. Its new parent is this
 * process, of the same session: to a group of which no member has such a parent the kernel sends
 * SIGHUP and SIGCONT.
 */
static enum err orphan(struct drill_run *run, int i, const struct drill_process *rank)
{
    struct drill_process *all = malloc(DRILL_PROCESSES_MAX * sizeof(*all));

    if (all == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "processes");
    }
    begin(run, i);
    if (!drill_process_stop(rank, DEATH_MS)) {
        free(all);
        return ERR_FAIL(ERR_TIMEOUT, "rank %d was stopped and runs", rank->rank);
    }
    /* All are stopped before the first is killed: the others would kill the rank on hearing of it. */
    kill(run->launch, SIGSTOP);
    const int count = drill_processes_find(run->token, NULL, all, DRILL_PROCESSES_MAX);
    for (int signal = SIGSTOP; signal != 0; signal = signal == SIGSTOP ? SIGKILL : 0) {
        for (int p = 0; p < count; p++) {
            if (all[p].kind != DRILL_IS_KEEPER && all[p].pid != rank->pid) {
                drill_process_signal(&all[p], signal);
            }
        }
    }
    run->expected = DRILL_ENDS_KILLED;
    bool is_alone = drill_process_is_alive(rank);
    for (int p = 0; p < count; p++) {
        const bool is_spared = all[p].kind == DRILL_IS_KEEPER || all[p].pid == rank->pid ||
                               all[p].pid == (int)run->launch;
        is_alone = is_alone && (is_spared || drill_process_end(&all[p], DEATH_MS));
    }
    free(all);
    if (!is_alone || !drill_process_is_alive(rank)) {
        return ERR_FAIL(ERR_TIMEOUT, "rank %d is not the only one that is left", rank->rank);
    }
    ERR_TRY(file_remove_tree(run->pages));
    run->orphans[i] = *rank;
    say(run, i, "rank %d (process %d) was stopped, launch and all others killed", rank->rank,
        rank->pid);
    return ERR_OK;
}

static enum err strike_rank(struct drill_run *run, int i, bool *done_out)
{
    const struct drill_fault *fault = &run->what->faults[i];
    struct drill_process process;

    if (!find_rank(run, fault->number, &process)) {
        return ERR_OK;
    }
    *done_out = true;
    switch (fault->action) {
    case DRILL_STOP:
        begin(run, i);
        if (!drill_process_stop(&process, DEATH_MS)) {
            return ERR_FAIL(ERR_TIMEOUT, "rank %d was stopped and runs", fault->number);
        }
        say(run, i, "rank %d (process %d) was stopped", fault->number, process.pid);
        return ERR_OK;
    case DRILL_ORPHAN: return orphan(run, i, &process);
    default: return kill_process(run, i, &process, "rank", fault->number);
    }
}

enum err drill_inject(struct drill_run *run, int i, bool *done_out)
{
    const struct drill_fault *fault = &run->what->faults[i];
    struct drill_process process;

    *done_out = false;
    if (fault->action == DRILL_DROP_KEEPER || fault->victim == DRILL_KEEPER) {
        if (!find_keeper(run, fault->number, &process)) {
            return ERR_OK;
        }
        *done_out = true;
        return kill_process(run, i, &process, "keeper", fault->number);
    }
    if (fault->action == DRILL_CORRUPT) {
        return corrupt(run, i, done_out);
    }
    if (fault->victim == DRILL_RANK) {
        return strike_rank(run, i, done_out);
    }
    *done_out = true;
    if (fault->victim == DRILL_NODE) {
        return strike_node(run, i);
    }
    if (fault->action == DRILL_FILL_DISK) {
        begin(run, i);
        run->failed_saves = drill_events_count(run->out, "checkpoint.failed");
        return drill_disk_leave(run->out, run->options->room_bytes);
    }
    return strike_launch(run, i);
}

void drill_inject_release(const struct drill_run *run)
{
    char done[FILE_PATH_BYTES_MAX + sizeof(FAULT_DONE_SUFFIX)];

    snprintf(done, sizeof(done), "%s" FAULT_DONE_SUFFIX, run->fired);
    const int file = open(done, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        close(file);
    }
}
