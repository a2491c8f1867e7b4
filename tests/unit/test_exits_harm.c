/* Unit tests of exits/exits_harm.c. */
#include <check.h>

#include "exits/exits_harm.h"
#include "tests/support/test_suite.h"

START_TEST(harm__counts_by_class_what_leaving_early_loses_and_gains)
{
    enum { N = 6, G = 1, K = 3 };
    const uint8_t correct[N][G + 1] = {{0, 1}, {1, 0}, {1, 1}, {0, 0}, {0, 1}, {0, 1}};
    const int32_t labels[N] = {0, 0, 0, 2, 2, 2}, chosen[N] = {0, 0, 0, 0, 0, 1};
    struct exits_harm harm[K];
    const struct exits_harm first = {3, 2, 2, 1, 1}, last = {3, 2, 1, 1, 0}, none = {0};

    exits_harm(chosen, correct[0], labels, N, G, K, harm);
    ck_assert_mem_eq(&harm[0], &first, sizeof(first));
    ck_assert_mem_eq(&harm[1], &none, sizeof(none));
    ck_assert_mem_eq(&harm[2], &last, sizeof(last));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_harm");
    TCase *tcase = tcase_create("exits_harm");

    tcase_add_test(tcase, harm__counts_by_class_what_leaving_early_loses_and_gains);
    suite_add_tcase(suite, tcase);
    return suite;
}
