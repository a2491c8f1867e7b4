#include "exits/exits_gate_loss.h"

#include <math.h>
#include <stddef.h>

double exits_gate_loss(const float gates[], const float targets[], const float weights[], int G,
                       float dgates_out[])
{
    double sum = 0;

    for (int l = 0; l < G; l++) {
        const double a = (double)gates[l];
        const double closed = 1 - (double)targets[l];
        const double open = (double)targets[l] * (weights == NULL ? 1 : (double)weights[l]);
        const double small = exp(-fabs(a)); /* 0 .. 1: nothing below can overflow */
        const double tail = log1p(small);
        const double near_1 = 1 / (1 + small), near_0 = small / (1 + small);

        sum += closed * (fmax(a, 0) + tail) + open * (fmax(-a, 0) + tail);
        dgates_out[l] =
            (float)(a >= 0 ? closed * near_1 - open * near_0 : closed * near_0 - open * near_1);
    }
    return sum;
}
