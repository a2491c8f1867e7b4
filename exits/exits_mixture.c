#include "exits/exits_mixture.h"

#include <math.h>

void exits_mixture(const float confidence[], const float answers[], int G, int64_t K,
                   float mixed_out[])
{
    for (int64_t k = 0; k < K; k++) {
        double mixed = (double)answers[G * K + k];
        for (int l = G - 1; l >= 0; l--) {
            const double conf = (double)confidence[l];
            mixed = conf * (double)answers[l * K + k] + (1 - conf) * mixed;
        }
        mixed_out[k] = (float)mixed;
    }
}

double exits_mixture_cost(const float confidence[], const double costs[], int G)
{
    double mixed = costs[G];

    for (int l = G - 1; l >= 0; l--) {
        mixed = (double)confidence[l] * costs[l] + (1 - (double)confidence[l]) * mixed;
    }
    return mixed;
}

double exits_mixture_loss(const float mixed[], int32_t label, double cost, double lambda)
{
    return -log((double)mixed[label]) + lambda * cost;
}
