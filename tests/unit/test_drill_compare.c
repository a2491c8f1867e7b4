/* Unit tests of launch/drill/drill_compare.h. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/drill/drill_compare.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static char left[FILE_PATH_BYTES_MAX], right[FILE_PATH_BYTES_MAX];

static void put(const char *run, const char *name, const char *text)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, run, name));
    EXPECT_OK(file_write_text(path, text));
}

/* A run that is finished after step 7. */
static void make_run(const char *run)
{
    char checkpoint[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(checkpoint, run, "checkpoint-7"));
    EXPECT_OK(file_make_folder(checkpoint));
    put(run, "summary.json", "{\"verdict\": \"finished\", \"step\": 7, \"state_hash\": \"ab\"}");
    put(checkpoint, "model.safetensors", "weights");
    put(checkpoint, "optimizer.safetensors.pack-0", "moments");
    put(checkpoint, "config.json", run); /* is not compared */
}

static void set_up(void)
{
    temp_folder_open(&folder);
    EXPECT_OK(file_path(left, folder.path, "left"));
    EXPECT_OK(file_path(right, folder.path, "right"));
    make_run(left);
    make_run(right);
}

static void tear_down(void)
{
    EXPECT_OK(file_remove_tree(left));
    EXPECT_OK(file_remove_tree(right));
    temp_folder_close(&folder);
}

START_TEST(compare__takes_the_same_bytes_for_the_same)
{
    struct drill_sum sum;

    EXPECT_OK(drill_compare(left, right, &sum));
    ck_assert_int_eq(sum.step, 7);
    ck_assert_int_eq(sum.files, 2);
    ck_assert_int_eq(sum.bytes, 14);
}
END_TEST

START_TEST(compare__names_the_first_difference)
{
    struct drill_sum sum;

    put(right, "checkpoint-7/model.safetensors", "weighty");
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_DIFFERS,
               "model.safetensors differs from the reference, first at byte 6");
    put(right, "checkpoint-7/model.safetensors", "weight");
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_DIFFERS,
               "model.safetensors has 6 bytes, that of the reference 7");
    make_run(right);
    put(right, "summary.json", "{\"verdict\": \"finished\", \"step\": 7, \"state_hash\": \"ac\"}");
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_DIFFERS, "state_hash is ac");
    put(right, "summary.json", "{\"verdict\": \"finished\", \"step\": 8, \"state_hash\": \"ab\"}");
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_DIFFERS, "the last step is 8");
}
END_TEST

START_TEST(compare__refuses_what_is_not_finished_or_not_whole)
{
    char path[FILE_PATH_BYTES_MAX];
    struct drill_sum sum;
    int64_t step = 0;

    EXPECT_OK(drill_last_step(left, &step));
    ck_assert_int_eq(step, 7);
    put(right, "summary.json", "{\"verdict\": \"halted\", \"exit_code\": 75}");
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_CORRUPT, "the verdict is halted");
    EXPECT_ERR(drill_last_step(right, &step), ERR_CORRUPT, "the verdict is halted");
    make_run(right);
    EXPECT_OK(file_path(path, right, "checkpoint-7/optimizer.safetensors.pack-0"));
    EXPECT_OK(file_remove_tree(path));
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_MISSING, "pack-0");
    EXPECT_OK(file_path(path, right, "summary.json"));
    EXPECT_OK(file_remove_tree(path));
    EXPECT_ERR(drill_compare(left, right, &sum), ERR_MISSING, "summary.json");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("drill_compare");
    TCase *tcase = tcase_create("drill_compare");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, compare__takes_the_same_bytes_for_the_same);
    tcase_add_test(tcase, compare__names_the_first_difference);
    tcase_add_test(tcase, compare__refuses_what_is_not_finished_or_not_whole);
    suite_add_tcase(suite, tcase);
    return suite;
}
