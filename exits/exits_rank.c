#include "exits/exits_rank.h"

#include <string.h>

enum { BYTES = 4, VALUES = 256 };

/* Ascends as the score does: a negative float's bits descend, and lie above a positive one's. */
static uint32_t key_of(float score)
{
    const float value = score + 0.0f; /* -0 becomes 0 */
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

static uint32_t byte_of(float score, int byte)
{
    return key_of(score) >> (8 * byte) & (VALUES - 1);
}

void exits_rank(struct exits_ranked ranked[], struct exits_ranked scratch[], int64_t n)
{
    int64_t at[BYTES][VALUES] = {{0}};
    struct exits_ranked *from = ranked, *to = scratch;

    for (int64_t i = 0; i < n; i++) {
        for (int b = 0; b < BYTES; b++) {
            at[b][byte_of(ranked[i].score, b)]++;
        }
    }
    for (int b = 0; b < BYTES; b++) {
        int64_t before = 0;
        for (int v = 0; v < VALUES; v++) {
            const int64_t count = at[b][v];
            at[b][v] = before;
            before += count;
        }
        for (int64_t i = 0; i < n; i++) {
            to[at[b][byte_of(from[i].score, b)]++] = from[i];
        }
        struct exits_ranked *const next = from;
        from = to;
        to = next;
    }
}
