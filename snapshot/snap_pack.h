/*
 * snapshot/snap_pack.h - one array of bytes as a file, cut into chunks, each compressed with zstd
 * only where that pays.
 *
 * The mantissas of trained floats are noise: what can be saved is in the bytes of sign and exponent.
 * So the bytes of a chunk are laid out plane by plane before they are compressed (the first byte of
 * every element, then the second, ...; what is no whole element last), each plane as a frame of its
 * own. Whether that pays, or zstd of the bytes as they are, is asked of a sample, the first 16 KiB.
 * What saves less than a twentieth is stored raw; a stored chunk is never larger than the chunk.
 *
 * Cost, one core of an AMD EPYC, moments and weights of a run of the demo in chunks of 1 MiB: 510 to
 * 810 MB/s written, 1220 to 1420 MB/s read, ratio 1.18 to 1.24. Noise is written at 7 GB/s, raw.
 *
 *      byte 0    head, then an entry for each chunk, then the checksum of both
 *      then      the chunks as they are stored, one after the other; the file ends with the last
 *
 *      head                                                entry
 *      0   8  magic "OFPACK\r\n"                           0   4  bytes stored
 *      8   4  format version                               4   4  how: 0 raw, 1 zstd, 2 planes, zstd
 *      12  4  width of an element: 1, 2, 4 or 8 bytes      8   8  checksum of the chunk
 *      16  4  bytes of a chunk; the last may be shorter    16  8  checksum of what is stored
 *      20  4  zero
 *      24  8  bytes of the array
 *
 * All integers are little-endian; a checksum is the low half of the XXH3-128. Every byte of a file
 * is under one: zstd is not given damaged bytes, and what it gives is not believed either.
 *
 * No file is touched here: who writes decides when, how fast, and where to.
 *
 * Threads: a pack belongs to one thread; reading, any.
 */
#ifndef SNAPSHOT_SNAP_PACK_H
#define SNAPSHOT_SNAP_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"

enum {
    SNAP_PACK_FORMAT_VERSION = 1,
    SNAP_PACK_CHUNK_BYTES = 1 << 20,      /* what is usual */
    SNAP_PACK_CHUNK_BYTES_MAX = 16 << 20, /* bounds the memory of a reader */
};

struct snap_pack_shape {
    uint32_t width;       /* of an element: 1, 2, 4 or 8 bytes */
    uint32_t chunk_bytes; /* a multiple of 8, at most SNAP_PACK_CHUNK_BYTES_MAX */
    uint64_t bytes;       /* of the array; need not be a multiple of either */
};

/* Chunks of an array, and the bytes before the first one that is stored. */
uint64_t snap_pack_chunk_count(const struct snap_pack_shape *shape);
uint64_t snap_pack_head_bytes(const struct snap_pack_shape *shape);

struct snap_pack;

/*
 * Begins to write an array. Memory: two chunks, the table, and about 600 KiB of zstd's own. End it
 * with snap_pack_close(). Errors: ERR_INVALID for a shape as above, or of 2^32 chunks or more;
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_pack_open(const struct snap_pack_shape *shape,
                                       struct snap_pack **pack_out);
void snap_pack_close(struct snap_pack *pack); /* NULL is allowed */

/*
 * The next chunk, `count` bytes as the shape says: returns what is to be stored of it, `bytes`
 * itself or memory of the pack, lent until the next call. `bytes` must not change before that is
 * written. Cannot fail: what zstd cannot make smaller, for want of memory too, is stored raw.
 */
struct file_piece snap_pack_chunk(struct snap_pack *pack, const uint8_t *bytes, size_t count);

/* What a file begins with, once all chunks were there; lent until the close. */
struct file_piece snap_pack_head(struct snap_pack *pack);

/*
 * Checks what a file begins with, which may be anything at all, and says of what it is. Errors:
 * ERR_CORRUPT.
 */
ERR_MUST_CHECK enum err snap_pack_read_shape(const uint8_t *file, uint64_t file_bytes,
                                             struct snap_pack_shape *shape_out);

/*
 * The array of such a file, into out [out_bytes], every chunk verified; after an error `out` is
 * undefined. Memory: a chunk, and about 100 KiB of zstd's own. Errors: ERR_CORRUPT, also if it has
 * not `out_bytes` bytes; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_pack_read(const uint8_t *file, uint64_t file_bytes, uint8_t *out,
                                       uint64_t out_bytes);

#endif
