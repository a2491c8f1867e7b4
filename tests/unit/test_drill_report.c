/* Unit tests of launch/drill/drill_report.h: what machines read. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "launch/drill/drill_report.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static struct drill_fault faults[] = {
    {DRILL_KILL, DRILL_RANK, 3, 120, FAULT_POINT_COUNT, -1, 0, 0},
    {DRILL_TERM, DRILL_RUN, 0, 130, FAULT_POINT_COUNT, -1, 0, 0},
};
static struct drill_outcome outcomes[] = {
    {.happened = true,
     .what = "rank 3 <was> killed",
     .step = 121,
     .detect_s = 0.5,
     .repair_s = 1.5,
     .redone = 2,
     .rebuilt = -1},
    {.happened = false,
     .what = "it did not happen",
     .step = -1,
     .detect_s = -1,
     .repair_s = -1,
     .redone = -1,
     .rebuilt = -1},
};
static const struct drill_case cases[] = {
    {.name = "good", .faults = faults, .count = 1},
    {.name = "bad", .faults = faults + 1, .count = 1},
};
static char again[] = "offramp drill --term step=130 -- train 'a b'";
static const struct drill_record records[] = {
    {.what = &cases[0], .outcomes = outcomes, .result = {.took_s = 2}, .why = "", .repeat = again},
    {.what = &cases[1],
     .outcomes = outcomes + 1,
     .result = {.took_s = 1},
     .why = "1 < 2 & \"3\" > 2\nand \x01 \xff",
     .repeat = again},
};

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

START_TEST(junit__is_xml_whatever_a_text_holds)
{
    static const char expected[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuite name=\"offramp drill, plain nodes\" tests=\"2\" failures=\"1\" errors=\"0\" "
        "time=\"3.000\">\n"
        "  <testcase classname=\"drill.good\" name=\"--kill rank=3@step=120\" time=\"2.000\">"
        "<system-out>rank 3 &lt;was&gt; killed</system-out></testcase>\n"
        "  <testcase classname=\"drill.bad\" name=\"--term step=130\" time=\"1.000\">\n"
        "    <failure message=\"1 &lt; 2 &amp; &quot;3&quot; &gt; 2?and ? ?\"/>\n"
        "    <system-out>offramp drill --term step=130 -- train 'a b'</system-out>\n"
        "  </testcase>\n"
        "</testsuite>\n";
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    EXPECT_OK(file_path(path, folder.path, "junit.xml"));
    EXPECT_OK(drill_report_junit(path, records, 2, "plain"));
    EXPECT_OK(file_map(path, &map));
    ck_assert_uint_eq(map.count, strlen(expected));
    ck_assert_mem_eq(map.bytes, expected, map.count);
    file_unmap(&map);
    EXPECT_ERR(drill_report_junit("/nowhere/at/all", records, 2, "plain"), ERR_IO, "/nowhere");
}
END_TEST

START_TEST(json__has_a_verdict_and_what_was_measured)
{
    struct drill_record good = records[0];
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    EXPECT_OK(file_path(path, folder.path, DRILL_FILE));
    EXPECT_OK(drill_report_json(folder.path, NULL, 0, "plain"));
    EXPECT_OK(jdoc_read(path, &doc));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(doc, "verdict")), "begun");
    jdoc_close(doc);

    EXPECT_OK(drill_report_json(folder.path, &good, 1, "plain"));
    EXPECT_OK(jdoc_read(path, &doc));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(doc, "verdict")), "passed");
    const struct jdoc *run = jdoc_at(jdoc_get(doc, "runs"), 0);
    const struct jdoc *fault = jdoc_at(jdoc_get(run, "faults"), 0);
    ck_assert(jdoc_is_true(jdoc_get(run, "passed")));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(run, "again")), again);
    ck_assert_str_eq(jdoc_as_text(jdoc_get(fault, "fault")), "--kill rank=3@step=120");
    ck_assert_int_eq(jdoc_as_int(jdoc_get(fault, "redone")), 2);
    ck_assert(jdoc_get(fault, "rebuilt") == NULL);
    jdoc_close(doc);

    struct drill_record both[] = {records[0], records[1]};
    snprintf(both[1].why, sizeof(both[1].why), "it did not happen");
    EXPECT_OK(drill_report_json(folder.path, both, 2, "plain"));
    EXPECT_OK(jdoc_read(path, &doc));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(doc, "verdict")), "failed");
    jdoc_close(doc);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("drill_report");
    TCase *tcase = tcase_create("drill_report");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, junit__is_xml_whatever_a_text_holds);
    tcase_add_test(tcase, json__has_a_verdict_and_what_was_measured);
    suite_add_tcase(suite, tcase);
    return suite;
}
