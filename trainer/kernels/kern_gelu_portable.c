#include "trainer/kernels/kern_gelu.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

static const double TWICE_SQRT_2_OVER_PI = 1.5957691216057308;
static const double CUBIC = 0.044715;
static const double ONE_OVER_SQRT_2 = 0.70710678118654752;
static const double ONE_OVER_SQRT_2_PI = 0.39894228040143268;

/* Beyond it the two forms are 0 or x to the last bit, and infinity times 0 is kept out. */
static const double BOUND = 40.0;

/* NaN compares false and stays. */
static double not_below(double x, double least)
{
    return x < least ? least : x;
}

static double not_above(double x, double most)
{
    return x > most ? most : x;
}

static double gelu(double x, enum kern_gelu form)
{
    x = not_below(x, -BOUND);
    if (form == KERN_GELU_ERF) {
        return 0.5 * x * erfc(-x * ONE_OVER_SQRT_2);
    }
    const double twice_u = TWICE_SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
    return x / (1.0 + exp(-twice_u));
}

static double gelu_slope(double x, enum kern_gelu form)
{
    x = not_above(not_below(x, -BOUND), BOUND);
    if (form == KERN_GELU_ERF) {
        return 0.5 * erfc(-x * ONE_OVER_SQRT_2) + x * ONE_OVER_SQRT_2_PI * exp(-0.5 * x * x);
    }
    const double twice_u = TWICE_SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
    const double sigmoid = 1.0 / (1.0 + exp(-twice_u));
    const double sigmoid_of_minus = 1.0 / (1.0 + exp(twice_u));
    const double twice_u_slope = TWICE_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    return sigmoid + x * sigmoid * sigmoid_of_minus * twice_u_slope;
}

void kern_gelu_portable(float *y, float *slope, const float *x, int64_t count, enum kern_gelu form)
{
    assert(form != KERN_GELU_NONE);
    for (int64_t i = 0; i < count; i++) {
        const double value = (double)x[i];
        y[i] = (float)gelu(value, form);
        if (slope != NULL) {
            slope[i] = (float)gelu_slope(value, form);
        }
    }
}
