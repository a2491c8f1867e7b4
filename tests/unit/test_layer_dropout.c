/* Unit tests of trainer/step/layer_dropout.c. */
#include <check.h>
#include <math.h>

#include "tests/support/test_suite.h"
#include "trainer/step/layer_dropout.h"

START_TEST(rate__agrees_with_a_worked_example)
{
    static const double expected[] = {0, .0378414230, .0828427125, .1363585661, .2};

    for (int l = 0; l < 5; l++) {
        ck_assert_double_eq_tol(layer_dropout_rate(.2, l, 5), expected[l], 1e-9);
    }
    ck_assert(layer_dropout_rate(.2, 0, 1) == 0);
    ck_assert(layer_dropout_rate(0, 4, 5) == 0);
}
END_TEST

START_TEST(draw__leaves_layers_out_as_often_as_their_rate_says)
{
    enum { L = 4, DRAWS = 20000 };
    int counts[L] = {0}, both = 0;
    bool skips[L];

    for (uint64_t micro = 0; micro < DRAWS; micro++) {
        layer_dropout_draw(11, micro, .6, L, skips);
        for (int l = 0; l < L; l++) {
            counts[l] += skips[l];
        }
        both += skips[2] && skips[3];
    }
    ck_assert_int_eq(counts[0], 0);
    for (int l = 1; l < L; l++) {
        const double rate = layer_dropout_rate(.6, l, L);
        ck_assert_double_eq_tol(counts[l] / (double)DRAWS, rate, 5 * sqrt(rate / DRAWS));
    }
    const double rate = layer_dropout_rate(.6, 2, L) * .6; /* each layer for itself */
    ck_assert_double_eq_tol(both / (double)DRAWS, rate, 5 * sqrt(rate / DRAWS));
}
END_TEST

START_TEST(draw__is_a_function_of_seed_and_micro_batch)
{
    enum { L = 64 };
    bool first[L], again[L], other[2][L];
    int differing[2] = {0};

    layer_dropout_draw(5, 1000, .9, L, first);
    layer_dropout_draw(5, 1000, .9, L, again);
    layer_dropout_draw(5, 1001, .9, L, other[0]);
    layer_dropout_draw(6, 1000, .9, L, other[1]);
    for (int l = 0; l < L; l++) {
        ck_assert(first[l] == again[l]);
        differing[0] += first[l] != other[0][l];
        differing[1] += first[l] != other[1][l];
    }
    ck_assert_int_gt(differing[0], 3);
    ck_assert_int_gt(differing[1], 3);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("layer_dropout");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, rate__agrees_with_a_worked_example);
    tcase_add_test(tcase, draw__leaves_layers_out_as_often_as_their_rate_says);
    tcase_add_test(tcase, draw__is_a_function_of_seed_and_micro_batch);
    suite_add_tcase(suite, tcase);
    return suite;
}
