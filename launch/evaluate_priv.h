/*
 * launch/evaluate_priv.h - what the files of the evaluation share.
 *
 *      evaluate.c            the table, and what is measured by running
 *      evaluate_row.c        what is told of a choice of exits, as an object
 *      evaluate_rules.c      every rule of exits_rule.def at every budget and risk
 *      evaluate_budgets.c    what is best at each budget, and baselines
 *      evaluate_promises.c   what conformal rules promise, held to random splits
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_EVALUATE_PRIV_H
#define LAUNCH_EVALUATE_PRIV_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "exits/exits_baseline.h"
#include "exits/exits_infer.h"
#include "exits/exits_rule.h"
#include "exits/exits_tally.h"
#include "launch/eval_outputs.h"
#include "launch/train_run.h"

/* Of eval_detail. */
enum { EVALUATE_BRIEF, EVALUATE_ALL };

/* A policy at a budget: of those told of, the best on the validation samples. */
struct evaluate_best {
    bool is_there;
    double held_out, accuracy; /* of validation, of test samples */
};

/* Rows of the table of budgets: the rules, and what stands beside them. */
enum {
    EVALUATE_STATIC = EXITS_RULE_COUNT,
    EVALUATE_RANDOM,
    EVALUATE_ORACLE,
    EVALUATE_BEST_ROWS,
};

/* One set's outputs on both parts, and what its policies share. */
struct evaluation {
    struct train_run *run;
    int G, set;
    double lambda;
    double full_macs; /* of the backbone alone, without exits: what 100 % is */
    double gate_macs[MODEL_LAYERS_MAX + 1];
    double threshold_macs[MODEL_LAYERS_MAX + 1]; /* no gates are computed */
    double fixed_ms[MODEL_LAYERS_MAX + 1];   /* everybody leaves there, other exits are off; NaN */
    double visited_ms[MODEL_LAYERS_MAX + 1]; /* the same with all exits before it computed; NaN */
    struct eval_outputs test, held_out;
    int32_t *chosen;    /* [test n] */
    int32_t *timed;     /* [timing samples], what inference chose */
    int32_t *predicted; /* the same */
    double thresholds[MODEL_LAYERS_MAX];
    uint8_t *halves;             /* [splits, test n], of evaluate_promises_begin() */
    double gate_ms;              /* of the learned gates; NaN */
    double end_accuracy;         /* of the final classifier, on the test samples */
    double end_held_out;         /* the same on the validation samples; NaN without exits */
    struct options_f64s budgets; /* ascending, shares of the whole network */
    struct evaluate_best *bests; /* [EVALUATE_BEST_ROWS, budgets.count] */
    /* The cheapest gates that lose at most CLOSE on the validation samples. */
    struct {
        double lambda, accuracy, share; /* of the test samples */
        double held_out_share;          /* > 1: none do */
    } best;
};

/* What leaving at `chosen` [n] is worth. Errors: as exits_tally(). */
ERR_MUST_CHECK enum err evaluate_tally(const struct evaluation *evaluation,
                                       const struct eval_outputs *outputs, const int32_t *chosen,
                                       const double *costs, struct exits_tally *tally_out);

/*
 * Runs the policy for real on the first samples; milliseconds a sample, untouched if there are none,
 * and how many chose another exit than evaluation->chosen says.
 */
ERR_MUST_CHECK enum err evaluate_time(struct evaluation *evaluation,
                                      const struct exits_policy *policy, double *milliseconds_out,
                                      int64_t *differing_out);

/* Of all values, as an array; not finite: null. */
struct jdoc *evaluate_reals(const double values[], int count);

/* Of thresholds: +inf, where nobody leaves, is null, and -inf, where everybody does, below any score. */
struct jdoc *evaluate_thresholds(const double thresholds[], int count);

/*
 * What docs/files.md says of a row: of the test samples, left at `chosen`, whose tally this is.
 * `milliseconds` NaN: not measured.
 */
struct jdoc *evaluate_row(const struct evaluation *evaluation, const char *name,
                          const struct exits_tally *tally, const int32_t *chosen,
                          double milliseconds);

/* The score of the gates as they were trained, and the thresholds that go with it. */
enum exits_score evaluate_gate_score(const struct evaluation *evaluation);
ERR_MUST_CHECK enum err evaluate_gate_thresholds(const struct evaluation *evaluation,
                                                 const float *held_out_scores,
                                                 double *thresholds_out);

/* Whether a rule can be had of this run's gates, and which score it then reads. */
bool evaluate_rule_score(const struct evaluation *evaluation, const struct exits_rule *rule,
                         enum exits_score *score_out);

/* scores_out [n, G]. */
void evaluate_scores(const struct evaluation *evaluation, enum exits_score score,
                     const struct eval_outputs *outputs, float *scores_out);

/* Before the first set. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err evaluate_rules_begin(struct evaluation *evaluation);

/*
 * One set: every rule at every budget and risk, baselines, and what rules with a promise did in random
 * splits. Put into its object as "policies", "baselines" and "promises".
 */
ERR_MUST_CHECK enum err evaluate_rules(struct evaluation *evaluation, struct jdoc *entry);

/* After the last: the table of budgets, and what all sets have in common. */
void evaluate_rules_end(const struct evaluation *evaluation, struct jdoc *results);

/* Of evaluate_rules(): a row for each rule, solver, budget and risk, appended. */
ERR_MUST_CHECK enum err evaluate_policies(struct evaluation *evaluation, struct jdoc *policies);

/* Told of in the table of budgets if it is the best of its row on the validation samples. */
void evaluate_keep_best(struct evaluation *evaluation, int row, int budget, double held_out,
                        double accuracy);

/* Before the first set: draws the splits, for the owner of `evaluation` to free. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err evaluate_promises_begin(struct evaluation *evaluation);

/* Of evaluate_rules(): random splits of the test samples, appended. */
ERR_MUST_CHECK enum err evaluate_promises(const struct evaluation *evaluation,
                                          struct jdoc *promises);

#endif
