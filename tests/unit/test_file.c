/* Unit tests of comm/base/file.c. Each case runs in a process of its own. */
#define _XOPEN_SOURCE 700
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static char path[FILE_PATH_BYTES_MAX];

static void set_up(void)
{
    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "file"));
}

static void tear_down(void)
{
    EXPECT_OK(file_remove_tree(folder.path));
    ck_assert(!file_exists(folder.path));
}

static void expect_content(const char *at, const void *bytes, size_t count)
{
    struct file_map map;

    EXPECT_OK(file_map(at, &map));
    ck_assert_uint_eq(map.count, count);
    ck_assert_int_eq(memcmp(map.bytes, bytes, count), 0);
    file_unmap(&map);
}

static int entry_count(void)
{
    int count = 0;
    DIR *entries = opendir(folder.path);

    ck_assert_ptr_nonnull(entries);
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(entries);
    return count;
}

START_TEST(write__gives_the_pieces_in_order)
{
    const struct file_piece pieces[] = {{"one", 3}, {NULL, 0}, {"", 0}, {"two\0three", 9}};

    EXPECT_OK(file_write(path, pieces, 4));
    expect_content(path, "onetwo\0three", 12);
    EXPECT_OK(file_write(path, NULL, 0));
    expect_content(path, "", 0);
    ck_assert_int_eq(entry_count(), 1);
}
END_TEST

START_TEST(write__leaves_a_mapped_old_content_alone)
{
    struct file_map map;

    EXPECT_OK(file_write_text(path, "old content"));
    EXPECT_OK(file_map(path, &map));
    EXPECT_OK(file_write_text(path, "new"));
    ck_assert_uint_eq(map.count, 11);
    ck_assert_int_eq(memcmp(map.bytes, "old content", 11), 0);
    file_unmap(&map);
    expect_content(path, "new", 3);
}
END_TEST

START_TEST(write__leaves_the_old_file_and_nothing_else_when_space_runs_out)
{
    enum { LIMIT = 4096, COUNT = 3 * LIMIT };
    uint8_t bytes[COUNT];
    const struct file_piece pieces[] = {{bytes, 1000}, {bytes, COUNT}};
    const struct rlimit limit = {LIMIT, LIMIT};

    bytes_from_seed(bytes, COUNT, 1);
    EXPECT_OK(file_write_text(path, "old"));
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); /* then a write fails with EFBIG */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_ERR(file_write(path, pieces, 2), ERR_IO, "write");
    expect_content(path, "old", 3);
    ck_assert_int_eq(entry_count(), 1);
}
END_TEST

START_TEST(write__leaves_nothing_when_the_device_is_full)
{
    struct stat status;

    if (stat("/dev/full", &status) != 0 || !S_ISCHR(status.st_mode)) {
        fprintf(stderr, "SKIPPED: there is no /dev/full here\n");
        return;
    }
    /* A link under the temporary name leads the bytes to a device that has no room. */
    char temporary[FILE_PATH_BYTES_MAX];
    EXPECT_OK(file_path(temporary, folder.path, "file.tmp"));
    ck_assert_int_eq(symlink("/dev/full", temporary), 0);
    EXPECT_ERR(file_write_text(path, "new"), ERR_IO, "No space left on device");
    ck_assert_int_eq(entry_count(), 0);
}
END_TEST

START_TEST(write__leaves_nothing_when_the_name_is_taken_or_has_no_folder)
{
    char deep[FILE_PATH_BYTES_MAX];

    ck_assert_int_eq(mkdir(path, 0777), 0);
    EXPECT_ERR(file_write_text(path, "new"), ERR_IO, "rename");
    ck_assert_int_eq(entry_count(), 1);
    EXPECT_OK(file_path(deep, folder.path, "no/file"));
    EXPECT_ERR(file_write_text(deep, "new"), ERR_IO, "create");
    ck_assert_int_eq(entry_count(), 1);
}
END_TEST

START_TEST(map__tells_a_missing_file_from_one_that_cannot_be_read)
{
    struct file_map map;

    EXPECT_ERR(file_map(path, &map), ERR_MISSING, path);
    EXPECT_ERR(file_map(folder.path, &map), ERR_IO, "not a regular file");
    EXPECT_OK(file_write_text(path, ""));
    EXPECT_OK(file_map(path, &map));
    ck_assert_uint_eq(map.count, 0);
    ck_assert_ptr_nonnull(map.bytes);
    file_unmap(&map);
    file_unmap(&map); /* an ended one is empty */
}
END_TEST

START_TEST(path__refuses_what_does_not_fit)
{
    static char name[FILE_PATH_BYTES_MAX + 1];
    char joined[FILE_PATH_BYTES_MAX];

    memset(name, 'a', FILE_PATH_BYTES_MAX);
    EXPECT_ERR(file_path(joined, "/tmp", name), ERR_INVALID, "at most 4095");
    EXPECT_ERR(file_write_text(name, ""), ERR_INVALID, "at most 4095");
    EXPECT_ERR(file_make_folder(name), ERR_INVALID, "folder name");
    name[FILE_PATH_BYTES_MAX - 3] = '\0'; /* with "a/" and the NUL it is FILE_PATH_BYTES_MAX */
    EXPECT_ERR(file_path(joined, "aa", name), ERR_INVALID, "at most 4095");
    EXPECT_OK(file_path(joined, "a", name));
    ck_assert_uint_eq(strlen(joined), FILE_PATH_BYTES_MAX - 1);
}
END_TEST

START_TEST(make_folder__makes_the_parents_and_accepts_what_is_there)
{
    char deep[FILE_PATH_BYTES_MAX];
    struct stat status;

    EXPECT_OK(file_path(deep, folder.path, "a//b/c/"));
    EXPECT_OK(file_make_folder(deep));
    ck_assert_int_eq(stat(deep, &status), 0);
    ck_assert(S_ISDIR(status.st_mode));
    EXPECT_OK(file_make_folder(deep));
    EXPECT_OK(file_make_folder("/"));
    EXPECT_ERR(file_make_folder(""), ERR_INVALID, "0 bytes");
    EXPECT_OK(file_write_text(path, ""));
    EXPECT_ERR(file_make_folder(path), ERR_IO, "no folder");
    EXPECT_OK(file_path(deep, path, "below"));
    EXPECT_ERR(file_make_folder(deep), ERR_IO, "make folder");
}
END_TEST

START_TEST(remove_tree__removes_all_but_what_links_lead_to)
{
    char tree[FILE_PATH_BYTES_MAX];
    char name[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_write_text(path, "kept"));
    EXPECT_OK(file_path(tree, folder.path, "tree"));
    EXPECT_OK(file_path(name, tree, "a/b"));
    EXPECT_OK(file_make_folder(name));
    EXPECT_OK(file_path(name, tree, "a/.hidden"));
    EXPECT_OK(file_write_text(name, "x"));
    EXPECT_OK(file_path(name, tree, "to_file"));
    ck_assert_int_eq(symlink(path, name), 0);
    EXPECT_OK(file_path(name, tree, "to_folder"));
    ck_assert_int_eq(symlink(folder.path, name), 0);
    EXPECT_OK(file_path(name, tree, "to_nothing"));
    ck_assert_int_eq(symlink("/no/such/place", name), 0);
    EXPECT_OK(file_remove_tree(tree));
    ck_assert(!file_exists(tree));
    expect_content(path, "kept", 4);
    EXPECT_OK(file_remove_tree(tree)); /* absent: no error */
    EXPECT_OK(file_remove_tree(path)); /* a file */
    ck_assert_int_eq(entry_count(), 0);
}
END_TEST

START_TEST(remove_tree__shares_the_work_with_another_process)
{
    enum { TREES = 20, FILES = 40 };
    char name[FILE_PATH_BYTES_MAX];
    char entry[32];

    for (int tree = 0; tree < TREES; tree++) {
        for (int i = 0; i < FILES; i++) {
            snprintf(entry, sizeof(entry), "tree/%d/%d", i % 10, i);
            EXPECT_OK(file_path(name, folder.path, entry));
            if (i < 10) {
                EXPECT_OK(file_make_folder(name));
            } else {
                ck_assert_int_eq(mknod(name, S_IFREG | 0600, 0), 0);
            }
        }
        EXPECT_OK(file_path(name, folder.path, "tree"));
        const pid_t other = fork();
        ck_assert_int_ge(other, 0);
        const enum err status = file_remove_tree(name);
        if (other == 0) {
            _exit(status == ERR_OK ? 0 : 1);
        }
        int code = 0;
        ck_assert_int_eq(waitpid(other, &code, 0), other);
        ck_assert_int_eq(code, 0);
        EXPECT_OK(status);
        ck_assert(!file_exists(name));
    }
}
END_TEST

START_TEST(sync_folder__refuses_what_is_no_folder)
{
    EXPECT_OK(file_sync_folder(folder.path));
    EXPECT_ERR(file_sync_folder(path), ERR_IO, "open folder");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("file");
    TCase *tcase = tcase_create("file");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, write__gives_the_pieces_in_order);
    tcase_add_test(tcase, write__leaves_a_mapped_old_content_alone);
    tcase_add_test(tcase, write__leaves_the_old_file_and_nothing_else_when_space_runs_out);
    tcase_add_test(tcase, write__leaves_nothing_when_the_device_is_full);
    tcase_add_test(tcase, write__leaves_nothing_when_the_name_is_taken_or_has_no_folder);
    tcase_add_test(tcase, map__tells_a_missing_file_from_one_that_cannot_be_read);
    tcase_add_test(tcase, path__refuses_what_does_not_fit);
    tcase_add_test(tcase, make_folder__makes_the_parents_and_accepts_what_is_there);
    tcase_add_test(tcase, remove_tree__removes_all_but_what_links_lead_to);
    tcase_add_test(tcase, remove_tree__shares_the_work_with_another_process);
    tcase_add_test(tcase, sync_folder__refuses_what_is_no_folder);
    suite_add_tcase(suite, tcase);
    return suite;
}
