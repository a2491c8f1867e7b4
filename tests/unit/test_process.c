/* Unit tests of comm/base/process.h. */
#define _GNU_SOURCE
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/process.h"
#include "tests/support/test_suite.h"

static pid_t start_child(void)
{
    const pid_t child = fork();

    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    return child;
}

START_TEST(describe__tells_parent_and_state)
{
    struct process process;
    const pid_t child = start_child();

    ck_assert_int_eq(process_describe(child, &process), ERR_OK);
    ck_assert_int_eq(process.parent, getpid());
    kill(child, SIGSTOP);
    ck_assert_int_eq(waitpid(child, NULL, WUNTRACED), child);
    ck_assert_int_eq(process_describe(child, &process), ERR_OK);
    ck_assert_int_eq(process.state, 'T');
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_eq(process_describe(child, &process), ERR_MISSING);
    err_clear();
}
END_TEST

START_TEST(open__gives_a_handle_of_that_process_and_no_other)
{
    struct process process;
    const pid_t child = start_child();

    ck_assert_int_eq(process_describe(child, &process), ERR_OK);
    ck_assert_int_eq(process_open(child, process.start + 1), -1);
    const int handle = process_open(child, process.start);
    ck_assert_int_ge(handle, 0);
    struct pollfd ends = {.fd = handle, .events = POLLIN};
    ck_assert_int_eq(poll(&ends, 1, 0), 0);
    ck_assert(process_signal(handle, SIGKILL));
    ck_assert_int_eq(poll(&ends, 1, 10000), 1);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert(!process_signal(handle, SIGKILL));
    close(handle);
    ck_assert_int_eq(process_open(child, process.start), -1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("process");
    TCase *tcase = tcase_create("process");

    tcase_add_test(tcase, describe__tells_parent_and_state);
    tcase_add_test(tcase, open__gives_a_handle_of_that_process_and_no_other);
    suite_add_tcase(suite, tcase);
    return suite;
}
