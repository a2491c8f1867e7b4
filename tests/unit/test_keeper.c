/* Unit tests of snapshot/keeper.h: one keeper as a process, and ranks that this process plays. */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "snapshot/snap_disk.h"
#include "tests/support/keeper_case.h"
#include "tests/support/member_memory.h"
#include "tests/support/test_suite.h"

static const char MAKING[] = "making-0123456789abcdef-1";

enum { VERSION = 70, WAIT_MS = 20000, GLANCE_US = 300000 };

static struct snap_layout *layout;
static struct snap_keeper *ranks[MEMBERS];

static void set_up(void)
{
    keeper_set_up();
    layout = member_layout(0);
    memset(ranks, 0, sizeof(ranks));
}

static void tear_down(void)
{
    for (int r = 0; r < MEMBERS; r++) {
        snap_keeper_close(ranks[r], false);
    }
    snap_layout_close(layout);
    keeper_tear_down();
}

static void join_all(void)
{
    for (int r = 0; r < MEMBERS; r++) {
        ranks[r] = keeper_join(r);
    }
}

static void leave_all(bool finished)
{
    for (int r = 0; r < MEMBERS; r++) {
        snap_keeper_close(ranks[r], finished);
        ranks[r] = NULL;
    }
}

static const char *name_of(int member)
{
    static char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(snap_area_path(path, memory, layout->hash, member));
    return strrchr(path, '/') + 1;
}

static void write_plan(int64_t bytes_per_s)
{
    struct snap_plan plan = member_plan(disk);

    plan.bytes_per_s = bytes_per_s;
    EXPECT_OK(snap_plan_write(&plan, memory));
}

static bool is_on_disk(uint64_t version)
{
    char name[64], path[FILE_PATH_BYTES_MAX];

    snprintf(name, sizeof(name), "checkpoint-%d", (int)version);
    EXPECT_OK(file_path(path, disk, name));
    return file_exists(path);
}

/* Whole, and the state of that version. */
static void expect_on_disk(uint64_t version)
{
    char name[64], path[FILE_PATH_BYTES_MAX];

    snprintf(name, sizeof(name), "checkpoint-%d", (int)version);
    EXPECT_OK(file_path(path, disk, name));
    EXPECT_OK(snap_disk_verify(path, NULL, 0));
    member_expect_files(path, version);
}

static bool has_member(int member)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, memory, name_of(member)));
    return file_exists(path);
}

START_TEST(run__leaves_nothing_when_all_ranks_said_goodbye)
{
    char path[FILE_PATH_BYTES_MAX];
    struct stat info;
    const pid_t keeper = keeper_start("10", "30");

    join_all();
    EXPECT_OK(snap_keeper_reserve(ranks[3], MAKING, 100001));
    EXPECT_OK(file_path(path, memory, MAKING));
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_size, 100001);
    ck_assert_int_eq(info.st_mode & 0777, 0600);
    leave_all(true);
    keeper_expect_end(keeper);
    ck_assert(!file_exists(memory));
}
END_TEST

START_TEST(run__removes_nothing_that_is_not_its_own)
{
    static const char *const names[] = {"member-list.txt",
                                        "member-photos",
                                        "making-of",
                                        "member-0123456789abcdef",
                                        "member-0123456789abcdef-1x",
                                        "member-0123456789abcde-1",
                                        "member-0123456789abcdef0-1",
                                        "member-0123456789abcdeg-1"};
    char path[FILE_PATH_BYTES_MAX];
    const pid_t keeper = keeper_start("10", "30");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        EXPECT_OK(file_path(path, memory, names[i]));
        EXPECT_OK(file_write_text(path, "mine"));
    }
    join_all();
    leave_all(true);
    keeper_expect_end(keeper);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        EXPECT_OK(file_path(path, memory, names[i]));
        ck_assert_msg(file_exists(path), "%s", path);
    }
    EXPECT_OK(file_path(path, memory, KEEPER_LOCK));
    ck_assert(!file_exists(path));
}
END_TEST

START_TEST(run__stays_when_a_goodbye_leaves_memory_or_a_rank)
{
    const pid_t keeper = keeper_start("10", "30");

    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    join_all();
    for (int r = 1; r < MEMBERS; r++) {
        snap_keeper_close(ranks[r], true);
        ranks[r] = NULL;
    }
    EXPECT_OK(snap_keeper_reserve(ranks[0], MAKING, 1));
    leave_all(true);
    clock_nap_us(GLANCE_US);
    ck_assert_int_eq(keeper_process(), keeper);
    ck_assert(has_member(0) && has_member(3));
    keeper_stop(keeper);
}
END_TEST

START_TEST(run__writes_the_newest_version_when_the_ranks_are_gone_and_then_ends)
{
    member_make_all(memory, layout, VERSION,
                    SNAP_ENCODED); /* not COMMITTED anywhere: all have it */
    write_plan(0);
    const pid_t keeper = keeper_start("1", "0");
    join_all();
    clock_nap_us(1200000);
    ck_assert(!is_on_disk(VERSION));
    leave_all(false);
    EXPECT_SOON(is_on_disk(VERSION));
    expect_on_disk(VERSION);
    keeper_expect_end(keeper);
    ck_assert(!file_exists(memory));
}
END_TEST

START_TEST(run__writes_the_newest_version_and_leaves_the_memory_when_it_is_told_to_end)
{
    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    write_plan(0);
    const pid_t keeper = keeper_start("10", "1");
    ranks[0] = keeper_join(0);
    keeper_stop(keeper);
    expect_on_disk(VERSION);
    ck_assert(has_member(0) && has_member(3));
}
END_TEST

START_TEST(run__leaves_no_memory_when_it_is_told_to_end_and_to_retain_none)
{
    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    write_plan(0);
    keeper_stop(keeper_start("10", "0"));
    expect_on_disk(VERSION);
    ck_assert(!file_exists(memory));
}
END_TEST

/* The other nodes' members never come: the version before is tried, and what is memory stays. */
START_TEST(run__keeps_the_memory_when_it_is_the_only_copy)
{
    snap_area_close(member_make(memory, layout, 0, 1, VERSION, SNAP_COMMITTED));
    struct snap_plan plan = member_plan(disk);
    plan.deadline_ms = 100;
    EXPECT_OK(snap_plan_write(&plan, memory));
    const pid_t keeper = keeper_begin("0", "0");
    clock_nap_us(3 * GLANCE_US);
    ck_assert(!is_on_disk(VERSION));
    ck_assert(has_member(0));
    ck_assert_int_eq(keeper_process(), keeper);
    keeper_stop(keeper);
    ck_assert(has_member(0));
}
END_TEST

/* A plan that cannot be read is not the same as none. */
START_TEST(run__keeps_the_memory_when_the_plan_is_damaged)
{
    char path[FILE_PATH_BYTES_MAX];

    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    EXPECT_OK(file_path(path, memory, SNAP_PLAN_FILE));
    EXPECT_OK(file_write_text(path, "{\"format_version\": 1"));
    const pid_t keeper = keeper_begin("0", "0");
    clock_nap_us(2 * GLANCE_US);
    ck_assert(has_member(0) && has_member(3));
    keeper_stop(keeper);
}
END_TEST

/* Ranks notice that a keeper was replaced at their next snapshot only. */
START_TEST(run__keeps_the_memory_when_ranks_run_that_have_not_said_hello)
{
    struct snap_area *area = member_make(memory, layout, 2, 1, VERSION, SNAP_COMMITTED);
    const pid_t keeper = keeper_begin("0", "0");

    clock_nap_us(2 * GLANCE_US);
    ck_assert(has_member(2));
    ck_assert_int_eq(keeper_process(), keeper);
    snap_area_close(area);
    keeper_expect_end(keeper);
    ck_assert(!file_exists(memory));
}
END_TEST

START_TEST(save__puts_all_parts_on_disk_and_tells_rank_0_alone)
{
    struct snap_saved saved;

    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    write_plan(0);
    const pid_t keeper = keeper_start("10", "30");
    join_all();
    ck_assert(!snap_keeper_news(ranks[0], 0, &saved));
    for (int r = MEMBERS - 1; r >= 0; r--) {
        EXPECT_OK(snap_keeper_save(ranks[r], name_of(r), VERSION));
    }
    ck_assert(snap_keeper_news(ranks[0], WAIT_MS, &saved));
    ck_assert_msg(saved.status == ERR_OK, "%s", saved.text);
    ck_assert_uint_eq(saved.version, VERSION);
    ck_assert_uint_eq(saved.bytes, STATE_BYTES);
    expect_on_disk(VERSION);
    for (int r = 0; r < MEMBERS; r++) {
        ck_assert(!snap_keeper_news(ranks[r], 0, &saved));
    }
    EXPECT_ERR(snap_keeper_save(ranks[1], name_of(1), VERSION + 1), ERR_MISSING,
               "member 1 has no version 71");
    EXPECT_ERR(snap_keeper_save(ranks[1], "../memory", VERSION), ERR_INVALID,
               "not a name in this folder");
    EXPECT_ERR(snap_keeper_reserve(ranks[1], "../x", 1), ERR_INVALID, "not a name in this folder");
    EXPECT_ERR(snap_keeper_reserve(ranks[1], "", 1), ERR_INVALID, "not a name in this folder");
    keeper_stop(keeper);
}
END_TEST

START_TEST(save__gives_an_older_one_up_when_it_waits_for_others)
{
    struct snap_saved saved;

    for (int m = 0; m < MEMBERS; m++) {
        struct snap_area *area = member_make(memory, layout, m, 1, VERSION, SNAP_COMMITTED);
        member_fill(area, 1, VERSION + 1, SNAP_COMMITTED);
        snap_area_close(area);
    }
    write_plan(0);
    const pid_t keeper = keeper_start("10", "30");
    join_all();
    EXPECT_OK(snap_keeper_save(ranks[0], name_of(0), VERSION));
    ck_assert(!snap_keeper_news(ranks[0], GLANCE_US / 1000, &saved));
    EXPECT_OK(snap_keeper_save(ranks[0], name_of(0), VERSION + 1));
    ck_assert(snap_keeper_news(ranks[0], WAIT_MS, &saved));
    ck_assert_uint_eq(saved.version, VERSION);
    ck_assert_int_eq(saved.status, ERR_TIMEOUT);
    ck_assert_str_eq(saved.text,
                     "other members had not written their part when a newer step was to be saved");
    for (int r = 1; r < MEMBERS; r++) {
        EXPECT_OK(snap_keeper_save(ranks[r], name_of(r), VERSION + 1));
    }
    ck_assert(snap_keeper_news(ranks[0], WAIT_MS, &saved));
    ck_assert_msg(saved.status == ERR_OK, "%s", saved.text);
    expect_on_disk(VERSION + 1);
    ck_assert(!is_on_disk(VERSION));
    keeper_stop(keeper);
}
END_TEST

START_TEST(save__refuses_another_version_when_one_is_being_written)
{
    struct snap_area *area = member_make(memory, layout, 1, 1, VERSION, SNAP_COMMITTED);

    member_fill(area, 1, VERSION + 1, SNAP_COMMITTED);
    snap_area_close(area);
    write_plan(STATE_BYTES / 8); /* a quarter of it takes two seconds */
    const pid_t keeper = keeper_start("10", "30");
    ranks[1] = keeper_join(1);
    EXPECT_OK(snap_keeper_save(ranks[1], name_of(1), VERSION));
    EXPECT_ERR(snap_keeper_save(ranks[1], name_of(1), VERSION + 1), ERR_INVALID,
               "an earlier step is still being written");
    /* Who waits for this part hears of it. */
    char partial[FILE_PATH_BYTES_MAX];
    char pattern[FILE_PATH_BYTES_MAX];
    glob_t marks = {0};
    EXPECT_OK(snap_disk_partial(partial, disk, VERSION + 1));
    EXPECT_OK(file_make_folder(partial));
    EXPECT_OK(file_path(pattern, partial, ".failed-*-1"));
    for (int i = 0; i < 500 && marks.gl_pathc == 0; i++) {
        globfree(&marks);
        (void)glob(pattern, 0, NULL, &marks);
        clock_nap_us(10000);
    }
    ck_assert_int_eq((int)marks.gl_pathc, 1);
    globfree(&marks);
    keeper_stop(keeper);
}
END_TEST

/* Under a soft limit of open files that is lower than that. */
START_TEST(serve__answers_as_many_ranks_as_a_node_may_have)
{
    enum { CONNECTIONS = 100 };
    const struct keeper_message hello = {.format = KEEPER_FORMAT, .kind = KEEPER_HELLO};
    const struct timeval patience = {.tv_sec = 10};
    struct keeper_message ready;
    int sockets[CONNECTIONS];
    struct rlimit files;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    const rlim_t before = files.rlim_cur;
    files.rlim_cur = CONNECTIONS / 2;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0); /* for the keeper */
    const pid_t keeper = keeper_start("10", "30");
    files.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        sockets[i] = keeper_connect();
        ck_assert_int_ge(sockets[i], 0);
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        ck_assert_int_eq(send(sockets[i], &hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
        ck_assert_msg(recv(sockets[i], &ready, sizeof(ready), 0) == sizeof(ready), "rank %d", i);
        ck_assert_uint_eq(ready.kind, KEEPER_READY);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        close(sockets[i]);
    }
    keeper_stop(keeper);
}
END_TEST

START_TEST(run__returns_at_once_when_another_keeper_serves_the_folder)
{
    const pid_t first = keeper_start("10", "30");
    const pid_t second = keeper_begin("10", "30");

    keeper_expect_end(second);
    ck_assert_int_eq(keeper_process(), first);
    keeper_stop(first);
}
END_TEST

START_TEST(run__takes_the_place_of_one_that_was_killed)
{
    const pid_t first = keeper_start("10", "30");
    int code = 0;

    ck_assert_int_eq(kill(first, SIGKILL), 0);
    EXPECT_SOON(keeper_has_ended(first, &code));
    const pid_t second = keeper_start("10", "30");
    ck_assert_int_eq(keeper_process(), second);
    keeper_stop(second);
}
END_TEST

START_TEST(run__ends_when_its_folder_is_removed_and_makes_nothing_anew)
{
    const pid_t keeper = keeper_start("1", "0");

    ranks[0] = keeper_join(0);
    EXPECT_OK(file_remove_tree(memory));
    snap_keeper_close(ranks[0], false);
    ranks[0] = NULL;
    keeper_expect_end(keeper);
    ck_assert(!file_exists(memory));
}
END_TEST

START_TEST(run__leaves_a_folder_alone_that_took_the_place_of_its_own)
{
    const pid_t keeper = keeper_start("1", "0");

    ranks[0] = keeper_join(0);
    EXPECT_OK(file_remove_tree(memory));
    EXPECT_OK(snap_area_folder(memory));
    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    snap_keeper_close(ranks[0], false);
    ranks[0] = NULL;
    keeper_expect_end(keeper);
    ck_assert(has_member(0) && has_member(3));
}
END_TEST

/* Sends it, and whether the keeper then ends the connection. */
static bool ends_connection(const void *packet, size_t bytes)
{
    char answer[2 * sizeof(struct keeper_message)];
    const int fd = keeper_connect();

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, packet, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
    const bool ends = recv(fd, answer, sizeof(answer), 0) == 0;
    close(fd);
    return ends;
}

START_TEST(serve__ends_a_connection_and_nothing_else_when_a_packet_is_not_one_of_its_own)
{
    struct {
        struct keeper_message message;
        char more[8];
    } packet = {.message = {.format = KEEPER_FORMAT, .kind = KEEPER_HELLO, .rank = 1}};
    const pid_t keeper = keeper_start("10", "30");

    ranks[0] = keeper_join(0);
    ck_assert(!ends_connection(&packet, sizeof(packet.message)));
    ck_assert(ends_connection(&packet, sizeof(packet.message) - 1));
    ck_assert(ends_connection(&packet, sizeof(packet.message) + 1));
    ck_assert(ends_connection("GET / HTTP/1.0", 14));
    packet.message.format = KEEPER_FORMAT + 1;
    ck_assert(ends_connection(&packet, sizeof(packet.message)));
    packet.message.format = KEEPER_FORMAT;
    const uint32_t kinds[] = {KEEPER_READY, KEEPER_SAVED, KEEPER_TAKEN, KEEPER_KINDS, UINT32_MAX};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        packet.message.kind = kinds[i];
        ck_assert(ends_connection(&packet, sizeof(packet.message)));
    }
    packet.message.kind = KEEPER_RESERVE; /* a name without an end */
    memset(packet.message.text, 'x', sizeof(packet.message.text));
    ck_assert(!ends_connection(&packet, sizeof(packet.message)));
    EXPECT_OK(snap_keeper_reserve(ranks[0], MAKING, 1));
    ck_assert_int_eq(keeper_process(), keeper);
    keeper_stop(keeper);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("keeper");
    TCase *tcase = tcase_create("keeper");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, run__leaves_nothing_when_all_ranks_said_goodbye);
    tcase_add_test(tcase, run__removes_nothing_that_is_not_its_own);
    tcase_add_test(tcase, run__stays_when_a_goodbye_leaves_memory_or_a_rank);
    tcase_add_test(tcase, run__writes_the_newest_version_when_the_ranks_are_gone_and_then_ends);
    tcase_add_test(tcase,
                   run__writes_the_newest_version_and_leaves_the_memory_when_it_is_told_to_end);
    tcase_add_test(tcase, run__leaves_no_memory_when_it_is_told_to_end_and_to_retain_none);
    tcase_add_test(tcase, run__keeps_the_memory_when_it_is_the_only_copy);
    tcase_add_test(tcase, run__keeps_the_memory_when_the_plan_is_damaged);
    tcase_add_test(tcase, run__keeps_the_memory_when_ranks_run_that_have_not_said_hello);
    tcase_add_test(tcase, save__puts_all_parts_on_disk_and_tells_rank_0_alone);
    tcase_add_test(tcase, save__gives_an_older_one_up_when_it_waits_for_others);
    tcase_add_test(tcase, save__refuses_another_version_when_one_is_being_written);
    tcase_add_test(tcase, serve__answers_as_many_ranks_as_a_node_may_have);
    tcase_add_test(tcase, run__returns_at_once_when_another_keeper_serves_the_folder);
    tcase_add_test(tcase, run__takes_the_place_of_one_that_was_killed);
    tcase_add_test(tcase, run__ends_when_its_folder_is_removed_and_makes_nothing_anew);
    tcase_add_test(tcase, run__leaves_a_folder_alone_that_took_the_place_of_its_own);
    tcase_add_test(tcase,
                   serve__ends_a_connection_and_nothing_else_when_a_packet_is_not_one_of_its_own);
    suite_add_tcase(suite, tcase);
    return suite;
}
