#define _GNU_SOURCE
#include "snapshot/snap_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "snapshot/keeper_message.h"

enum {
    START_MS = 10000,   /* until a keeper that was started listens */
    RESTART_MS = 1000,  /* until another is: the first may have met one that was ending */
    ANSWER_MS = 120000, /* to a request: it may touch many GiB of pages first */
    LEAVE_MS = 10000,
    RETRY_US = 5000,
    AGAIN_MS = 60000, /* after a keeper could not be started */
    NEWS_MAX = 4,
};

struct snap_keeper {
    char *folder, *program;
    int rank, retain_s;
    int socket; /* -1: not connected */

    int64_t not_before_ms; /* no keeper is started before */

    uint64_t saving;                  /* the version whose news is still to come; 0: none */
    struct snap_saved news[NEWS_MAX]; /* [news_count] not asked for yet */
    int news_count;
};

/* In the child of a child: nobody waits for it, and nothing of the rank is open in it. */
static void run_keeper(const struct snap_keeper *keeper, char *const arguments[], int log)
{
    const int nothing = open("/dev/null", O_RDWR);

    dup2(nothing, STDIN_FILENO);
    dup2(log >= 0 ? log : nothing, STDOUT_FILENO);
    dup2(log >= 0 ? log : nothing, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (chdir("/") != 0) { /* the job's may be wanted for something else */
        _exit(126);
    }
    execv(keeper->program, arguments);
    _exit(127);
}

/* Between fork() and execv() only what a signal handler may do: the rank has threads. */
static enum err start(const struct snap_keeper *keeper)
{
    char retain[24];
    char log_path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(log_path, keeper->folder, KEEPER_LOG));
    snprintf(retain, sizeof(retain), "%d", keeper->retain_s);
    char *const arguments[] = {keeper->program, "keeper", "--folder", keeper->folder,
                               "--retain-s",    retain,   NULL};
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const pid_t child = fork();
    if (child == 0) {
        setsid();
        const pid_t grandchild = fork();
        if (grandchild == 0) {
            run_keeper(keeper, arguments, log);
        }
        _exit(grandchild < 0);
    }
    if (log >= 0) {
        close(log);
    }
    int status = 0;
    pid_t ended = child < 0 ? child : waitpid(child, &status, 0);
    while (child >= 0 && ended < 0 && errno == EINTR) {
        ended = waitpid(child, &status, 0);
    }
    if (ended < 0 && errno != ECHILD) {
        return ERR_FAIL(ERR_IO, "a keeper cannot be started: %s", strerror(errno));
    }
    return ERR_OK;
}

/* A socket's address holds 107 bytes, a folder's name may have more: it goes by an open folder. */
static int try_connect(const struct snap_keeper *keeper)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int folder = open(keeper->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int connected = -1;

    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder,
             KEEPER_SOCKET);
    if (folder >= 0 && fd >= 0) {
        connected = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    }
    if (folder >= 0) {
        close(folder);
    }
    if (connected != 0 && fd >= 0) {
        close(fd);
    }
    return connected == 0 ? fd : -1;
}

static void add_news(struct snap_keeper *keeper, const struct snap_saved *saved)
{
    if (saved->version == keeper->saving) {
        keeper->saving = 0;
    }
    if (keeper->news_count < NEWS_MAX) {
        keeper->news[keeper->news_count++] = *saved;
    }
}

static bool is_news(struct snap_keeper *keeper, const struct keeper_message *message)
{
    if (message->kind != KEEPER_SAVED) {
        return false;
    }
    struct snap_saved saved = {.version = message->version,
                               .status = (enum err)message->code,
                               .seconds = message->seconds,
                               .bytes = message->bytes};
    memcpy(saved.text, message->text, sizeof(saved.text));
    saved.text[sizeof(saved.text) - 1] = '\0';
    add_news(keeper, &saved);
    return true;
}

/* What the keeper told before it died is read first; an error may come before that, once. */
static void disconnect(struct snap_keeper *keeper)
{
    struct keeper_message message;

    for (int errors = 0; keeper->socket >= 0 && errors < 2;) {
        if (recv(keeper->socket, &message, sizeof(message), MSG_DONTWAIT) ==
            (ssize_t)sizeof(message)) {
            (void)is_news(keeper, &message);
        } else {
            errors++;
        }
    }
    if (keeper->socket >= 0) {
        close(keeper->socket);
        keeper->socket = -1;
    }
    if (keeper->saving != 0) {
        const struct snap_saved lost = {
            .version = keeper->saving, .status = ERR_PEER_LOST, .text = "its keeper died"};
        add_news(keeper, &lost);
    }
}

static bool send_message(struct snap_keeper *keeper, const struct keeper_message *message)
{
    struct keeper_message whole = *message;

    whole.format = KEEPER_FORMAT;
    whole.rank = keeper->rank;
    return send(keeper->socket, &whole, sizeof(whole), MSG_NOSIGNAL) == (ssize_t)sizeof(whole);
}

/* News are kept for who asks; anything else is an answer. False: the keeper is gone, or silent. */
static bool receive_message(struct snap_keeper *keeper, int64_t wait_ms,
                            struct keeper_message *message_out)
{
    struct pollfd waits = {.fd = keeper->socket, .events = POLLIN};
    const int64_t until_ms = clock_now_ms() + wait_ms;

    for (;;) {
        const int64_t left_ms = until_ms - clock_now_ms();
        const int ready = poll(&waits, 1, left_ms < 0 ? 0 : (int)left_ms);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return false;
        }
        const ssize_t bytes = recv(keeper->socket, message_out, sizeof(*message_out), 0);
        if (bytes != (ssize_t)sizeof(*message_out) || message_out->format != KEEPER_FORMAT) {
            disconnect(keeper);
            return false;
        }
        message_out->text[KEEPER_TEXT_BYTES - 1] = '\0';
        return true;
    }
}

/* Sends and waits for the answer. False: no keeper, or none that answers; disconnected then. */
static bool ask(struct snap_keeper *keeper, const struct keeper_message *question,
                enum keeper_kind answer_kind, int64_t wait_ms, struct keeper_message *answer_out)
{
    bool has_answer = send_message(keeper, question);

    while (has_answer) {
        has_answer = receive_message(keeper, wait_ms, answer_out);
        if (has_answer && answer_out->kind == (uint32_t)answer_kind) {
            return true;
        }
        has_answer = has_answer && is_news(keeper, answer_out);
    }
    disconnect(keeper);
    return false;
}

/*
 * Connects, and starts a keeper first if nobody listens. One that ends before it answers had the
 * folder until then: only from there on can another one take it.
 */
static enum err join(struct snap_keeper *keeper)
{
    const struct keeper_message hello = {.kind = KEEPER_HELLO};
    const int64_t last_ms = clock_now_ms() + ANSWER_MS;
    int64_t until_ms = clock_now_ms() + START_MS, start_ms = 0;
    struct keeper_message ready;

    while (keeper->socket < 0) {
        keeper->socket = try_connect(keeper);
        if (keeper->socket >= 0) {
            if (ask(keeper, &hello, KEEPER_READY, ANSWER_MS, &ready)) {
                return ERR_OK;
            }
            until_ms = clock_now_ms() < last_ms ? clock_now_ms() + START_MS : 0;
        }
        if (clock_now_ms() > until_ms) {
            return ERR_FAIL(ERR_TIMEOUT, "the keeper of %s does not answer: see %s there",
                            keeper->folder, KEEPER_LOG);
        }
        if (clock_now_ms() >= start_ms) {
            ERR_TRY(start(keeper));
            start_ms = clock_now_ms() + RESTART_MS;
        }
        clock_nap_us(RETRY_US);
    }
    return ERR_OK;
}

/* ask(), of a keeper that is started again once if it is gone. */
static enum err ask_again(struct snap_keeper *keeper, const struct keeper_message *question,
                          enum keeper_kind answer_kind, struct keeper_message *answer_out)
{
    for (int tries = 0; tries < 2; tries++) {
        ERR_TRY(join(keeper));
        if (ask(keeper, question, answer_kind, ANSWER_MS, answer_out)) {
            return answer_out->code == ERR_OK
                       ? ERR_OK
                       : ERR_FAIL((enum err)answer_out->code, "%s", answer_out->text);
        }
    }
    return ERR_FAIL(ERR_PEER_LOST, "the keeper of %s died, and so did the next one",
                    keeper->folder);
}

enum err snap_keeper_open(const struct snap_keeper_options *options,
                          struct snap_keeper **keeper_out)
{
    struct snap_keeper *keeper = calloc(1, sizeof(*keeper));

    if (keeper == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a keeper");
    }
    keeper->socket = -1;
    keeper->rank = options->rank;
    keeper->retain_s = options->retain_s;
    keeper->folder = strdup(options->folder);
    keeper->program = strdup(options->program);
    const enum err status = keeper->folder == NULL || keeper->program == NULL
                                ? ERR_FAIL(ERR_NO_MEMORY, "a keeper")
                                : join(keeper);
    if (status != ERR_OK) {
        snap_keeper_close(keeper, false);
        return status;
    }
    *keeper_out = keeper;
    return ERR_OK;
}

void snap_keeper_close(struct snap_keeper *keeper, bool finished)
{
    const struct keeper_message goodbye = {.kind = KEEPER_GOODBYE};
    struct keeper_message message;

    if (keeper == NULL) {
        return;
    }
    if (finished && keeper->socket < 0 && join(keeper) != ERR_OK) {
        err_clear();
    }
    if (finished && keeper->socket >= 0 && send_message(keeper, &goodbye)) {
        while (receive_message(keeper, LEAVE_MS, &message)) { /* to the end of the connection */
        }
    }
    if (keeper->socket >= 0) {
        close(keeper->socket);
    }
    free(keeper->folder);
    free(keeper->program);
    free(keeper);
}

enum err snap_keeper_reserve(struct snap_keeper *keeper, const char *name, uint64_t bytes)
{
    struct keeper_message question = {.kind = KEEPER_RESERVE, .bytes = bytes};
    struct keeper_message answer;

    snprintf(question.text, sizeof(question.text), "%s", name);
    return ask_again(keeper, &question, KEEPER_RESERVED, &answer);
}

enum err snap_keeper_save(struct snap_keeper *keeper, const char *name, uint64_t version)
{
    struct keeper_message question = {.kind = KEEPER_SAVE, .version = version};
    struct keeper_message answer;

    snprintf(question.text, sizeof(question.text), "%s", name);
    ERR_TRY(ask_again(keeper, &question, KEEPER_TAKEN, &answer));
    keeper->saving = keeper->rank == 0 ? version : 0;
    return ERR_OK;
}

bool snap_keeper_news(struct snap_keeper *keeper, int64_t wait_ms, struct snap_saved *saved_out)
{
    const int64_t until_ms = clock_now_ms() + wait_ms;
    struct keeper_message message;

    while (keeper->news_count == 0 && keeper->socket >= 0) {
        const int64_t left_ms = until_ms - clock_now_ms();
        if (!receive_message(keeper, left_ms < 0 ? 0 : left_ms, &message) ||
            !is_news(keeper, &message)) {
            break;
        }
    }
    if (keeper->socket < 0 && clock_now_ms() >= keeper->not_before_ms && join(keeper) != ERR_OK) {
        err_clear();
        keeper->not_before_ms = clock_now_ms() + AGAIN_MS;
    }
    if (keeper->news_count == 0) {
        return false;
    }
    *saved_out = keeper->news[0];
    keeper->news_count--;
    memmove(keeper->news, keeper->news + 1, (size_t)keeper->news_count * sizeof(keeper->news[0]));
    return true;
}
