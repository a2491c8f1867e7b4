/*
 * tests/support/keeper_case.h - keepers as processes of their own, and ranks that this process plays.
 *
 * The file that includes this defines _GNU_SOURCE first; KEEPER_PROGRAM is tests/support/keeper_program.
 */
#ifndef TESTS_SUPPORT_KEEPER_CASE_H
#define TESTS_SUPPORT_KEEPER_CASE_H

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "snapshot/keeper_message.h"
#include "snapshot/snap_area.h"
#include "snapshot/snap_keeper.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"

enum { KEEPER_PATIENCE_MS = 20000, KEEPER_NAP_US = 5000 };

static struct temp_folder home; /* of everything that a case makes */
static char memory[300], disk[300];

static inline void keeper_set_up(void)
{
    temp_folder_open(&home);
    snprintf(memory, sizeof(memory), "%s/memory", home.path);
    snprintf(disk, sizeof(disk), "%s/disk", home.path);
    EXPECT_OK(snap_area_folder(memory));
    EXPECT_OK(file_make_folder(disk));
}

/* What fails this within its patience ends the case. */
#define EXPECT_SOON(condition)                                                                     \
    do {                                                                                           \
        const int64_t until_ms_ = clock_now_ms() + KEEPER_PATIENCE_MS;                             \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now_ms() < until_ms_, "not within 20 s: %s", #condition);          \
            clock_nap_us(KEEPER_NAP_US);                                                           \
        }                                                                                          \
    } while (0)

/* A connection, bare; -1 if nobody listens. */
static inline int keeper_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/%s", memory, KEEPER_SOCKET);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        return fd;
    }
    close(fd);
    return -1;
}

/* Who listens there; 0: nobody. */
static inline pid_t keeper_process(void)
{
    struct ucred peer = {0};
    socklen_t bytes = sizeof(peer);
    const int fd = keeper_connect();

    if (fd >= 0) {
        ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes), 0);
        close(fd);
    }
    return peer.pid;
}

/* Starts one, as a child, that need not listen yet. */
static inline pid_t keeper_begin(const char *grace_s, const char *retain_s)
{
    const pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setenv("OFFRAMP_TEST_GRACE_S", grace_s, 1);
        execl(KEEPER_PROGRAM, KEEPER_PROGRAM, "keeper", "--folder", memory, "--retain-s", retain_s,
              (char *)NULL);
        _exit(127);
    }
    return child;
}

static inline pid_t keeper_start(const char *grace_s, const char *retain_s)
{
    const pid_t child = keeper_begin(grace_s, retain_s);

    EXPECT_SOON(keeper_process() != 0);
    return child;
}

static inline bool keeper_has_ended(pid_t child, int *code_out)
{
    int status = 0;

    if (waitpid(child, &status, WNOHANG) != child) {
        return false;
    }
    *code_out = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

/* Waits for it to end by itself, and well. */
static inline void keeper_expect_end(pid_t child)
{
    int code = -1;

    EXPECT_SOON(keeper_has_ended(child, &code));
    ck_assert_int_eq(code, 0);
}

static inline void keeper_stop(pid_t child)
{
    ck_assert_int_eq(kill(child, SIGTERM), 0);
    keeper_expect_end(child);
}

static inline struct snap_keeper *keeper_join(int rank)
{
    const struct snap_keeper_options options = {
        .folder = memory, .program = KEEPER_PROGRAM, .rank = rank, .retain_s = 30};
    struct snap_keeper *keeper = NULL;

    EXPECT_OK(snap_keeper_open(&options, &keeper));
    return keeper;
}

/* All keepers of this case are gone, also those that nobody waits for. */
static inline void keeper_tear_down(void)
{
    pid_t process = 0;

    while ((process = keeper_process()) != 0) {
        (void)!kill(process, SIGKILL);
        EXPECT_SOON(keeper_process() != process);
    }
    EXPECT_OK(file_remove_tree(home.path));
}

#endif
