/* Unit tests of data/data_unicode.c. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "data/data_unicode.h"
#include "tests/support/test_suite.h"

/* The code points of `text`, a NUL-terminated one, in hexadecimal. */
static void reads(const char *text, const char *expected)
{
    char found[256] = "";
    size_t at = 0;

    while (at < strlen(text)) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof(found) - used, "%s%X", used == 0 ? "" : " ",
                 (unsigned)data_unicode_next(text, strlen(text), &at));
    }
    ck_assert_str_eq(found, expected);
}

START_TEST(next__reads_code_points_of_every_length)
{
    reads("A\x7F", "41 7F");
    reads("\xC2\x80\xDF\xBF", "80 7FF");
    reads("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", "800 D7FF E000 FFFF");
    reads("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", "10000 10FFFF");
}
END_TEST

/* Table 3-8 of the Unicode Standard, and what Python makes of the same bytes. */
START_TEST(next__replaces_every_maximal_part_of_what_is_not_utf8)
{
    reads("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD 41");
    reads("\xED\xA0\x80\xED\xBF\xBF\x41", "FFFD FFFD FFFD FFFD FFFD FFFD 41");
    reads("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "FFFD FFFD FFFD FFFD FFFD 41 FFFD FFFD 42");
    reads("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "FFFD FFFD FFFD FFFD 41");
    reads("\xE4\xB8", "FFFD");
    reads("\xF0\x9F\x98", "FFFD");
    reads("\xC3", "FFFD");
}
END_TEST

START_TEST(put__writes_what_next_reads)
{
    for (int32_t code = 0; code <= 0x10FFFF; code += code < 0x3000 ? 1 : 257) {
        char bytes[DATA_UNICODE_BYTES_MAX];
        size_t at = 0;
        if (code >= 0xD800 && code < 0xE000) {
            continue;
        }
        const size_t count = data_unicode_put(code, bytes);
        ck_assert_int_eq(data_unicode_next(bytes, count, &at), code);
        ck_assert_uint_eq(at, count);
    }
}
END_TEST

START_TEST(categories__are_those_of_the_standard)
{
    const int32_t spaces[] = {'\t',   '\n',   0xB,    '\f',   '\r',   ' ',    0x85,   0xA0,
                              0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
    int count = 0;

    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        ck_assert_msg(data_unicode_is_space(spaces[i]), "%X", (unsigned)spaces[i]);
    }
    for (int32_t code = 0; code <= 0x10FFFF; code++) {
        count += data_unicode_is_space(code);
    }
    ck_assert_int_eq(count, 25); /* PropList.txt: White_Space */
    ck_assert(data_unicode_is_letter(0xE9) && data_unicode_is_letter(0x4E2D));
    ck_assert(!data_unicode_is_letter('1') && !data_unicode_is_letter(0x301));
    ck_assert(data_unicode_is_number('7') && data_unicode_is_number(0xBD));
    ck_assert(data_unicode_is_number(0x2167) && !data_unicode_is_number('x'));
    ck_assert(data_unicode_is_mark(0x301) && !data_unicode_is_mark(0x93F)); /* Mn, Mc */
    ck_assert(data_unicode_is_punctuation('$') && data_unicode_is_punctuation('~'));
    ck_assert(data_unicode_is_punctuation(0x3001) && !data_unicode_is_punctuation(0x20AC));
    ck_assert(!data_unicode_is_punctuation(' ') && !data_unicode_is_punctuation('a'));
    ck_assert(data_unicode_is_control(0x200D) && data_unicode_is_control(0xE000));
    ck_assert(data_unicode_is_control(0) && !data_unicode_is_control(0x378)); /* not assigned */
}
END_TEST

START_TEST(decompose__is_canonical_and_complete)
{
    int32_t codes[DATA_UNICODE_DECOMPOSED_MAX];

    ck_assert_int_eq(data_unicode_decompose(0x1F82, codes), 4); /* alpha and three marks */
    ck_assert_int_eq(codes[0], 0x3B1);
    ck_assert_int_eq(codes[3], 0x345);
    ck_assert_int_eq(data_unicode_decompose(0xAC01, codes), 3); /* Hangul */
    ck_assert_int_eq(codes[2], 0x11A8);
    ck_assert_int_eq(data_unicode_decompose(0xFB01, codes), 1); /* a compatibility ligature */
    ck_assert_int_eq(codes[0], 0xFB01);
    ck_assert_int_eq(data_unicode_combining_class(0x323), 220);
    ck_assert_int_eq(data_unicode_combining_class('a'), 0);
    int too_many = 0;
    for (int32_t code = 0; code <= 0x10FFFF; code++) { /* the bound is asserted inside */
        if (code < 0xD800 || code >= 0xE000) {
            too_many += data_unicode_decompose(code, codes) < 1;
        }
    }
    ck_assert_int_eq(too_many, 0);
}
END_TEST

START_TEST(lower__knows_the_letter_whose_lower_case_is_two)
{
    int32_t codes[DATA_UNICODE_LOWER_MAX];

    ck_assert_int_eq(data_unicode_lower(0x130, codes), 2);
    ck_assert_int_eq(codes[0], 'i');
    ck_assert_int_eq(codes[1], 0x307);
    ck_assert_int_eq(data_unicode_lower(0x1E9E, codes), 1);
    ck_assert_int_eq(codes[0], 0xDF);
    ck_assert_int_eq(data_unicode_lower(0x3A3, codes), 1);
    ck_assert_int_eq(codes[0], 0x3C3);
    ck_assert_int_eq(data_unicode_lower('1', codes), 1);
    ck_assert_int_eq(codes[0], '1');
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_unicode");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, next__reads_code_points_of_every_length);
    tcase_add_test(tests, next__replaces_every_maximal_part_of_what_is_not_utf8);
    tcase_add_test(tests, put__writes_what_next_reads);
    tcase_add_test(tests, categories__are_those_of_the_standard);
    tcase_add_test(tests, decompose__is_canonical_and_complete);
    tcase_add_test(tests, lower__knows_the_letter_whose_lower_case_is_two);
    suite_add_tcase(suite, tests);
    return suite;
}
