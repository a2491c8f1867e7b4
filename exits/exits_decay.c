#define _XOPEN_SOURCE 700 /* M_PI */
#include "exits/exits_decay.h"

#include <math.h>

double exits_decay_threshold(const struct exits_decay *decay, double progress)
{
    const double p = fmin(1, fmax(0, progress));
    const double from = decay->from, to = decay->to;

    switch (decay->kind) {
    case EXITS_DECAY_LINEAR: return from + (to - from) * p;
    case EXITS_DECAY_COSINE: return to + (from - to) * (1 + cos(M_PI * p)) / 2;
    case EXITS_DECAY_EXPONENTIAL: return to + (from - to) * exp(-decay->rate * p);
    case EXITS_DECAY_STEPS: break;
    }
    if (3 * p < 1) {
        return from;
    }
    return 3 * p < 2 ? (from + to) / 2 : to;
}
