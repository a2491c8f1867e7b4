#include <inttypes.h>
#include <stdlib.h>

#include "exits/exits_band.h"
#include "exits/exits_conformal.h"
#include "exits/exits_risk.h"
#include "launch/evaluate_priv.h"
#include "launch/progress.h"

enum { SPLITS = 20 };

/* Of the band that counts of a kept promise stay in. */
static const double LEVEL = 0.99;

/* How often a promise of `risk` was missed in the mean, and whether chance explains more. */
static void set_verdict(struct jdoc *object, double risk, int64_t tested, int64_t missed)
{
    const int64_t mean_tested = tested / SPLITS;
    const struct exits_band band = exits_band_binomial(mean_tested, risk, LEVEL);

    jdoc_set_real(object, "miscoverage", tested == 0 ? 0 : (double)missed / (double)tested);
    jdoc_set_real(object, "band_low",
                  mean_tested == 0 ? 0 : (double)band.low / (double)mean_tested);
    jdoc_set_real(object, "band_high",
                  mean_tested == 0 ? 1 : (double)band.high / (double)mean_tested);
    jdoc_set_bool(object, "kept",
                  mean_tested == 0 ||
                      (double)missed * (double)mean_tested <= (double)band.high * (double)tested);
}

/* One exit and class over all splits; entries are `stride` apart. */
static struct jdoc *conformal_of(const struct exits_conformal_split splits[], int64_t stride,
                                 double risk, int exit, int class)
{
    struct jdoc *object = jdoc_object(), *calibrated = jdoc_array();
    struct jdoc *tested = jdoc_array(), *missed = jdoc_array();
    int64_t all_tested = 0, all_missed = 0;
    int within = 0, within_exact = 0, overflowed = 0;

    for (int s = 0; s < SPLITS; s++) {
        const struct exits_conformal_split *split = &splits[s * stride];
        const int64_t k = exits_conformal_rank(split->calibrated, risk);
        const struct exits_band plain = exits_band_binomial(split->tested, risk, LEVEL);
        jdoc_append(calibrated, jdoc_int(split->calibrated));
        jdoc_append(tested, jdoc_int(split->tested));
        jdoc_append(missed, jdoc_int(split->missed));
        all_tested += split->tested;
        all_missed += split->missed;
        within += split->missed <= plain.high;
        if (k > split->calibrated) {
            overflowed++; /* every set holds the class: nothing is ever missed */
            within_exact += split->missed == 0;
        } else {
            const struct exits_band exact = exits_band_beta_binomial(
                split->tested, (double)(split->calibrated + 1 - k), (double)k, LEVEL);
            within_exact += split->missed <= exact.high;
        }
    }
    jdoc_set_int(object, "exit", exit);
    jdoc_set_text(object, "class", class == EXITS_CONFORMAL_RIGHT ? "right" : "wrong");
    set_verdict(object, risk, all_tested, all_missed);
    jdoc_set_int(object, "splits_within_binomial", within);
    jdoc_set_int(object, "splits_within_exact", within_exact);
    jdoc_set_int(object, "splits_with_too_few", overflowed);
    jdoc_set(object, "calibrated", calibrated);
    jdoc_set(object, "tested", tested);
    jdoc_set(object, "missed", missed);
    return object;
}

static enum err promise_conformal(const struct evaluation *evaluation,
                                  const struct exits_scored *scored, double risk,
                                  struct jdoc *object)
{
    const int64_t stride = (int64_t)scored->G * EXITS_CONFORMAL_CLASSES;
    struct jdoc *exits = jdoc_array();
    struct exits_conformal_split *splits = calloc((size_t)(SPLITS * stride), sizeof(*splits));

    jdoc_set(object, "exits", exits);
    if (splits == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "splits");
    }
    const enum err status =
        exits_conformal_splits(scored, risk, SPLITS, evaluation->halves, splits);
    for (int64_t at = 0; at < stride && status == ERR_OK; at++) {
        jdoc_append(exits,
                    conformal_of(splits + at, stride, risk, (int)(at / EXITS_CONFORMAL_CLASSES),
                                 (int)(at % EXITS_CONFORMAL_CLASSES)));
    }
    free(splits);
    return status;
}

static enum err promise_control(const struct evaluation *evaluation,
                                const struct exits_scored *scored, double risk, struct jdoc *object)
{
    struct jdoc *calibrated = jdoc_array(), *tested = jdoc_array(), *missed = jdoc_array();
    struct exits_risk_split splits[SPLITS];
    int64_t all_tested = 0, all_lost = 0;

    ERR_TRY(exits_risk_splits(scored, risk, SPLITS, evaluation->halves, splits));
    for (int s = 0; s < SPLITS; s++) {
        jdoc_append(calibrated, jdoc_int(splits[s].calibrated));
        jdoc_append(tested, jdoc_int(splits[s].tested));
        jdoc_append(missed, jdoc_int(splits[s].lost));
        all_tested += splits[s].tested;
        all_lost += splits[s].lost;
    }
    set_verdict(object, risk, all_tested, all_lost);
    jdoc_set(object, "calibrated", calibrated);
    jdoc_set(object, "tested", tested);
    jdoc_set(object, "missed", missed);
    return ERR_OK;
}

static enum err run_rule(const struct evaluation *evaluation, const struct exits_rule *rule,
                         float *scores, struct jdoc *promises)
{
    const struct options_f64s *risks = &evaluation->run->options->run.eval_risks;
    const bool is_conformal = (rule->solvers >> EXITS_SOLVER_CONFORMAL & 1U) != 0;
    const struct exits_scored scored = {.n = evaluation->test.n,
                                        .G = evaluation->G,
                                        .scores = scores,
                                        .correct = evaluation->test.correct,
                                        .costs = evaluation->gate_macs};
    enum exits_score score;

    if (!evaluate_rule_score(evaluation, rule, &score)) {
        return ERR_OK;
    }
    evaluate_scores(evaluation, score, &evaluation->test, scores);
    for (int r = 0; r < risks->count; r++) {
        struct jdoc *object = jdoc_object();
        jdoc_append(promises, object);
        jdoc_set_text(object, "rule", rule->name);
        jdoc_set_text(object, "score", exits_score_name(score));
        jdoc_set_real(object, "risk", risks->values[r]);
        ERR_TRY((is_conformal ? promise_conformal : promise_control)(evaluation, &scored,
                                                                     risks->values[r], object));
        progress_beat();
    }
    return ERR_OK;
}

enum err evaluate_promises_begin(struct evaluation *evaluation)
{
    const int64_t n = evaluation->run->data.test->shape.count;

    evaluation->halves = calloc((size_t)(SPLITS * n) + 1, 1);
    if (evaluation->halves == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d splits of %" PRId64 " samples", SPLITS, n);
    }
    exits_conformal_draw((uint64_t)evaluation->run->options->run.seed, NULL, n, SPLITS,
                         evaluation->halves);
    return ERR_OK;
}

enum err evaluate_promises(const struct evaluation *evaluation, struct jdoc *promises)
{
    const unsigned promising = 1U << EXITS_SOLVER_CONFORMAL | 1U << EXITS_SOLVER_CONTROL;
    float *scores = calloc((size_t)(evaluation->test.n * evaluation->G), sizeof(*scores));
    enum err status = ERR_OK;

    if (scores == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "scores of promises");
    }
    for (int r = 0; r < EXITS_RULE_COUNT && status == ERR_OK; r++) {
        if ((exits_rules[r].solvers & promising) != 0) {
            status = run_rule(evaluation, &exits_rules[r], scores, promises);
        }
    }
    free(scores);
    return status;
}
