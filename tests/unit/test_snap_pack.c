/* Unit tests of snapshot/snap_pack.h: what is packed comes back, small where it pays; damage is found. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/hash.h"
#include "snapshot/snap_pack.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { CHUNK = 4096, HEAD = 32, ENTRY = 24, AT_HOW = 4 };
enum { RAW, ZSTD, PLANES };

struct packed {
    uint8_t *file;
    size_t file_bytes;
    struct snap_pack_shape shape;
};

/* As a writer does it: the chunks first, then what the file begins with. */
static struct packed pack_all(uint32_t width, uint32_t chunk_bytes, const uint8_t *bytes,
                              size_t count)
{
    struct packed packed = {.shape = {width, chunk_bytes, count}};
    struct snap_pack *pack = NULL;

    EXPECT_OK(snap_pack_open(&packed.shape, &pack));
    const size_t head_bytes = (size_t)snap_pack_head_bytes(&packed.shape);
    packed.file = malloc(head_bytes + count);
    ck_assert_ptr_nonnull(packed.file);
    packed.file_bytes = head_bytes;
    for (size_t at = 0; at < count; at += chunk_bytes) {
        const size_t left = count - at;
        const size_t piece_bytes = left < chunk_bytes ? left : chunk_bytes;
        const struct file_piece piece = snap_pack_chunk(pack, bytes + at, piece_bytes);
        ck_assert_uint_le(piece.count, piece_bytes);
        memcpy(packed.file + packed.file_bytes, piece.bytes, piece.count);
        packed.file_bytes += piece.count;
    }
    const struct file_piece head = snap_pack_head(pack);
    ck_assert_uint_eq(head.count, head_bytes);
    memcpy(packed.file, head.bytes, head.count);
    snap_pack_close(pack);
    return packed;
}

static enum err read_all(const struct packed *packed, uint8_t *out)
{
    return snap_pack_read(packed->file, packed->file_bytes, out, packed->shape.bytes);
}

/* Packs, reads back into memory of exactly that size, compares. The caller frees file. */
static struct packed round_trip(uint32_t width, uint32_t chunk_bytes, const uint8_t *bytes,
                                size_t count)
{
    struct packed packed = pack_all(width, chunk_bytes, bytes, count);
    uint8_t *out = malloc(count + 1);

    ck_assert_ptr_nonnull(out);
    memset(out, 0x5a, count + 1);
    EXPECT_OK(read_all(&packed, out));
    ck_assert_msg(memcmp(out, bytes, count) == 0, "%zu bytes of width %u differ", count, width);
    ck_assert_uint_eq(out[count], 0x5a);
    free(out);
    return packed;
}

static uint8_t *entry_of(const struct packed *packed, size_t chunk)
{
    return packed->file + HEAD + chunk * ENTRY;
}

static uint32_t how_of(const struct packed *packed, size_t chunk)
{
    return bytes_get_u32(entry_of(packed, chunk) + AT_HOW);
}

/* The checksum of head and table made right, so that what is behind it is looked at. */
static void seal(const struct packed *packed)
{
    const size_t at = (size_t)snap_pack_head_bytes(&packed->shape) - 8;

    bytes_put_u64(packed->file + at, hash_bytes(packed->file, at).low);
}

/* Floats of one magnitude: sign and exponent take few values, the mantissa all. */
static void floats_from_seed(uint8_t *bytes, size_t count, uint64_t seed)
{
    bytes_from_seed(bytes, count, seed);
    for (size_t i = 3; i < count; i += 4) {
        bytes[i] = (uint8_t)(0x3c | (bytes[i] & 0x80));
    }
}

START_TEST(chunk__stores_planes_when_elements_are_near_each_other)
{
    static uint8_t bytes[1 << 20];

    floats_from_seed(bytes, sizeof(bytes), 1);
    const struct packed packed = round_trip(4, SNAP_PACK_CHUNK_BYTES, bytes, sizeof(bytes));
    ck_assert_uint_eq(how_of(&packed, 0), PLANES);
    ck_assert_uint_lt(packed.file_bytes, sizeof(bytes) * 81 / 100); /* 25 bits of 32 are noise */
    free(packed.file);
}
END_TEST

START_TEST(chunk__stores_plain_zstd_when_planes_are_no_better)
{
    static uint8_t bytes[1 << 16];

    for (size_t i = 0; i < sizeof(bytes);
         i++) { /* a text that repeats, out of step with elements */
        bytes[i] = (uint8_t) "a sentence of 31 bytes, or so. "[i % 31];
    }
    struct packed packed = round_trip(1, CHUNK, bytes, sizeof(bytes));
    ck_assert_uint_eq(how_of(&packed, 3), ZSTD);
    free(packed.file);
    packed = round_trip(8, CHUNK, bytes, sizeof(bytes));
    ck_assert_uint_eq(how_of(&packed, 3), ZSTD);
    free(packed.file);
}
END_TEST

START_TEST(chunk__stores_the_callers_own_bytes_when_nothing_pays)
{
    static uint8_t bytes[CHUNK];
    const struct snap_pack_shape shape = {4, CHUNK, sizeof(bytes)};
    struct snap_pack *pack = NULL;

    bytes_from_seed(bytes, sizeof(bytes), 2);
    EXPECT_OK(snap_pack_open(&shape, &pack));
    const struct file_piece piece = snap_pack_chunk(pack, bytes, sizeof(bytes));
    ck_assert_ptr_eq(piece.bytes, bytes);
    ck_assert_uint_eq(piece.count, sizeof(bytes));
    snap_pack_close(pack);
}
END_TEST

START_TEST(chunk__stores_raw_when_the_sample_promised_too_much)
{
    static uint8_t bytes[1 << 20];

    bytes_from_seed(bytes, sizeof(bytes), 3);
    memset(bytes, 0, 40000); /* all of the sample, less than a twentieth of the chunk */
    const struct packed packed = round_trip(4, SNAP_PACK_CHUNK_BYTES, bytes, sizeof(bytes));
    ck_assert_uint_eq(how_of(&packed, 0), RAW);
    free(packed.file);
}
END_TEST

START_TEST(chunk__stores_raw_when_less_than_a_twentieth_is_saved)
{
    static uint8_t bytes[CHUNK];

    for (size_t zeros = 0; zeros < CHUNK; zeros += 64) {
        bytes_from_seed(bytes, sizeof(bytes), 4);
        memset(bytes, 0, zeros);
        const struct packed packed = round_trip(1, CHUNK, bytes, sizeof(bytes));
        const uint32_t stored = bytes_get_u32(entry_of(&packed, 0));
        ck_assert(how_of(&packed, 0) == RAW ? stored == CHUNK : stored * 21 <= CHUNK * 20);
        ck_assert_uint_eq(how_of(&packed, 0), zeros < 256 ? RAW : ZSTD);
        free(packed.file);
    }
}
END_TEST

START_TEST(pack__gives_back_all_lengths_and_widths)
{
    static const size_t lengths[] = {
        0, 1, 2, 7, 8, 9, CHUNK - 1, CHUNK + 0, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 13};
    static uint8_t bytes[4 * CHUNK];

    for (int kind = 0; kind < 3; kind++) {
        for (uint32_t width = 1; width <= 8; width *= 2) {
            for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                memset(bytes, 0, sizeof(bytes));
                if (kind == 1) {
                    floats_from_seed(bytes, sizeof(bytes), i);
                } else if (kind == 2) {
                    bytes_from_seed(bytes, sizeof(bytes), i);
                }
                const struct packed packed = round_trip(width, CHUNK, bytes, lengths[i]);
                ck_assert_uint_eq(snap_pack_chunk_count(&packed.shape),
                                  (lengths[i] + CHUNK - 1) / CHUNK);
                ck_assert_uint_le(packed.file_bytes,
                                  snap_pack_head_bytes(&packed.shape) + lengths[i]);
                if (kind == 0 && lengths[i] >= CHUNK) {
                    ck_assert_uint_ne(how_of(&packed, 0), RAW);
                }
                free(packed.file);
            }
        }
    }
}
END_TEST

/* A chunk of each kind, and a short one. */
static struct packed of_all_kinds(uint8_t bytes[3 * CHUNK + 13])
{
    bytes_from_seed(bytes, 3 * CHUNK + 13, 5);
    floats_from_seed(bytes, CHUNK, 6);
    for (size_t i = 0; i < CHUNK; i++) {
        bytes[CHUNK + i] = (uint8_t) "eleven bytes"[i % 11];
    }
    const struct packed packed = round_trip(4, CHUNK, bytes, 3 * CHUNK + 13);
    ck_assert_uint_eq(how_of(&packed, 0), PLANES);
    ck_assert_uint_eq(how_of(&packed, 1), ZSTD);
    ck_assert_uint_eq(how_of(&packed, 2), RAW);
    return packed;
}

START_TEST(read__finds_every_flipped_bit)
{
    static uint8_t bytes[3 * CHUNK + 13], out[3 * CHUNK + 13];
    const struct packed packed = of_all_kinds(bytes);

    for (size_t i = 0; i < packed.file_bytes; i++) {
        for (int bit = 0; bit < 8; bit += i < 200 ? 1 : 3) {
            packed.file[i] ^= (uint8_t)(1 << bit);
            ck_assert_msg(read_all(&packed, out) == ERR_CORRUPT, "bit %d of byte %zu", bit, i);
            err_clear();
            packed.file[i] ^= (uint8_t)(1 << bit);
        }
    }
    EXPECT_OK(read_all(&packed, out));
    free(packed.file);
}
END_TEST

START_TEST(read__refuses_every_other_length)
{
    static uint8_t bytes[3 * CHUNK + 13], out[3 * CHUNK + 14];
    struct packed packed = of_all_kinds(bytes);
    const size_t whole = packed.file_bytes;

    for (size_t count = 0; count < whole; count++) {
        uint8_t *cut = malloc(count + 1); /* so that a read beyond it is seen by a sanitizer */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, packed.file, count);
        EXPECT_ERR(snap_pack_read(cut, count, out, packed.shape.bytes), ERR_CORRUPT, "pack");
        free(cut);
    }
    uint8_t *longer = calloc(1, whole + 1);
    ck_assert_ptr_nonnull(longer);
    memcpy(longer, packed.file, whole);
    EXPECT_ERR(snap_pack_read(longer, whole + 1, out, packed.shape.bytes), ERR_CORRUPT,
               "its table says");
    EXPECT_ERR(snap_pack_read(packed.file, whole, out, packed.shape.bytes + 1), ERR_CORRUPT,
               "expected 12302");
    free(longer);
    free(packed.file);
}
END_TEST

START_TEST(read__refuses_every_impossible_field)
{
    static uint8_t bytes[3 * CHUNK + 13], out[3 * CHUNK + 13];
    const struct packed packed = of_all_kinds(bytes);
    const size_t head_bytes = (size_t)snap_pack_head_bytes(&packed.shape);
    const struct {
        size_t at;
        uint64_t value;
        int bytes;
        const char *message;
    } wrong[] = {
        {0, 'X', 1, "no pack: magic"},
        {8, 2, 4, "pack format 2, this build reads 1"},
        {12, 0, 4, "elements of 0"},
        {12, 3, 4, "elements of 3"},
        {12, 16, 4, "elements of 16"},
        {16, 0, 4, "chunks of 0"},
        {16, CHUNK + 4, 4, "chunks of 4100"},
        {16, SNAP_PACK_CHUNK_BYTES_MAX + 8, 4, "chunks of 16777224"},
        {20, 1, 4, "pack of 12301 bytes"},
        {24, UINT64_MAX, 8, "pack of 18446744073709551615 bytes"},
        {24, (uint64_t)CHUNK << 31, 8, "head and table have"},
        {HEAD, CHUNK, 4, "chunk 0: 4096 bytes stored as 2 of 4096"},
        {HEAD, UINT32_MAX, 4, "chunk 0"},
        {HEAD, 100, 4, "its table says"},
        {HEAD + AT_HOW, 3, 4, "bytes stored as 3 of 4096"},
        {12, 1, 4, "bytes stored as 2 of 4096"}, /* planes of elements of one byte */
        {HEAD + AT_HOW, ZSTD, 4, "chunk 0: checksum"},
        {HEAD + AT_HOW, RAW, 4, "chunk 0"},
        {HEAD + 2 * ENTRY, CHUNK - 1, 4, "chunk 2: 4095 bytes stored as 0"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct packed broken = {malloc(packed.file_bytes), packed.file_bytes, packed.shape};
        uint8_t value[8];
        ck_assert_ptr_nonnull(broken.file);
        memcpy(broken.file, packed.file, packed.file_bytes);
        bytes_put_u64(value, wrong[i].value);
        memcpy(broken.file + wrong[i].at, value, (size_t)wrong[i].bytes);
        seal(&broken);
        EXPECT_ERR(read_all(&broken, out), ERR_CORRUPT, wrong[i].message);
        free(broken.file);
    }
    packed.file[head_bytes - 1] ^= 1;
    EXPECT_ERR(read_all(&packed, out), ERR_CORRUPT, "checksum of its head and table");
    free(packed.file);
}
END_TEST

/* What a checksum vouches for and zstd refuses, or makes something else of. */
START_TEST(read__refuses_what_zstd_makes_no_chunk_of)
{
    static uint8_t bytes[3 * CHUNK + 13], out[3 * CHUNK + 13];
    const struct packed packed = of_all_kinds(bytes);
    const size_t at = (size_t)snap_pack_head_bytes(&packed.shape);
    const uint32_t stored = bytes_get_u32(entry_of(&packed, 0));
    /* A frame of one block that repeats a byte 128 KiB long, as large as a block can be. */
    static const uint8_t large[] = {0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x50, 0x00,
                                    0x00, 0x02, 0x00, 0x03, 0x00, 0x10, 0x41};

    packed.file[at] ^= 1;
    bytes_put_u64(entry_of(&packed, 0) + 16, hash_bytes(packed.file + at, stored).low);
    seal(&packed);
    EXPECT_ERR(read_all(&packed, out), ERR_CORRUPT, "chunk 0: not 4096 bytes of zstd");
    memset(packed.file + at, 0, stored);
    memcpy(packed.file + at, large, sizeof(large));
    bytes_put_u64(entry_of(&packed, 0) + 16, hash_bytes(packed.file + at, stored).low);
    seal(&packed);
    EXPECT_ERR(read_all(&packed, out), ERR_CORRUPT, "chunk 0: not 4096 bytes of zstd");
    free(packed.file);
}
END_TEST

START_TEST(open__refuses_shapes_that_no_reader_takes)
{
    static const struct snap_pack_shape wrong[] = {
        {0, CHUNK, 1},
        {3, CHUNK, 1},
        {4, 0, 1},
        {4, 12, 1},
        {4, 8, (uint64_t)8 << 32},
        {4, SNAP_PACK_CHUNK_BYTES_MAX + 8, 1},
    };
    struct snap_pack *pack = NULL;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        EXPECT_ERR(snap_pack_open(&wrong[i], &pack), ERR_INVALID, "pack of");
    }
    snap_pack_close(NULL);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_pack");
    TCase *tcase = tcase_create("snap_pack");

    tcase_add_test(tcase, chunk__stores_planes_when_elements_are_near_each_other);
    tcase_add_test(tcase, chunk__stores_plain_zstd_when_planes_are_no_better);
    tcase_add_test(tcase, chunk__stores_the_callers_own_bytes_when_nothing_pays);
    tcase_add_test(tcase, chunk__stores_raw_when_the_sample_promised_too_much);
    tcase_add_test(tcase, chunk__stores_raw_when_less_than_a_twentieth_is_saved);
    tcase_add_test(tcase, pack__gives_back_all_lengths_and_widths);
    tcase_add_test(tcase, read__finds_every_flipped_bit);
    tcase_add_test(tcase, read__refuses_every_other_length);
    tcase_add_test(tcase, read__refuses_every_impossible_field);
    tcase_add_test(tcase, read__refuses_what_zstd_makes_no_chunk_of);
    tcase_add_test(tcase, open__refuses_shapes_that_no_reader_takes);
    suite_add_tcase(suite, tcase);
    return suite;
}
