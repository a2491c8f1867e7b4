/* Unit tests of comm/base/fault.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "comm/base/file.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
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
        "comm.reduce@0#1=hold:0",
        "comm.reduce@0#1=hold:9", /* without a file */
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

/* So many children, one after the other, that each meet the point once: the sum of their codes. */
static int meet(int count, const char *spec)
{
    int sum = 0, status = 0;

    for (int i = 0; i < count; i++) {
        const pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            const bool is_armed = fault_arm(spec, 0) == ERR_OK;
            _exit(is_armed ? pass() != ERR_OK : 100);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    return sum;
}

START_TEST(fired__happens_once_in_a_job_and_is_told)
{
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX], text[96] = "", name[64] = "";
    int process = 0;

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "fired"));
    setenv(FAULT_FIRED_VARIABLE, path, 1);
    ck_assert_int_eq(meet(3, "comm.reduce@0#2=fail"), 0); /* nobody meets it twice */
    ck_assert(!file_exists(path));
    ck_assert_int_eq(meet(3, "comm.reduce@0#1=fail"), 1);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    ck_assert_int_eq(sscanf(text, "%63s %d", name, &process), 2);
    ck_assert_str_eq(name, "comm.reduce");
    ck_assert_int_gt(process, 0);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
    unsetenv(FAULT_FIRED_VARIABLE);
    temp_folder_close(&folder);
}
END_TEST

START_TEST(hold__waits_for_the_drill_and_not_for_ever)
{
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX], done[FILE_PATH_BYTES_MAX];

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "fired"));
    EXPECT_OK(file_path(done, folder.path, "fired" FAULT_DONE_SUFFIX));
    setenv(FAULT_FIRED_VARIABLE, path, 1);
    int64_t start_ms = clock_now_ms();
    ck_assert_int_eq(meet(1, "comm.reduce@0#1=hold:60"), 0);
    ck_assert_int_ge(clock_now_ms() - start_ms, 59);
    EXPECT_OK(file_remove_tree(path));
    EXPECT_OK(file_write_text(done, ""));
    start_ms = clock_now_ms();
    ck_assert_int_eq(meet(1, "comm.reduce@0#1=hold:60000"), 0);
    ck_assert_int_lt(clock_now_ms() - start_ms, 30000);
    unsetenv(FAULT_FIRED_VARIABLE);
    temp_folder_close(&folder);
}
END_TEST
#endif

START_TEST(find__knows_every_point_by_its_name)
{
    for (int i = 0; i < FAULT_POINT_COUNT; i++) {
        ck_assert_int_eq(fault_find(fault_name((enum fault_point)i)), i);
        ck_assert(fault_state((enum fault_point)i)[0] != 0);
    }
    ck_assert_int_eq(fault_find("snap"), FAULT_POINT_COUNT);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("fault");
    TCase *tcase = tcase_create("fault");

    tcase_add_test(tcase, arm__refuses_what_is_no_fault_and_names_it);
#ifdef OFFRAMP_FAULTS
    tcase_add_test(tcase, fail__strikes_on_that_hit_of_that_rank_only);
    tcase_add_test(tcase, stall__waits_so_long_and_goes_on);
    tcase_add_test(tcase, kill__ends_the_process_at_once);
    tcase_add_test(tcase, fired__happens_once_in_a_job_and_is_told);
    tcase_add_test(tcase, hold__waits_for_the_drill_and_not_for_ever);
#endif
    tcase_add_test(tcase, find__knows_every_point_by_its_name);
    suite_add_tcase(suite, tcase);
    return suite;
}
