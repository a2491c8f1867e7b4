/*
 * Unit tests of launch/supervisor/supervisor_job.h: jobs whose mpirun is a shell that does what mpirun
 * has been seen to do. A rank is a process that has a page.
 */
#define _GNU_SOURCE
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/process.h"
#include "launch/supervisor/supervisor_job.h"
#include "tests/support/test_suite.h"

static char folder[64];
static struct job *job;
static struct job_end end;

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_job.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    job_close(job);
    ck_assert_int_eq(file_remove_tree(folder), ERR_OK);
}

static void start(const char *script, uint64_t incarnation)
{
    const char *const mpirun[] = {"sh", "-c", NULL};
    const char *const ranks[] = {script, NULL};
    const struct job_options options = {.rank_count = 2,
                                        .mpirun = mpirun,
                                        .ranks = ranks,
                                        .folder = folder,
                                        .incarnation = incarnation};

    ck_assert_int_eq(job_start(&options, &job), ERR_OK);
}

/* Looks at it for so long at most; how long it took, in ms. */
static int64_t look(int64_t most_ms)
{
    const int64_t start_ms = clock_now_ms();
    struct pollfd polls[8];

    while (!job_is_over(job) && clock_now_ms() - start_ms < most_ms) {
        poll(polls, (nfds_t)job_polls(job, polls, 8), 20);
        job_look(job, clock_now_ms());
    }
    return clock_now_ms() - start_ms;
}

static void look_to_the_end(void)
{
    look(20000);
    ck_assert(job_is_over(job));
    job_end_of(job, &end);
}

/* A rank of this test: tells what it is told to, then waits to be killed. */
static pid_t be_rank(int rank, int64_t step)
{
    const pid_t child = fork();
    struct progress_view *view = NULL;
    struct progress told = {0};

    if (child == 0) {
        setenv(PROGRESS_VARIABLE, folder, 1);
        progress_open(rank);
        progress_resumed(1, 0);
        progress_step(step, 0, step - 1);
        for (;;) {
            pause();
        }
    }
    for (int i = 0; i < 1000 && told.step != step; i++) { /* until it has spoken */
        clock_nap_us(10000);
        if (view == NULL && progress_view_open(folder, rank, &view) != ERR_OK) {
            err_clear();
        } else {
            (void)progress_view_read(view, &told);
        }
    }
    progress_view_close(view);
    ck_assert_int_eq(told.step, step);
    return child;
}

START_TEST(start__gives_the_code_of_mpirun)
{
    start("exit 65", 0);
    look_to_the_end();
    ck_assert_int_eq(end.code, 65);
    ck_assert_int_eq(end.signal, 0);
    ck_assert_int_eq(end.rank, -1);
}
END_TEST

START_TEST(start__gives_the_signal_that_mpirun_stands_for)
{
    start("echo 'mpirun noticed that process rank 1 with PID 0 on node n7 exited on signal 11 "
          "(Segmentation fault).' >&2; exit 139",
          0);
    look_to_the_end();
    ck_assert_int_eq(end.signal, SIGSEGV);
    ck_assert_int_eq(end.rank, 1);
    ck_assert_str_eq(end.host, "n7");
}
END_TEST

START_TEST(start__tells_the_incarnation_and_the_folder)
{
    start("test \"$OFFRAMP_INCARNATION\" = 7 && test -n \"$OFFRAMP_PROGRESS\"", 7);
    look_to_the_end();
    ck_assert_int_eq(end.code, 0);
    job_close(job);
    setenv("OFFRAMP_INCARNATION", "3", 1); /* the user's own means nothing to a supervised run */
    start("test -z \"$OFFRAMP_INCARNATION\"", 0);
    look_to_the_end();
    ck_assert_int_eq(end.code, 0);
}
END_TEST

START_TEST(told__takes_nothing_of_an_earlier_start)
{
    struct progress told = {
        .process = 77, .incarnation = 6, .phase = PROGRESS_STEPS, .step = 9210, .first_step_ns = 5};
    struct progress seen;

    start("sleep 5", 7);
    job_told(job, 1, "n2", &told);
    ck_assert(!job_progress(job, 1, &seen));
    told.incarnation = 0; /* a new one, that has not resumed yet */
    told.step = -1;
    job_told(job, 1, "n2", &told);
    ck_assert(job_progress(job, 1, &seen));
    told.incarnation = 7;
    told.step = 9512;
    job_told(job, 1, "n2", &told);
    ck_assert(job_progress(job, 1, &seen));
    ck_assert_int_eq(seen.step, 9512);
    told.incarnation = 6;
    told.step = 9210;
    job_told(job, 1, "n2", &told);
    ck_assert(job_progress(job, 1, &seen));
    ck_assert_int_eq(seen.step, 9512);
    look(300); /* it has become mpirun */
    job_kill(job, clock_now_ms());
    look_to_the_end();
}
END_TEST

START_TEST(look__kills_an_mpirun_that_hangs_after_its_ranks_are_dead)
{
    start("sleep 0.2; while :; do :; done", 0); /* no child any more, and no end */
    const int64_t took_ms = look(20000);
    ck_assert(job_is_over(job));
    job_end_of(job, &end);
    ck_assert(end.mpirun_hung);
    ck_assert_int_eq(end.signal, SIGKILL);
    ck_assert_int_ge(took_ms, 1200);
    ck_assert_int_le(took_ms, 4000);
}
END_TEST

START_TEST(kill__ends_an_mpirun_that_does_not_listen)
{
    start("trap '' TERM; while :; do sleep 100; done", 0);
    look(300);
    job_kill(job, clock_now_ms());
    ck_assert_int_le(look(20000), 4000);
    ck_assert(job_is_over(job));
}
END_TEST

START_TEST(kill__ends_ranks_that_are_stopped)
{
    start("exec sleep 100", 0);
    const pid_t rank = be_rank(1, 12);
    kill(rank, SIGSTOP);
    look(300);
    ck_assert_int_eq(job_slowest(job), 1);
    job_kill(job, clock_now_ms());
    look_to_the_end();
    ck_assert_int_eq(end.rank, 1);
    ck_assert_int_eq(end.progress.step, 12);
}
END_TEST

START_TEST(look__ends_a_job_of_which_a_rank_is_dead)
{
    start("while :; do sleep 100; done", 0);
    const pid_t ranks[2] = {be_rank(0, 5), be_rank(1, 5)};
    look(300);
    ck_assert_int_eq(job_dead_rank(job), -1);
    kill(ranks[1], SIGKILL);
    look(200);
    ck_assert_int_eq(job_dead_rank(job), 1);
    const int64_t took_ms = look(20000);
    ck_assert(job_is_over(job));
    ck_assert_int_ge(took_ms, 4000);
    ck_assert_int_le(took_ms, 9000);
    job_end_of(job, &end);
    ck_assert_int_eq(end.rank, 1);
}
END_TEST

/* With --enable-recovery, say, mpirun gives 0 whatever became of its ranks. */
START_TEST(start__does_not_believe_in_a_code_0_that_a_rank_belies)
{
    start("sleep 0.5; exit 0", 0);
    const pid_t rank = be_rank(0, 5);
    look(200);
    kill(rank, SIGKILL);
    look_to_the_end();
    ck_assert_int_ne(end.signal, 0);
    ck_assert_int_eq(end.rank, 0);
}
END_TEST

START_TEST(close__leaves_nothing)
{
    struct process process;

    start("sleep 100 & echo $! >$OFFRAMP_PROGRESS.pid; wait", 0);
    const pid_t rank = be_rank(0, 5);
    look(300);
    job_close(job);
    job = NULL;
    clock_nap_us(100000);
    ck_assert(process_describe(rank, &process) == ERR_OK && process.state == 'Z');
    char path[80];
    snprintf(path, sizeof(path), "%s.pid", folder);
    unlink(path);
}
END_TEST

START_TEST(sweep__kills_what_an_earlier_supervisor_left)
{
    struct process process;
    const pid_t rank = be_rank(0, 5);

    ck_assert_int_eq(job_sweep(folder), 1);
    ck_assert(process_describe(rank, &process) == ERR_OK && process.state == 'Z');
    ck_assert(!file_exists(folder));
    ck_assert_int_eq(job_sweep(folder), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_job");
    TCase *tcase = tcase_create("supervisor_job");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, start__gives_the_code_of_mpirun);
    tcase_add_test(tcase, start__gives_the_signal_that_mpirun_stands_for);
    tcase_add_test(tcase, start__tells_the_incarnation_and_the_folder);
    tcase_add_test(tcase, look__kills_an_mpirun_that_hangs_after_its_ranks_are_dead);
    tcase_add_test(tcase, kill__ends_an_mpirun_that_does_not_listen);
    tcase_add_test(tcase, kill__ends_ranks_that_are_stopped);
    tcase_add_test(tcase, look__ends_a_job_of_which_a_rank_is_dead);
    tcase_add_test(tcase, start__does_not_believe_in_a_code_0_that_a_rank_belies);
    tcase_add_test(tcase, told__takes_nothing_of_an_earlier_start);
    tcase_add_test(tcase, close__leaves_nothing);
    tcase_add_test(tcase, sweep__kills_what_an_earlier_supervisor_left);
    suite_add_tcase(suite, tcase);
    return suite;
}
