/* Unit tests of exits/exits_equilibrium.c: against the rescaling of the stream, as published. */
#include <check.h>

#include <stdlib.h>
#include <string.h>

#include "exits/exits_equilibrium.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"

enum { L = 4 };

static const double TOLERANCE = 1e-9;

/* Blocks are x -> x, exits behind all of them with slopes 1, 10, 100, 1000. */
START_TEST(share__gives_the_published_gradients_of_a_chain)
{
    static const int64_t layers[L - 1] = {0, 1, 2};
    static const double slopes[L] = {1, 10, 100, 1000}, expected[L] = {277.75, 370, 550, 1000};
    double sum = 0, rescaled = 0;

    for (int l = L - 1; l >= 0; l--) {
        const double n = L - l; /* exits behind the block */
        sum += slopes[l];
        rescaled = slopes[l] / n + rescaled * (n - 1) / n;
        ck_assert_double_eq_tol(rescaled, expected[l], TOLERANCE);
        ck_assert_double_eq_tol(sum * exits_equilibrium_share(layers, L - 1, l), expected[l],
                                TOLERANCE);
    }
}
END_TEST

START_TEST(share__counts_exits_behind_a_layer_and_the_end)
{
    static const int64_t layers[2] = {1, 3};
    static const double expected[] = {1.0 / 3, 1.0 / 3, 1.0 / 3, .5, .5, 1, 1};

    for (int64_t layer = -1; layer < 6; layer++) {
        ck_assert_double_eq_tol(exits_equilibrium_share(layers, 2, layer), expected[layer + 1],
                                TOLERANCE);
    }
}
END_TEST

/* Exits behind the first and the third layer of four. */
START_TEST(apply__gives_every_tensor_the_share_of_its_layer)
{
    static const int64_t layers[2] = {0, 2};
    static const struct model_config config = {.image_size = 8,
                                               .patch_size = 4,
                                               .num_channels = 1,
                                               .hidden_size = 12,
                                               .num_hidden_layers = L,
                                               .num_attention_heads = 3,
                                               .intermediate_size = 10,
                                               .num_labels = 5,
                                               .layer_norm_eps = 1e-6,
                                               .initializer_range = 0.02,
                                               .hidden_act = KERN_GELU_TANH};
    int seen = 0;

    for (int which = 0; which < model_case_ops_count(); which++) {
        struct model *model = model_case_open(&config, (enum model_case_ops)which);
        const struct param_list *params = model_params(model);
        float *gradients = malloc((size_t)params->block_elems * sizeof(float));
        ck_assert_ptr_nonnull(gradients);
        for (int64_t i = 0; i < params->block_elems; i++) {
            gradients[i] = (float)(i + 1);
        }
        exits_equilibrium_apply(model_ops(model), layers, 2, params, gradients);
        for (int64_t t = 0; t < params->count; t++) {
            const struct param *param = &params->params[t];
            const char *digit = strstr(param->name, "layer.");
            const bool is_before = strstr(param->name, "embeddings") != NULL;
            const int layer = digit != NULL ? digit[6] - '0' : is_before ? -1 : L;
            const double share = layer <= 0 ? 1.0 / 3 : layer <= 2 ? 0.5 : 1;
            for (int64_t i = param->offset; i < param->offset + param->count; i++) {
                ck_assert(kern_is_close((double)gradients[i], share * (double)(i + 1), 1e-6));
            }
            seen |= 1 << (layer + 1);
        }
        free(gradients);
        model_close(model);
    }
    ck_assert_int_eq(seen, (1 << (L + 2)) - 1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_equilibrium");
    TCase *tcase = tcase_create("exits_equilibrium");

    tcase_add_test(tcase, share__gives_the_published_gradients_of_a_chain);
    tcase_add_test(tcase, share__counts_exits_behind_a_layer_and_the_end);
    tcase_add_test(tcase, apply__gives_every_tensor_the_share_of_its_layer);
    suite_add_tcase(suite, tcase);
    return suite;
}
