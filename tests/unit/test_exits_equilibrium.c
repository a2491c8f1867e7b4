/* Unit tests of exits/exits_equilibrium.c: against the rescaling of the stream, as published. */
#include <check.h>

#include "exits/exits_equilibrium.h"
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

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_equilibrium");
    TCase *tcase = tcase_create("exits_equilibrium");

    tcase_add_test(tcase, share__gives_the_published_gradients_of_a_chain);
    tcase_add_test(tcase, share__counts_exits_behind_a_layer_and_the_end);
    suite_add_tcase(suite, tcase);
    return suite;
}
