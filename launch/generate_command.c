#include <argp.h>
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/generate/generate_texts.h"
#include "launch/generate/language_model.h"

enum {
    KEY_PROMPT = 1000,
    KEY_PROMPTS,
    KEY_NEW_TOKENS,
    KEY_MODE,
    KEY_EXIT,
    KEY_DRAFT_TOKENS,
    KEY_DRAFT_THRESHOLD,
    KEY_THRESHOLD,
    KEY_SCORE,
    KEY_POLICY,
    KEY_DECAY,
    KEY_DECAY_TO,
    KEY_DECAY_RATE,
    KEY_FILL,
    KEY_PENDING,
    KEY_LAMBDA,
    KEY_TEMPERATURE,
    KEY_SEED,
    KEY_TOKENIZER,
    KEY_DEVICE,
    KEY_IGNORE_END,
    KEY_JSON,
};

struct arguments {
    const char *path, *tokenizer, *device;
    struct generate_wish wish;
    double thresholds[MODEL_LAYERS_MAX];
    /* What was asked for, and goes with one mode alone: the option, or NULL. */
    const char *of_exit, *of_speculative, *of_exits, *of_decay;
};

static const double LEAST_SHARE = 1e-6;

static const struct argp_option generate_options[] = {
    {"prompt", KEY_PROMPT, "TEXT", 0, "what to continue", 0},
    {"prompts", KEY_PROMPTS, "FILE", 0, "the same, a prompt a line", 0},
    {"max-new-tokens", KEY_NEW_TOKENS, "N", 0, "write at most so many tokens (64)", 0},
    {"mode", KEY_MODE, "MODE", 0,
     "full: all layers for every token, the default; exit: a token is written by the first exit "
     "that is "
     "sure enough; speculative: an exit drafts, the full model verifies: the text of full",
     0},
    {"exit", KEY_EXIT, "E", 0,
     "exit 1, 2, ...: of mode exit the only one, without it all; of mode speculative the one that "
     "drafts (1)",
     0},
    {"draft-tokens", KEY_DRAFT_TOKENS, "K", 0, "of mode speculative: tokens of a draft (4)", 0},
    {"draft-threshold", KEY_DRAFT_THRESHOLD, "P", 0,
     "of mode speculative: a draft ends before a token whose probability is below (0)", 0},
    {"threshold", KEY_THRESHOLD, "X[,X...]", 0,
     "of mode exit: a token of at least this score is written, one value or one an exit; without "
     "it "
     "those of --policy",
     0},
    {"score", KEY_SCORE, "SCORE", 0, "of --threshold: max_prob, the default, margin or entropy", 0},
    {"policy", KEY_POLICY, "NAME", 0,
     "of mode exit: thresholds of the run's evaluation (threshold)", 0},
    {"decay", KEY_DECAY, "HOW", 0,
     "of mode exit: thresholds fall from the first token to the last of --max-new-tokens: linear, "
     "cosine, exponential (CALM) or steps (Prophet)",
     0},
    {"decay-to", KEY_DECAY_TO, "SHARE", 0, "of --decay: the share of them it goes to (0.9)", 0},
    {"decay-rate", KEY_DECAY_RATE, "K", 0, "of --decay exponential (4)", 0},
    {"fill", KEY_FILL, "HOW", 0,
     "of mode exit: keys and values of skipped layers: copy of the exit's state, the default, or "
     "recompute with a later token",
     0},
    {"pending-max", KEY_PENDING, "N", 0,
     "of --fill recompute: tokens that may wait to be recomputed (16)", 0},
    {"lambda", KEY_LAMBDA, "X", 0, "the exits of this lambda; without it those of the first", 0},
    {"temperature", KEY_TEMPERATURE, "T", 0,
     "draw tokens from softmax(logits / T); 0, the default: the likeliest", 0},
    {"seed", KEY_SEED, "N", 0, "of --temperature (0)", 0},
    {"tokenizer", KEY_TOKENIZER, "DIR", 0,
     "folder with vocab.json and merges.txt, or tokenizer.json; without it that of the model", 0},
    {"ignore-end", KEY_IGNORE_END, NULL, 0, "write on behind <|endoftext|>", 0},
    {"device", KEY_DEVICE, "DEVICE", 0, "cpu, the only one that writes texts", 0},
    {"json", KEY_JSON, NULL, 0, "print one JSON document", 0},
    {0},
};

static double read_real(const char *name, const char *text, char end_mark, double least,
                        double most, struct argp_state *state, const char **end_out)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || (*end != '\0' && *end != end_mark) || isnan(value) || value < least ||
        value > most) {
        argp_error(state, "--%s is \"%s\", a number from %g to %g is expected", name, text, least,
                   most);
    }
    if (end_out != NULL) {
        *end_out = *end == '\0' ? NULL : end + 1;
    }
    return value;
}

static void read_thresholds(const char *text, struct arguments *arguments, struct argp_state *state)
{
    int count = 0;

    for (const char *rest = text; rest != NULL;) {
        if (count == MODEL_LAYERS_MAX) {
            argp_error(state, "--threshold has more than %d values", MODEL_LAYERS_MAX);
        }
        arguments->thresholds[count++] =
            read_real("threshold", rest, ',', -(double)INFINITY, (double)INFINITY, state, &rest);
    }
    arguments->wish.thresholds = arguments->thresholds;
    arguments->wish.threshold_count = count;
}

/* The place of `text` among the names. */
static int read_choice(const char *name, const char *text, const char *const names[], int count,
                       struct argp_state *state)
{
    char all[80] = "";
    size_t at = 0;

    for (int i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
        at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", i == 0 ? "" : ", ", names[i]);
        assert(at < sizeof(all));
    }
    argp_error(state, "--%s is \"%s\", one of %s is expected", name, text, all);
    return 0;
}

static void parse_writing(int key, const char *text, struct arguments *arguments,
                          struct argp_state *state)
{
    static const char *const modes[] = {"full", "exit", "speculative"};
    static const char *const fills[] = {"copy", "recompute"};
    static const char *const scores[] = {"max_prob", "margin", "entropy"};
    static const char *const decays[] = {"linear", "cosine", "exponential", "steps"};
    static const enum exits_score score_of[] = {EXITS_SCORE_MAX_PROB, EXITS_SCORE_MARGIN,
                                                EXITS_SCORE_ENTROPY};
    struct exits_generate_settings *settings = &arguments->wish.settings;

    switch (key) {
    case KEY_MODE:
        settings->writing = (enum exits_writing)read_choice("mode", text, modes, 3, state);
        return;
    case KEY_EXIT:
        arguments->of_exits = "exit";
        arguments->wish.exit = arguments_number(text, 1, MODEL_LAYERS_MAX, state);
        return;
    case KEY_DRAFT_TOKENS:
        arguments->of_speculative = "draft-tokens";
        settings->draft_tokens = arguments_number(text, 1, EXITS_DRAFT_MAX, state);
        return;
    case KEY_DRAFT_THRESHOLD:
        arguments->of_speculative = "draft-threshold";
        settings->draft_threshold = read_real("draft-threshold", text, '\0', 0, 1, state, NULL);
        return;
    case KEY_THRESHOLD:
        arguments->of_exit = "threshold";
        read_thresholds(text, arguments, state);
        return;
    case KEY_SCORE:
        arguments->of_exit = "score";
        settings->score = score_of[read_choice("score", text, scores, 3, state)];
        return;
    case KEY_POLICY:
        arguments->of_exit = "policy";
        arguments->wish.policy = text;
        return;
    case KEY_DECAY:
        arguments->of_exit = "decay";
        arguments->wish.decays = true;
        settings->decay.kind = (enum exits_decay_kind)read_choice("decay", text, decays, 4, state);
        return;
    case KEY_DECAY_TO:
        arguments->of_decay = "decay-to";
        settings->decay.to = read_real("decay-to", text, '\0', LEAST_SHARE, 1, state, NULL);
        return;
    case KEY_DECAY_RATE:
        arguments->of_decay = "decay-rate";
        settings->decay.rate = read_real("decay-rate", text, '\0', 0, 1e6, state, NULL);
        return;
    case KEY_FILL:
        arguments->of_exit = "fill";
        settings->fill = (enum exits_fill)read_choice("fill", text, fills, 2, state);
        return;
    default:
        arguments->of_exit = "pending-max";
        settings->pending_max = arguments_number(text, 1, INT32_MAX, state);
        return;
    }
}

/* What does not go together. */
static void check(const struct arguments *arguments, struct argp_state *state)
{
    const struct generate_wish *wish = &arguments->wish;
    const enum exits_writing writing = wish->settings.writing;

    if (arguments->path == NULL) {
        argp_error(state, "a run, a checkpoint or a folder with a GPT2LMHeadModel is expected");
    }
    if ((wish->prompt == NULL) == (wish->prompts == NULL)) {
        argp_error(state, "either --prompt or --prompts is expected");
    }
    if (arguments->of_exit != NULL && writing != EXITS_WRITING_EXIT) {
        argp_error(state, "--%s is of --mode exit", arguments->of_exit);
    }
    if (arguments->of_speculative != NULL && writing != EXITS_WRITING_SPECULATIVE) {
        argp_error(state, "--%s is of --mode speculative", arguments->of_speculative);
    }
    if (arguments->of_exits != NULL && writing == EXITS_WRITING_FULL) {
        argp_error(state, "--%s is of --mode exit or speculative", arguments->of_exits);
    }
    if (arguments->of_decay != NULL && !wish->decays) {
        argp_error(state, "--%s is of --decay", arguments->of_decay);
    }
    if (wish->settings.temperature > 0 && writing == EXITS_WRITING_SPECULATIVE) {
        argp_error(state, "--mode speculative writes the likeliest tokens: no --temperature");
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct generate_wish *wish = &arguments->wish;

    switch (key) {
    case KEY_PROMPT: wish->prompt = text; return 0;
    case KEY_PROMPTS: wish->prompts = text; return 0;
    case KEY_NEW_TOKENS:
        wish->new_tokens_max = arguments_number(text, 1, INT32_MAX, state);
        return 0;
    case KEY_LAMBDA:
        arguments->of_exits = "lambda";
        wish->has_lambda = true;
        wish->lambda = read_real("lambda", text, '\0', 0, 1e300, state, NULL);
        return 0;
    case KEY_TEMPERATURE:
        wish->settings.temperature = read_real("temperature", text, '\0', 0, 1e6, state, NULL);
        return 0;
    case KEY_SEED:
        wish->settings.seed = (uint64_t)arguments_number(text, 0, INT64_MAX, state);
        return 0;
    case KEY_TOKENIZER: arguments->tokenizer = text; return 0;
    case KEY_DEVICE: arguments->device = text; return 0;
    case KEY_IGNORE_END: wish->ignores_end = true; return 0;
    case KEY_JSON: wish->as_json = true; return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) {
            argp_error(state, "one model is expected, found %s and %s", arguments->path, text);
        }
        arguments->path = text;
        return 0;
    case ARGP_KEY_END: check(arguments, state); return 0;
    default:
        if (key < KEY_PROMPT || key > KEY_JSON) {
            return ARGP_ERR_UNKNOWN;
        }
        parse_writing(key, text, arguments, state);
        return 0;
    }
}

static enum err generate(const struct arguments *arguments)
{
    const bool needs_exits = arguments->wish.settings.writing != EXITS_WRITING_FULL;
    struct language_model model = {0};

    if (arguments->device != NULL && strcmp(arguments->device, "cpu") != 0) {
        return ERR_FAIL(ERR_CONFIG, "--device is %.40s: texts are generated on a CPU only",
                        arguments->device);
    }
    ERR_TRY(language_model_open(arguments->path, arguments->tokenizer, needs_exits, &model));
    const enum err status = generate_texts(&model, &arguments->wish);
    language_model_close(&model);
    return status;
}

int command_generate(int argc, char **argv)
{
    static const struct argp argp = {generate_options,
                                     parse,
                                     "MODEL",
                                     "Writes texts by a language model: a run, a checkpoint, or a "
                                     "folder with a GPT2LMHeadModel and "
                                     "its tokenizer.",
                                     NULL,
                                     NULL,
                                     NULL};
    struct arguments arguments = {
        .wish = {.new_tokens_max = 64,
                 .policy = "threshold",
                 .settings = {.score = EXITS_SCORE_MAX_PROB,
                              .decay = {EXITS_DECAY_LINEAR, .from = 1, .to = 0.9, .rate = 4},
                              .draft_tokens = 4,
                              .pending_max = 16}}};

    arguments_parse(&argp, argc, argv, &arguments);
    return (int)exit_code_report(generate(&arguments));
}
