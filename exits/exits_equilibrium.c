#include "exits/exits_equilibrium.h"

double exits_equilibrium_share(const int64_t layers[], int G, int64_t layer)
{
    int behind = 1; /* the end */

    for (int g = 0; g < G; g++) {
        behind += layers[g] >= layer;
    }
    return 1.0 / behind;
}

void exits_equilibrium_apply(const struct kern_ops *ops, const int64_t layers[], int G,
                             const struct param_list *params, float *gradients)
{
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        const int64_t layer =
            param->part - 1; /* parts: what is before, the layers, what is behind */
        float *values = gradients + param->offset;

        ops->add_rows(values, param->count, values, param->count,
                      (float)(exits_equilibrium_share(layers, G, layer) - 1), 1, param->count);
    }
}
