#define _POSIX_C_SOURCE 200809L
#include <argp.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/predict/predict_run.h"

enum {
    KEY_OUTPUT = 1000,
    KEY_RULE,
    KEY_BUDGET,
    KEY_RISK,
    KEY_THRESHOLDS,
    KEY_LAMBDA,
    KEY_RESULTS,
    KEY_MAX_LAYERS,
    KEY_BATCH_SIZE,
    KEY_MAX_SAMPLES,
    KEY_PROBABILITIES,
    KEY_FORMAT,
    KEY_DATA_DIR,
    KEY_TOKENIZER,
};

enum { INPUTS_MAX = 1024, BATCH_SIZE = 64, BATCH_SIZE_MAX = 65536 };

struct arguments {
    const char *path, *output;
    const char *inputs[INPUTS_MAX];
    struct trained_network_wish network;
    struct predict_wish wish;
    struct predict_source source;
    int64_t batch;
    bool tells_probabilities;
};

static const struct argp_option predict_options[] = {
    {"output", KEY_OUTPUT, "FILE", 0, "write predictions there instead of standard output", 0},
    {"probabilities", KEY_PROBABILITIES, NULL, 0, "also the probability of every class", 0},
    {"rule", KEY_RULE, "RULE", 0,
     "who leaves early: a rule of docs/exit_rules.md, or RULE/SOLVER; end: nobody does. Without "
     "it the "
     "learned gates decide",
     0},
    {"budget", KEY_BUDGET, "SHARE", 0,
     "the most accurate policy whose mean cost is at most this share of the full network's "
     "multiply-adds, on the validation samples of the run",
     0},
    {"risk", KEY_RISK, "R", 0, "of rules with a promise: the one for that risk", 0},
    {"thresholds", KEY_THRESHOLDS, "T,...", 0,
     "samples leave where the score of the rule is at least T: one for all exits, or one an exit "
     "(inf: nobody)",
     0},
    {"threshold", KEY_THRESHOLDS, NULL, OPTION_ALIAS, NULL, 0},
    {"lambda", KEY_LAMBDA, "X", 0, "heads and gates of this lambda", 0},
    {"results", KEY_RESULTS, "FILE", 0,
     "take thresholds from this file of `offramp eval --json` instead of the run's results.json",
     0},
    {"max-layers", KEY_MAX_LAYERS, "N", 0,
     "load no layer behind the last exit within N: who comes there leaves", 0},
    {"batch-size", KEY_BATCH_SIZE, "N", 0, "samples at once; 64 if not said", 0},
    {"max-samples", KEY_MAX_SAMPLES, "N", 0, "the first N samples alone", 0},
    {"format", KEY_FORMAT, "FORMAT", 0,
     "of files: idx, cifar10 or cifar100 for images, lines, tsv or jsonl for texts; else that of "
     "the run, and of texts by the name",
     0},
    {"data-dir", KEY_DATA_DIR, "DIR", 0,
     "the run's training data, where it is not where it was: names of classes, and what images "
     "are normalised by",
     0},
    {"tokenizer", KEY_TOKENIZER, "DIR", 0, "the same of the tokenizer", 0},
    {0},
};

static double read_real(const char *option, const char *text, struct argp_state *state)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value) || value < 0) {
        argp_error(state, "%s is \"%s\", it must be a number from 0 on", option, text);
    }
    return value;
}

static void read_thresholds(const char *text, struct options_f64s *values, struct argp_state *state)
{
    const char *at = text;

    values->count = 0;
    for (;;) {
        char *end = NULL;
        const double value = strtod(at, &end);
        if (end == at || (*end != ',' && *end != '\0') || isnan(value) ||
            values->count == OPTIONS_LIST_MAX) {
            argp_error(state, "--thresholds is \"%s\", it must be numbers with commas between them",
                       text);
            return;
        }
        values->values[values->count++] = value;
        if (*end == '\0') {
            return;
        }
        at = end + 1;
    }
}

static enum predict_format read_format(const char *text, struct argp_state *state)
{
    static const char *const names[PREDICT_FORMATS] = {
        [PREDICT_AUTO] = "auto",         [PREDICT_IDX] = "idx",     [PREDICT_CIFAR10] = "cifar10",
        [PREDICT_CIFAR100] = "cifar100", [PREDICT_LINES] = "lines", [PREDICT_TSV] = "tsv",
        [PREDICT_JSONL] = "jsonl"};

    for (int i = 0; i < PREDICT_FORMATS; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum predict_format)i;
        }
    }
    argp_error(state,
               "--format is \"%s\", it must be auto, idx, cifar10, cifar100, lines, tsv or jsonl",
               text);
    return PREDICT_AUTO;
}

static void take_input(struct arguments *arguments, const char *text, struct argp_state *state)
{
    if (arguments->path == NULL) {
        arguments->path = text;
    } else if (arguments->source.input_count < INPUTS_MAX) {
        arguments->inputs[arguments->source.input_count++] = text;
    } else {
        argp_error(state, "more than %d inputs", INPUTS_MAX);
    }
}

static void check(const struct arguments *arguments, struct argp_state *state)
{
    const struct predict_wish *wish = &arguments->wish;
    const int wishes = (wish->thresholds.count > 0) + !isnan(wish->budget) + !isnan(wish->risk);

    if (arguments->source.input_count == 0) {
        argp_error(state, "a checkpoint, or the output_dir of a run, and inputs are expected");
    }
    if (wishes > 1) {
        argp_error(state, "of --thresholds, --budget and --risk one is expected");
    }
    if (wish->rule != NULL && strcmp(wish->rule, PREDICT_RULE_END) == 0 && wishes > 0) {
        argp_error(state, "--rule end leaves nothing to --thresholds, --budget and --risk");
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct predict_wish *wish = &arguments->wish;
    struct predict_source *source = &arguments->source;

    switch (key) {
    case KEY_OUTPUT: arguments->output = text; return 0;
    case KEY_PROBABILITIES: arguments->tells_probabilities = true; return 0;
    case KEY_RULE: wish->rule = text; return 0;
    case KEY_BUDGET: wish->budget = read_real("--budget", text, state); return 0;
    case KEY_RISK: wish->risk = read_real("--risk", text, state); return 0;
    case KEY_THRESHOLDS: read_thresholds(text, &wish->thresholds, state); return 0;
    case KEY_LAMBDA:
        wish->has_lambda = true;
        wish->lambda = read_real("--lambda", text, state);
        return 0;
    case KEY_RESULTS: wish->results = text; return 0;
    case KEY_MAX_LAYERS:
        arguments->network.layers_max = arguments_number(text, 1, MODEL_LAYERS_MAX, state);
        return 0;
    case KEY_BATCH_SIZE:
        arguments->batch = arguments_number(text, 1, BATCH_SIZE_MAX, state);
        return 0;
    case KEY_MAX_SAMPLES:
        source->samples_max = arguments_number(text, 1, INT64_MAX, state);
        return 0;
    case KEY_FORMAT: source->format = read_format(text, state); return 0;
    case KEY_DATA_DIR: source->data_dir = text; return 0;
    case KEY_TOKENIZER: source->tokenizer = text; return 0;
    case ARGP_KEY_ARG: take_input(arguments, text, state); return 0;
    case ARGP_KEY_END: check(arguments, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* One line, for people. */
static void tell(const struct trained_network *network, const struct predict_policy *policy,
                 const struct predict_tally *tally)
{
    const int G = exits_net_config_of(network->net)->count;
    const double n = tally->n > 0 ? (double)tally->n : 1;

    fprintf(stderr, "%" PRId64 " samples, %.0f a second; %s, lambda %g", tally->n,
            (double)tally->n / tally->seconds, policy->name, policy->lambda);
    if (tally->n > 0) {
        fprintf(stderr, ": %.1f %% of the full network's multiply-adds, left at ",
                100 * tally->macs / tally->full_macs);
        for (int g = 0; g <= G; g++) {
            fprintf(stderr, "%s%.0f", g == 0 ? "" : "/", 100 * (double)tally->left[g] / n);
        }
        fprintf(stderr, " %%");
    }
    if (tally->labelled > 0) {
        fprintf(stderr, "; %.2f %% of %" PRId64 " right",
                100 * (double)tally->correct / (double)tally->labelled, tally->labelled);
    }
    fprintf(stderr, "\n");
}

static enum err predict_all(const struct arguments *arguments,
                            const struct trained_network *network, struct predict_input *input,
                            struct predict_output *output)
{
    struct predict_policy policy;
    struct predict_tally tally;
    const struct predict_request request = {.network = network,
                                            .policy = &policy,
                                            .input = input,
                                            .output = output,
                                            .batch = arguments->batch,
                                            .tells_probabilities = arguments->tells_probabilities};

    ERR_TRY(predict_policy_choose(network, &arguments->wish, &policy));
    model_pack(network->model, false);
    exits_net_pack(network->net);
    ERR_TRY(predict_run(&request, &tally));
    ERR_TRY(predict_output_finish(output));
    tell(network, &policy, &tally);
    return ERR_OK;
}

static enum err predict(const struct arguments *arguments)
{
    struct trained_network network = {0};
    struct predict_source source = arguments->source;
    struct predict_input *input = NULL;
    struct predict_output *output = NULL;
    enum err status = ERR_OK;

    ERR_TRY(trained_network_open(arguments->path, &arguments->network, &network));
    if (network.whole.pooling == MODEL_POOLING_EVERY) {
        status = ERR_FAIL(ERR_CONFIG, "%s: a language model, which tells tokens and no classes",
                          network.folder);
        goto out;
    }
    source.network = &network;
    source.inputs = arguments->inputs;
    source.batch = arguments->batch;
    ERR_GOTO(out, status, predict_input_open(&source, &input));
    ERR_GOTO(out, status, predict_output_open(arguments->output, &output));
    status = predict_all(arguments, &network, input, output);
out:
    predict_output_close(output);
    predict_input_close(input);
    trained_network_close(&network);
    return status;
}

int command_predict(int argc, char **argv)
{
    static const struct argp argp = {
        predict_options,
        parse,
        "CHECKPOINT_OR_RUN INPUT...",
        "Predicts the classes of images or texts with a network that stops early; a JSON object a "
        "sample goes to standard output, a summary to standard error. An INPUT is a file of texts, "
        "one a line, TSV or JSON lines, - for standard input; or of images, idx or CIFAR; or a "
        "folder with a test set. Of a run, its newest valid checkpoint.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {.wish = {.budget = (double)NAN, .risk = (double)NAN},
                                  .network = {.has_room = true},
                                  .source = {.samples_max = INT64_MAX},
                                  .batch = BATCH_SIZE};

    arguments_parse(&argp, argc, argv, &arguments);
    signal(SIGPIPE, SIG_IGN); /* a write tells of it */
    return (int)exit_code_report(predict(&arguments));
}
