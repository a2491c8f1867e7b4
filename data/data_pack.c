#include "data/data_pack.h"

#include <assert.h>
#include <string.h>

void data_pack_sort(const struct data_set *set, const uint32_t *samples, int64_t count,
                    uint32_t *samples_out)
{
    uint32_t starts[DATA_TOKENS_MAX + 2] = {0};

    assert(set->tokens_max <= DATA_TOKENS_MAX);
    assert(samples != samples_out);
    for (int64_t i = 0; i < count; i++) {
        starts[data_set_length(set, samples == NULL ? i : samples[i]) + 1]++;
    }
    for (int64_t length = 0; length < set->tokens_max; length++) {
        starts[length + 1] += starts[length];
    }
    for (int64_t i = 0; i < count; i++) {
        const uint32_t sample = samples == NULL ? (uint32_t)i : samples[i];
        samples_out[starts[data_set_length(set, sample)]++] = sample;
    }
}

int64_t data_pack_place(int64_t index, int64_t count)
{
    int64_t first = 0;

    assert(index >= 0 && index < count);
    while (count > 1) {
        const int64_t a_count = count / 4 * 2 + (count % 4 > 0);
        const int64_t of_four = index % 4;
        index = index / 4 * 2 + (of_four >= 2);
        if (of_four == 0 || of_four == 3) {
            count = a_count;
        } else {
            first += a_count;
            count -= a_count;
        }
    }
    return first;
}

void data_pack_rows(const struct data_set *set, const uint32_t *samples, int64_t count,
                    int64_t stride, int32_t *tokens_out, int32_t *lengths_out)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = data_set_length(set, samples[i]);
        int32_t *row = tokens_out + i * stride;
        assert(length <= stride);
        memcpy(row, set->tokens + set->offsets[samples[i]], (size_t)length * sizeof(*row));
        for (int64_t j = length; j < stride; j++) {
            row[j] = set->pad_id;
        }
        lengths_out[i] = (int32_t)length;
    }
}

int64_t data_pack_longest(const int32_t *lengths, int64_t count)
{
    int64_t longest = 0;

    for (int64_t i = 0; i < count; i++) {
        longest = lengths[i] > longest ? lengths[i] : longest;
    }
    return longest;
}
