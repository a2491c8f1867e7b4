/*
 * trainer/kernels/kern_bf16.h - bfloat16 as storage: the upper half of a float32.
 *
 * Eight bits of exponent, eight of precision (one of them implied). Arrays hold the bits as
 * uint16_t; arithmetic is in float. Conversion to bfloat16 rounds to nearest, ties to even;
 * NaN stays NaN.
 *
 * Threads: any.
 */
#ifndef TRAINER_KERNELS_KERN_BF16_H
#define TRAINER_KERNELS_KERN_BF16_H

#include <stdint.h>
#include <string.h>

#include "trainer/kernels/kern_fn.h"

/* Half the distance of two neighbours, relative: what one rounding costs. */
#define KERN_BF16_EPSILON 0.00390625f

KERN_FN float kern_bf16_to_f32(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float x;

    memcpy(&x, &wide, sizeof(x));
    return x;
}

KERN_FN uint16_t kern_bf16_from_f32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if ((bits & 0x7fffffffu) > 0x7f800000u) { /* rounding could make an infinity of a NaN */
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
