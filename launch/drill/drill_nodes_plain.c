#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/hash.h"
#include "launch/drill/drill_nodes.h"
#include "launch/drill/drill_processes.h"
#include "launch/exit_code.h"

/* What an agent has to know of its drill. */
#define MEMORY_VARIABLE "OFFRAMP_DRILL_MEMORY"
#define FAULT_TEXT_VARIABLE "OFFRAMP_DRILL_FAULT"
#define FAULT_HOST_VARIABLE "OFFRAMP_DRILL_FAULT_HOST"

enum { END_MS = 20000, HOLD_MS = 60000, CODE_DOWN = 255, CODE_NO_PROGRAM = 127 };

struct drill_nodes {
    struct drill_nodes_options options;
    char memory[FILE_PATH_BYTES_MAX]; /* of all nodes */
    char hosts[FILE_PATH_BYTES_MAX];  /* a file */
    char agent[2 * FILE_PATH_BYTES_MAX];
};

void drill_nodes_host(int n, char host[DRILL_HOST_BYTES])
{
    snprintf(host, DRILL_HOST_BYTES, "n%d", n);
}

/* MEMORY/HOST, or the mark that the host is down. */
static enum err path_of(const char *memory, const char *host, bool is_mark,
                        char path[FILE_PATH_BYTES_MAX])
{
    char name[DRILL_HOST_BYTES + 8];

    snprintf(name, sizeof(name), "%s%s", host, is_mark ? ".down" : "");
    return file_path(path, memory, name);
}

enum err drill_nodes_write_hosts(const char *path, const struct drill_nodes_options *options,
                                 const char *where)
{
    FILE *file = fopen(path, "we");

    if (file == NULL) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
    }
    fprintf(file, "# memory in %s\n", where);
    for (int n = 1; n <= options->count; n++) {
        fprintf(file, "n%d slots=%d\n", n, options->slots);
    }
    return fclose(file) == 0 ? ERR_OK : ERR_FAIL(ERR_IO, "%s: write", path);
}

static enum err make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return ERR_FAIL(ERR_IO, "%s: mkdir: %s", path, strerror(errno));
    }
    return ERR_OK;
}

static void plain_close(struct drill_nodes *nodes)
{
    if (nodes == NULL) {
        return;
    }
    drill_processes_end(nodes->options.token, NULL, END_MS);
    if (file_remove_tree(nodes->memory) != ERR_OK) {
        err_clear();
    }
    free(nodes);
}

static enum err plain_open(const struct drill_nodes_options *options,
                           struct drill_nodes **nodes_out)
{
    struct drill_nodes *nodes = calloc(1, sizeof(*nodes));
    char temporary[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;

    if (nodes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "nodes");
    }
    nodes->options = *options;
    /* Short: it is part of the path of a socket. */
    snprintf(nodes->memory, sizeof(nodes->memory), "/dev/shm/offramp-drill.%u.%016" PRIx64,
             (unsigned)geteuid(), hash_bytes(options->token, strlen(options->token)).low);
    snprintf(nodes->agent, sizeof(nodes->agent), "%s drill-agent", options->program);
    ERR_GOTO(err_close, status, file_path(nodes->hosts, options->folder, "hosts"));
    ERR_GOTO(err_close, status, file_remove_tree(nodes->memory));
    ERR_GOTO(err_close, status, make_folder(nodes->memory));
    ERR_GOTO(err_close, status, file_path(temporary, nodes->memory, "tmp"));
    ERR_GOTO(err_close, status, make_folder(temporary));
    ERR_GOTO(err_close, status, drill_nodes_write_hosts(nodes->hosts, options, nodes->memory));
    *nodes_out = nodes;
    return ERR_OK;

err_close:
    plain_close(nodes);
    return status;
}

static enum err plain_kill(struct drill_nodes *nodes, int n)
{
    char host[DRILL_HOST_BYTES];
    char path[FILE_PATH_BYTES_MAX];

    drill_nodes_host(n, host);
    ERR_TRY(path_of(nodes->memory, host, true, path));
    ERR_TRY(make_folder(path));
    if (!drill_processes_end(nodes->options.token, host, END_MS)) {
        return ERR_FAIL(ERR_TIMEOUT, "processes of %s were killed, and some are still there", host);
    }
    ERR_TRY(path_of(nodes->memory, host, false, path));
    return file_remove_tree(path);
}

static enum err plain_start(struct drill_nodes *nodes, int n)
{
    char host[DRILL_HOST_BYTES];
    char path[FILE_PATH_BYTES_MAX];

    drill_nodes_host(n, host);
    ERR_TRY(path_of(nodes->memory, host, true, path));
    return file_remove_tree(path);
}

static int plain_words(const struct drill_nodes *nodes, const char **words, int room)
{
#define MCA "--mca btl self,tcp --mca btl_tcp_if_include lo --mca oob_tcp_if_include lo"
    /* Daemons of several nodes on one machine would share memory that each takes for its own. */
    const char *const all[] = {
        "--hostfile",
        nodes->hosts,
        "--agent",
        nodes->agent,
        "--oversubscribe",
        "--mpirun",
        nodes->options.stays_attached ? MCA " --mca orte_leave_session_attached 1" : MCA,
    };
    int count = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && count < room; i++) {
        words[count++] = all[i];
    }
#undef MCA
    return count;
}

/* The rank that meets the point; -1: any process on the host, *host_out 0: on all hosts. */
static int find_place(const struct drill_nodes_options *options, int *host_out)
{
    const struct drill_fault *fault = options->fault;
    const bool is_of_keeper = strncmp(fault_name(fault->point), "keeper.", 7) == 0;

    if (fault->met_by >= 0) {
        *host_out = 1 + fault->met_by / options->slots;
        return fault->met_by;
    }
    switch (fault->point) {
    case FAULT_SAVE_BEFORE_MANIFEST: /* those that one process comes by, wherever it is */
    case FAULT_SAVE_BEFORE_RENAME:
    case FAULT_SAVE_AFTER_RENAME:
    case FAULT_KEEPER_PLACE: *host_out = 0; return -1;
    default: break;
    }
    *host_out = fault->victim == DRILL_RANK ? 1 + fault->number / options->slots : fault->number;
    return fault->victim == DRILL_RANK && !is_of_keeper ? fault->number : -1;
}

static void set_fault(const struct drill_nodes *nodes)
{
    const struct drill_fault *fault = nodes->options.fault;
    char text[DRILL_FAULT_BYTES], who[16] = "*", name[DRILL_HOST_BYTES];
    char fired[FILE_PATH_BYTES_MAX];
    int host = 0;

    const int rank = find_place(&nodes->options, &host);
    if (rank >= 0) {
        snprintf(who, sizeof(who), "%d", rank);
    }
    if (host > 0) {
        drill_nodes_host(host, name);
        setenv(FAULT_HOST_VARIABLE, name, 1);
    } else {
        unsetenv(FAULT_HOST_VARIABLE);
    }
    snprintf(text, sizeof(text), "%s@%s#%d=hold:%d", fault_name(fault->point), who, fault->hit,
             HOLD_MS);
    setenv(FAULT_TEXT_VARIABLE, text, 1);
    if (file_path(fired, nodes->options.folder, DRILL_FIRED_FILE) == ERR_OK) {
        setenv(FAULT_FIRED_VARIABLE, fired, 1);
    }
}

static void plain_environment(const struct drill_nodes *nodes)
{
    char temporary[FILE_PATH_BYTES_MAX];

    setenv(DRILL_VARIABLE, nodes->options.token, 1);
    setenv(MEMORY_VARIABLE, nodes->memory, 1);
    if (file_path(temporary, nodes->memory, "tmp") == ERR_OK) {
        setenv("TMPDIR", temporary, 1); /* a daemon that is killed leaves its files */
    }
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    unsetenv(FAULT_VARIABLE);
    unsetenv(FAULT_TEXT_VARIABLE);
    unsetenv("OFFRAMP_SNAPSHOT_DIR");
    if (nodes->options.fault != NULL) {
        set_fault(nodes);
    }
}

static enum err plain_memory(const struct drill_nodes *nodes, int n,
                             char path_out[FILE_PATH_BYTES_MAX])
{
    char host[DRILL_HOST_BYTES];

    drill_nodes_host(n, host);
    return path_of(nodes->memory, host, false, path_out);
}

const struct drill_backend drill_nodes_plain = {
    .name = "plain",
    .actions = 1u << DRILL_KILL | 1u << DRILL_STOP | 1u << DRILL_CORRUPT | 1u << DRILL_DROP_KEEPER |
               1u << DRILL_FILL_DISK | 1u << DRILL_TERM | 1u << DRILL_SUPERVISOR |
               1u << DRILL_ORPHAN,
    .open = plain_open,
    .close = plain_close,
    .kill = plain_kill,
    .start = plain_start,
    .words = plain_words,
    .environment = plain_environment,
    .memory = plain_memory,
};

/*
 * Of the node alone: of two daemons of one job that make the same session folder at the same time one
 * may fail, and mpirun waits for it.
 */
static enum err set_temporary(const char *memory, const char *host)
{
    char name[DRILL_HOST_BYTES + 8];
    char path[FILE_PATH_BYTES_MAX];

    snprintf(name, sizeof(name), "tmp.%s", host);
    ERR_TRY(file_path(path, memory, name));
    ERR_TRY(make_folder(path));
    setenv("TMPDIR", path, 1);
    return ERR_OK;
}

int drill_nodes_agent(int argc, char **argv)
{
    const char *memory = getenv(MEMORY_VARIABLE);
    const char *fault = getenv(FAULT_TEXT_VARIABLE), *where = getenv(FAULT_HOST_VARIABLE);
    char path[FILE_PATH_BYTES_MAX];
    char *command = NULL;
    size_t bytes = 0;

    if (argc < 3 || memory == NULL) {
        fprintf(stderr, "offramp drill-agent is for offramp drill alone\n");
        return EXIT_USAGE;
    }
    const char *host = argv[1];
    if (path_of(memory, host, true, path) != ERR_OK || file_exists(path) ||
        path_of(memory, host, false, path) != ERR_OK) {
        return CODE_DOWN;
    }
    setenv(DRILL_NODE_VARIABLE, host, 1);
    setenv("OFFRAMP_SNAPSHOT_DIR", path, 1);
    if (set_temporary(memory, host) != ERR_OK) {
        return CODE_DOWN;
    }
    if (fault != NULL && (where == NULL || strcmp(where, host) == 0)) {
        setenv(FAULT_VARIABLE, fault, 1);
    }
    FILE *words = open_memstream(&command, &bytes);
    for (int i = 2; i < argc && words != NULL; i++) {
        fprintf(words, "%s%s", i > 2 ? " " : "", argv[i]);
    }
    if (words == NULL || fclose(words) != 0) {
        return EXIT_INTERNAL;
    }
    execl("/bin/sh", "sh", "-c", command, (char *)NULL); /* as sshd does */
    return CODE_NO_PROGRAM;
}
