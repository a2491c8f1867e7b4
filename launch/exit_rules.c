#include "launch/exit_rules.h"

#include <stdio.h>

#include "exits/exits_rule.h"

static void print_solvers(unsigned solvers, const char *mark)
{
    for (int s = 0; s < EXITS_SOLVER_COUNT; s++) {
        if ((solvers >> s & 1U) != 0) {
            printf(" `%s`%s", exits_solvers[s].name, mark);
        }
    }
}

static void print_rules(void)
{
    printf("| rule | score | leaves | solvers | paper | held to, in tests |\n"
           "|---|---|---|---|---|---|\n");
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        const struct exits_rule *rule = &exits_rules[r];
        printf("| `%s` | %s | %s |", rule->name,
               rule->is_of_gates ? "of the gates" : exits_score_name(rule->score),
               rule->decision == EXITS_DECISION_WINDOW ? "outside of a window"
                                                       : "at a threshold and above");
        print_solvers(rule->solvers, "");
        print_solvers(rule->extras, "\\*");
        printf(" | %s | `%s` |\n", rule->paper, rule->test);
    }
}

void exit_rules_print(void)
{
    static const char *const goals[] = {[EXITS_GOAL_NONE] = "nothing",
                                        [EXITS_GOAL_BUDGET] = "a budget of mean compute",
                                        [EXITS_GOAL_RISK] = "a risk"};

    printf(
        "# Exit rules\n\n"
        "Made by `offramp config --rules` from `exits/exits_rule.def`; a test keeps it so. An\n"
        "evaluation goes through all of them and writes [results.json](files.md#resultsjson).\n\n"
        "A rule compares a score of the sample with a threshold of the exit; scores grow with\n"
        "certainty, and one that equals its threshold leaves (`exits/exits_score.h`).\n\n");
    print_rules();
    printf("\n\\* with `eval_detail: all`\n\n"
           "A solver finds the thresholds on the validation samples.\n\n"
           "| solver | is told | finds | reference | paper |\n|---|---|---|---|---|\n");
    for (int s = 0; s < EXITS_SOLVER_COUNT; s++) {
        const struct exits_solver *solver = &exits_solvers[s];
        printf("| `%s` | %s | %s | `exits/%s` | %s |\n", solver->name, goals[solver->goal],
               solver->what, solver->file, solver->paper);
    }
}
