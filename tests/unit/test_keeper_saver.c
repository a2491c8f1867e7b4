/* Unit tests of snapshot/keeper_saver.h: one checkpoint at a time, of as many parts as a node may have. */
#define _GNU_SOURCE
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "snapshot/keeper_saver.h"
#include "snapshot/snap_disk.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { VERSION = 70, WAIT_MS = 60000 };

static struct temp_folder disk;
static struct snap_plan plan;
static struct keeper_saver *saver;
static int news;

static void set_up(void)
{
    temp_folder_open(&disk);
    plan = (struct snap_plan){.keep_count = 2,
                              .deadline_ms = WAIT_MS,
                              .files = {{"numbers", 0, KEEPER_RANKS_MAX}},
                              .file_count = 1};
    memcpy(plan.output_dir, disk.path, sizeof(disk.path));
    news = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(news, 0);
    EXPECT_OK(keeper_saver_open(news, &saver));
}

static void tear_down(void)
{
    keeper_saver_close(saver);
    close(news);
    EXPECT_OK(file_remove_tree(disk.path));
}

/* A member that keeps one byte, its number. */
static struct snap_part make_part(int member, int rank_count, uint64_t version)
{
    uint8_t *data = malloc(1);

    ck_assert_ptr_nonnull(data);
    *data = (uint8_t)member;
    return (struct snap_part){.member = member,
                              .rank_count = rank_count,
                              .version = version,
                              .job_root = 1,
                              .at = (uint64_t)member,
                              .bytes = 1,
                              .data = data};
}

static void add(int member, int rank_count, uint64_t version)
{
    struct snap_part part = make_part(member, rank_count, version);

    ck_assert_msg(keeper_saver_is_free(saver, version), "member %d", member);
    keeper_saver_add(saver, &part, &plan);
    ck_assert_ptr_null(part.data); /* taken over */
}

static struct keeper_saved wait_for_news(void)
{
    struct pollfd waits = {.fd = news, .events = POLLIN};
    struct keeper_saved saved = {0};
    uint64_t count = 0;

    while (!keeper_saver_ended(saver, &saved)) {
        ck_assert_int_eq(poll(&waits, 1, WAIT_MS), 1);
        ck_assert_int_eq(read(news, &count, sizeof(count)), sizeof(count));
    }
    return saved;
}

START_TEST(saver__takes_a_part_of_every_rank_that_a_node_may_have)
{
    char folder[FILE_PATH_BYTES_MAX], path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    ck_assert(keeper_saver_is_idle(saver));
    for (int member = KEEPER_RANKS_MAX - 1; member >= 0; member--) {
        add(member, KEEPER_RANKS_MAX, VERSION);
    }
    ck_assert(!keeper_saver_is_idle(saver));
    const struct keeper_saved saved = wait_for_news();
    ck_assert_msg(saved.status == ERR_OK, "%s", saved.text);
    ck_assert_uint_eq(saved.version, VERSION);
    ck_assert_uint_eq(saved.bytes, KEEPER_RANKS_MAX);
    ck_assert(keeper_saver_is_idle(saver));
    EXPECT_OK(file_path(folder, disk.path, "checkpoint-70"));
    EXPECT_OK(snap_disk_verify(folder, NULL, 0));
    EXPECT_OK(file_path(path, folder, "numbers"));
    EXPECT_OK(file_map(path, &map));
    for (int member = 0; member < KEEPER_RANKS_MAX; member++) {
        ck_assert_uint_eq(map.bytes[member], (uint8_t)member);
    }
    file_unmap(&map);
}
END_TEST

START_TEST(saver__tells_what_failed_and_leaves_no_partial)
{
    char partial[FILE_PATH_BYTES_MAX], path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(snap_disk_partial(partial, disk.path, VERSION));
    EXPECT_OK(file_path(path, partial, "numbers")); /* is in the way */
    EXPECT_OK(file_make_folder(path));
    add(0, 2, VERSION);
    const struct keeper_saved saved = wait_for_news();
    ck_assert_int_eq(saved.status, ERR_IO);
    ck_assert_msg(strstr(saved.text, "numbers: create: Is a directory") != NULL, "%s", saved.text);
    ck_assert(!file_exists(partial));
    add(0, 1, VERSION); /* and is of use afterwards */
    ck_assert_int_eq(wait_for_news().status, ERR_OK);
}
END_TEST

START_TEST(saver__gives_up_what_others_do_not_write_within_the_deadline)
{
    char partial[FILE_PATH_BYTES_MAX];

    plan.deadline_ms = 200;
    add(0, 3, VERSION);
    const struct keeper_saved saved = wait_for_news();
    ck_assert_int_eq(saved.status, ERR_TIMEOUT);
    ck_assert_str_eq(saved.text, "only 1 of 3 members have written their part");
    EXPECT_OK(snap_disk_partial(partial, disk.path, VERSION));
    ck_assert(!file_exists(partial));
}
END_TEST

START_TEST(close__waits_for_nobody_else_when_members_are_missing)
{
    add(0, 2, VERSION);
    keeper_saver_close(saver); /* long before the deadline, or this case runs out of time */
    saver = NULL;
    keeper_saver_close(NULL);
}
END_TEST

/* Other nodes complete it: there are no news here. */
START_TEST(saver__is_idle_when_the_parts_of_a_node_without_member_0_are_written)
{
    struct keeper_saved saved;
    struct pollfd waits = {.fd = news, .events = POLLIN};

    add(1, 2, VERSION);
    ck_assert_int_eq(poll(&waits, 1, WAIT_MS), 1);
    ck_assert(keeper_saver_is_idle(saver));
    ck_assert(!keeper_saver_ended(saver, &saved));
    add(0, 2, VERSION);
    ck_assert_int_eq(wait_for_news().status, ERR_OK);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("keeper_saver");
    TCase *tcase = tcase_create("keeper_saver");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, saver__takes_a_part_of_every_rank_that_a_node_may_have);
    tcase_add_test(tcase, saver__tells_what_failed_and_leaves_no_partial);
    tcase_add_test(tcase, saver__gives_up_what_others_do_not_write_within_the_deadline);
    tcase_add_test(tcase, close__waits_for_nobody_else_when_members_are_missing);
    tcase_add_test(tcase, saver__is_idle_when_the_parts_of_a_node_without_member_0_are_written);
    suite_add_tcase(suite, tcase);
    return suite;
}
