#include "exits/exits_rule.h"

const struct exits_solver exits_solvers[EXITS_SOLVER_COUNT] = {
#define SOLVER(id, name, goal, file, paper, what) {name, EXITS_GOAL_##goal, file, paper, what},
#define RULE(id, name, score, decision, solvers, extras, paper, test)
#include "exits/exits_rule.def"
#undef RULE
#undef SOLVER
};

/* The names that the list uses for sets of solvers. */
enum {
#define SOLVER(id, name, goal, file, paper, what) id = 1 << EXITS_SOLVER_##id,
#define RULE(id, name, score, decision, solvers, extras, paper, test)
#include "exits/exits_rule.def"
#undef RULE
#undef SOLVER
};

/* What the list calls GATE: which score that is depends on how the gates were trained. */
enum { EXITS_SCORE_GATE = EXITS_SCORE_COUNT };

#define SCORE_OF(score)                                                                            \
    ((int)(score) == EXITS_SCORE_GATE ? EXITS_SCORE_HAZARD : (enum exits_score)(score))

const struct exits_rule exits_rules[EXITS_RULE_COUNT] = {
#define SOLVER(id, name, goal, file, paper, what)
#define RULE(id, name, score, decision, solvers, extras, paper, test)                              \
    {name,                                                                                         \
     (int)EXITS_SCORE_##score == EXITS_SCORE_GATE,                                                 \
     SCORE_OF(EXITS_SCORE_##score),                                                                \
     EXITS_DECISION_##decision,                                                                    \
     (unsigned)(solvers),                                                                          \
     (unsigned)(extras),                                                                           \
     paper,                                                                                        \
     test},
#include "exits/exits_rule.def"
#undef RULE
#undef SOLVER
};

bool exits_rule_score(const struct exits_rule *rule, bool has_gates, enum exits_score of_gates,
                      enum exits_score *score_out)
{
    *score_out = rule->is_of_gates ? of_gates : rule->score;
    if (*score_out == EXITS_SCORE_CUMULATIVE && of_gates == EXITS_SCORE_CERTAINTY) {
        return false; /* gates that say how wrong an exit is, not who leaves there */
    }
    return has_gates || !(rule->is_of_gates || exits_score_reads_gates(*score_out));
}
