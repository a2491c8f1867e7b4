#define _GNU_SOURCE
#include "launch/drill/drill_processes.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/process.h"
#include "launch/progress.h"

enum { TEXT_BYTES = 1 << 18, NAP_US = 1000 };

/* The text of /proc/PID/NAME, parts of it divided by NULs; "" if it cannot be read, or is another's. */
static size_t read_text(int pid, const char *name, char *text)
{
    char path[64];
    size_t used = 0;
    ssize_t count = 1;
    struct stat of;

    text[0] = text[1] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    if (fstat(file, &of) == 0 && of.st_uid == geteuid()) {
        while (used + 2 < TEXT_BYTES && count > 0) {
            count = read(file, text + used, TEXT_BYTES - 2 - used);
            used += count > 0 ? (size_t)count : 0;
        }
    }
    close(file);
    text[used] = text[used + 1] = '\0';
    return used;
}

/* The value of a variable in an environment; NULL: it is not there. */
static const char *value_of(const char *text, size_t length, const char *variable)
{
    const size_t name = strlen(variable);

    for (const char *at = text; at < text + length; at += strlen(at) + 1) {
        if (strncmp(at, variable, name) == 0 && at[name] == '=') {
            return at + name + 1;
        }
    }
    return NULL;
}

static bool is_value(const char *value, const char *wanted)
{
    return wanted == NULL || (value != NULL && strcmp(value, wanted) == 0);
}

/* What its command line says it is. */
static enum drill_kind kind_of(int pid, char *text)
{
    const size_t length = read_text(pid, "cmdline", text);
    const char *word = text + strlen(text) + 1;

    if (word >= text + length) {
        return DRILL_IS_OTHER;
    }
    if (strcmp(word, "train") == 0) {
        return DRILL_IS_RANK;
    }
    if (strcmp(word, "keeper") != 0) {
        return DRILL_IS_OTHER;
    }
    word += strlen(word) + 1;
    return word < text + length && strcmp(word, "--report") == 0 ? DRILL_IS_REPORTER
                                                                 : DRILL_IS_KEEPER;
}

/* Whether `pid` is one of them. */
static bool describe(int pid, const char *token, const char *node, char *text,
                     struct drill_process *process_out)
{
    struct process stat;
    struct drill_process process = {.pid = pid, .rank = -1};
    const size_t length = read_text(pid, "environ", text);
    const char *host = value_of(text, length, DRILL_NODE_VARIABLE);
    const char *rank = value_of(text, length, "OMPI_COMM_WORLD_RANK");

    if (length == 0 || !is_value(value_of(text, length, DRILL_VARIABLE), token) ||
        !is_value(host, node)) {
        return false;
    }
    if (process_describe(pid, &stat) != ERR_OK) {
        err_clear();
        return false;
    }
    process.start = stat.start;
    snprintf(process.node, sizeof(process.node), "%s", host == NULL ? "" : host);
    const int number = rank == NULL ? -1 : (int)strtol(rank, NULL, 10);
    process.kind = kind_of(pid, text);
    process.rank = process.kind == DRILL_IS_RANK ? number : -1; /* a keeper inherits a rank's */
    *process_out = process;
    return stat.state != 'Z' && stat.state != 'X';
}

/* Walks over all processes of the user; `each` says whether to go on. */
typedef bool (*each_fn)(void *with, int pid, char *text);

static void walk(each_fn each, void *with)
{
    DIR *all = opendir("/proc");
    char *text = malloc(TEXT_BYTES);
    bool goes_on = all != NULL && text != NULL;

    while (goes_on) {
        const struct dirent *entry = readdir(all);
        if (entry == NULL) {
            break;
        }
        if (isdigit((unsigned char)entry->d_name[0])) {
            goes_on = each(with, (int)strtol(entry->d_name, NULL, 10), text);
        }
    }
    free(text);
    if (all != NULL) {
        closedir(all);
    }
}

struct search {
    const char *token, *node;
    struct drill_process *found;
    int room, count;
};

static bool take(void *with, int pid, char *text)
{
    struct search *search = with;
    struct drill_process process;

    if (pid != (int)getpid() && describe(pid, search->token, search->node, text, &process)) {
        if (search->count < search->room) {
            search->found[search->count] = process;
        }
        search->count++;
    }
    return true;
}

int drill_processes_find(const char *token, const char *node, struct drill_process *processes,
                         int room)
{
    struct search search = {token, node, processes, room, 0};

    walk(take, &search);
    return search.count < room ? search.count : room;
}

struct choice {
    const char *token, *node;
    enum drill_kind kind;
    int rank;
    struct drill_process newest; /* pid 0: none */
};

static bool choose(void *with, int pid, char *text)
{
    struct choice *choice = with;
    struct drill_process process;

    if (describe(pid, choice->token, choice->node, text, &process) &&
        process.kind == choice->kind && (choice->rank < 0 || process.rank == choice->rank) &&
        (choice->newest.pid == 0 || process.start >= choice->newest.start)) {
        choice->newest = process;
    }
    return true;
}

bool drill_processes_newest(const char *token, const char *node, enum drill_kind kind, int rank,
                            struct drill_process *process_out)
{
    struct choice choice = {.token = token, .node = node, .kind = kind, .rank = rank};

    walk(choose, &choice);
    *process_out = choice.newest;
    return choice.newest.pid != 0;
}

struct variable {
    const char *token;
    char *value;
    bool is_found;
};

static bool find_progress(void *with, int pid, char *text)
{
    struct variable *variable = with;
    const size_t length = read_text(pid, "environ", text);
    const char *value = value_of(text, length, PROGRESS_VARIABLE);

    if (value != NULL && is_value(value_of(text, length, DRILL_VARIABLE), variable->token)) {
        snprintf(variable->value, FILE_PATH_BYTES_MAX, "%s", value);
        variable->is_found = true;
    }
    return !variable->is_found;
}

bool drill_processes_progress(const char *token, char folder_out[FILE_PATH_BYTES_MAX])
{
    struct variable variable = {token, folder_out, false};

    walk(find_progress, &variable);
    return variable.is_found;
}

bool drill_process_signal(const struct drill_process *process, int signal)
{
    const int handle = process_open(process->pid, process->start);
    const bool is_sent = handle >= 0 && process_signal(handle, signal);

    if (handle >= 0) {
        close(handle);
    }
    return is_sent;
}

static char state_of(const struct drill_process *process)
{
    struct process now;

    if (process_describe(process->pid, &now) != ERR_OK) {
        err_clear();
        return 'X';
    }
    if (now.start != process->start) {
        return 'X';
    }
    return now.state;
}

bool drill_process_is_alive(const struct drill_process *process)
{
    const char state = state_of(process);

    return state != 'X' && state != 'Z';
}

bool drill_process_end(const struct drill_process *process, int64_t deadline_ms)
{
    const int64_t until_ms = clock_now_ms() + deadline_ms;

    drill_process_signal(process, SIGKILL);
    while (drill_process_is_alive(process)) {
        if (clock_now_ms() > until_ms) {
            return false;
        }
        clock_nap_us(NAP_US);
    }
    return true;
}

bool drill_processes_end(const char *token, const char *node, int64_t deadline_ms)
{
    const int64_t until_ms = clock_now_ms() + deadline_ms;
    struct drill_process *found = malloc(DRILL_PROCESSES_MAX * sizeof(*found));
    int quiet = 0;

    while (found != NULL && quiet < 2 && clock_now_ms() <= until_ms) {
        const int count = drill_processes_find(token, node, found, DRILL_PROCESSES_MAX);
        for (int i = 0; i < count; i++) {
            drill_process_signal(&found[i], SIGKILL);
        }
        quiet = count == 0 ? quiet + 1 : 0; /* twice: a process may have been between two others */
        if (count > 0) {
            clock_nap_us(NAP_US);
        }
    }
    free(found);
    return quiet == 2;
}

bool drill_process_stop(const struct drill_process *process, int64_t deadline_ms)
{
    const int64_t until_ms = clock_now_ms() + deadline_ms;

    if (!drill_process_signal(process, SIGSTOP)) {
        return false;
    }
    while (state_of(process) != 'T') {
        if (!drill_process_is_alive(process) || clock_now_ms() > until_ms) {
            return false;
        }
        clock_nap_us(NAP_US);
    }
    return true;
}
