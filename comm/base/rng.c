#include "comm/base/rng.h"

#include <math.h>

/* The constants and the ten rounds of the paper, section 2.2 and table 2. */
static const uint32_t MULTIPLIER_0 = 0xD2511F53u;
static const uint32_t MULTIPLIER_1 = 0xCD9E8D57u;
static const uint32_t WEYL_0 = 0x9E3779B9u;
static const uint32_t WEYL_1 = 0xBB67AE85u;

enum { ROUNDS = 10 };

void rng_words(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub, uint32_t words_out[4])
{
    uint32_t c0 = (uint32_t)index;
    uint32_t c1 = (uint32_t)(index >> 32);
    uint32_t c2 = sub;
    uint32_t c3 = (uint32_t)use;
    uint32_t k0 = (uint32_t)seed;
    uint32_t k1 = (uint32_t)(seed >> 32);

    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        const uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    words_out[0] = c0;
    words_out[1] = c1;
    words_out[2] = c2;
    words_out[3] = c3;
}

static uint64_t join(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

/* The top 53 bits as a fraction. */
static double to_unit(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

uint64_t rng_u64(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub)
{
    uint32_t words[4];

    rng_words(seed, use, index, sub, words);
    return join(words[0], words[1]);
}

double rng_uniform(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub)
{
    return to_unit(rng_u64(seed, use, index, sub));
}

double rng_normal(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub)
{
    static const double two_pi = 6.283185307179586;
    uint32_t words[4];

    rng_words(seed, use, index, sub, words);
    const double radius = sqrt(-2.0 * log(1.0 - to_unit(join(words[0], words[1]))));
    return radius * cos(two_pi * to_unit(join(words[2], words[3])));
}
