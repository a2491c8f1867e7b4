#include "data/data_order.h"

#include <assert.h>
#include <stddef.h>

#include "comm/base/rng.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void data_order_init(struct data_order *order_out, uint64_t seed, uint64_t epoch, uint64_t count)
{
    assert(order_out != NULL);
    assert(count >= 1 && count <= UINT64_C(1) << 62);
    order_out->count = count;
    order_out->half_bits = DATA_ORDER_HALF_BITS_MIN;
    while ((count - 1) >> (2 * order_out->half_bits) != 0) {
        order_out->half_bits++;
    }
    for (uint32_t round = 0; round < DATA_ORDER_ROUNDS; round++) {
        order_out->keys[round] = rng_u64(seed, RNG_ORDER, epoch, round);
    }
}

static uint64_t permute(const struct data_order *order, uint64_t number)
{
    const uint64_t mask = (UINT64_C(1) << order->half_bits) - 1;
    uint64_t left = number >> order->half_bits;
    uint64_t right = number & mask;

    for (int round = 0; round < DATA_ORDER_ROUNDS; round++) {
        const uint64_t next = left ^ (mix(right + order->keys[round]) & mask);
        left = right;
        right = next;
    }
    return left << order->half_bits | right;
}

uint64_t data_order_at(const struct data_order *order, uint64_t position)
{
    assert(order != NULL);
    assert(position < order->count);
    uint64_t number = permute(order, position);

    /* Ends: the cycle through `position` comes back to it, and it is below count. */
    while (number >= order->count) {
        number = permute(order, number);
    }
    return number;
}
