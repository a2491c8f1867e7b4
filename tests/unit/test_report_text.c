/* Unit tests of launch/report/report_text.h: nothing that a run's files say gets through as markup. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_text.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

#define NONE "\xef\xbf\xbd" /* U+FFFD */

static const struct {
    const char *words, *html, *quoted;
} cases[] = {
    {"", "", "''"},
    {"plain, 0.1", "plain, 0.1", "'plain, 0.1'"},
    {"<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;", "'<b>&\"'''"},
    {"it''s", "it&#39;&#39;s", "'it''''s'"},
    {"a\tb\nc", "a\tb\nc", "'a b c'"},
    {"\x01\x1b[0m\x7f\r", NONE NONE "[0m" NONE NONE, "'  [0m  '"},
    {"\xce\xbb \xe2\x82\xac \xf0\x9f\x98\x80", "\xce\xbb \xe2\x82\xac \xf0\x9f\x98\x80",
     "'\xce\xbb \xe2\x82\xac \xf0\x9f\x98\x80'"},
    {"\xc0\xbc", NONE NONE, "'  '"},                             /* an overlong < */
    {"\xed\xa0\x80", NONE NONE NONE, "'   '"},                   /* a surrogate */
    {"\xf4\x90\x80\x80", NONE NONE NONE NONE, "'    '"},         /* beyond U+10FFFF */
    {"\xe2\x82", NONE NONE, "'  '"},                             /* cut off */
    {"\xe2\x82<", NONE NONE "&lt;", "'  <'"},                    /* and what follows is seen */
    {"`rm -rf`$(x)\\n", "`rm -rf`$(x)\\n", "'`rm -rf`$(x)\\n'"}, /* no gnuplot looks into quotes */
};

START_TEST(escaped__is_harmless_in_html)
{
    struct report_text text = {0};

    report_text_escaped(&text, cases[_i].words);
    ck_assert_str_eq(text.bytes == NULL ? "" : text.bytes, cases[_i].html);
    EXPECT_OK(report_text_check(&text));
    report_text_release(&text);
}
END_TEST

START_TEST(quoted__is_one_string_of_gnuplot)
{
    struct report_text text = {0};

    report_text_quoted(&text, cases[_i].words);
    ck_assert_str_eq(text.bytes, cases[_i].quoted);
    report_text_release(&text);
}
END_TEST

START_TEST(add__grows_and_stays_terminated)
{
    struct report_text text = {0};
    char line[64];

    for (int i = 0; i < 10000; i++) {
        report_text_add(&text, "%06d,", i);
        ck_assert_uint_eq(strlen(text.bytes), text.count);
        ck_assert_uint_eq(text.count, (size_t)7 * (size_t)(i + 1));
    }
    snprintf(line, sizeof(line), "%06d,", 4711);
    ck_assert(memcmp(text.bytes + (ptrdiff_t)7 * 4711, line, 7) == 0);
    report_text_release(&text);
    ck_assert_ptr_null(text.bytes);
}
END_TEST

START_TEST(number__is_nan_where_it_is_not_finite)
{
    struct report_text text = {0};

    report_text_number(&text, 0.25);
    report_text_number(&text, NAN);
    report_text_number(&text, -INFINITY);
    ck_assert_str_eq(text.bytes, " 0.25 NaN NaN");
    report_text_release(&text);
}
END_TEST

START_TEST(check__tells_that_memory_ran_out)
{
    struct report_text text = {.is_short = true};

    report_text_add(&text, "%d", 1);
    ck_assert_uint_eq(text.count, 0);
    EXPECT_ERR(report_text_check(&text), ERR_NO_MEMORY, "report");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("report_text");
    TCase *tcase = tcase_create("report_text");
    const int count = sizeof(cases) / sizeof(cases[0]);

    tcase_add_loop_test(tcase, escaped__is_harmless_in_html, 0, count);
    tcase_add_loop_test(tcase, quoted__is_one_string_of_gnuplot, 0, count);
    tcase_add_test(tcase, add__grows_and_stays_terminated);
    tcase_add_test(tcase, number__is_nan_where_it_is_not_finite);
    tcase_add_test(tcase, check__tells_that_memory_ran_out);
    suite_add_tcase(suite, tcase);
    return suite;
}
