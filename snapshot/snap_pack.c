#include "snapshot/snap_pack.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "comm/base/bytes.h"
#include "comm/base/hash.h"

static const uint8_t magic[8] = {'O', 'F', 'P', 'A', 'C', 'K', '\r', '\n'};

enum {
    HEAD_AT_FORMAT = 8,
    HEAD_AT_WIDTH = 12,
    HEAD_AT_CHUNK = 16,
    HEAD_AT_ZERO = 20,
    HEAD_AT_BYTES = 24,
    HEAD_BYTES = 32,
    CHECKSUM_BYTES = 8,
};

enum {
    ENTRY_BYTES = 24,
    ENTRY_AT_HOW = 4,
    ENTRY_AT_CHUNK_CHECKSUM = 8,
    ENTRY_AT_STORED_CHECKSUM = 16,
};

enum how { HOW_RAW, HOW_ZSTD, HOW_PLANES, HOWS };

enum {
    LEVEL = 1, /* of zstd; 3 is slower and, on planes, no better */
    SAMPLE_BYTES = 16 << 10,
};

struct snap_pack {
    struct snap_pack_shape shape;
    uint64_t next;            /* chunk */
    uint8_t *head;            /* [snap_pack_head_bytes()] */
    uint8_t *planes, *stored; /* [chunk_bytes] each */
    ZSTD_CCtx *zstd;
};

uint64_t snap_pack_chunk_count(const struct snap_pack_shape *shape)
{
    return shape->bytes / shape->chunk_bytes + (shape->bytes % shape->chunk_bytes != 0);
}

uint64_t snap_pack_head_bytes(const struct snap_pack_shape *shape)
{
    return HEAD_BYTES + snap_pack_chunk_count(shape) * ENTRY_BYTES + CHECKSUM_BYTES;
}

static size_t chunk_bytes(const struct snap_pack_shape *shape, uint64_t chunk)
{
    const uint64_t left = shape->bytes - chunk * shape->chunk_bytes;

    return (size_t)(left < shape->chunk_bytes ? left : shape->chunk_bytes);
}

static bool is_shape(const struct snap_pack_shape *shape)
{
    const uint32_t width = shape->width, chunk = shape->chunk_bytes;

    return (width == 1 || width == 2 || width == 4 || width == 8) && chunk > 0 && chunk % 8 == 0 &&
           chunk <= SNAP_PACK_CHUNK_BYTES_MAX && snap_pack_chunk_count(shape) <= UINT32_MAX;
}

/* `width` is a constant wherever these are called, for the compiler's sake. */
static inline void split_by(size_t width, const uint8_t *restrict bytes, size_t elems,
                            uint8_t *restrict planes)
{
    for (size_t p = 0; p < width; p++) {
        for (size_t i = 0; i < elems; i++) {
            planes[p * elems + i] = bytes[i * width + p];
        }
    }
}

static inline void join_by(size_t width, const uint8_t *restrict planes, size_t elems,
                           uint8_t *restrict bytes)
{
    for (size_t i = 0; i < elems; i++) {
        for (size_t p = 0; p < width; p++) {
            bytes[i * width + p] = planes[p * elems + i];
        }
    }
}

static void split(uint32_t width, const uint8_t *bytes, size_t count, uint8_t *planes)
{
    const size_t elems = count / width;

    switch (width) {
    case 2: split_by(2, bytes, elems, planes); break;
    case 4: split_by(4, bytes, elems, planes); break;
    default: split_by(8, bytes, elems, planes); break;
    }
    memcpy(planes + elems * width, bytes + elems * width, count % width);
}

static void join(uint32_t width, const uint8_t *planes, size_t count, uint8_t *bytes)
{
    const size_t elems = count / width;

    switch (width) {
    case 2: join_by(2, planes, elems, bytes); break;
    case 4: join_by(4, planes, elems, bytes); break;
    default: join_by(8, planes, elems, bytes); break;
    }
    memcpy(bytes + elems * width, planes + elems * width, count % width);
}

enum err snap_pack_open(const struct snap_pack_shape *shape, struct snap_pack **pack_out)
{
    if (!is_shape(shape)) {
        return ERR_FAIL(ERR_INVALID,
                        "pack of %" PRIu64 " bytes: elements of %" PRIu32 ", chunks of %" PRIu32,
                        shape->bytes, shape->width, shape->chunk_bytes);
    }
    struct snap_pack *pack = calloc(1, sizeof(*pack));
    if (pack != NULL) {
        pack->shape = *shape;
        pack->head = calloc(1, (size_t)snap_pack_head_bytes(shape));
        pack->planes = malloc(shape->chunk_bytes);
        pack->stored = malloc(shape->chunk_bytes);
        pack->zstd = ZSTD_createCCtx();
    }
    if (pack == NULL || pack->head == NULL || pack->planes == NULL || pack->stored == NULL ||
        pack->zstd == NULL) {
        snap_pack_close(pack);
        return ERR_FAIL(ERR_NO_MEMORY, "a pack with chunks of %" PRIu32 " bytes",
                        shape->chunk_bytes);
    }
    *pack_out = pack;
    return ERR_OK;
}

void snap_pack_close(struct snap_pack *pack)
{
    if (pack == NULL) {
        return;
    }
    free(pack->head);
    free(pack->planes);
    free(pack->stored);
    ZSTD_freeCCtx(pack->zstd);
    free(pack);
}

/*
 * Into pack->stored; 0 if that does not pay. Each plane is a frame of its own: zstd has one code for
 * all bytes of a block, and planes have little in common.
 */
static size_t compress(struct snap_pack *pack, enum how how, const uint8_t *bytes, size_t count)
{
    const size_t worth = count * 20 / 21;
    const size_t frames = how == HOW_PLANES ? pack->shape.width : 1;
    size_t at = 0, stored = 0;

    if (how == HOW_PLANES) {
        split(pack->shape.width, bytes, count, pack->planes);
        bytes = pack->planes;
    }
    for (size_t f = 0; f < frames; f++) {
        const size_t frame = f + 1 < frames ? count / frames : count - at;
        const size_t more = ZSTD_compressCCtx(pack->zstd, pack->stored + stored, worth - stored,
                                              bytes + at, frame, LEVEL);
        if (ZSTD_isError(more)) {
            return 0;
        }
        at += frame;
        stored += more;
    }
    return stored;
}

static enum how choose(struct snap_pack *pack, const uint8_t *bytes, size_t count)
{
    const size_t sample = count < SAMPLE_BYTES ? count : SAMPLE_BYTES;
    const size_t plain = compress(pack, HOW_ZSTD, bytes, sample);
    const size_t planes = pack->shape.width == 1 ? 0 : compress(pack, HOW_PLANES, bytes, sample);

    if (planes != 0 && (plain == 0 || planes < plain)) {
        return HOW_PLANES;
    }
    return plain != 0 ? HOW_ZSTD : HOW_RAW;
}

struct file_piece snap_pack_chunk(struct snap_pack *pack, const uint8_t *bytes, size_t count)
{
    struct file_piece piece = {bytes, count};
    enum how how = choose(pack, bytes, count);

    assert(pack->next < snap_pack_chunk_count(&pack->shape));
    assert(count == chunk_bytes(&pack->shape, pack->next));
    const uint64_t checksum = hash_bytes(bytes, count).low;
    const size_t stored = how == HOW_RAW ? 0 : compress(pack, how, bytes, count);
    if (stored == 0) {
        how = HOW_RAW;
    } else {
        piece = (struct file_piece){pack->stored, stored};
    }
    uint8_t *entry = pack->head + HEAD_BYTES + pack->next++ * ENTRY_BYTES;
    bytes_put_u32(entry, (uint32_t)piece.count);
    bytes_put_u32(entry + ENTRY_AT_HOW, (uint32_t)how);
    bytes_put_u64(entry + ENTRY_AT_CHUNK_CHECKSUM, checksum);
    bytes_put_u64(entry + ENTRY_AT_STORED_CHECKSUM,
                  how == HOW_RAW ? checksum : hash_bytes(piece.bytes, piece.count).low);
    return piece;
}

struct file_piece snap_pack_head(struct snap_pack *pack)
{
    const size_t checksum_at = (size_t)snap_pack_head_bytes(&pack->shape) - CHECKSUM_BYTES;
    uint8_t *head = pack->head;

    assert(pack->next == snap_pack_chunk_count(&pack->shape));
    memcpy(head, magic, sizeof(magic));
    bytes_put_u32(head + HEAD_AT_FORMAT, SNAP_PACK_FORMAT_VERSION);
    bytes_put_u32(head + HEAD_AT_WIDTH, pack->shape.width);
    bytes_put_u32(head + HEAD_AT_CHUNK, pack->shape.chunk_bytes);
    bytes_put_u64(head + HEAD_AT_BYTES, pack->shape.bytes);
    bytes_put_u64(head + checksum_at, hash_bytes(head, checksum_at).low);
    return (struct file_piece){head, checksum_at + CHECKSUM_BYTES};
}

/* The entries of a table whose checksum is right: what is stored must be what the file holds. */
static enum err check_entries(const uint8_t *file, uint64_t file_bytes,
                              const struct snap_pack_shape *shape)
{
    const uint64_t chunk_count = snap_pack_chunk_count(shape);
    uint64_t expected = snap_pack_head_bytes(shape);

    for (uint64_t i = 0; i < chunk_count; i++) {
        const uint8_t *entry = file + HEAD_BYTES + i * ENTRY_BYTES;
        const uint32_t stored = bytes_get_u32(entry), how = bytes_get_u32(entry + ENTRY_AT_HOW);
        const size_t count = chunk_bytes(shape, i);
        const bool fits = how == HOW_RAW ? stored == count : stored < count;
        if (how >= HOWS || !fits || (how == HOW_PLANES && shape->width == 1)) {
            return ERR_FAIL(ERR_CORRUPT,
                            "pack: chunk %" PRIu64 ": %" PRIu32 " bytes stored as %" PRIu32
                            " of %zu",
                            i, stored, how, count);
        }
        expected += stored;
    }
    if (expected != file_bytes) {
        return ERR_FAIL(ERR_CORRUPT, "pack: %" PRIu64 " bytes, its table says %" PRIu64, file_bytes,
                        expected);
    }
    return ERR_OK;
}

enum err snap_pack_read_shape(const uint8_t *file, uint64_t file_bytes,
                              struct snap_pack_shape *shape_out)
{
    if (file_bytes < HEAD_BYTES + CHECKSUM_BYTES || memcmp(file, magic, sizeof(magic)) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "no pack: magic");
    }
    if (bytes_get_u32(file + HEAD_AT_FORMAT) != SNAP_PACK_FORMAT_VERSION) {
        return ERR_FAIL(ERR_CORRUPT, "pack format %" PRIu32 ", this build reads %d",
                        bytes_get_u32(file + HEAD_AT_FORMAT), SNAP_PACK_FORMAT_VERSION);
    }
    const struct snap_pack_shape shape = {
        .width = bytes_get_u32(file + HEAD_AT_WIDTH),
        .chunk_bytes = bytes_get_u32(file + HEAD_AT_CHUNK),
        .bytes = bytes_get_u64(file + HEAD_AT_BYTES),
    };
    if (!is_shape(&shape) || bytes_get_u32(file + HEAD_AT_ZERO) != 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "pack of %" PRIu64 " bytes: elements of %" PRIu32 ", chunks of %" PRIu32,
                        shape.bytes, shape.width, shape.chunk_bytes);
    }
    const uint64_t head_bytes = snap_pack_head_bytes(&shape);
    if (head_bytes > file_bytes) {
        return ERR_FAIL(ERR_CORRUPT, "pack: %" PRIu64 " bytes, head and table have %" PRIu64,
                        file_bytes, head_bytes);
    }
    const size_t checksum_at = (size_t)(head_bytes - CHECKSUM_BYTES);
    if (bytes_get_u64(file + checksum_at) != hash_bytes(file, checksum_at).low) {
        return ERR_FAIL(ERR_CORRUPT, "pack: checksum of its head and table");
    }
    ERR_TRY(check_entries(file, file_bytes, &shape));
    *shape_out = shape;
    return ERR_OK;
}

/* What a reader needs for chunks that are not raw. */
struct unpack {
    uint32_t width;
    uint8_t *planes; /* [chunk_bytes] */
    ZSTD_DCtx *zstd;
};

static bool expand(const struct unpack *unpack, enum how how, struct file_piece stored,
                   uint8_t *out, size_t count)
{
    uint8_t *const to = how == HOW_PLANES ? unpack->planes : out;

    if (how == HOW_RAW) {
        memcpy(out, stored.bytes, count);
        return true;
    }
    if (ZSTD_decompressDCtx(unpack->zstd, to, count, stored.bytes, stored.count) != count) {
        return false;
    }
    if (how == HOW_PLANES) {
        join(unpack->width, to, count, out);
    }
    return true;
}

static enum err read_chunks(const struct unpack *unpack, const uint8_t *file,
                            const struct snap_pack_shape *shape, uint8_t *out)
{
    const uint64_t chunk_count = snap_pack_chunk_count(shape);
    const uint8_t *at = file + snap_pack_head_bytes(shape);

    for (uint64_t i = 0; i < chunk_count; i++) {
        const uint8_t *entry = file + HEAD_BYTES + i * ENTRY_BYTES;
        const struct file_piece stored = {at, bytes_get_u32(entry)};
        const enum how how = (enum how)bytes_get_u32(entry + ENTRY_AT_HOW);
        const size_t count = chunk_bytes(shape, i);
        if (hash_bytes(at, stored.count).low != bytes_get_u64(entry + ENTRY_AT_STORED_CHECKSUM)) {
            return ERR_FAIL(ERR_CORRUPT, "pack: chunk %" PRIu64 ": checksum of what is stored", i);
        }
        if (!expand(unpack, how, stored, out, count)) {
            return ERR_FAIL(ERR_CORRUPT, "pack: chunk %" PRIu64 ": not %zu bytes of zstd", i,
                            count);
        }
        if (hash_bytes(out, count).low != bytes_get_u64(entry + ENTRY_AT_CHUNK_CHECKSUM)) {
            return ERR_FAIL(ERR_CORRUPT, "pack: chunk %" PRIu64 ": checksum", i);
        }
        at += stored.count;
        out += count;
    }
    return ERR_OK;
}

enum err snap_pack_read(const uint8_t *file, uint64_t file_bytes, uint8_t *out, uint64_t out_bytes)
{
    struct snap_pack_shape shape;

    ERR_TRY(snap_pack_read_shape(file, file_bytes, &shape));
    if (shape.bytes != out_bytes) {
        return ERR_FAIL(ERR_CORRUPT, "pack: of %" PRIu64 " bytes, expected %" PRIu64, shape.bytes,
                        out_bytes);
    }
    struct unpack unpack = {shape.width, malloc(shape.chunk_bytes), ZSTD_createDCtx()};
    const enum err status =
        unpack.planes == NULL || unpack.zstd == NULL
            ? ERR_FAIL(ERR_NO_MEMORY, "reading a pack with chunks of %" PRIu32 " bytes",
                       shape.chunk_bytes)
            : read_chunks(&unpack, file, &shape, out);
    ZSTD_freeDCtx(unpack.zstd);
    free(unpack.planes);
    return status;
}
