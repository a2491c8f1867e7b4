#include "exits/exits_probability.h"

#include <math.h>

void exits_hazards(enum exits_form form, const float gates[], int G, float hazards_out[])
{
    float left = 1;

    for (int l = 0; l < G; l++) {
        const float g = exits_sigmoid(gates[l]);
        if (form == EXITS_HAZARD) {
            hazards_out[l] = g;
        } else {
            hazards_out[l] = g >= left ? 1 : g / left;
            left -= fminf(g, left);
        }
    }
}

struct exits_expectation exits_expect(const float probabilities[], const float loss[],
                                      const double costs[], double lambda, int G)
{
    struct exits_expectation expectation = {0};

    for (int l = 0; l <= G; l++) {
        expectation.loss += (double)probabilities[l] * (double)loss[l];
        expectation.cost += (double)probabilities[l] * costs[l];
    }
    expectation.objective = expectation.loss + lambda * expectation.cost;
    return expectation;
}
