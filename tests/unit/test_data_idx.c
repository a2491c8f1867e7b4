/* Unit tests of data/data_idx.c. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "data/data_idx.h"
#include "tests/support/test_suite.h"

/* Two images of 3 x 2, values 1..12. */
static const uint8_t valid[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3,  0,  0,
                                0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void refuses(const uint8_t *bytes, size_t count, int dims, const char *part)
{
    struct data_idx idx = {.dims = -1};
    char text[512];

    ck_assert_int_eq(data_idx_parse(bytes, count, dims, "images", &idx), ERR_CORRUPT);
    ck_assert_int_eq(idx.dims, -1);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" lacks \"%s\"", text, part);
}

START_TEST(parse__gives_sizes_and_values)
{
    struct data_idx idx;

    ck_assert_int_eq(data_idx_parse(valid, sizeof(valid), 3, "images", &idx), ERR_OK);
    ck_assert_int_eq(idx.dims, 3);
    ck_assert_int_eq(idx.sizes[0], 2);
    ck_assert_int_eq(idx.sizes[1], 3);
    ck_assert_int_eq(idx.sizes[2], 2);
    ck_assert_int_eq(idx.value_count, 12);
    ck_assert_ptr_eq(idx.values, valid + 16);
}
END_TEST

START_TEST(parse__refuses_every_truncation)
{
    for (size_t count = 0; count < sizeof(valid); count++) {
        refuses(valid, count, 3, "images: truncated");
    }
    refuses(NULL, 0, 1, "0 bytes, expected a header of 8");
    refuses(valid, 27, 3, "11 values, expected 2 x 3 x 2");
}
END_TEST

START_TEST(parse__refuses_trailing_bytes)
{
    uint8_t longer[sizeof(valid) + 1] = {0};

    memcpy(longer, valid, sizeof(valid));
    refuses(longer, sizeof(longer), 3, "13 values, expected 2 x 3 x 2: 1 trailing bytes");
}
END_TEST

START_TEST(parse__refuses_another_magic_type_or_number_of_dimensions)
{
    uint8_t changed[sizeof(valid)];

    for (size_t at = 0; at < 4; at++) {
        memcpy(changed, valid, sizeof(valid));
        changed[at] ^= 1;
        refuses(changed, sizeof(changed), 3, "expected 0x00000803");
    }
    refuses(valid, sizeof(valid), 1, "magic 0x00000803, expected 0x00000801");
}
END_TEST

START_TEST(parse__refuses_a_size_of_zero)
{
    uint8_t changed[sizeof(valid)];

    for (size_t at = 7; at <= 15; at += 4) {
        memcpy(changed, valid, sizeof(valid));
        changed[at] = 0;
        refuses(changed, sizeof(changed), 3, "at least one");
    }
}
END_TEST

START_TEST(parse__refuses_a_promise_beyond_all_memory)
{
    uint8_t changed[sizeof(valid)];

    memcpy(changed, valid, sizeof(valid));
    memset(changed + 4, 0xff, 12); /* (2^32 - 1)^3 overflows 64 bits */
    refuses(changed, sizeof(changed), 3,
            "12 values, expected 4294967295 x 4294967295 x 4294967295");
    /* 2^21 * 2^22 * 2^21 is 0 modulo 2^64. */
    memcpy(changed + 4, (const uint8_t[]){0, 32, 0, 0, 0, 64, 0, 0, 0, 32, 0, 0}, 12);
    refuses(changed, sizeof(changed), 3, "truncated: 12 values");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_idx");
    TCase *tcase = tcase_create("data_idx");

    tcase_add_test(tcase, parse__gives_sizes_and_values);
    tcase_add_test(tcase, parse__refuses_every_truncation);
    tcase_add_test(tcase, parse__refuses_trailing_bytes);
    tcase_add_test(tcase, parse__refuses_another_magic_type_or_number_of_dimensions);
    tcase_add_test(tcase, parse__refuses_a_size_of_zero);
    tcase_add_test(tcase, parse__refuses_a_promise_beyond_all_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
