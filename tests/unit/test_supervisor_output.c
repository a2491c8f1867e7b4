/* Unit tests of launch/supervisor/supervisor_output.h, with lines that Open MPI 4.1.4 wrote. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "launch/supervisor/supervisor_output.h"
#include "tests/support/test_suite.h"

static struct output output;

static void say(const char *text)
{
    output_take(&output, text, strlen(text));
}

static const char killed[] =
    "--------------------------------------------------------------------------\n"
    "mpirun noticed that process rank 3 with PID 0 on node node07 exited on signal 9 (Killed).\n"
    "--------------------------------------------------------------------------\n";
static const char exited[] =
    "--------------------------------------------------------------------------\n"
    "mpirun detected that one or more processes exited with non-zero status, thus causing\n"
    "the job to be terminated. The first process to do so was:\n"
    "\n"
    "  Process name: [[14061,1],2]\n"
    "  Exit code:    70\n"
    "--------------------------------------------------------------------------\n";
static const char aborted[] =
    "--------------------------------------------------------------------------\n"
    "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\n"
    "with errorcode 70.\n"
    "--------------------------------------------------------------------------\n";

START_TEST(take__learns_from_mpirun_who_failed_first)
{
    output_init(&output, -1);
    ck_assert_int_eq(output.blame.rank, -1);
    say(killed);
    ck_assert_int_eq(output.blame.rank, 3);
    ck_assert_int_eq(output.blame.signal, 9);
    ck_assert_str_eq(output.blame.host, "node07");
    output_init(&output, -1);
    say(exited);
    ck_assert_int_eq(output.blame.rank, 2);
    output_init(&output, -1);
    say(aborted);
    ck_assert_int_eq(output.blame.rank, 1);
}
END_TEST

START_TEST(take__keeps_the_last_line_of_a_rank_and_not_of_mpirun)
{
    output_init(&output, -1);
    say("step 1\nofframp: stage 1: disk full\nstep 2\n");
    say(killed);
    say("\nste");
    ck_assert_str_eq(output.last, "step 2");
    ck_assert_str_eq(output.complaint, "offramp: stage 1: disk full");
    say("p 3\r\n");
    ck_assert_str_eq(output.last, "step 3");
}
END_TEST

START_TEST(take__bears_lines_of_any_length)
{
    output_init(&output, -1);
    for (int i = 0; i < 3 * OUTPUT_LINE_BYTES; i++) {
        say("x");
    }
    say("\nshort\n");
    ck_assert_str_eq(output.last, "short");
    output_take(&output, "a\0b\n", 4);
    ck_assert_str_eq(output.last, "a");
}
END_TEST

START_TEST(take__passes_every_byte_on)
{
    const char text[] = "a\nhalf a line, \x01 and more\r\nno end";
    char found[sizeof(text)] = "";
    int pipes[2];

    ck_assert_int_eq(pipe(pipes), 0);
    output_init(&output, pipes[1]);
    for (size_t i = 0; i < strlen(text); i += 5) {
        output_take(&output, text + i, i + 5 <= strlen(text) ? 5 : strlen(text) - i);
    }
    close(pipes[1]);
    ck_assert_int_eq(read(pipes[0], found, sizeof(found)), (ssize_t)strlen(text));
    ck_assert_str_eq(found, text);
    close(pipes[0]);
}
END_TEST

START_TEST(take__goes_on_when_nobody_reads)
{
    const int file = open("/dev/full", O_WRONLY);

    output_init(&output, file);
    say("one\ntwo\n");
    ck_assert_str_eq(output.last, "two");
    close(file);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_output");
    TCase *tcase = tcase_create("supervisor_output");

    tcase_add_test(tcase, take__learns_from_mpirun_who_failed_first);
    tcase_add_test(tcase, take__keeps_the_last_line_of_a_rank_and_not_of_mpirun);
    tcase_add_test(tcase, take__bears_lines_of_any_length);
    tcase_add_test(tcase, take__passes_every_byte_on);
    tcase_add_test(tcase, take__goes_on_when_nobody_reads);
    suite_add_tcase(suite, tcase);
    return suite;
}
