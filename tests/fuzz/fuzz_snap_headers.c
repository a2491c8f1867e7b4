/*
 * Fuzz target: the headers of a member's memory, from arbitrary bytes whose checksum is made right,
 * since no input would come further otherwise.
 *
 * Property: a header is refused, or written again it is the very same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "snapshot/snap_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void seal(uint8_t *bytes, size_t header_bytes)
{
    bytes_put_u64(bytes + header_bytes - 8, hash_bytes(bytes, header_bytes - 8).low);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    uint8_t file[SNAP_FILE_HEADER_BYTES] = {0}, slot[SNAP_SLOT_HEADER_BYTES] = {0};
    uint8_t again[SNAP_SLOT_HEADER_BYTES];
    struct snap_file_header file_header;
    struct snap_slot_header slot_header;

    memcpy(file, bytes, count < sizeof(file) ? count : sizeof(file));
    memcpy(slot, bytes, count < sizeof(slot) ? count : sizeof(slot));
    seal(file, sizeof(file));
    seal(slot, sizeof(slot));
    if (snap_file_header_read(file, &file_header) == ERR_OK) {
        snap_file_header_write(&file_header, again);
        if (memcmp(again, file, sizeof(file)) != 0) {
            abort();
        }
    }
    if (snap_slot_header_read(slot, &slot_header) == ERR_OK) {
        snap_slot_header_write(&slot_header, again);
        if (memcmp(again, slot, sizeof(slot)) != 0) {
            abort();
        }
    }
    err_clear();
    return 0;
}
