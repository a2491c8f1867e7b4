/* Unit tests of launch/report/tfrecord.h: CRCs of RFC 3720 (B.4), and the head that every event file begins with. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "launch/report/tfrecord.h"
#include "tests/support/test_suite.h"

START_TEST(crc__is_that_of_the_rfc)
{
    uint8_t bytes[32];

    ck_assert_uint_eq(tfrecord_crc("", 0), 0);
    ck_assert_uint_eq(tfrecord_crc("123456789", 9), 0xe3069283U);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_uint_eq(tfrecord_crc(bytes, sizeof(bytes)), 0x8a9136aaU);
    memset(bytes, 0xff, sizeof(bytes));
    ck_assert_uint_eq(tfrecord_crc(bytes, sizeof(bytes)), 0x62a8ab43U);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    ck_assert_uint_eq(tfrecord_crc(bytes, sizeof(bytes)), 0x46dd794eU);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    ck_assert_uint_eq(tfrecord_crc(bytes, sizeof(bytes)), 0x113fdb5cU);
}
END_TEST

START_TEST(masked_crc__rotates_and_adds)
{
    /* 0xe3069283 turned right by 15 is 0x2507c60d */
    ck_assert_uint_eq(tfrecord_masked_crc("123456789", 9), 0x2507c60dU + 0xa282ead8U);
}
END_TEST

START_TEST(frame__is_that_of_other_writers)
{
    /* The first record of event files that TensorFlow and PyTorch write: 24 bytes. */
    static const uint8_t expected[TFRECORD_HEAD_BYTES] = {0x18, 0, 0,    0,    0,    0,
                                                          0,    0, 0xa3, 0x7f, 0x4b, 0x22};
    uint8_t head[TFRECORD_HEAD_BYTES], tail[TFRECORD_TAIL_BYTES];
    uint8_t payload[24] = {0};

    tfrecord_frame(payload, sizeof(payload), head, tail);
    ck_assert_mem_eq(head, expected, sizeof(head));
    const uint32_t crc = tfrecord_masked_crc(payload, sizeof(payload));
    for (int i = 0; i < TFRECORD_TAIL_BYTES; i++) {
        ck_assert_uint_eq(tail[i], (crc >> (8 * i)) & 255);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tfrecord");
    TCase *tcase = tcase_create("tfrecord");

    tcase_add_test(tcase, crc__is_that_of_the_rfc);
    tcase_add_test(tcase, masked_crc__rotates_and_adds);
    tcase_add_test(tcase, frame__is_that_of_other_writers);
    suite_add_tcase(suite, tcase);
    return suite;
}
