#include "exits/exits_weight.h"

#include <assert.h>
#include <math.h>

void exits_weight_linear(int count, float weights_out[])
{
    const double sum = 0.5 * count * (count + 1.0);

    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)((l + 1) / sum);
    }
}

void exits_weight_depth(int count, float weights_out[])
{
    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)((l + 1) / (count * (count + 1.0)));
    }
}

void exits_weight_descending(int count, float weights_out[])
{
    for (int l = 0; l < count; l++) {
        weights_out[l] = (float)(count - l);
    }
}

void exits_weight_ramp(const float peaks[], int count, double epoch, double epoch_count,
                       float weights_out[])
{
    const double start = 0.01;

    assert(epoch >= 0 && epoch_count > 0);
    for (int l = 0; l < count; l++) {
        const double peak = (double)peaks[l];
        weights_out[l] = (float)fmin(peak, start + peak * epoch / epoch_count);
    }
}

double exits_weighted_loss(const float weights[], const float loss[], int count)
{
    double sum = 0;

    for (int l = 0; l < count; l++) {
        sum += (double)weights[l] * (double)loss[l];
    }
    return sum;
}
