#include "exits/exits_target.h"

#include <assert.h>
#include <math.h>

float exits_balance_weight(double open, double sample_count)
{
    assert(open >= 0 && open <= sample_count);
    if (sample_count == 0) {
        return 1;
    }
    const double ratio = (sample_count - open) / fmax(open, 0.1);
    return (float)fmin(fmax(ratio, EXITS_BALANCE_MIN), EXITS_BALANCE_MAX);
}
