#include "launch/predict/predict_policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "exits/exits_rule.h"

/* Of a number that a person may have rounded. */
static const double CLOSE = 1e-6;

/* What a policy may lose on the validation samples, as a share of them, where no budget is said. */
static const double LOSS_MAX = 0.003;

enum { LIST_BYTES = 512, NAME_BYTES = 64 };

/* A choice under way. */
struct choice {
    const struct trained_network *network;
    const struct predict_wish *wish;
    char rule[NAME_BYTES];
    char solver[NAME_BYTES]; /* "": any */
    bool is_any_rule;
    struct jdoc *results; /* NULL: there are none of this step */
    char path[FILE_PATH_BYTES_MAX];
    double full_macs, end_accuracy; /* of the results; NaN */
    struct {
        const struct jdoc *row; /* NULL: none yet */
        double lambda, accuracy, macs;
        bool is_close; /* to the final classifier */
    } best;
};

static bool is_close(double a, double b)
{
    return fabs(a - b) <= CLOSE * fabs(b);
}

static const struct exits_rule *find_rule(const char *name)
{
    for (int r = 0; r < EXITS_RULE_COUNT; r++) {
        if (strcmp(exits_rules[r].name, name) == 0) {
            return &exits_rules[r];
        }
    }
    return NULL;
}

static bool rule_score(const struct trained_network *network, const struct exits_rule *rule,
                       enum exits_score *score_out)
{
    const bool has_gates = exits_net_config_of(network->net)->gate != EXITS_GATE_NONE;

    return exits_rule_score(rule, has_gates, network->method.score, score_out);
}

static enum err refuse_rule(const char *name)
{
    char list[LIST_BYTES] = "";
    int at = 0;

    for (int r = 0; r < EXITS_RULE_COUNT && at < LIST_BYTES; r++) {
        at += snprintf(list + at, (size_t)(LIST_BYTES - at), "%s, ", exits_rules[r].name);
    }
    return ERR_FAIL(ERR_USAGE, "--rule %.40s is not known: %s" PREDICT_RULE_END " are", name, list);
}

/* "max_prob/free" in its two parts, or the rule that nobody wished for. */
static enum err read_rule(struct choice *choice)
{
    const struct predict_wish *wish = choice->wish;
    enum exits_score score;
    const bool has_gates = exits_gate_decides(exits_net_config_of(choice->network->net)->gate) &&
                           rule_score(choice->network, &exits_rules[EXITS_RULE_GATE], &score);
    const char *name = has_gates && wish->thresholds.count == 0 ? "gate" : "max_prob";

    if (wish->rule == NULL) {
        choice->is_any_rule = !isnan(wish->budget);
        snprintf(choice->rule, NAME_BYTES, "%s", name);
        snprintf(choice->solver, NAME_BYTES, "%s", has_gates ? "learned" : "");
        return ERR_OK;
    }
    const char *slash = strchr(wish->rule, '/');
    const size_t length = slash == NULL ? strlen(wish->rule) : (size_t)(slash - wish->rule);
    snprintf(choice->rule, NAME_BYTES, "%.*s", (int)(length < NAME_BYTES ? length : 0), wish->rule);
    snprintf(choice->solver, NAME_BYTES, "%s", slash == NULL ? "" : slash + 1);
    if (strcmp(choice->rule, PREDICT_RULE_END) == 0) {
        return ERR_OK;
    }
    const struct exits_rule *rule = find_rule(choice->rule);
    if (rule == NULL) {
        return refuse_rule(wish->rule);
    }
    if (!rule_score(choice->network, rule, &score)) {
        return ERR_FAIL(ERR_CONFIG, "--rule %s: %s has no gates that it could read", rule->name,
                        choice->network->folder);
    }
    return ERR_OK;
}

static enum err find_set(const struct trained_network *network, double lambda, int *set_out)
{
    const struct options_f64s *lambdas = &network->options.lambdas;
    char text[LIST_BYTES] = "";
    int at = 0;

    for (int s = 0; s < lambdas->count; s++) {
        if (is_close(lambdas->values[s], lambda)) {
            *set_out = s;
            return ERR_OK;
        }
        if (at < LIST_BYTES) {
            at += snprintf(text + at, (size_t)(LIST_BYTES - at), "%s%g", s == 0 ? "" : ", ",
                           lambdas->values[s]);
        }
    }
    return ERR_FAIL(ERR_CONFIG, "%s has no lambda %g: it has %s", network->folder, lambda, text);
}

/* Of a policy that no results choose: the lambda must be said, or be the only one. */
static enum err settle_lambda(const struct choice *choice, struct predict_policy *policy)
{
    const struct options_f64s *lambdas = &choice->network->options.lambdas;

    if (!choice->wish->has_lambda && lambdas->count > 1 &&
        strcmp(choice->rule, PREDICT_RULE_END) != 0) {
        return ERR_FAIL(ERR_CONFIG, "%s has %d lambdas: choose the exits of one with --lambda",
                        choice->network->folder, lambdas->count);
    }
    policy->lambda = choice->wish->has_lambda ? choice->wish->lambda : lambdas->values[0];
    return find_set(choice->network, policy->lambda, &policy->set);
}

static enum err use_given(const struct choice *choice, struct predict_policy *policy)
{
    const struct options_f64s *given = &choice->wish->thresholds;
    const int G = exits_net_config_of(choice->network->net)->count;
    const struct exits_rule *rule = find_rule(choice->rule);

    if (rule == NULL || rule->decision != EXITS_DECISION_THRESHOLD) {
        return ERR_FAIL(ERR_CONFIG, "--thresholds: the rule %s has none", choice->rule);
    }
    if (given->count != 1 && given->count != G) {
        return ERR_FAIL(ERR_CONFIG,
                        "--thresholds has %d values, %s has %d exits: one for all is expected, or "
                        "one an exit",
                        given->count, choice->network->folder, G);
    }
    (void)!rule_score(choice->network, rule, &policy->score);
    for (int g = 0; g < G; g++) {
        policy->thresholds[g] = given->values[given->count == 1 ? 0 : g];
    }
    snprintf(policy->name, sizeof(policy->name), "%s", choice->rule);
    return settle_lambda(choice, policy);
}

static enum err open_results(struct choice *choice)
{
    const struct trained_network *network = choice->network;

    choice->full_macs = choice->end_accuracy = NAN;
    if (choice->wish->results != NULL) {
        snprintf(choice->path, sizeof(choice->path), "%s", choice->wish->results);
        ERR_TRY(jdoc_read(choice->path, &choice->results));
    } else {
        ERR_TRY(file_path(choice->path, network->output_dir, "results.json"));
        const enum err status = jdoc_read(choice->path, &choice->results);
        if (status != ERR_OK && status != ERR_MISSING) {
            return status;
        }
        err_clear();
        const struct jdoc *step = jdoc_get(choice->results, "step");
        if (!jdoc_is_int(step) || jdoc_as_int(step) != network->step) { /* of another checkpoint */
            jdoc_close(choice->results);
            choice->results = NULL;
        }
    }
    const struct jdoc *full = jdoc_get(choice->results, "full_macs");
    const struct jdoc *end =
        jdoc_get(jdoc_get(choice->results, "evaluation"), "validation_accuracy");
    choice->full_macs = jdoc_is_number(full) ? jdoc_as_real(full) : (double)NAN;
    choice->end_accuracy = jdoc_is_number(end) ? jdoc_as_real(end) : (double)NAN;
    return ERR_OK;
}

static bool is_text(const struct jdoc *row, const char *key, const char *wanted)
{
    const char *text = jdoc_as_text(jdoc_get(row, key));

    return text != NULL && strcmp(text, wanted) == 0;
}

/* Whether a row is of what was wished for, but for its budget. */
static bool is_candidate(const struct choice *choice, const struct jdoc *row)
{
    const double risk = choice->wish->risk;
    const struct jdoc *promised = jdoc_get(row, "risk");
    const char *name = jdoc_as_text(jdoc_get(row, "rule"));
    const struct exits_rule *rule = name == NULL ? NULL : find_rule(name);
    enum exits_score score;

    if (rule == NULL || !rule_score(choice->network, rule, &score) ||
        !jdoc_is_array(jdoc_get(row, "thresholds")) || is_text(row, "budget_unit", "ms")) {
        return false;
    }
    if (jdoc_is_number(promised) != !isnan(risk) ||
        (!isnan(risk) && !is_close(jdoc_as_real(promised), risk))) {
        return false;
    }
    if (choice->is_any_rule) { /* a window is for who asks for it */
        return rule->decision == EXITS_DECISION_THRESHOLD;
    }
    return strcmp(name, choice->rule) == 0 &&
           (choice->solver[0] == '\0' || is_text(row, "solver", choice->solver));
}

/* Whether a policy is to be preferred to the best one so far. */
static bool is_better(const struct choice *choice, double accuracy, double macs, bool near)
{
    const bool has_budget = !isnan(choice->wish->budget);
    const bool has_risk = !isnan(choice->wish->risk);

    if (choice->best.row == NULL) {
        return true;
    }
    if (has_risk || (!has_budget && near && choice->best.is_close)) {
        return macs < choice->best.macs;
    }
    if (!has_budget && near != choice->best.is_close) {
        return near;
    }
    return accuracy > choice->best.accuracy ||
           (accuracy >= choice->best.accuracy && macs < choice->best.macs);
}

static void consider(struct choice *choice, double lambda, const struct jdoc *row)
{
    const struct jdoc *validation = jdoc_get(row, "validation");
    const struct jdoc *accuracy = jdoc_get(validation, "accuracy");
    const struct jdoc *macs = jdoc_get(validation, "mean_macs");

    if (!is_candidate(choice, row) || !jdoc_is_number(accuracy) || !jdoc_is_number(macs)) {
        return;
    }
    const double value = jdoc_as_real(accuracy), cost = jdoc_as_real(macs);
    const double budget = choice->wish->budget * choice->full_macs;
    if (!isnan(choice->wish->budget) && !(cost <= budget * (1 + CLOSE))) {
        return;
    }
    const bool near = value >= choice->end_accuracy - LOSS_MAX; /* false of NaN */
    if (is_better(choice, value, cost, near)) {
        choice->best.row = row;
        choice->best.lambda = lambda;
        choice->best.accuracy = value;
        choice->best.macs = cost;
        choice->best.is_close = near;
    }
}

static void consider_all(struct choice *choice)
{
    const struct jdoc *lambdas = jdoc_get(choice->results, "lambdas");

    for (size_t i = 0; i < jdoc_count(lambdas); i++) {
        const struct jdoc *entry = jdoc_at(lambdas, i);
        const struct jdoc *policies = jdoc_get(entry, "policies");
        const struct jdoc *lambda = jdoc_get(entry, "lambda");
        if (!jdoc_is_number(lambda) ||
            (choice->wish->has_lambda && !is_close(jdoc_as_real(lambda), choice->wish->lambda))) {
            continue;
        }
        for (size_t p = 0; p < jdoc_count(policies); p++) {
            consider(choice, jdoc_as_real(lambda), jdoc_at(policies, p));
        }
    }
}

/* The best row as a policy. */
static enum err use_row(const struct choice *choice, struct predict_policy *policy)
{
    const struct jdoc *row = choice->best.row;
    const struct jdoc *thresholds = jdoc_get(row, "thresholds"), *lows = jdoc_get(row, "lows");
    const int G = exits_net_config_of(choice->network->net)->count;
    const char *name = jdoc_as_text(jdoc_get(row, "policy"));

    if (jdoc_count(thresholds) != (size_t)G || (lows != NULL && jdoc_count(lows) != (size_t)G)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: policy %.40s has %zu thresholds, %s has %d exits",
                        choice->path, name == NULL ? "" : name, jdoc_count(thresholds),
                        choice->network->folder, G);
    }
    snprintf(policy->name, sizeof(policy->name), "%s", name == NULL ? "" : name);
    policy->lambda = choice->best.lambda;
    (void)!rule_score(choice->network, find_rule(jdoc_as_text(jdoc_get(row, "rule"))),
                      &policy->score);
    for (int g = 0; g < G; g++) { /* null: nobody */
        const struct jdoc *high = jdoc_at(thresholds, (size_t)g);
        const struct jdoc *low = lows == NULL ? NULL : jdoc_at(lows, (size_t)g);
        policy->thresholds[g] = jdoc_is_number(high) ? jdoc_as_real(high) : (double)INFINITY;
        policy->lows[g] = jdoc_is_number(low) ? jdoc_as_real(low) : -(double)INFINITY;
    }
    return find_set(choice->network, policy->lambda, &policy->set);
}

/* No row will do. */
static enum err refuse(const struct choice *choice)
{
    const struct predict_wish *wish = choice->wish;
    const char *rule = choice->is_any_rule ? "any rule" : choice->rule;

    if (choice->results == NULL) {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no results of step %lld there: give --results FILE of `offramp eval "
                        "%s --json FILE`, or --thresholds",
                        choice->path, (long long)choice->network->step,
                        choice->network->output_dir);
    }
    if (!isnan(wish->budget)) {
        return ERR_FAIL(ERR_CONFIG, "%s: no policy of %s costs at most %g of the full network",
                        choice->path, rule, wish->budget);
    }
    return ERR_FAIL(ERR_CONFIG, "%s: no policy of %s%s%s%s", choice->path, rule,
                    choice->solver[0] == '\0' ? "" : "/", choice->solver,
                    isnan(wish->risk) ? "; rules with a promise need --risk"
                                      : " was solved for that risk");
}

/* Gates as they were trained, where no evaluation knows better. */
static bool use_definition(const struct choice *choice, struct predict_policy *policy)
{
    double threshold = 0;

    if (choice->results != NULL || choice->is_any_rule || !isnan(choice->wish->risk) ||
        !isnan(choice->wish->budget) || strcmp(choice->rule, "gate") != 0 ||
        (choice->solver[0] != '\0' && strcmp(choice->solver, "learned") != 0) ||
        !exits_score_threshold(choice->network->method.score, &threshold)) {
        return false;
    }
    policy->score = choice->network->method.score;
    for (int g = 0; g < exits_net_config_of(choice->network->net)->count; g++) {
        policy->thresholds[g] = threshold;
    }
    snprintf(policy->name, sizeof(policy->name), "gate/learned");
    return true;
}

static enum err use_results(struct choice *choice, struct predict_policy *policy)
{
    ERR_TRY(open_results(choice));
    if (choice->wish->has_lambda) { /* before a search that would find nothing */
        ERR_TRY(find_set(choice->network, choice->wish->lambda, &policy->set));
    }
    if (use_definition(choice, policy)) {
        return settle_lambda(choice, policy);
    }
    consider_all(choice);
    return choice->best.row == NULL ? refuse(choice) : use_row(choice, policy);
}

enum err predict_policy_choose(const struct trained_network *network,
                               const struct predict_wish *wish, struct predict_policy *policy_out)
{
    struct choice choice = {.network = network, .wish = wish};
    struct predict_policy policy = {.score = EXITS_SCORE_MAX_PROB};
    enum err status = ERR_OK;

    for (int g = 0; g < MODEL_LAYERS_MAX; g++) {
        policy.thresholds[g] = (double)INFINITY;
        policy.lows[g] = -(double)INFINITY;
    }
    ERR_TRY(read_rule(&choice));
    if (strcmp(choice.rule, PREDICT_RULE_END) == 0) {
        snprintf(policy.name, sizeof(policy.name), PREDICT_RULE_END);
        status = settle_lambda(&choice, &policy);
    } else {
        status = wish->thresholds.count > 0 ? use_given(&choice, &policy)
                                            : use_results(&choice, &policy);
    }
    jdoc_close(choice.results);
    ERR_TRY(status);
    if (network->cap >= 0) { /* behind it there is no layer */
        policy.thresholds[network->cap] = -(double)INFINITY;
    }
    *policy_out = policy;
    return ERR_OK;
}

struct exits_policy predict_policy_of(const struct trained_network *network,
                                      const struct predict_policy *policy)
{
    return (struct exits_policy){.set = policy->set,
                                 .score = policy->score,
                                 .form = (enum exits_form)network->options.exit_form,
                                 .thresholds = policy->thresholds,
                                 .lows = policy->lows};
}
