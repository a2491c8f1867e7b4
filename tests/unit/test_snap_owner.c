/*
 * Unit tests of snapshot/snap_owner.h: holders are processes, and what a newcomer does to them. Who
 * is refused waits three seconds first.
 */
#define _GNU_SOURCE
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/bytes.h"
#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/hash.h"
#include "snapshot/snap_owner.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { PATIENCE_MS = 3000, FILE_BYTES = 4096 };

static struct temp_folder folder;
static char path[FILE_PATH_BYTES_MAX];
static int file;

static int open_file(void)
{
    const int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(opened, 0);
    return opened;
}

static void set_up(void)
{
    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "memory"));
    file = open_file();
    ck_assert_int_eq(ftruncate(file, FILE_BYTES), 0);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans can be waited for */
}

static void tear_down(void)
{
    close(file);
    temp_folder_close(&folder);
}

/* In a child: has the file until it is killed, or for so long. */
static void hold(const struct snap_owner *owner, int told, int64_t hold_ms)
{
    const int held = open(path, O_RDWR | O_CLOEXEC);
    const pid_t self = getpid();

    if (held < 0 || snap_owner_take(held, path, owner) != ERR_OK ||
        write(told, &self, sizeof(self)) != sizeof(self)) {
        _exit(1);
    }
    clock_nap_us(hold_ms * 1000);
    _exit(0);
}

static pid_t hear(int told)
{
    pid_t process = 0;

    ck_assert_int_eq(read(told, &process, sizeof(process)), sizeof(process));
    return process;
}

/* A holder whose parent is this process. */
static pid_t start_holder(const struct snap_owner *owner, int64_t hold_ms)
{
    int pipes[2];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        hold(owner, pipes[1], hold_ms);
    }
    close(pipes[1]);
    ck_assert_int_eq(hear(pipes[0]), child);
    close(pipes[0]);
    return child;
}

/* One whose launcher started it and is gone. */
static pid_t start_orphan(void)
{
    int pipes[2];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    const pid_t launcher = fork();
    ck_assert_int_ge(launcher, 0);
    if (launcher == 0) {
        const struct snap_owner owner = {.launcher = getpid(), .incarnation = 3};
        if (fork() == 0) {
            hold(&owner, pipes[1], 60000);
        }
        clock_nap_us(60000000);
        _exit(0);
    }
    close(pipes[1]);
    const pid_t orphan = hear(pipes[0]);
    close(pipes[0]);
    ck_assert_int_eq(kill(launcher, SIGKILL), 0);
    ck_assert_int_eq(waitpid(launcher, NULL, 0), launcher);
    return orphan;
}

static void expect_killed(pid_t process)
{
    int status = 0;

    ck_assert_int_eq(waitpid(process, &status, 0), process);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* It was alive, and is not needed any more. */
static void end(pid_t process)
{
    ck_assert_int_eq(waitpid(process, NULL, WNOHANG), 0);
    ck_assert_int_eq(kill(process, SIGKILL), 0);
    expect_killed(process);
}

/* The record, whose checksum is made right. */
static void change_record(int at, uint64_t value, int bytes)
{
    uint8_t record[SNAP_OWNER_BYTES];

    ck_assert_int_eq(pread(file, record, sizeof(record), SNAP_OWNER_AT), sizeof(record));
    if (bytes == 4) {
        bytes_put_u32(record + at, (uint32_t)value);
    } else {
        bytes_put_u64(record + at, value);
    }
    bytes_put_u64(record + 48, hash_bytes(record, 48).low);
    ck_assert_int_eq(pwrite(file, record, sizeof(record), SNAP_OWNER_AT), sizeof(record));
}

START_TEST(take__refuses_after_a_while_and_names_the_holder_when_it_runs)
{
    const struct snap_owner owner = {.launcher = getpid(), .incarnation = 3};
    const struct snap_owner later = {.incarnation = 4};
    char text[100];

    ck_assert(!snap_owner_exists(file));
    const pid_t holder = start_holder(&owner, 60000);
    ck_assert(snap_owner_exists(file));
    const int64_t start_ms = clock_now_ms();
    snprintf(text, sizeof(text),
             "memory: process %d has it open: another start of this job (incarnation 3) is running",
             (int)holder);
    EXPECT_ERR(snap_owner_take(file, path, &later), ERR_CONFIG, text);
    ck_assert_int_ge(clock_now_ms() - start_ms, PATIENCE_MS);
    end(holder);
    ck_assert(!snap_owner_exists(file));
    EXPECT_OK(snap_owner_take(file, path, &later));
}
END_TEST

START_TEST(take__waits_for_a_holder_that_ends_by_itself)
{
    const struct snap_owner owner = {.launcher = getpid(), .incarnation = 3};
    const struct snap_owner later = {.incarnation = 4};
    int status = 0;
    const pid_t holder = start_holder(&owner, 700);

    EXPECT_OK(snap_owner_take(file, path, &later));
    ck_assert_int_eq(waitpid(holder, &status, 0), holder);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(take__kills_a_holder_whose_launcher_is_gone)
{
    const struct snap_owner later = {.incarnation = 4};
    const pid_t orphan = start_orphan();

    EXPECT_OK(snap_owner_take(file, path, &later));
    expect_killed(orphan);
}
END_TEST

START_TEST(take__kills_a_stopped_holder_of_an_earlier_start_when_it_fences)
{
    const struct snap_owner owner = {.launcher = getpid(), .incarnation = 3};
    const struct snap_owner later = {.incarnation = 4, .fences = true};
    const pid_t holder = start_holder(&owner, 60000);

    ck_assert_int_eq(kill(holder, SIGSTOP), 0);
    EXPECT_OK(snap_owner_take(file, path, &later));
    expect_killed(holder);
}
END_TEST

START_TEST(take__does_not_kill_a_holder_of_the_same_or_a_later_start_when_it_fences)
{
    const struct snap_owner owner = {.launcher = getpid(), .incarnation = 4};
    const struct snap_owner same = {.incarnation = 4, .fences = true};
    const struct snap_owner earlier = {.incarnation = 3, .fences = true};
    const pid_t holder = start_holder(&owner, 60000);

    EXPECT_ERR(snap_owner_take(file, path, &same), ERR_CONFIG, "is running");
    EXPECT_ERR(snap_owner_take(file, path, &earlier), ERR_CONFIG, "is running");
    end(holder);
}
END_TEST

/* Its number was given to another process, or is one of another machine or container. */
START_TEST(take__does_not_kill_a_process_that_only_has_the_holder_s_number)
{
    enum { AT_LAUNCHER = 12, AT_HOST = 16, AT_START = 24, AT_NAMESPACE = 32 };
    const int places[] = {AT_HOST, AT_START, AT_NAMESPACE};
    const struct snap_owner owner = {.launcher = getpid(), .incarnation = 3};
    const struct snap_owner later = {.incarnation = 4, .fences = true};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const pid_t holder = start_holder(&owner, 60000);
        change_record(AT_LAUNCHER, 1, 4); /* an orphan, and fenced */
        change_record(places[i], 12345, 8);
        EXPECT_ERR(snap_owner_take(file, path, &later), ERR_CONFIG, "is running");
        end(holder);
    }
}
END_TEST

START_TEST(take__kills_nobody_when_the_record_is_damaged)
{
    const struct snap_owner owner = {.launcher = 1, .incarnation = 3};
    const struct snap_owner later = {.incarnation = 4, .fences = true};
    const int places[] = {0, 40, SNAP_OWNER_BYTES - 1};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        uint8_t byte = 0;
        const pid_t holder = start_holder(&owner, 60000);
        ck_assert_int_eq(pread(file, &byte, 1, SNAP_OWNER_AT + places[i]), 1);
        byte ^= 0x40;
        ck_assert_int_eq(pwrite(file, &byte, 1, SNAP_OWNER_AT + places[i]), 1);
        EXPECT_ERR(snap_owner_take(file, path, &later), ERR_CONFIG,
                   "memory: another process has it open");
        end(holder);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_owner");
    TCase *tcase = tcase_create("snap_owner");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, take__refuses_after_a_while_and_names_the_holder_when_it_runs);
    tcase_add_test(tcase, take__waits_for_a_holder_that_ends_by_itself);
    tcase_add_test(tcase, take__kills_a_holder_whose_launcher_is_gone);
    tcase_add_test(tcase, take__kills_a_stopped_holder_of_an_earlier_start_when_it_fences);
    tcase_add_test(tcase, take__does_not_kill_a_holder_of_the_same_or_a_later_start_when_it_fences);
    tcase_add_test(tcase, take__does_not_kill_a_process_that_only_has_the_holder_s_number);
    tcase_add_test(tcase, take__kills_nobody_when_the_record_is_damaged);
    suite_add_tcase(suite, tcase);
    return suite;
}
