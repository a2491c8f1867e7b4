#include "exits/exits_tally.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static void count(const struct exits_outcomes *outcomes, struct exits_tally *tally)
{
    const int64_t n = outcomes->n;
    const int G = outcomes->G;
    int64_t right = 0;
    double loss = 0, cost = 0;

    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i * (G + 1);
        const int exit = outcomes->chosen[i];
        for (int l = 0; l <= G; l++) {
            tally->exits[l].correct += outcomes->correct[row + l] != 0;
        }
        tally->exits[exit].left++;
        tally->exits[exit].left_correct += outcomes->correct[row + exit] != 0;
        loss += (double)outcomes->loss[row + exit];
    }
    for (int l = 0; l <= G; l++) {
        right += tally->exits[l].left_correct;
        cost += (double)tally->exits[l].left * outcomes->costs[l];
    }
    tally->n = n;
    tally->accuracy = (double)right / (double)n;
    tally->mean_cost = cost / (double)n;
    tally->mean_loss = loss / (double)n;
    tally->mean_objective = tally->mean_loss + outcomes->lambda * tally->mean_cost;
}

static enum err calibrate(const struct exits_outcomes *outcomes, struct exits_tally *tally)
{
    const int64_t n = outcomes->n;
    float *confidence = calloc((size_t)n, sizeof(*confidence));
    uint8_t *correct = calloc((size_t)n, sizeof(*correct));
    enum err status;

    if (confidence == NULL || correct == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "the outcomes of %" PRId64 " samples", n);
    } else {
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = i * (outcomes->G + 1) + outcomes->chosen[i];
            confidence[i] = outcomes->confidence[at];
            correct[i] = outcomes->correct[at];
        }
        status =
            exits_calibration_bins(confidence, correct, n, tally->bins, &tally->calibration_error);
    }
    free(correct);
    free(confidence);
    return status;
}

enum err exits_tally(const struct exits_outcomes *outcomes, struct exits_tally *tally_out)
{
    struct exits_tally tally = {0};

    assert(outcomes->G >= 0 && outcomes->G <= MODEL_LAYERS_MAX);
    if (outcomes->n < 1) {
        return ERR_FAIL(ERR_INVALID, "%" PRId64 " samples to count, at least 1 is needed",
                        outcomes->n);
    }
    for (int64_t i = 0; i < outcomes->n; i++) {
        if (outcomes->chosen[i] < 0 || outcomes->chosen[i] > outcomes->G) {
            return ERR_FAIL(ERR_INVALID,
                            "sample %" PRId64 " leaves at exit %" PRId32 ", 0 to %d are possible",
                            i, outcomes->chosen[i], outcomes->G);
        }
    }
    ERR_TRY(calibrate(outcomes, &tally));
    count(outcomes, &tally);
    *tally_out = tally;
    return ERR_OK;
}
