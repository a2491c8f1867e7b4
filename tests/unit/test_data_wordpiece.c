/*
 * Unit tests of data/data_wordpiece.c and data_wordpiece_file.c: against ids that Hugging
 * Face's BertTokenizerFast gives (made by tests/text/text_golden.py), and on bad folders.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "data/data_wordpiece.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "tests/support/text_golden.h"

static struct temp_folder folder;

static void make_folder(void)
{
    temp_folder_open(&folder);
}

static void free_folder(void)
{
    temp_folder_close(&folder);
}

static void write_text(const char *name, const char *text)
{
    temp_folder_write(&folder, name, text, strlen(text));
}

static int64_t encode(const void *tokenizer, const char *text, size_t bytes, int32_t *ids,
                      int64_t ids_max)
{
    return data_wordpiece_encode(tokenizer, text, bytes, ids, ids_max);
}

static void has_golden_ids(const char *config, const char *name)
{
    struct data_wordpiece *tokenizer = NULL;

    text_golden_copy(&folder, "vocab.txt", "vocab.txt");
    write_text("tokenizer_config.json", config);
    EXPECT_OK(data_wordpiece_open(folder.path, &tokenizer));
    ck_assert_int_gt(text_golden_check(name, 128, encode, tokenizer), 100);
    data_wordpiece_close(tokenizer);
}

START_TEST(encode__gives_the_ids_of_hugging_face_for_hard_cases)
{
    has_golden_ids("{}", "wordpiece.ids");
    has_golden_ids("{\"do_lower_case\": true, \"strip_accents\": null}", "wordpiece.ids");
    has_golden_ids("{\"do_lower_case\": false}", "wordpiece_cased.ids");
    has_golden_ids("{\"strip_accents\": false, \"tokenize_chinese_chars\": false}",
                   "wordpiece_plain.ids");
}
END_TEST

/* [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3 are before these. */
static struct data_wordpiece *open_small(const char *tokens)
{
    struct data_wordpiece *tokenizer = NULL;
    char vocab[512];

    snprintf(vocab, sizeof(vocab), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n%s", tokens);
    write_text("vocab.txt", vocab);
    EXPECT_OK(data_wordpiece_open(folder.path, &tokenizer));
    return tokenizer;
}

static void gives(const struct data_wordpiece *tokenizer, const char *text, int64_t ids_max,
                  const char *expected)
{
    char found[256] = "";
    int32_t ids[32];

    const int64_t count = data_wordpiece_encode(tokenizer, text, strlen(text), ids, ids_max);
    for (int64_t i = 0; i < count; i++) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof(found) - used, "%s%" PRId32, i == 0 ? "" : " ", ids[i]);
    }
    ck_assert_str_eq(found, expected);
}

/* Worked by hand: the longest piece first, and no way back from it. */
START_TEST(encode__takes_the_longest_piece_and_does_not_go_back)
{
    struct data_wordpiece *tokenizer = open_small("a\nab\n##b\n##bc\n##c\n##cd\n#\n");

    gives(tokenizer, "ab abc abcd", 32, "2 5 5 8 5 9 3");
    gives(tokenizer, "abd a#b", 32, "2 1 4 10 1 3");
    gives(tokenizer, "", 32, "2 3");
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(encode__cuts_what_has_no_room_before_the_last_id)
{
    struct data_wordpiece *tokenizer = open_small("a\n##b\n##c\n");

    gives(tokenizer, "abc a", 6, "2 4 5 6 4 3");
    gives(tokenizer, "abc a", 5, "2 4 5 6 3");
    gives(tokenizer, "abc a", 4, "2 4 5 3");
    gives(tokenizer, "abc a", 3, "2 4 3");
    gives(tokenizer, "abcx a", 3, "2 1 3"); /* unknown by what is cut off */
    gives(tokenizer, "abc a", 2, "2 3");
    data_wordpiece_close(tokenizer);
}
END_TEST

/* U+1D165 and U+1D166 have class 216, U+1D16D 226: marks, but no accents, so they stay. */
START_TEST(encode__puts_marks_into_canonical_order)
{
    struct data_wordpiece *tokenizer = open_small("x\xF0\x9D\x85\xA5\xF0\x9D\x85\xAD\n"
                                                  "y\xF0\x9D\x85\xA5\xF0\x9D\x85\xA6\n");

    gives(tokenizer, "x\xF0\x9D\x85\xA5\xF0\x9D\x85\xAD", 32, "2 4 3");
    gives(tokenizer, "x\xF0\x9D\x85\xAD\xF0\x9D\x85\xA5", 32, "2 4 3");
    gives(tokenizer, "y\xF0\x9D\x85\xA5\xF0\x9D\x85\xA6", 32, "2 5 3");
    gives(tokenizer, "y\xF0\x9D\x85\xA6\xF0\x9D\x85\xA5", 32, "2 1 3"); /* as they stood */
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(encode__parts_words_at_a_carriage_return_alone)
{
    struct data_wordpiece *tokenizer = open_small("a\nb\nab\n");

    gives(tokenizer,
          "a\rb\ta\nb\x01"
          "b",
          32, "2 4 5 4 1 3");
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(encode__knows_a_piece_of_id_0)
{
    struct data_wordpiece *tokenizer = NULL;

    write_text("vocab.txt", "a\n[UNK]\n[CLS]\n[SEP]\n[PAD]\n");
    EXPECT_OK(data_wordpiece_open(folder.path, &tokenizer));
    gives(tokenizer, "a b", 32, "2 0 1 3");
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(encode__leaves_a_special_token_that_the_vocabulary_lacks_a_text)
{
    struct data_wordpiece *tokenizer = open_small("[\n]\nmask\n");

    gives(tokenizer, "[MASK][SEP]", 32, "2 4 6 5 3 3");
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(open__reads_a_tokenizer_json_where_there_is_no_vocab_txt)
{
    struct data_wordpiece *tokenizer = NULL;

    write_text("tokenizer.json",
               "{\"normalizer\": {\"lowercase\": false}, \"model\": {\"type\": \"WordPiece\", "
               "\"vocab\": {\"A\": 4, \"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3}}}");
    EXPECT_OK(data_wordpiece_open(folder.path, &tokenizer));
    gives(tokenizer, "A a", 32, "2 4 1 3");
    ck_assert(!tokenizer->lowers && !tokenizer->strips_accents && tokenizer->splits_ideographs);
    data_wordpiece_close(tokenizer);

    write_text("tokenizer_config.json", "{\"do_lower_case\": true}"); /* goes before */
    EXPECT_OK(data_wordpiece_open(folder.path, &tokenizer));
    ck_assert(tokenizer->lowers && tokenizer->strips_accents);
    data_wordpiece_close(tokenizer);
}
END_TEST

START_TEST(open__refuses_a_folder_that_is_no_tokenizer)
{
    struct data_wordpiece *tokenizer = NULL;

    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_MISSING,
               "vocab.txt: no such file, nor with .gz; expected the folder of a BERT model");
    write_text("tokenizer.json", "{\"model\": {\"type\": \"BPE\"}}");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "tokenizer.json: model.type is BPE, expected WordPiece");
    write_text("tokenizer.json", "{\"model\": {\"type\": \"WordPiece\"}}");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "tokenizer.json: model.vocab: expected an object");
    write_text("vocab.txt", "[PAD]\n[UNK]\n[SEP]\n");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "vocab.txt: [CLS] is none of its 3 tokens");
    write_text("vocab.txt", "[PAD]\n[UNK]\n[SEP]\n[CLS]\n");
    write_text("tokenizer_config.json", "{\"do_lower_case\": \"yes\"}");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "tokenizer_config.json: do_lower_case: expected true, false or null");
    write_text("tokenizer_config.json", "[");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "tokenizer_config.json: line 1 column 1: not JSON");
    write_text("tokenizer_config.json", "[]");
    EXPECT_ERR(data_wordpiece_open(folder.path, &tokenizer), ERR_CORRUPT,
               "tokenizer_config.json: expected a JSON object");
    ck_assert_ptr_null(tokenizer);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_wordpiece");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, make_folder, free_folder);
    tcase_add_test(tests, encode__gives_the_ids_of_hugging_face_for_hard_cases);
    tcase_add_test(tests, encode__takes_the_longest_piece_and_does_not_go_back);
    tcase_add_test(tests, encode__cuts_what_has_no_room_before_the_last_id);
    tcase_add_test(tests, encode__puts_marks_into_canonical_order);
    tcase_add_test(tests, encode__parts_words_at_a_carriage_return_alone);
    tcase_add_test(tests, encode__knows_a_piece_of_id_0);
    tcase_add_test(tests, encode__leaves_a_special_token_that_the_vocabulary_lacks_a_text);
    tcase_add_test(tests, open__reads_a_tokenizer_json_where_there_is_no_vocab_txt);
    tcase_add_test(tests, open__refuses_a_folder_that_is_no_tokenizer);
    suite_add_tcase(suite, tests);
    return suite;
}
