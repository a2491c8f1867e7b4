#include "exits/exits_focal.h"

#include <assert.h>

static double weight_of(int64_t count, double beta)
{
    return count == 0 ? 0 : (1 - beta) / (1 - pow(beta, (double)count));
}

void exits_focal_class_weights(const int64_t counts[], int64_t K, double beta, float weights_out[])
{
    double sum = 0;

    assert(beta >= 0 && beta < 1);
    for (int64_t k = 0; k < K; k++) {
        sum += weight_of(counts[k], beta);
    }
    for (int64_t k = 0; k < K; k++) {
        weights_out[k] = (float)((double)K * weight_of(counts[k], beta) / sum);
    }
}
