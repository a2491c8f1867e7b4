#include <math.h>
#include <stdlib.h>

#include "data/data_set.h"
#include "exits/exits_harm.h"
#include "launch/evaluate_priv.h"

struct jdoc *evaluate_reals(const double values[], int count)
{
    struct jdoc *array = jdoc_array();

    for (int i = 0; i < count; i++) {
        jdoc_append(array, jdoc_real(values[i]));
    }
    return array;
}

struct jdoc *evaluate_thresholds(const double thresholds[], int count)
{
    static const double EVERYBODY = -1e30;
    struct jdoc *array = jdoc_array();

    for (int i = 0; i < count; i++) {
        jdoc_append(array, jdoc_real(thresholds[i] < EVERYBODY ? EVERYBODY : thresholds[i]));
    }
    return array;
}

static struct jdoc *exits_of(const struct exits_tally *tally, int G)
{
    struct jdoc *exits = jdoc_array();

    for (int g = 0; g <= G; g++) {
        const struct exits_tally_exit *exit = &tally->exits[g];
        struct jdoc *entry = jdoc_object();
        jdoc_set_real(entry, "share", (double)exit->left / (double)tally->n);
        jdoc_set_real(entry, "accuracy_all", (double)exit->correct / (double)tally->n);
        jdoc_set_real(entry, "accuracy_left", (double)exit->left_correct / (double)exit->left);
        jdoc_set_int(entry, "left", exit->left);
        jdoc_set_int(entry, "left_correct", exit->left_correct);
        jdoc_append(exits, entry);
    }
    return exits;
}

static struct jdoc *reliability_of(const struct exits_tally *tally)
{
    struct jdoc *bins = jdoc_array();

    for (int b = 0; b < EXITS_CALIBRATION_BINS; b++) {
        struct jdoc *entry = jdoc_object();
        jdoc_set_int(entry, "n", tally->bins[b].n);
        jdoc_set_real(entry, "confidence", tally->bins[b].confidence);
        jdoc_set_real(entry, "accuracy", tally->bins[b].accuracy);
        jdoc_append(bins, entry);
    }
    return bins;
}

/* By class, unless these are the words of a language, and the sums of what was lost and gained against the full network. */
static void set_harm(const struct evaluation *evaluation, const int32_t *chosen, struct jdoc *row)
{
    const struct eval_outputs *test = &evaluation->test;
    struct exits_harm *harm = calloc((size_t)test->classes, sizeof(*harm));
    struct jdoc *classes = harm == NULL ? NULL : jdoc_array(); /* NULL: jdoc_text() tells */
    int64_t lost = 0, gained = 0;

    if (harm != NULL) {
        exits_harm(chosen, test->correct, test->labels, test->n, test->G, test->classes, harm);
    }
    for (int64_t k = 0; harm != NULL && k < test->classes; k++) {
        lost += harm[k].lost;
        gained += harm[k].gained;
        if (test->classes > DATA_CLASSES_MAX) {
            continue;
        }
        struct jdoc *entry = jdoc_object();
        jdoc_set_int(entry, "n", harm[k].n);
        jdoc_set_int(entry, "full_correct", harm[k].full_correct);
        jdoc_set_int(entry, "early_correct", harm[k].early_correct);
        jdoc_append(classes, entry);
    }
    jdoc_set_int(row, "lost", lost);
    jdoc_set_int(row, "gained", gained);
    jdoc_set(row, "classes", classes);
    free(harm);
}

/* Milliseconds and accuracy that follow from the shares alone, and what the labels would give. */
static void set_expected(const struct evaluation *evaluation, const struct exits_tally *tally,
                         struct jdoc *row)
{
    double milliseconds = 0, accuracy = 0;
    const struct exits_baseline_point oracle =
        exits_baseline_oracle(evaluation->test.correct, evaluation->threshold_macs,
                              evaluation->test.n, evaluation->G, tally->mean_cost);

    for (int g = 0; g <= evaluation->G; g++) {
        const double share = (double)tally->exits[g].left / (double)tally->n;
        milliseconds += share > 0 ? share * evaluation->fixed_ms[g] : 0;
        accuracy += share * (double)tally->exits[g].correct / (double)tally->n;
    }
    jdoc_set_real(row, "ms_estimate", milliseconds);
    jdoc_set_real(row, "random_accuracy", accuracy);
    jdoc_set_real(row, "oracle_gap", oracle.accuracy - tally->accuracy);
}

struct jdoc *evaluate_row(const struct evaluation *evaluation, const char *name,
                          const struct exits_tally *tally, const int32_t *chosen,
                          double milliseconds)
{
    struct jdoc *row = jdoc_object();
    /* In the unit of training, where leaving at the end costs 1. */
    const double objective = tally->mean_loss + evaluation->lambda * tally->mean_cost /
                                                    evaluation->gate_macs[evaluation->G];

    jdoc_set_text(row, "policy", name);
    jdoc_set_real(row, "accuracy", tally->accuracy);
    jdoc_set_real(row, "mean_macs", tally->mean_cost);
    jdoc_set_real(row, "macs_share", tally->mean_cost / evaluation->full_macs);
    jdoc_set_real(row, "ms_per_sample", milliseconds);
    jdoc_set_real(row, "ece", tally->calibration_error);
    jdoc_set_real(row, "mean_loss", tally->mean_loss);
    jdoc_set_real(row, "mean_objective", objective);
    jdoc_set(row, "exits", exits_of(tally, evaluation->G));
    set_expected(evaluation, tally, row);
    jdoc_set(row, "reliability", reliability_of(tally));
    set_harm(evaluation, chosen, row);
    return row;
}
