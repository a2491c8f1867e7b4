#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/report/report_page.h"
#include "launch/report/report_run.h"

enum { KEY_OUTPUT = 1000 };

struct arguments {
    const char *paths[REPORT_RUNS_MAX];
    int count;
    const char *output;
};

static const struct argp_option report_options[] = {
    {"output", KEY_OUTPUT, "FILE", 0, "the page (report.html in the first RUN)", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_OUTPUT: arguments->output = text; return 0;
    case ARGP_KEY_ARG:
        if (arguments->count == REPORT_RUNS_MAX) {
            argp_error(state, "at most %d runs are expected", REPORT_RUNS_MAX);
        }
        arguments->paths[arguments->count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->count == 0) {
            argp_error(state, "the output_dir of a run is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static enum err write_page(const struct arguments *arguments, struct report_run *runs)
{
    struct report_text page = {0};
    char path[FILE_PATH_BYTES_MAX];

    if (arguments->output != NULL) {
        ERR_TRY(file_path(path, ".", arguments->output));
        snprintf(path, sizeof(path), "%s", arguments->output);
    } else {
        ERR_TRY(file_path(path, runs[0].path, "report.html"));
    }
    ERR_TRY(report_page(runs, arguments->count, &page));
    const struct file_piece piece = {page.bytes, page.count};
    const enum err status = file_write(path, &piece, 1);
    report_text_release(&page);
    if (status == ERR_OK) {
        printf("%s\n", path);
    }
    return status;
}

int command_report(int argc, char **argv)
{
    static const struct argp argp = {
        report_options,
        parse,
        "RUN...",
        "Writes one HTML page of the runs in the output_dirs RUN: accuracy against compute and "
        "time, exits, "
        "losses, a time line, settings and hashes. Runs that differ in their seed alone are "
        "joined, "
        "others compared. The page needs no network; making it needs gnuplot.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.count = 0};
    enum err status = ERR_OK;
    int opened = 0;

    arguments_parse(&argp, argc, argv, &arguments);
    struct report_run *runs = calloc((size_t)arguments.count, sizeof(*runs));
    if (runs == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "%d runs", arguments.count);
    }
    while (status == ERR_OK && opened < arguments.count) {
        status = report_run_open(arguments.paths[opened], &runs[opened]);
        opened += status == ERR_OK;
    }
    if (status == ERR_OK) {
        status = write_page(&arguments, runs);
    }
    while (opened > 0) {
        report_run_close(&runs[--opened]);
    }
    free(runs);
    return (int)exit_code_report(status);
}
