#include "exits/exits_probability.h"

#include <assert.h>
#include <math.h>

float exits_sigmoid(float a)
{
    const double small = exp(-fabs((double)a));

    return (float)(a >= 0 ? 1 / (1 + small) : small / (1 + small));
}

void exits_probability(enum exits_form form, const float gates[], int G, float probabilities_out[])
{
    float left = 1; /* the mass that has not left yet */

    assert(G >= 0);
    for (int l = 0; l < G; l++) {
        const float g = exits_sigmoid(gates[l]);
        if (form == EXITS_HAZARD) {
            probabilities_out[l] = g * left;
            left *= exits_sigmoid(-gates[l]); /* 1 - g would lose the digits of a g near 1 */
        } else {
            probabilities_out[l] = fminf(g, left);
            left -= probabilities_out[l];
        }
    }
    probabilities_out[G] = left;
}

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

int exits_hard_exit(enum exits_form form, const float gates[], int G)
{
    float left = 1;

    for (int l = 0; l < G; l++) {
        if (form == EXITS_HAZARD) {
            /* On the logit: g rounds to 1/2 already for logits a little below 0. */
            if (gates[l] >= 0) {
                return l;
            }
        } else {
            const float g = exits_sigmoid(gates[l]);
            if (g >= left / 2) {
                return l;
            }
            left -= g;
        }
    }
    return G;
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
