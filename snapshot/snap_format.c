#include "snapshot/snap_format.h"

#include <inttypes.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "snapshot/snap_transfer.h"

static const uint8_t file_magic[8] = {'O', 'F', 'S', 'N', 'A', 'P', '\r', '\n'};
static const uint8_t slot_magic[8] = {'O', 'F', 'S', 'L', 'O', 'T', '\r', '\n'};

/* Fields of the file header. */
enum {
    FILE_AT_FORMAT = 8,
    FILE_AT_RANK = 12,
    FILE_AT_LAYOUT = 16,
    FILE_AT_JOB = 32,
    FILE_AT_BYTES = 48,
    FILE_AT_TERMS = 56,
    FILE_AT_CHECKSUM = 64,
};

/* Fields of a slot header. */
enum {
    SLOT_AT_SEQUENCE = 8,
    SLOT_AT_STATE = 16,
    SLOT_AT_SLOT = 20,
    SLOT_AT_VERSION = 24,
    SLOT_AT_INCARNATION = 32,
    SLOT_AT_DATA_ROOT = 40,
    SLOT_AT_PARITY_ROOT = 56,
    SLOT_AT_JOB_ROOT = 72,
    SLOT_AT_CHECKSUM = 88,
};

static const uint64_t PARITY_SALT = (uint64_t)1 << 32;

static void put_hash(uint8_t to[16], struct hash hash)
{
    bytes_put_u64(to, hash.low);
    bytes_put_u64(to + 8, hash.high);
}

static struct hash get_hash(const uint8_t from[16])
{
    return (struct hash){bytes_get_u64(from), bytes_get_u64(from + 8)};
}

void snap_file_header_write(const struct snap_file_header *header,
                            uint8_t bytes[SNAP_FILE_HEADER_BYTES])
{
    memcpy(bytes, file_magic, sizeof(file_magic));
    bytes_put_u32(bytes + FILE_AT_FORMAT, SNAP_FORMAT_VERSION);
    bytes_put_u32(bytes + FILE_AT_RANK, header->rank);
    put_hash(bytes + FILE_AT_LAYOUT, header->layout_hash);
    put_hash(bytes + FILE_AT_JOB, header->job_key);
    bytes_put_u64(bytes + FILE_AT_BYTES, header->file_bytes);
    bytes_put_u64(bytes + FILE_AT_TERMS, header->terms_bytes);
    bytes_put_u64(bytes + FILE_AT_CHECKSUM, hash_bytes(bytes, FILE_AT_CHECKSUM).low);
}

enum err snap_file_header_read(const uint8_t bytes[SNAP_FILE_HEADER_BYTES],
                               struct snap_file_header *header_out)
{
    if (memcmp(bytes, file_magic, sizeof(file_magic)) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "no snapshot memory: magic");
    }
    if (bytes_get_u32(bytes + FILE_AT_FORMAT) != SNAP_FORMAT_VERSION) {
        return ERR_FAIL(ERR_CORRUPT, "snapshot format %" PRIu32 ", this build reads %d",
                        bytes_get_u32(bytes + FILE_AT_FORMAT), SNAP_FORMAT_VERSION);
    }
    if (bytes_get_u64(bytes + FILE_AT_CHECKSUM) != hash_bytes(bytes, FILE_AT_CHECKSUM).low) {
        return ERR_FAIL(ERR_CORRUPT, "snapshot file header: checksum");
    }
    *header_out = (struct snap_file_header){
        .rank = bytes_get_u32(bytes + FILE_AT_RANK),
        .layout_hash = get_hash(bytes + FILE_AT_LAYOUT),
        .job_key = get_hash(bytes + FILE_AT_JOB),
        .file_bytes = bytes_get_u64(bytes + FILE_AT_BYTES),
        .terms_bytes = bytes_get_u64(bytes + FILE_AT_TERMS),
    };
    return ERR_OK;
}

void snap_slot_header_write(const struct snap_slot_header *header,
                            uint8_t bytes[SNAP_SLOT_HEADER_BYTES])
{
    memcpy(bytes, slot_magic, sizeof(slot_magic));
    bytes_put_u64(bytes + SLOT_AT_SEQUENCE, header->sequence);
    bytes_put_u32(bytes + SLOT_AT_STATE, (uint32_t)header->state.state);
    bytes_put_u32(bytes + SLOT_AT_SLOT, (uint32_t)header->slot);
    bytes_put_u64(bytes + SLOT_AT_VERSION, header->state.version);
    bytes_put_u64(bytes + SLOT_AT_INCARNATION, header->incarnation);
    put_hash(bytes + SLOT_AT_DATA_ROOT, header->data_root);
    put_hash(bytes + SLOT_AT_PARITY_ROOT, header->parity_root);
    put_hash(bytes + SLOT_AT_JOB_ROOT, header->job_root);
    bytes_put_u64(bytes + SLOT_AT_CHECKSUM, hash_bytes(bytes, SLOT_AT_CHECKSUM).low);
}

enum err snap_slot_header_read(const uint8_t bytes[SNAP_SLOT_HEADER_BYTES],
                               struct snap_slot_header *header_out)
{
    const uint32_t state = bytes_get_u32(bytes + SLOT_AT_STATE);
    const uint32_t slot = bytes_get_u32(bytes + SLOT_AT_SLOT);
    const uint64_t version = bytes_get_u64(bytes + SLOT_AT_VERSION);

    if (memcmp(bytes, slot_magic, sizeof(slot_magic)) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "no slot header: magic");
    }
    if (bytes_get_u64(bytes + SLOT_AT_CHECKSUM) != hash_bytes(bytes, SLOT_AT_CHECKSUM).low) {
        return ERR_FAIL(ERR_CORRUPT, "slot header: checksum");
    }
    if (state >= SNAP_STATES || slot >= SNAP_SLOTS || (state == SNAP_EMPTY) != (version == 0)) {
        return ERR_FAIL(ERR_CORRUPT,
                        "slot header: state %" PRIu32 " of version %" PRIu64 " in slot %" PRIu32,
                        state, version, slot);
    }
    *header_out = (struct snap_slot_header){
        .sequence = bytes_get_u64(bytes + SLOT_AT_SEQUENCE),
        .slot = (int)slot,
        .state = {(enum snap_state)state, version},
        .incarnation = bytes_get_u64(bytes + SLOT_AT_INCARNATION),
        .data_root = get_hash(bytes + SLOT_AT_DATA_ROOT),
        .parity_root = get_hash(bytes + SLOT_AT_PARITY_ROOT),
        .job_root = get_hash(bytes + SLOT_AT_JOB_ROOT),
    };
    return ERR_OK;
}

static uint64_t pages(uint64_t bytes)
{
    return (bytes + SNAP_PAGE_BYTES - 1) / SNAP_PAGE_BYTES * SNAP_PAGE_BYTES;
}

struct snap_map snap_map_of(const struct snap_layout *layout, int rank)
{
    const struct snap_group *group = &layout->groups[layout->members[rank].group];
    const uint64_t tiles = (uint64_t)snap_tile_count(group);
    struct snap_map map = {
        .data_bytes = snap_layout_data_bytes(layout, rank),
        .parity_bytes = snap_layout_parity_bytes(layout, rank),
        .data_tile_count = tiles * (uint64_t)group->data_count,
        .parity_tile_count = tiles * (uint64_t)group->parity_count,
    };
    uint64_t at = SNAP_TERMS_AT + pages(layout->byte_count);

    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        map.roots_at[slot] = at;
        at += pages((uint64_t)layout->rank_count * sizeof(struct hash));
        map.data_hashes_at[slot] = at;
        at += pages(map.data_tile_count * sizeof(uint64_t));
        map.parity_hashes_at[slot] = at;
        at += pages(map.parity_tile_count * sizeof(uint64_t));
    }
    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        map.data_at[slot] = at;
        at += pages(map.data_bytes);
        map.parity_at[slot] = at;
        at += pages(map.parity_bytes);
    }
    map.file_bytes = at;
    return map;
}

static enum err root_of(uint64_t version, const struct snap_layout *layout, uint64_t who,
                        const uint64_t hashes[], uint64_t count, struct hash *root_out)
{
    uint8_t head[32];
    struct hash_state *state = NULL;

    ERR_TRY(hash_open(&state));
    bytes_put_u64(head, version);
    put_hash(head + 8, layout->hash);
    bytes_put_u64(head + 24, who);
    hash_add(state, head, sizeof(head));
    hash_add(state, hashes, (size_t)count * sizeof(hashes[0]));
    *root_out = hash_close(state);
    return ERR_OK;
}

enum err snap_data_root(uint64_t version, const struct snap_layout *layout, int rank,
                        const uint64_t hashes[], uint64_t count, struct hash *root_out)
{
    return root_of(version, layout, (uint64_t)rank, hashes, count, root_out);
}

enum err snap_parity_root(uint64_t version, const struct snap_layout *layout, int rank,
                          const uint64_t hashes[], uint64_t count, struct hash *root_out)
{
    return root_of(version, layout, (uint64_t)rank + PARITY_SALT, hashes, count, root_out);
}

enum err snap_job_root(uint64_t version, const struct hash roots[], int rank_count,
                       struct hash *root_out)
{
    uint8_t bytes[16];
    struct hash_state *state = NULL;

    ERR_TRY(hash_open(&state));
    bytes_put_u64(bytes, version);
    hash_add(state, bytes, 8);
    for (int r = 0; r < rank_count; r++) {
        put_hash(bytes, roots[r]);
        hash_add(state, bytes, sizeof(bytes));
    }
    *root_out = hash_close(state);
    return ERR_OK;
}
