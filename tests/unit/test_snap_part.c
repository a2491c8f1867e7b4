/* Unit tests of snapshot/snap_part.h: what members kept, and nothing else, is what is on disk. */
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "snapshot/snap_disk.h"
#include "snapshot/snap_part.h"
#include "tests/support/member_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { VERSION = 70, INCARNATION = 1 };

static struct temp_folder memory, disk;
static struct snap_layout *layout;
static struct snap_plan plan;
static char partial[FILE_PATH_BYTES_MAX];

static void set_up(void)
{
    temp_folder_open(&memory);
    temp_folder_open(&disk);
    layout = member_layout(0);
    plan = member_plan(disk.path);
    EXPECT_OK(snap_disk_partial(partial, disk.path, VERSION));
}

static void tear_down(void)
{
    snap_layout_close(layout);
    EXPECT_OK(file_remove_tree(memory.path));
    EXPECT_OK(file_remove_tree(disk.path));
}

static void path_of(int member, char path[FILE_PATH_BYTES_MAX])
{
    EXPECT_OK(snap_area_path(path, memory.path, layout->hash, member));
}

static struct snap_part take(int member)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_part part;

    path_of(member, path);
    EXPECT_OK(snap_part_take(path, VERSION, &part));
    return part;
}

/* One member that writes on a thread of its own. */
struct writer {
    pthread_t thread;
    struct snap_part part;
    enum err status;
};

static void *write_main(void *argument)
{
    struct writer *writer = argument;

    writer->status = snap_part_write(&writer->part, &plan);
    err_clear();
    return NULL;
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);

    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(folder);
    return count;
}

START_TEST(write__makes_the_files_of_what_was_kept_when_all_members_write_at_once)
{
    struct writer writers[MEMBERS];
    struct snap_progress progress;

    member_make_all(memory.path, layout, VERSION, SNAP_ENCODED);
    for (int m = 0; m < MEMBERS; m++) {
        writers[m] = (struct writer){.part = take(m)};
        ck_assert_int_eq(writers[m].part.member, m);
        ck_assert_int_eq(writers[m].part.rank_count, MEMBERS);
        ck_assert_uint_eq(writers[m].part.job_root, writers[0].part.job_root);
        ck_assert_int_eq(pthread_create(&writers[m].thread, NULL, write_main, &writers[m]), 0);
    }
    for (int m = 0; m < MEMBERS; m++) {
        pthread_join(writers[m].thread, NULL);
        ck_assert_int_eq(writers[m].status, ERR_OK);
    }
    EXPECT_OK(snap_part_look(&writers[0].part, &plan, &progress));
    ck_assert_int_eq(progress.done_count, MEMBERS);
    ck_assert_int_eq(progress.failed_count, 0);
    member_expect_files(partial, VERSION);
    ck_assert_int_eq(count_entries(partial), plan.file_count + MEMBERS);
    EXPECT_OK(snap_part_clear(&writers[0].part, &plan));
    ck_assert_int_eq(count_entries(partial), plan.file_count);
    EXPECT_OK(snap_disk_place(disk.path, VERSION, 1));
    for (int m = 0; m < MEMBERS; m++) {
        snap_part_close(&writers[m].part);
    }
}
END_TEST

static void flip_bit(const char *path, uint64_t at)
{
    uint8_t byte = 0;
    const int file = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= 4;
    ck_assert_int_eq(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
}

START_TEST(take__refuses_one_flipped_bit_anywhere)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_part part;

    member_make_all(memory.path, layout, VERSION, SNAP_ENCODED);
    path_of(2, path);
    const struct snap_map map = snap_map_of(layout, 2);
    const struct {
        uint64_t at;
        const char *text;
    } flips[] = {
        {map.data_at[0], "member 2, version 70: tile 0 is not what it was sealed as"},
        {map.data_at[0] + map.data_bytes - 1, "is not what it was sealed as"},
        {map.data_hashes_at[0] + 5, "member 2, version 70: its hashes are damaged"},
        {SNAP_TERMS_AT + 30, "layout"},
        {9, "member-"},
    };
    for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
        flip_bit(path, flips[i].at);
        EXPECT_ERR(snap_part_take(path, VERSION, &part), ERR_CORRUPT, flips[i].text);
        flip_bit(path, flips[i].at);
    }
    flip_bit(path, SNAP_SLOT_HEADERS_AT + SNAP_SLOT_HEADER_STRIDE + 40); /* that says ENCODED */
    EXPECT_ERR(snap_part_take(path, VERSION, &part), ERR_MISSING, "member 2 has no version 70");
    flip_bit(path, SNAP_SLOT_HEADERS_AT + SNAP_SLOT_HEADER_STRIDE + 40);
    flip_bit(path, map.data_at[1]); /* of the other slot */
    part = take(2);
    snap_part_close(&part);
}
END_TEST

START_TEST(take__has_only_versions_that_are_encoded)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_part part;

    snap_area_close(member_make(memory.path, layout, 1, INCARNATION, VERSION, SNAP_SEALED));
    path_of(1, path);
    EXPECT_ERR(snap_part_take(path, VERSION, &part), ERR_MISSING, "member 1 has no version 70");
    EXPECT_ERR(snap_part_take(path, VERSION + 1, &part), ERR_MISSING, "has no version 71");
    path_of(3, path);
    EXPECT_ERR(snap_part_take(path, VERSION, &part), ERR_MISSING, "member-");
}
END_TEST

/* Of another start, or of another number of ranks: same version, same folder. */
START_TEST(look__does_not_count_what_other_content_or_another_layout_left)
{
    struct snap_progress progress;

    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct snap_part part = take(0);
    EXPECT_ERR(snap_part_look(&part, &plan, &progress), ERR_MISSING, ".partial");
    EXPECT_OK(snap_part_write(&part, &plan));
    struct snap_part later = part;
    for (int bit = 0; bit < 64; bit += 9) {
        later.job_root = part.job_root ^ (uint64_t)1 << bit;
        EXPECT_OK(snap_part_look(&later, &plan, &progress));
        ck_assert_int_eq(progress.done_count, 0);
        ck_assert_uint_eq(progress.trace, 0);
    }
    later = part;
    later.layout ^= 1;
    EXPECT_OK(snap_part_look(&later, &plan, &progress));
    ck_assert_int_eq(progress.done_count, 0);
    EXPECT_OK(snap_part_look(&part, &plan, &progress));
    ck_assert_int_eq(progress.done_count, 1);
    snap_part_close(&part);
}
END_TEST

START_TEST(write__says_that_it_failed_and_that_it_did_not_the_next_time)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_progress progress;

    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct snap_part part = take(3);
    EXPECT_OK(file_path(path, partial, "second")); /* is in the way */
    EXPECT_OK(file_make_folder(path));
    EXPECT_ERR(snap_part_write(&part, &plan), ERR_IO, "second: create: Is a directory");
    EXPECT_OK(snap_part_look(&part, &plan, &progress));
    ck_assert_int_eq(progress.failed_count, 1);
    ck_assert_int_eq(progress.done_count, 0);
    ck_assert_int_eq(rmdir(path), 0);
    EXPECT_OK(snap_part_write(&part, &plan));
    EXPECT_OK(snap_part_look(&part, &plan, &progress));
    ck_assert_int_eq(progress.failed_count, 0);
    ck_assert_int_eq(progress.done_count, 1);
    snap_part_close(&part);
}
END_TEST

START_TEST(refuse__says_so_when_the_folder_is_there_and_not_without)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_progress progress;

    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct snap_part part = take(0);
    path_of(3, path);
    plan.deadline_ms = 50;
    EXPECT_ERR(snap_part_refuse(path, VERSION, &plan), ERR_TIMEOUT, "is not there");
    ck_assert(!file_exists(partial));
    EXPECT_ERR(snap_part_refuse(path, VERSION + 1, &plan), ERR_MISSING, "member 3 has no version");
    EXPECT_OK(file_make_folder(partial));
    EXPECT_OK(snap_part_refuse(path, VERSION, &plan));
    EXPECT_OK(snap_part_look(&part, &plan, &progress));
    ck_assert_int_eq(progress.failed_count, 1);
    snap_part_close(&part);
    part = take(3); /* the next time it is written */
    EXPECT_OK(snap_part_write(&part, &plan));
    EXPECT_OK(snap_part_look(&part, &plan, &progress));
    ck_assert_int_eq(progress.failed_count, 0);
    snap_part_close(&part);
}
END_TEST

/* Somebody threw the run away. */
START_TEST(write__does_not_bring_an_output_dir_back)
{
    char gone[FILE_PATH_BYTES_MAX];

    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct snap_part part = take(0);
    EXPECT_OK(file_path(gone, disk.path, "run"));
    plan = member_plan(gone);
    EXPECT_ERR(snap_part_write(&part, &plan), ERR_IO, "make folder: No such file or directory");
    ck_assert(!file_exists(gone));
    snap_part_close(&part);
}
END_TEST

START_TEST(look__sees_signs_of_life_when_a_member_writes_slowly)
{
    struct snap_progress progress = {0};
    uint64_t trace = 0;
    int changes = 0;

    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct writer writer = {.part = take(1)};
    plan.bytes_per_s = (int64_t)writer.part.bytes / 4;
    ck_assert_int_eq(pthread_create(&writer.thread, NULL, write_main, &writer), 0);
    while (progress.done_count == 0) {
        if (snap_part_look(&writer.part, &plan, &progress) != ERR_OK) {
            err_clear(); /* it has not begun */
        }
        changes += progress.trace != trace && progress.done_count == 0;
        trace = progress.trace;
        clock_nap_us(20000);
    }
    pthread_join(writer.thread, NULL);
    ck_assert_int_eq(writer.status, ERR_OK);
    ck_assert_int_ge(changes, 3); /* its mark, and at least two of the four seconds */
    snap_part_close(&writer.part);
}
END_TEST

/* The bytes of a part, on disk, are those of the state. */
static bool is_written(const struct snap_part *part)
{
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;
    bool is_same = true;

    for (int i = 0; i < plan.file_count; i++) {
        const struct snap_extent *file = &plan.files[i];
        EXPECT_OK(file_path(path, partial, file->name));
        EXPECT_OK(file_map(path, &map));
        for (uint64_t b = 0; b < map.count; b++) {
            const uint64_t at = file->at + b;
            is_same = is_same && (at < part->at || at >= part->at + part->bytes ||
                                  map.bytes[b] == part->data[at - part->at]);
        }
        file_unmap(&map);
    }
    return is_same;
}

/*
 * The leader gives up while another member is about to be done, and tries the same version again:
 * whatever the first attempt left, who counts as done has its bytes there.
 */
START_TEST(drop__leaves_no_sign_of_a_part_that_it_removed)
{
    member_make_all(memory.path, layout, VERSION, SNAP_COMMITTED);
    struct snap_part leader = take(0);
    struct writer writer = {.part = take(1)};
    for (int round = 0; round < 400; round++) {
        struct snap_progress progress;
        ck_assert_int_eq(pthread_create(&writer.thread, NULL, write_main, &writer), 0);
        clock_nap_us(10 * (round % 200));
        if (snap_disk_drop(disk.path, VERSION) != ERR_OK) {
            err_clear();
        }
        pthread_join(writer.thread, NULL);
        EXPECT_OK(snap_part_write(&leader, &plan));
        EXPECT_OK(snap_part_look(&leader, &plan, &progress));
        ck_assert_msg(progress.done_count == 1 || is_written(&writer.part), "round %d", round);
        EXPECT_OK(snap_disk_drop(disk.path, VERSION));
    }
    ck_assert_int_eq(count_entries(disk.path), 0);
    snap_part_close(&writer.part);
    snap_part_close(&leader);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_part");
    TCase *tcase = tcase_create("snap_part");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, write__makes_the_files_of_what_was_kept_when_all_members_write_at_once);
    tcase_add_test(tcase, take__refuses_one_flipped_bit_anywhere);
    tcase_add_test(tcase, take__has_only_versions_that_are_encoded);
    tcase_add_test(tcase, look__does_not_count_what_other_content_or_another_layout_left);
    tcase_add_test(tcase, write__says_that_it_failed_and_that_it_did_not_the_next_time);
    tcase_add_test(tcase, refuse__says_so_when_the_folder_is_there_and_not_without);
    tcase_add_test(tcase, write__does_not_bring_an_output_dir_back);
    tcase_add_test(tcase, look__sees_signs_of_life_when_a_member_writes_slowly);
    tcase_add_test(tcase, drop__leaves_no_sign_of_a_part_that_it_removed);
    suite_add_tcase(suite, tcase);
    return suite;
}
