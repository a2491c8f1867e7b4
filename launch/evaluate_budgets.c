#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/evaluate.h"
#include "launch/evaluate_priv.h"

/* Columns of the printed table. */
enum { PRINTED_BUDGETS = 6 };

void evaluate_keep_best(struct evaluation *evaluation, int row, int budget, double held_out,
                        double accuracy)
{
    struct evaluate_best *best = &evaluation->bests[row * evaluation->budgets.count + budget];

    if (!best->is_there || held_out > best->held_out) {
        *best = (struct evaluate_best){true, held_out, accuracy};
    }
}

/* accuracy_out [G + 1] of each exit. */
static void accuracies(const struct eval_outputs *outputs, double accuracy_out[])
{
    for (int g = 0; g <= outputs->G; g++) {
        int64_t right = 0;
        for (int64_t i = 0; i < outputs->n; i++) {
            right += outputs->correct[i * (outputs->G + 1) + g];
        }
        accuracy_out[g] = (double)right / (double)outputs->n;
    }
}

/* Chosen on the validation samples, told of the test samples; the oracle knows the latter. */
static struct jdoc *baselines_at(struct evaluation *evaluation, int b, const double held_out[],
                                 const double test[])
{
    const int G = evaluation->G;
    const double *macs = evaluation->threshold_macs;
    const double budget = evaluation->budgets.values[b] * evaluation->full_macs;
    double shares[MODEL_LAYERS_MAX + 1], mixed_held_out = 0, mixed = 0;
    struct jdoc *object = jdoc_object();

    const int alone = exits_baseline_static(held_out, macs, G, budget);
    exits_baseline_random(held_out, macs, G, budget, shares);
    for (int g = 0; g <= G; g++) {
        mixed_held_out += shares[g] * held_out[g];
        mixed += shares[g] * test[g];
    }
    const struct exits_baseline_point oracle =
        exits_baseline_oracle(evaluation->test.correct, macs, evaluation->test.n, G, budget);
    jdoc_set_real(object, "budget", evaluation->budgets.values[b]);
    jdoc_set_int(object, "static_exit", alone);
    jdoc_set_real(object, "static_accuracy", test[alone]);
    jdoc_set(object, "random_shares", evaluate_reals(shares, G + 1));
    jdoc_set_real(object, "random_accuracy", mixed);
    jdoc_set_real(object, "oracle_accuracy", oracle.accuracy);
    jdoc_set_real(object, "oracle_mean_macs", oracle.cost);
    evaluate_keep_best(evaluation, EVALUATE_STATIC, b, held_out[alone], test[alone]);
    evaluate_keep_best(evaluation, EVALUATE_RANDOM, b, mixed_held_out, mixed);
    evaluate_keep_best(evaluation, EVALUATE_ORACLE, b, oracle.accuracy, oracle.accuracy);
    return object;
}

enum err evaluate_rules(struct evaluation *evaluation, struct jdoc *entry)
{
    struct jdoc *policies = jdoc_array();
    struct jdoc *baselines = jdoc_array();
    struct jdoc *promises = jdoc_array();
    double held_out[MODEL_LAYERS_MAX + 1] = {0}, test[MODEL_LAYERS_MAX + 1] = {0};

    jdoc_set(entry, "policies", policies);
    jdoc_set(entry, "baselines", baselines);
    jdoc_set(entry, "promises", promises);
    ERR_TRY(evaluate_policies(evaluation, policies));
    accuracies(&evaluation->held_out, held_out);
    accuracies(&evaluation->test, test);
    evaluation->end_held_out = held_out[evaluation->G];
    for (int b = 0; b < evaluation->budgets.count; b++) {
        if (evaluation->budgets.values[b] * evaluation->full_macs >=
            evaluation->threshold_macs[0]) {
            jdoc_append(baselines, baselines_at(evaluation, b, held_out, test));
        }
    }
    return evaluate_promises(evaluation, promises);
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

enum err evaluate_rules_begin(struct evaluation *evaluation)
{
    evaluation->budgets = evaluation->run->options->run.eval_budgets;
    qsort(evaluation->budgets.values, (size_t)evaluation->budgets.count, sizeof(double), ascending);
    evaluation->bests = calloc((size_t)EVALUATE_BEST_ROWS * (size_t)evaluation->budgets.count + 1,
                               sizeof(*evaluation->bests));
    if (evaluation->bests == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a table of budgets");
    }
    ERR_TRY(evaluate_promises_begin(evaluation));
    evaluation->gate_ms = NAN;
    for (int g = 0; g <= evaluation->G; g++) {
        evaluation->fixed_ms[g] = evaluation->visited_ms[g] = NAN;
    }
    return ERR_OK;
}

void evaluate_shorten(struct jdoc *results)
{
    static const char *const long_ones[] = {"policies", "baselines", "promises"};
    const struct jdoc *sets = jdoc_get(results, "lambdas");

    jdoc_remove(results, "evaluation");
    for (size_t s = 0; s < jdoc_count(sets); s++) {
        for (size_t k = 0; k < sizeof(long_ones) / sizeof(long_ones[0]); k++) {
            jdoc_remove(jdoc_at(sets, s), long_ones[k]);
        }
    }
}

/* Whether any policy of this row keeps any budget that is printed. */
static bool is_told(const struct evaluation *evaluation, int row)
{
    const struct evaluate_best *bests = evaluation->bests + row * evaluation->budgets.count;

    for (int b = 0; b < evaluation->budgets.count && b < PRINTED_BUDGETS; b++) {
        if (bests[b].is_there) {
            return true;
        }
    }
    return false;
}

static void print_row(const struct evaluation *evaluation, const char *name, int row)
{
    const struct evaluate_best *bests = evaluation->bests + row * evaluation->budgets.count;

    if (!is_told(evaluation, row)) {
        return;
    }
    printf("  %-10s", name);
    for (int b = 0; b < evaluation->budgets.count && b < PRINTED_BUDGETS; b++) {
        if (bests[b].is_there) {
            printf(" %7.2f %%", 100 * bests[b].accuracy);
        } else {
            printf("         -");
        }
    }
    printf("\n");
}

static void print_bests(const struct evaluation *evaluation)
{
    if (!is_told(evaluation, EVALUATE_STATIC)) {
        return;
    }
    printf("\n  accuracy at");
    for (int b = 0; b < evaluation->budgets.count && b < PRINTED_BUDGETS; b++) {
        printf("%s%6g %%", b == 0 ? "" : "  ", 100 * evaluation->budgets.values[b]);
    }
    printf("  of all multiply-adds; the rest is in results.json\n");
    print_row(evaluation, "one exit", EVALUATE_STATIC);
    print_row(evaluation, "random", EVALUATE_RANDOM);
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        if (exits_rules[r].decision == EXITS_DECISION_THRESHOLD) {
            print_row(evaluation, exits_rules[r].name, r);
        }
    }
    print_row(evaluation, "oracle", EVALUATE_ORACLE);
}

static struct jdoc *rules_of(const struct evaluation *evaluation)
{
    struct jdoc *rules = jdoc_array();
    enum exits_score score;

    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        struct jdoc *rule = jdoc_object();
        struct jdoc *solvers = jdoc_array();
        const bool is_there = evaluate_rule_score(evaluation, &exits_rules[r], &score);
        for (int s = 0; s < EXITS_SOLVER_COUNT; s++) {
            if ((exits_rules[r].solvers >> s & 1U) != 0) {
                jdoc_append(solvers, jdoc_string(exits_solvers[s].name));
            }
        }
        jdoc_set_text(rule, "rule", exits_rules[r].name);
        jdoc_set_text(rule, "score", exits_score_name(score));
        jdoc_set_bool(rule, "possible", is_there);
        jdoc_set_text(rule, "paper", exits_rules[r].paper);
        jdoc_set(rule, "solvers", solvers);
        jdoc_append(rules, rule);
    }
    return rules;
}

void evaluate_rules_end(const struct evaluation *evaluation, struct jdoc *results)
{
    const int count = evaluation->G + 1;
    const struct options *options = &evaluation->run->options->run;
    struct jdoc *common = jdoc_object();

    jdoc_set_int(common, "validation_samples",
                 evaluation->run->data.split->held_out_count *
                     evaluation->run->data.train->labels_per_sample);
    jdoc_set_real(common, "validation_accuracy", evaluation->end_held_out);
    jdoc_set(common, "budgets",
             evaluate_reals(evaluation->budgets.values, evaluation->budgets.count));
    jdoc_set(common, "risks",
             evaluate_reals(options->eval_risks.values, options->eval_risks.count));
    jdoc_set(common, "macs", evaluate_reals(evaluation->threshold_macs, count));
    jdoc_set(common, "macs_with_gates", evaluate_reals(evaluation->gate_macs, count));
    jdoc_set(common, "fixed_ms", evaluate_reals(evaluation->fixed_ms, count));
    jdoc_set(common, "visited_ms", evaluate_reals(evaluation->visited_ms, count));
    jdoc_set(common, "rules", rules_of(evaluation));
    jdoc_set(results, "evaluation", common);
    print_bests(evaluation);
}
