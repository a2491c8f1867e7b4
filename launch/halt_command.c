#define _POSIX_C_SOURCE 200809L
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/halt.h"
#include "launch/run_status.h"

enum { KEY_AFTER_STEP = 1000, KEY_NOW, KEY_WAIT };
enum { LOOK_US = 100000, WAIT_S_MAX = 1000000 };

struct arguments {
    const char *path;
    int64_t after_step; /* -1: the step under way */
    int64_t wait_s;     /* -1: it does not wait */
    bool now;
};

static const struct argp_option halt_options[] = {
    {"after-step", KEY_AFTER_STEP, "N", 0,
     "after step N of the run, or the first after it that can be", 0},
    {"after_step", KEY_AFTER_STEP, "N", OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"now", KEY_NOW, NULL, 0, "after the step under way, as without --after-step", 0},
    {"wait", KEY_WAIT, "S", 0, "wait until the run has ended, S seconds at most", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_AFTER_STEP:
        arguments->after_step = arguments_number(text, 0, INT64_MAX, state);
        return 0;
    case KEY_NOW: arguments->now = true; return 0;
    case KEY_WAIT: arguments->wait_s = arguments_number(text, 0, WAIT_S_MAX, state); return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) {
            argp_error(state, "one output_dir is expected, found %s and %s", arguments->path, text);
        }
        arguments->path = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL) {
            argp_error(state, "the output_dir of a run is expected");
        }
        if (arguments->now && arguments->after_step >= 0) {
            argp_error(state, "--now and --after-step exclude each other");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char *text_of(const struct jdoc *status, const char *key)
{
    const char *text = jdoc_as_text(jdoc_get(status, key));

    return text == NULL ? "" : text;
}

/* The rest of a run whose rank 0 is on another machine may be out of sight. */
static bool may_live(const struct jdoc *status)
{
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    return strcmp(text_of(status, "state"), "lost") == 0 && text_of(status, "host")[0] != '\0' &&
           strcmp(text_of(status, "host"), host) != 0;
}

static bool has_ended_well(const struct jdoc *status)
{
    const char *verdict = text_of(status, "verdict");

    return strcmp(verdict, "finished") == 0 || strcmp(verdict, "requeue") == 0;
}

/* What is said of a run that is over; *code_out is 0, or what it ended with. */
static void tell_end(const struct jdoc *status, int *code_out)
{
    const int64_t code = jdoc_as_int(jdoc_get(status, "exit_code"));

    if (has_ended_well(status)) {
        printf("%s: %s after step %" PRId64 "\n", text_of(status, "path"), text_of(status, "state"),
               jdoc_as_int(jdoc_get(status, "step")));
        return;
    }
    fprintf(stderr, "offramp: %s: %s before it could halt; offramp status tells more\n",
            text_of(status, "path"), text_of(status, "state"));
    *code_out = code > 0 ? (int)code : EXIT_INTERNAL;
}

/* `is_seen`: by its locks; of one that cannot be seen, only its summary tells. */
static enum err wait_for_end(const struct arguments *arguments, bool is_seen, int *code_out)
{
    const int64_t start_ns = clock_now_ns();

    for (;;) {
        struct jdoc *status = NULL;
        ERR_TRY(run_status(arguments->path, &status));
        const bool is_over =
            !run_is_alive(status) && (is_seen || strcmp(text_of(status, "state"), "lost") != 0);
        if (is_over) {
            (void)halt_ask_remove(arguments->path); /* it may have ended by itself */
            tell_end(status, code_out);
        }
        jdoc_close(status);
        if (is_over) {
            return ERR_OK;
        }
        if (clock_since_s(start_ns) >= (double)arguments->wait_s) {
            return ERR_FAIL(ERR_TIMEOUT,
                            "%s has not halted within %" PRId64 " s, and stays asked to",
                            arguments->path, arguments->wait_s);
        }
        clock_nap_us(LOOK_US);
    }
}

static void tell_ask(const struct arguments *arguments, const struct jdoc *status)
{
    printf("%s: asked to halt after ", arguments->path);
    if (arguments->after_step >= 0) {
        printf("step %" PRId64, arguments->after_step);
    } else {
        printf("its step");
    }
    if (!run_is_alive(status)) {
        printf(", if process %" PRId64 " on %s runs it, which cannot be seen from here",
               jdoc_as_int(jdoc_get(status, "process")), text_of(status, "host"));
    }
    putchar('\n');
    fflush(stdout);
}

static enum err halt(const struct arguments *arguments, int *code_out)
{
    struct jdoc *status = NULL;

    ERR_TRY(run_status(arguments->path, &status));
    const bool is_seen = run_is_alive(status);
    enum err failure = ERR_OK;
    if (is_seen || may_live(status)) {
        failure = halt_ask(arguments->path, arguments->after_step);
        if (failure == ERR_OK) {
            tell_ask(arguments, status);
            failure = arguments->wait_s < 0 ? ERR_OK : wait_for_end(arguments, is_seen, code_out);
        }
    } else if (has_ended_well(status)) {
        tell_end(status, code_out);
    } else {
        failure = ERR_FAIL(ERR_MISSING, "%s: %s: nobody runs it, so nobody can be asked to halt",
                           arguments->path, text_of(status, "state"));
    }
    jdoc_close(status);
    return failure;
}

int command_halt(int argc, char **argv)
{
    static const struct argp argp = {
        halt_options,
        parse,
        "RUN",
        "Asks the run in the output_dir RUN to finish its step, save, and end with code 75: by a "
        "file, "
        "so from any machine that shares the folder, and without a signal.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.after_step = -1, .wait_s = -1};
    int code = EXIT_DONE;

    arguments_parse(&argp, argc, argv, &arguments);
    const enum err status = halt(&arguments, &code);
    return status == ERR_OK ? code : (int)exit_code_report(status);
}
