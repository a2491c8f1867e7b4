#define _POSIX_C_SOURCE 200809L
#include <argp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/run_status.h"

enum { KEY_FIELD = 1000, KEY_JSON, KEY_INTERVAL };
enum { LOSSES_SHOWN = 5, TEXT_BYTES = 320 };

struct arguments {
    const char *path, *field;
    double interval_s;
    bool json;
};

static const struct argp_option status_options[] = {
    {"field", KEY_FIELD, "NAME", 0,
     "print that field of --json alone, as verdict: running, finished, requeue, retry, not_begun "
     "or "
     "failed; - if it is not known",
     0},
    {"json", KEY_JSON, NULL, 0, "print one JSON document", 0},
    {0},
};

static const struct argp_option top_options[] = {
    {"interval", KEY_INTERVAL, "S", 0, "seconds from one look to the next (1)", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    char *end = NULL;

    switch (key) {
    case KEY_FIELD: arguments->field = text; return 0;
    case KEY_JSON: arguments->json = true; return 0;
    case KEY_INTERVAL:
        arguments->interval_s = strtod(text, &end);
        if (end == text || *end != '\0' ||
            !(arguments->interval_s >= 0.1 && arguments->interval_s <= 86400)) {
            argp_error(state, "seconds from 0.1 to 86400 are expected, found %s", text);
        }
        return 0;
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
        if (arguments->field != NULL && arguments->json) {
            argp_error(state, "--field and --json exclude each other");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool knows(const struct jdoc *status, const char *key)
{
    return jdoc_get(status, key) != NULL;
}

static const char *text_of(const struct jdoc *object, const char *key)
{
    const char *text = jdoc_as_text(jdoc_get(object, key));

    return text == NULL ? "?" : text;
}

static int64_t int_of(const struct jdoc *object, const char *key)
{
    return jdoc_as_int(jdoc_get(object, key));
}

static double real_of(const struct jdoc *object, const char *key)
{
    return jdoc_as_real(jdoc_get(object, key));
}

/* "3.1 s", "12 min", "5.2 h" */
static const char *span(double seconds, char text[32])
{
    if (seconds < 120) {
        snprintf(text, 32, "%.1f s", seconds);
    } else if (seconds < 7200) {
        snprintf(text, 32, "%.0f min", seconds / 60);
    } else {
        snprintf(text, 32, "%.1f h", seconds / 3600);
    }
    return text;
}

static void print_who(const struct jdoc *status)
{
    const struct jdoc *launch = jdoc_get(status, "launch");
    const time_t since = (time_t)int_of(status, "since");
    const bool lives = jdoc_is_true(jdoc_get(status, "rank_lives"));
    char when[64] = "", ago[32];
    struct tm parts;

    if (launch != NULL) {
        printf("  launch     process %" PRId64 " on %s", int_of(launch, "process"),
               text_of(launch, "host"));
        if (knows(status, "restarts")) {
            printf(", restarts: %" PRId64, int_of(status, "restarts"));
        }
        putchar('\n');
    }
    if (!knows(status, "process") ||
        (run_is_alive(status) && !lives)) { /* it is an earlier one's */
        return;
    }
    if (localtime_r(&since, &parts) != NULL) {
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
    }
    printf("  %s   process %" PRId64 " on %s, since %s", lives ? "rank 0  " : "last run",
           int_of(status, "process"), text_of(status, "host"), when);
    if (lives) {
        const double age_s = difftime(time(NULL), since);
        printf(", %s", span(age_s > 0 ? age_s : 0, ago));
    }
    if (knows(status, "incarnation")) {
        printf("; start %" PRId64 ", ranks: %" PRId64, int_of(status, "incarnation"),
               int_of(status, "ranks"));
    }
    putchar('\n');
}

static void print_steps(const struct jdoc *status)
{
    char ago[32];

    if (!knows(status, "step")) {
        return;
    }
    printf("  step       %" PRId64, int_of(status, "step"));
    if (knows(status, "steps")) {
        printf(" of %" PRId64, int_of(status, "steps"));
    }
    if (knows(status, "stage_steps")) {
        printf(", %s %" PRId64 " of %" PRId64, text_of(status, "stage"),
               int_of(status, "stage_step"), int_of(status, "stage_steps"));
    } else if (knows(status, "stage")) {
        printf(", %s", text_of(status, "stage"));
    }
    if (knows(status, "step_age_s")) {
        printf(", %s ago", span(real_of(status, "step_age_s"), ago));
    }
    if (knows(status, "phase")) {
        printf("; rank 0 is %s", text_of(status, "phase"));
    }
    putchar('\n');
    if (knows(status, "samples_per_s")) {
        printf("  speed      ");
        if (knows(status, "steps_per_s")) {
            printf("%.4g steps/s, ", real_of(status, "steps_per_s"));
        }
        printf("%.4g samples/s\n", real_of(status, "samples_per_s"));
    }
    if (knows(status, "loss")) {
        printf("  loss       %.4f, accuracy %.3f\n", real_of(status, "loss"),
               real_of(status, "accuracy"));
    }
}

static void print_saved(const struct jdoc *status)
{
    char ago[32];

    /* What keepers wrote to disk after the end may be gone from memory since. */
    if (knows(status, "memory_step") &&
        (run_is_alive(status) || !knows(status, "checkpoint_step") ||
         int_of(status, "memory_step") > int_of(status, "checkpoint_step"))) {
        printf("  in memory  step %" PRId64, int_of(status, "memory_step"));
        if (knows(status, "memory_age_s")) {
            printf(", %s ago", span(real_of(status, "memory_age_s"), ago));
        }
        putchar('\n');
    }
    if (knows(status, "checkpoint_step")) {
        printf("  on disk    %s/checkpoint-%" PRId64, text_of(status, "path"),
               int_of(status, "checkpoint_step"));
        if (knows(status, "checkpoint_age_s")) {
            printf(", %s ago", span(real_of(status, "checkpoint_age_s"), ago));
        }
        putchar('\n');
    }
}

static void print_losses(const struct jdoc *status)
{
    const struct jdoc *losses = jdoc_get(status, "losses");
    const size_t count = jdoc_count(losses);
    char took[32];

    if (count == 0) {
        return;
    }
    printf("  losses     %zu%s\n", count, count > LOSSES_SHOWN ? ", the last of them:" : "");
    for (size_t i = count > LOSSES_SHOWN ? count - LOSSES_SHOWN : 0; i < count; i++) {
        const struct jdoc *loss = jdoc_at(losses, i);
        printf("    step %" PRId64 ": %s", int_of(loss, "step"), text_of(loss, "what"));
        if (knows(loss, "down_s")) {
            printf("; went on from step %" PRId64 " after %s", int_of(loss, "from"),
                   span(real_of(loss, "down_s"), took));
        }
        putchar('\n');
    }
}

static void print_ask(const struct jdoc *status)
{
    if (!knows(status, "halt_after_step")) {
        return;
    }
    printf("  asked      to halt after ");
    if (int_of(status, "halt_after_step") < 0) {
        printf("its step");
    } else {
        printf("step %" PRId64, int_of(status, "halt_after_step"));
    }
    printf("%s%s\n", text_of(status, "halt_by")[0] != '\0' ? ", by " : "",
           text_of(status, "halt_by"));
}

static void print_screen(const struct jdoc *status)
{
    printf("%s: %s\n", text_of(status, "path"), text_of(status, "state"));
    print_who(status);
    print_steps(status);
    print_saved(status);
    print_losses(status);
    print_ask(status);
    if (knows(status, "error") && strcmp(text_of(status, "state"), "halted") != 0) {
        printf("  error      %s\n", text_of(status, "error"));
    }
    printf("  next       %s\n", text_of(status, "next"));
}

static enum err print_json(const struct jdoc *status)
{
    char *text = NULL;

    ERR_TRY(jdoc_text(status, 2, &text));
    puts(text);
    free(text);
    return ERR_OK;
}

static enum err print_field(const struct jdoc *status, const char *name)
{
    const struct jdoc *value = jdoc_get(status, name);
    char *text = NULL;

    if (value == NULL) {
        puts("-");
    } else if (jdoc_as_text(value) != NULL) {
        puts(jdoc_as_text(value));
    } else {
        ERR_TRY(jdoc_text(value, 0, &text));
        puts(text);
        free(text);
    }
    return ERR_OK;
}

int command_status(int argc, char **argv)
{
    static const struct argp argp = {
        status_options,
        parse,
        "RUN",
        "Tells how the run in the output_dir RUN does: whether it is under way, how far it is, "
        "what is "
        "saved, what was lost, what to do next. Reads its files only, from any machine.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.path = NULL};
    struct jdoc *doc = NULL;

    arguments_parse(&argp, argc, argv, &arguments);
    enum err status = run_status(arguments.path, &doc);
    if (status == ERR_OK && arguments.field != NULL) {
        status = print_field(doc, arguments.field);
    } else if (status == ERR_OK && arguments.json) {
        status = print_json(doc);
    } else if (status == ERR_OK) {
        print_screen(doc);
    }
    jdoc_close(doc);
    return (int)exit_code_report(status);
}

static volatile sig_atomic_t leaves;

static void on_signal(int number)
{
    (void)number;
    leaves = 1;
}

/* One line, for what is not a terminal. */
static void print_line(const struct jdoc *status)
{
    printf("%s", text_of(status, "state"));
    if (knows(status, "step")) {
        printf(" | step %" PRId64, int_of(status, "step"));
        if (knows(status, "steps")) {
            printf("/%" PRId64, int_of(status, "steps"));
        }
    }
    if (knows(status, "stage")) {
        printf(" | %s", text_of(status, "stage"));
    }
    if (knows(status, "steps_per_s")) {
        printf(" | %.4g steps/s", real_of(status, "steps_per_s"));
    }
    if (knows(status, "loss")) {
        printf(" | loss %.4f", real_of(status, "loss"));
    }
    if (knows(status, "memory_step")) {
        printf(" | memory %" PRId64, int_of(status, "memory_step"));
    }
    if (knows(status, "checkpoint_step")) {
        printf(" | disk %" PRId64, int_of(status, "checkpoint_step"));
    }
    printf(" | losses %zu\n", jdoc_count(jdoc_get(status, "losses")));
}

/* Interrupted by the signals that end it. */
static void sleep_s(double seconds)
{
    const struct timespec pause = {(time_t)seconds,
                                   (long)(1e9 * (seconds - (double)(time_t)seconds))};

    nanosleep(&pause, NULL);
}

/* Until the run ends, or somebody says so; *doc_out is what was seen last. */
static enum err follow(const struct arguments *arguments, bool is_terminal, struct jdoc **doc_out)
{
    for (;;) {
        jdoc_close(*doc_out);
        *doc_out = NULL;
        ERR_TRY(run_status(arguments->path, doc_out));
        const bool is_over = leaves != 0 || !run_is_alive(*doc_out);
        if (is_terminal && !is_over) {
            printf("\033[H\033[J");
            print_screen(*doc_out);
        } else if (!is_terminal && leaves == 0) {
            print_line(*doc_out);
        }
        if (fflush(stdout) != 0 || is_over) {
            return ERR_OK; /* also where nobody reads any more */
        }
        sleep_s(arguments->interval_s);
    }
}

int command_top(int argc, char **argv)
{
    static const struct argp argp = {
        top_options,
        parse,
        "RUN",
        "Shows how the run in the output_dir RUN does, as `offramp status`, again and again until "
        "it "
        "ends or is interrupted; a line a look where the output is no terminal.",
        NULL,
        NULL,
        NULL};
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = on_signal}; /* calls that wait come back */
    struct arguments arguments = {.interval_s = 1};
    struct jdoc *doc = NULL;

    arguments_parse(&argp, argc, argv, &arguments);
    enum err status = run_status(arguments.path, &doc); /* before the screen is taken */
    const bool is_terminal = isatty(STDOUT_FILENO) == 1;
    if (status == ERR_OK) {
        sigemptyset(&action.sa_mask);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            (void)sigaction(numbers[i], &action, NULL);
        }
        if (is_terminal) {
            printf("\033[?1049h\033[?25l"); /* the other screen, no cursor */
        }
        status = follow(&arguments, is_terminal, &doc);
        if (is_terminal) {
            printf("\033[?25h\033[?1049l");
        }
    }
    if (status == ERR_OK && is_terminal) {
        print_screen(doc);
    }
    jdoc_close(doc);
    return (int)exit_code_report(status);
}
