/* Unit tests of launch/report/report_points.h and report_method.h: seeds are joined, methods told apart. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_method.h"
#include "launch/report/report_points.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

static struct options_file *settings_of(const char *text)
{
    struct options_file *file = NULL;

    EXPECT_OK(options_yaml_parse(text, strlen(text), "config.resolved.yaml", &file));
    return file;
}

static struct jdoc *summary_of(double gate, double share)
{
    struct jdoc *doc = NULL;
    char text[512];

    snprintf(text, sizeof(text),
             "{\"test_accuracy\": %.17g, \"lambdas\": [{\"lambda\": 0.1, \"rows\": ["
             "{\"policy\": \"end\", \"accuracy\": 0.9, \"macs_share\": 1.0},"
             "{\"policy\": \"exit 1\", \"accuracy\": 0.5, \"macs_share\": 0.25},"
             "{\"policy\": \"gate\", \"accuracy\": %.17g, \"macs_share\": %.17g, "
             "\"ms_per_sample\": null,"
             " \"exits\": [{\"share\": 0.75}, {\"share\": 0.25}]}, {\"accuracy\": 1}]}]}",
             0.9, gate, share);
    EXPECT_OK(jdoc_parse(text, strlen(text), "summary.json", &doc));
    return doc;
}

static void close_runs(struct report_run *runs, int count)
{
    for (int r = 0; r < count; r++) {
        report_run_close(&runs[r]);
    }
}

START_TEST(stat__has_the_value_itself_of_one_run_and_the_spread_of_more)
{
    struct report_stat one = {0}, three = {0};
    const double value = 0.1 + 0.2;

    ck_assert(isnan(report_stat_mean(&one)));
    report_stat_add(&one, NAN);
    report_stat_add(&one, value);
    ck_assert_int_eq(one.count, 1);
    ck_assert(report_stat_mean(&one) == value);
    ck_assert(isnan(report_stat_spread(&one)));
    report_stat_add(&three, 2);
    report_stat_add(&three, 4);
    report_stat_add(&three, 9);
    ck_assert_double_eq_tol(report_stat_mean(&three), 5, 1e-15);
    ck_assert_double_eq_tol(report_stat_spread(&three), sqrt(13), 1e-15);
}
END_TEST

START_TEST(methods__are_told_apart_by_settings_and_not_by_seeds)
{
    struct report_run runs[5] = {
        {.name = "a", .settings = settings_of("seed: 1\nexit_loss: jei\noutput_dir: a\n")},
        {.name = "b",
         .settings = settings_of("seed: 2\nexit_loss: uncertainty\nsnapshot_steps: 5\n")},
        {.name = "c",
         .settings = settings_of("seed: 3\nlogging_steps: 7\n")}, /* jei is the default */
        {.name = "d", .settings = settings_of("exit_loss: uncertainty\nhash_steps: 3\n")},
        {.name = "e"}, /* not known */
    };
    struct report_methods methods;

    report_methods_find(runs, 4, &methods);
    ck_assert_int_eq(methods.count, 2);
    ck_assert_int_eq(runs[0].method, 0);
    ck_assert_int_eq(runs[1].method, 1);
    ck_assert_int_eq(runs[2].method, 0);
    ck_assert_int_eq(runs[3].method, 1);
    ck_assert_int_eq(methods.run_counts[0], 2);
    ck_assert_str_eq(methods.labels[0], "exit_loss jei");
    ck_assert_str_eq(methods.labels[1], "exit_loss uncertainty");
    report_methods_find(runs, 5, &methods);
    ck_assert_int_eq(methods.count, 3);
    ck_assert_str_eq(methods.labels[0], "a and 1 other");
    ck_assert_str_eq(methods.labels[2], "e");
    report_methods_find(runs, 1, &methods);
    ck_assert_str_eq(methods.labels[0], "a");
    close_runs(runs, 5);
}
END_TEST

START_TEST(methods__are_told_apart_by_a_stage)
{
    struct report_run runs[3] = {
        {.name = "a",
         .settings = settings_of(
             "stages:\n  - stage: backbone\n  - stage: joint\n    learning_rate: 1e-3\n")},
        {.name = "b",
         .settings = settings_of(
             "stages:\n  - stage: backbone\n  - stage: joint\n    learning_rate: 2e-3\n")},
        {.name = "c", .settings = settings_of("stages:\n  - stage: backbone\n  - stage: exits\n")},
    };
    struct report_methods methods;

    report_methods_find(runs, 2, &methods);
    ck_assert_int_eq(methods.count, 2);
    ck_assert_str_eq(methods.labels[1], "learning_rate 2e-3 in joint");
    report_methods_find(runs, 3, &methods);
    ck_assert_int_eq(methods.count, 3);
    ck_assert_str_eq(methods.labels[2], "c");
    close_runs(runs, 3);
}
END_TEST

START_TEST(points__join_the_seeds_of_a_method)
{
    struct report_run runs[3] = {
        {.summary = summary_of(0.8, 0.5)}, {.summary = summary_of(0.7, 0.25)}, {.method = 1}};
    struct report_points points;

    EXPECT_OK(report_points_find(runs, 3, "rows", &points));
    ck_assert_int_eq(points.count, 3);
    ck_assert_int_eq(points.family_count, 2);
    ck_assert_str_eq(points.families[1], "gate");
    ck_assert_str_eq(points.points[0].policy, "exit 1"); /* by their share of multiply-adds */
    ck_assert_str_eq(points.points[1].policy, "end");
    ck_assert(isnan(points.points[1].lambda));
    const struct report_point *gate = &points.points[2];
    ck_assert_int_eq(gate->run_count, 2);
    ck_assert_double_eq(gate->lambda, 0.1);
    ck_assert_double_eq_tol(gate->accuracy.mean, 0.75, 1e-15);
    ck_assert_double_eq_tol(report_stat_spread(&gate->accuracy), 0.1 / sqrt(2), 1e-15);
    ck_assert_int_eq(gate->ms_per_sample.count, 0);
    ck_assert_int_eq(gate->exit_count, 2);
    ck_assert_double_eq(gate->shares[1].mean, 0.25);
    ck_assert_int_eq(points.final[0].count, 2);
    ck_assert_int_eq(points.final[1].count, 0); /* the third has no summary */
    report_points_release(&points);
    close_runs(runs, 3);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("report_points");
    TCase *tcase = tcase_create("report_points");

    tcase_add_test(tcase, stat__has_the_value_itself_of_one_run_and_the_spread_of_more);
    tcase_add_test(tcase, methods__are_told_apart_by_settings_and_not_by_seeds);
    tcase_add_test(tcase, methods__are_told_apart_by_a_stage);
    tcase_add_test(tcase, points__join_the_seeds_of_a_method);
    suite_add_tcase(suite, tcase);
    return suite;
}
