/*
 * snapshot/snap_format.h - the bytes of one member's memory file, version 1.
 *
 * A member keeps two slots, each with room for one version of its data and parity segments:
 *
 *      byte 0      file header, once                                     SNAP_FILE_HEADER_BYTES
 *      4096        headers of slot 0: copy A, copy B; of slot 1: A, B    SNAP_SLOT_HEADER_BYTES each
 *      8192        the layout's terms (snap_layout.h), to the next page
 *      then        for each slot: roots of all members [rank_count, 16], hashes of its data tiles
 *                  [8 each], hashes of its parity tiles [8 each]; each to the next page
 *      then        for each slot: data segments, parity segments
 *
 * All integers are little-endian. A header ends with the checksum of the bytes before, the low half
 * of their XXH3-128. A slot has two copies of its header; a change is written to the older one with the next sequence
 * number, so one is whole whatever instruction the writer dies at; the valid one with the
 * higher number counts.
 *
 *      file header                            slot header
 *      0   8  magic "OFSNAP\r\n"              0   8  magic "OFSLOT\r\n"
 *      8   4  format version                  8   8  sequence number
 *      12  4  member: its rank                16  4  state (snap_slot.h)
 *      16  16 layout hash                     20  4  slot, 0 or 1
 *      32  16 job key                         24  8  version: the training step
 *      48  8  bytes of the whole file         32  8  incarnation that wrote it
 *      56  8  bytes of the layout's terms     40  16 data root
 *      64  8  checksum of bytes 0 .. 63       56  16 parity root
 *                                             72  16 job root
 *                                             88  8  checksum of bytes 0 .. 87
 *
 * Roots bind content to place and time, so that no old version passes for a new one:
 *
 *      data root    XXH3-128 of (version, layout hash, rank, hashes of the data tiles)
 *      parity root  the same of the parity tiles, with rank + 2^32
 *      job root     XXH3-128 of (version, the data roots of all members in the order of ranks)
 */
#ifndef SNAPSHOT_SNAP_FORMAT_H
#define SNAPSHOT_SNAP_FORMAT_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "snapshot/snap_layout.h"
#include "snapshot/snap_slot.h"

enum {
    SNAP_FORMAT_VERSION = 1,
    SNAP_FILE_HEADER_BYTES = 72,
    SNAP_SLOT_HEADER_BYTES = 96,
    SNAP_SLOT_COPIES = 2,
    SNAP_PAGE_BYTES = 4096,
    SNAP_SLOT_HEADERS_AT = SNAP_PAGE_BYTES,
    SNAP_SLOT_HEADER_STRIDE = 512, /* of copies: no two share a cache line */
    SNAP_TERMS_AT = 2 * SNAP_PAGE_BYTES,
};

struct snap_file_header {
    uint32_t rank;
    struct hash layout_hash;
    struct hash job_key;
    uint64_t file_bytes, terms_bytes;
};

struct snap_slot_header {
    uint64_t sequence;
    int slot;
    struct snap_slot state;
    uint64_t incarnation;
    struct hash data_root, parity_root, job_root; /* zero where the state has none yet */
};

void snap_file_header_write(const struct snap_file_header *header,
                            uint8_t bytes[SNAP_FILE_HEADER_BYTES]);
void snap_slot_header_write(const struct snap_slot_header *header,
                            uint8_t bytes[SNAP_SLOT_HEADER_BYTES]);

/* `bytes` may be anything at all. Errors: ERR_CORRUPT, naming the field; *header_out unchanged. */
ERR_MUST_CHECK enum err snap_file_header_read(const uint8_t bytes[SNAP_FILE_HEADER_BYTES],
                                              struct snap_file_header *header_out);
ERR_MUST_CHECK enum err snap_slot_header_read(const uint8_t bytes[SNAP_SLOT_HEADER_BYTES],
                                              struct snap_slot_header *header_out);

/* Where the parts of a member's file lie. */
struct snap_map {
    uint64_t roots_at[SNAP_SLOTS], data_hashes_at[SNAP_SLOTS], parity_hashes_at[SNAP_SLOTS];
    uint64_t data_at[SNAP_SLOTS], parity_at[SNAP_SLOTS];
    uint64_t data_bytes, parity_bytes;           /* of one slot */
    uint64_t data_tile_count, parity_tile_count; /* likewise */
    uint64_t file_bytes;
};

struct snap_map snap_map_of(const struct snap_layout *layout, int rank);

/* The roots, of tile hashes as they lie in the file (little-endian). Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err snap_data_root(uint64_t version, const struct snap_layout *layout, int rank,
                                       const uint64_t hashes[], uint64_t count,
                                       struct hash *root_out);
ERR_MUST_CHECK enum err snap_parity_root(uint64_t version, const struct snap_layout *layout,
                                         int rank, const uint64_t hashes[], uint64_t count,
                                         struct hash *root_out);
ERR_MUST_CHECK enum err snap_job_root(uint64_t version, const struct hash roots[], int rank_count,
                                      struct hash *root_out);

#endif
