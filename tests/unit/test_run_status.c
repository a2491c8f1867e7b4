/* Unit tests of launch/run_status.h and launch/run_losses.h: what files say of a run. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/run_losses.h"
#include "launch/run_status.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

START_TEST(words__follow_from_what_is_seen)
{
    static const struct {
        struct run_signs signs;
        const char *state, *verdict;
    } cases[] = {
        {{.has_begun = false}, "not_begun", "not_begun"},
        {{.has_begun = true}, "lost", "retry"},
        {{.launch_lives = true}, "starting", "running"},
        {{.launch_lives = true, .has_begun = true}, "starting", "running"},
        {{.start_lives = true}, "starting", "running"},
        {{.start_lives = true, .summary = "halted", .exit_code = 75}, "starting", "running"},
        {{.launch_lives = true, .start_lives = true, .is_between = true}, "starting", "running"},
        {{.launch_lives = true, .has_begun = true, .is_between = true}, "waiting", "running"},
        {{.launch_lives = true, .rank_lives = true, .is_between = true}, "running", "running"},
        {{.rank_lives = true, .has_begun = true}, "running", "running"},
        {{.rank_lives = true, .is_asked = true}, "halting", "running"},
        {{.launch_lives = true, .is_asked = true, .is_between = true}, "halting", "running"},
        /* what an earlier start left says nothing of one that is under way */
        {{.rank_lives = true, .summary = "halted", .exit_code = 75}, "running", "running"},
        {{.launch_lives = true, .summary = "finished", .exit_code = 0}, "starting", "running"},
        /* and an ask nothing of one that is over */
        {{.is_asked = true, .has_begun = true}, "lost", "retry"},
        {{.summary = "finished", .exit_code = 0}, "finished", "finished"},
        {{.summary = "halted", .exit_code = 75}, "halted", "requeue"},
        {{.summary = "too_few_nodes", .exit_code = 75}, "too_few_nodes", "requeue"},
        {{.summary = "failed", .exit_code = 70}, "failed", "retry"},
        {{.summary = "failed", .exit_code = 71}, "failed", "retry"},
        {{.summary = "failed", .exit_code = 65}, "failed", "failed"},
        {{.summary = "failed", .exit_code = 74}, "failed", "failed"},
        {{.summary = "failed", .exit_code = 78}, "failed", "failed"},
        {{.summary = "failed", .exit_code = 0}, "failed", "failed"},
        {{.summary = "beyond_repair", .exit_code = 76}, "beyond_repair", "failed"},
        {{.summary = "no_progress", .exit_code = 93}, "no_progress", "failed"},
        {{.summary = "restarts_used_up", .exit_code = 93}, "restarts_used_up", "failed"},
        {{.summary = "left", .exit_code = 130}, "left", "failed"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(strcmp(run_state_of(&cases[i].signs), cases[i].state) == 0,
                      "case %zu: state %s", i, run_state_of(&cases[i].signs));
        ck_assert_msg(strcmp(run_verdict_of(&cases[i].signs), cases[i].verdict) == 0,
                      "case %zu: verdict %s", i, run_verdict_of(&cases[i].signs));
    }
}
END_TEST

#define BEGUN "{\"process\":1,\"event\":\"run.begun\",\"at_s\":0.1}\n"
#define STARTED "{\"ranks\":4,\"incarnation\":1,\"event\":\"job.started\",\"at_s\":0.2}\n"
#define LOST(restarts)                                                                             \
    "{\"step\":57,\"rank\":1,\"host\":\"node07\",\"signal\":9,\"kept\":56,\"restarts\":" restarts  \
    ",\"event\":\"job.lost\",\"at_s\":1.5}\n"
#define RECOVERED "{\"from\":56,\"redone\":1,\"down_s\":1.25,\"event\":\"job.recovered\"}\n"
#define OVER "{\"verdict\":\"finished\",\"restarts\":1,\"event\":\"run.over\"}\n"

static void check_losses(const char *text, int64_t restarts, bool is_between, bool is_over,
                         const char *losses)
{
    struct run_losses found;
    char *json = NULL;

    temp_folder_write(&folder, "supervisor.jsonl", text, strlen(text));
    struct jdoc *list = run_losses_read(folder.path, &found);
    EXPECT_OK(jdoc_text(list, 0, &json));
    ck_assert_str_eq(json, losses);
    ck_assert_int_eq(found.restarts, restarts);
    ck_assert(found.is_between == is_between);
    ck_assert(found.is_over == is_over);
    free(json);
    jdoc_close(list);
}

START_TEST(losses__are_told_with_what_came_after)
{
#define ONE "{\"what\":\"rank 1 (node07), signal 9\",\"step\":57,\"from\":56,\"down_s\":1.25}"
#define OPEN "{\"what\":\"rank 1 (node07), signal 9\",\"step\":57}"
    check_losses("", -1, false, false, "[]");
    check_losses(BEGUN STARTED, 0, false, false, "[]");
    check_losses(BEGUN STARTED LOST("1"), 1, true, false, "[" OPEN "]");
    check_losses(BEGUN STARTED LOST("1") STARTED, 1, false, false, "[" OPEN "]");
    check_losses(BEGUN STARTED LOST("1") STARTED RECOVERED, 1, false, false, "[" ONE "]");
    check_losses(BEGUN STARTED LOST("1") STARTED LOST("2") STARTED RECOVERED, 2, false, false,
                 "[" OPEN "," ONE "]");
    check_losses(BEGUN STARTED LOST("1") STARTED RECOVERED OVER, 1, false, true, "[" ONE "]");
    /* another launch of the run: the losses are the run's, the rest is that launch's */
    check_losses(BEGUN STARTED LOST("1") STARTED RECOVERED OVER BEGUN STARTED, 0, false, false,
                 "[" ONE "]");
    check_losses(BEGUN STARTED LOST("3") BEGUN STARTED, 0, false, false, "[" OPEN "]");
    check_losses(BEGUN STARTED LOST("3") BEGUN, 0, false, false, "[" OPEN "]");
}
END_TEST

START_TEST(losses__name_what_was_lost)
{
    check_losses("{\"event\":\"job.lost\",\"node\":\"node02\",\"step\":3}\n", -1, true, false,
                 "[{\"what\":\"node node02, gone\",\"step\":3}]");
    check_losses("{\"event\":\"job.lost\",\"host\":\"a\",\"code\":70,\"step\":-1}\n", -1, true,
                 false, "[{\"what\":\"the job, exit code 70\",\"step\":-1}]");
    check_losses("{\"event\":\"job.lost\",\"rank\":2,\"host\":\"a\",\"signal\":-1,\"step\":5}\n",
                 -1, true, false, "[{\"what\":\"rank 2 (a), gone\",\"step\":5}]");
    check_losses("{\"event\":\"job.lost\",\"rank\":2,\"host\":\"a\",\"silent_s\":2.5,\"step\":5}\n",
                 -1, true, false, "[{\"what\":\"rank 2 (a), hung, silent for 2.5 s\",\"step\":5}]");
}
END_TEST

static void put(const char *name, const char *text)
{
    temp_folder_write(&folder, name, text, strlen(text));
}

static int64_t int_of(const struct jdoc *doc, const char *key)
{
    ck_assert_msg(jdoc_is_int(jdoc_get(doc, key)), "%s is not told", key);
    return jdoc_as_int(jdoc_get(doc, key));
}

START_TEST(status__adds_up_what_the_files_say)
{
    struct jdoc *status = NULL;

    put("run.json", "{\"process\":4711,\"host\":\"node07\",\"since\":1795683600,\"incarnation\":3,"
                    "\"ranks\":4,\"stages\":["
                    "{\"stage\":\"backbone\",\"steps\":10,\"train_batch_size\":8},"
                    "{\"stage\":\"joint\",\"steps\":20,\"train_batch_size\":16}]}");
    put("metrics.jsonl", "{\"step\":10,\"stage\":\"backbone\",\"loss\":9,\"samples_per_s\":1}\n"
                         "{\"step\":11,\"stage\":\"joint\",\"loss\":3,\"samples_per_s\":100}\n"
                         "{\"step\":12,\"stage\":\"joint\",\"loss\":2,\"samples_per_s\":300}\n"
                         "{\"step\":13,\"sta");
    put("events.jsonl", "{\"step\":9,\"event\":\"snapshot.committed\",\"at_s\":2.0}\n"
                        "{\"step\":11,\"event\":\"snapshot.committed\",\"at_s\":5.0}\n"
                        "{\"step\":10,\"event\":\"checkpoint.saved\",\"at_s\":7.5}\n");
    EXPECT_OK(run_status(folder.path, &status));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(status, "state")), "lost");
    ck_assert_str_eq(jdoc_as_text(jdoc_get(status, "verdict")), "retry");
    ck_assert(!run_is_alive(status));
    ck_assert_int_eq(int_of(status, "step"), 12);
    ck_assert_int_eq(int_of(status, "steps"), 30);
    ck_assert_int_eq(int_of(status, "stage_step"), 2);
    ck_assert_int_eq(int_of(status, "stage_steps"), 20);
    ck_assert_int_eq(int_of(status, "process"), 4711);
    ck_assert_int_eq(int_of(status, "memory_step"), 11);
    /* of 2 steps with 1 / 100 and 1 / 300 s a sample; the third is of another stage */
    ck_assert(fabs(jdoc_as_real(jdoc_get(status, "samples_per_s")) - 150) < 1e-9);
    ck_assert(fabs(jdoc_as_real(jdoc_get(status, "steps_per_s")) - 150.0 / 16) < 1e-9);
    const double age_s = jdoc_as_real(jdoc_get(status, "memory_age_s"));
    ck_assert(age_s >= 2.5 && age_s < 62.5);
    ck_assert_ptr_null(jdoc_get(status, "checkpoint_step"));
    jdoc_close(status);

    put("summary.json", "{\"verdict\":\"finished\",\"exit_code\":0,\"step\":30}");
    EXPECT_OK(run_status(folder.path, &status));
    ck_assert_str_eq(jdoc_as_text(jdoc_get(status, "verdict")), "finished");
    ck_assert_int_eq(int_of(status, "step"), 30);
    ck_assert_ptr_null(jdoc_get(status, "memory_step"));
    jdoc_close(status);
}
END_TEST

START_TEST(status__tells_no_age_across_two_starts)
{
    struct jdoc *status = NULL;

    put("incarnation", "2 0 1\n");
    put("events.jsonl", "{\"step\":11,\"event\":\"snapshot.committed\",\"at_s\":50.0}\n"
                        "{\"step\":10,\"event\":\"checkpoint.saved\",\"at_s\":1.5}\n");
    EXPECT_OK(run_status(folder.path, &status));
    ck_assert_int_eq(int_of(status, "memory_step"), 11);
    ck_assert_ptr_null(jdoc_get(status, "memory_age_s"));
    jdoc_close(status);
}
END_TEST

START_TEST(status__copes_with_files_that_are_nothing)
{
    static const char *const names[] = {"run.json",     "summary.json",     "metrics.jsonl",
                                        "events.jsonl", "supervisor.jsonl", "supervisor.lock",
                                        "run.lock",     "incarnation",      "halt"};
    static const char *const texts[] = {"",          "\n", "{", "[]", "null", "{\"step\":\"x\"}\n",
                                        "\xff\xfe\n"};
    struct jdoc *status = NULL;
    char *text = NULL;

    EXPECT_ERR(run_status(folder.path, &status), ERR_MISSING, "no output_dir of a run");
    for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            put(names[i], texts[t]);
        }
        EXPECT_OK(run_status(folder.path, &status));
        ck_assert_str_eq(jdoc_as_text(jdoc_get(status, "verdict")), "retry");
        EXPECT_OK(jdoc_text(status, 0, &text));
        free(text);
        jdoc_close(status);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("run_status");
    TCase *tcase = tcase_create("run_status");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, words__follow_from_what_is_seen);
    tcase_add_test(tcase, losses__are_told_with_what_came_after);
    tcase_add_test(tcase, losses__name_what_was_lost);
    tcase_add_test(tcase, status__adds_up_what_the_files_say);
    tcase_add_test(tcase, status__tells_no_age_across_two_starts);
    tcase_add_test(tcase, status__copes_with_files_that_are_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}
