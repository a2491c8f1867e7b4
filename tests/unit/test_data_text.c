/* Unit tests of data/data_text.c and data_labels.c, and of data_set.c on texts. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/data_set.h"
#include "data/data_tokenizer.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "tests/support/text_golden.h"

static struct temp_folder folder;
static struct data_tokenizer *tokenizer;
static struct data_set *set;

static void write_text(const char *name, const char *text)
{
    temp_folder_write(&folder, name, text, strlen(text));
}

static void remove_file(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder.path, name);
    ck_assert_int_eq(unlink(path), 0);
}

static void open_tokenizer(void)
{
    temp_folder_open(&folder);
    write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n"); /* a is 4 */
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
    const struct data_set_source source = {.format = DATA_TEXT,
                                           .folder = folder.path,
                                           .part = part,
                                           .tokenizer = tokenizer,
                                           .tokens_max = tokens_max};

    data_set_close(set);
    set = NULL;
    return data_set_open(&source, &set);
}

static void has_labels(const int32_t *expected, int64_t count)
{
    ck_assert_int_eq(set->shape.count, count);
    for (int64_t i = 0; i < count; i++) {
        ck_assert_int_eq(set->labels[i], expected[i]);
    }
}

static void has_names(const char *expected)
{
    char found[256] = "";

    for (int64_t i = 0; i < set->shape.class_count; i++) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof(found) - used, "%s%s", i == 0 ? "" : " ",
                 set->class_names[i]);
    }
    ck_assert_str_eq(found, expected);
}

START_TEST(open__gives_ragged_tokens_labels_and_names)
{
    write_text("train.tsv", "pos\ta b c a\nneg\t\npos\tc\nneutral\tz\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    ck_assert_int_eq(set->kind, DATA_TEXTS);
    has_names("neg neutral pos");
    has_labels((const int32_t[]){2, 0, 2, 1}, 4);
    const int64_t offsets[] = {0, 6, 8, 11, 14};
    const int32_t tokens[] = {2, 4, 5, 6, 4, 3, 2, 3, 2, 6, 3, 2, 1, 3};
    ck_assert_mem_eq(set->offsets, offsets, sizeof(offsets));
    ck_assert_mem_eq(set->tokens, tokens, sizeof(tokens));
    ck_assert_int_eq(set->tokens_max, 6);
    ck_assert_int_eq(set->pad_id, 0);
    ck_assert_int_eq(data_set_length(set, 2), 3);
    ck_assert_int_eq(set->image_pixels, 0);
    ck_assert_ptr_null(set->images);

    EXPECT_OK(open_part(DATA_TRAIN, 4)); /* cut */
    ck_assert_int_eq(set->tokens_max, 4);
    ck_assert_mem_eq(set->tokens, ((const int32_t[]){2, 4, 5, 3}), 4 * sizeof(int32_t));
    EXPECT_ERR(open_part(DATA_TRAIN, 1), ERR_INVALID, "up to 1 tokens, expected 2 to 8192");
    EXPECT_ERR(open_part(DATA_TRAIN, 8193), ERR_INVALID, "up to 8193 tokens");
}
END_TEST

/* More samples than the arrays have room for at first. */
START_TEST(open__grows_with_the_file)
{
    enum { TEXTS = 50000 };
    static char text[8 * TEXTS + 1];

    for (int i = 0; i < TEXTS; i++) {
        memcpy(text + 8 * i, i % 3 == 0 ? "x\ta b c\n" : "y\tb    \n", 8);
    }
    write_text("train.tsv", text);
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    ck_assert_int_eq(set->shape.count, TEXTS);
    for (int64_t i = 0; i < TEXTS; i++) {
        const bool third = i % 3 == 0;
        if (set->labels[i] != !third || data_set_length(set, i) != (third ? 5 : 3) ||
            set->tokens[set->offsets[i] + 1] != (third ? 4 : 5)) {
            ck_abort_msg("text %d", (int)i);
        }
    }
}
END_TEST

START_TEST(open__takes_the_names_and_their_order_from_labels_txt)
{
    write_text("labels.txt", "pos\nneg\r\nrest");
    write_text("train.tsv", "neg\ta\npos\tb\n2\tc\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("pos neg rest");
    has_labels((const int32_t[]){1, 0, 2}, 3);
    write_text("test.jsonl",
               "{\"text\": \"a\", \"label\": 2}\n{\"text\": \"a\", \"label\": \"neg\"}");
    EXPECT_OK(open_part(DATA_TEST, 16));
    has_labels((const int32_t[]){2, 1}, 2);
    has_names("pos neg rest");
}
END_TEST

START_TEST(open__takes_the_names_of_the_test_from_the_training_file)
{
    write_text("train.tsv", "b\ta\nc\ta\na\ta\n");
    write_text("test.tsv", "c\ta\n");
    EXPECT_OK(open_part(DATA_TEST, 16));
    has_names("a b c");
    has_labels((const int32_t[]){2}, 1);
    write_text("test.tsv", "c\ta\n1\tb\n");
    EXPECT_ERR(open_part(DATA_TEST, 16), ERR_CORRUPT,
               "test.tsv: line 2: label \"1\" is none of the 3 classes of the training file: "
               "\"a\" to \"c\"");
}
END_TEST

START_TEST(open__counts_classes_where_all_labels_are_integers)
{
    write_text("train.tsv", "10\ta\n2\tb\n0\tc\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("0 1 2 3 4 5 6 7 8 9 10");
    has_labels((const int32_t[]){10, 2, 0}, 3);
    write_text("train.tsv", "255\ta\n7\tb\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    ck_assert_int_eq(set->shape.class_count, 256);
    has_labels((const int32_t[]){255, 7}, 2);
    write_text("train.tsv", "256\ta\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("256");
    write_text("train.tsv", "10\ta\nx\tb\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("10 x");
    write_text("train.tsv", "256\ta\n1000\tb\n"); /* too large for numbers of classes */
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("1000 256");
    remove_file("train.tsv");
    write_text("train.jsonl", "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a\", \"label\": 0}");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("0 1");
    has_labels((const int32_t[]){1, 0}, 2);
    write_text("train.jsonl", "{\"text\": \"a\", \"label\": \"1\"}"); /* as it is written */
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("1");
}
END_TEST

START_TEST(open__refuses_labels_that_are_no_class)
{
    write_text("labels.txt", "pos\nneg\n");
    write_text("train.tsv", "pos\ta\nPos\tb\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "train.tsv: line 2: label \"Pos\" is none of the 2 classes of labels.txt");
    write_text("train.tsv", "2\ta\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "train.tsv: line 1: label \"2\"");
    remove_file("train.tsv");
    write_text("train.jsonl", "{\"text\": \"a\", \"label\": 2}");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "train.jsonl: line 1: label 2, expected 0 to 1, as labels.txt has 2 classes");
    write_text("train.jsonl", "{\"text\": \"a\", \"label\": -1}");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "line 1: label -1, expected 0 to 1");
    remove_file("labels.txt");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "line 1: label -1, expected 0 to 255");
    write_text("train.jsonl", "{\"text\": \"a\", \"label\": 256}");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "line 1: label 256, expected 0 to 255");
    write_text("train.jsonl",
               "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"a\", \"label\": \"x\"}");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "line 2: the label is a string, expected an integer as on the first line");
    write_text("train.jsonl",
               "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"a\", \"label\": 0}");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "line 2: the label is an integer, expected a string as on the first line");
}
END_TEST

START_TEST(open__refuses_a_labels_txt_that_is_no_list_of_names)
{
    static char many[257 * 4 + 1];

    write_text("train.tsv", "a\ta\n");
    write_text("labels.txt", "");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "labels.txt: empty, expected the name");
    write_text("labels.txt", "a\n\nb\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "labels.txt: line 2: a name of 0 bytes");
    write_text("labels.txt", "a\nb\na\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "labels.txt: line 3: class \"a\" is on line 1, too");
    memset(many, 'x', 257);
    write_text("labels.txt", many);
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "labels.txt: line 1: a name of 257 bytes, expected 1 to 256");
    temp_folder_write(&folder, "labels.txt", "a\0b", 3);
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "one of them NUL");
    for (int i = 0; i < 257; i++) {
        const char digits[] = {(char)('0' + i / 100), (char)('0' + i / 10 % 10),
                               (char)('0' + i % 10), '\n'};
        memcpy(many + 4 * i, digits, 4);
    }
    write_text("labels.txt", many);
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "labels.txt: line 257: class \"256\" is one more than 256");
    remove_file("labels.txt");
    for (int i = 0; i < 257; i++) { /* names of the training file, none a number */
        const char line[] = {(char)('a' + i / 16), (char)('a' + i % 16), '\t', '\n'};
        memcpy(many + 4 * i, line, 4);
    }
    write_text("train.tsv", many);
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT,
               "train.tsv: line 257: class \"qa\" is one more than 256");
}
END_TEST

START_TEST(open__passes_on_what_the_reader_refuses)
{
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_MISSING, "train.tsv: no such file");
    write_text("train.tsv", "");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "train.tsv: no text in it");
    write_text("test.tsv", "a\tb\n");
    EXPECT_ERR(open_part(DATA_TEST, 16), ERR_CORRUPT, "train.tsv: no text in it");
    remove_file("test.tsv");
    write_text("labels.txt", "a\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "train.tsv: no text in it");
    EXPECT_ERR(open_part(DATA_TEST, 16), ERR_MISSING, "test.tsv: no such file");
    write_text("train.tsv", "a\tb\nc\n");
    EXPECT_ERR(open_part(DATA_TRAIN, 16), ERR_CORRUPT, "train.tsv: line 2: found 1 field");
}
END_TEST

START_TEST(open__reads_gzip)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/train.tsv.gz", folder.path);
    gzFile file = gzopen(path, "wb");
    ck_assert_int_eq(gzputs(file, "x\ta\ny\tb\n"), 8);
    gzclose(file);
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    has_names("x y");
}
END_TEST

START_TEST(open__gives_an_empty_text_of_gpt2_one_token)
{
    data_tokenizer_close(tokenizer);
    remove_file("vocab.txt");
    text_golden_copy(&folder, "vocab.json", "vocab.json");
    text_golden_copy(&folder, "merges.txt", "merges.txt");
    EXPECT_OK(data_tokenizer_open(folder.path, &tokenizer));
    write_text("train.tsv", "x\t\nx\ta\n");
    EXPECT_OK(open_part(DATA_TRAIN, 16));
    ck_assert_int_eq(data_set_length(set, 0), 1);
    ck_assert_int_eq(set->tokens[0], tokenizer->pad_id);
    ck_assert_int_eq(set->pad_id, tokenizer->pad_id);
    ck_assert_int_eq(data_set_length(set, 1), 1);
}
END_TEST

START_TEST(hash__depends_on_tokens_where_texts_end_and_labels)
{
    const char *const files[] = {"x\ta b\ny\tc\n", "x\ta\ny\tb c\n", "y\ta b\nx\tc\n",
                                 "x\ta b\ny\ta\n", "x\ta  b\r\ny\tc"};
    struct hash hashes[5];

    write_text("labels.txt", "x\ny\n");
    for (int i = 0; i < 5; i++) {
        write_text("train.tsv", files[i]);
        EXPECT_OK(open_part(DATA_TRAIN, 16));
        hashes[i] = set->hash;
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < i; j++) {
            ck_assert_msg(!hash_is_same(hashes[i], hashes[j]), "%d and %d", i, j);
        }
    }
    ck_assert(hash_is_same(hashes[0], hashes[4])); /* the same tokens */

    data_set_close(set);
    EXPECT_OK(data_set_open_blank_text(2, 3, 1, &set));
    for (int i = 0; i < 2; i++) { /* the same tokens, parted otherwise */
        set->offsets[1] = i + 1;
        set->offsets[2] = 3;
        EXPECT_OK(data_set_hash(set, &hashes[i]));
    }
    ck_assert(!hash_is_same(hashes[0], hashes[1]));
}
END_TEST

START_TEST(open_blank_text__refuses_sizes_out_of_range)
{
    EXPECT_ERR(data_set_open_blank_text(0, 1, 1, &set), ERR_INVALID, "0 samples");
    EXPECT_ERR(data_set_open_blank_text(1, 1, 0, &set), ERR_INVALID, "class_count is 0");
    EXPECT_ERR(data_set_open_blank_text(1, 1, 257, &set), ERR_INVALID, "class_count is 257");
    EXPECT_ERR(data_set_open_blank_text(1, -1, 1, &set), ERR_NO_MEMORY, "-1 tokens");
    EXPECT_ERR(data_set_open_blank_text(1, INT64_MAX, 1, &set), ERR_NO_MEMORY, "tokens");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_text");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, open_tokenizer, close_tokenizer);
    tcase_add_test(tests, open__gives_ragged_tokens_labels_and_names);
    tcase_add_test(tests, open__grows_with_the_file);
    tcase_add_test(tests, open__takes_the_names_and_their_order_from_labels_txt);
    tcase_add_test(tests, open__takes_the_names_of_the_test_from_the_training_file);
    tcase_add_test(tests, open__counts_classes_where_all_labels_are_integers);
    tcase_add_test(tests, open__refuses_labels_that_are_no_class);
    tcase_add_test(tests, open__refuses_a_labels_txt_that_is_no_list_of_names);
    tcase_add_test(tests, open__passes_on_what_the_reader_refuses);
    tcase_add_test(tests, open__reads_gzip);
    tcase_add_test(tests, open__gives_an_empty_text_of_gpt2_one_token);
    tcase_add_test(tests, hash__depends_on_tokens_where_texts_end_and_labels);
    tcase_add_test(tests, open_blank_text__refuses_sizes_out_of_range);
    suite_add_tcase(suite, tests);
    return suite;
}
