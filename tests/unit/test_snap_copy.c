/* Unit tests of snapshot/snap_copy.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_copy.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/test_suite.h"

enum { BYTES = 1 << 14, LINE = 64, AROUND = 0xa5 };

START_TEST(copy__is_that_of_memcpy_for_every_length_and_source)
{
    static const size_t lengths[] = {0, 1, 63, 64, 65, 127, 128, 4096, 4097, BYTES - LINE};
    uint8_t *from = aligned_alloc(LINE, BYTES);
    uint8_t *to = aligned_alloc(LINE, BYTES);

    ck_assert_ptr_nonnull(from);
    ck_assert_ptr_nonnull(to);
    bytes_from_seed(from, BYTES, (uint64_t)_i);
    for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
        memset(to, AROUND, BYTES);
        snap_copy_past_caches(to, from + _i, lengths[l]);
        ck_assert_int_eq(memcmp(to, from + _i, lengths[l]), 0);
        size_t at = lengths[l];
        while (at < BYTES && to[at] == AROUND) {
            at++;
        }
        ck_assert_uint_eq(at, BYTES); /* nothing beyond */
    }
    free(from);
    free(to);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_copy");
    TCase *tcase = tcase_create("snap_copy");

    tcase_add_loop_test(tcase, copy__is_that_of_memcpy_for_every_length_and_source, 0, LINE);
    suite_add_tcase(suite, tcase);
    return suite;
}
