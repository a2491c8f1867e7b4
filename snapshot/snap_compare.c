#include "snapshot/snap_compare.h"

#include <assert.h>
#include <stdio.h>

enum { NAMED_MAX = 8 };

/* The only hash that more than half can have (Boyer and Moore's vote). */
static struct hash candidate_of(const struct hash hashes[], int count)
{
    struct hash candidate = hashes[0];
    int votes = 0;

    for (int i = 0; i < count; i++) {
        if (votes == 0) {
            candidate = hashes[i];
        }
        votes += hash_is_same(hashes[i], candidate) ? 1 : -1;
    }
    return candidate;
}

static int count_of(const struct hash hashes[], int count, struct hash hash)
{
    int same = 0;

    for (int i = 0; i < count; i++) {
        same += hash_is_same(hashes[i], hash);
    }
    return same;
}

bool snap_compare(const struct hash hashes[], int count, char *text, size_t text_bytes)
{
    assert(count >= 1);
    struct hash right = candidate_of(hashes, count);
    int same = count_of(hashes, count, right);
    const bool has_majority = same > count - same;
    char ranks[160] = "";
    size_t used = 0;
    int named = 0;

    if (same == count) {
        return true;
    }
    if (!has_majority) {
        right = hashes[0];
        same = count_of(hashes, count, right);
    }
    for (int i = 0; i < count && named < NAMED_MAX; i++) {
        if (!hash_is_same(hashes[i], right)) {
            used += (size_t)snprintf(ranks + used, sizeof(ranks) - used, "%s%d",
                                     named++ > 0 ? ", " : "", i);
        }
    }
    const int differing = count - same;
    if (differing > named) {
        snprintf(ranks + used, sizeof(ranks) - used, " and %d more", differing - named);
    }
    if (has_majority) {
        snprintf(text, text_bytes, "rank%s %s differs from that of the other %d ranks",
                 differing > 1 ? "s" : "", ranks, same);
    } else {
        snprintf(text, text_bytes,
                 "rank%s %s differs from that of rank 0, and no majority tells which is right",
                 differing > 1 ? "s" : "", ranks);
    }
    return false;
}
