#define _POSIX_C_SOURCE 200809L
#include "launch/halt.h"

#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "launch/progress.h"

enum { LOOK_MS = 200 };

static volatile sig_atomic_t wanted;

/* Which file it is: every ask is a new one. */
struct identity {
    bool is_there;
    dev_t device;
    ino_t number;
    struct timespec changed;
};

static struct {
    char output_dir[FILE_PATH_BYTES_MAX];
    char path[FILE_PATH_BYTES_MAX]; /* "": nobody looks */
    bool is_watched;
    bool is_for_now; /* the ask is for the step that comes */
    struct identity old, seen;
    struct halt_ask ask; /* if `seen` is there */
    int64_t looked_ms;
} watch;

static void on_signal(int number)
{
    if (number == SIGINT && wanted != 0) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    wanted = 1;
}

void halt_listen(void)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void)sigaction(numbers[i], &action, NULL);
    }
}

bool halt_is_wanted(void)
{
    return wanted != 0 || watch.is_for_now;
}

enum err halt_ask(const char *output_dir, int64_t after_step)
{
    struct jdoc *doc = jdoc_object();
    char path[FILE_PATH_BYTES_MAX];
    char host[256] = "";
    char *text = NULL;

    gethostname(host, sizeof(host) - 1);
    if (after_step >= 0) {
        jdoc_set_int(doc, "after_step", after_step);
    }
    jdoc_set_int(doc, "process", (int64_t)getpid());
    jdoc_set_text(doc, "host", host);
    jdoc_set_int(doc, "user", (int64_t)geteuid());
    jdoc_set_int(doc, "at", (int64_t)time(NULL));
    enum err status = jdoc_text(doc, 0, &text);
    if (status == ERR_OK) {
        status = file_path(path, output_dir, HALT_FILE);
    }
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    jdoc_close(doc);
    return status;
}

enum err halt_ask_read(const char *output_dir, struct halt_ask *ask_out)
{
    struct halt_ask ask = {.after_step = -1};
    struct jdoc *doc = NULL;
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, output_dir, HALT_FILE));
    const enum err status = jdoc_read(path, &doc);
    if (status == ERR_CORRUPT || status == ERR_IO) { /* `touch` made it: that is an ask, too */
        err_clear();
    } else {
        ERR_TRY(status);
    }
    if (jdoc_is_int(jdoc_get(doc, "after_step"))) {
        ask.after_step = jdoc_as_int(jdoc_get(doc, "after_step"));
    }
    if (jdoc_as_text(jdoc_get(doc, "host")) != NULL) {
        snprintf(ask.who, sizeof(ask.who), "process %" PRId64 " on %.255s",
                 jdoc_as_int(jdoc_get(doc, "process")), jdoc_as_text(jdoc_get(doc, "host")));
    }
    jdoc_close(doc);
    *ask_out = ask;
    return ERR_OK;
}

bool halt_ask_remove(const char *output_dir)
{
    char path[FILE_PATH_BYTES_MAX];

    if (file_path(path, output_dir, HALT_FILE) != ERR_OK) {
        err_clear();
        return false;
    }
    return unlink(path) == 0;
}

static struct identity identify(void)
{
    struct stat info;

    if (stat(watch.path, &info) != 0) {
        return (struct identity){.is_there = false};
    }
    return (struct identity){true, info.st_dev, info.st_ino, info.st_ctim};
}

static bool is_same(const struct identity *a, const struct identity *b)
{
    return a->is_there == b->is_there && a->device == b->device && a->number == b->number &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

void halt_begin(const char *output_dir)
{
    const char *supervisor = getenv(PROGRESS_VARIABLE);

    memset(&watch, 0, sizeof(watch));
    if (file_path(watch.path, output_dir, HALT_FILE) != ERR_OK) {
        err_clear();
        watch.path[0] = '\0';
        return;
    }
    snprintf(watch.output_dir, sizeof(watch.output_dir), "%s", output_dir);
    if (supervisor == NULL || supervisor[0] == '\0') { /* else that one has begun the run */
        watch.old = identify();
    }
}

void halt_watch(void)
{
    if (watch.path[0] == '\0') {
        return;
    }
    const struct identity there = identify();
    if (watch.old.is_there && is_same(&there, &watch.old) && unlink(watch.path) == 0) {
        fprintf(stderr, "offramp: %s was there before this start: removed\n", watch.path);
    }
    watch.is_watched = true;
}

/* Whether there is an ask that was not known. */
static bool look_at_file(void)
{
    const struct identity there = identify();

    if (is_same(&there, &watch.seen)) {
        return false;
    }
    watch.seen = there;
    watch.is_for_now = false; /* it was taken back, or another took its place */
    if (!there.is_there) {
        return false;
    }
    if (halt_ask_read(watch.output_dir, &watch.ask) != ERR_OK) {
        err_clear();
        watch.seen = (struct identity){.is_there = false}; /* the next look tells */
        return false;
    }
    return true;
}

const struct halt_ask *halt_look(int64_t step)
{
    bool is_new = false;

    if (!watch.is_watched) {
        return NULL;
    }
    const int64_t now_ms = clock_now_ms();
    if (watch.looked_ms == 0 || now_ms - watch.looked_ms >= LOOK_MS) {
        watch.looked_ms = now_ms;
        is_new = look_at_file();
    }
    watch.is_for_now = watch.seen.is_there && step >= watch.ask.after_step;
    return is_new ? &watch.ask : NULL;
}

void halt_done(void)
{
    if (watch.is_watched) {
        (void)unlink(watch.path);
    }
    watch.is_watched = false;
}
