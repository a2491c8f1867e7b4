#include "trainer/step/layer_dropout.h"

#include <assert.h>
#include <math.h>

#include "comm/base/rng.h"

double layer_dropout_rate(double highest, int64_t layer, int64_t layer_count)
{
    return layer_count < 2 ? 0 : highest * (exp2((double)layer / (double)(layer_count - 1)) - 1);
}

void layer_dropout_draw(uint64_t seed, uint64_t micro, double highest, int64_t layer_count,
                        bool skips_out[])
{
    assert(highest >= 0 && highest < 1);
    for (int64_t l = 0; l < layer_count; l++) {
        skips_out[l] = rng_uniform(seed, RNG_LAYER_DROPOUT, micro, (uint32_t)l) <
                       layer_dropout_rate(highest, l, layer_count);
    }
}
