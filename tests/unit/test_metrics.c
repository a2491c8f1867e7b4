/* Unit tests of launch/metrics.h: a run that goes on has each step once, however the last start ended. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/metrics.h"
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

/* What is left of `text` when a run goes on from `step`. */
static const char *left_of(const char *text, int64_t step)
{
    static char left[512];
    struct metrics *metrics = NULL;
    struct file_map map;
    char path[FILE_PATH_BYTES_MAX];

    temp_folder_write(&folder, "metrics.jsonl", text, strlen(text));
    EXPECT_OK(metrics_open(folder.path, true, false, step, &metrics));
    metrics_close(metrics);
    EXPECT_OK(file_path(path, folder.path, "metrics.jsonl"));
    EXPECT_OK(file_map(path, &map));
    ck_assert_uint_lt(map.count, sizeof(left));
    memcpy(left, map.bytes, map.count);
    left[map.count] = '\0';
    file_unmap(&map);
    return left;
}

#define ONE "{\"step\":1,\"loss\":2}\n"
#define TWO "{\"step\":2,\"loss\":2}\n"
#define THREE "{\"step\":3,\"loss\":2}\n"

START_TEST(open__keeps_whole_lines_up_to_the_step)
{
    static const struct {
        const char *text;
        int64_t step;
        const char *left;
    } cases[] = {
        {"", 0, ""},
        {ONE TWO THREE, 3, ONE TWO THREE},
        {ONE TWO THREE, 9, ONE TWO THREE},
        {ONE TWO THREE, 2, ONE TWO},
        {ONE TWO THREE, 1, ONE},
        {ONE TWO THREE, 0, ""},
        {ONE TWO "{\"step\":3,\"lo", 3, ONE TWO}, /* killed while it wrote */
        {ONE TWO "{\"step\":3,\"loss\":2}", 3, ONE TWO},
        {ONE TWO "\n\n", 3, ONE TWO},
        {ONE TWO "{\"loss\":2}\n" THREE, 2, ONE TWO},
        {"{\"step\":3", 3, ""},
        {"\n", 3, ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(strcmp(left_of(cases[i].text, cases[i].step), cases[i].left) == 0,
                      "case %zu: %s", i, left_of(cases[i].text, cases[i].step));
    }
}
END_TEST

START_TEST(record__appends_to_what_was_kept)
{
    struct metrics *metrics = NULL;
    struct file_map map;
    struct jdoc *record = jdoc_object();
    char path[FILE_PATH_BYTES_MAX];

    temp_folder_write(&folder, "metrics.jsonl", ONE TWO "{\"ste", strlen(ONE TWO) + 5);
    EXPECT_OK(metrics_open(folder.path, true, false, 2, &metrics));
    jdoc_set_int(record, "step", 3);
    metrics_record(metrics, record);
    metrics_close(metrics);
    EXPECT_OK(file_path(path, folder.path, "metrics.jsonl"));
    EXPECT_OK(file_map(path, &map));
    ck_assert_uint_eq(map.count, strlen(ONE TWO "{\"step\":3}\n"));
    ck_assert_mem_eq(map.bytes, ONE TWO "{\"step\":3}\n", map.count);
    file_unmap(&map);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, open__keeps_whole_lines_up_to_the_step);
    tcase_add_test(tcase, record__appends_to_what_was_kept);
    suite_add_tcase(suite, tcase);
    return suite;
}
