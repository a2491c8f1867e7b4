/* Unit tests of launch/drill/drill_schedule.h. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <math.h>
#include <string.h>

#include "launch/drill/drill_schedule.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

static const struct drill_size size = {4, 4, false};

START_TEST(add__gives_every_run_a_name_of_its_own)
{
    const struct drill_fault fault = {DRILL_TERM, DRILL_RUN, 0, 5, FAULT_POINT_COUNT, -1, 0, 0};
    struct drill_cases cases = {.count = 0};

    for (int i = 0; i < 3; i++) {
        EXPECT_OK(drill_cases_add(&cases, "same", &fault, 1));
    }
    ck_assert_int_eq(cases.count, 3);
    ck_assert_str_eq(cases.cases[0].name, "same");
    ck_assert_str_eq(cases.cases[1].name, "same.2");
    ck_assert_str_eq(cases.cases[2].name, "same.3");
    ck_assert_int_eq(cases.cases[2].faults[0].step, 5);
    drill_cases_release(&cases);
}
END_TEST

/* How often the matrix has this victim at this point. */
static int count_of(const struct drill_cases *cases, int point, enum drill_victim victim,
                    int number)
{
    int count = 0;

    for (int i = 0; i < cases->count; i++) {
        const struct drill_case *what = &cases->cases[i];
        const struct drill_fault *last = &what->faults[what->count - 1];
        count += last->step == 0 && (int)last->point == point && last->victim == victim &&
                 (number < 0 || last->number == number);
    }
    return count;
}

START_TEST(matrix__has_every_point_and_kind_of_victim)
{
    struct drill_cases one = {.count = 0}, every = {.count = 0};

    EXPECT_OK(drill_schedule_matrix(size, false, &one));
    EXPECT_OK(drill_schedule_matrix(size, true, &every));
    ck_assert_int_eq(one.count, 3 * FAULT_POINT_COUNT);
    ck_assert_int_eq(every.count, 12 * FAULT_POINT_COUNT);
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        for (int v = DRILL_RANK; v < DRILL_VICTIMS; v++) {
            ck_assert_int_eq(count_of(&one, p, (enum drill_victim)v, -1), 1);
            for (int n = 0; n < 4; n++) {
                const int number = v == DRILL_RANK ? n : n + 1;
                ck_assert_int_eq(count_of(&every, p, (enum drill_victim)v, number), 1);
            }
        }
    }
    drill_cases_release(&one);
    drill_cases_release(&every);
}
END_TEST

START_TEST(matrix__has_a_loss_before_a_point_of_recovery)
{
    struct drill_cases cases = {.count = 0};
    int recoveries = 0;

    EXPECT_OK(drill_schedule_matrix(size, true, &cases));
    for (int i = 0; i < cases.count; i++) {
        const struct drill_case *what = &cases.cases[i];
        const struct drill_fault *last = &what->faults[what->count - 1];
        const bool recovers =
            last->point == FAULT_SNAP_RESTORE || last->point == FAULT_SNAP_REBUILT;
        ck_assert_int_eq(what->count, recovers ? 2 : 1);
        recoveries += recovers;
        if (last->point == FAULT_SNAP_REBUILT) {
            ck_assert_int_eq(what->faults[0].victim, DRILL_NODE);
        }
    }
    ck_assert_int_eq(recoveries, 24);
    drill_cases_release(&cases);
}
END_TEST

START_TEST(random__is_a_function_of_the_seed)
{
    struct drill_cases cases[3] = {{.count = 0}, {.count = 0}, {.count = 0}};

    for (int i = 0; i < 3; i++) {
        EXPECT_OK(drill_schedule_random(size, i == 2 ? 8 : 7, 50, 1000, &cases[i]));
        ck_assert_int_eq(cases[i].count, 1);
        ck_assert_int_eq(cases[i].cases[0].count, 50);
    }
    int same = 0;
    for (int f = 0; f < 50; f++) {
        char texts[3][DRILL_FAULT_BYTES];
        for (int i = 0; i < 3; i++) {
            drill_fault_text(&cases[i].cases[0].faults[f], texts[i]);
        }
        ck_assert_str_eq(texts[0], texts[1]);
        same += strcmp(texts[0], texts[2]) == 0;
    }
    ck_assert_int_lt(same, 10);
    for (int i = 0; i < 3; i++) {
        drill_cases_release(&cases[i]);
    }
}
END_TEST

/* Gaps of a Poisson process are exponential: their standard deviation is their mean. */
START_TEST(random__falls_as_a_poisson_process_does)
{
    enum { COUNT = 2000, LAST = 10000000 };
    struct drill_cases cases = {.count = 0};
    double sum = 0, squares = 0;
    int kinds[DRILL_ACTIONS] = {0};

    EXPECT_OK(drill_schedule_random(size, 1, COUNT, LAST, &cases));
    const struct drill_fault *faults = cases.cases[0].faults;
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_ge(faults[i].step, i == 0 ? 2 : faults[i - 1].step);
        ck_assert_int_le(faults[i].step, LAST);
        ck_assert_int_lt(faults[i].number, 5);
        ck_assert(!drill_fault_is_virtual(&faults[i]));
        kinds[faults[i].action]++;
        const double gap = (double)(faults[i].step - (i == 0 ? 0 : faults[i - 1].step));
        sum += gap;
        squares += gap * gap;
    }
    const double mean = sum / COUNT;
    const double deviation = sqrt(squares / COUNT - mean * mean);
    ck_assert(mean > 0.95 * LAST / COUNT && mean <= 1.0 * LAST / COUNT);
    ck_assert(deviation > 0.9 * mean && deviation < 1.1 * mean);
    ck_assert_int_gt(kinds[DRILL_KILL], 3 * COUNT / 7 - 150);
    ck_assert_int_gt(kinds[DRILL_CORRUPT], COUNT / 7 - 100);
    drill_cases_release(&cases);
}
END_TEST

START_TEST(random__has_what_can_happen_to_nodes_of_either_kind)
{
    for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
        const struct drill_size nodes = {4, 4, is_virtual == 1};
        struct drill_cases cases = {.count = 0};
        bool has[DRILL_ACTIONS] = {false};
        EXPECT_OK(drill_schedule_random(nodes, 3, 200, 1000, &cases));
        for (int f = 0; f < 200; f++) {
            has[cases.cases[0].faults[f].action] = true;
            ck_assert(is_virtual == 0 || cases.cases[0].faults[f].victim == DRILL_RANK ||
                      cases.cases[0].faults[f].victim == DRILL_NODE);
        }
        ck_assert(has[DRILL_KILL] && has[DRILL_STOP]);
        ck_assert(has[DRILL_POWER] == (is_virtual == 1) && has[DRILL_CUT] == (is_virtual == 1));
        ck_assert(has[DRILL_TERM] == (is_virtual == 0) && has[DRILL_CORRUPT] == (is_virtual == 0));
        drill_cases_release(&cases);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("drill_schedule");
    TCase *tcase = tcase_create("drill_schedule");

    tcase_add_test(tcase, add__gives_every_run_a_name_of_its_own);
    tcase_add_test(tcase, matrix__has_every_point_and_kind_of_victim);
    tcase_add_test(tcase, matrix__has_a_loss_before_a_point_of_recovery);
    tcase_add_test(tcase, random__is_a_function_of_the_seed);
    tcase_add_test(tcase, random__has_what_can_happen_to_nodes_of_either_kind);
    tcase_add_test(tcase, random__falls_as_a_poisson_process_does);
    suite_add_tcase(suite, tcase);
    return suite;
}
