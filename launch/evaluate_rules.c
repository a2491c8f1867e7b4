#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_budget.h"
#include "exits/exits_conformal.h"
#include "exits/exits_decide.h"
#include "exits/exits_risk.h"
#include "exits/exits_window.h"
#include "launch/evaluate_priv.h"
#include "launch/progress.h"

/* Of the answers that a window accepts, the share that may be wrong at the end, as published. */
static const double WINDOW_RISK = 0.05;

/* One rule on one set. */
struct bench {
    struct evaluation *evaluation;
    const struct exits_rule *rule;
    enum exits_score score;
    const double *macs;                  /* [G + 1], with gates or without */
    float *held_out, *test;              /* [n, G], scores of both parts */
    int32_t *chosen;                     /* [held out n] */
    double accept[MODEL_LAYERS_MAX + 1]; /* of a window: the points of decision */
    struct jdoc *policies;
};

/* Where samples leave. */
struct solution {
    double highs[MODEL_LAYERS_MAX];
    double lows[MODEL_LAYERS_MAX]; /* of a window */
    int64_t whole;                 /* cap, patience or width */
};

/* What was asked of a solver. */
struct question {
    enum exits_solver_id solver;
    double goal; /* share of the whole network, or risk */
    int budget;  /* which of evaluation->budgets, or -1 */
    bool in_ms;
};

bool evaluate_rule_score(const struct evaluation *evaluation, const struct exits_rule *rule,
                         enum exits_score *score_out)
{
    return exits_rule_score(rule, evaluation->run->cost_shape.gate != EXITS_GATE_NONE,
                            evaluate_gate_score(evaluation), score_out);
}

void evaluate_scores(const struct evaluation *evaluation, enum exits_score score,
                     const struct eval_outputs *outputs, float *scores_out)
{
    const struct exits_answers answers = {.n = outputs->n,
                                          .G = outputs->G,
                                          .features = outputs->features,
                                          .gates = outputs->gates,
                                          .predicted = outputs->predicted};

    exits_scores(score, evaluation->run->exits.form, &answers, scores_out);
}

static struct exits_scored scored_of(const struct bench *bench, const double *costs)
{
    const struct eval_outputs *held_out = &bench->evaluation->held_out;

    return (struct exits_scored){.n = held_out->n,
                                 .G = held_out->G,
                                 .scores = bench->held_out,
                                 .correct = held_out->correct,
                                 .costs = costs};
}

static void decide(const struct bench *bench, const struct solution *solution, const float *scores,
                   int64_t n, int32_t *chosen_out)
{
    const int G = bench->evaluation->G;

    if (bench->rule->decision == EXITS_DECISION_WINDOW) {
        exits_decide_window(scores, solution->lows, solution->highs, n, G, chosen_out);
    } else {
        exits_decide_threshold(scores, solution->highs, n, G, chosen_out);
    }
}

/* On the validation samples; *accuracy_out too. */
static struct jdoc *validation_of(const struct bench *bench, double *accuracy_out)
{
    const struct eval_outputs *held_out = &bench->evaluation->held_out;
    struct jdoc *object = jdoc_object();
    int64_t right = 0;
    double macs = 0;

    for (int64_t i = 0; i < held_out->n; i++) {
        right += held_out->correct[i * (held_out->G + 1) + bench->chosen[i]];
        macs += bench->macs[bench->chosen[i]];
    }
    *accuracy_out = (double)right / (double)held_out->n;
    jdoc_set_real(object, "accuracy", *accuracy_out);
    jdoc_set_real(object, "mean_macs", macs / (double)held_out->n);
    return object;
}

static void set_question(const struct bench *bench, const struct question *question,
                         struct jdoc *row)
{
    const struct exits_solver *solver = &exits_solvers[question->solver];

    jdoc_set_text(row, "rule", bench->rule->name);
    jdoc_set_text(row, "solver", solver->name);
    jdoc_set_text(row, "score", exits_score_name(bench->score));
    if (solver->goal == EXITS_GOAL_BUDGET) {
        jdoc_set_real(row, "budget", question->goal);
        jdoc_set_text(row, "budget_unit", question->in_ms ? "ms" : "macs");
    } else if (solver->goal == EXITS_GOAL_RISK) {
        jdoc_set_real(row, "risk", question->goal);
    }
}

static void set_solution(const struct bench *bench, const struct question *question,
                         const struct solution *solution, struct jdoc *row)
{
    const struct eval_outputs *test = &bench->evaluation->test;
    const int G = bench->evaluation->G;

    jdoc_set(row, "thresholds", evaluate_thresholds(solution->highs, G));
    switch (question->solver) {
    case EXITS_SOLVER_PEAK: jdoc_set_int(row, "cap", solution->whole); break;
    case EXITS_SOLVER_PATIENCE: jdoc_set_int(row, "patience", solution->whole); break;
    case EXITS_SOLVER_WIDTH: jdoc_set_int(row, "width", solution->whole); break;
    default: break;
    }
    if (bench->rule->decision == EXITS_DECISION_WINDOW) {
        const struct exits_window_value value =
            exits_window_measure(bench->evaluation->chosen, test->confidence, test->correct,
                                 bench->macs, bench->accept, test->n, G);
        jdoc_set(row, "lows", evaluate_reals(solution->lows, G));
        jdoc_set(row, "accept", evaluate_reals(bench->accept, G + 1));
        jdoc_set_real(row, "coverage", value.coverage);
        jdoc_set_real(row, "selective_risk", value.risk);
        jdoc_set_real(row, "agreement", value.agreement);
    }
}

static enum err time_it(const struct bench *bench, const struct question *question,
                        const struct solution *solution, double *milliseconds_out,
                        int64_t *differing_out)
{
    struct evaluation *evaluation = bench->evaluation;
    const bool is_window = bench->rule->decision == EXITS_DECISION_WINDOW;
    const struct exits_policy policy = {.set = evaluation->set,
                                        .score = bench->score,
                                        .form = evaluation->run->exits.form,
                                        .thresholds = solution->highs,
                                        .lows = is_window ? solution->lows : NULL};

    *milliseconds_out = question->solver == EXITS_SOLVER_LEARNED ? evaluation->gate_ms : NAN;
    *differing_out = 0;
    if (evaluation->run->options->run.eval_detail == EVALUATE_BRIEF) {
        return ERR_OK;
    }
    return evaluate_time(evaluation, &policy, milliseconds_out, differing_out);
}

/* What a solution is worth, as a row. */
static enum err tell(struct bench *bench, const struct question *question,
                     const struct solution *solution)
{
    struct evaluation *evaluation = bench->evaluation;
    struct exits_tally tally;
    char name[64];
    double milliseconds = NAN, held_out = 0;
    int64_t differing = 0;

    decide(bench, solution, bench->test, evaluation->test.n, evaluation->chosen);
    decide(bench, solution, bench->held_out, evaluation->held_out.n, bench->chosen);
    ERR_TRY(evaluate_tally(evaluation, &evaluation->test, evaluation->chosen, bench->macs, &tally));
    ERR_TRY(time_it(bench, question, solution, &milliseconds, &differing));
    snprintf(name, sizeof(name), "%s/%s", bench->rule->name, exits_solvers[question->solver].name);
    struct jdoc *row = evaluate_row(evaluation, name, &tally, evaluation->chosen, milliseconds);
    set_question(bench, question, row);
    set_solution(bench, question, solution, row);
    jdoc_set(row, "validation", validation_of(bench, &held_out));
    jdoc_set_int(row, "choices_differing_in_inference", differing);
    jdoc_append(bench->policies, row);
    if (question->budget >= 0 && !question->in_ms) {
        evaluate_keep_best(evaluation, (int)(bench->rule - exits_rules), question->budget, held_out,
                           tally.accuracy);
    }
    progress_beat();
    return ERR_OK;
}

static enum err solve_budget(const struct bench *bench, const struct exits_scored *scored,
                             enum exits_solver_id solver, double budget,
                             struct solution *solution_out)
{
    double *highs = solution_out->highs;
    struct exits_point point;
    int whole = 0;

    switch (solver) {
    case EXITS_SOLVER_SHARED: return exits_threshold_shared(scored, budget, highs, &point);
    case EXITS_SOLVER_GEOMETRIC: return exits_budget_geometric(scored, budget, highs, &point);
    case EXITS_SOLVER_MEAN: return exits_budget_mean(scored, budget, highs, &point);
    case EXITS_SOLVER_PEAK:
        ERR_TRY(exits_budget_peak(scored, budget, (double)INFINITY, highs, &whole, &point));
        break;
    case EXITS_SOLVER_PATIENCE:
        ERR_TRY(exits_budget_patience(scored, budget, highs, &whole, &point));
        break;
    case EXITS_SOLVER_WIDTH:
        return exits_window_for_budget(scored, bench->accept, budget, solution_out->lows, highs,
                                       &solution_out->whole);
    default: return ERR_FAIL(ERR_INVALID, "solver %d has no budget", (int)solver);
    }
    solution_out->whole = whole;
    return ERR_OK;
}

/* All budgets [count] at once: what one finds is a start for the next. */
static enum err run_free(struct bench *bench, const struct exits_scored *scored, bool in_ms,
                         int first, const double *budgets, int count)
{
    const int G = bench->evaluation->G;
    double *thresholds = calloc((size_t)count * (size_t)G, sizeof(*thresholds));
    struct exits_point *points = calloc((size_t)count, sizeof(*points));
    struct solution solution = {0};
    enum err status = ERR_OK;

    if (thresholds == NULL || points == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "thresholds of %d budgets", count);
        goto out;
    }
    ERR_GOTO(out, status, exits_threshold_for_budgets(scored, budgets, count, thresholds, points));
    for (int b = 0; b < count; b++) {
        const struct question question = {
            EXITS_SOLVER_FREE, bench->evaluation->budgets.values[first + b], first + b, in_ms};
        memcpy(solution.highs, thresholds + (size_t)b * (size_t)G, (size_t)G * sizeof(double));
        ERR_GOTO(out, status, tell(bench, &question, &solution));
    }
out:
    free(thresholds);
    free(points);
    return status;
}

/* `whole` is what the whole network costs, in the unit of costs [G + 1]. */
static enum err run_budgets(struct bench *bench, enum exits_solver_id solver, const double *costs,
                            double whole, bool in_ms)
{
    const struct options_f64s *shares = &bench->evaluation->budgets;
    const struct exits_scored scored = scored_of(bench, costs);
    double budgets[OPTIONS_LIST_MAX] = {0};
    struct solution solution = {0};
    int first = 0;

    while (first < shares->count && shares->values[first] * whole < costs[0]) {
        first++; /* nothing keeps it */
    }
    for (int b = first; b < shares->count; b++) {
        budgets[b] = shares->values[b] * whole;
    }
    if (first == shares->count) {
        return ERR_OK;
    }
    if (solver == EXITS_SOLVER_FREE) {
        return run_free(bench, &scored, in_ms, first, budgets + first, shares->count - first);
    }
    for (int b = first; b < shares->count; b++) {
        const struct question question = {solver, shares->values[b], b, in_ms};
        ERR_TRY(solve_budget(bench, &scored, solver, budgets[b], &solution));
        ERR_TRY(tell(bench, &question, &solution));
    }
    return ERR_OK;
}

static enum err solve_risk(const struct bench *bench, enum exits_solver_id solver, double risk,
                           struct solution *solution_out)
{
    const struct exits_scored scored = scored_of(bench, bench->macs);
    struct exits_conformal fits[MODEL_LAYERS_MAX];
    double shared = 0;

    if (solver == EXITS_SOLVER_CONFORMAL) {
        ERR_TRY(exits_conformal_fit(&scored, risk, fits));
    } else {
        ERR_TRY(exits_risk_threshold(&scored, risk, &shared));
    }
    for (int g = 0; g < bench->evaluation->G; g++) {
        solution_out->highs[g] =
            solver == EXITS_SOLVER_CONFORMAL ? exits_conformal_threshold(&fits[g]) : shared;
    }
    return ERR_OK;
}

static enum err run_solver(struct bench *bench, enum exits_solver_id solver)
{
    const struct evaluation *evaluation = bench->evaluation;
    const struct options_f64s *risks = &evaluation->run->options->run.eval_risks;
    struct solution solution = {0};

    switch (exits_solvers[solver].goal) {
    case EXITS_GOAL_NONE: {
        const struct question question = {.solver = solver, .budget = -1};
        ERR_TRY(evaluate_gate_thresholds(evaluation, bench->held_out, solution.highs));
        return tell(bench, &question, &solution);
    }
    case EXITS_GOAL_RISK:
        for (int r = 0; r < risks->count; r++) {
            const struct question question = {
                .solver = solver, .goal = risks->values[r], .budget = -1};
            ERR_TRY(solve_risk(bench, solver, risks->values[r], &solution));
            ERR_TRY(tell(bench, &question, &solution));
        }
        return ERR_OK;
    case EXITS_GOAL_BUDGET: break;
    }
    ERR_TRY(run_budgets(bench, solver, bench->macs, evaluation->full_macs, false));
    if (isnan(evaluation->visited_ms[0])) {
        return ERR_OK;
    }
    return run_budgets(bench, solver, evaluation->visited_ms, evaluation->fixed_ms[evaluation->G],
                       true);
}

static enum err run_rule(struct bench *bench)
{
    struct evaluation *evaluation = bench->evaluation;
    const struct eval_outputs *held_out = &evaluation->held_out;

    if (!evaluate_rule_score(evaluation, bench->rule, &bench->score)) {
        return ERR_OK;
    }
    bench->macs =
        exits_score_reads_gates(bench->score) ? evaluation->gate_macs : evaluation->threshold_macs;
    evaluate_scores(evaluation, bench->score, held_out, bench->held_out);
    evaluate_scores(evaluation, bench->score, &evaluation->test, bench->test);
    if (bench->rule->decision == EXITS_DECISION_WINDOW) {
        ERR_TRY(exits_window_accept(held_out->confidence, held_out->correct, held_out->n,
                                    held_out->G, WINDOW_RISK, bench->accept));
    }
    const bool is_brief = evaluation->run->options->run.eval_detail == EVALUATE_BRIEF;
    const unsigned solvers = bench->rule->solvers | (is_brief ? 0 : bench->rule->extras);
    for (int s = 0; s < EXITS_SOLVER_COUNT; s++) {
        if ((solvers >> s & 1U) != 0) {
            ERR_TRY(run_solver(bench, (enum exits_solver_id)s));
        }
    }
    return ERR_OK;
}

enum err evaluate_policies(struct evaluation *evaluation, struct jdoc *policies)
{
    const int64_t G = evaluation->G;
    struct bench bench = {.evaluation = evaluation,
                          .held_out = calloc((size_t)(evaluation->held_out.n * G), sizeof(float)),
                          .test = calloc((size_t)(evaluation->test.n * G), sizeof(float)),
                          .chosen = calloc((size_t)evaluation->held_out.n, sizeof(int32_t)),
                          .policies = policies};
    enum err status = ERR_OK;

    if (bench.held_out == NULL || bench.test == NULL || bench.chosen == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "scores of exit rules");
        goto out;
    }
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        bench.rule = &exits_rules[r];
        ERR_GOTO(out, status, run_rule(&bench));
    }
out:
    free(bench.held_out);
    free(bench.test);
    free(bench.chosen);
    return status;
}
