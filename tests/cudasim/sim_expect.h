/*
 * tests/cudasim/sim_expect.h - runs a small program in a process of its own and looks at how it
 * ends and at what it says on stderr. The caller itself must not have started the device.
 */
#ifndef TESTS_CUDASIM_SIM_EXPECT_H
#define TESTS_CUDASIM_SIM_EXPECT_H

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Its wait status; what it said is in `said` [said_bytes]. */
static inline int sim_run(void (*program)(const void *argument), const void *argument, char *said,
                          size_t said_bytes)
{
    int ends[2];
    int status = 0;
    size_t used = 0;

    fflush(NULL);
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        program(argument);
        exit(EXIT_SUCCESS);
    }
    close(ends[1]);
    for (;;) {
        const ssize_t count = read(ends[0], said + used, said_bytes - 1 - used);
        if (count <= 0 || used + (size_t)count >= said_bytes - 1) {
            break;
        }
        used += (size_t)count;
    }
    said[used] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

/* The program is ended by the simulator, which says one thing and then the other. */
static inline void sim_expect_report(void (*program)(const void *argument), const void *argument,
                                     const char *first, const char *second)
{
    char said[4096];
    const int status = sim_run(program, argument, said, sizeof said);

    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "status 0x%x, expected an abort; it said: %s", status, said);
    const char *at = strstr(said, first);
    ck_assert_msg(at != NULL && strstr(at, second) != NULL, "expected \"%s\" and \"%s\": %s", first,
                  second, said);
}

/* The program ends well, or with a leak that is named. */
static inline void sim_expect_exit(void (*program)(const void *argument), const void *argument,
                                   int code, const char *text)
{
    char said[4096];
    const int status = sim_run(program, argument, said, sizeof said);

    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code,
                  "status 0x%x, expected the exit code %d; it said: %s", status, code, said);
    ck_assert_msg(strstr(said, text) != NULL, "expected \"%s\": %s", text, said);
    if (code == 0) {
        ck_assert_str_eq(said, "");
    }
}

#define CUDA_OK(call) ck_assert_str_eq(cudaGetErrorName(call), "cudaSuccess")
#define CUDA_FAILS(error, call) ck_assert_str_eq(cudaGetErrorName(call), #error)

#endif
