#define _GNU_SOURCE
#include "launch/report/report_gnuplot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"

enum {
    DEADLINE_MS = 60000, /* a plot takes less than 1 s */
    LOOK_US = 2000,
    CODE_NO_PROGRAM = 127,
};

/* Its standard input, output and error: files in memory, so that nobody waits for anybody. */
struct streams {
    int in, out, err;
};

static void close_streams(struct streams *streams)
{
    const int files[] = {streams->in, streams->out, streams->err};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i] >= 0) {
            close(files[i]);
        }
    }
}

static enum err open_streams(const struct report_text *commands, struct streams *streams)
{
    size_t written = 0;

    *streams = (struct streams){.in = memfd_create("plot", MFD_CLOEXEC),
                                .out = memfd_create("svg", MFD_CLOEXEC),
                                .err = memfd_create("words", MFD_CLOEXEC)};
    if (streams->in < 0 || streams->out < 0 || streams->err < 0) {
        return ERR_FAIL(ERR_IO, "memory for gnuplot: %s", strerror(errno));
    }
    while (written < commands->count) {
        const ssize_t count =
            write(streams->in, commands->bytes + written, commands->count - written);
        if (count < 0) {
            return ERR_FAIL(ERR_IO, "commands of gnuplot: %s", strerror(errno));
        }
        written += (size_t)count;
    }
    lseek(streams->in, 0, SEEK_SET);
    return ERR_OK;
}

/* In the child. */
static void become_gnuplot(const struct streams *streams, pid_t parent)
{
    static const char *const arguments[] = {"gnuplot", "-d", "-", NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && dup2(streams->in, STDIN_FILENO) >= 0 &&
        dup2(streams->out, STDOUT_FILENO) >= 0 && dup2(streams->err, STDERR_FILENO) >= 0) {
        setenv("LC_ALL", "C.UTF-8", 1); /* a decimal point */
        execvp(arguments[0], (char **)(uintptr_t)arguments);
    }
    _exit(CODE_NO_PROGRAM);
}

/* Until it has ended; `status_out` as of waitpid(). */
static enum err wait_for(pid_t child, int *status_out)
{
    const int64_t start_ms = clock_now_ms();
    pid_t ended = 0;

    while ((ended = waitpid(child, status_out, WNOHANG)) == 0) {
        if (clock_now_ms() - start_ms >= DEADLINE_MS) {
            kill(child, SIGKILL);
            waitpid(child, status_out, 0);
            return ERR_FAIL(ERR_TIMEOUT, "gnuplot took more than %d s", DEADLINE_MS / 1000);
        }
        clock_nap_us(LOOK_US);
    }
    return ended == child ? ERR_OK : ERR_FAIL(ERR_IO, "wait for gnuplot: %s", strerror(errno));
}

/* All of a file in memory. The caller frees *text_out, which a NUL ends. */
static enum err read_back(int file, char **text_out)
{
    struct stat info;
    size_t count = 0;

    if (fstat(file, &info) != 0) {
        return ERR_FAIL(ERR_IO, "what gnuplot wrote: %s", strerror(errno));
    }
    char *text = malloc((size_t)info.st_size + 1);
    if (text == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "what gnuplot wrote");
    }
    while (count < (size_t)info.st_size) {
        const ssize_t got = pread(file, text + count, (size_t)info.st_size - count, (off_t)count);
        if (got <= 0) {
            free(text);
            return ERR_FAIL(ERR_IO, "what gnuplot wrote: %s", strerror(errno));
        }
        count += (size_t)got;
    }
    text[count] = '\0';
    *text_out = text;
    return ERR_OK;
}

/* The last line of what it says: those before it show where. */
static enum err tell_failure(const struct streams *streams, int status)
{
    char *text = NULL;

    if (WIFSIGNALED(status)) {
        return ERR_FAIL(ERR_INVALID, "gnuplot ended by signal %d", WTERMSIG(status));
    }
    ERR_TRY(read_back(streams->err, &text));
    size_t end = strlen(text);
    while (end > 0 && isspace((unsigned char)text[end - 1])) {
        text[--end] = '\0';
    }
    const char *line = strrchr(text, '\n');
    const enum err failure = ERR_FAIL(ERR_INVALID, "gnuplot ended with %d: %s", WEXITSTATUS(status),
                                      line == NULL ? text : line + 1);
    free(text);
    return failure;
}

/* The element without what comes before it. Gnuplot has the same ids in every picture: NAME_ precedes them. */
static void add_svg(const char *text, const char *name, struct report_text *svg)
{
    static const char *const marks[] = {"id='", "id=\"", "'#", "(#"};

    for (;;) {
        const char *next = NULL;
        size_t length = 0;
        for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
            const char *found = strstr(text, marks[m]);
            if (found != NULL && (next == NULL || found < next)) {
                next = found;
                length = strlen(marks[m]);
            }
        }
        if (next == NULL) {
            break;
        }
        report_text_bytes(svg, text, (size_t)(next - text) + length);
        report_text_add(svg, "%s_", name);
        text = next + length;
    }
    report_text_add(svg, "%s", text);
}

enum err report_gnuplot(const struct report_text *commands, const char *name,
                        struct report_text *svg)
{
    struct streams streams;
    enum err status = ERR_OK;
    const pid_t parent = getpid();
    char *text = NULL;
    int ended = 0;

    ERR_GOTO(out, status, open_streams(commands, &streams));
    const pid_t child = fork();
    if (child == 0) {
        become_gnuplot(&streams, parent);
    }
    if (child < 0) {
        status = ERR_FAIL(ERR_IO, "fork: %s", strerror(errno));
        goto out;
    }
    ERR_GOTO(out, status, wait_for(child, &ended));
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == CODE_NO_PROGRAM) {
        status = ERR_FAIL(
            ERR_MISSING,
            "gnuplot, which draws the plots, is not installed: apt-get install gnuplot-nox");
        goto out;
    }
    ERR_GOTO(out, status, read_back(streams.out, &text));
    const char *element = strstr(text, "<svg");
    if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0 || element == NULL) {
        status = tell_failure(&streams, ended);
        goto out;
    }
    add_svg(element, name, svg);
out:
    free(text);
    close_streams(&streams);
    return status;
}
