/*
 * exits/exits_rule.h - the table of rules and of solvers (exits_rule.def) as data.
 *
 * A rule says what of a sample is compared with what at each exit; a solver finds the thresholds on
 * validation samples, for a budget of compute or for a promise about risk.
 *
 * Threads: any; nothing here changes.
 */
#ifndef EXITS_EXITS_RULE_H
#define EXITS_EXITS_RULE_H

#include <stdbool.h>

#include "exits/exits_score.h"

enum exits_goal { EXITS_GOAL_NONE, EXITS_GOAL_BUDGET, EXITS_GOAL_RISK };

enum exits_solver_id {
#define SOLVER(id, name, goal, file, paper, what) EXITS_SOLVER_##id,
#define RULE(id, name, score, decision, solvers, extras, paper, test)
#include "exits/exits_rule.def"
#undef RULE
#undef SOLVER
    EXITS_SOLVER_COUNT
};

struct exits_solver {
    const char *name;
    enum exits_goal goal;
    const char *file; /* of exits/, its reference */
    const char *paper, *what;
};

extern const struct exits_solver exits_solvers[EXITS_SOLVER_COUNT];

enum exits_rule_id {
#define SOLVER(id, name, goal, file, paper, what)
#define RULE(id, name, score, decision, solvers, extras, paper, test) EXITS_RULE_##id,
#include "exits/exits_rule.def"
#undef RULE
#undef SOLVER
    EXITS_RULE_COUNT
};

enum exits_decision { EXITS_DECISION_THRESHOLD, EXITS_DECISION_WINDOW };

struct exits_rule {
    const char *name;
    bool is_of_gates;       /* the score is that of the trained gates, and not `score` */
    enum exits_score score; /* or HAZARD, of gates */
    enum exits_decision decision;
    unsigned solvers; /* a sum of 1 << exits_solver_id */
    unsigned extras;  /* the same, of those that take longer */
    const char *paper, *test;
};

extern const struct exits_rule exits_rules[EXITS_RULE_COUNT];

/*
 * Whether a rule can be had of gates that were trained for the score `of_gates`, or of none, and which
 * score it then reads.
 */
bool exits_rule_score(const struct exits_rule *rule, bool has_gates, enum exits_score of_gates,
                      enum exits_score *score_out);

#endif
