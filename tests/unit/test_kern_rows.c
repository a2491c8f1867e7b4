/*
 * Unit tests of trainer/kernels/kern_rows_portable.c and kern_gate_*.c: what models and exits,
 * which have oracles of their own, do not show.
 */
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/support/bytes_from_seed.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_gate.h"
#include "trainer/kernels/kern_rows.h"

START_TEST(rows__are_copied_and_added_within_their_strides)
{
    const float from[] = {1, 2, 9, 3, 4, 9, 5, 6, 9};
    float to[12];

    for (int i = 0; i < 12; i++) {
        to[i] = 7;
    }
    kern_copy_rows_portable(to, 4, from, 3, 3, 2);
    kern_add_rows_portable(to + 2, 4, from, 3, 0.5f, 3, 1);
    const float expected[] = {1, 2, 7.5f, 7, 3, 4, 8.5f, 7, 5, 6, 9.5f, 7};
    ck_assert_mem_eq(to, expected, sizeof(expected));
    kern_zero_portable(to + 1, 2);
    ck_assert(to[0] == 1 && to[1] == 0 && to[2] == 0 && to[3] == 7);
}
END_TEST

START_TEST(gather_rows__takes_rows_in_the_order_of_the_index)
{
    const float from[] = {0, 1, 9, 10, 11, 9, 20, 21, 9};
    const uint32_t index[] = {2, 0, 2};
    const float expected[] = {20, 21, 0, 1, 20, 21};
    float to[6];

    kern_gather_rows_portable(to, from, 3, index, 3, 2);
    ck_assert_mem_eq(to, expected, sizeof(expected));
    kern_gather_rows_portable(to, from, 3, index, 0, 2);
    ck_assert_mem_eq(to, expected, sizeof(expected));
}
END_TEST

START_TEST(keep_rows__moves_the_rest_together)
{
    const uint32_t index[] = {0, 2, 3};
    float rows[] = {0, 1, 10, 11, 20, 21, 30, 31}, scratch[6];

    kern_keep_rows_portable(rows, scratch, index, 3, 2);
    const float expected[] = {0, 1, 20, 21, 30, 31};
    ck_assert_int_eq(memcmp(rows, expected, sizeof(expected)), 0);
}
END_TEST

START_TEST(mean__leaves_the_class_token_out_both_ways)
{
    const float x[] = {100, 100, 1, 2, 3, 5}; /* one sample, three tokens of two */
    const float dmean[] = {4, 8};
    float mean[2], dx[] = {1, 1, 1, 1, 1, 1};

    kern_mean_forward_portable(mean, x, 1, 3, 2);
    ck_assert(mean[0] == 2 && mean[1] == 3.5f);
    kern_mean_backward_portable(dx, dmean, 1, 3, 2);
    const float expected[] = {1, 1, 3, 5, 3, 5};
    ck_assert_int_eq(memcmp(dx, expected, sizeof(expected)), 0);
}
END_TEST

START_TEST(tally__adds_to_what_is_there)
{
    const float loss[] = {0.5f, 0.25f, 2};
    const int32_t predicted[] = {1, 0, 3}, label[] = {1, 2, 3};
    float sum = 1, correct = 10;

    kern_tally_portable(&sum, &correct, loss, predicted, label, 3);
    ck_assert(sum == 3.75f && correct == 12);
}
END_TEST

START_TEST(gate__scales_the_entropies_and_accumulates_in_the_order_of_samples)
{
    float up[] = {1, 0, 0, 0, 0, 1, 0, 0}, up_bias[] = {0, -1}, out[] = {2, 3}, bias = 0.5f;
    const struct kern_gate gate = {2, up, up_bias, out, &bias};
    float features[] = {0.5f, 4, 0.25f, 8}, relu[2], a;
    float dup[8], dup_bias[2], dout[2], dbias;
    const struct kern_gate gradients = {2, dup, dup_bias, dout, &dbias};
    const float da = 2;

    kern_gate_forward_portable(&a, relu, features, 0.5f, &gate, 1);
    ck_assert(features[1] == 2 && features[3] == 4 && features[0] == 0.5f);
    ck_assert(relu[0] == 0.5f && relu[1] == 1);
    ck_assert(a == 0.5f + 1 + 3);
    for (int round = 1; round <= 2; round++) {
        kern_gate_backward_portable(&gradients, &da, relu, features, &gate, 1, round > 1);
        ck_assert(dbias == (float)(2 * round) && dout[0] == (float)round &&
                  dout[1] == (float)(2 * round));
        ck_assert(dup_bias[0] == (float)(4 * round) && dup_bias[1] == (float)(6 * round));
        ck_assert(dup[0] == (float)(2 * round) && dup[5] == (float)(12 * round));
    }
    const struct kern_gate linear = {0, NULL, NULL, up + 4, &bias};
    kern_gate_forward_portable(&a, NULL, features, 1, &linear, 1);
    ck_assert(a == 2.5f);
    const struct kern_gate linear_gradients = {0, NULL, NULL, dup, &dbias};
    kern_gate_backward_portable(&linear_gradients, &da, NULL, features, &linear, 1, false);
    ck_assert(dup[0] == 1 && dup[1] == 4 && dup[2] == 0.5f && dup[3] == 8 && dbias == 2);
}
END_TEST

enum { GATE_SAMPLES = 29, GATE_HIDDEN_MOST = 19, GATE_FEATURES = 4 };

/* -1 .. 1, some of them 0. */
static void fill(float *values, int64_t count, uint64_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        uint8_t byte;
        bytes_from_seed(&byte, 1, seed + (uint64_t)i);
        values[i] = ((float)byte - 128) / 127.3f;
    }
}

/* Everything that a pass over a gate writes. */
struct gate_pass {
    float a[GATE_SAMPLES], relu[GATE_SAMPLES * GATE_HIDDEN_MOST],
        features[GATE_SAMPLES * GATE_FEATURES];
    float up[GATE_HIDDEN_MOST * GATE_FEATURES], up_bias[GATE_HIDDEN_MOST],
        out[GATE_HIDDEN_MOST + GATE_FEATURES], bias;
};

static void run_gate(kern_gate_forward_fn *forward, kern_gate_backward_fn *backward, int64_t hidden,
                     int64_t samples, struct gate_pass *pass)
{
    float up[GATE_HIDDEN_MOST * GATE_FEATURES], up_bias[GATE_HIDDEN_MOST],
        out[GATE_HIDDEN_MOST + GATE_FEATURES], bias = 0.3f, da[GATE_SAMPLES];
    const struct kern_gate gate = {hidden, up, up_bias, out, &bias};
    const struct kern_gate gradients = {hidden, pass->up, pass->up_bias, pass->out, &pass->bias};

    fill(up, GATE_HIDDEN_MOST * GATE_FEATURES, 1000);
    fill(up_bias, GATE_HIDDEN_MOST, 2000);
    fill(out, GATE_HIDDEN_MOST + GATE_FEATURES, 3000);
    fill(da, GATE_SAMPLES, 4000);
    memset(pass, 0x55, sizeof(*pass)); /* what nobody writes stays */
    fill(pass->features, GATE_SAMPLES * GATE_FEATURES, 5000);
    for (int round = 0; round < 2; round++) {
        forward(pass->a, pass->relu, pass->features, 0.43f, &gate, samples);
        backward(&gradients, da, pass->relu, pass->features, &gate, samples, round > 0);
    }
}

START_TEST(gate__has_the_bits_of_the_definition)
{
    static const int64_t sizes[] = {0, 1, 3, 8, 16, 19};
    static const int64_t samples[] = {0, 1, 7, 8, 16, 29};
    struct gate_pass expected, found;

    for (int i = 0; i < 36 && kern_version_count() > 1; i++) {
        const int64_t hidden = sizes[i % 6], n = samples[i / 6];
        run_gate(kern_gate_forward_portable, kern_gate_backward_portable, hidden, n, &expected);
        run_gate(kern_gate_forward_avx2, kern_gate_backward_avx2, hidden, n, &found);
        ck_assert_msg(memcmp(&expected, &found, sizeof(found)) == 0, "%d hidden, %d samples",
                      (int)hidden, (int)n);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_rows");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, rows__are_copied_and_added_within_their_strides);
    tcase_add_test(tcase, gather_rows__takes_rows_in_the_order_of_the_index);
    tcase_add_test(tcase, keep_rows__moves_the_rest_together);
    tcase_add_test(tcase, mean__leaves_the_class_token_out_both_ways);
    tcase_add_test(tcase, tally__adds_to_what_is_there);
    tcase_add_test(tcase, gate__scales_the_entropies_and_accumulates_in_the_order_of_samples);
    tcase_add_test(tcase, gate__has_the_bits_of_the_definition);
    suite_add_tcase(suite, tcase);
    return suite;
}
