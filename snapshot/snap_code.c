#include "snapshot/snap_code.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

/* ISA-L takes lengths as int; longer rows are worked through in pieces. */
static const size_t PIECE_BYTES_MAX = (size_t)1 << 30;

enum {
    TABLE_BYTES = 32,     /* of one coefficient, fixed by ec_init_tables() */
    XOR_ALIGN_BYTES = 32, /* what xor_gen() wants of every row */
};

struct snap_code {
    int given_count, wanted_count;
    bool is_xor; /* one row is wanted, the sum of the others */
    uint8_t tables[];
};

/* Row `row` of the generator: a unit row for data, coefficients for parity. */
static void generator_row(int k, int m, int row, uint8_t coefficients[SNAP_ROWS_MAX])
{
    uint8_t matrix[SNAP_ROWS_MAX * SNAP_ROWS_MAX];

    if (m == 1 && row == k) {
        memset(coefficients, 1, (size_t)k);
        return;
    }
    gf_gen_cauchy1_matrix(matrix, k + m, k);
    memcpy(coefficients, matrix + row * k, (size_t)k);
}

/*
 * The wanted rows in terms of the given ones: with A the given rows of the generator,
 * given = A * data, so row r is generator[r] * A^-1 * given.
 */
static void solve(int k, int m, const int given[], const int wanted[], int wanted_count,
                  uint8_t *rows)
{
    uint8_t square[SNAP_ROWS_MAX * SNAP_ROWS_MAX];
    uint8_t inverse[SNAP_ROWS_MAX * SNAP_ROWS_MAX];
    uint8_t row[SNAP_ROWS_MAX];

    for (int i = 0; i < k; i++) {
        generator_row(k, m, given[i], square + i * k);
    }
    const int singular = gf_invert_matrix(square, inverse, k);
    assert(!singular); /* every square part of the matrix is invertible */
    (void)singular;
    for (int w = 0; w < wanted_count; w++) {
        generator_row(k, m, wanted[w], row);
        for (int column = 0; column < k; column++) {
            uint8_t sum = 0;
            for (int i = 0; i < k; i++) {
                sum ^= gf_mul(row[i], inverse[i * k + column]);
            }
            rows[w * k + column] = sum;
        }
    }
}

static enum err check_rows(int row_count, const int given[], int given_count, const int wanted[],
                           int wanted_count)
{
    bool used[SNAP_ROWS_MAX] = {false};

    for (int i = 0; i < given_count + wanted_count; i++) {
        const int row = i < given_count ? given[i] : wanted[i - given_count];
        if (row < 0 || row >= row_count || used[row]) {
            return ERR_FAIL(ERR_INVALID, "row %d of a stripe of %d, or twice", row, row_count);
        }
        used[row] = true;
    }
    return ERR_OK;
}

enum err snap_code_open(int data_count, int parity_count, const int given[], const int wanted[],
                        int wanted_count, struct snap_code **code_out)
{
    const int k = data_count, m = parity_count;
    uint8_t rows[SNAP_PARITY_MAX * SNAP_ROWS_MAX];

    if (k < 1 || m < 0 || m > SNAP_PARITY_MAX || k + m > SNAP_ROWS_MAX || wanted_count < 0 ||
        wanted_count > m) {
        return ERR_FAIL(ERR_INVALID, "a stripe of %d data and %d parity rows, %d of them wanted", k,
                        m, wanted_count);
    }
    ERR_TRY(check_rows(k + m, given, k, wanted, wanted_count));
    struct snap_code *code =
        calloc(1, sizeof(*code) + (size_t)(TABLE_BYTES * k * (wanted_count + 1)));
    if (code == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "tables of a %d+%d stripe", k, m);
    }
    code->given_count = k;
    code->wanted_count = wanted_count;
    solve(k, m, given, wanted, wanted_count, rows);
    code->is_xor = wanted_count == 1;
    for (int i = 0; i < k && code->is_xor; i++) {
        code->is_xor = rows[i] == 1;
    }
    ec_init_tables(k, wanted_count, rows, code->tables);
    *code_out = code;
    return ERR_OK;
}

void snap_code_close(struct snap_code *code)
{
    free(code);
}

static bool is_aligned(const struct snap_code *code, const uint8_t *const inputs[],
                       uint8_t *const outputs[])
{
    uintptr_t bits = (uintptr_t)outputs[0];

    for (int i = 0; i < code->given_count; i++) {
        bits |= (uintptr_t)inputs[i];
    }
    return bits % XOR_ALIGN_BYTES == 0;
}

/* ISA-L's prototypes lack const although it only reads the inputs; the casts end here. */
static void run_piece(const struct snap_code *code, size_t offset, size_t bytes,
                      const uint8_t *const inputs[], uint8_t *const outputs[], bool is_xor)
{
    uint8_t *rows[SNAP_ROWS_MAX];
    uint8_t *results[SNAP_PARITY_MAX];

    for (int i = 0; i < code->given_count; i++) {
        rows[i] = (uint8_t *)(uintptr_t)(inputs[i] + offset);
    }
    for (int i = 0; i < code->wanted_count; i++) {
        results[i] = outputs[i] + offset;
    }
    if (is_xor) {
        void *vectors[SNAP_ROWS_MAX + 1];
        for (int i = 0; i < code->given_count; i++) {
            vectors[i] = rows[i];
        }
        vectors[code->given_count] = results[0];
        xor_gen(code->given_count + 1, (int)bytes, vectors);
        return;
    }
    ec_encode_data((int)bytes, code->given_count, code->wanted_count,
                   (uint8_t *)(uintptr_t)code->tables, rows, results);
}

void snap_code_run(const struct snap_code *code, size_t bytes, const uint8_t *const inputs[],
                   uint8_t *const outputs[])
{
    if (code->wanted_count == 0) {
        return;
    }
    if (code->is_xor && code->given_count == 1) { /* xor_gen() wants two rows */
        memcpy(outputs[0], inputs[0], bytes);
        return;
    }
    const bool is_xor = code->is_xor && is_aligned(code, inputs, outputs);
    for (size_t offset = 0; offset < bytes; offset += PIECE_BYTES_MAX) {
        const size_t left = bytes - offset;
        run_piece(code, offset, left < PIECE_BYTES_MAX ? left : PIECE_BYTES_MAX, inputs, outputs,
                  is_xor);
    }
}
