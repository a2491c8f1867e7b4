/*
 * Unit tests of trainer/kernels/kern_rows_portable.c and kern_gate_portable.c: what models and exits,
 * which have oracles of their own, do not show.
 */
#include <check.h>
#include <math.h>
#include <string.h>

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
    suite_add_tcase(suite, tcase);
    return suite;
}
