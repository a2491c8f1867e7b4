/* Unit tests of comm/base/hash.c. */
#include <check.h>

#include "comm/base/hash.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

START_TEST(text__is_what_xxhsum_prints)
{
    char text[HASH_TEXT_BYTES];

    /* `printf '' | xxhsum -H2` and `printf abc | xxhsum -H2`. */
    hash_text(hash_bytes("", 0), text);
    ck_assert_str_eq(text, "99aa06d3014798d86001c324468d497f");
    hash_text(hash_bytes("abc", 3), text);
    ck_assert_str_eq(text, "06b05ab6733a618578af5f94892f3950");
}
END_TEST

START_TEST(bytes__hash_alike_on_every_cpu_when_they_are_many)
{
    uint8_t bytes[5000];
    char text[HASH_TEXT_BYTES];

    bytes_from_seed(bytes, sizeof(bytes), 7);
    hash_text(hash_bytes(bytes, sizeof(bytes)), text); /* what `xxhsum -H2` prints of them */
    ck_assert_str_eq(text, "e87eebd707744a37da9482429a2b65dc");
}
END_TEST

START_TEST(close__gives_the_hash_of_all_pieces_together)
{
    enum { COUNT = 5000 };
    static const size_t cuts[] = {0, 1, 1, 64, 1023, 4096, COUNT};
    uint8_t bytes[COUNT];
    struct hash_state *state = NULL;

    bytes_from_seed(bytes, COUNT, 7);
    EXPECT_OK(hash_open(&state));
    for (size_t i = 0; i + 1 < sizeof(cuts) / sizeof(cuts[0]); i++) {
        hash_add(state, bytes + cuts[i], cuts[i + 1] - cuts[i]);
    }
    const struct hash pieces = hash_close(state);
    const struct hash whole = hash_bytes(bytes, COUNT);
    ck_assert_uint_eq(pieces.low, whole.low);
    ck_assert_uint_eq(pieces.high, whole.high);
    bytes[COUNT - 1] ^= 1;
    ck_assert_uint_ne(hash_bytes(bytes, COUNT).low, whole.low);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("hash");
    TCase *tcase = tcase_create("hash");

    tcase_add_test(tcase, text__is_what_xxhsum_prints);
    tcase_add_test(tcase, bytes__hash_alike_on_every_cpu_when_they_are_many);
    tcase_add_test(tcase, close__gives_the_hash_of_all_pieces_together);
    suite_add_tcase(suite, tcase);
    return suite;
}
