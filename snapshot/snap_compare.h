/*
 * snapshot/snap_compare.h - who is wrong, where all should have the same: a pure function.
 *
 * Threads: any.
 */
#ifndef SNAPSHOT_SNAP_COMPARE_H
#define SNAPSHOT_SNAP_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/base/hash.h"

/*
 * Whether hashes [count >= 1], one a rank, are all the same. If not, `text` says whose differ:
 * "rank 2 differs from that of the other 3 ranks" where more than half agree; else whose differ
 * from rank 0's, "rank 1 differs from that of rank 0, and no majority tells which is right".
 * Up to 8 ranks are named.
 */
bool snap_compare(const struct hash hashes[], int count, char *text, size_t text_bytes);

#endif
