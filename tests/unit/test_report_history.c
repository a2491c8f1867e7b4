/* Unit tests of launch/report/report_history.h: events of several starts and supervisors on one clock. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "launch/report/report_history.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

static struct jdoc *array_of(const char *text)
{
    struct jdoc *doc = NULL;

    EXPECT_OK(jdoc_parse(text, strlen(text), "events", &doc));
    return doc;
}

static const struct report_moment *find(const struct report_history *history, const char *name,
                                        double step)
{
    for (int i = 0; i < history->count; i++) {
        const char *event = report_text_of(history->moments[i].event, "event");
        if (strcmp(event, name) == 0 && (isnan(step) || history->moments[i].step == step)) {
            return &history->moments[i];
        }
    }
    ck_abort_msg("no event %s of step %g", name, step);
    return NULL;
}

START_TEST(find__puts_starts_where_their_supervisor_tells)
{
    struct report_run run = {
        .events = array_of("[{\"event\":\"snapshot.committed\",\"step\":10,\"at_s\":1.5},"
                           "{\"event\":\"run.resumed\",\"step\":12,\"at_s\":0.25},"
                           "{\"event\":\"snapshot.committed\",\"step\":20,\"at_s\":1.0}]"),
        .supervised =
            array_of("[{\"event\":\"run.begun\",\"monotonic_s\":100.0,\"at_s\":0.0},"
                     "{\"event\":\"job.started\",\"ranks\":2,\"at_s\":0.5},"
                     "{\"event\":\"job.lost\",\"step\":13,\"noticed_at_s\":4.0,\"at_s\":4.1},"
                     "{\"event\":\"job.started\",\"ranks\":2,\"at_s\":4.5},"
                     "{\"event\":\"job.recovered\",\"from\":12,\"first_step_s\":0.5,"
                     "\"first_step_at_s\":6.5,\"at_s\":6.6},"
                     "{\"event\":\"run.begun\",\"monotonic_s\":150.0,\"at_s\":0.0}]"),
    };
    struct report_history history;

    EXPECT_OK(report_history_find(&run, &history));
    ck_assert_int_eq(history.count, 9);
    ck_assert_double_eq(find(&history, "snapshot.committed", 10)->at_s, 2.0);
    ck_assert_double_eq(find(&history, "job.lost", 13)->at_s, 4.0);
    ck_assert_double_eq(find(&history, "job.recovered", 12)->at_s, 6.5);
    ck_assert_int_eq(find(&history, "job.recovered", 12)->kind, REPORT_RECOVERY);
    ck_assert_double_eq(find(&history, "run.resumed", 12)->at_s, 6.25);
    ck_assert_int_eq(find(&history, "run.resumed", 12)->kind, REPORT_OTHER); /* told already */
    ck_assert_double_eq(find(&history, "snapshot.committed", 20)->at_s, 7.0);
    ck_assert_int_eq(find(&history, "snapshot.committed", 20)->start, 1);
    ck_assert_double_eq(history.moments[8].at_s, 50.0);
    for (int i = 1; i < history.count; i++) {
        ck_assert(history.moments[i - 1].at_s <= history.moments[i].at_s);
    }
    report_history_release(&history);
    report_run_close(&run);
}
END_TEST

START_TEST(find__puts_starts_one_after_the_other_where_nobody_tells)
{
    struct report_run run = {
        .events = array_of("[{\"event\":\"checkpoint.saved\",\"step\":10,\"at_s\":3.0},"
                           "{\"event\":\"run.resumed\",\"step\":10,\"at_s\":0.5},"
                           "{\"event\":\"checkpoint.saved\",\"step\":20,\"at_s\":2.0},"
                           "{\"event\":\"checkpoint.saved\",\"step\":1,\"at_s\":1.0},"
                           "{\"event\":\"no.such\"}]"),
    };
    struct report_history history;

    EXPECT_OK(report_history_find(&run, &history));
    ck_assert_double_eq(find(&history, "run.resumed", 10)->at_s, 3.5);
    ck_assert_int_eq(find(&history, "run.resumed", 10)->kind, REPORT_RECOVERY);
    ck_assert_double_eq(find(&history, "checkpoint.saved", 20)->at_s, 5.0);
    ck_assert_double_eq(find(&history, "checkpoint.saved", 1)->at_s, 6.0);
    ck_assert_int_eq(find(&history, "checkpoint.saved", 1)->start, 2);
    ck_assert(isnan(find(&history, "no.such", NAN)->step));
    report_history_release(&history);
    report_run_close(&run);
}
END_TEST

START_TEST(find__has_nothing_of_a_run_without_events)
{
    struct report_run run = {.path = NULL};
    struct report_history history;

    EXPECT_OK(report_history_find(&run, &history));
    ck_assert_int_eq(history.count, 0);
    report_history_release(&history);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("report_history");
    TCase *tcase = tcase_create("report_history");

    tcase_add_test(tcase, find__puts_starts_where_their_supervisor_tells);
    tcase_add_test(tcase, find__puts_starts_one_after_the_other_where_nobody_tells);
    tcase_add_test(tcase, find__has_nothing_of_a_run_without_events);
    suite_add_tcase(suite, tcase);
    return suite;
}
