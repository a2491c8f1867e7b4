/*
 * comm/base/hash.h - XXH3-128 of bytes: fast, not cryptographic.
 *
 * Threads: any; a hash_state belongs to one thread.
 */
#ifndef COMM_BASE_HASH_H
#define COMM_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

struct hash {
    uint64_t low, high;
};

static inline bool hash_is_same(struct hash a, struct hash b)
{
    return a.low == b.low && a.high == b.high;
}

enum { HASH_TEXT_BYTES = 33 }; /* 32 hexadecimal digits and the NUL */

/* The hash of `count` bytes. Cost: 50 GB/s in the cache with AVX2, 15 without. */
struct hash hash_bytes(const void *bytes, size_t count);

/* The same over several pieces, in order: open, add..., close. */
struct hash_state;
ERR_MUST_CHECK enum err hash_open(struct hash_state **state_out); /* ERR_NO_MEMORY */
void hash_add(struct hash_state *state, const void *bytes, size_t count);
struct hash hash_close(struct hash_state *state); /* the result; frees `state` */

/* The canonical (big-endian) form, as xxhsum -H2 prints it. */
void hash_text(struct hash hash, char text_out[HASH_TEXT_BYTES]);

#endif
