#include "exits/exits_target.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

void exits_objectives(const float loss[], const double costs[], double lambda, int G,
                      double objectives_out[])
{
    assert(lambda >= 0);
    for (int l = 0; l <= G; l++) {
        objectives_out[l] = (double)loss[l] + lambda * costs[l];
    }
}

int exits_best(const double objectives[], int G)
{
    int best = 0;

    for (int l = 1; l <= G; l++) {
        if (objectives[l] < objectives[best]) {
            best = l;
        }
    }
    return best;
}

void exits_targets(enum exits_target_kind kind, const double objectives[], int G,
                   float targets_out[])
{
    const int best = exits_best(objectives, G);
    double later = objectives[G]; /* the cheapest exit behind l */

    for (int l = G - 1; l >= 0; l--) {
        const bool open = kind == EXITS_CUMULATIVE ? l >= best : objectives[l] <= later;
        targets_out[l] = open ? 1 : 0;
        later = fmin(later, objectives[l]);
    }
}

float exits_balance_weight(double open, double sample_count)
{
    assert(open >= 0 && open <= sample_count);
    if (sample_count == 0) {
        return 1;
    }
    const double ratio = (sample_count - open) / fmax(open, 0.1);
    return (float)fmin(fmax(ratio, EXITS_BALANCE_MIN), EXITS_BALANCE_MAX);
}
