/*
 * snapshot/snap_copy.h - copying much memory that is not read again soon: past the caches, which
 * then still hold what the training step wants, and without reading what is overwritten.
 *
 * Threads: any.
 */
#ifndef SNAPSHOT_SNAP_COPY_H
#define SNAPSHOT_SNAP_COPY_H

#include <stddef.h>
#include <stdint.h>

/*
 * memcpy() of memory that does not overlap; `to` begins on a 64-byte line, `from` anywhere. What was
 * written is there for every other thread on return.
 */
void snap_copy_past_caches(uint8_t *restrict to, const uint8_t *restrict from, size_t bytes);

#endif
