/*
 * Fuzz target: packs from arbitrary bytes, whose checksums are made right where the head says that
 * they are, since no input would come further otherwise; and the same bytes as an array to be packed.
 *
 * Property: a pack is refused, or gives as many bytes as it says; an array that is packed and read is
 * the same array.
 */
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/hash.h"
#include "snapshot/snap_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { HEAD = 32, ENTRY = 24, AT_STORED_CHECKSUM = 16, BYTES_MAX = 1 << 20 };

/* The checksums of head, table and of what is stored. */
static void seal(uint8_t *file, size_t count)
{
    const struct snap_pack_shape shape = {4, bytes_get_u32(file + 16), bytes_get_u64(file + 24)};

    if (shape.chunk_bytes == 0 || snap_pack_chunk_count(&shape) > count / ENTRY) {
        return;
    }
    const size_t chunk_count = (size_t)snap_pack_chunk_count(&shape);
    const size_t head_bytes = (size_t)snap_pack_head_bytes(&shape);
    if (head_bytes > count) {
        return;
    }
    for (size_t i = 0, at = head_bytes; i < chunk_count; i++) {
        uint8_t *entry = file + HEAD + i * ENTRY;
        const size_t stored = bytes_get_u32(entry);
        if (stored > count - at) {
            break;
        }
        bytes_put_u64(entry + AT_STORED_CHECKSUM, hash_bytes(file + at, stored).low);
        at += stored;
    }
    bytes_put_u64(file + head_bytes - 8, hash_bytes(file, head_bytes - 8).low);
}

static void check_read(const uint8_t *file, size_t count)
{
    struct snap_pack_shape shape;

    if (snap_pack_read_shape(file, count, &shape) == ERR_OK && shape.bytes <= BYTES_MAX) {
        uint8_t *out = malloc((size_t)shape.bytes + 1); /* a sanitizer sees a write beyond it */
        if (out == NULL) {
            abort();
        }
        if (snap_pack_read(file, count, out, shape.bytes) == ERR_OK &&
            snap_pack_read(file, count, out, shape.bytes + 1) == ERR_OK) {
            abort();
        }
        free(out);
    }
    err_clear();
}

static void check_round_trip(uint32_t width, const uint8_t *bytes, size_t count)
{
    const struct snap_pack_shape shape = {width, 256, count};
    struct snap_pack *pack = NULL;

    if (snap_pack_open(&shape, &pack) != ERR_OK) {
        abort();
    }
    size_t file_bytes = (size_t)snap_pack_head_bytes(&shape);
    uint8_t *file = malloc(file_bytes + count), *out = malloc(count + 1);
    if (file == NULL || out == NULL) {
        abort();
    }
    for (size_t at = 0; at < count; at += shape.chunk_bytes) {
        const size_t left = count - at;
        const struct file_piece piece =
            snap_pack_chunk(pack, bytes + at, left < shape.chunk_bytes ? left : shape.chunk_bytes);
        memcpy(file + file_bytes, piece.bytes, piece.count);
        file_bytes += piece.count;
    }
    const struct file_piece head = snap_pack_head(pack);
    memcpy(file, head.bytes, head.count);
    if (snap_pack_read(file, file_bytes, out, count) != ERR_OK || memcmp(out, bytes, count) != 0) {
        abort();
    }
    free(out);
    free(file);
    snap_pack_close(pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    check_read(bytes, count);
    if (count >= HEAD) {
        uint8_t *sealed = malloc(count);
        if (sealed == NULL) {
            abort();
        }
        memcpy(sealed, bytes, count);
        seal(sealed, count);
        check_read(sealed, count);
        free(sealed);
    }
    check_round_trip(1U << (count % 4), bytes, count);
    return 0;
}
