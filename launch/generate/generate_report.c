#include "launch/generate/generate_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/jdoc.h"
#include "data/data_unicode.h"

static const char *const writings[] = {[EXITS_WRITING_FULL] = "full",
                                       [EXITS_WRITING_EXIT] = "exit",
                                       [EXITS_WRITING_SPECULATIVE] = "speculative"};
static const char *const fills[] = {
    [EXITS_FILL_COPY] = "copy", [EXITS_FILL_RECOMPUTE] = "recompute"};
static const char *const decays[] = {[EXITS_DECAY_LINEAR] = "linear",
                                     [EXITS_DECAY_COSINE] = "cosine",
                                     [EXITS_DECAY_EXPONENTIAL] = "exponential",
                                     [EXITS_DECAY_STEPS] = "steps"};

/* The tokens as UTF-8, NUL-terminated, for free(); what they leave half-way is U+FFFD, and so is NUL. */
static enum err text_of(const struct language_model *model, const int32_t *tokens, int64_t count,
                        char **text_out)
{
    const struct data_bpe *bpe = model->tokenizer->bpe;
    const size_t bytes = data_bpe_decode(bpe, tokens, count, NULL, 0);
    char *raw = malloc(bytes + 1), *text = malloc(DATA_UNICODE_BYTES_MAX * bytes + 1);
    size_t length = 0;

    if (raw == NULL || text == NULL) {
        free(raw);
        free(text);
        return ERR_FAIL(ERR_NO_MEMORY, "a text of %zu bytes", bytes);
    }
    data_bpe_decode(bpe, tokens, count, raw, bytes);
    for (size_t at = 0; at < bytes;) {
        const int32_t code = data_unicode_next(raw, bytes, &at);
        length += data_unicode_put(code == 0 ? DATA_UNICODE_REPLACEMENT : code, text + length);
    }
    text[length] = '\0';
    free(raw);
    *text_out = text;
    return ERR_OK;
}

/* The end token is none of the text. */
static int64_t shown(const struct generated *text)
{
    return text->count - (text->has_ended ? 1 : 0);
}

enum err generate_report_text(const struct language_model *model, const struct generated *text)
{
    char *said = NULL;

    ERR_TRY(text_of(model, text->tokens, text->prompt_count + shown(text), &said));
    printf("%s\n\n", said);
    free(said);
    return ERR_OK;
}

static struct generated total_of(const struct generate_report *report)
{
    struct generated total = {0};

    for (int64_t i = 0; i < report->text_count; i++) {
        const struct generated *text = &report->texts[i];
        total.prompt_count += text->prompt_count;
        total.count += text->count;
        total.prompt_s += text->prompt_s;
        total.writing_s += text->writing_s;
        total.writing_cpu_s += text->writing_cpu_s;
        total.counts.macs += text->counts.macs;
        total.counts.rounds += text->counts.rounds;
        total.counts.drafted += text->counts.drafted;
        total.counts.accepted += text->counts.accepted;
        for (int g = 0; g <= MODEL_LAYERS_MAX; g++) {
            total.counts.left[g] += text->counts.left[g];
        }
    }
    return total;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static const struct exits_net_config *exits_of(const struct generate_report *report)
{
    return exits_net_config_of(report->model->source.net);
}

enum err generate_report_total(const struct generate_report *report)
{
    const struct exits_generate_settings *settings = report->settings;
    const struct generated total = total_of(report);

    printf("%s: %" PRId64 " tokens in %.3f s, %.1f tokens/s, %.3f M multiply-adds a token; %" PRId64
           " of prompts in %.3f s\n",
           writings[settings->writing], total.count, total.writing_s,
           ratio((double)total.count, total.writing_s),
           1e-6 * ratio((double)total.counts.macs, (double)total.count), total.prompt_count,
           total.prompt_s);
    if (settings->writing == EXITS_WRITING_SPECULATIVE) {
        printf("drafts of up to %" PRId64 " by the exit behind layer %" PRId64 ": %" PRId64
               " of %" PRId64 " accepted, %.1f %%; %.2f tokens a round\n",
               settings->draft_tokens, exits_of(report)->layers[settings->draft_exit] + 1,
               total.counts.accepted, total.counts.drafted,
               100 * ratio((double)total.counts.accepted, (double)total.counts.drafted),
               ratio((double)total.count, (double)total.counts.rounds));
    } else if (settings->writing == EXITS_WRITING_EXIT) {
        printf("skipped layers by %s; left at, %%:", fills[settings->fill]);
        for (int g = 0; g <= exits_of(report)->count; g++) {
            printf("%c%.0f", g == 0 ? ' ' : '/',
                   100 * ratio((double)total.counts.left[g], (double)total.count));
        }
        printf("\n");
    }
    return ERR_OK;
}

static void set_cost(const struct generate_report *report, const struct generated *text,
                     struct jdoc *to)
{
    const enum exits_writing writing = report->settings->writing;

    jdoc_set_int(to, "prompt_tokens", text->prompt_count);
    jdoc_set_int(to, "new_tokens", text->count);
    jdoc_set_real(to, "prompt_s", text->prompt_s);
    jdoc_set_real(to, "writing_s", text->writing_s);
    jdoc_set_real(to, "writing_cpu_s", text->writing_cpu_s);
    jdoc_set_real(to, "tokens_per_s", ratio((double)text->count, text->writing_s));
    jdoc_set_real(to, "macs_per_token", ratio((double)text->counts.macs, (double)text->count));
    if (writing == EXITS_WRITING_SPECULATIVE) {
        jdoc_set_int(to, "rounds", text->counts.rounds);
        jdoc_set_int(to, "drafted", text->counts.drafted);
        jdoc_set_int(to, "accepted", text->counts.accepted);
    } else if (writing == EXITS_WRITING_EXIT) {
        struct jdoc *left = jdoc_array();
        for (int g = 0; g <= exits_of(report)->count; g++) {
            jdoc_append(left, jdoc_int(text->counts.left[g]));
        }
        jdoc_set(to, "exits", left);
    }
}

static enum err entry_of(const struct generate_report *report, const struct generated *text,
                         struct jdoc **entry_out)
{
    const bool is_full = text->prompt_count + text->count >= report->model->context;
    struct jdoc *entry = jdoc_object(), *tokens = jdoc_array();
    char *prompt = NULL, *said = NULL;

    enum err status = text_of(report->model, text->tokens, text->prompt_count, &prompt);
    if (status == ERR_OK) {
        status = text_of(report->model, text->tokens + text->prompt_count, shown(text), &said);
    }
    if (status == ERR_OK) {
        jdoc_set_text(entry, "prompt", prompt);
        jdoc_set_text(entry, "text", said);
        for (int64_t i = 0; i < text->count; i++) {
            jdoc_append(tokens, jdoc_int(text->tokens[text->prompt_count + i]));
        }
        jdoc_set(entry, "tokens", tokens);
        jdoc_set_text(entry, "finish", text->has_ended ? "end" : is_full ? "context" : "length");
        set_cost(report, text, entry);
        *entry_out = entry;
    } else {
        jdoc_close(tokens);
        jdoc_close(entry);
    }
    free(prompt);
    free(said);
    return status;
}

static struct jdoc *describe(const struct generate_report *report)
{
    const struct exits_generate_settings *settings = report->settings;
    struct jdoc *doc = jdoc_object();

    jdoc_set_text(doc, "model", report->model->source.folder);
    jdoc_set_text(doc, "mode", writings[settings->writing]);
    if (settings->writing == EXITS_WRITING_SPECULATIVE) {
        jdoc_set_int(doc, "exit", settings->draft_exit + 1);
        jdoc_set_int(doc, "exit_layer", exits_of(report)->layers[settings->draft_exit] + 1);
        jdoc_set_int(doc, "draft_tokens", settings->draft_tokens);
        jdoc_set_real(doc, "draft_threshold", settings->draft_threshold);
    } else if (settings->writing == EXITS_WRITING_EXIT) {
        struct jdoc *thresholds = jdoc_array();
        for (int g = 0; g < exits_of(report)->count; g++) {
            jdoc_append(thresholds, jdoc_real(settings->thresholds[g])); /* infinite: null */
        }
        jdoc_set_text(doc, "score", exits_score_name(settings->score));
        jdoc_set(doc, "thresholds", thresholds);
        if (settings->decay_tokens > 0) {
            jdoc_set_text(doc, "decay", decays[settings->decay.kind]);
            jdoc_set_real(doc, "decay_to", settings->decay.to);
            jdoc_set_real(doc, "decay_rate", settings->decay.rate);
        }
        jdoc_set_text(doc, "fill", fills[settings->fill]);
    }
    jdoc_set_real(doc, "temperature", settings->temperature);
    return doc;
}

enum err generate_report_json(const struct generate_report *report)
{
    const struct generated total = total_of(report);
    struct jdoc *doc = describe(report), *texts = jdoc_array(), *sum = jdoc_object();
    enum err status = ERR_OK;
    char *said = NULL;

    for (int64_t i = 0; i < report->text_count && status == ERR_OK; i++) {
        struct jdoc *entry = NULL;
        status = entry_of(report, &report->texts[i], &entry);
        if (status == ERR_OK) {
            jdoc_append(texts, entry);
        }
    }
    set_cost(report, &total, sum);
    jdoc_set(doc, "texts", texts);
    jdoc_set(doc, "total", sum);
    if (status == ERR_OK) {
        status = jdoc_text(doc, 2, &said);
    }
    if (status == ERR_OK) {
        printf("%s\n", said);
    }
    free(said);
    jdoc_close(doc);
    return status;
}
