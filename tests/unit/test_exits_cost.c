/* Unit tests of exits/exits_cost.c. */
#include <check.h>
#include <math.h>

#include "exits/exits_cost.h"
#include "tests/support/test_suite.h"

enum { G = 5 };

static const int64_t all_but_the_last[G] = {0, 1, 2, 3, 4};

/* Six blocks of width 128 on 28 x 28 images in patches of 4 x 4. */
static struct exits_cost_shape shape_of_d6_128(void)
{
    return (struct exits_cost_shape){
        .tokens = 50,
        .width = 128,
        .intermediate = 512,
        .layers = 6,
        .patches = 49,
        .patch_inputs = 16,
        .classes = 10,
        .exit_count = G,
        .exit_layers = all_but_the_last,
    };
}

START_TEST(cost__is_cumulative_over_blocks_and_heads)
{
    const double expected_millions[G + 1] = {10.57, 21.04, 31.52, 41.99, 52.46, 62.93};
    const double expected_shares[G + 1] = {.168, .334, .501, .667, .834, 1};
    const struct exits_cost_shape shape = shape_of_d6_128();
    int64_t macs[G + 1];
    double shares[G + 1];

    exits_cost(&shape, macs);
    exits_cost_shares(macs, G, shares);
    for (int l = 0; l <= G; l++) {
        ck_assert_double_eq_tol((double)macs[l] / 1e6, expected_millions[l], .005);
        ck_assert_double_eq_tol(shares[l], expected_shares[l], .0005);
    }
    ck_assert_int_eq(macs[0], 49 * 16 * 128 + 10470400 + 1280);
    ck_assert_double_eq(shares[G], 1);
}
END_TEST

START_TEST(block__agrees_with_a_published_transformer)
{
    /* T2T-ViT-7 at 224 pixels: 197 tokens, width 256, MLP of 512. */
    ck_assert_double_eq_tol((double)exits_cost_block(197, 256, 512) / 1e6, 123.2, .05);
}
END_TEST

START_TEST(cost__counts_the_gates_of_all_exits_that_were_passed)
{
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t without[G + 1], with[G + 1];

    exits_cost(&shape, without);
    shape.has_gates = true;
    exits_cost(&shape, with);
    for (int l = 0; l <= G; l++) {
        const int64_t passed = l < G ? l + 1 : G;
        ck_assert_int_eq(with[l] - without[l], passed * 96); /* 9 K + 6 */
    }
    shape.gate = EXITS_GATE_MLP;
    shape.gate_hidden = 16;
    exits_cost(&shape, with);
    ck_assert_int_eq(with[0] - without[0], 91 + 5 * 16 + 17);
    shape.gate = EXITS_GATE_HIDDEN_MLP; /* no features, but the stream of 128 */
    exits_cost(&shape, with);
    ck_assert_int_eq(with[0] - without[0], 129 * 16 + 17);
    shape.gate = EXITS_GATE_SHARED;
    exits_cost(&shape, with);
    ck_assert_int_eq(with[1] - without[1], 2 * 129);
    shape.gate = EXITS_GATE_NONE;
    exits_cost(&shape, with);
    ck_assert_mem_eq(with, without, sizeof(with));
    shape.gate = EXITS_GATE_LINEAR;
    shape.classes = 100;
    exits_cost(&shape, with);
    shape.has_gates = false;
    exits_cost(&shape, without);
    ck_assert_int_eq(with[0] - without[0], 906);
}
END_TEST

START_TEST(cost__counts_the_hidden_layer_of_a_head_at_exits_only)
{
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t linear[G + 1], mlp[G + 1];

    exits_cost(&shape, linear);
    shape.head = EXITS_HEAD_NORM_LINEAR;
    exits_cost(&shape, mlp);
    ck_assert_mem_eq(mlp, linear, sizeof(mlp));
    shape.head = EXITS_HEAD_NORM_MLP;
    shape.head_hidden = 64;
    exits_cost(&shape, mlp);
    const int64_t more = 128 * 64 + 64 * 10 - 1280;
    ck_assert_int_eq(mlp[0] - linear[0], more);
    ck_assert_int_eq(mlp[G] - linear[G], G * more);
}
END_TEST

START_TEST(cost__counts_what_heads_make_of_those_before)
{
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t plain[G + 1], boosted[G + 1];

    exits_cost(&shape, plain);
    shape.heads = EXITS_HEADS_BOOSTED;
    exits_cost(&shape, boosted);
    for (int l = 0; l <= G; l++) {
        ck_assert_int_eq(boosted[l] - plain[l], 10 * (l < G ? l : G - 1));
    }
    shape.heads = EXITS_HEADS_CASCADED;
    shape.gate = EXITS_GATE_ENSEMBLE;
    exits_cost(&shape, boosted);
    ck_assert_int_eq(boosted[0] - plain[0], 20);
    ck_assert_int_eq(boosted[1] - plain[1], 20 + 100 + 30);
    ck_assert_int_eq(boosted[2] - plain[2], 20 + 100 + 30 + 100 + 40);
}
END_TEST

START_TEST(cost__saves_the_last_blocks_other_tokens_at_the_end_only)
{
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t whole[G + 1], pooled[G + 1];

    exits_cost(&shape, whole);
    shape.pools_last_block = true;
    exits_cost(&shape, pooled);
    ck_assert_mem_eq(pooled, whole, G * sizeof(whole[0]));
    /* Of 50 rows one asks, projects and passes the MLP; 2 T D of attention remain of 2 T^2 D. */
    const int64_t saved = 49 * (2 * 128 * 128 + 2 * 128 * 512) + 49 * 2 * 50 * 128;
    ck_assert_int_eq(whole[G] - pooled[G], saved);
    ck_assert_int_eq(exits_cost_block_pooled(1, 128, 512), exits_cost_block(1, 128, 512));
}
END_TEST

START_TEST(cost__of_a_token_is_its_share_of_the_blocks_and_a_head)
{
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t sample[G + 1], token[G + 1];

    shape.patches = 0;
    exits_cost(&shape, sample);
    shape.is_of_token = true;
    exits_cost(&shape, token);
    ck_assert_int_eq(token[0], 4 * 128 * 128 + 2 * 128 * 512 + 2 * 50 * 128 + 1280);
    for (int l = 0; l <= G; l++) {
        const int64_t heads = (l + 1) * 1280;
        ck_assert_int_eq(50 * (token[l] - heads), sample[l] - heads);
    }
}
END_TEST

START_TEST(cost__passes_layers_without_an_exit)
{
    const int64_t layers[] = {1, 4};
    struct exits_cost_shape shape = shape_of_d6_128();
    int64_t every[G + 1], some[3], none[1];

    exits_cost(&shape, every);
    shape.exit_count = 2;
    shape.exit_layers = layers;
    exits_cost(&shape, some);
    ck_assert_int_eq(some[0], every[1] - 1280);
    ck_assert_int_eq(some[1], every[4] - 3 * 1280);
    ck_assert_int_eq(some[2], every[G] - 3 * 1280);
    shape.exit_count = 0;
    exits_cost(&shape, none);
    ck_assert_int_eq(none[0], every[G] - 5 * 1280);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_cost");
    TCase *tcase = tcase_create("exits_cost");

    tcase_add_test(tcase, cost__is_cumulative_over_blocks_and_heads);
    tcase_add_test(tcase, block__agrees_with_a_published_transformer);
    tcase_add_test(tcase, cost__counts_the_gates_of_all_exits_that_were_passed);
    tcase_add_test(tcase, cost__counts_the_hidden_layer_of_a_head_at_exits_only);
    tcase_add_test(tcase, cost__saves_the_last_blocks_other_tokens_at_the_end_only);
    tcase_add_test(tcase, cost__of_a_token_is_its_share_of_the_blocks_and_a_head);
    tcase_add_test(tcase, cost__passes_layers_without_an_exit);
    tcase_add_test(tcase, cost__counts_what_heads_make_of_those_before);
    suite_add_tcase(suite, tcase);
    return suite;
}
