/* Unit tests of data/data_records.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/data_records.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static struct data_records *records;

static void make_folder(void)
{
    temp_folder_open(&folder);
}

static void free_folder(void)
{
    data_records_close(records);
    records = NULL;
    temp_folder_close(&folder);
}

static void open_file(const char *name, const char *text, bool has_header)
{
    data_records_close(records);
    records = NULL;
    temp_folder_write(&folder, name, text, strlen(text));
    EXPECT_OK(data_records_open(folder.path, "train", has_header, &records));
}

static void gives(int64_t line, const char *label, int64_t number, const char *text)
{
    struct data_record record;
    bool is_there = false;

    EXPECT_OK(data_records_next(records, &record, &is_there));
    ck_assert(is_there);
    ck_assert_int_eq(record.line, line);
    if (label == NULL) {
        ck_assert_ptr_null(record.label.text);
        ck_assert_int_eq(record.label.number, number);
    } else {
        ck_assert_uint_eq(record.label.bytes, strlen(label));
        ck_assert_mem_eq(record.label.text, label, strlen(label));
    }
    ck_assert_uint_eq(record.text_bytes, strlen(text));
    ck_assert_mem_eq(record.text, text, strlen(text));
}

static void ends(void)
{
    struct data_record record;
    bool is_there = true;

    EXPECT_OK(data_records_next(records, &record, &is_there));
    ck_assert(!is_there);
    EXPECT_OK(data_records_next(records, &record, &is_there));
    ck_assert(!is_there);
}

static void refuses(const char *part)
{
    struct data_record record;
    bool is_there = false;

    EXPECT_ERR(data_records_next(records, &record, &is_there), ERR_CORRUPT, part);
}

START_TEST(next__reads_tsv)
{
    open_file("train.tsv", "\xEF\xBB\xBFpos\tgood \"film\"\nneg\t\r\n3\tx\\ty\xFF", false);
    gives(1, "pos", 0, "good \"film\"");
    gives(2, "neg", 0, "");
    gives(3, "3", 0, "x\\ty\xFF");
    ends();
    ck_assert(!data_records_are_json(records));
    ck_assert_ptr_nonnull(strstr(data_records_path(records), "/train.tsv"));

    open_file("train.tsv", "label\ttext\na\tb\n", true);
    gives(2, "a", 0, "b");
    ends();
    open_file("train.tsv", "one line alone", true);
    ends();
    open_file("train.tsv", "", true);
    ends();
}
END_TEST

START_TEST(next__refuses_what_is_not_two_fields)
{
    open_file("train.tsv", "a\tb\nc\nd\te\tf\n\n\tg\nh\ti\n", false);
    gives(1, "a", 0, "b");
    refuses("train.tsv: line 2: found 1 field, expected two: label, TAB, text");
    refuses("train.tsv: line 3: found 3 fields, expected two");
    refuses("train.tsv: line 4: found 0 fields, expected two");
    refuses("train.tsv: line 5: the label is empty");
    gives(6, "h", 0, "i");
    ends();
}
END_TEST

START_TEST(next__reads_json_lines)
{
    open_file("train.jsonl",
              "{\"text\": \"a\\tb \\u00e9\", \"label\": \"pos\"}\n"
              "{\"id\": [1, {}], \"label\": 4, \"text\": \"\"}\r\n"
              "{\"label\": -1, \"text\": \"x\"}",
              true); /* a header is no matter of JSON lines */
    gives(1, "pos", 0, "a\tb \xC3\xA9");
    gives(2, NULL, 4, "");
    gives(3, NULL, -1, "x");
    ends();
    ck_assert(data_records_are_json(records));
}
END_TEST

START_TEST(next__refuses_lines_that_are_not_such_an_object)
{
    open_file(
        "train.jsonl",
        "{\"text\": \"a\", \"label\": 1\n[1]\n\n{\"label\": 1}\n{\"text\": 2, \"label\": 1}\n"
        "{\"text\": \"a\"}\n{\"text\": \"a\", \"label\": 1.5}\n{\"text\": \"a\", \"label\": \"\"}\n"
        "{\"text\": \"\xFF\", \"label\": 1}\n",
        false);
    refuses("train.jsonl: line 1: line 1 column 24: not JSON");
    refuses("train.jsonl: line 2: expected an object");
    refuses("train.jsonl: line 3: line 1 column 0: not JSON");
    refuses("train.jsonl: line 4: text: found nothing, expected a string");
    refuses("train.jsonl: line 5: text: found an integer, expected a string");
    refuses("train.jsonl: line 6: label: found nothing, expected a string");
    refuses("train.jsonl: line 7: label: found a real number");
    refuses("train.jsonl: line 8: the label is empty");
    refuses("train.jsonl: line 9: line 1 column");
    ends();
}
END_TEST

static void open_alone(const char *name, const char *text, enum data_records_kind kind)
{
    char path[512];

    data_records_close(records);
    records = NULL;
    temp_folder_write(&folder, name, text, strlen(text));
    snprintf(path, sizeof(path), "%s/%s", folder.path, name);
    EXPECT_OK(data_records_open_file(path, kind, false, &records));
}

/* The next record, which has the label and id, or none where that is NULL. */
static void gives_alone(int64_t line, const char *label, const char *id, const char *text)
{
    struct data_record record;
    bool is_there = false;

    EXPECT_OK(data_records_next(records, &record, &is_there));
    ck_assert(is_there);
    ck_assert_int_eq(record.line, line);
    ck_assert_int_eq(record.has_label, label != NULL);
    ck_assert(label == NULL || strncmp(record.label.text, label, record.label.bytes) == 0);
    ck_assert_int_eq(record.has_id, id != NULL);
    ck_assert(id == NULL || strcmp(record.id.text, id) == 0);
    ck_assert_uint_eq(record.text_bytes, strlen(text));
    ck_assert_mem_eq(record.text, text, strlen(text));
}

START_TEST(open_file__needs_no_labels)
{
    open_alone("a.txt", "\xEF\xBB\xBFone\ttwo\r\n\nlast", DATA_RECORDS_LINES);
    gives_alone(1, NULL, NULL, "one\ttwo");
    gives_alone(2, NULL, NULL, "");
    gives_alone(3, NULL, NULL, "last");
    ends();
    open_alone("a.tsv", "alone\npos\tgood\n\na\tb\tc\n", DATA_RECORDS_TSV);
    gives_alone(1, NULL, NULL, "alone");
    gives_alone(2, "pos", NULL, "good");
    refuses("a.tsv: line 3: found 0 fields");
    refuses("a.tsv: line 4: found 3 fields");
    ends();
    open_alone("a.jsonl",
               "{\"text\": \"x\"}\n{\"text\": \"y\", \"id\": \"k\", \"label\": \"pos\"}\n"
               "{\"text\": \"z\", \"label\": null, \"id\": null}\n{\"text\": \"z\", \"id\": 1.5}\n"
               "{\"text\": \"z\", \"label\": \"\"}\n",
               DATA_RECORDS_JSONL);
    gives_alone(1, NULL, NULL, "x");
    gives_alone(2, "pos", "k", "y");
    gives_alone(3, NULL, NULL, "z");
    refuses("a.jsonl: line 4: id: found a real number");
    refuses("a.jsonl: line 5: the label is empty");
    ends();
    EXPECT_ERR(data_records_open_file("/nowhere/x", DATA_RECORDS_LINES, false, &records),
               ERR_MISSING, "/nowhere/x: no such file");
}
END_TEST

START_TEST(open__wants_one_file)
{
    EXPECT_ERR(data_records_open(folder.path, "train", false, &records), ERR_MISSING,
               "train.tsv: no such file, nor with .gz; expected lines of label, TAB, text");
    temp_folder_write(&folder, "train.tsv", "a\tb", 3);
    temp_folder_write(&folder, "train.jsonl", "", 0);
    EXPECT_ERR(data_records_open(folder.path, "train", false, &records), ERR_CORRUPT,
               "has both train.tsv and train.jsonl, expected one of them");
    EXPECT_ERR(data_records_open(folder.path, "test", false, &records), ERR_MISSING, "test.tsv");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_records");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, make_folder, free_folder);
    tcase_add_test(tests, next__reads_tsv);
    tcase_add_test(tests, open_file__needs_no_labels);
    tcase_add_test(tests, next__refuses_what_is_not_two_fields);
    tcase_add_test(tests, next__reads_json_lines);
    tcase_add_test(tests, next__refuses_lines_that_are_not_such_an_object);
    tcase_add_test(tests, open__wants_one_file);
    suite_add_tcase(suite, tests);
    return suite;
}
