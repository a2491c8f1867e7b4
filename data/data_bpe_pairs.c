#include "data/data_bpe_pairs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct slot {
    uint64_t pair; /* left << 32 | right */
    struct data_bpe_merge merge;
};

struct data_bpe_pairs {
    struct slot *slots;  /* [slot_count], a free one has rank -1 */
    uint64_t slot_count; /* a power of two, more than pairs_max */
    int64_t count, pairs_max;
};

enum err data_bpe_pairs_open(int64_t pairs_max, struct data_bpe_pairs **pairs_out)
{
    struct data_bpe_pairs *pairs = calloc(1, sizeof(*pairs));
    uint64_t slot_count = 16;

    assert(pairs_max >= 0);
    while (slot_count < 2 * (uint64_t)pairs_max) {
        slot_count *= 2;
    }
    struct slot *slots = calloc(slot_count, sizeof(*slots));
    if (pairs == NULL || slots == NULL) {
        free(slots);
        free(pairs);
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " pairs of tokens", pairs_max);
    }
    for (uint64_t i = 0; i < slot_count; i++) {
        slots[i].merge.rank = -1;
    }
    pairs->slots = slots;
    pairs->slot_count = slot_count;
    pairs->pairs_max = pairs_max;
    *pairs_out = pairs;
    return ERR_OK;
}

void data_bpe_pairs_close(struct data_bpe_pairs *pairs)
{
    if (pairs == NULL) {
        return;
    }
    free(pairs->slots);
    free(pairs);
}

static struct slot *find_slot(const struct data_bpe_pairs *pairs, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t at = pair * 0x9e3779b97f4a7c15u; /* 2^64 / the golden ratio: spreads, odd */

    for (at = (at ^ at >> 32) & (pairs->slot_count - 1);
         pairs->slots[at].merge.rank >= 0 && pairs->slots[at].pair != pair;
         at = (at + 1) & (pairs->slot_count - 1)) {
    }
    return &pairs->slots[at];
}

void data_bpe_pairs_add(struct data_bpe_pairs *pairs, int32_t left, int32_t right,
                        struct data_bpe_merge merge)
{
    assert(left >= 0 && right >= 0 && merge.rank >= 0);
    struct slot *slot = find_slot(pairs, left, right);

    pairs->count += slot->merge.rank < 0;
    assert(pairs->count <= pairs->pairs_max);
    slot->pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    slot->merge = merge;
}

struct data_bpe_merge data_bpe_pairs_find(const struct data_bpe_pairs *pairs, int32_t left,
                                          int32_t right)
{
    return find_slot(pairs, left, right)->merge;
}
