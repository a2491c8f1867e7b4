#include "data/data_split.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "comm/base/memory.h"
#include "comm/base/rng.h"

bool data_split_holds_out(uint64_t seed, double fraction, uint64_t sample)
{
    assert(fraction >= 0 && fraction < 1);
    /* Below 2^64, as the largest double below 1 is 1 - 2^-53. */
    return rng_u64(seed, RNG_SPLIT, sample, 0) < (uint64_t)(fraction * 0x1p64);
}

enum err data_split_open(uint64_t seed, double fraction, int64_t count,
                         struct data_split **split_out)
{
    void *block = NULL;

    assert(count >= 1 && count <= UINT32_MAX);
    assert(split_out != NULL);
    if (!(fraction >= 0 && fraction < 1)) {
        return ERR_FAIL(ERR_CONFIG, "validation_fraction is %g, expected 0 <= fraction < 1",
                        fraction);
    }
    struct data_split *split = calloc(1, sizeof(*split));
    if (split == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a split of %" PRId64 " samples", count);
    }
    const enum err status = memory_open((size_t)count * sizeof(uint32_t), "a split", &block);
    if (status != ERR_OK) {
        free(split);
        return status;
    }
    /* Held-out samples fill the block from its end, so they come out in descending order. */
    split->train = block;
    uint32_t *low = split->train;
    uint32_t *high = split->train + count;
    for (int64_t i = 0; i < count; i++) {
        if (data_split_holds_out(seed, fraction, (uint64_t)i)) {
            *--high = (uint32_t)i;
        } else {
            *low++ = (uint32_t)i;
        }
    }
    split->train_count = low - split->train;
    split->held_out = high;
    split->held_out_count = count - split->train_count;
    for (int64_t i = 0; i < split->held_out_count / 2; i++) {
        const int64_t mirror = split->held_out_count - 1 - i;
        const uint32_t sample = high[i];
        high[i] = high[mirror];
        high[mirror] = sample;
    }
    if (split->train_count == 0 || (fraction > 0 && split->held_out_count == 0)) {
        const char *lacking = split->train_count == 0 ? "to train on" : "to validate on";
        data_split_close(split);
        return ERR_FAIL(ERR_CONFIG,
                        "a validation_fraction of %g leaves none of the %" PRId64 " samples %s",
                        fraction, count, lacking);
    }
    *split_out = split;
    return ERR_OK;
}

void data_split_close(struct data_split *split)
{
    if (split == NULL) {
        return;
    }
    memory_close(split->train);
    free(split);
}
