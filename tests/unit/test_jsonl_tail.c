/* Unit tests of launch/jsonl_tail.h: the newest lines first, and nothing that is not a whole line. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/jsonl_tail.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

/* The "n" of the lines that the last bytes_max bytes of `text` give, as "3 2 1 ". */
static const char *read_back(const char *text, size_t bytes_max)
{
    static char numbers[256];
    struct jsonl_tail tail;
    char path[FILE_PATH_BYTES_MAX];
    size_t used = 0;

    temp_folder_write(&folder, "lines.jsonl", text, strlen(text));
    EXPECT_OK(file_path(path, folder.path, "lines.jsonl"));
    EXPECT_OK(jsonl_tail_read(path, bytes_max, &tail));
    numbers[0] = '\0';
    for (struct jdoc *doc = jsonl_tail_previous(&tail); doc != NULL;
         doc = jsonl_tail_previous(&tail)) {
        used += (size_t)snprintf(numbers + used, sizeof(numbers) - used, "%d ",
                                 (int)jdoc_as_int(jdoc_get(doc, "n")));
        jdoc_close(doc);
    }
    ck_assert_ptr_null(jsonl_tail_previous(&tail));
    ck_assert(tail.age_s >= 0 && tail.age_s < 60);
    jsonl_tail_release(&tail);
    return numbers;
}

START_TEST(previous__gives_whole_lines_newest_first)
{
    static const struct {
        const char *text;
        size_t bytes_max;
        const char *numbers;
    } cases[] = {
        {"", 100, ""},
        {"\n\n", 100, ""},
        {"{\"n\":1}\n", 100, "1 "},
        {"{\"n\":1}", 100, ""}, /* has no end yet */
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 100, "3 2 1 "},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":", 100, "2 1 "},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":34}", 100, "2 1 "},
        {"{\"n\":1}\n[2]\nnull\n{\"n\":\n{\"n\":3}\n", 100, "3 1 "},
        {"{\"n\":1}\n\n{\"n\":3}\n", 100, "3 1 "},
        /* 8 bytes a line */
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 24, "3 2 1 "},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 23, "3 2 "},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 17, "3 2 "},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 16, "3 "}, /* which begins where a line ends */
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 7, ""},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 1, ""},
        {"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", 0, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(strcmp(read_back(cases[i].text, cases[i].bytes_max), cases[i].numbers) == 0,
                      "case %zu: %s", i, read_back(cases[i].text, cases[i].bytes_max));
    }
}
END_TEST

START_TEST(read__fails_when_there_is_no_file)
{
    struct jsonl_tail tail = {.text = NULL};
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, "none.jsonl"));
    EXPECT_ERR(jsonl_tail_read(path, 100, &tail), ERR_MISSING, "none.jsonl");
    EXPECT_ERR(jsonl_tail_read(folder.path, 100, &tail), ERR_IO, "not a regular file");
    ck_assert_ptr_null(jsonl_tail_previous(&tail));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("jsonl_tail");
    TCase *tcase = tcase_create("jsonl_tail");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, previous__gives_whole_lines_newest_first);
    tcase_add_test(tcase, read__fails_when_there_is_no_file);
    suite_add_tcase(suite, tcase);
    return suite;
}
