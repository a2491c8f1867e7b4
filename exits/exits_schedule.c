#include "exits/exits_schedule.h"

#include <math.h>

#include "exits/exits_weight.h"

double exits_scale_of(enum exits_scale scale, double s, int64_t layer, int64_t layer_count)
{
    const bool is_last = layer == layer_count - 1;
    const double l = (double)layer, before = l - 1;
    const double share = is_last ? 1 : s;

    switch (scale) {
    case EXITS_SCALE_PAPER: return is_last ? l + s * before * l / 2 : s * l * (l + 1) / 2;
    case EXITS_SCALE_UNIFORM: return share;
    case EXITS_SCALE_LINEAR: return share * (l + 1);
    case EXITS_SCALE_SUM: return share * (l + 1) * (l + 2) / 2;
    case EXITS_SCALE_SQRT: return share * sqrt(l + 1);
    case EXITS_SCALE_INVERSE: return share / (l + 1);
    case EXITS_SCALE_INVERSE_SQRT: break;
    }
    return share / sqrt(l + 1);
}

bool exits_curriculum_has(const struct exits_schedule *schedule, int g, struct exits_moment at)
{
    const double L = (double)schedule->layer_count;

    if (g == schedule->G || schedule->curriculum == EXITS_CURRICULUM_NONE) {
        return true;
    }
    if (schedule->curriculum == EXITS_CURRICULUM_ROTATIONAL) {
        return g % schedule->rotation == at.step % schedule->rotation;
    }
    return (double)at.step / (double)at.step_count >= 0.5 * (L - (double)schedule->layers[g]) / L;
}

double exits_ramp_at(enum exits_ramp ramp, int64_t step, int64_t ramp_steps)
{
    static const double pi = 3.14159265358979323846;
    const double part = (double)step / (double)ramp_steps;

    if (ramp == EXITS_RAMP_CONSTANT || part >= 1) {
        return 1;
    }
    return ramp == EXITS_RAMP_LINEAR ? part : (1 - cos(pi * part)) / 2;
}

static void scale_weights(const struct exits_schedule *schedule, struct exits_moment at,
                          float weights_out[])
{
    double sum = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (int g = 0; g <= schedule->G; g++) {
            const int64_t layer =
                g == schedule->G ? schedule->layer_count - 1 : schedule->layers[g];
            const double e = exits_curriculum_has(schedule, g, at)
                                 ? exits_scale_of(schedule->scale, schedule->scale_share, layer,
                                                  schedule->layer_count)
                                 : 0;
            if (pass == 0) {
                sum += e;
            } else {
                weights_out[g] = (float)(e / sum);
            }
        }
    }
}

static void warm_weights(const struct exits_schedule *schedule, struct exits_moment at,
                         float weights_out[])
{
    const double ramp = exits_ramp_at(schedule->ramp, at.step, schedule->ramp_steps);

    for (int g = 0; g < schedule->G; g++) {
        weights_out[g] = (float)((double)schedule->peaks[g] * ramp);
    }
    weights_out[schedule->G] = 1;
}

void exits_schedule_weights(const struct exits_schedule *schedule, struct exits_moment at,
                            float weights_out[])
{
    const int G = schedule->G;

    switch (schedule->weigh) {
    case EXITS_WEIGH_EQUAL:
    case EXITS_WEIGH_PROBABILITY:
    case EXITS_WEIGH_CERTAINTY:
    case EXITS_WEIGH_SHARE:
    case EXITS_WEIGH_FOCAL: break;
    case EXITS_WEIGH_LINEAR: exits_weight_linear(G + 1, weights_out); break;
    case EXITS_WEIGH_DEPTH: exits_weight_depth(G + 1, weights_out); break;
    case EXITS_WEIGH_DESCENDING: exits_weight_descending(G + 1, weights_out); break;
    case EXITS_WEIGH_RAMP:
        exits_weight_ramp(schedule->peaks, G, (double)at.step, (double)at.step_count, weights_out);
        weights_out[G] = 1;
        break;
    case EXITS_WEIGH_SCALE: scale_weights(schedule, at, weights_out); break;
    case EXITS_WEIGH_WARM: warm_weights(schedule, at, weights_out); break;
    case EXITS_WEIGH_ALTERNATE:
        for (int g = 0; g <= G; g++) {
            weights_out[g] = g == G || at.step % 2 == 1 ? 1 : 0;
        }
        break;
    }
}
