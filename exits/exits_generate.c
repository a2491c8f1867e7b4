#include "exits/exits_generate.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "comm/base/rng.h"
#include "exits/exits_decide.h"
#include "exits/exits_net_priv.h"

struct exits_generator {
    const struct model *model;
    const struct exits_net *net; /* NULL: none */
    struct model_decoder *decoder;
    struct exits_work *exits;
    float *logits; /* [EXITS_DRAFT_MAX + 1, V], of the final head */
    int32_t last;  /* the text's newest token, which the decoder does not have yet */
    int64_t prompt_macs;
    int64_t head_macs; /* of one exit */
    int64_t exit_macs; /* of all exits that were computed */
    struct exits_generate_counts counts;
};

/* What a text is written by, in one run. */
struct writer {
    struct exits_generator *generator;
    const struct exits_generate_settings *settings;
    int32_t *tokens; /* [tokens_max] */
    int64_t tokens_max, count;
    bool has_ended;
};

static enum err check(const struct exits_net *net)
{
    if (net != NULL && exits_net_is_chained(&net->config)) {
        return ERR_FAIL(ERR_CONFIG, "exits whose answer follows from those of exits before them "
                                    "(boosted, cascaded, ensembles) write no texts");
    }
    return ERR_OK;
}

static enum err allocate(struct exits_generator *generator, int64_t positions_max)
{
    const struct exits_net *net = generator->net;
    const struct model_config *config = model_config_of(generator->model);

    ERR_TRY(model_decoder_open(generator->model, positions_max, &generator->decoder));
    ERR_TRY(device_memory_open_f32(model_ops(generator->model)->device,
                                   (EXITS_DRAFT_MAX + 1) * config->vocab_size, "logits",
                                   &generator->logits));
    if (net == NULL) {
        return ERR_OK;
    }
    generator->head_macs = net->config.head == EXITS_HEAD_NORM_MLP
                               ? net->config.head_hidden * (net->config.width + net->config.classes)
                               : net->config.width * net->config.classes;
    return exits_work_open(net, 1, &generator->exits);
}

enum err exits_generator_open(const struct model *model, const struct exits_net *net,
                              int64_t positions_max, struct exits_generator **generator_out)
{
    ERR_TRY(check(net));
    struct exits_generator *generator = calloc(1, sizeof(*generator));
    if (generator == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a generator");
    }
    generator->model = model;
    generator->net = net;
    const enum err status = allocate(generator, positions_max);
    if (status != ERR_OK) {
        exits_generator_close(generator);
        return status;
    }
    *generator_out = generator;
    return ERR_OK;
}

void exits_generator_close(struct exits_generator *generator)
{
    if (generator == NULL) {
        return;
    }
    exits_work_close(generator->exits);
    device_memory_close(model_ops(generator->model)->device, generator->logits);
    model_decoder_close(generator->decoder);
    free(generator);
}

const struct exits_generate_counts *exits_generator_counts(const struct exits_generator *generator)
{
    return &generator->counts;
}

struct model_decoder *exits_generator_decoder(struct exits_generator *generator)
{
    return generator->decoder;
}

static int64_t layers_of(const struct exits_generator *generator)
{
    return model_config_of(generator->model)->num_hidden_layers;
}

void exits_generator_begin(struct exits_generator *generator, const int32_t prompt[], int64_t n)
{
    assert(n >= 1 && n < model_decoder_positions(generator->decoder));
    model_decoder_cut(generator->decoder, 0);
    if (n > 1) {
        model_decoder_put(generator->decoder, prompt, n - 1);
        model_decoder_run(generator->decoder, 0, layers_of(generator));
    }
    generator->last = prompt[n - 1];
    generator->prompt_macs = model_decoder_macs(generator->decoder);
    generator->exit_macs = 0;
    generator->counts = (struct exits_generate_counts){0};
}

/* The first class at which the sum of probabilities so far exceeds u; should rounding leave none, the last possible. */
static int32_t draw(const float *z, int64_t V, float top, double temperature, double u)
{
    double sum = 0, reached = 0;
    int32_t last = 0;

    for (int64_t v = 0; v < V; v++) {
        sum += exp(((double)z[v] - (double)top) / temperature);
    }
    for (int64_t v = 0; v < V; v++) {
        const double p = exp(((double)z[v] - (double)top) / temperature) / sum;
        reached += p;
        last = p > 0 ? (int32_t)v : last;
        if (u < reached) {
            return (int32_t)v;
        }
    }
    return last;
}

/* The token that logits z [V] give the text's next place. */
static int32_t choose(const struct writer *writer, const float *z,
                      const struct kern_likeliest *likeliest)
{
    const struct exits_generate_settings *settings = writer->settings;
    const int64_t place = model_decoder_count(writer->generator->decoder);

    if (settings->temperature <= 0) {
        return likeliest->predicted;
    }
    return draw(z, model_config_of(writer->generator->model)->vocab_size, z[likeliest->predicted],
                settings->temperature, rng_uniform(settings->seed, RNG_TEXT, (uint64_t)place, 0));
}

static void write_token(struct writer *writer, int32_t token)
{
    assert(writer->count < writer->tokens_max);
    writer->tokens[writer->count++] = token;
    writer->generator->last = token;
    writer->generator->counts.tokens++;
    writer->has_ended = token == writer->settings->end_token;
}

/* The final head of n tokens from `first` on, which have been through all layers. */
static enum err ask_end(struct exits_generator *generator, int64_t first, int64_t n,
                        struct kern_likeliest *likeliest)
{
    const int64_t V = model_config_of(generator->model)->vocab_size;

    model_decoder_head(generator->decoder, first, n, generator->logits);
    model_ops(generator->model)->likeliest(likeliest, generator->logits, n, V, false);
    for (int64_t i = 0; i < n; i++) {
        if (likeliest[i].predicted < 0) {
            return ERR_FAIL(ERR_NOT_FINITE,
                            "the logits of token %" PRId64 " at the end are NaN or infinite",
                            first + i + 1);
        }
    }
    return ERR_OK;
}

/* The head of an exit, of the newest token. logits_out [V], lent. */
static enum err ask_exit(struct exits_generator *generator, int set, int exit, bool wants_certainty,
                         const float **logits_out, struct kern_likeliest *likeliest)
{
    const struct exits_net_config *config = &generator->net->config;
    const int64_t place = model_decoder_count(generator->decoder) - 1;

    *logits_out = exits_head_logits(generator->exits, set, exit,
                                    model_decoder_stream(generator->decoder, place), 1);
    generator->exit_macs += generator->head_macs;
    model_ops(generator->model)
        ->likeliest(likeliest, *logits_out, 1, config->classes, wants_certainty);
    if (likeliest->predicted < 0) {
        return ERR_FAIL(ERR_NOT_FINITE,
                        "the logits of token %" PRId64 " at the exit behind layer %" PRId64
                        " are NaN or infinite",
                        place + 1, config->layers[exit] + 1);
    }
    return ERR_OK;
}

static enum err write_full(struct writer *writer)
{
    struct exits_generator *generator = writer->generator;
    struct kern_likeliest likeliest;

    model_decoder_put(generator->decoder, &generator->last, 1);
    model_decoder_run(generator->decoder, 0, layers_of(generator));
    ERR_TRY(ask_end(generator, model_decoder_count(generator->decoder) - 1, 1, &likeliest));
    write_token(writer, choose(writer, generator->logits, &likeliest));
    return ERR_OK;
}

static double score_of(enum exits_score score, const struct kern_likeliest *likeliest, int64_t V)
{
    switch (score) {
    case EXITS_SCORE_MARGIN: return (double)likeliest->margin;
    case EXITS_SCORE_ENTROPY: return 1 - (double)likeliest->entropy / log((double)V);
    default: return (double)likeliest->max_prob;
    }
}

/* The newest token has left behind `layers` layers. */
static void leave(struct writer *writer, int64_t layers)
{
    if (writer->settings->fill == EXITS_FILL_COPY) {
        model_decoder_copy(writer->generator->decoder, layers, layers_of(writer->generator));
    }
}

/* Tokens that have left and wait to be taken along, of which the newest one is none. */
static int64_t pending_of(const struct exits_generator *generator)
{
    return model_decoder_count(generator->decoder) - 1 -
           model_decoder_reached(generator->decoder, layers_of(generator) - 1);
}

/* What thresholds are multiplied by for the next token. */
static double decay_of(const struct writer *writer)
{
    const struct exits_generate_settings *settings = writer->settings;
    const double written = (double)writer->generator->counts.tokens;

    return settings->decay_tokens == 0
               ? 1
               : exits_decay_threshold(&settings->decay, written / (double)settings->decay_tokens);
}

static enum err write_by_exits(struct writer *writer)
{
    struct exits_generator *generator = writer->generator;
    const struct exits_generate_settings *settings = writer->settings;
    const struct exits_net_config *config = &generator->net->config;
    struct kern_likeliest likeliest;
    const float *logits = NULL;
    const double decay = decay_of(writer);
    int64_t layers = 0;

    model_decoder_put(generator->decoder, &generator->last, 1);
    const bool may_leave = pending_of(generator) < settings->pending_max;
    for (int exit = 0; exit < config->count && may_leave; exit++) {
        if (settings->thresholds[exit] == (double)INFINITY) {
            continue;
        }
        model_decoder_run(generator->decoder, layers, config->layers[exit] + 1);
        layers = config->layers[exit] + 1;
        ERR_TRY(ask_exit(generator, settings->set, exit, true, &logits, &likeliest));
        if (exits_decide_leaves(score_of(settings->score, &likeliest, config->classes),
                                settings->thresholds[exit] * decay, -(double)INFINITY)) {
            leave(writer, layers);
            generator->counts.left[exit]++;
            write_token(writer, choose(writer, logits, &likeliest));
            return ERR_OK;
        }
    }
    model_decoder_run(generator->decoder, layers, layers_of(generator));
    ERR_TRY(ask_end(generator, model_decoder_count(generator->decoder) - 1, 1, &likeliest));
    generator->counts.left[config->count]++;
    write_token(writer, choose(writer, generator->logits, &likeliest));
    return ERR_OK;
}

/* Drafts up to k tokens behind the newest one; those and it are put. drafted [k] out. */
static enum err draft(struct writer *writer, int64_t k, int32_t drafted[], int64_t *count_out)
{
    struct exits_generator *generator = writer->generator;
    const struct exits_generate_settings *settings = writer->settings;
    const int64_t end = generator->net->config.layers[settings->draft_exit] + 1;
    const bool wants_certainty = settings->draft_threshold > 0;
    struct kern_likeliest likeliest;
    const float *logits = NULL;
    int64_t count = 0;

    while (count < k) {
        model_decoder_run(generator->decoder, 0, end);
        ERR_TRY(ask_exit(generator, settings->set, settings->draft_exit, wants_certainty, &logits,
                         &likeliest));
        if (wants_certainty && (double)likeliest.max_prob < settings->draft_threshold) {
            break;
        }
        drafted[count++] = likeliest.predicted;
        model_decoder_put(generator->decoder, &likeliest.predicted, 1);
    }
    *count_out = count;
    return ERR_OK;
}

/* A round: a draft, its verification, and at least one token. */
static enum err write_speculatively(struct writer *writer)
{
    struct exits_generator *generator = writer->generator;
    const int64_t first = model_decoder_count(generator->decoder);
    const int64_t room = model_decoder_positions(generator->decoder) - first - 1;
    const int64_t wanted = writer->tokens_max - writer->count - 1; /* one is the end's own */
    int64_t k = writer->settings->draft_tokens, accepted = 0;
    int32_t drafted[EXITS_DRAFT_MAX];
    struct kern_likeliest ends[EXITS_DRAFT_MAX + 1];

    k = k < room ? k : room;
    k = k < wanted ? k : wanted;
    model_decoder_put(generator->decoder, &generator->last, 1);
    ERR_TRY(draft(writer, k, drafted, &k));
    model_decoder_run(generator->decoder, 0, layers_of(generator));
    ERR_TRY(ask_end(generator, first, k + 1, ends));
    while (accepted < k && drafted[accepted] == ends[accepted].predicted) {
        accepted++;
    }
    generator->counts.rounds++;
    generator->counts.drafted += k;
    generator->counts.accepted += accepted;
    int64_t written = 0;
    while (written <= accepted && !writer->has_ended) {
        write_token(writer, ends[written++].predicted);
    }
    model_decoder_cut(generator->decoder, first + written);
    return ERR_OK;
}

enum err exits_generator_run(struct exits_generator *generator,
                             const struct exits_generate_settings *settings, int64_t tokens_max,
                             int32_t tokens_out[], int64_t *count_out)
{
    static enum err (*const writings[])(struct writer *) = {
        [EXITS_WRITING_FULL] = write_full,
        [EXITS_WRITING_EXIT] = write_by_exits,
        [EXITS_WRITING_SPECULATIVE] = write_speculatively,
    };
    /* The text, of which the decoder has all but the last, may fill all positions. */
    const int64_t room =
        model_decoder_positions(generator->decoder) - model_decoder_count(generator->decoder) - 1;
    struct writer writer = {.generator = generator,
                            .settings = settings,
                            .tokens = tokens_out,
                            .tokens_max = tokens_max < room ? tokens_max : room};

    assert(generator->net != NULL || settings->writing == EXITS_WRITING_FULL);
    assert(settings->temperature <= 0 || settings->writing != EXITS_WRITING_SPECULATIVE);
    while (writer.count < writer.tokens_max && !writer.has_ended) {
        ERR_TRY(writings[settings->writing](&writer));
    }
    generator->counts.macs =
        model_decoder_macs(generator->decoder) - generator->prompt_macs + generator->exit_macs;
    *count_out = writer.count;
    return ERR_OK;
}
