/*
 * comm/base/rng.h - random numbers as a pure function of what they are for.
 *
 * Philox4x32-10: J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011. There is no state to save, to advance
 * or to disagree about: the same (seed, use, index, sub) gives the same number
 * on every rank, at every world size and after every resume.
 *
 * Threads: any. Cost: about 20 ns a call, for four numbers.
 */
#ifndef COMM_BASE_RNG_H
#define COMM_BASE_RNG_H

#include <stdint.h>

/* What a number is for. Two uses never share a number; the values are part of every result. */
enum rng_use {
    RNG_INIT = 1,          /* index: element of a tensor, sub: the tensor's number */
    RNG_ORDER = 2,         /* index: epoch, sub: round of the permutation */
    RNG_SPLIT = 3,         /* index: sample number */
    RNG_AUGMENT = 4,       /* index: sample number, sub: epoch */
    RNG_DRILL = 5,         /* index: fault of a drill, sub: when, what, to whom */
    RNG_POLICY = 7,        /* index: sample number, sub: split that a promise is held to */
    RNG_TEXT = 8,          /* index: place in a text that is written */
    RNG_LAYER_DROPOUT = 9, /* index: micro-batch of the run, sub: layer */
    RNG_TEST = 99,         /* for tests only */
};

/* Four independent uniform 32-bit words. */
void rng_words(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub,
               uint32_t words_out[4]);

/* A uniform 64-bit word: the first two of rng_words(). */
uint64_t rng_u64(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub);

/* Uniform in [0, 1), a multiple of 2^-53. */
double rng_uniform(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub);

/* Standard normal (Box-Muller, from one call's words). */
double rng_normal(uint64_t seed, enum rng_use use, uint64_t index, uint32_t sub);

#endif
