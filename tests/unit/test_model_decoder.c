/*
 * Unit tests of trainer/model/model_decoder.c: whatever the order in which tokens and layers come, a row
 * has the bits of a pass over the whole text.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model_decoder.h"

enum { CASES = 3, T = 29, V_MAX = 70 };

/* Widths that fill no vector and those that do; heads of an odd number of channels. */
static const struct model_config cases[CASES] = {
    {.hidden_size = 15,
     .num_hidden_layers = 3,
     .num_attention_heads = 3,
     .intermediate_size = 22,
     .vocab_size = 13,
     .num_labels = 13,
     .max_position_embeddings = T + 3},
    {.hidden_size = 32,
     .num_hidden_layers = 5,
     .num_attention_heads = 2,
     .intermediate_size = 48,
     .vocab_size = V_MAX,
     .num_labels = V_MAX,
     .max_position_embeddings = T},
    {.hidden_size = 64,
     .num_hidden_layers = 4,
     .num_attention_heads = 1,
     .intermediate_size = 64,
     .vocab_size = 64,
     .num_labels = 64,
     .max_position_embeddings = 40},
};

/* Kernels that promise a row's bits. */
static const enum model_case_ops OPS[] = {MODEL_CASE_PORTABLE, MODEL_CASE_OWN};

struct fixture {
    struct model_config config;
    struct model *model;
    struct model_decoder *decoder;
    int32_t tokens[T];
    float want[T * V_MAX]; /* [T, V]: logits behind each token */
    float found[T * V_MAX];
};

static void run_whole(struct fixture *fixture)
{
    const struct model_config *config = &fixture->config;
    const int64_t V = config->vocab_size;
    float *pooled = calloc((size_t)config->hidden_size, sizeof(float));
    struct model_work *work = NULL;

    ck_assert_ptr_nonnull(pooled);
    ck_assert_int_eq(model_work_open(fixture->model, 1, false, &work), ERR_OK);
    for (int32_t length = 1; length <= T; length++) {
        const struct model_input input = {.tokens = fixture->tokens,
                                          .lengths = &length,
                                          .token_stride = T,
                                          .width = model_config_tokens(config)};
        model_embed_forward(work, &input, 1);
        for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
            model_block_forward(work, layer);
        }
        model_pool(work, pooled);
        model_head_forward(work, fixture->want + (length - 1) * V, pooled);
    }
    model_work_close(work);
    free(pooled);
}

static void open_fixture(struct fixture *fixture, int i)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->config = cases[i % CASES];
    fixture->config.layer_norm_eps = 1e-5;
    fixture->config.initializer_range = 0.02;
    fixture->config.embedding = MODEL_EMBEDDING_TOKENS;
    fixture->config.norm = MODEL_NORM_PRE;
    fixture->config.mask = MODEL_MASK_CAUSAL;
    fixture->config.pooling = MODEL_POOLING_LAST;
    fixture->config.hidden_act = KERN_GELU_TANH;
    fixture->config.max_length = T;
    fixture->config.ties_classifier = true;
    fixture->model = model_case_open(&fixture->config, OPS[i / CASES]);
    for (int t = 0; t < T; t++) {
        fixture->tokens[t] = (int32_t)((t * t * 7 + t / 3) % fixture->config.vocab_size);
    }
    ck_assert_int_eq(model_decoder_open(fixture->model, fixture->config.max_position_embeddings,
                                        &fixture->decoder),
                     ERR_OK);
}

static void close_fixture(struct fixture *fixture)
{
    model_decoder_close(fixture->decoder);
    model_close(fixture->model);
}

static int case_count(void)
{
    return kern_version_count() == KERN_VERSIONS ? 2 * CASES : CASES;
}

static void head(struct fixture *fixture, int64_t first, int64_t n)
{
    model_decoder_head(fixture->decoder, first, n,
                       fixture->found + first * fixture->config.vocab_size);
}

static void check_rows(const struct fixture *fixture, int64_t first, int64_t n)
{
    const int64_t V = fixture->config.vocab_size;

    for (int64_t i = first * V; i < (first + n) * V; i++) {
        if (memcmp(&fixture->found[i], &fixture->want[i], sizeof(float)) != 0) {
            ck_abort_msg("token %d, logit %d: %.9g, not %.9g", (int)(i / V), (int)(i % V),
                         (double)fixture->found[i], (double)fixture->want[i]);
        }
    }
}

START_TEST(run__gives_the_bits_of_a_whole_pass_in_pieces_of_any_size)
{
    static const int64_t pieces[][3] = {{T, T, T}, {1, 1, 1}, {5, 1, 2}, {1, 8, 4}};
    struct fixture fixture;

    open_fixture(&fixture, _i);
    run_whole(&fixture);
    for (int list = 0; list < 4; list++) {
        memset(fixture.found, 0, sizeof(fixture.found));
        model_decoder_cut(fixture.decoder, 0);
        for (int64_t t = 0, i = 0; t < T; i++) {
            const int64_t left = T - t, n = pieces[list][i % 3] < left ? pieces[list][i % 3] : left;
            model_decoder_put(fixture.decoder, fixture.tokens + t, n);
            model_decoder_run(fixture.decoder, 0, fixture.config.num_hidden_layers);
            head(&fixture, t, n);
            t += n;
        }
        check_rows(&fixture, 0, T);
    }
    close_fixture(&fixture);
}
END_TEST

/* Tokens stop behind all kinds of layers; those that go further take them along. */
START_TEST(run__catches_up_with_what_was_left_behind_bit_by_bit)
{
    struct fixture fixture;

    open_fixture(&fixture, _i);
    const int64_t L = fixture.config.num_hidden_layers;
    run_whole(&fixture);
    for (int64_t t = 0; t < T; t++) {
        const int64_t depth = 1 + (t * 5 + 2) % L;
        model_decoder_put(fixture.decoder, fixture.tokens + t, 1);
        for (int64_t l = 0; l < depth; l++) {
            model_decoder_run(fixture.decoder, l, l + 1);
            ck_assert_int_eq(model_decoder_reached(fixture.decoder, l), t + 1);
        }
    }
    model_decoder_run(fixture.decoder, 0, L);
    head(&fixture, 0, T);
    check_rows(&fixture, 0, T);
    close_fixture(&fixture);
}
END_TEST

/* Wrong tokens by the lower layers alone, or by all of them, then the right ones in their place. */
START_TEST(cut__leaves_nothing_of_tokens_that_were_refused)
{
    struct fixture fixture;

    open_fixture(&fixture, _i);
    const int64_t L = fixture.config.num_hidden_layers;
    run_whole(&fixture);
    for (int64_t t = 0; t < T; t++) {
        const int32_t wrong[] = {3, 1, 2};
        const int64_t n = T - t < 3 ? T - t : 3;
        model_decoder_put(fixture.decoder, wrong, n);
        model_decoder_run(fixture.decoder, 0, t % 2 == 0 ? 1 : L);
        model_decoder_cut(fixture.decoder, t);
        ck_assert_int_eq(model_decoder_count(fixture.decoder), t);
        ck_assert_int_eq(model_decoder_reached(fixture.decoder, 0), t);
        model_decoder_put(fixture.decoder, fixture.tokens + t, 1);
        model_decoder_run(fixture.decoder, 0, L);
        head(&fixture, t, 1);
    }
    check_rows(&fixture, 0, T);
    close_fixture(&fixture);
}
END_TEST

/* Layers from `first` on that add nothing to the stream. */
static void silence(struct fixture *fixture, int64_t first)
{
    static const enum model_tensor tensors[] = {MODEL_out_weight, MODEL_out_bias, MODEL_down_weight,
                                                MODEL_down_bias};
    const struct param_list *list = model_params(fixture->model);

    for (int64_t l = first; l < fixture->config.num_hidden_layers; l++) {
        for (int i = 0; i < 4; i++) {
            const struct param *param =
                &list->params[model_tensor_index(&fixture->config, tensors[i], l)];
            memset(model_block(fixture->model) + param->offset, 0,
                   (size_t)param->count * sizeof(float));
        }
    }
    model_pack(fixture->model, false);
}

static void run_copying(struct fixture *fixture, int64_t exit)
{
    const int64_t L = fixture->config.num_hidden_layers;

    for (int64_t t = 0; t < T; t++) {
        model_decoder_put(fixture->decoder, fixture->tokens + t, 1);
        model_decoder_run(fixture->decoder, 0, exit);
        if (t % 3 == 2) {
            model_decoder_run(fixture->decoder, exit, L);
            head(fixture, t, 1);
        } else {
            model_decoder_copy(fixture->decoder, exit, L);
        }
        ck_assert_int_eq(model_decoder_reached(fixture->decoder, L - 1), t + 1);
    }
}

/* Where the skipped layers hand the stream on, its copy is what they would have seen. */
START_TEST(copy__is_exact_where_the_skipped_layers_add_nothing_and_only_there)
{
    const int64_t exit = 1;
    struct fixture fixture;

    open_fixture(&fixture, _i);
    run_whole(&fixture);
    run_copying(&fixture, exit);
    const int64_t row = 2 * fixture.config.vocab_size;
    ck_assert_mem_ne(fixture.found + row, fixture.want + row, sizeof(float) * 4);

    silence(&fixture, exit);
    run_whole(&fixture);
    model_decoder_cut(fixture.decoder, 0);
    run_copying(&fixture, exit);
    for (int64_t t = 2; t < T; t += 3) {
        check_rows(&fixture, t, 1);
    }
    close_fixture(&fixture);
}
END_TEST

START_TEST(macs__counts_what_was_computed)
{
    struct fixture fixture;

    open_fixture(&fixture, _i);
    const int64_t L = fixture.config.num_hidden_layers, D = fixture.config.hidden_size;
    const int64_t F = fixture.config.intermediate_size, V = fixture.config.vocab_size;
    const int64_t linear = 4 * D * D + 2 * D * F;
    model_decoder_put(fixture.decoder, fixture.tokens, 3);
    model_decoder_run(fixture.decoder, 0, 1);
    int64_t macs = 3 * linear + 2 * D * (1 + 2 + 3);
    ck_assert_int_eq(model_decoder_macs(fixture.decoder), macs);
    model_decoder_run(fixture.decoder, 0, 1); /* nothing to do */
    model_decoder_copy(fixture.decoder, 1, L);
    macs += (L - 1) * 3 * 2 * D * D;
    ck_assert_int_eq(model_decoder_macs(fixture.decoder), macs);
    head(&fixture, 1, 2);
    ck_assert_int_eq(model_decoder_macs(fixture.decoder), macs + 2 * V * D);
    close_fixture(&fixture);
}
END_TEST

START_TEST(open__refuses_what_is_no_language_model)
{
    struct fixture fixture;
    struct model_decoder *none = NULL;
    char text[400];

    open_fixture(&fixture, _i);
    struct model_config config = fixture.config;
    config.ties_classifier = false;
    config.num_labels = 2;
    struct model *model = model_case_open(&config, MODEL_CASE_PORTABLE);
    ck_assert_int_eq(model_decoder_open(model, T, &none), ERR_CONFIG);
    err_text(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "the model is no language model"));
    err_clear();
    model_close(model);
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model_decoder");
    TCase *tcase = tcase_create("decoder");

    tcase_add_loop_test(tcase, run__gives_the_bits_of_a_whole_pass_in_pieces_of_any_size, 0,
                        case_count());
    tcase_add_loop_test(tcase, run__catches_up_with_what_was_left_behind_bit_by_bit, 0,
                        case_count());
    tcase_add_loop_test(tcase, cut__leaves_nothing_of_tokens_that_were_refused, 0, case_count());
    tcase_add_loop_test(tcase, copy__is_exact_where_the_skipped_layers_add_nothing_and_only_there,
                        0, case_count());
    tcase_add_loop_test(tcase, macs__counts_what_was_computed, 0, case_count());
    tcase_add_loop_test(tcase, open__refuses_what_is_no_language_model, 0, 1);
    suite_add_tcase(suite, tcase);
    return suite;
}
