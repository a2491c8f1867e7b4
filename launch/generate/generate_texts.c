#include "launch/generate/generate_texts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "data/data_file.h"
#include "launch/export/export_results.h"
#include "launch/export/export_sets.h"
#include "launch/generate/generate_report.h"

enum { PROMPTS_BYTES_MAX = 64 << 20 };

/* What the texts of a call share. */
struct call {
    const struct language_model *model;
    const struct generate_wish *wish;
    struct exits_generate_settings settings;
    double thresholds[MODEL_LAYERS_MAX];
    struct data_file *file; /* of the prompts; NULL: one of the command line */
    struct generated *texts;
    int64_t text_count;
};

static int exit_count(const struct call *call)
{
    const struct exits_net *net = call->model->source.net;

    return net == NULL ? 0 : exits_net_config_of(net)->count;
}

static enum err choose_set(struct call *call)
{
    struct export_sets sets;

    if (!call->wish->has_lambda) {
        call->settings.set = 0;
        return ERR_OK;
    }
    ERR_TRY(export_sets_choose(&call->model->source, true, call->wish->lambda, &sets));
    call->settings.set = sets.first;
    return ERR_OK;
}

static enum err take_score(const char *name, enum exits_score *score_out)
{
    static const enum exits_score scores[] = {EXITS_SCORE_MAX_PROB, EXITS_SCORE_MARGIN,
                                              EXITS_SCORE_ENTROPY};

    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
        if (name != NULL && strcmp(name, exits_score_name(scores[i])) == 0) {
            *score_out = scores[i];
            return ERR_OK;
        }
    }
    return ERR_FAIL(ERR_CONFIG,
                    "the policy's score is %.40s: tokens leave by max_prob, margin or entropy",
                    name == NULL ? "unknown" : name);
}

/* The thresholds that the run's evaluation found. */
static enum err thresholds_of_policy(struct call *call)
{
    const struct trained_network *source = &call->model->source;
    struct export_results results = {0};
    struct jdoc *policies = NULL;

    ERR_TRY(export_results_open(source, NULL, &results));
    enum err status =
        export_results_of(&results, source, source->options.lambdas.values[call->settings.set],
                          call->wish->policy, &policies);
    if (status == ERR_OK) {
        const struct jdoc *row = jdoc_at(policies, 0), *values = jdoc_get(row, "thresholds");
        status = take_score(jdoc_as_text(jdoc_get(row, "score")), &call->settings.score);
        for (int g = 0; g < exit_count(call); g++) {
            const struct jdoc *value = jdoc_at(values, (size_t)g);
            call->thresholds[g] = jdoc_is_number(value) ? jdoc_as_real(value) : (double)INFINITY;
        }
    }
    jdoc_close(policies);
    export_results_close(&results);
    ERR_TRY_AS(status, "--threshold is not given");
    return ERR_OK;
}

static enum err choose_thresholds(struct call *call)
{
    const struct generate_wish *wish = call->wish;
    const int G = exit_count(call);

    if (wish->thresholds == NULL) {
        ERR_TRY(thresholds_of_policy(call));
    } else if (wish->threshold_count != 1 && wish->threshold_count != G) {
        return ERR_FAIL(ERR_CONFIG,
                        "--threshold has %d values, one or %d (one an exit) are expected",
                        wish->threshold_count, G);
    }
    for (int g = 0; g < G && wish->thresholds != NULL; g++) {
        call->thresholds[g] = wish->thresholds[wish->threshold_count == 1 ? 0 : g];
    }
    for (int g = 0; g < G && wish->exit > 0; g++) {
        call->thresholds[g] = g == wish->exit - 1 ? call->thresholds[g] : (double)INFINITY;
    }
    call->settings.thresholds = call->thresholds;
    call->settings.decay_tokens = wish->decays ? wish->new_tokens_max : 0;
    return ERR_OK;
}

static enum err settle(struct call *call)
{
    const struct data_bpe *bpe = call->model->tokenizer->bpe;
    const struct generate_wish *wish = call->wish;

    call->settings = wish->settings;
    call->settings.end_token = wish->ignores_end ? -1 : bpe->end_id;
    if (call->settings.writing == EXITS_WRITING_FULL) {
        return ERR_OK;
    }
    ERR_TRY(choose_set(call));
    if (wish->exit > exit_count(call)) {
        return ERR_FAIL(ERR_CONFIG, "--exit is %" PRId64 ", %s has exits 1 to %d", wish->exit,
                        call->model->source.folder, exit_count(call));
    }
    if (call->settings.writing == EXITS_WRITING_EXIT) {
        return choose_thresholds(call);
    }
    call->settings.draft_exit = wish->exit == 0 ? 0 : (int)wish->exit - 1;
    return ERR_OK;
}

/* Prompt i, of the command line or a line of the file, as tokens. */
static enum err encode(const struct call *call, int64_t i, const char *prompt, size_t bytes,
                       struct generated *text)
{
    const struct data_bpe *bpe = call->model->tokenizer->bpe;
    const int64_t context = call->model->context;
    char place[DATA_FILE_PATH_BYTES_MAX + 40] = "--prompt";

    if (call->file != NULL) {
        snprintf(place, sizeof(place), "%s: line %" PRId64, call->wish->prompts, i + 1);
    }
    text->tokens = calloc((size_t)context + 1, sizeof(*text->tokens));
    if (text->tokens == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", place);
    }
    ERR_TRY_AS(data_bpe_encode(bpe, prompt, bytes, text->tokens, context + 1, &text->prompt_count),
               "%s", place);
    if (text->prompt_count == 0 && bpe->end_id >= 0) {
        text->tokens[text->prompt_count++] = bpe->end_id; /* behind which texts begin */
    }
    if (text->prompt_count == 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: the prompt is empty, and the tokenizer has no <|endoftext|> to begin "
                        "with",
                        place);
    }
    if (text->prompt_count >= context) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: the prompt has %s%" PRId64
                        " tokens, the model's context holds %" PRId64 " with what is written",
                        place, text->prompt_count > context ? "more than " : "", context, context);
    }
    return ERR_OK;
}

static enum err read_prompts(struct call *call)
{
    const char *path = call->wish->prompts;
    const char *name = strrchr(path, '/');
    char folder[DATA_FILE_PATH_BYTES_MAX] = ".";

    if (strlen(path) >= sizeof(folder)) {
        return ERR_FAIL(ERR_INVALID, "a path of %zu bytes", strlen(path));
    }
    if (name != NULL) {
        snprintf(folder, sizeof(folder), "%.*s", name == path ? 1 : (int)(name - path), path);
    }
    ERR_TRY(data_file_open(folder, name == NULL ? path : name + 1, PROMPTS_BYTES_MAX,
                           "it is to hold a prompt a line", &call->file));
    for (size_t at = 0; at < call->file->count;) {
        const char *line = (const char *)call->file->bytes + at;
        const char *end = memchr(line, '\n', call->file->count - at);
        at += end == NULL ? call->file->count - at : (size_t)(end - line) + 1;
        call->text_count++;
    }
    if (call->text_count == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: empty, a prompt a line is expected", call->wish->prompts);
    }
    return ERR_OK;
}

static enum err encode_all(struct call *call)
{
    if (call->wish->prompts == NULL) {
        call->text_count = 1;
    } else {
        ERR_TRY(read_prompts(call));
    }
    call->texts = calloc((size_t)call->text_count, sizeof(*call->texts));
    if (call->texts == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " texts", call->text_count);
    }
    if (call->file == NULL) {
        return encode(call, 0, call->wish->prompt, strlen(call->wish->prompt), &call->texts[0]);
    }
    size_t at = 0;
    for (int64_t i = 0; i < call->text_count; i++) {
        const char *line = (const char *)call->file->bytes + at;
        const char *end = memchr(line, '\n', call->file->count - at);
        size_t bytes = end == NULL ? call->file->count - at : (size_t)(end - line);
        at += bytes + 1;
        bytes -= bytes > 0 && line[bytes - 1] == '\r' ? 1 : 0;
        ERR_TRY(encode(call, i, line, bytes, &call->texts[i]));
    }
    return ERR_OK;
}

static enum err write_one(const struct call *call, struct exits_generator *generator,
                          struct generated *text)
{
    const int64_t began_ns = clock_now_ns();

    exits_generator_begin(generator, text->tokens, text->prompt_count);
    const int64_t read_ns = clock_now_ns();
    const double read_cpu_s = clock_cpu_s();
    ERR_TRY(exits_generator_run(generator, &call->settings, call->wish->new_tokens_max,
                                text->tokens + text->prompt_count, &text->count));
    text->prompt_s = 1e-9 * (double)(read_ns - began_ns);
    text->writing_s = clock_since_s(read_ns);
    text->writing_cpu_s = clock_cpu_s() - read_cpu_s;
    text->counts = *exits_generator_counts(generator);
    text->has_ended =
        text->tokens[text->prompt_count + text->count - 1] == call->settings.end_token;
    return ERR_OK;
}

static enum err write_all(struct call *call)
{
    const struct trained_network *source = &call->model->source;
    const bool needs_exits = call->settings.writing != EXITS_WRITING_FULL;
    struct exits_generator *generator = NULL;

    ERR_TRY(exits_generator_open(source->model, needs_exits ? source->net : NULL,
                                 call->model->context, &generator));
    enum err status = ERR_OK;
    for (int64_t i = 0; i < call->text_count && status == ERR_OK; i++) {
        status = write_one(call, generator, &call->texts[i]);
        if (status == ERR_OK && !call->wish->as_json) {
            status = generate_report_text(call->model, &call->texts[i]);
        }
    }
    exits_generator_close(generator);
    return status;
}

enum err generate_texts(const struct language_model *model, const struct generate_wish *wish)
{
    struct call call = {.model = model, .wish = wish};
    enum err status = settle(&call);

    if (status == ERR_OK) {
        status = encode_all(&call);
    }
    if (status == ERR_OK) {
        status = write_all(&call);
    }
    if (status == ERR_OK) {
        const struct generate_report report = {.model = model,
                                               .settings = &call.settings,
                                               .texts = call.texts,
                                               .text_count = call.text_count};
        status = wish->as_json ? generate_report_json(&report) : generate_report_total(&report);
    }
    for (int64_t i = 0; call.texts != NULL && i < call.text_count; i++) {
        free(call.texts[i].tokens);
    }
    free(call.texts);
    data_file_close(call.file);
    return status;
}
