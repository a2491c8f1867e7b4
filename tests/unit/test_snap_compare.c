/* Unit tests of snapshot/snap_compare.h. */
#include <check.h>

#include "snapshot/snap_compare.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = 16 };

/* One letter a rank; the same letter is the same hash. */
static void expect(const char *letters, const char *expected)
{
    struct hash hashes[RANKS_MAX];
    char text[256] = "";
    int count = 0;

    for (; letters[count] != '\0'; count++) {
        ck_assert_int_lt(count, RANKS_MAX);
        hashes[count] = (struct hash){5, (uint64_t)letters[count]}; /* they differ in one half */
    }
    const bool is_same = snap_compare(hashes, count, text, sizeof(text));
    ck_assert_int_eq(is_same, expected == NULL);
    ck_assert_str_eq(text, expected == NULL ? "" : expected);
}

START_TEST(compare__is_content_with_equal_hashes)
{
    expect("a", NULL);
    expect("aa", NULL);
    expect("bbbbb", NULL);
}
END_TEST

START_TEST(compare__names_who_is_not_of_the_majority)
{
    expect("aab", "rank 2 differs from that of the other 2 ranks");
    expect("baa", "rank 0 differs from that of the other 2 ranks");
    expect("aaba", "rank 2 differs from that of the other 3 ranks");
    expect("abaac", "ranks 1, 4 differs from that of the other 3 ranks");
    expect("bcaaa", "ranks 0, 1 differs from that of the other 3 ranks");
}
END_TEST

START_TEST(compare__tells_when_no_majority_is_there)
{
    expect("ab", "rank 1 differs from that of rank 0, and no majority tells which is right");
    expect("aabb", "ranks 2, 3 differs from that of rank 0, and no majority tells which is right");
    expect("abc", "ranks 1, 2 differs from that of rank 0, and no majority tells which is right");
    expect("abbc",
           "ranks 1, 2, 3 differs from that of rank 0, and no majority tells which is right");
}
END_TEST

START_TEST(compare__names_a_few_of_many)
{
    expect("abcdefghijklmnop", "ranks 1, 2, 3, 4, 5, 6, 7, 8 and 7 more differs from that of rank "
                               "0, and no majority tells which is right");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_compare");
    TCase *tcase = tcase_create("snap_compare");

    tcase_add_test(tcase, compare__is_content_with_equal_hashes);
    tcase_add_test(tcase, compare__names_who_is_not_of_the_majority);
    tcase_add_test(tcase, compare__tells_when_no_majority_is_there);
    tcase_add_test(tcase, compare__names_a_few_of_many);
    suite_add_tcase(suite, tcase);
    return suite;
}
