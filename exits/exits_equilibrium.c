#include "exits/exits_equilibrium.h"

double exits_equilibrium_share(const int64_t layers[], int G, int64_t layer)
{
    int behind = 1; /* the end */

    for (int g = 0; g < G; g++) {
        behind += layers[g] >= layer;
    }
    return 1.0 / behind;
}
