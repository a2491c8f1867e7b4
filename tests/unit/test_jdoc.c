/* Unit tests of comm/base/jdoc.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct jdoc *parse(const char *text)
{
    struct jdoc *doc = NULL;

    EXPECT_OK(jdoc_parse(text, strlen(text), "input", &doc));
    return doc;
}

START_TEST(parse__refuses_what_is_no_document_and_tells_where)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "input: line 1 column 0"},
        {"{\"a\": 1", "input: line 1 column 7"},
        {"{\"a\": 1,\n \"a\": 2}", "duplicate object key"},
        {"{\"a\": {\"b\": 1, \"b\": 2}}", "duplicate object key"},
        {"{} {}", "end of file expected"},
        {"{\"a\": 9223372036854775808}", "too big integer"},
        {"{\"a\": 1e999}", "real number overflow"},
        {"{\"a\": NaN}", "input: line 1"},
        {"{\"a\": 01}", "input: line 1"},
        {"{\"a\": \"\xff\"}", "input: line 1"},
        {"{\"a\": \"b\n\"}", "input: line 1"},
        {"{'a': 1}", "input: line 1"},
        {"[1, 2,]", "input: line 1"},
        {"7", "input: line 1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jdoc *doc = NULL;
        EXPECT_ERR(jdoc_parse(cases[i].text, strlen(cases[i].text), "input", &doc), ERR_CORRUPT,
                   cases[i].part);
        ck_assert_ptr_null(doc);
    }
}
END_TEST

START_TEST(parse__refuses_a_document_that_is_nested_too_deeply)
{
    enum { DEPTH = 100000 };
    static char text[DEPTH];
    struct jdoc *doc = NULL;

    memset(text, '[', DEPTH);
    EXPECT_ERR(jdoc_parse(text, DEPTH, "input", &doc), ERR_CORRUPT, "depth");
}
END_TEST

START_TEST(parse__reads_no_further_than_the_count_it_is_given)
{
    struct jdoc *doc = NULL;

    EXPECT_OK(jdoc_parse("[1, 2]]]]", 6, "input", &doc));
    ck_assert_uint_eq(jdoc_count(doc), 2);
    jdoc_close(doc);
}
END_TEST

START_TEST(need__gives_the_value_or_says_what_it_found)
{
    struct jdoc *doc = parse("{\"i\": -5, \"r\": 0.5, \"t\": \"x\", \"n\": null, \"o\": {}}");
    int64_t i = 0;
    double r = 0;
    const char *t = NULL;

    EXPECT_OK(jdoc_need_int(doc, "i", "f", &i));
    ck_assert_int_eq(i, -5);
    EXPECT_OK(jdoc_need_real(doc, "r", "f", &r));
    ck_assert_double_eq(r, 0.5);
    EXPECT_OK(jdoc_need_real(doc, "i", "f", &r)); /* an integer is a number */
    ck_assert_double_eq(r, -5);
    EXPECT_OK(jdoc_need_text(doc, "t", "f", &t));
    ck_assert_str_eq(t, "x");
    EXPECT_ERR(jdoc_need_int(doc, "r", "f", &i), ERR_CORRUPT,
               "f: r: found a real number, expected an integer");
    EXPECT_ERR(jdoc_need_int(doc, "no", "f", &i), ERR_CORRUPT,
               "f: no: found nothing, expected an integer");
    EXPECT_ERR(jdoc_need_real(doc, "t", "f", &r), ERR_CORRUPT, "t: found a string");
    EXPECT_ERR(jdoc_need_text(doc, "n", "f", &t), ERR_CORRUPT, "n: found null");
    EXPECT_ERR(jdoc_need_text(doc, "o", "f", &t), ERR_CORRUPT, "o: found an object");
    EXPECT_ERR(jdoc_need_int(NULL, "i", "f", &i), ERR_CORRUPT, "i: found nothing");
    ck_assert_int_eq(i, -5);
    jdoc_close(doc);
}
END_TEST

START_TEST(walk__gives_members_in_the_order_of_the_text)
{
    struct jdoc *doc = parse("{\"z\": 1, \"a\": 2, \"m\": [3, 4.5, \"s\", true, false]}");
    static const char *const keys[] = {"z", "a", "m"};
    int at = 0;

    for (void *m = jdoc_first(doc); m != NULL; m = jdoc_next(doc, m)) {
        ck_assert_int_lt(at, 3);
        ck_assert_str_eq(jdoc_member_key(m), keys[at]);
        at++;
    }
    ck_assert_int_eq(at, 3);
    const struct jdoc *list = jdoc_get(doc, "m");
    ck_assert(jdoc_is_object(doc) && jdoc_is_array(list) && !jdoc_is_array(doc));
    ck_assert_uint_eq(jdoc_count(list), 5);
    ck_assert_int_eq(jdoc_as_int(jdoc_at(list, 0)), 3);
    ck_assert_double_eq(jdoc_as_real(jdoc_at(list, 1)), 4.5);
    ck_assert_str_eq(jdoc_as_text(jdoc_at(list, 2)), "s");
    ck_assert(jdoc_is_true(jdoc_at(list, 3)));
    ck_assert(!jdoc_is_true(jdoc_at(list, 4)) && !jdoc_is_true(jdoc_at(list, 0)));
    ck_assert_ptr_null(jdoc_at(list, 5));
    ck_assert(!jdoc_is_int(jdoc_at(list, 1)));
    ck_assert(jdoc_is_bool(jdoc_at(list, 3)) && jdoc_is_bool(jdoc_at(list, 4)));
    ck_assert(!jdoc_is_bool(jdoc_at(list, 0)) && !jdoc_is_null(jdoc_at(list, 4)));
    jdoc_close(doc);
}
END_TEST

START_TEST(getters__accept_null_and_the_wrong_type)
{
    ck_assert_ptr_null(jdoc_get(NULL, "a"));
    ck_assert_ptr_null(jdoc_at(NULL, 0));
    ck_assert_ptr_null(jdoc_first(NULL));
    ck_assert_ptr_null(jdoc_as_text(NULL));
    ck_assert_int_eq(jdoc_as_int(NULL), 0);
    ck_assert_uint_eq(jdoc_count(NULL), 0);
    ck_assert(!jdoc_is_object(NULL) && !jdoc_is_array(NULL) && !jdoc_is_int(NULL));
    ck_assert(!jdoc_is_true(NULL));
    ck_assert(!jdoc_is_bool(NULL) && !jdoc_is_null(NULL));
    jdoc_close(NULL);

    struct jdoc *doc = parse("{\"n\": null}");
    ck_assert(jdoc_is_null(jdoc_get(doc, "n")) && !jdoc_is_null(jdoc_get(doc, "m")));
    jdoc_close(doc);
}
END_TEST

START_TEST(text__writes_what_was_set_in_that_order)
{
    struct jdoc *doc = jdoc_object();
    struct jdoc *list = jdoc_array();
    char *text = NULL;

    jdoc_append(list, jdoc_int(INT64_MIN));
    jdoc_append(list, jdoc_real(NAN));
    jdoc_append(list, jdoc_string("a\"\\\n\xc3\xa9"));
    jdoc_set(doc, "z", list);
    jdoc_set_int(doc, "a", 1);
    jdoc_set_bool(doc, "b", true);
    jdoc_set_real(doc, "r", 2);
    jdoc_set_text(doc, "a", "again");
    EXPECT_OK(jdoc_text(doc, 0, &text));
    ck_assert_str_eq(text, "{\"z\":[-9223372036854775808,null,\"a\\\"\\\\\\n\xc3\xa9\"],"
                           "\"a\":\"again\",\"b\":true,\"r\":2.0}");
    free(text);
    jdoc_close(doc);
}
END_TEST

START_TEST(remove__takes_a_member_out_if_it_is_there)
{
    struct jdoc *doc = jdoc_object();
    char *text = NULL;

    jdoc_set_int(doc, "a", 1);
    jdoc_set(doc, "b", jdoc_array());
    jdoc_set_int(doc, "c", 3);
    jdoc_remove(doc, "b");
    jdoc_remove(doc, "none");
    jdoc_remove(NULL, "a");
    ck_assert_int_eq(jdoc_text(doc, 0, &text), ERR_OK);
    ck_assert_str_eq(text, "{\"a\":1,\"c\":3}");
    free(text);
    jdoc_close(doc);
}
END_TEST

START_TEST(text__gives_every_double_back_bit_by_bit)
{
    static const double values[] = {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct jdoc *doc = jdoc_object();
        char *text = NULL;
        double back = 0;
        jdoc_set_real(doc, "v", values[i]);
        EXPECT_OK(jdoc_text(doc, 2, &text));
        jdoc_close(doc);
        doc = parse(text);
        EXPECT_OK(jdoc_need_real(doc, "v", "text", &back));
        ck_assert_int_eq(memcmp(&back, &values[i], sizeof(back)), 0);
        jdoc_close(doc);
        free(text);
    }
}
END_TEST

START_TEST(text__refuses_a_document_that_lost_a_member)
{
    char *text = NULL;
    struct jdoc *doc = jdoc_object();

    jdoc_set_text(doc, "path", "\xff\xfe");
    EXPECT_ERR(jdoc_text(doc, 0, &text), ERR_INVALID, "not UTF-8");
    ck_assert_ptr_null(text);
    jdoc_set_int(doc, "\xff", 1);
    EXPECT_ERR(jdoc_text(doc, 0, &text), ERR_INVALID, "not UTF-8");
    jdoc_set(doc, "inner", NULL);
    EXPECT_ERR(jdoc_text(doc, 0, &text), ERR_NO_MEMORY, "JSON");
    jdoc_append(jdoc_get(doc, "nothing"), jdoc_int(1));
    EXPECT_ERR(jdoc_text(doc, 0, &text), ERR_NO_MEMORY, "JSON");
    EXPECT_ERR(jdoc_text(NULL, 0, &text), ERR_NO_MEMORY, "JSON");
    EXPECT_OK(jdoc_text(doc, 0, &text)); /* and the next one is whole again */
    ck_assert_str_eq(text, "{}");
    free(text);
    jdoc_close(doc);
}
END_TEST

START_TEST(read__is_parse_of_a_file_that_it_names)
{
    struct temp_folder folder;
    struct jdoc *doc = NULL;
    char path[FILE_PATH_BYTES_MAX];

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "a.json"));
    EXPECT_ERR(jdoc_read(path, &doc), ERR_MISSING, "a.json");
    temp_folder_write(&folder, "a.json", "{\"a\": 7}", 8);
    EXPECT_OK(jdoc_read(path, &doc));
    ck_assert_int_eq(jdoc_as_int(jdoc_get(doc, "a")), 7);
    jdoc_close(doc);
    temp_folder_write(&folder, "a.json", "{", 1);
    EXPECT_ERR(jdoc_read(path, &doc), ERR_CORRUPT, "a.json: line 1");
    temp_folder_close(&folder);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("jdoc");
    TCase *tcase = tcase_create("jdoc");

    tcase_add_test(tcase, parse__refuses_what_is_no_document_and_tells_where);
    tcase_add_test(tcase, parse__refuses_a_document_that_is_nested_too_deeply);
    tcase_add_test(tcase, parse__reads_no_further_than_the_count_it_is_given);
    tcase_add_test(tcase, need__gives_the_value_or_says_what_it_found);
    tcase_add_test(tcase, walk__gives_members_in_the_order_of_the_text);
    tcase_add_test(tcase, getters__accept_null_and_the_wrong_type);
    tcase_add_test(tcase, text__writes_what_was_set_in_that_order);
    tcase_add_test(tcase, remove__takes_a_member_out_if_it_is_there);
    tcase_add_test(tcase, text__gives_every_double_back_bit_by_bit);
    tcase_add_test(tcase, text__refuses_a_document_that_lost_a_member);
    tcase_add_test(tcase, read__is_parse_of_a_file_that_it_names);
    suite_add_tcase(suite, tcase);
    return suite;
}
