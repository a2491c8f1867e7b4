#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "launch/drill/drill_nodes.h"
#include "launch/drill/drill_processes.h"

enum { VERB_MS = 60000, NAP_US = 5000, WORDS_MAX = 64, HOLD_MS = 60000, CODE_NOT_ALLOWED = 77 };

struct drill_nodes {
    struct drill_nodes_options options;
    char name[32]; /* of the cluster */
    char hosts[FILE_PATH_BYTES_MAX];
    char log[FILE_PATH_BYTES_MAX];
    char vcluster[PATH_MAX],
        agent[PATH_MAX + 8]; /* whole paths: mpirun looks for its agent elsewhere */
};

/* In the child. */
static void become(const char *const *words, const char *log)
{
    const int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    const int nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);

    setpgid(0, 0);
    dup2(nowhere, STDIN_FILENO);
    dup2(file, STDOUT_FILENO);
    dup2(file, STDERR_FILENO);
    execvp(words[0], (char **)(uintptr_t)words);
    _exit(127);
}

/* `vcluster -c NAME` and the words. */
static enum err vcluster(const struct drill_nodes *nodes, const char *const *words)
{
    const char *all[WORDS_MAX] = {nodes->options.vcluster, "-c", nodes->name};
    const int64_t until_ms = clock_now_ms() + VERB_MS;
    int count = 3, status = 0;

    for (int i = 0; words[i] != NULL && count < WORDS_MAX - 1; i++) {
        all[count++] = words[i];
    }
    const pid_t child = fork();
    if (child == 0) {
        become(all, nodes->log);
    }
    if (child < 0) {
        return ERR_FAIL(ERR_IO, "fork: %s", strerror(errno));
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (clock_now_ms() > until_ms) {
            kill(-child, SIGKILL);
            waitpid(child, NULL, 0);
            return ERR_FAIL(ERR_TIMEOUT, "vcluster %s was not done in time", words[0]);
        }
        clock_nap_us(NAP_US);
    }
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code != 0) {
        return ERR_FAIL(code == CODE_NOT_ALLOWED || code == 127 ? ERR_CONFIG : ERR_IO,
                        "%s %s ended with code %d: see %s", nodes->options.vcluster, words[0], code,
                        nodes->log);
    }
    return ERR_OK;
}

static enum err do_verb(const struct drill_nodes *nodes, const char *verb, int n)
{
    char host[DRILL_HOST_BYTES];

    drill_nodes_host(n, host);
    return vcluster(nodes, (const char *const[]){verb, host, NULL});
}

static void virtual_close(struct drill_nodes *nodes)
{
    if (nodes == NULL) {
        return;
    }
    if (vcluster(nodes, (const char *const[]){"down", NULL}) != ERR_OK) {
        err_clear();
    }
    free(nodes);
}

/* Folders below /tmp are the nodes' own but where they are shared. */
static enum err bring_up(const struct drill_nodes *nodes)
{
    const char *words[2 * (DRILL_NODES_SHARES + 3) + 3] = {"up"};
    char number[16], here[FILE_PATH_BYTES_MAX], program[FILE_PATH_BYTES_MAX];
    int count = 1;

    snprintf(number, sizeof(number), "%d", nodes->options.count);
    snprintf(program, sizeof(program), "%s", nodes->options.program);
    *strrchr(program, '/') = '\0';
    if (getcwd(here, sizeof(here)) == NULL) {
        return ERR_FAIL(ERR_IO, "getcwd: %s", strerror(errno));
    }
    words[count++] = number;
    const char *const always[] = {nodes->options.folder, program, here};
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        words[count++] = "--share";
        words[count++] = always[i];
    }
    for (int i = 0; i < DRILL_NODES_SHARES && nodes->options.shares[i] != NULL; i++) {
        words[count++] = "--share";
        words[count++] = nodes->options.shares[i];
    }
    words[count] = NULL;
    return vcluster(nodes, words);
}

static enum err virtual_open(const struct drill_nodes_options *options,
                             struct drill_nodes **nodes_out)
{
    static int number;
    struct drill_nodes *nodes = calloc(1, sizeof(*nodes));
    enum err status = ERR_OK;

    if (nodes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "nodes");
    }
    nodes->options = *options;
    snprintf(nodes->name, sizeof(nodes->name), "drill%d-%d", (int)getpid(), ++number);
    if (realpath(options->vcluster, nodes->vcluster) == NULL) {
        status = ERR_FAIL(ERR_MISSING, "--vcluster %s: %s", options->vcluster, strerror(errno));
        goto err_free;
    }
    nodes->options.vcluster = nodes->vcluster;
    snprintf(nodes->agent, sizeof(nodes->agent), "%.*sagent",
             (int)(strrchr(nodes->vcluster, '/') - nodes->vcluster + 1), nodes->vcluster);
    ERR_GOTO(err_free, status, file_path(nodes->hosts, options->folder, "hosts"));
    ERR_GOTO(err_free, status, file_path(nodes->log, options->folder, "cluster.log"));
    ERR_GOTO(err_free, status, drill_nodes_write_hosts(nodes->hosts, options, "the nodes"));
    ERR_GOTO(err_close, status, bring_up(nodes));
    *nodes_out = nodes;
    return ERR_OK;

err_close:
    virtual_close(nodes);
    return status;
err_free:
    free(nodes);
    return status;
}

static enum err virtual_kill(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "kill", n);
}

static enum err virtual_power(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "power", n);
}

static enum err virtual_start(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "start", n);
}

static enum err virtual_cut(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "cut", n);
}

static enum err virtual_heal(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "heal", n);
}

static enum err virtual_freeze(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "freeze", n);
}

static enum err virtual_thaw(struct drill_nodes *nodes, int n)
{
    return do_verb(nodes, "thaw", n);
}

static int virtual_prefix(const struct drill_nodes *nodes, const char **words)
{
    const char *const all[] = {nodes->options.vcluster, "-c", nodes->name, "exec", "n0"};
    const int count = sizeof(all) / sizeof(all[0]);

    memcpy(words, all, sizeof(all));
    return count;
}

static int virtual_words(const struct drill_nodes *nodes, const char **words, int room)
{
    /* As with ssh, ranks have nothing of the caller's environment but what is named. */
    static const char WITH[] = "-x " DRILL_VARIABLE " -x OPENBLAS_NUM_THREADS";
    const char *const all[] = {"--hostfile",
                               nodes->hosts,
                               "--agent",
                               nodes->agent,
                               "--oversubscribe",
                               "--mpirun",
                               nodes->options.fault == NULL
                                   ? WITH
                                   : "-x " DRILL_VARIABLE " -x OPENBLAS_NUM_THREADS"
                                     " -x " FAULT_VARIABLE " -x " FAULT_FIRED_VARIABLE};
    int count = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && count < room; i++) {
        words[count++] = all[i];
    }
    return count;
}

static void virtual_environment(const struct drill_nodes *nodes)
{
    const struct drill_fault *fault = nodes->options.fault;
    char text[DRILL_FAULT_BYTES], fired[FILE_PATH_BYTES_MAX];

    setenv(DRILL_VARIABLE, nodes->options.token, 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    unsetenv(FAULT_VARIABLE);
    if (fault == NULL || file_path(fired, nodes->options.folder, DRILL_FIRED_FILE) != ERR_OK) {
        return;
    }
    const int of_victim =
        fault->victim == DRILL_RANK ? fault->number : (fault->number - 1) * nodes->options.slots;
    snprintf(text, sizeof(text), "%s@%d#%d=hold:%d", fault_name(fault->point),
             fault->met_by >= 0 ? fault->met_by : of_victim, fault->hit, HOLD_MS);
    setenv(FAULT_VARIABLE, text, 1);
    setenv(FAULT_FIRED_VARIABLE, fired, 1);
}

const struct drill_backend drill_nodes_virtual = {
    .name = "virtual",
    .actions = 1u << DRILL_KILL | 1u << DRILL_STOP | 1u << DRILL_POWER | 1u << DRILL_CUT |
               1u << DRILL_FREEZE,
    .is_remote = true,
    .open = virtual_open,
    .close = virtual_close,
    .kill = virtual_kill,
    .power = virtual_power,
    .start = virtual_start,
    .cut = virtual_cut,
    .heal = virtual_heal,
    .freeze = virtual_freeze,
    .thaw = virtual_thaw,
    .prefix = virtual_prefix,
    .words = virtual_words,
    .environment = virtual_environment,
};
