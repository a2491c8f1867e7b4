/* Unit tests of snapshot/snap_code.h: every way to lose rows, and a definition of our own. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_code.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { BYTES_MAX = 4096 };

static const struct shape {
    int k, m;
} shapes[] = {{1, 1}, {2, 1}, {3, 1}, {2, 2}, {4, 2}, {3, 3}, {8, 2}, {5, 4}};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static uint8_t rows[SNAP_ROWS_MAX][BYTES_MAX + 64] __attribute__((aligned(64)));

/* k rows of random data, m of parity, `offset` bytes from an aligned place. */
static void encode(int k, int m, size_t offset, size_t bytes)
{
    struct snap_code *code = NULL;
    const uint8_t *inputs[SNAP_ROWS_MAX];
    uint8_t *outputs[SNAP_ROWS_MAX];
    int given[SNAP_ROWS_MAX] = {0}, wanted[SNAP_ROWS_MAX] = {0};

    for (int i = 0; i < k; i++) {
        bytes_from_seed(rows[i], sizeof(rows[i]), (uint64_t)i + 1);
        given[i] = i;
        inputs[i] = rows[i] + offset;
    }
    for (int j = 0; j < m; j++) {
        memset(rows[k + j], 0xee, sizeof(rows[k + j]));
        wanted[j] = k + j;
        outputs[j] = rows[k + j] + offset;
    }
    EXPECT_OK(snap_code_open(k, m, given, wanted, m, &code));
    snap_code_run(code, bytes, inputs, outputs);
    snap_code_close(code);
}

/* From the first k rows that are not in the mask, those that are. */
static void expect_rebuilt(int k, int m, unsigned lost, size_t offset, size_t bytes)
{
    static uint8_t results[SNAP_PARITY_MAX][BYTES_MAX + 64] __attribute__((aligned(64)));
    struct snap_code *code = NULL;
    const uint8_t *inputs[SNAP_ROWS_MAX];
    uint8_t *outputs[SNAP_ROWS_MAX];
    int given[SNAP_ROWS_MAX] = {0}, wanted[SNAP_ROWS_MAX] = {0};
    int given_count = 0, wanted_count = 0;

    for (int row = 0; row < k + m; row++) {
        if ((lost >> row & 1) != 0) {
            outputs[wanted_count] = results[wanted_count] + offset;
            wanted[wanted_count++] = row;
        } else if (given_count < k) {
            inputs[given_count] = rows[row] + offset;
            given[given_count++] = row;
        }
    }
    memset(results, 0x11, sizeof(results));
    EXPECT_OK(snap_code_open(k, m, given, wanted, wanted_count, &code));
    snap_code_run(code, bytes, inputs, outputs);
    for (int i = 0; i < wanted_count; i++) {
        ck_assert_mem_eq(outputs[i], rows[wanted[i]] + offset, bytes);
        ck_assert_uint_eq(outputs[i][bytes], 0x11); /* nothing behind the end */
    }
    snap_code_close(code);
}

START_TEST(code__gives_back_every_set_of_lost_rows)
{
    const int k = shapes[_i].k, m = shapes[_i].m;

    encode(k, m, 0, 1000);
    for (unsigned lost = 0; lost < 1u << (k + m); lost++) {
        if (__builtin_popcount(lost) <= m) {
            expect_rebuilt(k, m, lost, 0, 1000);
        }
    }
}
END_TEST

START_TEST(code__takes_any_length_and_alignment)
{
    static const size_t lengths[] = {0, 1, 31, 32, 33, 255, 4096};

    for (size_t offset = 0; offset < 3; offset++) {
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            const int k = shapes[_i].k, m = shapes[_i].m;
            encode(k, m, offset * 7, lengths[i]);
            expect_rebuilt(k, m, (1u << m) - 1u, offset * 7, lengths[i]);
            expect_rebuilt(k, m, 1u << (k + m - 1), offset * 7, lengths[i]);
        }
    }
}
END_TEST

/* a b in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1, bit by bit. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
    unsigned product = 0;

    for (int bit = 7; bit >= 0; bit--) {
        product = product << 1 ^ ((product & 0x80) != 0 ? 0x11d : 0);
        product ^= (b >> bit & 1) != 0 ? a : 0;
    }
    return (uint8_t)product;
}

static uint8_t inverse(uint8_t a)
{
    uint8_t b = 1;

    while (multiply(a, b) != 1) {
        b++;
    }
    return b;
}

/* ISA-L's Cauchy matrix has 1 / (row xor column) for row k + j and column i. */
START_TEST(parity__is_the_cauchy_sum_and_for_one_row_the_exclusive_or)
{
    const int k = shapes[_i].k, m = shapes[_i].m;

    encode(k, m, 0, 64);
    for (int j = 0; j < m; j++) {
        for (int at = 0; at < 64; at++) {
            uint8_t sum = 0;
            for (int i = 0; i < k; i++) {
                const uint8_t c = m == 1 ? 1 : inverse((uint8_t)((k + j) ^ i));
                sum ^= multiply(c, rows[i][at]);
            }
            ck_assert_uint_eq(rows[k + j][at], sum);
        }
    }
}
END_TEST

START_TEST(open__refuses_what_is_no_stripe)
{
    static const int given[] = {0, 1, 2}, twice[] = {0, 0}, far[] = {0, 7};
    static const int wanted[] = {2}, same[] = {1};
    struct snap_code *code = NULL;

    EXPECT_ERR(snap_code_open(0, 1, given, wanted, 1, &code), ERR_INVALID, "0 data");
    EXPECT_ERR(snap_code_open(2, SNAP_PARITY_MAX + 1, given, wanted, 1, &code), ERR_INVALID,
               "parity");
    EXPECT_ERR(snap_code_open(SNAP_ROWS_MAX, 1, given, wanted, 1, &code), ERR_INVALID, "64 data");
    EXPECT_ERR(snap_code_open(2, 1, given, wanted, 2, &code), ERR_INVALID, "2 of them wanted");
    EXPECT_ERR(snap_code_open(2, 1, twice, wanted, 1, &code), ERR_INVALID, "row 0");
    EXPECT_ERR(snap_code_open(2, 1, far, wanted, 1, &code), ERR_INVALID, "row 7");
    EXPECT_ERR(snap_code_open(2, 1, given, same, 1, &code), ERR_INVALID, "row 1");
    ck_assert_ptr_null(code);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_code");
    TCase *tcase = tcase_create("snap_code");

    tcase_add_loop_test(tcase, code__gives_back_every_set_of_lost_rows, 0, SHAPES);
    tcase_add_loop_test(tcase, code__takes_any_length_and_alignment, 0, SHAPES);
    tcase_add_loop_test(tcase, parity__is_the_cauchy_sum_and_for_one_row_the_exclusive_or, 0,
                        SHAPES);
    tcase_add_test(tcase, open__refuses_what_is_no_stripe);
    suite_add_tcase(suite, tcase);
    return suite;
}
