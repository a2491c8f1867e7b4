/* Unit tests of exits/exits_cache.c: rows in memory, rows in a file, and files to refuse. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_cache.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { ROWS = 5, G = 2, D = 3, K = 4, ELEMS = G * D + K, HEADER = 64 };

static const struct exits_cache_shape shape = {ROWS, G, D, K};
static const struct hash key = {0x1122334455667788u, 0x99aabbccddeeff00u};
static struct temp_folder folder;
static char path[512];

static void make_folder(void)
{
    temp_folder_open(&folder);
    snprintf(path, sizeof(path), "%s/features.bin", folder.path);
}

static void remove_folder(void)
{
    temp_folder_close(&folder);
}

static struct exits_cache *open_filled(void)
{
    struct exits_cache *cache = NULL;

    ck_assert_int_eq(exits_cache_open(&shape, &cache), ERR_OK);
    for (int i = 0; i < ROWS * ELEMS; i++) {
        ck_assert(exits_cache_rows(cache)[i] == 0);
        exits_cache_rows(cache)[i] = (float)i + 0.5f;
    }
    return cache;
}

/* Row r holds r ELEMS + 0.5 and upwards: exit 0, exit 1, logits. */
static void check_rows(const struct exits_cache *cache)
{
    for (int64_t row = 0; row < ROWS; row++) {
        for (int i = 0; i < ELEMS; i++) {
            const float want = (float)(row * ELEMS + i) + 0.5f;
            const float found = i < G * D ? exits_cache_features(cache, row, i / D)[i % D]
                                          : exits_cache_logits(cache, row)[i - G * D];
            ck_assert(found == want);
        }
    }
}

static void save_filled(void)
{
    struct exits_cache *cache = open_filled();

    ck_assert_int_eq(exits_cache_save(cache, key, path), ERR_OK);
    exits_cache_close(cache);
}

START_TEST(rows__are_features_of_all_exits_and_the_logits)
{
    struct exits_cache *cache = open_filled();

    ck_assert_int_eq(exits_cache_row_elems(&shape), ELEMS);
    check_rows(cache);
    exits_cache_shrink(cache, 3);
    ck_assert_int_eq(exits_cache_shape_of(cache)->row_count, 3);
    exits_cache_close(cache);
}
END_TEST

START_TEST(map__finds_what_save_wrote)
{
    struct exits_cache *cache = NULL;

    save_filled();
    ck_assert_int_eq(exits_cache_map(path, &shape, key, &cache), ERR_OK);
    check_rows(cache);
    exits_cache_close(cache);
}
END_TEST

START_TEST(save__replaces_a_file_and_reports_a_folder_that_is_not_there)
{
    struct exits_cache *cache = NULL;
    struct hash other = key;

    temp_folder_write(&folder, "features.bin", "old", 3);
    save_filled();
    ck_assert_int_eq(exits_cache_map(path, &shape, key, &cache), ERR_OK);
    other.low++;
    ck_assert_int_eq(exits_cache_save(cache, other, "/nowhere/at/all/f.bin"), ERR_IO);
    exits_cache_close(cache);
}
END_TEST

static void refuse(const struct exits_cache_shape *wanted, struct hash wanted_key,
                   const char *words)
{
    struct exits_cache *cache = NULL;
    char text[256];

    ck_assert_int_eq(exits_cache_map(path, wanted, wanted_key, &cache), ERR_CORRUPT);
    ck_assert_ptr_null(cache);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, words) != NULL, "%s", text);
    ck_assert_msg(strstr(text, path) != NULL, "%s", text);
}

START_TEST(map__refuses_another_key_and_another_shape)
{
    struct hash other_low = key, other_high = key;
    struct exits_cache_shape fewer = shape, wider = shape;

    save_filled();
    other_low.low ^= 1;
    other_high.high ^= 1;
    fewer.row_count--;
    wider.width++;
    refuse(&shape, other_low, "another backbone");
    refuse(&shape, other_high, "another backbone");
    refuse(&fewer, key, "another backbone");
    refuse(&wider, key, "another backbone");
}
END_TEST

START_TEST(map__says_when_there_is_no_file)
{
    struct exits_cache *cache = NULL;

    ck_assert_int_eq(exits_cache_map(path, &shape, key, &cache), ERR_MISSING);
}
END_TEST

START_TEST(map__refuses_every_flipped_byte_and_every_shorter_file)
{
    uint8_t bytes[HEADER + ROWS * ELEMS * 4 + 1] = {0};
    const size_t count = sizeof(bytes) - 1;

    save_filled();
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(bytes, 1, sizeof(bytes), file), count);
    fclose(file);
    for (size_t i = 0; i < count; i++) {
        bytes[i] ^= 0x10;
        temp_folder_write(&folder, "features.bin", bytes, count);
        refuse(&shape, key, "");
        bytes[i] ^= 0x10;
        temp_folder_write(&folder, "features.bin", bytes, i);
        refuse(&shape, key, "");
    }
    temp_folder_write(&folder, "features.bin", bytes, count + 1);
    refuse(&shape, key, "do not match their hash");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_cache");
    TCase *tcase = tcase_create("exits_cache");

    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, rows__are_features_of_all_exits_and_the_logits);
    tcase_add_test(tcase, map__finds_what_save_wrote);
    tcase_add_test(tcase, save__replaces_a_file_and_reports_a_folder_that_is_not_there);
    tcase_add_test(tcase, map__refuses_another_key_and_another_shape);
    tcase_add_test(tcase, map__says_when_there_is_no_file);
    tcase_add_test(tcase, map__refuses_every_flipped_byte_and_every_shorter_file);
    suite_add_tcase(suite, tcase);
    return suite;
}
