/*
 * launch/report/tfrecord.h - the framing of TFRecord files, which TensorBoard's event files are:
 *
 *      u64 count | u32 masked CRC32C of those 8 bytes | count bytes | u32 masked CRC32C of them
 *
 * all little-endian. The mask, of TensorFlow's lib/hash/crc32c.h, keeps a CRC of data that hold CRCs from being
 * weak: rotate right by 15, add 0xa282ead8.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_TFRECORD_H
#define LAUNCH_REPORT_TFRECORD_H

#include <stddef.h>
#include <stdint.h>

enum { TFRECORD_HEAD_BYTES = 12, TFRECORD_TAIL_BYTES = 4 };

/* CRC32C (Castagnoli) as everybody has it: of "123456789" it is 0xe3069283. */
uint32_t tfrecord_crc(const void *bytes, size_t count);
uint32_t tfrecord_masked_crc(const void *bytes, size_t count);

/* What comes before and after `count` bytes of a record. */
void tfrecord_frame(const void *bytes, size_t count, uint8_t head_out[TFRECORD_HEAD_BYTES],
                    uint8_t tail_out[TFRECORD_TAIL_BYTES]);

#endif
