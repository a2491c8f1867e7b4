/*
 * data/data_order.h - the order of an epoch: a keyed permutation of 0..count - 1.
 *
 * Any position can be asked for without the ones before it, so there is no shuffled
 * list to store, to skip through after a resume or to disagree about between ranks.
 *
 * A balanced Feistel network permutes the numbers of 2 h bits, where 2 h is the
 * least even number of bits that hold count - 1, and at least 8:
 *
 *      (left, right) -> (right, left xor F(right + key of the round))      8 rounds
 *
 * A result >= count is permuted again until one is below it ("cycle walking"), which
 * keeps the map one to one: J. Black and P. Rogaway, "Ciphers with Arbitrary Finite
 * Domains", CT-RSA 2002, sections 3 and 4. The keys are rng_u64(seed, RNG_ORDER,
 * epoch, round). F is the output function of SplitMix64: G. Steele, D. Lea and C.
 * Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
 *
 * Threads: any; an initialised order is read-only.
 */
#ifndef DATA_DATA_ORDER_H
#define DATA_DATA_ORDER_H

#include <stdint.h>

enum {
    /* Four make a pseudorandom permutation in theory; twice that for halves of few bits. */
    DATA_ORDER_ROUNDS = 8,

    /*
     * On 4 bits the network reaches too few permutations, whatever the number of rounds:
     * some orders of 6 samples then come much more often than others.
     */
    DATA_ORDER_HALF_BITS_MIN = 4,
};

struct data_order {
    uint64_t count;
    int half_bits; /* h */
    uint64_t keys[DATA_ORDER_ROUNDS];
};

/* The order of `epoch` for `count` samples, 1..2^62. Cannot fail. Cost: 8 calls of rng_u64(). */
void data_order_init(struct data_order *order_out, uint64_t seed, uint64_t epoch, uint64_t count);

/*
 * The number at `position` in 0..count - 1. Cannot fail. Cost: fewer than 4 passes of
 * the network on average, as it has fewer than 4 * count numbers; 256 / count passes for
 * a count below 64.
 */
uint64_t data_order_at(const struct data_order *order, uint64_t position);

#endif
