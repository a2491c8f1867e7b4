/* Unit tests of data/data_tokenizer.c: which kind a folder holds. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>

#include "data/data_tokenizer.h"
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

START_TEST(open__knows_gpt2_by_its_vocab_json)
{
    struct data_tokenizer *tokenizer = NULL;
    int32_t ids[16];
    int64_t count = 0;

    text_golden_copy(&folder, "vocab.json", "vocab.json");
    text_golden_copy(&folder, "merges.txt", "merges.txt");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
    ck_assert_ptr_nonnull(tokenizer->bpe);
    ck_assert_ptr_null(tokenizer->wordpiece);
    ck_assert_int_eq(tokenizer->vocab_count, 900);
    ck_assert_int_eq(tokenizer->pad_id, tokenizer->bpe->end_id);
    EXPECT_OK(data_tokenizer_encode(tokenizer, "", 0, ids, 16, &count));
    ck_assert_int_eq(count, 0);
    data_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(open__knows_bert_by_its_vocab_txt_or_the_type_in_tokenizer_json)
{
    struct data_tokenizer *tokenizer = NULL;
    int32_t ids[16];
    int64_t count = 0;

    write_text("tokenizer.json",
               "{\"model\": {\"type\": \"WordPiece\", "
               "\"vocab\": {\"[UNK]\": 0, \"[CLS]\": 1, \"[SEP]\": 2, \"[PAD]\": 3}}}");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
    ck_assert_ptr_nonnull(tokenizer->wordpiece);
    ck_assert_ptr_null(tokenizer->bpe);
    ck_assert_int_eq(tokenizer->vocab_count, 4);
    ck_assert_int_eq(tokenizer->pad_id, 3);
    EXPECT_OK(data_tokenizer_encode(tokenizer, "x", 1, ids, 16, &count));
    ck_assert_int_eq(count, 3);
    data_tokenizer_close(tokenizer);

    text_golden_copy(&folder, "vocab.json", "vocab.json"); /* does not count beside it */
    write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nx\n");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
    ck_assert_ptr_nonnull(tokenizer->wordpiece);
    ck_assert_int_eq(tokenizer->vocab_count, 5);
    data_tokenizer_close(tokenizer);
}
END_TEST

START_TEST(open__refuses_what_is_neither)
{
    struct data_tokenizer *tokenizer = NULL;

    EXPECT_ERR(data_tokenizer_open(folder.path, &tokenizer), ERR_MISSING,
               "no tokenizer: expected vocab.txt (BERT), vocab.json and merges.txt");
    write_text("tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
    EXPECT_ERR(data_tokenizer_open(folder.path, &tokenizer), ERR_CORRUPT,
               "model.type is Unigram, expected WordPiece");
    write_text("tokenizer.json", "{\"model\": {\"type\": \"BPE\"}}");
    EXPECT_ERR(data_tokenizer_open(folder.path, &tokenizer), ERR_CORRUPT, "model.vocab");
    ck_assert_ptr_null(tokenizer);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_tokenizer");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, make_folder, free_folder);
    tcase_add_test(tests, open__knows_gpt2_by_its_vocab_json);
    tcase_add_test(tests, open__knows_bert_by_its_vocab_txt_or_the_type_in_tokenizer_json);
    tcase_add_test(tests, open__refuses_what_is_neither);
    suite_add_tcase(suite, tests);
    return suite;
}
