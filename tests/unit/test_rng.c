/* Unit tests of comm/base/rng.c. */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "tests/support/test_suite.h"

START_TEST(words__match_the_known_answers_of_philox4x32_10)
{
    uint32_t words[4];

    /* Random123's kat_vectors: counter and key all zero, and all ones. */
    rng_words(0, (enum rng_use)0, 0, 0, words);
    ck_assert_uint_eq(words[0], 0x6627e8d5u);
    ck_assert_uint_eq(words[1], 0xe169c58du);
    ck_assert_uint_eq(words[2], 0xbc57ac4cu);
    ck_assert_uint_eq(words[3], 0x9b00dbd8u);
    rng_words(UINT64_MAX, (enum rng_use)0xffffffffu, UINT64_MAX, UINT32_MAX, words);
    ck_assert_uint_eq(words[0], 0x408f276du);
    ck_assert_uint_eq(words[1], 0x41c83b0eu);
    ck_assert_uint_eq(words[2], 0xa20bc7c6u);
    ck_assert_uint_eq(words[3], 0x6d5451fdu);
}
END_TEST

START_TEST(normal__has_mean_0_and_variance_1)
{
    enum { DRAWS = 100000 };
    double sum = 0, squares = 0;

    for (uint64_t i = 0; i < DRAWS; i++) {
        const double x = rng_normal(1, RNG_TEST, i, 0);
        sum += x;
        squares += x * x;
    }
    ck_assert_double_lt(fabs(sum / DRAWS), 0.015); /* 4.7 standard errors */
    ck_assert_double_lt(fabs(squares / DRAWS - 1), 0.02);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("rng");
    TCase *tcase = tcase_create("rng");

    tcase_add_test(tcase, words__match_the_known_answers_of_philox4x32_10);
    tcase_add_test(tcase, normal__has_mean_0_and_variance_1);
    suite_add_tcase(suite, tcase);
    return suite;
}
