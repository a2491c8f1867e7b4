/* Unit tests of data/data_file.c, on files made by the test. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/data_file.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

/* More than the first allocation, so that it has to grow, and no power of two. */
enum { FILE_BYTES = 3000001 };

static struct temp_folder folder;
static uint8_t *contents;

static void make_contents(void)
{
    temp_folder_open(&folder);
    contents = malloc(FILE_BYTES);
    ck_assert_ptr_nonnull(contents);
    bytes_from_seed(contents, FILE_BYTES, 3);
}

static void free_contents(void)
{
    free(contents);
    temp_folder_close(&folder);
}

static void write_gzip(const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", folder.path, name);
    gzFile file = gzopen(path, "wb1");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(gzwrite(file, contents, FILE_BYTES), FILE_BYTES);
    ck_assert_int_eq(gzclose(file), Z_OK);
}

/* The compressed bytes of `name`; the caller frees them. */
static uint8_t *read_raw(const char *name, size_t *count_out)
{
    char path[1024];
    uint8_t *bytes = malloc(2 * FILE_BYTES);

    snprintf(path, sizeof(path), "%s/%s", folder.path, name);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    *count_out = fread(bytes, 1, 2 * FILE_BYTES, file);
    fclose(file);
    return bytes;
}

static void refuses(const char *name, size_t bytes_max, enum err expected, const char *part)
{
    struct data_file *file = NULL;
    char text[1024];

    ck_assert_int_eq(data_file_open(folder.path, name, bytes_max, "do this", &file), expected);
    ck_assert_ptr_null(file);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" lacks \"%s\"", text, part);
}

static void gives_contents(const char *name, const char *path_end)
{
    struct data_file *file = NULL;

    ck_assert_int_eq(data_file_open(folder.path, name, FILE_BYTES, "", &file), ERR_OK);
    ck_assert_uint_eq(file->count, FILE_BYTES);
    ck_assert_mem_eq(file->bytes, contents, FILE_BYTES);
    ck_assert_str_eq(file->path + strlen(folder.path), path_end);
    data_file_close(file);
}

START_TEST(open__gives_the_same_bytes_for_plain_and_gzip_files)
{
    temp_folder_write(&folder, "plain", contents, FILE_BYTES);
    write_gzip("packed.gz");
    gives_contents("plain", "/plain");
    gives_contents("packed", "/packed.gz");
    gives_contents("packed.gz", "/packed.gz");
}
END_TEST

START_TEST(open__gives_no_bytes_when_the_file_is_empty)
{
    struct data_file *file = NULL;

    temp_folder_write(&folder, "empty", "", 0);
    ck_assert_int_eq(data_file_open(folder.path, "empty", 1, "", &file), ERR_OK);
    ck_assert_uint_eq(file->count, 0);
    data_file_close(file);
}
END_TEST

START_TEST(open__refuses_more_bytes_than_the_bound)
{
    temp_folder_write(&folder, "plain", contents, FILE_BYTES);
    write_gzip("packed.gz");
    refuses("plain", FILE_BYTES - 1, ERR_CORRUPT, "more than 3000000 bytes");
    refuses("packed", FILE_BYTES - 1, ERR_CORRUPT, "more than 3000000 bytes");
    refuses("packed", 1, ERR_CORRUPT, "more than 1 bytes");
}
END_TEST

START_TEST(open__names_the_file_and_the_cure_when_there_is_none)
{
    refuses("absent", 1, ERR_MISSING, "/absent: no such file, nor with .gz; do this");
}
END_TEST

START_TEST(open__refuses_a_folder_and_a_path_that_is_too_long)
{
    char *name = calloc(1, DATA_FILE_PATH_BYTES_MAX + 1);

    refuses(".", 1, ERR_IO, "directory");
    memset(name, 'x', DATA_FILE_PATH_BYTES_MAX);
    refuses(name, 1, ERR_INVALID, "longer than 4095 bytes");
    free(name);
}
END_TEST

START_TEST(open__refuses_a_gzip_stream_that_is_cut_short_or_damaged)
{
    size_t count = 0;

    write_gzip("packed.gz");
    uint8_t *raw = read_raw("packed.gz", &count);
    temp_folder_write(&folder, "half.gz", raw, count / 2);
    temp_folder_write(&folder, "no_trailer.gz", raw, count - 8);
    temp_folder_write(&folder, "no_end.gz", raw, count - 1);
    raw[count / 2] ^= 0x10;
    temp_folder_write(&folder, "flipped.gz", raw, count);
    free(raw);
    refuses("half", FILE_BYTES, ERR_CORRUPT, "half.gz: damaged gzip stream");
    refuses("no_trailer", FILE_BYTES, ERR_CORRUPT, "damaged gzip stream");
    refuses("no_end", FILE_BYTES, ERR_CORRUPT, "damaged gzip stream");
    refuses("flipped", FILE_BYTES, ERR_CORRUPT, "damaged gzip stream");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_file");
    TCase *tcase = tcase_create("data_file");

    tcase_add_checked_fixture(tcase, make_contents, free_contents);
    tcase_add_test(tcase, open__gives_the_same_bytes_for_plain_and_gzip_files);
    tcase_add_test(tcase, open__gives_no_bytes_when_the_file_is_empty);
    tcase_add_test(tcase, open__refuses_more_bytes_than_the_bound);
    tcase_add_test(tcase, open__names_the_file_and_the_cure_when_there_is_none);
    tcase_add_test(tcase, open__refuses_a_folder_and_a_path_that_is_too_long);
    tcase_add_test(tcase, open__refuses_a_gzip_stream_that_is_cut_short_or_damaged);
    suite_add_tcase(suite, tcase);
    return suite;
}
