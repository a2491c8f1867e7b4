#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/export/export.h"

enum { KEY_OUTPUT_DIR = 1000, KEY_FORMAT, KEY_LAMBDA, KEY_POLICY, KEY_RESULTS };

struct arguments {
    const char *path;
    struct export_wish wish;
};

static const struct argp_option export_options[] = {
    {"output-dir", KEY_OUTPUT_DIR, "DIR", 0, "a folder that is not there yet, or empty; required",
     0},
    {"format", KEY_FORMAT, "FORMAT", 0,
     "hf: a Hugging Face folder with the exits beside it; onnx: one model of all exits, and one "
     "for "
     "each stage; all: both, the default",
     0},
    {"lambda", KEY_LAMBDA, "X", 0,
     "the exits of this lambda alone; without it all, of which ONNX models have one", 0},
    {"policy", KEY_POLICY, "NAME", 0,
     "thresholds of this policy alone: gate, threshold, or a rule of the results", 0},
    {"results", KEY_RESULTS, "FILE", 0,
     "take thresholds from this file of `offramp eval --json` instead of the run's summary.json",
     0},
    {0},
};

static enum export_format read_format(const char *text, struct argp_state *state)
{
    static const char *const names[] = {
        [EXPORT_ALL] = "all", [EXPORT_HF] = "hf", [EXPORT_ONNX] = "onnx"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum export_format)i;
        }
    }
    argp_error(state, "--format is \"%s\", it must be hf, onnx or all", text);
    return EXPORT_ALL;
}

static double read_lambda(const char *text, struct argp_state *state)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value) || value < 0) {
        argp_error(state, "--lambda is \"%s\", it must be a number from 0 on", text);
    }
    return value;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct export_wish *wish = &arguments->wish;

    switch (key) {
    case KEY_OUTPUT_DIR: wish->output_dir = text; return 0;
    case KEY_FORMAT: wish->format = read_format(text, state); return 0;
    case KEY_LAMBDA:
        wish->has_lambda = true;
        wish->lambda = read_lambda(text, state);
        return 0;
    case KEY_POLICY: wish->policy = text; return 0;
    case KEY_RESULTS: wish->results = text; return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) {
            argp_error(state, "one folder is expected, found %s and %s", arguments->path, text);
        }
        arguments->path = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL) {
            argp_error(state, "a checkpoint or the output_dir of a run is expected");
        }
        if (wish->output_dir == NULL || wish->output_dir[0] == '\0') {
            argp_error(state, "--output-dir is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int command_export(int argc, char **argv)
{
    static const struct argp argp = {
        export_options,
        parse,
        "CHECKPOINT_OR_RUN",
        "Writes a trained network as files that other tools read: a folder that Hugging Face's "
        "transformers loads, and ONNX models. Of a run, its newest valid checkpoint.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {0};
    static const struct trained_network_wish whole = {0};
    struct trained_network source = {0};

    arguments_parse(&argp, argc, argv, &arguments);
    enum err status = trained_network_open(arguments.path, &whole, &source);
    if (status == ERR_OK) {
        status = export_write(&source, &arguments.wish);
    }
    if (status == ERR_OK) {
        printf("%s: step %lld of %s\n", arguments.wish.output_dir, (long long)source.step,
               source.folder);
    }
    trained_network_close(&source);
    return (int)exit_code_report(status);
}
