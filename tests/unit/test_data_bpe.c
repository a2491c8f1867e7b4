/*
 * Unit tests of data/data_bpe.c, data_bpe_pairs.c and data_bpe_file.c: against ids that Hugging
 * Face's GPT2TokenizerFast gives (made by tests/text/text_golden.py), against merging by
 * looking for the best pair again and again, and on bad folders.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "data/data_bpe.h"
#include "data/data_bpe_pairs.h"
#include "data/data_unicode.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "tests/support/text_golden.h"

static struct temp_folder folder;
static struct data_bpe *golden;

static void open_golden(void)
{
    temp_folder_open(&folder);
    text_golden_copy(&folder, "vocab.json", "vocab.json");
    text_golden_copy(&folder, "merges.txt", "merges.txt");
    EXPECT_OK(data_bpe_open(folder.path, &golden));
}

static void close_golden(void)
{
    data_bpe_close(golden);
    temp_folder_close(&folder);
}

static int64_t encode(const void *tokenizer, const char *text, size_t bytes, int32_t *ids,
                      int64_t ids_max)
{
    int64_t count = 0;

    EXPECT_OK(data_bpe_encode(tokenizer, text, bytes, ids, ids_max, &count));
    return count;
}

START_TEST(encode__gives_the_ids_of_hugging_face_for_hard_cases)
{
    ck_assert_int_gt(text_golden_check("bpe.ids", 256, encode, golden), 100);
}
END_TEST

/* As the definition says: the pair of least rank, of its places the leftmost, again and again. */
static int64_t merge_slowly(int32_t *ids, int64_t count)
{
    for (;;) {
        struct data_bpe_merge best = {.rank = INT32_MAX};
        int64_t best_at = -1;
        for (int64_t i = 0; i + 1 < count; i++) {
            const struct data_bpe_merge merge =
                data_bpe_pairs_find(golden->pairs, ids[i], ids[i + 1]);
            if (merge.rank >= 0 && merge.rank < best.rank) {
                best = merge;
                best_at = i;
            }
        }
        if (best_at < 0) {
            return count;
        }
        ids[best_at] = best.id;
        memmove(ids + best_at + 1, ids + best_at + 2, (size_t)(count - best_at - 2) * sizeof(*ids));
        count--;
    }
}

START_TEST(encode__merges_as_looking_for_the_best_pair_each_time_does)
{
    static const char letters[] = "theinraosl";
    static const int64_t lengths[] = {1, 2, 3, 7, 40, 128, 129, 1000};
    char text[1000];
    int32_t expected[1000] = {0};
    int32_t found[1000] = {0};

    for (int round = 0; round < 40; round++) {
        const int64_t bytes = lengths[round % 8];
        bytes_from_seed((uint8_t *)text, sizeof(text), (uint64_t)round);
        for (int64_t i = 0; i < bytes; i++) {
            text[i] = letters[(uint8_t)text[i] % 10];
            expected[i] = golden->byte_ids[(uint8_t)text[i]];
        }
        const int64_t expected_count = merge_slowly(expected, bytes);
        ck_assert_int_eq(encode(golden, text, (size_t)bytes, found, 1000), expected_count);
        ck_assert_mem_eq(found, expected, (size_t)expected_count * sizeof(*found));
    }
}
END_TEST

START_TEST(encode__cuts_what_has_no_room)
{
    const char text[] = "the the the <|endoftext|> the";
    int32_t all[64];
    int32_t some[64];
    const int64_t count = encode(golden, text, sizeof(text) - 1, all, 64);

    ck_assert_int_gt(count, 5);
    for (int64_t room = 1; room < count; room++) {
        ck_assert_int_eq(encode(golden, text, sizeof(text) - 1, some, room), room);
        ck_assert_mem_eq(some, all, (size_t)room * sizeof(*all));
    }
    ck_assert_int_eq(encode(golden, "", 0, some, 1), 0);
}
END_TEST

START_TEST(decode__gives_the_bytes_of_the_text_back)
{
    char text[512];
    char found[3 * sizeof(text)];
    int32_t ids[3 * sizeof(text)];

    for (int byte = 0; byte < 0x80; byte++) {
        text[byte] = (char)byte;
    }
    memcpy(text + 0x80, "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80<|endoftext|>", 22);
    const size_t bytes = 0x80 + 22;
    const int64_t count = encode(golden, text, bytes, ids, 3 * sizeof(text));
    ck_assert_uint_eq(data_bpe_decode(golden, ids, count, found, sizeof(found)), bytes);
    ck_assert_mem_eq(found, text, bytes);
    for (int byte = 0; byte < 256; byte++) { /* a byte alone, which may be no text */
        ck_assert_uint_eq(data_bpe_decode(golden, &golden->byte_ids[byte], 1, found, 1), 1);
        ck_assert_int_eq((uint8_t)found[0], byte);
    }
    ck_assert_int_eq(encode(golden, "a\xFFz", 3, ids, 16), 3 - 1 + 3); /* U+FFFD, no merges */
    ck_assert_uint_eq(data_bpe_decode(golden, ids, 5, found, 16), 5);
    ck_assert_mem_eq(found, "a\xEF\xBF\xBDz", 5);
}
END_TEST

START_TEST(decode__counts_what_has_no_room_and_skips_ids_that_are_not_there)
{
    int32_t ids[16];
    char found[4] = "xxxx";
    const int64_t count = encode(golden, "hello", 5, ids, 16);

    ck_assert_uint_eq(data_bpe_decode(golden, ids, count, NULL, 0), 5);
    ck_assert_uint_eq(data_bpe_decode(golden, ids, count, found, 3), 5);
    ck_assert_mem_eq(found, "helx", 4);
    ck_assert_uint_eq(data_bpe_decode(golden, (const int32_t[]){-1, 1000000}, 2, found, 4), 0);
}
END_TEST

/* The last pair that is added for two tokens counts; no pair is found that was not added. */
START_TEST(pairs__are_found_again)
{
    enum { PAIRS = 3000 };
    struct data_bpe_pairs *pairs = NULL;

    EXPECT_OK(data_bpe_pairs_open(PAIRS, &pairs));
    for (int32_t i = 0; i < PAIRS; i++) {
        data_bpe_pairs_add(pairs, i / 50, i % 50, (struct data_bpe_merge){.rank = i, .id = 7 * i});
    }
    data_bpe_pairs_add(pairs, 1, 2, (struct data_bpe_merge){.rank = PAIRS, .id = 5});
    for (int32_t i = 0; i < PAIRS; i++) {
        const struct data_bpe_merge merge = data_bpe_pairs_find(pairs, i / 50, i % 50);
        ck_assert_int_eq(merge.rank, i == 52 ? PAIRS : i);
        ck_assert_int_eq(merge.id, i == 52 ? 5 : 7 * i);
    }
    ck_assert_int_eq(data_bpe_pairs_find(pairs, 0, 50).rank, -1);
    ck_assert_int_eq(data_bpe_pairs_find(pairs, 60, 0).rank, -1);
    data_bpe_pairs_close(pairs);
}
END_TEST

static void write_text(const char *name, const char *text)
{
    temp_folder_write(&folder, name, text, strlen(text));
}

static enum err reopen(void)
{
    data_bpe_close(golden);
    golden = NULL;
    return data_bpe_open(folder.path, &golden);
}

START_TEST(open__refuses_merges_that_do_not_fit_the_vocabulary)
{
    write_text("merges.txt", "#version: 0.2\nt h\nth\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT,
               "merges.txt: line 3: found \"th\", expected two tokens and a blank between");
    write_text("merges.txt", "t h e\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "merges.txt: line 1: found \"t h e\"");
    write_text("merges.txt", "t h\n#version: 0.2\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "line 2: \"#version:\" is no token of the vocabulary");
    write_text("merges.txt", "t h\n\nt h\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "merges.txt: line 2: found \"\"");
    write_text("merges.txt", "t h\n h\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "merges.txt: line 2: found \" h\"");
    write_text("merges.txt", "t zzzz\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "line 1: \"zzzz\" is no token of the vocabulary");
    write_text("merges.txt", "zzzz t\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "line 1: \"zzzz\" is no token of the vocabulary");
    write_text("merges.txt", "Q Q\n");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "line 1: \"QQ\", which the two make, is no token");
    write_text("merges.txt", "t h\r\nh e");
    EXPECT_OK(reopen());
}
END_TEST

START_TEST(open__refuses_a_vocabulary_without_all_bytes)
{
    write_text("vocab.json", "{\"a\": 0, \"b\": 1}");
    EXPECT_ERR(reopen(), ERR_CORRUPT,
               "vocab.json: no token \"\xC4\x80\", which is byte 0x00, among 2");
    write_text("vocab.json", "{\"a\": 0, \"b\": 3}");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "vocab.json: token \"b\": id 3, expected 0 to 1");
    write_text("vocab.json", "{");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "vocab.json: line 1 column 1: not JSON");
}
END_TEST

START_TEST(open__says_which_file_is_missing)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/merges.txt", folder.path);
    unlink(path);
    EXPECT_ERR(reopen(), ERR_MISSING, "merges.txt: no such file, nor with .gz; expected beside");
    snprintf(path, sizeof(path), "%s/vocab.json", folder.path);
    unlink(path);
    EXPECT_ERR(reopen(), ERR_MISSING, "no vocab.json, expected the folder of a GPT-2 model");
    write_text("tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "tokenizer.json: model.type is Unigram, expected BPE");
}
END_TEST

/* The vocabulary of all bytes and two tokens more, and merges in both ways of writing. */
START_TEST(open__reads_a_tokenizer_json_where_there_is_no_vocab_json)
{
    static char json[16384];
    char path[512];
    int32_t ids[16];
    size_t used = 0;

    for (int32_t id = 0; id < 256; id++) {
        char text[16] = "";
        int32_t code = id;
        /* The stand-ins of invisible bytes follow in order of the bytes: 0x100 to 0x143. */
        if (id < '!' || (id > '~' && id < 0xA1) || id == 0xAD) {
            code = 0x100 + (id < '!' ? id : id < 0xA1 ? 33 + id - 0x7F : 67);
        }
        text[data_unicode_put(code, text)] = '\0';
        used += (size_t)snprintf(json + used, sizeof(json) - used, "\"%s%s\": %d, ",
                                 id == '"' || id == '\\' ? "\\" : "", text, (int)id);
    }
    static char whole[20000];
    snprintf(whole, sizeof(whole),
             "{\"model\": {\"type\": \"BPE\", \"vocab\": {%s\"ab\": 256, \"abc\": 257}, "
             "\"merges\": [\"a b\", [\"ab\", \"c\"]]}}",
             json);
    write_text("tokenizer.json", whole);
    snprintf(path, sizeof(path), "%s/vocab.json", folder.path);
    unlink(path);
    EXPECT_OK(reopen());
    ck_assert_int_eq(encode(golden, "abcab \xAD", 7, ids, 16), 2 + 1 + 3);
    ck_assert_int_eq(ids[0], 257);
    ck_assert_int_eq(ids[1], 256);
    ck_assert_int_eq(ids[2], ' ');
    ck_assert_int_eq(golden->end_id, -1);
    write_text("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": 1}}");
    EXPECT_ERR(reopen(), ERR_CORRUPT, "tokenizer.json: model.vocab: expected an object");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_bpe");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, open_golden, close_golden);
    tcase_add_test(tests, encode__gives_the_ids_of_hugging_face_for_hard_cases);
    tcase_add_test(tests, encode__merges_as_looking_for_the_best_pair_each_time_does);
    tcase_add_test(tests, encode__cuts_what_has_no_room);
    tcase_add_test(tests, decode__gives_the_bytes_of_the_text_back);
    tcase_add_test(tests, decode__counts_what_has_no_room_and_skips_ids_that_are_not_there);
    tcase_add_test(tests, pairs__are_found_again);
    tcase_add_test(tests, open__refuses_merges_that_do_not_fit_the_vocabulary);
    tcase_add_test(tests, open__refuses_a_vocabulary_without_all_bytes);
    tcase_add_test(tests, open__says_which_file_is_missing);
    tcase_add_test(tests, open__reads_a_tokenizer_json_where_there_is_no_vocab_json);
    suite_add_tcase(suite, tests);
    return suite;
}
