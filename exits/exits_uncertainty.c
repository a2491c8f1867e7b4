#include "exits/exits_uncertainty.h"

#include <math.h>

#include "exits/exits_probability.h"

void exits_uncertainty_targets(const float loss[], int G, float targets_out[])
{
    for (int l = 0; l < G; l++) {
        targets_out[l] = (float)-expm1(-(double)loss[l]);
    }
}

double exits_uncertainty_loss(const float gates[], const float targets[], int G, float dgates_out[])
{
    double sum = 0;

    for (int l = 0; l < G; l++) {
        const double u = (double)exits_sigmoid(gates[l]);
        const double certainty = (double)exits_sigmoid(-gates[l]);
        const double excess = u - (double)targets[l];

        sum += excess * excess;
        dgates_out[l] = (float)(2 * excess * u * certainty);
    }
    return sum;
}
