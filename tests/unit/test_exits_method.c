/* Unit tests of exits/exits_method.c and exits/exits_score.c. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "exits/exits_method.h"
#include "tests/support/test_suite.h"

START_TEST(choices__are_the_names_in_their_order)
{
    char choices[1024] = "";
    size_t length = 0;

    for (int loss = 0; loss < EXITS_LOSS_COUNT; loss++) {
        const struct exits_method *method = exits_method_of((enum exits_loss)loss);
        ck_assert(strlen(method->paper) > 0 && strlen(method->about) > 0);
        length += (size_t)snprintf(choices + length, sizeof(choices) - length, "|%s", method->name);
    }
    ck_assert_str_eq(choices, exits_method_choices);
}
END_TEST

START_TEST(with__leaves_by_a_score_that_the_gates_can_give)
{
    for (int loss = 0; loss < EXITS_LOSS_COUNT; loss++) {
        const struct exits_method *own = exits_method_of((enum exits_loss)loss);
        const struct exits_method none = exits_method_with((enum exits_loss)loss, EXITS_GATE_NONE);
        const struct exits_method some = exits_method_with((enum exits_loss)loss, EXITS_GATE_MLP);
        const struct exits_method same = exits_method_with((enum exits_loss)loss, own->gate);
        ck_assert_int_eq(none.score, EXITS_SCORE_MAX_PROB);
        ck_assert_int_eq(none.teach, EXITS_TEACH_NOTHING);
        ck_assert_int_ne(some.score, EXITS_SCORE_MAX_PROB);
        ck_assert_int_eq(some.teach,
                         own->teach == EXITS_TEACH_ANSWER ? EXITS_TEACH_TARGET : own->teach);
        ck_assert_int_eq(same.score, own->score);
        ck_assert_int_eq(same.teach,
                         own->gate == EXITS_GATE_NONE ? EXITS_TEACH_NOTHING : own->teach);
        ck_assert_int_eq(exits_method_with((enum exits_loss)loss, EXITS_GATE_ENSEMBLE).teach,
                         EXITS_TEACH_ANSWER);
        ck_assert_int_eq(own->weigh, none.weigh);
    }
}
END_TEST

START_TEST(allows__a_method_its_own_gates_and_none_where_gates_weigh_nothing)
{
    for (int loss = 0; loss < EXITS_LOSS_COUNT; loss++) {
        ck_assert(exits_method_allows((enum exits_loss)loss,
                                      exits_method_of((enum exits_loss)loss)->gate));
    }
    ck_assert(exits_method_allows(EXITS_LOSS_UNIFORM, EXITS_GATE_NONE));
    ck_assert(exits_method_allows(EXITS_LOSS_LINEAR, EXITS_GATE_MLP));
    ck_assert(!exits_method_allows(EXITS_LOSS_JEI, EXITS_GATE_NONE));
    ck_assert(!exits_method_allows(EXITS_LOSS_UNCERTAINTY, EXITS_GATE_NONE));
    ck_assert(!exits_method_allows(EXITS_LOSS_PTEENET, EXITS_GATE_NONE));
    ck_assert(!exits_method_allows(EXITS_LOSS_JEI, EXITS_GATE_ENSEMBLE));
}
END_TEST

START_TEST(score__grows_with_certainty)
{
    const float gates[] = {-1, 0, 2};
    double threshold = 0;

    ck_assert(exits_score_at(EXITS_SCORE_MAX_PROB, EXITS_HAZARD, gates, 0.75f, 1) == 0.75f);
    ck_assert(exits_score_at(EXITS_SCORE_CERTAINTY, EXITS_HAZARD, gates, 0.75f, 2) == -2);
    ck_assert(exits_score_at(EXITS_SCORE_HAZARD, EXITS_HAZARD, gates, 0.75f, 1) == 0.5f);
    /* sigmoid(-1) left, .5 of the rest */
    ck_assert_double_eq_tol(
        (double)exits_score_at(EXITS_SCORE_HAZARD, EXITS_DIRECT, gates, 0.75f, 1),
        0.5 / (1 - 0.2689414214), 1e-6);
    /* 1 - .7310585786 * .5 */
    ck_assert_double_eq_tol(
        (double)exits_score_at(EXITS_SCORE_CUMULATIVE, EXITS_HAZARD, gates, 0.75f, 1), 0.6344707107,
        1e-6);
    ck_assert_double_eq_tol(
        (double)exits_score_at(EXITS_SCORE_CUMULATIVE, EXITS_DIRECT, gates, 0.75f, 1), 0.7689414214,
        1e-6);
    ck_assert(exits_score_threshold(EXITS_SCORE_HAZARD, &threshold) && threshold == 0.5);
    ck_assert(exits_score_threshold(EXITS_SCORE_CUMULATIVE, &threshold) && threshold == 0.5);
    ck_assert(!exits_score_threshold(EXITS_SCORE_CERTAINTY, &threshold));
    ck_assert(!exits_score_threshold(EXITS_SCORE_MAX_PROB, &threshold));
}
END_TEST

/* The first exit at which the score reaches the threshold of its definition. */
START_TEST(exit__is_where_the_score_reaches_its_threshold)
{
    for (int form = EXITS_HAZARD; form <= EXITS_DIRECT; form++) {
        for (int i = 0; i < 5 * 5 * 5; i++) {
            const int digits[] = {i % 5, i / 5 % 5, i / 25};
            const float gates[] = {(float)digits[0] - 3, (float)digits[1] - 3,
                                   (float)digits[2] - 3};
            for (int score = EXITS_SCORE_HAZARD; score <= EXITS_SCORE_CUMULATIVE; score++) {
                double threshold = 0;
                int exit = 0;
                if (!exits_score_threshold((enum exits_score)score, &threshold)) {
                    threshold = score == EXITS_SCORE_CERTAINTY ? 0 : INFINITY;
                }
                while (exit < 3 &&
                       (double)exits_score_at((enum exits_score)score, (enum exits_form)form, gates,
                                              0.9f, exit) < threshold) {
                    exit++;
                }
                ck_assert_int_eq(
                    exits_score_exit((enum exits_score)score, (enum exits_form)form, gates, 3),
                    exit);
            }
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_method");
    TCase *tcase = tcase_create("exits_method");

    tcase_add_test(tcase, choices__are_the_names_in_their_order);
    tcase_add_test(tcase, with__leaves_by_a_score_that_the_gates_can_give);
    tcase_add_test(tcase, allows__a_method_its_own_gates_and_none_where_gates_weigh_nothing);
    tcase_add_test(tcase, score__grows_with_certainty);
    tcase_add_test(tcase, exit__is_where_the_score_reaches_its_threshold);
    suite_add_tcase(suite, tcase);
    return suite;
}
