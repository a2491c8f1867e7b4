#include "launch/export/export_results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/export/onnx_exits.h"

/* Of equal numbers, one of which was written and read. */
static const double CLOSE = 1e-9;

enum err export_results_open(const struct trained_network *source, const char *path,
                             struct export_results *results_out)
{
    struct export_results results = {0};

    if (path != NULL) {
        snprintf(results.path, sizeof(results.path), "%s", path);
        ERR_TRY(jdoc_read(path, &results.doc));
        *results_out = results;
        return ERR_OK;
    }
    ERR_TRY(file_path(results.path, source->output_dir, "summary.json"));
    const enum err status = jdoc_read(results.path, &results.doc);
    if (status == ERR_MISSING) {
        err_clear();
    } else if (status != ERR_OK) {
        return status;
    }
    const struct jdoc *step = jdoc_get(results.doc, "step");
    if (!jdoc_is_int(step) || jdoc_as_int(step) != source->step) { /* of another checkpoint */
        export_results_close(&results);
    }
    *results_out = results;
    return ERR_OK;
}

void export_results_close(struct export_results *results)
{
    jdoc_close(results->doc);
    results->doc = NULL;
}

/* Of rows of the table its policy, of others their rule. */
static const char *name_of(const struct jdoc *row)
{
    const char *policy = jdoc_as_text(jdoc_get(row, "policy"));

    return policy != NULL ? policy : jdoc_as_text(jdoc_get(row, "rule"));
}

static struct jdoc *copy_reals(const struct jdoc *array)
{
    struct jdoc *copy = jdoc_array();

    for (size_t i = 0; i < jdoc_count(array); i++) { /* null stands for infinity: nobody leaves */
        const struct jdoc *value = jdoc_at(array, i);
        jdoc_append(copy, jdoc_real(jdoc_is_number(value) ? jdoc_as_real(value) : (double)NAN));
    }
    return copy;
}

/* What a reader needs to apply it, and what it was worth; numbers and texts. */
static struct jdoc *copy_row(const struct jdoc *row, const char *gate_score)
{
    static const char *const kept[] = {"solver",   "score",     "budget",     "budget_unit",
                                       "risk",     "cap",       "patience",   "width",
                                       "accuracy", "mean_macs", "macs_share", "ece"};
    struct jdoc *copy = jdoc_object();
    const char *name = name_of(row);
    const bool is_gate = strcmp(name, "gate") == 0;

    jdoc_set_text(copy, "policy", name);
    jdoc_set_text(copy, "score", is_gate ? gate_score : "max_prob"); /* unless it says more */
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        const struct jdoc *value = jdoc_get(row, kept[i]);
        if (jdoc_as_text(value) != NULL) {
            jdoc_set_text(copy, kept[i], jdoc_as_text(value));
        } else if (jdoc_is_number(value)) {
            jdoc_set_real(copy, kept[i], jdoc_as_real(value));
        }
    }
    jdoc_set(copy, "thresholds", copy_reals(jdoc_get(row, "thresholds")));
    if (jdoc_is_array(jdoc_get(row, "lows"))) {
        jdoc_set(copy, "lows", copy_reals(jdoc_get(row, "lows")));
    }
    return copy;
}

static enum err copy_rows(const struct export_results *results,
                          const struct trained_network *source, const struct jdoc *rows,
                          const char *policy, struct jdoc *to)
{
    const size_t exits = (size_t)exits_net_config_of(source->net)->count;

    for (size_t i = 0; i < jdoc_count(rows); i++) {
        const struct jdoc *row = jdoc_at(rows, i);
        const struct jdoc *thresholds = jdoc_get(row, "thresholds");
        const char *name = name_of(row);
        if (name == NULL || !jdoc_is_array(thresholds) ||
            (policy != NULL && strcmp(policy, name) != 0)) {
            continue;
        }
        if (jdoc_count(thresholds) != exits) {
            return ERR_FAIL(ERR_CORRUPT, "%s: policy %.40s has %zu thresholds, %s has %zu exits",
                            results->path, name, jdoc_count(thresholds), source->folder, exits);
        }
        jdoc_append(to, copy_row(row, onnx_exits_score_name(source->method.score)));
    }
    return ERR_OK;
}

enum err export_results_of(const struct export_results *results,
                           const struct trained_network *source, double lambda, const char *policy,
                           struct jdoc **policies_out)
{
    const struct jdoc *lambdas = jdoc_get(results->doc, "lambdas");
    struct jdoc *policies = jdoc_array();
    enum err status = ERR_OK;

    for (size_t i = 0; i < jdoc_count(lambdas) && status == ERR_OK; i++) {
        const struct jdoc *entry = jdoc_at(lambdas, i);
        const struct jdoc *value = jdoc_get(entry, "lambda");
        if (!jdoc_is_number(value) || fabs(jdoc_as_real(value) - lambda) > CLOSE * fabs(lambda)) {
            continue;
        }
        status = copy_rows(results, source, jdoc_get(entry, "rows"), policy, policies);
        if (status == ERR_OK) {
            status = copy_rows(results, source, jdoc_get(entry, "policies"), policy, policies);
        }
    }
    if (status == ERR_OK && policy != NULL && jdoc_count(policies) == 0) {
        status = ERR_FAIL(
            ERR_MISSING, "no thresholds of a policy %.40s for lambda %g: %s%s", policy, lambda,
            results->doc == NULL ? "there are no results of this step in " : "they are not in ",
            results->path);
    }
    if (status != ERR_OK) {
        jdoc_close(policies);
        return status;
    }
    *policies_out = policies;
    return ERR_OK;
}
