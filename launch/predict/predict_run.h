/*
 * launch/predict/predict_run.h - predictions of all inputs, in their order: batches that shrink where samples
 * leave early (exits_infer.h), a line a sample, and what it all came to.
 *
 * What is said of a sample does not depend on the batch that it shares (model_input.h).
 *
 * Threads: one.
 */
#ifndef LAUNCH_PREDICT_PREDICT_RUN_H
#define LAUNCH_PREDICT_PREDICT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "launch/predict/predict_input.h"
#include "launch/predict/predict_output.h"
#include "launch/predict/predict_policy.h"
#include "launch/trained_network.h"

struct predict_request {
    const struct trained_network *network;
    const struct predict_policy *policy;
    struct predict_input *input;
    struct predict_output *output;
    int64_t batch;
    bool tells_probabilities; /* of all classes */
};

struct predict_tally {
    int64_t n;
    int64_t left[MODEL_LAYERS_MAX + 1]; /* [G + 1], samples that left there */
    int64_t labelled, correct;
    double macs, full_macs; /* of all samples; of the network without exits */
    double seconds;         /* with reading and writing */
};

/* Errors: those of inputs, outputs and exits_infer_run(). */
ERR_MUST_CHECK enum err predict_run(const struct predict_request *request,
                                    struct predict_tally *tally_out);

/*
 * Multiply-adds of leaving at each exit, macs_out [G + 1], for a sample of so many tokens (of images as many as they
 * have), and of the network without exits. Gates count where the policy reads them.
 */
void predict_costs(const struct trained_network *network, const struct predict_policy *policy,
                   int64_t tokens, int64_t macs_out[], int64_t *full_out);

#endif
