#include "exits/exits_ensemble.h"

void exits_ensemble_forward_cpu(const struct exits_ensemble *ensemble)
{
    for (int64_t i = 0; i < ensemble->n; i++) {
        exits_ensemble_sample(ensemble, i);
    }
}

void exits_ensemble_backward_cpu(const struct exits_ensemble *ensemble)
{
    for (int64_t which = 0; which < ensemble->members + ensemble->K; which++) {
        exits_ensemble_slope(ensemble, which);
    }
}
