/* Unit tests of comm/base/err.c. */
#include <check.h>
#include <string.h>

#include "comm/base/err.h"
#include "tests/support/test_suite.h"

static enum err inner(void)
{
    return ERR_FAIL(ERR_IO, "read %d of %d bytes", 3, 7);
}

static enum err outer(void)
{
    ERR_TRY_AS(inner(), "restore step %d", 5);
    return ERR_OK;
}

START_TEST(text__has_the_outermost_context_first)
{
    char text[128];

    ck_assert_int_eq(outer(), ERR_IO);
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "restore step 5: read 3 of 7 bytes");
    ck_assert_ptr_nonnull(strstr(err_place(), "test_err.c:"));
    err_clear();
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "");
    ck_assert_str_eq(err_place(), "");
}
END_TEST

START_TEST(text__ends_in_dots_when_it_does_not_fit)
{
    char text[16];

    (void)!outer();
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "restore step...");
}
END_TEST

START_TEST(text__is_one_line_when_the_quoted_input_is_not)
{
    char text[128];

    (void)!ERR_FAIL(ERR_CONFIG, "key %s", "a\nb\x1b[2J\r\x7f");
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "key a b [2J  ");
    (void)!err_context_(ERR_CONFIG, "file %s", "c\nd");
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "file c d: key a b [2J  ");
}
END_TEST

START_TEST(fail__keeps_the_context_whole_when_both_are_long)
{
    char text[2048];
    char name[801];

    memset(name, 'x', 800);
    name[800] = '\0';
    (void)!ERR_FAIL(ERR_IO, "%s", name);
    memset(name, 'y', 800);
    (void)!err_context_(ERR_IO, "%s", name);
    err_text(text, sizeof(text));
    ck_assert_uint_lt(strlen(text), 1024);
    ck_assert_int_eq(memcmp(text, name, 800), 0);
    ck_assert_int_eq(memcmp(text + 800, ": xxx", 5), 0);
}
END_TEST

START_TEST(scope__grows_with_what_has_to_be_replaced)
{
    static const struct {
        enum err code;
        enum err_scope scope;
    } cases[] = {
        {ERR_INVALID, ERR_SCOPE_CALL},    {ERR_USAGE, ERR_SCOPE_CALL},
        {ERR_PEER_LOST, ERR_SCOPE_GROUP}, {ERR_COLLECTIVE, ERR_SCOPE_GROUP},
        {ERR_TIMEOUT, ERR_SCOPE_GROUP},   {ERR_DEVICE, ERR_SCOPE_PROCESS},
        {ERR_DIFFERS, ERR_SCOPE_PROCESS}, {ERR_BEYOND_REPAIR, ERR_SCOPE_RUN},
        {ERR_NOT_FINITE, ERR_SCOPE_RUN},  {ERR_HALTED, ERR_SCOPE_RUN},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(err_scope(cases[i].code), cases[i].scope);
        ck_assert_str_ne(err_phrase(cases[i].code), "unknown error");
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("err");
    TCase *tcase = tcase_create("err");

    tcase_add_test(tcase, text__has_the_outermost_context_first);
    tcase_add_test(tcase, text__ends_in_dots_when_it_does_not_fit);
    tcase_add_test(tcase, text__is_one_line_when_the_quoted_input_is_not);
    tcase_add_test(tcase, fail__keeps_the_context_whole_when_both_are_long);
    tcase_add_test(tcase, scope__grows_with_what_has_to_be_replaced);
    suite_add_tcase(suite, tcase);
    return suite;
}
