/* Unit tests of snapshot/snap_plan.h: a round trip, and every rule of the file broken once. */
#define _GNU_SOURCE
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/snap_plan.h"
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

START_TEST(plan__reads_back_what_was_written)
{
    struct snap_plan plan = {.output_dir = "/out/with \"quotes\"",
                             .keep_count = 3,
                             .incarnation_file = "/out/incarnation",
                             .incarnation = 7,
                             .bytes_per_s = 1000000,
                             .deadline_ms = 120000,
                             .file_count = SNAP_PLAN_FILES_MAX};
    struct snap_plan again;

    for (int i = 0; i < SNAP_PLAN_FILES_MAX; i++) {
        snprintf(plan.files[i].name, sizeof(plan.files[i].name), "file %d", i);
        plan.files[i].at = (uint64_t)i << 40;
        plan.files[i].width = i % 3 == 0 ? 4 : 0;
        plan.files[i].bytes = i % 2 == 0 ? 0 : (uint64_t)1 << 40;
    }
    memset(plan.files[3].name, 'n', SNAP_PLAN_NAME_BYTES - 1);
    EXPECT_ERR(snap_plan_read(folder.path, &again), ERR_MISSING, SNAP_PLAN_FILE);
    EXPECT_OK(snap_plan_write(&plan, folder.path));
    EXPECT_OK(snap_plan_read(folder.path, &again));
    ck_assert_str_eq(again.output_dir, plan.output_dir);
    ck_assert_int_eq(again.keep_count, 3);
    ck_assert_str_eq(again.incarnation_file, plan.incarnation_file);
    ck_assert_int_eq(again.incarnation, 7);
    ck_assert_int_eq(again.bytes_per_s, 1000000);
    ck_assert_int_eq(again.deadline_ms, 120000);
    ck_assert_int_eq(again.file_count, plan.file_count);
    ck_assert_mem_eq(again.files, plan.files, sizeof(plan.files));
}
END_TEST

/* The text of a plan, in which `from` is replaced by `to` once. */
static void write_changed(const char *from, const char *to)
{
    static const char good[] =
        "{\"format_version\": 1, \"output_dir\": \"/out\", \"keep_count\": 2, "
        "\"incarnation_file\": \"\", \"incarnation\": 1, \"bytes_per_s\": 0, "
        "\"deadline_ms\": 5000, \"files\": [{\"name\": \"a\", \"at\": 0, \"bytes\": 10, \"width\": "
        "0}]}";
    char text[2 * sizeof(good) + 5000];

    const char *at = strstr(good, from);
    ck_assert_msg(at != NULL, "%s", from);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    temp_folder_write(&folder, SNAP_PLAN_FILE, text, strlen(text));
}

START_TEST(read__names_what_is_wrong_when_one_rule_is_broken)
{
    static char many[17 * 60 + 100], name[SNAP_PLAN_NAME_BYTES + 20];
    static const char one[] = "{\"name\": \"a\", \"at\": 0, \"bytes\": 10, \"width\": 0}";
    const struct {
        const char *from, *to, *text;
    } changes[] = {
        {"}]}", "}]", "plan.json"},
        {"\"format_version\": 1, ", "", "plan.json: format_version"},
        {"\"format_version\": 1", "\"format_version\": 2", "a number out of range"},
        {"\"/out\"", "7", "output_dir: found"},
        {"\"/out\"", "\"\"", "a name of 0 bytes"},
        {"\"/out\"", "\"out\"", "output_dir out is not absolute"},
        {"\"keep_count\": 2", "\"keep_count\": 0", "a number out of range"},
        {"\"keep_count\": 2", "\"keep_count\": 2.5", "keep_count: found"},
        {"\"incarnation_file\": \"\"", "\"incarnation_file\": 1", "incarnation_file: found"},
        {", \"incarnation\": 1", "", "incarnation: found nothing"},
        {"\"bytes_per_s\": 0", "\"bytes_per_s\": -1", "a number out of range"},
        {"\"bytes_per_s\": 0, ", "", "bytes_per_s"},
        {"\"deadline_ms\": 5000", "\"deadline_ms\": -1", "a number out of range"},
        {"\"deadline_ms\": 5000, ", "", "deadline_ms"},
        {", \"files\": [{\"name\": \"a\", \"at\": 0, \"bytes\": 10, \"width\": 0}]", "",
         "no list of files"},
        {"[{\"name\": \"a\", \"at\": 0, \"bytes\": 10, \"width\": 0}]", "{}", "no list of files"},
        {"{\"name\": \"a\", \"at\": 0, \"bytes\": 10, \"width\": 0}", "", "0 files"},
        {one, many, "17 files"},
        {one, "7", "name"},
        {"\"name\": \"a\"", "\"name\": \"\"", "a name of 0 bytes"},
        {"\"name\": \"a\"", name, "a name of 64 bytes"},
        {"\"name\": \"a\"", "\"name\": \"a/b\"", "file a/b"},
        {"\"name\": \"a\"", "\"name\": \".a\"", "file .a"},
        {"\"at\": 0", "\"at\": -1", "file a: 10 bytes at -1"},
        {"\"bytes\": 10", "\"bytes\": -1", "file a: -1 bytes at 0"},
        {"\"width\": 0", "\"width\": 3", "width 3"},
        {"\"width\": 0", "\"width\": 16", "width 16"},
        {", \"width\": 0", "", "width: found nothing"},
        {"\"at\": 0, \"bytes\": 10", "\"at\": 9223372036854775807, \"bytes\": 1",
         "file a: 1 bytes"},
    };
    struct snap_plan plan;

    for (int i = 0, used = 0; i <= SNAP_PLAN_FILES_MAX; i++) {
        used += snprintf(many + used, sizeof(many) - (size_t)used, "%s%s", i > 0 ? ", " : "", one);
    }
    snprintf(name, sizeof(name), "\"name\": \"%064d\"", 7);
    write_changed("/out", "/out");
    EXPECT_OK(snap_plan_read(folder.path, &plan));
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        write_changed(changes[i].from, changes[i].to);
        EXPECT_ERR(snap_plan_read(folder.path, &plan), ERR_CORRUPT, changes[i].text);
    }
}
END_TEST

START_TEST(check_start__refuses_when_a_later_start_has_written_its_number)
{
    struct snap_plan plan = {.incarnation = 7};

    EXPECT_OK(snap_plan_check_start(&plan)); /* nobody counts */
    EXPECT_OK(file_path(plan.incarnation_file, folder.path, "incarnation"));
    EXPECT_OK(snap_plan_check_start(&plan)); /* nobody has counted yet */
    temp_folder_write(&folder, "incarnation", "7 120 1\n", 8);
    EXPECT_OK(snap_plan_check_start(&plan));
    temp_folder_write(&folder, "incarnation", "8 120 1\n", 8);
    EXPECT_ERR(snap_plan_check_start(&plan), ERR_CONFIG, "start 8 has taken over from start 7");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_plan");
    TCase *tcase = tcase_create("snap_plan");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, plan__reads_back_what_was_written);
    tcase_add_test(tcase, read__names_what_is_wrong_when_one_rule_is_broken);
    tcase_add_test(tcase, check_start__refuses_when_a_later_start_has_written_its_number);
    suite_add_tcase(suite, tcase);
    return suite;
}
