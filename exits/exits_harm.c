#include "exits/exits_harm.h"

#include <assert.h>

void exits_harm(const int32_t chosen[], const uint8_t correct[], const int32_t labels[], int64_t n,
                int G, int64_t K, struct exits_harm harm_out[])
{
    for (int64_t k = 0; k < K; k++) {
        harm_out[k] = (struct exits_harm){0};
    }
    for (int64_t i = 0; i < n; i++) {
        const int full = correct[i * (G + 1) + G] != 0;
        const int early = correct[i * (G + 1) + chosen[i]] != 0;
        assert(labels[i] >= 0 && labels[i] < K);
        struct exits_harm *harm = &harm_out[labels[i]];
        harm->n++;
        harm->full_correct += full;
        harm->early_correct += early;
        harm->lost += full && !early;
        harm->gained += early && !full;
    }
}
