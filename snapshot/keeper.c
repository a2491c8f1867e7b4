#define _GNU_SOURCE
#include "snapshot/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "snapshot/keeper_janitor.h"
#include "snapshot/keeper_message.h"
#include "snapshot/keeper_saver.h"
#include "snapshot/snap_area.h"

enum {
    NICENESS = 10,
    RETRY_MS = 60000, /* after the newest version could not be written */
    LOOK_MS = 100,
    IN_USE_MS = 1000, /* from one look to the next */
};

struct rank {
    int socket;
    int number; /* -1 until it has said HELLO */
};

/* What is to be done next when all ranks are gone. */
enum errand { NO_ERRAND, SAVE_NEWEST, LOOK_AT_DISK, REMOVE_MEMORY };

struct keeper {
    const struct keeper_options *options;
    int listener, lock, news, signals;
    struct rank ranks[KEEPER_RANKS_MAX];
    int rank_count;
    bool has_goodbye; /* of a rank, since the first one of this start came */
    enum errand errand;
    int64_t errand_ms; /* when */
    int attempt;       /* at saving the newest version */
    struct keeper_saver *saver;
};

/* A request that takes long, on a thread of its own. */
struct reservation {
    int socket; /* a duplicate: the connection may end meanwhile */
    char folder[FILE_PATH_BYTES_MAX];
    struct keeper_message request;
};

static void answer(int socket, enum keeper_kind kind, uint64_t version, enum err status)
{
    struct keeper_message message = {
        .format = KEEPER_FORMAT, .kind = kind, .version = version, .code = status};

    if (status != ERR_OK) {
        err_text(message.text, sizeof(message.text));
        err_clear();
    }
    (void)!send(socket, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static void *reserve_main(void *argument)
{
    struct reservation *reservation = argument;
    char path[FILE_PATH_BYTES_MAX];

    enum err status = is_plain_name(reservation->request.text)
                          ? file_path(path, reservation->folder, reservation->request.text)
                          : ERR_FAIL(ERR_INVALID, "not a name in this folder");
    if (status == ERR_OK) {
        status = snap_area_reserve(path, reservation->request.bytes);
    }
    answer(reservation->socket, KEEPER_RESERVED, 0, status);
    close(reservation->socket);
    free(reservation);
    return NULL;
}

static enum err reserve(const struct keeper *keeper, const struct rank *rank,
                        const struct keeper_message *request)
{
    struct reservation *reservation = calloc(1, sizeof(*reservation));
    pthread_t thread;

    if (reservation == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a request");
    }
    reservation->request = *request;
    snprintf(reservation->folder, sizeof(reservation->folder), "%s", keeper->options->folder);
    reservation->socket = fcntl(rank->socket, F_DUPFD_CLOEXEC, 0);
    if (reservation->socket < 0 || pthread_create(&thread, NULL, reserve_main, reservation) != 0) {
        if (reservation->socket >= 0) {
            close(reservation->socket);
        }
        free(reservation);
        return ERR_FAIL(ERR_NO_MEMORY, "a thread for a request");
    }
    pthread_detach(thread);
    return ERR_OK;
}

/* A part that was not taken. */
struct refusal {
    char path[FILE_PATH_BYTES_MAX];
    uint64_t version;
    struct snap_plan plan;
};

static void *refuse_main(void *argument)
{
    struct refusal *refusal = argument;

    if (snap_part_refuse(refusal->path, refusal->version, &refusal->plan) != ERR_OK) {
        err_clear(); /* then member 0's keeper waits until its deadline */
    }
    free(refusal);
    return NULL;
}

/* Has member 0's keeper, which waits for all parts, told that this one does not come. */
static void refuse(const char *path, uint64_t version, const struct snap_plan *plan)
{
    struct refusal *refusal = malloc(sizeof(*refusal));
    pthread_t thread;

    if (refusal == NULL) {
        return;
    }
    snprintf(refusal->path, sizeof(refusal->path), "%s", path);
    refusal->version = version;
    refusal->plan = *plan;
    if (pthread_create(&thread, NULL, refuse_main, refusal) != 0) {
        free(refusal);
        return;
    }
    pthread_detach(thread);
}

/* Copies a member's part now, while its slot is sure to stay; it is written later. */
static enum err take(struct keeper *keeper, const struct keeper_message *request)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_plan plan;
    struct snap_part part;

    FAULT_POINT_FAIL(FAULT_KEEPER_TAKE, ERR_IO);
    if (!is_plain_name(request->text)) {
        return ERR_FAIL(ERR_INVALID, "not a name in this folder");
    }
    ERR_TRY(snap_plan_read(keeper->options->folder, &plan));
    ERR_TRY(file_path(path, keeper->options->folder, request->text));
    const enum err status = keeper_saver_is_free(keeper->saver, request->version)
                                ? snap_part_take(path, request->version, &part)
                                : ERR_FAIL(ERR_INVALID, "an earlier step is still being written");
    if (status != ERR_OK) {
        refuse(path, request->version, &plan);
        return status;
    }
    keeper_saver_add(keeper->saver, &part, &plan);
    return ERR_OK;
}

static void plan_errand(struct keeper *keeper, enum errand errand, int64_t in_ms)
{
    keeper->errand = errand;
    keeper->errand_ms = clock_now_ms() + in_ms;
}

static void close_rank(struct keeper *keeper, int index, bool said_goodbye)
{
    keeper->has_goodbye = keeper->has_goodbye || said_goodbye;
    close(keeper->ranks[index].socket);
    keeper->ranks[index] = keeper->ranks[--keeper->rank_count];
    if (keeper->rank_count == 0) {
        plan_errand(keeper, SAVE_NEWEST, (int64_t)keeper->options->grace_s * 1000);
        keeper->attempt = 0;
    }
}

/* One request. False: the connection is over. */
static bool serve(struct keeper *keeper, int index)
{
    struct rank *rank = &keeper->ranks[index];
    struct keeper_message request;
    enum err status = ERR_OK;

    const ssize_t bytes = recv(rank->socket, &request, sizeof(request), MSG_TRUNC);
    if (bytes != (ssize_t)sizeof(request) || request.format != KEEPER_FORMAT) {
        close_rank(keeper, index, false);
        return false;
    }
    request.text[KEEPER_TEXT_BYTES - 1] = '\0';
    switch (request.kind) {
    case KEEPER_HELLO:
        rank->number = request.rank;
        keeper->has_goodbye = keeper->has_goodbye && keeper->errand == NO_ERRAND;
        keeper->errand = NO_ERRAND;
        answer(rank->socket, KEEPER_READY, 0, ERR_OK);
        return true;
    case KEEPER_RESERVE:
        status = reserve(keeper, rank, &request);
        if (status != ERR_OK) {
            answer(rank->socket, KEEPER_RESERVED, 0, status);
        }
        return true;
    case KEEPER_SAVE:
        answer(rank->socket, KEEPER_TAKEN, request.version, take(keeper, &request));
        return true;
    case KEEPER_GOODBYE: close_rank(keeper, index, true); return false;
    default: close_rank(keeper, index, false); return false;
    }
}

static void accept_rank(struct keeper *keeper)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    const int socket = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC);

    if (socket < 0) {
        return;
    }
    if (keeper->rank_count == KEEPER_RANKS_MAX ||
        getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0 || peer.uid != geteuid()) {
        close(socket);
        return;
    }
    keeper->ranks[keeper->rank_count++] = (struct rank){.socket = socket, .number = -1};
}

/* News for rank 0, if it is here. */
static void tell_saved(struct keeper *keeper)
{
    struct keeper_saved saved;
    uint64_t count = 0;

    (void)!read(keeper->news, &count, sizeof(count));
    while (keeper_saver_ended(keeper->saver, &saved)) {
        struct keeper_message message = {.format = KEEPER_FORMAT,
                                         .kind = KEEPER_SAVED,
                                         .code = saved.status,
                                         .version = saved.version,
                                         .bytes = saved.bytes,
                                         .seconds = saved.seconds};
        memcpy(message.text, saved.text, sizeof(message.text));
        for (int r = 0; r < keeper->rank_count; r++) {
            if (keeper->ranks[r].number == 0) {
                (void)!send(keeper->ranks[r].socket, &message, sizeof(message),
                            MSG_NOSIGNAL | MSG_DONTWAIT);
            }
        }
    }
}

/* Whether the folder is still the one that was opened: it may have been removed, and made anew. */
static bool has_folder(const struct keeper *keeper)
{
    char path[FILE_PATH_BYTES_MAX];
    struct stat named, held;

    if (file_path(path, keeper->options->folder, KEEPER_LOCK) != ERR_OK) {
        err_clear();
        return false;
    }
    return lstat(path, &named) == 0 && fstat(keeper->lock, &held) == 0 &&
           named.st_dev == held.st_dev && named.st_ino == held.st_ino;
}

/* What is due now that all ranks are gone. False: there is no more to do here. */
static bool run_errand(struct keeper *keeper)
{
    const char *folder = keeper->options->folder;

    if (keeper_janitor_is_in_use(folder)) { /* by ranks that have not noticed this keeper yet */
        plan_errand(keeper, SAVE_NEWEST, IN_USE_MS);
        return true;
    }
    switch (keeper->errand) {
    case SAVE_NEWEST:
        if (keeper_janitor_is_empty(folder)) {
            return false;
        }
        if (keeper_janitor_is_safe(folder, keeper->attempt)) {
            plan_errand(keeper, REMOVE_MEMORY, (int64_t)keeper->options->retain_s * 1000);
        } else {
            keeper_janitor_save(folder, keeper->saver, keeper->attempt++);
            plan_errand(keeper, LOOK_AT_DISK, LOOK_MS);
        }
        return true;
    case LOOK_AT_DISK:
        if (!keeper_saver_is_idle(keeper->saver)) {
            plan_errand(keeper, LOOK_AT_DISK, LOOK_MS);
        } else { /* the other version at once, another try later */
            plan_errand(keeper, SAVE_NEWEST, keeper->attempt % 2 != 0 ? 0 : RETRY_MS);
        }
        return true;
    case REMOVE_MEMORY: return false;
    default: return true;
    }
}

/* Something has come or gone, or it is time. False: there is no more to do here. */
static bool look_around(struct keeper *keeper)
{
    if (keeper->rank_count > 0) {
        return true;
    }
    if (keeper->has_goodbye && keeper_janitor_is_empty(keeper->options->folder)) {
        return false;
    }
    return clock_now_ms() < keeper->errand_ms || (has_folder(keeper) && run_errand(keeper));
}

static int64_t patience_ms(const struct keeper *keeper)
{
    if (keeper->errand == NO_ERRAND || keeper->rank_count > 0) {
        return -1;
    }
    const int64_t left_ms = keeper->errand_ms - clock_now_ms();
    return left_ms < 0 ? 0 : left_ms < INT32_MAX ? left_ms : INT32_MAX;
}

/* Until the job is finished: true; or the keeper is told to end: false. */
static bool serve_all(struct keeper *keeper)
{
    enum { SIGNALS, NEWS, LISTENER, FIRST_RANK };
    struct pollfd waits[FIRST_RANK + KEEPER_RANKS_MAX];

    while (look_around(keeper)) {
        const int count = keeper->rank_count;
        const nfds_t wait_count = (nfds_t)FIRST_RANK + (nfds_t)count;
        waits[SIGNALS] = (struct pollfd){.fd = keeper->signals, .events = POLLIN};
        waits[NEWS] = (struct pollfd){.fd = keeper->news, .events = POLLIN};
        waits[LISTENER] = (struct pollfd){.fd = keeper->listener, .events = POLLIN};
        for (int r = 0; r < count; r++) {
            waits[FIRST_RANK + r] =
                (struct pollfd){.fd = keeper->ranks[r].socket, .events = POLLIN};
        }
        if (poll(waits, wait_count, (int)patience_ms(keeper)) <= 0) {
            continue;
        }
        if (waits[SIGNALS].revents != 0) {
            return false;
        }
        if (waits[NEWS].revents != 0) {
            tell_saved(keeper);
        }
        for (int r = count - 1; r >= 0;
             r--) { /* from behind: one that ends is replaced by the last */
            if (waits[FIRST_RANK + r].revents != 0) {
                (void)serve(keeper, r);
            }
        }
        if (waits[LISTENER].revents != 0) {
            accept_rank(keeper);
        }
    }
    return true;
}

static enum err open_socket(struct keeper *keeper)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[FILE_PATH_BYTES_MAX];
    const int folder = open(keeper->options->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    ERR_TRY(file_path(path, keeper->options->folder, KEEPER_SOCKET));
    (void)!unlink(path); /* of a keeper that was killed: the lock is ours */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder,
             KEEPER_SOCKET);
    keeper->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const bool is_open =
        folder >= 0 && keeper->listener >= 0 &&
        bind(keeper->listener, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(keeper->listener, KEEPER_RANKS_MAX) == 0;
    const int code = errno;
    if (folder >= 0) {
        close(folder);
    }
    return is_open ? ERR_OK : ERR_FAIL(ERR_IO, "%s: %s", path, strerror(code));
}

/* Out of the training's way, and ended by signals only where it is safe. */
static enum err open_process(struct keeper *keeper)
{
    enum { IOPRIO_SET_SELF = 1, LOWEST_BEST_EFFORT = (2 << 13) | 7 };
    struct rlimit files; /* a rank takes up to three: two connections, and what is made for it */
    sigset_t ends;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setpriority(PRIO_PROCESS, 0, NICENESS);
    syscall(SYS_ioprio_set, IOPRIO_SET_SELF, 0, LOWEST_BEST_EFFORT);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &ends, NULL) != 0) {
        return ERR_FAIL(ERR_IO, "signals cannot be blocked");
    }
    keeper->signals = signalfd(-1, &ends, SFD_CLOEXEC);
    keeper->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (keeper->signals < 0 || keeper->news < 0) {
        return ERR_FAIL(ERR_IO, "signals: %s", strerror(errno));
    }
    return keeper_saver_open(keeper->news, &keeper->saver);
}

/*
 * Locks the folder, or finds that another keeper has. What is locked must still have the name: a
 * keeper that ends may have removed it between the two calls.
 */
static enum err lock_folder(struct keeper *keeper, bool *is_served_out)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, keeper->options->folder, KEEPER_LOCK));
    do {
        if (keeper->lock >= 0) {
            close(keeper->lock);
        }
        keeper->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (keeper->lock < 0) {
            return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
        }
        *is_served_out = fcntl(keeper->lock, F_OFD_SETLK, &whole) != 0;
        if (*is_served_out) {
            return errno == EAGAIN || errno == EACCES
                       ? ERR_OK
                       : ERR_FAIL(ERR_IO, "%s: lock: %s", path, strerror(errno));
        }
    } while (!has_folder(keeper));
    return ERR_OK;
}

/* The node is going down: what can be saved. True: it is on disk. */
static bool save_now(struct keeper *keeper)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (keeper_janitor_is_safe(keeper->options->folder, attempt)) {
            return true;
        }
        keeper_janitor_save(keeper->options->folder, keeper->saver, attempt);
        while (!keeper_saver_is_idle(keeper->saver)) {
            clock_nap_us(LOOK_MS * 1000);
        }
    }
    return keeper_janitor_is_safe(keeper->options->folder, 1);
}

static enum err run(struct keeper *keeper)
{
    const char *folder = keeper->options->folder;
    bool is_served = false;

    ERR_TRY(snap_area_folder(folder));
    ERR_TRY(lock_folder(keeper, &is_served));
    if (is_served) {
        return ERR_OK;
    }
    ERR_TRY(open_process(keeper));
    keeper_janitor_tidy(folder, keeper->options->retain_s);
    ERR_TRY(open_socket(keeper));
    plan_errand(keeper, SAVE_NEWEST, (int64_t)keeper->options->grace_s * 1000);
    const bool is_done = serve_all(keeper);
    /* Told to end, it leaves the memory to whoever comes back, if there is time for that. */
    if (is_done || (save_now(keeper) && keeper->options->retain_s == 0)) {
        keeper_saver_close(keeper->saver);
        keeper->saver = NULL;
        if (has_folder(keeper)) {
            keeper_janitor_remove(folder);
        }
    }
    return ERR_OK;
}

enum err keeper_run(const struct keeper_options *options)
{
    struct keeper *keeper = calloc(1, sizeof(*keeper));

    if (keeper == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a keeper");
    }
    keeper->options = options;
    keeper->listener = keeper->lock = keeper->news = keeper->signals = -1;
    const enum err status = run(keeper);
    keeper_saver_close(keeper->saver);
    while (keeper->rank_count > 0) {
        close_rank(keeper, keeper->rank_count - 1, true);
    }
    const int files[] = {keeper->listener, keeper->news, keeper->signals, keeper->lock};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i] >= 0) {
            close(files[i]);
        }
    }
    free(keeper);
    return status;
}
