/*
 * Unit tests of exits/exits_generate.c: texts against those of whole passes over them, drafts against
 * no drafts, caches against those of the full model.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_generate.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"

enum { D = 24, L = 5, G = 3, V = 21, S = 40, PROMPTS = 12, SETS = 2 };

static const struct model_config config = {.hidden_size = D,
                                           .num_hidden_layers = L,
                                           .num_attention_heads = 3,
                                           .intermediate_size = 30,
                                           .num_labels = V,
                                           .vocab_size = V,
                                           .max_position_embeddings = S,
                                           .max_length = S,
                                           .layer_norm_eps = 1e-5,
                                           .initializer_range = 0.02,
                                           .hidden_act = KERN_GELU_TANH,
                                           .embedding = MODEL_EMBEDDING_TOKENS,
                                           .norm = MODEL_NORM_PRE,
                                           .mask = MODEL_MASK_CAUSAL,
                                           .pooling = MODEL_POOLING_LAST,
                                           .ties_classifier = true};
static const struct exits_net_config net_config = {.count = G,
                                                   .layers = {0, 1, 3},
                                                   .set_count = SETS,
                                                   .width = D,
                                                   .classes = V,
                                                   .head = EXITS_HEAD_NORM_LINEAR,
                                                   .gate = EXITS_GATE_LINEAR,
                                                   .layer_norm_eps = 1e-5f};
static const double never[G] = {INFINITY, INFINITY, INFINITY};

struct fixture {
    struct model *model;
    struct exits_net *net;
    struct exits_generator *generator;
};

/*
 * With `agrees`, the exits' heads are made from the final one, so that they often say the same:
 * some drafts are kept and some are refused.
 */
static void make_heads(struct fixture *fixture, bool agrees)
{
    const struct param_list *list = exits_net_params(fixture->net);
    const struct param_list *model = model_params(fixture->model);
    const struct param *words = &model->params[model_tensor_index(&config, MODEL_words, 0)];
    float *block = exits_net_block(fixture->net);

    model_case_fill(list, block, 11);
    for (int64_t t = 0; t < list->count && agrees; t++) {
        const struct param *param = &list->params[t];
        if (strstr(param->name, "classifier.weight") != NULL) {
            memcpy(block + param->offset, model_block(fixture->model) + words->offset,
                   (size_t)param->count * sizeof(float));
        } else if (strstr(param->name, "classifier.bias") != NULL) {
            memset(block + param->offset, 0, (size_t)param->count * sizeof(float));
        }
    }
    exits_net_pack(fixture->net);
}

static void open_fixture(struct fixture *fixture, int which, bool agrees)
{
    static const enum model_case_ops kernels[] = {MODEL_CASE_PORTABLE, MODEL_CASE_OWN};

    *fixture = (struct fixture){.model = model_case_open(&config, kernels[which])};
    ck_assert_int_eq(exits_net_open(&net_config, model_ops(fixture->model), &fixture->net), ERR_OK);
    make_heads(fixture, agrees);
    ck_assert_int_eq(exits_generator_open(fixture->model, fixture->net, S, &fixture->generator),
                     ERR_OK);
}

static void close_fixture(struct fixture *fixture)
{
    exits_generator_close(fixture->generator);
    exits_net_close(fixture->net);
    model_close(fixture->model);
}

static int kernel_count(void)
{
    return kern_version_count();
}

/* Prompt i, of 1 + i % 9 tokens. */
static int64_t prompt_of(int i, int32_t prompt[S])
{
    const int64_t n = 1 + i % 9;

    for (int64_t t = 0; t < n; t++) {
        prompt[t] = (int32_t)(rng_u64(5, RNG_TEST, (uint64_t)t, (uint32_t)i) % V);
    }
    return n;
}

/* Continues prompt i by up to tokens_max tokens; text [S] out, behind the prompt. Returns the whole length. */
static int64_t write_text(struct fixture *fixture, int i,
                          const struct exits_generate_settings *settings, int64_t tokens_max,
                          int32_t text[S])
{
    const int64_t n = prompt_of(i, text);
    int64_t count = -1;

    exits_generator_begin(fixture->generator, text, n);
    ck_assert_int_eq(
        exits_generator_run(fixture->generator, settings, tokens_max, text + n, &count), ERR_OK);
    ck_assert_int_eq(exits_generator_counts(fixture->generator)->tokens, count);
    ck_assert_int_eq(model_decoder_count(exits_generator_decoder(fixture->generator)),
                     n + count - 1);
    return n + count;
}

static const struct exits_generate_settings full = {.writing = EXITS_WRITING_FULL, .end_token = -1};

/* The logits of a pass over text [n] through the model and through one of its exits, of the last token; G: the end. */
static void whole_pass(struct fixture *fixture, const int32_t text[], int64_t n, int exit,
                       float logits[V])
{
    const int32_t length = (int32_t)n;
    const struct model_input input = {.tokens = text,
                                      .lengths = &length,
                                      .token_stride = S,
                                      .width = model_config_tokens(&config)};
    const int64_t end = exit == G ? L : net_config.layers[exit] + 1;
    struct model_work *work = NULL;
    struct exits_work *exits = NULL;
    float pooled[D];

    ck_assert_int_eq(model_work_open(fixture->model, 1, false, &work), ERR_OK);
    ck_assert_int_eq(exits_work_open(fixture->net, 1, &exits), ERR_OK);
    model_embed_forward(work, &input, 1);
    for (int64_t layer = 0; layer < end; layer++) {
        model_block_forward(work, layer);
    }
    model_pool(work, pooled);
    if (exit == G) {
        model_head_forward(work, logits, pooled);
    } else {
        exits_forward(exits, 0, exit, pooled, 1, NULL, NULL);
        memcpy(logits, exits_view_of(exits, 0, exit).logits, V * sizeof(float));
    }
    exits_work_close(exits);
    model_work_close(work);
}

static int32_t likeliest(const float logits[V])
{
    int32_t best = 0;

    for (int32_t v = 1; v < V; v++) {
        best = logits[v] > logits[best] ? v : best;
    }
    return best;
}

START_TEST(run__writes_the_likeliest_token_of_a_pass_over_the_text)
{
    struct fixture fixture;
    int32_t text[S];
    float logits[V];

    open_fixture(&fixture, _i, false);
    for (int i = 0; i < PROMPTS; i++) {
        int32_t prompt[S];
        const int64_t n = prompt_of(i, prompt);
        const int64_t length = write_text(&fixture, i, &full, S, text);
        ck_assert_int_eq(length, S); /* it fills all positions */
        ck_assert_mem_eq(text, prompt, (size_t)n * sizeof(*prompt));
        for (int64_t t = n; t < length; t++) {
            whole_pass(&fixture, text, t, G, logits);
            ck_assert_int_eq(text[t], likeliest(logits));
        }
    }
    close_fixture(&fixture);
}
END_TEST

/* Whatever is drafted, by which exit and how far, and with heads that know nothing or much. */
START_TEST(speculative__writes_the_text_of_the_full_model)
{
    static const int64_t lengths[] = {1, 2, 3, 5, 8, EXITS_DRAFT_MAX};
    struct fixture fixture;
    int64_t drafted = 0, accepted = 0;

    open_fixture(&fixture, _i / 2, _i % 2 == 1);
    for (int i = 0; i < PROMPTS * 6 * G; i++) {
        const struct exits_generate_settings settings = {.writing = EXITS_WRITING_SPECULATIVE,
                                                         .set = i % SETS,
                                                         .end_token = -1,
                                                         .draft_exit = i % G,
                                                         .draft_tokens = lengths[i / G % 6],
                                                         .draft_threshold = i % 4 == 3 ? 0.3 : 0};
        const int64_t tokens_max = i % 5 == 0 ? 7 : S;
        int32_t want[S], found[S];
        const int64_t length = write_text(&fixture, i / G / 6, &full, tokens_max, want);
        ck_assert_int_eq(write_text(&fixture, i / G / 6, &settings, tokens_max, found), length);
        ck_assert_mem_eq(found, want, (size_t)length * sizeof(*want));
        const struct exits_generate_counts *counts = exits_generator_counts(fixture.generator);
        ck_assert_int_eq(counts->accepted + counts->rounds, counts->tokens);
        drafted += counts->drafted;
        accepted += counts->accepted;
    }
    ck_assert_int_gt(drafted, 500);
    ck_assert_int_gt(drafted, accepted);
    ck_assert_int_gt(accepted, _i % 2 == 1 ? drafted / 10 : 0);
    close_fixture(&fixture);
}
END_TEST

/* A text may be continued by another way of writing, and is still that of the full model. */
START_TEST(run__goes_on_where_it_stopped_in_any_way)
{
    const struct exits_generate_settings settings = {
        .writing = EXITS_WRITING_SPECULATIVE, .end_token = -1, .draft_exit = 1, .draft_tokens = 3};
    struct fixture fixture;
    int32_t want[S], found[S];

    open_fixture(&fixture, _i, true);
    for (int i = 0; i < PROMPTS; i++) {
        const int64_t length = write_text(&fixture, i, &full, S, want);
        const int64_t n = prompt_of(i, found);
        exits_generator_begin(fixture.generator, found, n);
        for (int64_t at = n, round = 0; at < length; round++) {
            int64_t count = 0;
            ck_assert_int_eq(exits_generator_run(fixture.generator,
                                                 round % 2 == 0 ? &settings : &full, 1 + round % 4,
                                                 found + at, &count),
                             ERR_OK);
            at += count;
        }
        ck_assert_mem_eq(found, want, sizeof(want));
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(run__ends_behind_the_end_token)
{
    struct fixture fixture;
    int32_t want[S], found[S];

    open_fixture(&fixture, _i, true);
    for (int i = 0; i < PROMPTS; i++) {
        const int64_t length = write_text(&fixture, i, &full, S, want);
        const int64_t n = 1 + i % 9;
        for (int writing = 0; writing < 3; writing++) {
            const struct exits_generate_settings settings = {.writing = (enum exits_writing)writing,
                                                             .end_token = want[(n + length) / 2],
                                                             .score = EXITS_SCORE_MAX_PROB,
                                                             .thresholds = never,
                                                             .pending_max = 1,
                                                             .draft_exit = 2,
                                                             .draft_tokens = 4};
            int64_t first = n;
            while (want[first] != settings.end_token) {
                first++;
            }
            ck_assert_int_eq(write_text(&fixture, i, &settings, S, found), first + 1);
            ck_assert_mem_eq(found, want, (size_t)(first + 1) * sizeof(*want));
        }
    }
    close_fixture(&fixture);
}
END_TEST

static struct exits_generate_settings by_exits(const double thresholds[G], enum exits_fill fill)
{
    return (struct exits_generate_settings){.writing = EXITS_WRITING_EXIT,
                                            .end_token = -1,
                                            .score = EXITS_SCORE_MAX_PROB,
                                            .thresholds = thresholds,
                                            .fill = fill,
                                            .pending_max = S};
}

/* All logits of the final head over text [length] are those of a decoder that left nothing out. */
static void check_caches(struct fixture *fixture, const int32_t text[S], int64_t length)
{
    struct model_decoder *found = exits_generator_decoder(fixture->generator);
    struct model_decoder *want = NULL;
    static float logits[2][S * V];
    const int64_t n = length - 1;

    ck_assert_int_eq(model_decoder_open(fixture->model, S, &want), ERR_OK);
    model_decoder_put(want, text, n);
    model_decoder_run(want, 0, L);
    model_decoder_run(found, 0, L);
    model_decoder_put(want, text + n, 1); /* reads all that is kept */
    model_decoder_run(want, 0, L);
    model_decoder_put(found, text + n, 1);
    model_decoder_run(found, 0, L);
    model_decoder_head(want, 0, length, logits[0]);
    model_decoder_head(found, 0, length, logits[1]);
    ck_assert_mem_eq(logits[1], logits[0], (size_t)(length * V) * sizeof(float));
    model_decoder_close(want);
}

/*
 * Each token is that of the exit it left at, which saw all tokens before it through the layers up to there as
 * the full model does; and the caches in the end are the full model's.
 */
START_TEST(recompute__keeps_what_the_full_model_would)
{
    const double thresholds[G] = {0.35, 0.3, 0.25};
    struct exits_generate_settings settings = by_exits(thresholds, EXITS_FILL_RECOMPUTE);
    struct fixture fixture;
    int64_t left[G + 1] = {0};

    open_fixture(&fixture, _i, true);
    for (int i = 0; i < PROMPTS; i++) {
        int32_t text[S], prompt[S];
        const int64_t n = prompt_of(i, prompt);
        settings.pending_max = i % 3 == 0 ? 2 : S;
        const int64_t length = write_text(&fixture, i, &settings, S, text);
        int64_t counted[G + 1] = {0}, pending = 0;
        for (int64_t t = n; t < length; t++) {
            float logits[V];
            int exit = 0;
            for (; exit < G && pending < settings.pending_max; exit++) {
                double sum = 0;
                whole_pass(&fixture, text, t, exit, logits);
                for (int v = 0; v < V; v++) {
                    sum += exp((double)logits[v] - (double)logits[likeliest(logits)]);
                }
                if (1 / sum >= thresholds[exit]) {
                    break;
                }
            }
            exit = pending < settings.pending_max ? exit : G;
            if (exit == G) {
                whole_pass(&fixture, text, t, G, logits);
            }
            pending = exit == G ? 0 : pending + 1;
            ck_assert_int_eq(text[t], likeliest(logits));
            counted[exit]++;
        }
        for (int exit = 0; exit <= G; exit++) {
            ck_assert_int_eq(exits_generator_counts(fixture.generator)->left[exit], counted[exit]);
            left[exit] += counted[exit];
        }
        check_caches(&fixture, text, length);
    }
    for (int exit = 0; exit <= G; exit++) {
        ck_assert_int_gt(left[exit], 10); /* all have their turn */
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(exits__where_nobody_leaves_write_the_text_of_the_full_model_at_its_cost)
{
    struct fixture fixture;
    int32_t want[S], found[S];

    open_fixture(&fixture, _i, true);
    for (int i = 0; i < 2 * PROMPTS; i++) {
        const double above[G] = {1.5, 1.5, 1.5};
        const bool asks = i % 2 == 0;
        const struct exits_generate_settings settings =
            by_exits(asks ? above : never, (enum exits_fill)(i % 3 == 0));
        const int64_t length = write_text(&fixture, i, &full, S, want);
        const int64_t macs = exits_generator_counts(fixture.generator)->macs;
        const int64_t tokens = exits_generator_counts(fixture.generator)->tokens;
        ck_assert_int_eq(write_text(&fixture, i, &settings, S, found), length);
        ck_assert_mem_eq(found, want, (size_t)length * sizeof(*want));
        ck_assert_int_eq(exits_generator_counts(fixture.generator)->macs,
                         macs + (asks ? G * tokens * D * V : 0));
        ck_assert_int_eq(exits_generator_counts(fixture.generator)->left[G], tokens);
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(copy__costs_keys_and_values_where_recompute_puts_off_whole_layers)
{
    const double always[G] = {INFINITY, 0, INFINITY};
    const int64_t linear = 4 * D * D + 2 * D * 30, n = 3;
    struct fixture fixture;
    int32_t text[S];

    open_fixture(&fixture, _i, true);
    for (int fill = 0; fill < 2; fill++) {
        const struct exits_generate_settings settings = by_exits(always, (enum exits_fill)fill);
        ck_assert_int_eq(write_text(&fixture, 2, &settings, 1, text), n + 1);
        const int64_t spared = fill == EXITS_FILL_COPY ? (L - 2) * 2 * D * D : 0;
        ck_assert_int_eq(exits_generator_counts(fixture.generator)->macs,
                         2 * (linear + 2 * D * n) + D * V + spared);
        ck_assert_int_eq(exits_generator_counts(fixture.generator)->left[1], 1);
        ck_assert_int_eq(model_decoder_reached(exits_generator_decoder(fixture.generator), L - 1),
                         fill == EXITS_FILL_COPY ? n : n - 1);
    }
    close_fixture(&fixture);
}
END_TEST

/* In thirds: nobody leaves, who is surer than the half does, and all do. */
START_TEST(decay__lets_more_leave_as_the_text_grows)
{
    const double unreached[G] = {1.01, INFINITY, INFINITY};
    struct exits_generate_settings settings = by_exits(unreached, EXITS_FILL_RECOMPUTE);
    struct fixture fixture;
    int32_t text[S], plain[S];
    int64_t count = -1;

    settings.decay = (struct exits_decay){EXITS_DECAY_STEPS, 1, 1e-6, 0};
    settings.decay_tokens = 12;
    open_fixture(&fixture, _i, true);
    const int64_t *left = exits_generator_counts(fixture.generator)->left;
    const int64_t n = write_text(&fixture, 3, &full, 4, plain);
    ck_assert_int_eq(write_text(&fixture, 3, &settings, 4, text), n);
    ck_assert_int_eq(memcmp(text, plain, (size_t)n * sizeof(*text)), 0);
    ck_assert_int_eq(left[0], 0);
    ck_assert_int_eq(exits_generator_run(fixture.generator, &settings, 4, text + n, &count),
                     ERR_OK);
    const int64_t before = left[0];
    ck_assert_int_eq(exits_generator_run(fixture.generator, &settings, 4, text + n + 4, &count),
                     ERR_OK);
    ck_assert_int_eq(left[0], before + 4);
    settings.decay_tokens = 0;
    ck_assert_int_eq(exits_generator_run(fixture.generator, &settings, 4, text + n + 8, &count),
                     ERR_OK);
    ck_assert_int_eq(left[0], before + 4);
    close_fixture(&fixture);
}
END_TEST

/* Frequencies of the first token over many seeds against the softmax; the same seed, the same text. */
START_TEST(temperature__draws_from_the_softmax)
{
    enum { DRAWS = 4000 };
    struct exits_generate_settings settings = full;
    struct fixture fixture;
    int32_t text[S], again[S];
    float logits[V];
    double p[V], sum = 0, square = 0;
    int counted[V] = {0};

    open_fixture(&fixture, _i, true);
    settings.temperature = 1.7;
    const int64_t n = prompt_of(4, text);
    whole_pass(&fixture, text, n, G, logits);
    for (int v = 0; v < V; v++) {
        p[v] = exp((double)logits[v] / settings.temperature);
        sum += p[v];
    }
    for (settings.seed = 0; settings.seed < DRAWS; settings.seed++) {
        write_text(&fixture, 4, &settings, 1, text);
        counted[text[n]]++;
    }
    for (int v = 0; v < V; v++) {
        const double want = DRAWS * p[v] / sum;
        square += (counted[v] - want) * (counted[v] - want) / want;
    }
    ck_assert_double_lt(square, 46); /* chi-square of 20 degrees: less in 99.9 % of all cases */
    write_text(&fixture, 4, &settings, S, text);
    write_text(&fixture, 4, &settings, S, again);
    ck_assert_mem_eq(text, again, sizeof(text));
    settings.seed++;
    write_text(&fixture, 4, &settings, S, again);
    ck_assert_mem_ne(text, again, sizeof(text));
    close_fixture(&fixture);
}
END_TEST

START_TEST(run__refuses_logits_that_are_not_finite)
{
    struct fixture fixture;
    int32_t text[S];
    int64_t count = 0;
    char said[300];

    open_fixture(&fixture, _i, true);
    const int64_t index = model_tensor_index(&config, MODEL_down_bias, 2);
    model_block(fixture.model)[model_params(fixture.model)->params[index].offset] = NAN;
    exits_generator_begin(fixture.generator, text, prompt_of(1, text));
    ck_assert_int_eq(exits_generator_run(fixture.generator, &full, 5, text, &count),
                     ERR_NOT_FINITE);
    err_text(said, sizeof(said));
    ck_assert_ptr_nonnull(strstr(said, "the logits of token 2 at the end are NaN or infinite"));
    err_clear();
    const double third[G] = {INFINITY, INFINITY, 0};
    const struct exits_generate_settings settings = by_exits(third, EXITS_FILL_COPY);
    exits_generator_begin(fixture.generator, text, prompt_of(1, text));
    ck_assert_int_eq(exits_generator_run(fixture.generator, &settings, 5, text, &count),
                     ERR_NOT_FINITE);
    err_text(said, sizeof(said));
    ck_assert_ptr_nonnull(strstr(said, "token 2 at the exit behind layer 4"));
    err_clear();
    close_fixture(&fixture);
}
END_TEST

START_TEST(open__refuses_exits_that_follow_from_others)
{
    struct exits_net_config chained = net_config;
    struct exits_generator *none = NULL;
    struct exits_net *net = NULL;
    struct fixture fixture;

    open_fixture(&fixture, 0, true);
    chained.heads = EXITS_HEADS_BOOSTED;
    ck_assert_int_eq(exits_net_open(&chained, model_ops(fixture.model), &net), ERR_OK);
    ck_assert_int_eq(exits_generator_open(fixture.model, net, S, &none), ERR_CONFIG);
    err_clear();
    exits_net_close(net);
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_generate");
    TCase *tcase = tcase_create("generate");
    const int count = kernel_count();

    tcase_add_loop_test(tcase, run__writes_the_likeliest_token_of_a_pass_over_the_text, 0, count);
    tcase_add_loop_test(tcase, speculative__writes_the_text_of_the_full_model, 0, 2 * count);
    tcase_add_loop_test(tcase, run__goes_on_where_it_stopped_in_any_way, 0, count);
    tcase_add_loop_test(tcase, run__ends_behind_the_end_token, 0, count);
    tcase_add_loop_test(tcase, recompute__keeps_what_the_full_model_would, 0, count);
    tcase_add_loop_test(
        tcase, exits__where_nobody_leaves_write_the_text_of_the_full_model_at_its_cost, 0, count);
    tcase_add_loop_test(tcase, copy__costs_keys_and_values_where_recompute_puts_off_whole_layers, 0,
                        count);
    tcase_add_loop_test(tcase, decay__lets_more_leave_as_the_text_grows, 0, count);
    tcase_add_loop_test(tcase, temperature__draws_from_the_softmax, 0, count);
    tcase_add_loop_test(tcase, run__refuses_logits_that_are_not_finite, 0, count);
    tcase_add_test(tcase, open__refuses_exits_that_follow_from_others);
    suite_add_tcase(suite, tcase);
    return suite;
}
