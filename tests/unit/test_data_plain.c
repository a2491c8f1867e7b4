/* Unit tests of data/data_plain.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "data/data_plain.h"
#include "data/data_stream.h"
#include "data/data_tokenizer.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "tests/support/text_golden.h"

enum { TEXT_BYTES = 400000, BLOCK = 64 };

static struct temp_folder folder;
static struct data_tokenizer *tokenizer;
static struct data_set *set;
static char text[TEXT_BYTES];
static int32_t ids[3 * TEXT_BYTES];

static void open_tokenizer(void)
{
    temp_folder_open(&folder);
    text_golden_copy(&folder, "vocab.json", "vocab.json");
    text_golden_copy(&folder, "merges.txt", "merges.txt");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
}

static void close_tokenizer(void)
{
    data_set_close(set);
    set = NULL;
    data_tokenizer_close(tokenizer);
    temp_folder_close(&folder);
}

static enum err open_part(enum data_part part, int64_t tokens_max)
{
    const struct data_set_source source = {.format = DATA_PLAIN,
                                           .folder = folder.path,
                                           .part = part,
                                           .tokenizer = tokenizer,
                                           .tokens_max = tokens_max};

    data_set_close(set);
    set = NULL;
    return data_set_open(&source, &set);
}

/* The hard cases again and again, with kinds of white space at the ends of lines. */
static void make_text(void)
{
    static const char *const ends[] = {"\n", "\n\n", " \n", "\n \n", "\r\n", "\n\xC2\xA0", "\n\t"};
    FILE *cases = text_golden_open("hard_cases.txt");
    char *line = NULL;
    size_t room = 0;
    size_t used = 0;

    for (int i = 0; used < TEXT_BYTES; i++) {
        ssize_t bytes = getline(&line, &room, cases);
        if (bytes < 0) {
            rewind(cases);
            continue;
        }
        bytes -= line[bytes - 1] == '\n';
        const size_t count = text_case_unescape(line, (size_t)bytes);
        for (size_t j = 0; j < count && used < TEXT_BYTES; j++) {
            text[used++] = line[j];
        }
        for (const char *c = ends[i % 7]; *c != '\0' && used < TEXT_BYTES; c++) {
            text[used++] = *c;
        }
    }
    free(line);
    fclose(cases);
}

START_TEST(piece__ends_where_a_word_does)
{
    static const size_t sizes[] = {1, 7, 100, 5000};
    int64_t whole = 0;

    make_text();
    EXPECT_OK(data_tokenizer_encode(tokenizer, text, 20000, ids, 60000, &whole));
    for (int i = 0; i < 4; i++) {
        static int32_t found[60000];
        int64_t count = 0;
        for (size_t at = 0; at < 20000;) {
            const size_t end = data_plain_piece(text, 20000, at, sizes[i]);
            int64_t now = 0;
            ck_assert(end > at && end <= 20000 && (end - at >= sizes[i] || end == 20000));
            EXPECT_OK(data_tokenizer_encode(tokenizer, text + at, end - at, found + count,
                                            60000 - count, &now));
            count += now;
            at = end;
        }
        ck_assert_int_eq(count, whole);
        ck_assert_mem_eq(found, ids, (size_t)whole * sizeof(*ids));
    }
}
END_TEST

START_TEST(piece__does_not_end_where_a_word_might_go_on)
{
    static const char text_of_lines[] = "a \n<|endoftext|>b\n\nc\n\xC2\xA0"
                                        "d\n e\nf";

    ck_assert_uint_eq(data_plain_piece(text_of_lines, sizeof(text_of_lines) - 1, 0, 1), 18);
    ck_assert_uint_eq(data_plain_piece(text_of_lines, sizeof(text_of_lines) - 1, 19, 1), 27);
    ck_assert_uint_eq(data_plain_piece("\na", 2, 0, 0), 2); /* not nothing */
}
END_TEST

START_TEST(open__cuts_the_tokens_of_the_file_into_blocks)
{
    int64_t count = 0;

    make_text();
    temp_folder_write(&folder, "train.txt", text, TEXT_BYTES);
    EXPECT_OK(open_part(DATA_TRAIN, BLOCK));
    EXPECT_OK(data_tokenizer_encode(tokenizer, text, TEXT_BYTES, ids, 3 * TEXT_BYTES, &count));
    ck_assert_int_gt(count, 200000);
    ck_assert_int_eq(set->kind, DATA_TEXTS);
    ck_assert_int_eq(set->shape.count, (count - 1) / BLOCK);
    ck_assert_int_eq(set->shape.class_count, tokenizer->vocab_count);
    ck_assert_int_eq(set->labels_per_sample, BLOCK);
    ck_assert_int_eq(set->tokens_max, BLOCK);
    ck_assert_int_eq(set->pad_id, tokenizer->pad_id);
    ck_assert_mem_eq(set->tokens, ids, (size_t)(set->shape.count * BLOCK) * sizeof(*ids));
    ck_assert_mem_eq(set->labels, ids + 1, (size_t)(set->shape.count * BLOCK) * sizeof(*ids));
    for (int64_t i = 0; i < set->shape.count; i++) {
        if (data_set_length(set, i) != BLOCK) {
            ck_abort_msg("block %d", (int)i);
        }
    }
}
END_TEST

START_TEST(stream__gives_every_token_of_a_block_its_label)
{
    enum { BATCH = 4 };
    static const uint32_t samples[BATCH] = {3, 0, 5, 2};
    struct data_stream_options options = {.samples = samples,
                                          .sample_count = BATCH,
                                          .batch_samples = BATCH,
                                          .micro_samples = 2,
                                          .rank_count = 1};
    struct data_stream *stream = NULL;
    struct data_batch batch;

    make_text();
    temp_folder_write(&folder, "train.txt", text, TEXT_BYTES);
    EXPECT_OK(open_part(DATA_TRAIN, BLOCK));
    options.set = set;
    EXPECT_OK(data_stream_open(&options, 0, &stream));
    for (int step = 0; step < 5; step++) {
        EXPECT_OK(data_stream_next(stream, &batch));
        for (int64_t i = 0; i < BATCH; i++) {
            const int32_t *tokens = set->tokens + (int64_t)batch.samples[i] * BLOCK;
            ck_assert_mem_eq(batch.tokens + i * BLOCK, tokens, BLOCK * sizeof(*tokens));
            ck_assert_mem_eq(batch.labels + i * BLOCK, tokens + 1, BLOCK * sizeof(*tokens));
        }
    }
    data_stream_close(stream);
}
END_TEST

START_TEST(hash__knows_the_last_label_which_no_block_holds)
{
    struct hash first;

    temp_folder_write(&folder, "train.txt", "!?!?!", 5);
    EXPECT_OK(open_part(DATA_TRAIN, 2));
    first = set->hash;
    temp_folder_write(&folder, "train.txt", "!?!??", 5);
    EXPECT_OK(open_part(DATA_TRAIN, 2));
    ck_assert(set->hash.low != first.low || set->hash.high != first.high);
}
END_TEST

START_TEST(open__refuses_a_text_shorter_than_a_block_and_another_tokenizer)
{
    EXPECT_ERR(open_part(DATA_TEST, BLOCK), ERR_MISSING, "test.txt: no such file, nor with .gz");
    temp_folder_write(&folder, "test.txt", "!?!", 3);
    EXPECT_ERR(open_part(DATA_TEST, BLOCK), ERR_CORRUPT,
               "test.txt: 3 tokens, expected at least a block of 64 and one to predict");
    EXPECT_ERR(open_part(DATA_TEST, 3), ERR_CORRUPT, "test.txt: 3 tokens");
    EXPECT_OK(open_part(DATA_TEST, 2));
    temp_folder_write(&folder, "test.txt", "", 0);
    EXPECT_ERR(open_part(DATA_TEST, BLOCK), ERR_CORRUPT, "test.txt: 0 tokens");
    EXPECT_ERR(open_part(DATA_TEST, 1), ERR_INVALID, "blocks of 1 tokens, expected 2 to 8192");
    EXPECT_ERR(open_part(DATA_TEST, 8193), ERR_INVALID, "blocks of 8193 tokens");
    data_tokenizer_close(tokenizer);
    text_golden_copy(&folder, "vocab.txt", "vocab.txt");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
    EXPECT_ERR(open_part(DATA_TEST, BLOCK), ERR_CONFIG, "expected that of GPT-2");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_plain");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, open_tokenizer, close_tokenizer);
    tcase_add_test(tests, piece__ends_where_a_word_does);
    tcase_add_test(tests, piece__does_not_end_where_a_word_might_go_on);
    tcase_add_test(tests, open__cuts_the_tokens_of_the_file_into_blocks);
    tcase_add_test(tests, open__refuses_a_text_shorter_than_a_block_and_another_tokenizer);
    tcase_add_test(tests, stream__gives_every_token_of_a_block_its_label);
    tcase_add_test(tests, hash__knows_the_last_label_which_no_block_holds);
    suite_add_tcase(suite, tests);
    return suite;
}
