#include "launch/report/tfrecord.h"

#include <isa-l/crc.h>

#include "comm/base/bytes.h"

/* ISA-L takes lengths as int. */
static const size_t PIECE_BYTES_MAX = (size_t)1 << 30;

uint32_t tfrecord_crc(const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    unsigned int crc = 0xffffffffU; /* crc32_iscsi() inverts neither at the start nor at the end */

    while (count > 0) {
        const size_t piece = count < PIECE_BYTES_MAX ? count : PIECE_BYTES_MAX;
        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)piece, crc); /* reads only */
        at += piece;
        count -= piece;
    }
    return ~crc;
}

uint32_t tfrecord_masked_crc(const void *bytes, size_t count)
{
    const uint32_t crc = tfrecord_crc(bytes, count);

    return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

void tfrecord_frame(const void *bytes, size_t count, uint8_t head_out[TFRECORD_HEAD_BYTES],
                    uint8_t tail_out[TFRECORD_TAIL_BYTES])
{
    bytes_put_u64(head_out, count);
    bytes_put_u32(head_out + 8, tfrecord_masked_crc(head_out, 8));
    bytes_put_u32(tail_out, tfrecord_masked_crc(bytes, count));
}
