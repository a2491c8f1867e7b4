/* Unit tests of exits/exits_rule.c: the table can be used as it is. */
#include <check.h>
#include <string.h>

#include "exits/exits_rule.h"
#include "tests/support/test_suite.h"

START_TEST(rules__have_names_of_their_own_and_a_solver)
{
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        const struct exits_rule *rule = &exits_rules[r];
        for (int other = 0; other < r; other++) {
            ck_assert_str_ne(rule->name, exits_rules[other].name);
        }
        ck_assert_uint_ne(rule->solvers, 0);
        ck_assert_uint_eq(rule->solvers & rule->extras, 0);
        ck_assert_uint_lt(rule->solvers | rule->extras, 1U << EXITS_SOLVER_COUNT);
        ck_assert_int_lt(rule->score, EXITS_SCORE_COUNT);
        ck_assert_ptr_eq(strstr(rule->test, "unit."), rule->test);
        ck_assert_uint_gt(strlen(rule->paper), 4);
    }
}
END_TEST

START_TEST(rules__say_what_their_rows_say)
{
    const struct exits_rule *gate = &exits_rules[EXITS_RULE_GATE];
    const struct exits_rule *entropy = &exits_rules[EXITS_RULE_ENTROPY];

    ck_assert(gate->is_of_gates);
    ck_assert_int_eq(gate->score, EXITS_SCORE_HAZARD);
    ck_assert(!entropy->is_of_gates);
    ck_assert_int_eq(entropy->score, EXITS_SCORE_ENTROPY);
    ck_assert_uint_eq(entropy->solvers, 1U << EXITS_SOLVER_SHARED);
    ck_assert_uint_eq(entropy->extras, 1U << EXITS_SOLVER_FREE);
    ck_assert_int_eq(exits_rules[EXITS_RULE_WINDOW].decision, EXITS_DECISION_WINDOW);
    ck_assert_int_eq(exits_solvers[EXITS_SOLVER_CONTROL].goal, EXITS_GOAL_RISK);
    ck_assert_str_eq(exits_solvers[EXITS_SOLVER_PEAK].name, "peak");
}
END_TEST

/* A window is decided by windows, and nothing else is. */
START_TEST(solvers__fit_the_rules_that_list_them)
{
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        const unsigned solvers = exits_rules[r].solvers | exits_rules[r].extras;
        const int is_window = exits_rules[r].decision == EXITS_DECISION_WINDOW;
        ck_assert_int_eq(is_window, (solvers & 1U << EXITS_SOLVER_WIDTH) != 0);
        ck_assert(!is_window || solvers == 1U << EXITS_SOLVER_WIDTH);
        ck_assert_int_eq(exits_rules[r].score == EXITS_SCORE_AGREEMENT,
                         (solvers & 1U << EXITS_SOLVER_PATIENCE) != 0);
        ck_assert((solvers & 1U << EXITS_SOLVER_LEARNED) == 0 || exits_rules[r].is_of_gates);
    }
}
END_TEST

START_TEST(score__follows_from_the_gates_that_are_there)
{
    const struct exits_rule *gate = &exits_rules[EXITS_RULE_GATE];
    const struct exits_rule *q_exit = &exits_rules[EXITS_RULE_Q_EXIT];
    const struct exits_rule *entropy = &exits_rules[EXITS_RULE_ENTROPY];
    enum exits_score score;

    ck_assert(exits_rule_score(gate, true, EXITS_SCORE_CERTAINTY, &score));
    ck_assert_int_eq(score, EXITS_SCORE_CERTAINTY);
    ck_assert(!exits_rule_score(gate, false, EXITS_SCORE_HAZARD, &score));
    ck_assert(exits_rule_score(q_exit, true, EXITS_SCORE_HAZARD, &score));
    ck_assert_int_eq(score, EXITS_SCORE_CUMULATIVE);
    ck_assert(!exits_rule_score(q_exit, true, EXITS_SCORE_CERTAINTY, &score));
    ck_assert(!exits_rule_score(q_exit, false, EXITS_SCORE_HAZARD, &score));
    ck_assert(exits_rule_score(entropy, false, EXITS_SCORE_HAZARD, &score));
    ck_assert_int_eq(score, EXITS_SCORE_ENTROPY);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_rule");
    TCase *tcase = tcase_create("exits_rule");

    tcase_add_test(tcase, rules__have_names_of_their_own_and_a_solver);
    tcase_add_test(tcase, rules__say_what_their_rows_say);
    tcase_add_test(tcase, score__follows_from_the_gates_that_are_there);
    tcase_add_test(tcase, solvers__fit_the_rules_that_list_them);
    suite_add_tcase(suite, tcase);
    return suite;
}
