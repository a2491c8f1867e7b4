/* Unit tests of data/data_vocab.c. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "data/data_vocab.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

static struct data_vocab *vocab;

static void open_vocab(void)
{
    EXPECT_OK(data_vocab_open(&vocab));
}

static void close_vocab(void)
{
    data_vocab_close(vocab);
}

static int32_t find(const char *token)
{
    return data_vocab_find(vocab, token, strlen(token));
}

static void has_text(int32_t id, const char *expected)
{
    size_t bytes = 0;
    const char *text = data_vocab_text(vocab, id, &bytes);

    ck_assert_uint_eq(bytes, strlen(expected));
    ck_assert_mem_eq(text, expected, bytes);
}

START_TEST(add__gives_ids_in_order_and_finds_them_when_the_table_has_grown)
{
    enum { TOKENS = 20000 };
    char token[16];

    ck_assert_int_eq(find("0"), -1);
    for (int i = 0; i < TOKENS; i++) {
        snprintf(token, sizeof(token), "%d", i);
        EXPECT_OK(data_vocab_add(vocab, token, strlen(token)));
    }
    ck_assert_int_eq(data_vocab_count(vocab), TOKENS);
    ck_assert_uint_eq(data_vocab_bytes_max(vocab), 5);
    for (int i = 0; i < TOKENS; i++) {
        snprintf(token, sizeof(token), "%d", i);
        ck_assert_int_eq(find(token), i);
        has_text(i, token);
    }
    ck_assert_int_eq(find("20000"), -1);
    ck_assert_int_eq(find("123456"), -1);
    ck_assert_int_eq(find(""), -1);
}
END_TEST

START_TEST(add_lines__takes_every_line_as_it_is)
{
    const char lines[] = "a\n b\r\n\nc c\n\xE4\xB8\xAD\n\xEF\xBF\xBD";

    EXPECT_OK(data_vocab_add_lines(vocab, lines, sizeof(lines) - 1, "vocab.txt"));
    ck_assert_int_eq(data_vocab_count(vocab), 6);
    ck_assert_int_eq(find("a"), 0);
    ck_assert_int_eq(find(" b"), 1);
    ck_assert_int_eq(find(""), 2);
    ck_assert_int_eq(find("c c"), 3);
    ck_assert_int_eq(find("\xE4\xB8\xAD"), 4);
    ck_assert_int_eq(find("\xEF\xBF\xBD"), 5);
}
END_TEST

START_TEST(add_lines__finds_a_token_that_is_there_twice_under_its_last_id)
{
    EXPECT_OK(data_vocab_add_lines(vocab, "x\ny\nx\n", 6, "vocab.txt"));
    ck_assert_int_eq(data_vocab_count(vocab), 3);
    ck_assert_int_eq(find("x"), 2);
    has_text(0, "x");
    has_text(2, "x");
}
END_TEST

START_TEST(add_lines__refuses_what_is_no_text)
{
    EXPECT_ERR(data_vocab_add_lines(vocab, "", 0, "v"), ERR_CORRUPT, "v: empty");
    EXPECT_ERR(data_vocab_add_lines(vocab, "a\nb\0c\n", 6, "v"), ERR_CORRUPT,
               "v: line 2: found a NUL byte");
    EXPECT_ERR(data_vocab_add_lines(vocab, "a\n\n\xC3(\n", 6, "v"), ERR_CORRUPT,
               "v: line 3: found bytes that are not UTF-8");
}
END_TEST

static enum err add_object(const char *text)
{
    struct jdoc *doc = NULL;

    EXPECT_OK(jdoc_parse(text, strlen(text), "test", &doc));
    const enum err status = data_vocab_add_object(vocab, doc, "v.json");
    jdoc_close(doc);
    return status;
}

START_TEST(add_object__orders_tokens_by_their_ids)
{
    EXPECT_OK(add_object("{\"b\": 1, \"\\u00e9\": 2, \"a\": 0}"));
    has_text(0, "a");
    has_text(1, "b");
    has_text(2, "\xC3\xA9");
    ck_assert_int_eq(find("b"), 1);
}
END_TEST

START_TEST(add_object__refuses_ids_that_are_not_0_to_the_count)
{
    EXPECT_ERR(add_object("[]"), ERR_CORRUPT, "v.json: expected an object");
    EXPECT_ERR(add_object("{}"), ERR_CORRUPT, "v.json: expected an object of 1 to");
    EXPECT_ERR(data_vocab_add_object(vocab, NULL, "v.json"), ERR_CORRUPT, "expected an object");
    EXPECT_ERR(add_object("{\"a\": \"0\"}"), ERR_CORRUPT, "token \"a\": the id is no integer");
    EXPECT_ERR(add_object("{\"a\": 0, \"b\": 2}"), ERR_CORRUPT,
               "token \"b\": id 2, expected 0 to 1");
    EXPECT_ERR(add_object("{\"a\": 0, \"b\": -1}"), ERR_CORRUPT, "token \"b\": id -1");
    EXPECT_ERR(add_object("{\"a\": 0, \"b\": 0}"), ERR_CORRUPT, "both have id 0");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_vocab");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, open_vocab, close_vocab);
    tcase_add_test(tests, add__gives_ids_in_order_and_finds_them_when_the_table_has_grown);
    tcase_add_test(tests, add_lines__takes_every_line_as_it_is);
    tcase_add_test(tests, add_lines__finds_a_token_that_is_there_twice_under_its_last_id);
    tcase_add_test(tests, add_lines__refuses_what_is_no_text);
    tcase_add_test(tests, add_object__orders_tokens_by_their_ids);
    tcase_add_test(tests, add_object__refuses_ids_that_are_not_0_to_the_count);
    suite_add_tcase(suite, tests);
    return suite;
}
