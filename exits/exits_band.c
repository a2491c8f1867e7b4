#include "exits/exits_band.h"

#include <math.h>

/* Of x misses in m, as the ratio of two neighbours. */
struct law {
    int64_t m;
    double p;    /* of the binomial, or */
    double a, b; /* >= 1, of the beta-binomial */
};

/* Of the mass at the mode: beyond it all is nothing. */
static const double NOTHING = 1e-20;

/* Mass at x + 1 over mass at x, for 0 <= x < m. */
static double ratio(const struct law *law, int64_t x)
{
    const double more = (double)(law->m - x) / (double)(x + 1);

    if (law->a > 0) {
        return more * ((double)x + law->a) / ((double)(law->m - x - 1) + law->b);
    }
    return more * law->p / (1 - law->p);
}

/* The first x from which the mass does not grow; ratios fall with x where there is a mode inside. */
static int64_t mode_of(const struct law *law)
{
    int64_t low = 0, high = law->m;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (ratio(law, middle) > 1) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Where the mass begins and ends, and all of it, in units of that at `mode`. */
static double extent(const struct law *law, int64_t mode, int64_t *first_out,
                     double *first_mass_out, int64_t *last_out, double *last_mass_out)
{
    double sum = 1, mass = 1;
    int64_t x = mode;

    for (; x > 0 && mass > NOTHING; x--) {
        mass /= ratio(law, x - 1);
        sum += mass;
    }
    *first_out = x;
    *first_mass_out = mass;
    mass = 1;
    for (x = mode; x < law->m && mass > NOTHING; x++) {
        mass *= ratio(law, x);
        sum += mass;
    }
    *last_out = x;
    *last_mass_out = mass;
    return sum;
}

/* From both ends inwards, as long as the tail outside is small enough. */
static struct exits_band band_of(const struct law *law, double level)
{
    struct exits_band band;
    double low_mass, high_mass;
    const double all = extent(law, mode_of(law), &band.low, &low_mass, &band.high, &high_mass);
    const double tail = all * (1 - level) / 2;
    double below = low_mass, above = high_mass;

    while (band.low < law->m && below <= tail) {
        low_mass *= ratio(law, band.low++);
        below += low_mass;
    }
    while (band.high > band.low && above <= tail) {
        high_mass /= ratio(law, --band.high);
        above += high_mass;
    }
    return band;
}

struct exits_band exits_band_binomial(int64_t m, double p, double level)
{
    if (p <= 0 || p >= 1) {
        const int64_t certain = p <= 0 ? 0 : m;
        return (struct exits_band){certain, certain};
    }
    return band_of(&(struct law){.m = m, .p = p}, level);
}

struct exits_band exits_band_beta_binomial(int64_t m, double a, double b, double level)
{
    return band_of(&(struct law){.m = m, .a = a, .b = b}, level);
}
