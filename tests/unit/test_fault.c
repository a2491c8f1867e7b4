/* Unit tests of comm/base/fault.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

START_TEST(arm__refuses_what_is_no_fault_and_names_it)
{
    static const char *const specs[] = {
        "comm.reduce",
        "comm.reduce@0",
        "comm.reduce@0#1",
        "comm.reduce@0#0=fail",
        "comm.reduce@0#x=fail",
        "comm.reduce@0#1=faint",
        "comm.reduce@0#1=fail now",
        "comm.reduce@0#1=stall:",
        "comm.reduce@0#1=stall:0",
        "comm.reduce@0#1=stall:5s",
        "no.such@0#1=fail",
        "@0#1=fail",
    };

    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        EXPECT_ERR(fault_arm(specs[i], 0), ERR_INVALID, "fault");
    }
    EXPECT_OK(fault_arm(NULL, 0));
    EXPECT_OK(fault_arm("", 0));
}
END_TEST

#ifdef OFFRAMP_FAULTS
static enum err pass(void)
{
    FAULT_POINT_FAIL(FAULT_COMM_REDUCE, ERR_IO);
    return ERR_OK;
}

START_TEST(fail__strikes_on_that_hit_of_that_rank_only)
{
    EXPECT_OK(fault_arm("comm.reduce@3#2=fail", 3));
    EXPECT_OK(pass());
    ck_assert(!fault_due(FAULT_SAVE_AFTER_RENAME)); /* another point is no hit */
    EXPECT_ERR(pass(), ERR_IO, "injected at comm.reduce");
    EXPECT_OK(pass());

    EXPECT_OK(fault_arm("comm.reduce@3#1=fail", 30));
    EXPECT_OK(pass());
    EXPECT_OK(fault_arm("comm.reduce@*#1=fail", 30));
    EXPECT_ERR(pass(), ERR_IO, "injected");
    EXPECT_OK(fault_arm("", 30));
    EXPECT_OK(pass());
}
END_TEST

START_TEST(stall__waits_so_long_and_goes_on)
{
    EXPECT_OK(fault_arm("comm.reduce@0#1=stall:50", 0));
    const int64_t start_ms = clock_now_ms();
    EXPECT_OK(pass());
    ck_assert_int_ge(clock_now_ms() - start_ms, 49);
}
END_TEST

START_TEST(kill__ends_the_process_at_once)
{
    int status = 0;

    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)!fault_arm("comm.reduce@0#1=kill", 0);
        (void)!pass();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST
#endif

Suite *test_suite(void)
{
    Suite *suite = suite_create("fault");
    TCase *tcase = tcase_create("fault");

    tcase_add_test(tcase, arm__refuses_what_is_no_fault_and_names_it);
#ifdef OFFRAMP_FAULTS
    tcase_add_test(tcase, fail__strikes_on_that_hit_of_that_rank_only);
    tcase_add_test(tcase, stall__waits_so_long_and_goes_on);
    tcase_add_test(tcase, kill__ends_the_process_at_once);
#endif
    suite_add_tcase(suite, tcase);
    return suite;
}
