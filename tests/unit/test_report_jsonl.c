/* Unit tests of launch/report/report_jsonl.h: all lines or some, the last among them. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/report/report_jsonl.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static char path[FILE_PATH_BYTES_MAX];

static void set_up(void)
{
    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "lines.jsonl"));
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

START_TEST(read__gives_lines_at_even_distances_with_the_last)
{
    static const struct {
        const char *text;
        size_t lines_max;
        const char *numbers;
        size_t every;
    } cases[] = {
        {"", 5, "", 1},
        {"{\"n\":1}", 5, "", 1}, /* has no end yet */
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", SIZE_MAX, "1 2 3 ", 1},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 3, "1 2 3 ", 1},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 2, "1 3 ", 2},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n", 2, "2 4 ", 2},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 1, "3 ", 3},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":", 5, "1 2 ", 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jdoc *lines = NULL;
        char numbers[64] = "";
        size_t every = 0, used = 0;
        temp_folder_write(&folder, "lines.jsonl", cases[i].text, strlen(cases[i].text));
        EXPECT_OK(report_jsonl_read(path, cases[i].lines_max, &lines, &every));
        for (size_t l = 0; l < jdoc_count(lines); l++) {
            used += (size_t)snprintf(numbers + used, sizeof(numbers) - used, "%d ",
                                     (int)jdoc_as_int(jdoc_get(jdoc_at(lines, l), "n")));
        }
        jdoc_close(lines);
        ck_assert_msg(strcmp(numbers, cases[i].numbers) == 0, "case %zu: %s", i, numbers);
        ck_assert_uint_eq(every, cases[i].every);
    }
}
END_TEST

START_TEST(read__names_the_line_that_is_damaged)
{
    static const char *const texts[] = {"{\"n\":1}\n{\"n\":\n{\"n\":3}\n", "{\"n\":1}\n[2]\n",
                                        "{\"n\":1}\n\n"};
    struct jdoc *lines = NULL;
    size_t every = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        temp_folder_write(&folder, "lines.jsonl", texts[i], strlen(texts[i]));
        EXPECT_ERR(report_jsonl_read(path, 10, &lines, &every), ERR_CORRUPT, "line 2 of the file");
    }
    ck_assert_ptr_null(lines);
}
END_TEST

START_TEST(read__tells_a_file_that_is_missing)
{
    struct jdoc *lines = NULL;
    size_t every = 0;

    EXPECT_ERR(report_jsonl_read(path, 10, &lines, &every), ERR_MISSING, "lines.jsonl");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("report_jsonl");
    TCase *tcase = tcase_create("report_jsonl");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, read__gives_lines_at_even_distances_with_the_last);
    tcase_add_test(tcase, read__names_the_line_that_is_damaged);
    tcase_add_test(tcase, read__tells_a_file_that_is_missing);
    suite_add_tcase(suite, tcase);
    return suite;
}
