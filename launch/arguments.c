#define _GNU_SOURCE
#include "launch/arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "comm/group/comm_group.h"
#include "launch/exit_code.h"

enum { KEY_SET = 2000 };

static void add(struct arguments_sets *sets, struct argp_state *state, const char *text)
{
    if (sets->count == ARGUMENTS_SETS_MAX) {
        argp_error(state, "more than %d settings", ARGUMENTS_SETS_MAX);
    }
    sets->texts[sets->count++] = text;
}

static error_t parse_set(int key, char *text, struct argp_state *state)
{
    if (key != KEY_SET) {
        return ARGP_ERR_UNKNOWN;
    }
    add(state->input, state, text);
    return 0;
}

static const struct argp_option set_options[] = {
    {"set", KEY_SET, "KEY=VALUE", 0,
     "any setting, in all stages; STAGE.KEY=VALUE: in that kind of stage", 0},
    {0},
};

const struct argp arguments_set_argp = {set_options, parse_set, NULL, NULL, NULL, NULL, NULL};

void arguments_set(struct arguments_sets *sets, struct argp_state *state, const char *key,
                   const char *value)
{
    char *text = NULL;

    if (strlen(value) >= FILE_PATH_BYTES_MAX) {
        argp_error(state, "%s is %zu bytes long, at most %d are possible", key, strlen(value),
                   FILE_PATH_BYTES_MAX - 1);
    }
    if (asprintf(&text, "%s=%s", key, value) < 0) {
        argp_failure(state, EXIT_INTERNAL, 0, "no memory for %s", key);
    }
    add(sets, state, text);
    sets->owned[sets->owned_count++] = text;
}

void arguments_close(struct arguments_sets *sets)
{
    while (sets->owned_count > 0) {
        free(sets->owned[--sets->owned_count]);
    }
    sets->count = 0;
}

void arguments_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    int saved[2] = {-1, -1};

    argp_err_exit_status = EXIT_USAGE;
    if (comm_launched_rank() > 0) { /* argp and getopt write to stdout and stderr themselves */
        const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        for (int i = 0; i < 2 && nowhere >= 0; i++) {
            saved[i] = dup(STDOUT_FILENO + i);
            dup2(nowhere, STDOUT_FILENO + i);
        }
        close(nowhere);
    }
    argp_parse(argp, argc, argv, 0, NULL, input);
    for (int i = 0; i < 2 && saved[i] >= 0; i++) {
        dup2(saved[i], STDOUT_FILENO + i);
        close(saved[i]);
    }
}

int64_t arguments_number(const char *text, int64_t least, int64_t most, struct argp_state *state)
{
    char *end = NULL;

    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < least || value > most) {
        argp_error(state, "a number from %" PRId64 " to %" PRId64 " is expected, found %s", least,
                   most, text);
    }
    return value;
}
