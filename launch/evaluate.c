#include "launch/evaluate.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "data/data_pack.h"
#include "exits/exits_decide.h"
#include "exits/exits_threshold.h"
#include "launch/evaluate_priv.h"
#include "launch/features.h"
#include "launch/progress.h"
#include "launch/sample_input.h"

/* Passes over the timing samples; the median counts. */
enum { TIMING_PASSES = 3 };

/* No score is as large, so nobody leaves, but the exit is computed. */
static const double UNREACHABLE = 1e30;

/* Points of accuracy below the final classifier that still count as "the same". */
static const double CLOSE = 0.003;

static void fill_costs(struct evaluation *evaluation)
{
    struct exits_cost_shape shape = evaluation->run->cost_shape;
    int64_t macs[MODEL_LAYERS_MAX + 1];

    exits_cost(&shape, macs);
    for (int g = 0; g <= evaluation->G; g++) {
        evaluation->gate_macs[g] = (double)macs[g];
    }
    shape.has_gates = false;
    exits_cost(&shape, macs);
    for (int g = 0; g <= evaluation->G; g++) {
        evaluation->threshold_macs[g] = (double)macs[g];
    }
    shape.exit_count = 0;
    exits_cost(&shape, macs);
    evaluation->full_macs = (double)macs[0];
}

enum err evaluate_tally(const struct evaluation *evaluation, const struct eval_outputs *outputs,
                        const int32_t *chosen, const double *costs, struct exits_tally *tally_out)
{
    const struct exits_outcomes outcomes = {
        .n = outputs->n,
        .G = outputs->G,
        .chosen = chosen,
        .correct = outputs->correct,
        .confidence = outputs->confidence,
        .loss = outputs->loss,
        .costs = costs,
        .lambda = evaluation->lambda,
    };

    return exits_tally(&outcomes, tally_out);
}

/* What measuring the time of policies needs, for all its passes. */
struct timing {
    struct exits_infer *infer;
    struct sample_input *input;
    uint32_t *samples; /* [n], texts of like length together */
    int64_t batch, n;
};

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static enum err run_pass(struct evaluation *evaluation, const struct exits_policy *policy,
                         const struct timing *timing, double *seconds_out)
{
    *seconds_out = 0;
    for (int64_t at = 0; at < timing->n; at += timing->batch) {
        const int64_t count = timing->n - at < timing->batch ? timing->n - at : timing->batch;
        const struct model_input input =
            sample_input_fill(timing->input, timing->samples + at, count);
        const struct exits_infer_out out = {.chosen = evaluation->timed + at,
                                            .predicted = evaluation->predicted + at};
        const int64_t start_ns = clock_now_ns();
        ERR_TRY(exits_infer_run(timing->infer, policy, &input, count, &out));
        *seconds_out += clock_since_s(start_ns);
        progress_beat();
    }
    return ERR_OK;
}

enum err evaluate_time(struct evaluation *evaluation, const struct exits_policy *policy,
                       double *milliseconds_out, int64_t *differing_out)
{
    struct train_run *run = evaluation->run;
    const int64_t wanted = run->options->run.timing_samples;
    struct timing timing = {
        .batch = run->options->run.per_device_eval_batch_size,
        .n = wanted < run->data.test->shape.count ? wanted : run->data.test->shape.count};
    double seconds[TIMING_PASSES];
    enum err status = ERR_OK;

    *differing_out = 0;
    if (timing.n == 0 || run_data_is_language(&run->data)) { /* tokens of a text go together */
        return ERR_OK;
    }
    timing.samples = calloc((size_t)timing.n, sizeof(*timing.samples));
    if (timing.samples == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the order of %" PRId64 " samples", timing.n);
    }
    data_pack_sort(run->data.test, NULL, timing.n, timing.samples);
    ERR_GOTO(out, status,
             sample_input_open(run->ops.device, &run->data.normal, run->data.test, timing.batch,
                               &timing.input));
    ERR_GOTO(out, status,
             exits_infer_open(run->state.model, run->state.net, timing.batch, &timing.infer));
    for (int pass = 0; pass < TIMING_PASSES; pass++) {
        ERR_GOTO(out, status, run_pass(evaluation, policy, &timing, &seconds[pass]));
    }
    for (int64_t i = 0; i < timing.n; i++) {
        *differing_out += evaluation->timed[i] != evaluation->chosen[timing.samples[i]];
    }
    qsort(seconds, TIMING_PASSES, sizeof(seconds[0]), ascending);
    *milliseconds_out = 1e3 * seconds[TIMING_PASSES / 2] / (double)timing.n;
out:
    exits_infer_close(timing.infer);
    sample_input_close(timing.input);
    free(timing.samples);
    return status;
}

/* One row of the table, and the same as an object. Tokens have no time of their own, but a perplexity. */
static struct jdoc *report_row(const struct evaluation *evaluation, const char *name,
                               const struct exits_tally *tally, double milliseconds)
{
    printf("  %-10s %7.2f %% %9.2f M %6.1f %%", name, 100 * tally->accuracy,
           1e-6 * tally->mean_cost, 100 * tally->mean_cost / evaluation->full_macs);
    if (run_data_is_language(&evaluation->run->data)) {
        printf("   %8.2f", exp(tally->mean_loss));
    } else if (isnan(milliseconds)) {
        printf("        -");
    } else {
        printf(" %8.3f", milliseconds);
    }
    printf(" %6.3f  ", tally->calibration_error);
    for (int g = 0; g <= evaluation->G; g++) {
        printf("%s%.0f", g == 0 ? "" : "/", 100 * (double)tally->exits[g].left / (double)tally->n);
    }
    printf("\n");
    return evaluate_row(evaluation, name, tally, evaluation->chosen, milliseconds);
}

/* The method that was trained, with the gates that stand there. */
static struct exits_method method_of(const struct evaluation *evaluation)
{
    return exits_method_with(evaluation->run->exits.loss,
                             exits_net_config_of(evaluation->run->state.net)->gate);
}

/* Scores of the learned gates. */
static void gate_scores(const struct evaluation *evaluation, const struct eval_outputs *outputs,
                        float *scores)
{
    const int G = outputs->G;
    const enum exits_score score = method_of(evaluation).score;

    for (int64_t i = 0; i < outputs->n; i++) {
        for (int g = 0; g < G; g++) {
            scores[i * G + g] =
                exits_score_at(score, evaluation->run->exits.form, outputs->gates + i * G,
                               outputs->max_prob[i * G + g], g);
        }
    }
}

static enum err solve(const struct evaluation *evaluation, const float *scores, const double *costs,
                      double budget, double *thresholds_out)
{
    const struct exits_scored scored = {
        .n = evaluation->held_out.n,
        .G = evaluation->G,
        .scores = scores,
        .correct = evaluation->held_out.correct,
        .costs = costs,
    };
    struct exits_point point;

    if (budget < costs[0]) { /* gates may cost more than the exits they stand at */
        budget = costs[0];
    }
    return exits_threshold_for_budgets(&scored, &budget, 1, thresholds_out, &point);
}

enum exits_score evaluate_gate_score(const struct evaluation *evaluation)
{
    return method_of(evaluation).score;
}

/*
 * Thresholds of the learned gates. Hazards have one by definition; other scores get theirs
 * from the validation samples, for the price lambda.
 */
enum err evaluate_gate_thresholds(const struct evaluation *evaluation, const float *held_out_scores,
                                  double *thresholds_out)
{
    struct exits_point point;
    double threshold = 0;

    if (exits_score_threshold(method_of(evaluation).score, &threshold)) {
        for (int g = 0; g < evaluation->G; g++) {
            thresholds_out[g] = threshold;
        }
        return ERR_OK;
    }
    const struct exits_scored scored = {
        .n = evaluation->held_out.n,
        .G = evaluation->G,
        .scores = held_out_scores,
        .correct = evaluation->held_out.correct,
        .costs = evaluation->run->exits.costs,
    };
    return exits_threshold_for_price(&scored, evaluation->lambda, thresholds_out, &point);
}

/* A policy by thresholds on scores: its choices on the test set, its time, its row. */
static enum err report_policy(struct evaluation *evaluation, const char *name,
                              enum exits_score kind, const float *scores, const double *costs,
                              struct exits_tally *tally_out, struct jdoc **row_out,
                              double *milliseconds_out)
{
    const struct exits_policy policy = {.set = evaluation->set,
                                        .score = kind,
                                        .form = evaluation->run->exits.form,
                                        .thresholds = evaluation->thresholds};
    struct exits_tally result;
    double milliseconds = NAN;
    int64_t differing = 0;

    exits_decide_threshold(scores, evaluation->thresholds, evaluation->test.n, evaluation->G,
                           evaluation->chosen);
    ERR_TRY(evaluate_tally(evaluation, &evaluation->test, evaluation->chosen, costs, &result));
    ERR_TRY(evaluate_time(evaluation, &policy, &milliseconds, &differing));
    *tally_out = result;
    *milliseconds_out = milliseconds;
    *row_out = report_row(evaluation, name, &result, milliseconds);
    jdoc_set_int(*row_out, "choices_differing_in_inference", differing);
    jdoc_set(*row_out, "thresholds", evaluate_thresholds(evaluation->thresholds, evaluation->G));
    return ERR_OK;
}

/* Chosen on the validation samples, as a user would; what is told of them is the test. */
static void keep_best(struct evaluation *evaluation, const struct exits_tally *held_out,
                      const struct exits_tally *test)
{
    const double end =
        (double)held_out->exits[evaluation->G].correct / (double)evaluation->held_out.n;
    const double share = held_out->mean_cost / evaluation->full_macs;

    if (held_out->accuracy >= end - CLOSE && share < evaluation->best.held_out_share) {
        evaluation->best.lambda = evaluation->lambda;
        evaluation->best.accuracy = test->accuracy;
        evaluation->best.share = test->mean_cost / evaluation->full_macs;
        evaluation->best.held_out_share = share;
    }
}

static enum err report_gates(struct evaluation *evaluation, struct jdoc *rows,
                             double *held_out_cost_out)
{
    const bool has_gates = exits_gate_decides(evaluation->run->cost_shape.gate);
    const int64_t most =
        evaluation->test.n > evaluation->held_out.n ? evaluation->test.n : evaluation->held_out.n;
    struct exits_tally held_out, test;
    struct jdoc *row = NULL;
    enum err status = ERR_OK;

    float *scores = calloc((size_t)(most * evaluation->G), sizeof(*scores));
    int32_t *chosen = calloc((size_t)most, sizeof(*chosen));
    if (scores == NULL || chosen == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "scores of the gates");
        goto out;
    }
    gate_scores(evaluation, &evaluation->held_out, scores);
    ERR_GOTO(out, status, evaluate_gate_thresholds(evaluation, scores, evaluation->thresholds));
    exits_decide_threshold(scores, evaluation->thresholds, evaluation->held_out.n, evaluation->G,
                           chosen);
    ERR_GOTO(out, status,
             evaluate_tally(evaluation, &evaluation->held_out, chosen, evaluation->gate_macs,
                            &held_out));
    *held_out_cost_out = held_out.mean_cost;
    gate_scores(evaluation, &evaluation->test, scores);
    ERR_GOTO(out, status,
             report_policy(evaluation, has_gates ? "gate" : "price",
                           evaluate_gate_score(evaluation), scores, evaluation->gate_macs, &test,
                           &row, &evaluation->gate_ms));
    jdoc_append(rows, row);
    keep_best(evaluation, &held_out, &test);
out:
    free(scores);
    free(chosen);
    return status;
}

/* Everybody leaves at exit g: the cost of each exit, in multiply-adds and milliseconds. */
static enum err report_fixed(struct evaluation *evaluation, struct jdoc *rows)
{
    const struct exits_policy policy = {.set = evaluation->set,
                                        .score = EXITS_SCORE_MAX_PROB,
                                        .thresholds = evaluation->thresholds};
    struct exits_tally result;
    char name[32];

    for (int g = 0; g <= evaluation->G; g++) {
        double milliseconds = NAN;
        int64_t differing = 0;
        for (int other = 0; other < evaluation->G; other++) {
            evaluation->thresholds[other] = other == g ? -INFINITY : INFINITY;
        }
        exits_decide_always(g, evaluation->test.n, evaluation->chosen);
        ERR_TRY(evaluate_tally(evaluation, &evaluation->test, evaluation->chosen,
                               evaluation->threshold_macs, &result));
        ERR_TRY(evaluate_time(evaluation, &policy, &milliseconds, &differing));
        snprintf(name, sizeof(name), g < evaluation->G ? "exit %d" : "end", g + 1);
        jdoc_append(rows, report_row(evaluation, name, &result, milliseconds));
        evaluation->fixed_ms[g] = milliseconds;
    }
    return ERR_OK;
}

/* The same with the exits before it computed, as those who come there have them; never falling. */
static enum err measure_visits(struct evaluation *evaluation)
{
    const struct exits_policy policy = {.set = evaluation->set,
                                        .score = EXITS_SCORE_MAX_PROB,
                                        .thresholds = evaluation->thresholds};
    int64_t differing = 0;

    for (int g = 0; g <= evaluation->G; g++) {
        for (int other = 0; other < evaluation->G; other++) {
            evaluation->thresholds[other] = other == g ? -INFINITY : UNREACHABLE;
        }
        exits_decide_always(g, evaluation->test.n, evaluation->chosen);
        ERR_TRY(evaluate_time(evaluation, &policy, &evaluation->visited_ms[g], &differing));
        if (g > 0 && evaluation->visited_ms[g] <= evaluation->visited_ms[g - 1]) {
            evaluation->visited_ms[g] = evaluation->visited_ms[g - 1] * (1 + 1e-6);
        }
    }
    return ERR_OK;
}

static enum err report_set(struct evaluation *evaluation, struct jdoc *rows)
{
    struct exits_tally result;
    struct jdoc *row = NULL;
    double budget = 0, milliseconds = NAN;

    if (evaluation->set == 0) {
        ERR_TRY(report_fixed(evaluation, rows));
        if (evaluation->run->options->run.eval_detail == EVALUATE_ALL) {
            ERR_TRY(measure_visits(evaluation));
        }
    }
    printf("  lambda %g\n", evaluation->lambda);
    ERR_TRY(report_gates(evaluation, rows, &budget));
    ERR_TRY(solve(evaluation, evaluation->held_out.max_prob, evaluation->threshold_macs, budget,
                  evaluation->thresholds));
    ERR_TRY(report_policy(evaluation, "threshold", EXITS_SCORE_MAX_PROB, evaluation->test.max_prob,
                          evaluation->threshold_macs, &result, &row, &milliseconds));
    jdoc_append(rows, row);
    exits_decide_oracle(evaluation->test.loss, evaluation->run->exits.costs, evaluation->lambda,
                        evaluation->test.n, evaluation->G, evaluation->chosen);
    ERR_TRY(evaluate_tally(evaluation, &evaluation->test, evaluation->chosen, evaluation->gate_macs,
                           &result));
    jdoc_append(rows, report_row(evaluation, "oracle", &result, NAN));
    return ERR_OK;
}

static enum err report_one_set(struct evaluation *evaluation, const struct exits_cache *test,
                               const struct exits_cache *held_out, const int32_t *held_out_labels,
                               struct jdoc *sets)
{
    struct train_run *run = evaluation->run;
    struct jdoc *entry = jdoc_object();
    struct jdoc *rows = jdoc_array();
    enum err status = ERR_OK;

    ERR_GOTO(
        out, status,
        eval_outputs_open(run, test, run->data.test->labels, evaluation->set, &evaluation->test));
    ERR_GOTO(
        out, status,
        eval_outputs_open(run, held_out, held_out_labels, evaluation->set, &evaluation->held_out));
    status = report_set(evaluation, rows);
    jdoc_set_real(entry, "lambda", evaluation->lambda);
    jdoc_set(entry, "rows", rows);
    jdoc_append(sets, entry);
    if (status == ERR_OK) {
        status = evaluate_rules(evaluation, entry);
    }
out:
    eval_outputs_close(&evaluation->test);
    eval_outputs_close(&evaluation->held_out);
    return status;
}

/* The final classifier alone: the only row of a run without exits. */
static enum err report_final(struct evaluation *evaluation, const struct exits_cache *test,
                             struct jdoc *results)
{
    struct eval_outputs outputs = {0};
    const struct run_data *data = &evaluation->run->data;
    const bool is_language = run_data_is_language(data);
    int64_t correct = 0;
    double loss = 0;

    ERR_TRY(
        eval_outputs_open(evaluation->run, test, evaluation->run->data.test->labels, 0, &outputs));
    for (int64_t i = 0; i < outputs.n; i++) {
        correct += outputs.correct[i * (outputs.G + 1) + outputs.G];
        loss += (double)outputs.loss[i * (outputs.G + 1) + outputs.G];
    }
    loss /= (double)outputs.n;
    evaluation->end_accuracy = (double)correct / (double)outputs.n;
    jdoc_set_real(results, "test_accuracy", evaluation->end_accuracy);
    jdoc_set_real(results, "test_loss", loss);
    jdoc_set_int(results, "test_samples", outputs.n);
    printf("final classifier: %.2f %% of %" PRId64 " test %s", 100 * evaluation->end_accuracy,
           outputs.n, is_language ? "tokens" : run_data_noun(data));
    if (is_language) {
        printf(", cross entropy %.4f nats, perplexity %.2f", loss, exp(loss));
    }
    printf("\n");
    eval_outputs_close(&outputs);
    return ERR_OK;
}

static enum err report_all(struct evaluation *evaluation, const struct exits_cache *test,
                           const struct exits_cache *held_out, struct jdoc *results)
{
    struct train_run *run = evaluation->run;
    const int64_t R = run->data.train->labels_per_sample;
    const int64_t test_count = run->data.test->shape.count * R;
    const int64_t held_out_count = run->data.split->held_out_count * R;
    struct jdoc *sets = jdoc_array();
    enum err status = ERR_OK;

    jdoc_set(results, "lambdas", sets);
    jdoc_set_real(results, "full_macs", evaluation->full_macs);
    int32_t *labels = calloc((size_t)held_out_count + 1, sizeof(*labels));
    evaluation->chosen = calloc((size_t)test_count, sizeof(*evaluation->chosen));
    evaluation->timed = calloc((size_t)test_count, sizeof(*evaluation->timed));
    evaluation->predicted = calloc((size_t)test_count, sizeof(*evaluation->predicted));
    if (labels == NULL || evaluation->chosen == NULL || evaluation->timed == NULL ||
        evaluation->predicted == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "an evaluation");
        goto out;
    }
    ERR_GOTO(out, status, evaluate_rules_begin(evaluation));
    for (int64_t i = 0; i < held_out_count; i++) {
        labels[i] = run->data.train->labels[run->data.split->held_out[i / R] * R + i % R];
    }
    printf("\n  policy     accuracy  mult-adds   of all%s    ECE  exits left at, %%\n",
           run_data_is_language(&run->data) ? "  perplexity" : "  ms/image");
    for (int set = 0; set < exits_net_config_of(run->state.net)->set_count; set++) {
        evaluation->set = set;
        evaluation->lambda = run->exits.lambdas[set];
        ERR_GOTO(out, status, report_one_set(evaluation, test, held_out, labels, sets));
    }
    if (evaluation->best.held_out_share <= 1) {
        printf("gates of lambda %g, chosen on validation: %.2f points below the final classifier "
               "at %.1f %% of its multiply-adds\n",
               evaluation->best.lambda,
               100 * (evaluation->end_accuracy - evaluation->best.accuracy),
               100 * evaluation->best.share);
    }
out:
    if (status == ERR_OK) {
        evaluate_rules_end(evaluation, results);
    }
    free(evaluation->halves);
    free(evaluation->bests);
    free(labels);
    free(evaluation->chosen);
    free(evaluation->timed);
    free(evaluation->predicted);
    return status;
}

enum err evaluate(struct train_run *run, bool in_files, struct jdoc **results_out)
{
    struct evaluation evaluation = {.run = run, .best = {.held_out_share = INFINITY}};
    const int64_t deadline_ms = run->options->run.serial_deadline_ms;
    int64_t ignored = 0;
    const struct features_source test_source = {.set = run->data.test,
                                                .count = run->data.test->shape.count};
    const struct features_source held_out_source = {.set = run->data.train,
                                                    .samples = run->data.split->held_out,
                                                    .count = run->data.split->held_out_count};
    struct exits_cache *test = NULL;
    struct exits_cache *held_out = NULL;
    struct jdoc *results = NULL;
    enum err status = ERR_OK;

    train_run_pack(run, false);
    ERR_GOTO(out, status,
             features_open(run, &test_source, in_files && run->state.net != NULL, &test));
    if (run->state.net != NULL) {
        evaluation.G = exits_net_config_of(run->state.net)->count;
        fill_costs(&evaluation);
        ERR_GOTO(out, status, features_open(run, &held_out_source, in_files, &held_out));
    }
    if (comm_rank(run->world) == 0) {
        results = jdoc_object();
        ERR_GOTO(out, status, report_final(&evaluation, test, results));
        if (run->state.net != NULL && run->data.split->held_out_count > 0) {
            ERR_GOTO(out, status, report_all(&evaluation, test, held_out, results));
        } else if (run->state.net != NULL) {
            printf("no policies: their thresholds are solved on validation samples, and "
                   "validation_fraction leaves none\n");
        }
    }
    /* Meanwhile the other ranks sleep, so that they do not disturb what rank 0 times. */
    ERR_GOTO(out, status, comm_agree_max(run->world, 0, deadline_ms, &ignored));
    *results_out = results;
    results = NULL;
out:
    jdoc_close(results);
    exits_cache_close(test);
    exits_cache_close(held_out);
    return status;
}
