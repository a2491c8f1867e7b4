/* Unit tests of launch/halt.h: OUT/halt, and of launch/run_holder.h: who runs a run. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "launch/halt.h"
#include "launch/progress.h"
#include "launch/run_holder.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { LOOK_US = 250000 }; /* after which the file is looked at again */

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
    unsetenv(PROGRESS_VARIABLE);
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

static bool is_asked(void)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, HALT_FILE));
    return file_exists(path);
}

static void begin(void)
{
    halt_begin(folder.path);
    halt_watch();
}

static const struct halt_ask *look_again(int64_t step)
{
    clock_nap_us(LOOK_US);
    return halt_look(step);
}

START_TEST(ask__is_read_as_it_was_written)
{
    struct halt_ask ask;
    char who[320], host[256] = "";

    EXPECT_ERR(halt_ask_read(folder.path, &ask), ERR_MISSING, "halt");
    gethostname(host, sizeof(host) - 1);
    snprintf(who, sizeof(who), "process %d on %s", (int)getpid(), host);
    EXPECT_OK(halt_ask(folder.path, 500));
    EXPECT_OK(halt_ask_read(folder.path, &ask));
    ck_assert_int_eq(ask.after_step, 500);
    ck_assert_str_eq(ask.who, who);
    EXPECT_OK(halt_ask(folder.path, -1));
    EXPECT_OK(halt_ask_read(folder.path, &ask));
    ck_assert_int_eq(ask.after_step, -1);
    ck_assert(halt_ask_remove(folder.path));
    ck_assert(!halt_ask_remove(folder.path));
    EXPECT_ERR(halt_ask_read(folder.path, &ask), ERR_MISSING, "halt");
}
END_TEST

START_TEST(ask__is_one_whatever_is_in_the_file)
{
    static const char *const texts[] = {"", "\n", "now", "{}", "[1]", "{\"after_step\":\"x\"}"};
    struct halt_ask ask;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        temp_folder_write(&folder, HALT_FILE, texts[i], strlen(texts[i]));
        EXPECT_OK(halt_ask_read(folder.path, &ask));
        ck_assert_int_eq(ask.after_step, -1);
        ck_assert_str_eq(ask.who, "");
    }
}
END_TEST

START_TEST(look__finds_an_ask_once_and_wants_its_step)
{
    begin();
    ck_assert_ptr_null(halt_look(1));
    ck_assert(!halt_is_wanted());
    EXPECT_OK(halt_ask(folder.path, 20));
    const struct halt_ask *ask = look_again(10);
    ck_assert_ptr_nonnull(ask);
    ck_assert_int_eq(ask->after_step, 20);
    ck_assert(!halt_is_wanted());
    ck_assert_ptr_null(look_again(19));
    ck_assert(!halt_is_wanted());
    ck_assert_ptr_null(halt_look(20)); /* no need to look at the file again */
    ck_assert(halt_is_wanted());
    EXPECT_OK(halt_ask(folder.path, 40)); /* somebody thinks again */
    ck_assert_ptr_nonnull(look_again(21));
    ck_assert(!halt_is_wanted());
    EXPECT_OK(halt_ask(folder.path, -1));
    ck_assert_ptr_nonnull(look_again(22));
    ck_assert(halt_is_wanted());
    ck_assert(halt_ask_remove(folder.path)); /* and takes it back */
    ck_assert_ptr_null(look_again(23));
    ck_assert(!halt_is_wanted());
    EXPECT_OK(halt_ask(folder.path, -1));
    halt_done();
    ck_assert(!is_asked());
}
END_TEST

START_TEST(watch__removes_an_ask_that_was_there_before)
{
    EXPECT_OK(halt_ask(folder.path, -1));
    begin();
    ck_assert(!is_asked());
    ck_assert_ptr_null(halt_look(1));
    ck_assert(!halt_is_wanted());
}
END_TEST

START_TEST(watch__leaves_an_ask_that_came_since)
{
    EXPECT_OK(halt_ask(folder.path, -1));
    halt_begin(folder.path);
    EXPECT_OK(halt_ask(folder.path, 5)); /* in the place of the old one */
    halt_watch();
    ck_assert(is_asked());
    ck_assert_ptr_nonnull(halt_look(1));
    halt_done();
}
END_TEST

START_TEST(watch__leaves_old_asks_to_a_supervisor)
{
    EXPECT_OK(halt_ask(folder.path, -1)); /* to the start before this one, which died */
    setenv(PROGRESS_VARIABLE, folder.path, 1);
    begin();
    ck_assert_ptr_nonnull(halt_look(1));
    ck_assert(halt_is_wanted());
    halt_done();
}
END_TEST

START_TEST(look__costs_a_file_look_each_200_ms_alone)
{
    begin();
    const int64_t start_ms = clock_now_ms();
    (void)halt_look(1);
    EXPECT_OK(halt_ask(folder.path, -1));
    const struct halt_ask *ask = halt_look(2);
    ck_assert(ask == NULL || clock_now_ms() - start_ms >= 200);
    ck_assert(ask != NULL || look_again(3) != NULL);
    halt_done();
}
END_TEST

/* A process that takes the run, and tells that on `ready`; end() ends it. */
static pid_t take(int *ready_out, int *go_out)
{
    int ready[2], go[2];
    char byte = 0;

    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        run_holder_begin(folder.path);
        run_holder_take(folder.path, NULL);
        (void)!write(ready[1], "x", 1);
        (void)!read(go[0], &byte, 1);
        _exit(0);
    }
    close(ready[1]);
    close(go[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    *ready_out = ready[0];
    *go_out = go[1];
    return child;
}

static void end(pid_t child, int ready, int go)
{
    ck_assert_int_eq(write(go, "x", 1), 1);
    close(go);
    close(ready);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

static int64_t holder(void)
{
    struct jdoc *doc = NULL;
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, RUN_HOLDER_FILE));
    EXPECT_OK(jdoc_read(path, &doc));
    const int64_t process = jdoc_as_int(jdoc_get(doc, "process"));
    jdoc_close(doc);
    return process;
}

START_TEST(holder__lives_as_long_as_its_process)
{
    int ready = -1, go = -1;

    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_FILE));
    const pid_t child = take(&ready, &go);
    ck_assert(run_holder_lives(folder.path, RUN_HOLDER_FILE));
    ck_assert(run_holder_lives(folder.path, RUN_HOLDER_START_FILE));
    ck_assert_int_eq(holder(), child);
    end(child, ready, go);
    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_FILE));
    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_START_FILE));
    ck_assert_int_eq(holder(), child); /* who it was */
}
END_TEST

START_TEST(holder__is_replaced_by_who_takes_over)
{
    int ready[2], go[2];
    pid_t children[2];

    for (int i = 0; i < 2; i++) {
        children[i] = take(&ready[i], &go[i]);
        ck_assert_int_eq(holder(), children[i]);
    }
    end(children[0], ready[0], go[0]); /* one that was cut off, say, and is gone at last */
    ck_assert(run_holder_lives(folder.path, RUN_HOLDER_FILE));
    ck_assert(run_holder_lives(folder.path, RUN_HOLDER_START_FILE));
    end(children[1], ready[1], go[1]);
    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_FILE));
    children[0] = take(&ready[0], &go[0]);
    children[1] = take(&ready[1], &go[1]);
    end(children[1], ready[1], go[1]); /* the newer one first: the older still runs */
    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_FILE));
    ck_assert(run_holder_lives(folder.path, RUN_HOLDER_START_FILE));
    end(children[0], ready[0], go[0]);
    ck_assert(!run_holder_lives(folder.path, RUN_HOLDER_START_FILE));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("halt");
    TCase *tcase = tcase_create("halt");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, ask__is_read_as_it_was_written);
    tcase_add_test(tcase, ask__is_one_whatever_is_in_the_file);
    tcase_add_test(tcase, look__finds_an_ask_once_and_wants_its_step);
    tcase_add_test(tcase, watch__removes_an_ask_that_was_there_before);
    tcase_add_test(tcase, watch__leaves_an_ask_that_came_since);
    tcase_add_test(tcase, watch__leaves_old_asks_to_a_supervisor);
    tcase_add_test(tcase, look__costs_a_file_look_each_200_ms_alone);
    tcase_add_test(tcase, holder__lives_as_long_as_its_process);
    tcase_add_test(tcase, holder__is_replaced_by_who_takes_over);
    suite_add_tcase(suite, tcase);
    return suite;
}
