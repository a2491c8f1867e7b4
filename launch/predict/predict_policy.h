/*
 * launch/predict/predict_policy.h - which samples leave where: the exit rule and its thresholds, out of what was
 * wished for and what an evaluation solved on the validation samples.
 *
 *      thresholds are given   those, on the score of the rule (max_prob)
 *      a budget is given      of all policies (or the rule's) whose mean multiply-adds on the validation samples keep it, the most accurate there
 *      a risk is given        the rule's policy with that promise
 *      neither                the rule's (gate; of networks without gates max_prob) cheapest policy that loses at most 0.3
 *                             points against the final classifier on the validation samples, or else the most accurate
 *      rule "end"             nobody leaves early
 *
 * Policies are those of results.json in the output_dir of the run, if that is of the checkpoint's step, or of another
 * file. Without one, gates that have a threshold by definition (exits_score_threshold()) have it.
 *
 * Threads: any.
 */
#ifndef LAUNCH_PREDICT_PREDICT_POLICY_H
#define LAUNCH_PREDICT_PREDICT_POLICY_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "exits/exits_infer.h"
#include "launch/trained_network.h"

/* The rule of who goes to the end. */
#define PREDICT_RULE_END "end"

struct predict_wish {
    bool has_lambda;
    double lambda;
    const char *rule; /* "max_prob", or with its solver "max_prob/free"; NULL: none is wished for */
    double budget;    /* share of the full network's multiply-adds; NaN: none */
    double risk;      /* NaN: none */
    struct options_f64s thresholds; /* one for all exits, or one an exit; count 0: none */
    const char *results; /* a file of `offramp eval --json`; NULL: the run's results.json */
};

struct predict_policy {
    char name[64]; /* "gate/learned" */
    double lambda; /* of the heads and gates */
    int set;
    enum exits_score score;
    double thresholds[MODEL_LAYERS_MAX]; /* [G], at the cap -inf */
    double lows[MODEL_LAYERS_MAX];
};

/*
 * Errors: ERR_USAGE for a rule that is not known; ERR_CONFIG where the network has no such lambda or gates, or
 * nothing keeps the budget; ERR_MISSING without results that are needed; ERR_CORRUPT for results of other exits.
 */
ERR_MUST_CHECK enum err predict_policy_choose(const struct trained_network *network,
                                              const struct predict_wish *wish,
                                              struct predict_policy *policy_out);

/* For exits_infer_run(); lends `policy`. */
struct exits_policy predict_policy_of(const struct trained_network *network,
                                      const struct predict_policy *policy);

#endif
