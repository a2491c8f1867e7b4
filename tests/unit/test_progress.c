/* Unit tests of launch/progress.h: each case is a process of its own, as a rank is. */
#define _GNU_SOURCE
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/base/process.h"
#include "launch/progress.h"
#include "tests/support/test_suite.h"

static char folder[64];
static struct progress_view *view;
static struct progress progress;

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_progress.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv(PROGRESS_VARIABLE, folder, 1);
}

static void tear_down(void)
{
    progress_view_close(view);
    ck_assert_int_eq(file_remove_tree(folder), ERR_OK);
}

START_TEST(open__tells_who_is_there_and_when_it_began)
{
    struct process self;

    ck_assert_int_eq(progress_view_open(folder, 3, &view), ERR_MISSING);
    err_clear();
    progress_open(3);
    ck_assert_int_eq(progress_view_open(folder, 3, &view), ERR_OK);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(process_describe(getpid(), &self), ERR_OK);
    ck_assert_int_eq(progress.process, getpid());
    ck_assert_uint_eq(progress.start, self.start);
    ck_assert_int_eq(progress.phase, PROGRESS_BEGUN);
    ck_assert_int_eq(progress.step, -1);
    ck_assert_int_eq(progress.kept, -1);
    ck_assert_int_eq(progress.from, -1);
    ck_assert_int_eq(progress.code, -1);
    ck_assert_int_eq(progress.first_step_ns, 0);
    ck_assert_int_gt(progress.since_ns[PROGRESS_BEGUN], 0);
    ck_assert_int_le(progress.at_ns, clock_now_ns());
}
END_TEST

START_TEST(open__without_a_listener_tells_nothing)
{
    unsetenv(PROGRESS_VARIABLE);
    progress_open(0);
    progress_phase(PROGRESS_JOINED);
    progress_resumed(1, 0);
    progress_step(1, 0, -1);
    progress_left(0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_MISSING);
    err_clear();
}
END_TEST

START_TEST(open__does_without_a_folder_that_cannot_be_made)
{
    setenv(PROGRESS_VARIABLE, "/proc/none/such", 1);
    progress_open(0);
    progress_step(1, 0, -1);
}
END_TEST

START_TEST(step__is_read_with_all_that_belongs_to_it)
{
    uint64_t beats = 0;

    progress_open(0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_OK);
    ck_assert(progress_view_read(view, &progress));
    beats = progress.beats;
    progress_phase(PROGRESS_JOINED);
    progress_resumed(5, 120);
    progress_step(121, 2, 118);
    ck_assert(progress_view_read(view, &progress));
    const int64_t first_ns = progress.first_step_ns;
    progress_step(122, 2, 121);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_uint_eq(progress.beats, beats + 4);
    ck_assert_uint_eq(progress.incarnation, 5);
    ck_assert_int_eq(progress.phase, PROGRESS_STEPS);
    ck_assert_int_eq(progress.step, 122);
    ck_assert_int_eq(progress.stage, 2);
    ck_assert_int_eq(progress.kept, 121);
    ck_assert_int_eq(progress.from, 120);
    ck_assert_int_gt(first_ns, 0);
    ck_assert_int_eq(progress.first_step_ns, first_ns);
    ck_assert_int_le(progress.since_ns[PROGRESS_JOINED], progress.since_ns[PROGRESS_RESUMED]);
    ck_assert_int_eq(progress.code, -1);
    progress_left(75);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.code, 75);
    ck_assert_int_eq(progress.phase, PROGRESS_LEAVES);
}
END_TEST

START_TEST(beat__is_a_sign_but_where_steps_are)
{
    progress_open(0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_OK);
    progress_phase(PROGRESS_EVALUATES);
    ck_assert(progress_view_read(view, &progress));
    const uint64_t beats = progress.beats;
    progress_beat();
    ck_assert(progress_view_read(view, &progress));
    ck_assert_uint_eq(progress.beats, beats + 1);
    ck_assert_int_eq(progress.phase, PROGRESS_EVALUATES);
    progress_step(1, 0, -1);
    progress_beat();
    ck_assert(progress_view_read(view, &progress));
    ck_assert_uint_eq(progress.beats, beats + 2);
}
END_TEST

START_TEST(moves__allows_for_20_mb_a_second_until_the_next_sign)
{
    progress_open(0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_OK);
    progress_phase(PROGRESS_SAVES);
    progress_moves(400 * 1000 * 1000, 0);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.quiet_ms, 20000);
    progress_moves(400 * 1000 * 1000, 5); /* as slowly as is set */
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.quiet_ms, 80000);
    progress_moves(400 * 1000 * 1000, 500);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.quiet_ms, 20000);
    progress_beat();
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.quiet_ms, 0);
}
END_TEST

/* A child that is killed at a random moment leaves a page that the next one can use. */
START_TEST(open__takes_over_the_page_of_a_rank_that_was_killed_while_it_wrote)
{
    for (int i = 0; i < 20; i++) {
        const pid_t child = fork();
        if (child == 0) {
            progress_open(0);
            for (int64_t step = 1;; step++) {
                progress_step(step, 0, step - 1);
            }
        }
        clock_nap_us(2000 + 300 * i);
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
    }
    progress_open(0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_OK);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.process, getpid());
    ck_assert_int_eq(progress.step, -1);
    progress_step(9, 0, 8);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.step, 9);
}
END_TEST

static atomic_bool is_over;

static void *write_steps(void *unused)
{
    (void)unused;
    for (int64_t step = 1; !atomic_load(&is_over); step++) {
        progress_step(step, step, step);
    }
    return NULL;
}

START_TEST(read__never_sees_half_of_a_change)
{
    pthread_t writer;
    int reads = 0;

    progress_open(0);
    progress_step(0, 0, 0);
    ck_assert_int_eq(progress_view_open(folder, 0, &view), ERR_OK);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_steps, NULL), 0);
    const int64_t until_ms = clock_now_ms() + 20000;
    while ((reads <= 1000 || progress.step <= 100) && clock_now_ms() < until_ms) {
        if (progress_view_read(view, &progress)) {
            ck_assert_int_eq(progress.stage, progress.step);
            ck_assert_int_eq(progress.kept, progress.step);
            reads++;
        }
    }
    atomic_store(&is_over, true);
    pthread_join(writer, NULL);
    ck_assert_int_gt(reads, 1000);
    ck_assert_int_gt(progress.step, 100);
}
END_TEST

/* A rank that has begun, as a child; it runs until it is killed. */
static pid_t start_rank(int rank)
{
    int begun[2];
    char byte = 0;

    ck_assert_int_eq(pipe(begun), 0);
    const pid_t child = fork();
    if (child == 0) {
        progress_open(rank);
        ck_assert_int_eq(write(begun[1], "b", 1), 1);
        for (;;) {
            pause();
        }
    }
    close(begun[1]);
    ck_assert_int_eq(read(begun[0], &byte, 1), 1);
    close(begun[0]);
    return child;
}

static void end_process(pid_t process)
{
    kill(process, SIGKILL);
    ck_assert_int_eq(waitpid(process, NULL, 0), process);
}

START_TEST(tidy__removes_the_folder_when_nobody_is_there)
{
    char path[128];
    const pid_t dead = start_rank(2);

    end_process(dead);
    snprintf(path, sizeof(path), "%s/making-%d", folder, (int)dead);
    ck_assert_int_eq(file_write_text(path, ""), ERR_OK);
    progress_tidy(folder);
    ck_assert(!file_exists(folder));
    progress_tidy(folder);
}
END_TEST

START_TEST(tidy__leaves_the_pages_of_ranks_that_run)
{
    const pid_t dead = start_rank(2), alive = start_rank(3);

    end_process(dead);
    progress_tidy(folder);
    ck_assert_int_eq(progress_view_open(folder, 2, &view), ERR_MISSING);
    err_clear();
    ck_assert_int_eq(progress_view_open(folder, 3, &view), ERR_OK);
    ck_assert(progress_view_read(view, &progress));
    ck_assert_int_eq(progress.process, alive);
    end_process(alive);
}
END_TEST

static bool is_seen(pid_t rank)
{
    const bool has_view = progress_view_open(folder, 0, &view) == ERR_OK;
    const bool is_seen = has_view && progress_view_read(view, &progress);

    err_clear();
    if (has_view) {
        progress_view_close(view);
        view = NULL;
    }
    return is_seen && progress.process == rank;
}

START_TEST(tidy__takes_no_page_of_a_rank_that_begins)
{
    const pid_t tidier = fork();

    if (tidier == 0) {
        for (;;) {
            progress_tidy(folder);
        }
    }
    for (int i = 0; i < 300; i++) {
        const pid_t rank = start_rank(0);
        const int64_t until_ms = clock_now_ms() + 2000;
        clock_nap_us(1000);      /* what was taken by mistake would be gone by now */
        while (!is_seen(rank)) { /* it may just be looked at */
            ck_assert_msg(clock_now_ms() < until_ms, "rank %d is not seen", i);
        }
        end_process(rank);
    }
    end_process(tidier);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("progress");
    TCase *tcase = tcase_create("progress");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, open__tells_who_is_there_and_when_it_began);
    tcase_add_test(tcase, open__without_a_listener_tells_nothing);
    tcase_add_test(tcase, open__does_without_a_folder_that_cannot_be_made);
    tcase_add_test(tcase, step__is_read_with_all_that_belongs_to_it);
    tcase_add_test(tcase, beat__is_a_sign_but_where_steps_are);
    tcase_add_test(tcase, moves__allows_for_20_mb_a_second_until_the_next_sign);
    tcase_add_test(tcase, open__takes_over_the_page_of_a_rank_that_was_killed_while_it_wrote);
    tcase_add_test(tcase, read__never_sees_half_of_a_change);
    tcase_add_test(tcase, tidy__removes_the_folder_when_nobody_is_there);
    tcase_add_test(tcase, tidy__leaves_the_pages_of_ranks_that_run);
    tcase_add_test(tcase, tidy__takes_no_page_of_a_rank_that_begins);
    suite_add_tcase(suite, tcase);
    return suite;
}
