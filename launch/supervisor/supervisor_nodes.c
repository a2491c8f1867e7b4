#define _GNU_SOURCE
#include "launch/supervisor/supervisor_nodes.h"

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
#include "launch/supervisor/supervisor_watch.h"

enum {
    SILENCE_MS = 2500, /* of a node that was there */
    FIRST_MS = 10000,  /* of one that is reached for the first time, or again */
    RETRY_MS = 1000,   /* between two tries */
    WORDS_MAX = 64,
};

struct node {
    pid_t process; /* of the agent; -1: none */
    int pipe;
    char *line; /* WATCH_LINE_BYTES, the one that is coming in */
    size_t length;
    bool is_gone;
    int64_t heard_ms;   /* 0: never */
    int64_t started_ms; /* the process */
};

struct nodes {
    struct nodes_options options;
    struct node *nodes;
};

void nodes_list_release(struct nodes_list *list)
{
    free(list->hosts);
    free(list->slots);
    *list = (struct nodes_list){0};
}

static enum err add_host(struct nodes_list *list, const char *path, int line, const char *text)
{
    char host[NODES_HOST_BYTES] = "", rest[32] = "", more[2] = "";
    int slots = 1;
    const int words = sscanf(text, "%255s %31s %1s", host, rest, more);

    if (words > 2 || (words == 2 && (sscanf(rest, "slots=%d", &slots) != 1 || slots < 1))) {
        return ERR_FAIL(ERR_CONFIG, "%s:%d: 'HOST slots=N' is expected, found '%s'", path, line,
                        text);
    }
    for (int n = 0; n < list->count; n++) {
        if (strcmp(list->hosts[n], host) == 0) {
            return ERR_FAIL(ERR_CONFIG, "%s:%d: %s is there twice", path, line, host);
        }
    }
    void *hosts = realloc(list->hosts, (size_t)(list->count + 1) * sizeof(*list->hosts));
    list->hosts = hosts == NULL ? list->hosts : hosts;
    void *sizes = realloc(list->slots, (size_t)(list->count + 1) * sizeof(*list->slots));
    list->slots = sizes == NULL ? list->slots : sizes;
    if (hosts == NULL || sizes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d hosts", list->count + 1);
    }
    memcpy(list->hosts[list->count], host, sizeof(host));
    list->slots[list->count++] = slots;
    return ERR_OK;
}

enum err nodes_list_read(const char *path, struct nodes_list *list_out)
{
    struct nodes_list list = {0};
    enum err status = ERR_OK;
    char text[512];
    int line = 0;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: open: %s", path,
                        strerror(errno));
    }
    while (status == ERR_OK && fgets(text, sizeof(text), file) != NULL) {
        line++;
        text[strcspn(text, "#\r\n")] = '\0';
        if (text[strspn(text, " \t")] != '\0') {
            status = add_host(&list, path, line, text);
        }
    }
    fclose(file);
    if (status == ERR_OK && list.count == 0) {
        status = ERR_FAIL(ERR_CONFIG, "%s names no host", path);
    }
    if (status != ERR_OK) {
        nodes_list_release(&list);
        return status;
    }
    *list_out = list;
    return ERR_OK;
}

/* In the child. */
static void become_agent(const struct nodes_options *options, int n, int out, pid_t supervisor)
{
    char *arguments[WORDS_MAX + 8];
    char *rest = strdup(options->agent);
    const int nowhere = open("/dev/null", O_RDWR);
    int count = 0;
    sigset_t none;

    for (char *word = strsep(&rest, " "); word != NULL && count < WORDS_MAX;
         word = strsep(&rest, " ")) {
        if (word[0] != '\0') {
            arguments[count++] = word;
        }
    }
    arguments[count++] = options->list->hosts[n];
    arguments[count++] = (char *)(uintptr_t)options->program;
    arguments[count++] = (char *)(uintptr_t) "keeper";
    arguments[count++] = (char *)(uintptr_t) "--report";
    arguments[count++] = (char *)(uintptr_t)options->folder;
    arguments[count] = NULL;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == supervisor) {
        dup2(nowhere, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
        execvp(arguments[0], arguments);
    }
    _exit(127);
}

static void start(struct nodes *nodes, int n, int64_t now_ms)
{
    struct node *node = &nodes->nodes[n];
    const pid_t supervisor = getpid();
    int ends[2];

    node->started_ms = now_ms;
    node->length = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return; /* tried again like one that does not answer */
    }
    node->process = fork();
    if (node->process == 0) {
        become_agent(&nodes->options, n, ends[1], supervisor);
    }
    close(ends[1]);
    if (node->process < 0) {
        close(ends[0]);
        return;
    }
    node->pipe = ends[0];
    fcntl(node->pipe, F_SETFL, O_NONBLOCK);
}

/* Ends the agent, and what it started on this machine. */
static void stop(struct node *node)
{
    if (node->process > 0) {
        kill(-node->process, SIGKILL);
        kill(node->process, SIGKILL);
        waitpid(node->process, NULL, 0);
        node->process = -1;
    }
    if (node->pipe >= 0) {
        close(node->pipe);
        node->pipe = -1;
    }
}

enum err nodes_open(const struct nodes_options *options, int64_t now_ms, struct nodes **nodes_out)
{
    const int count = options->list->count;
    struct nodes *nodes = calloc(1, sizeof(*nodes));

    if (nodes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d nodes", count);
    }
    nodes->options = *options;
    nodes->nodes = calloc((size_t)count, sizeof(*nodes->nodes));
    for (int n = 0; nodes->nodes != NULL && n < count; n++) {
        nodes->nodes[n] = (struct node){.process = -1, .pipe = -1};
    }
    for (int n = 0; n < count; n++) {
        if (nodes->nodes == NULL || (nodes->nodes[n].line = malloc(WATCH_LINE_BYTES)) == NULL) {
            nodes_close(nodes);
            return ERR_FAIL(ERR_NO_MEMORY, "%d nodes", count);
        }
    }
    for (int n = 0; n < count; n++) {
        start(nodes, n, now_ms);
    }
    *nodes_out = nodes;
    return ERR_OK;
}

void nodes_close(struct nodes *nodes)
{
    if (nodes == NULL) {
        return;
    }
    for (int n = 0; nodes->nodes != NULL && n < nodes->options.list->count; n++) {
        stop(&nodes->nodes[n]);
        free(nodes->nodes[n].line);
    }
    free(nodes->nodes);
    free(nodes);
}

int nodes_polls(const struct nodes *nodes, struct pollfd *polls, int room)
{
    int count = 0;

    for (int n = 0; n < nodes->options.list->count && count < room; n++) {
        if (nodes->nodes[n].pipe >= 0) {
            polls[count++] = (struct pollfd){.fd = nodes->nodes[n].pipe, .events = POLLIN};
        }
    }
    return count;
}

static void take_line(struct nodes *nodes, int n, int64_t now_ms, nodes_told_fn told, void *with)
{
    struct node *node = &nodes->nodes[n];
    const int64_t now_ns = clock_now_ns();
    const char *at = NULL;
    struct progress progress;
    int rank = 0;

    if (!watch_line_is(node->line)) {
        return; /* a greeting, say */
    }
    node->heard_ms = now_ms;
    node->is_gone = false;
    while (watch_line_next(node->line, &at, now_ns, &rank, &progress)) {
        told(with, rank, n, &progress);
    }
}

/* False at the end of its output. */
static bool hear(struct nodes *nodes, int n, int64_t now_ms, nodes_told_fn told, void *with)
{
    struct node *node = &nodes->nodes[n];
    char bytes[4096];
    ssize_t count = 0;

    while ((count = read(node->pipe, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < count; i++) {
            if (bytes[i] != '\n' && node->length < WATCH_LINE_BYTES - 1) {
                node->line[node->length++] = bytes[i];
            } else if (bytes[i] == '\n') {
                node->line[node->length] = '\0';
                node->length = 0;
                take_line(nodes, n, now_ms, told, with);
            }
        }
    }
    return count < 0 && (errno == EAGAIN || errno == EINTR);
}

static void judge(struct node *node, int64_t now_ms)
{
    const bool is_there = node->heard_ms > 0 && !node->is_gone;
    const bool is_silent = is_there ? now_ms - node->heard_ms > SILENCE_MS
                                    : node->pipe < 0 || now_ms - node->started_ms > FIRST_MS;

    if (is_silent) {
        node->is_gone = true;
        stop(node);
    }
}

void nodes_look(struct nodes *nodes, int64_t now_ms, nodes_told_fn told, void *with)
{
    for (int n = 0; n < nodes->options.list->count; n++) {
        struct node *node = &nodes->nodes[n];
        if (node->pipe >= 0 && !hear(nodes, n, now_ms, told, with)) {
            stop(node);
        }
        judge(node, now_ms);
        if (node->pipe < 0 && now_ms - node->started_ms >= RETRY_MS) {
            start(nodes, n, now_ms);
        }
    }
}

bool nodes_is_gone(const struct nodes *nodes, int node)
{
    return nodes->nodes[node].is_gone;
}

int64_t nodes_heard_ms(const struct nodes *nodes, int node)
{
    return nodes->nodes[node].heard_ms;
}
