/*
 * tests/cudasim/sim_wmma.c - the tensor core: 16x16x16 products of bfloat16, sums in float.
 *
 * Lane l of a warp holds the elements l, l + 32, ... of a row-major 16x16 matrix. The sum over k
 * runs upwards; a GPU's order is its own.
 */
#include <string.h>

#include "tests/cudasim/sim_block_priv.h"
#include "tests/cudasim/sim_watch_priv.h"

#define SIDE 16
#define LANE_ELEMS (SIDE * SIDE / 32)

struct wmma {
    float *d;
    const unsigned short *a, *b;
    const float *c;
};

void cudasim_wmma_load(void *lane_elements, const void *matrix, unsigned ld, int is_row_major,
                       size_t element_bytes, const char *what);
void cudasim_wmma_store(void *matrix, const float *lane_elements, unsigned ld, int is_row_major);
void cudasim_wmma_mma(float *lane_d, const unsigned short *lane_a, const unsigned short *lane_b,
                      const float *lane_c);

float cudasim_float_of_bf16(unsigned short bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;

    memcpy(&value, &wide, sizeof value);
    return value;
}

unsigned short cudasim_bf16_of_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fff;
    }
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* The documented demands on a matrix in memory, and that the whole warp is here. */
static void check_matrix(const void *matrix, unsigned ld, size_t element_bytes, const char *what)
{
    if ((uintptr_t)matrix % 32 != 0) {
        cudasim_trap("the matrix does not begin at a multiple of 32 bytes", what, 0);
    }
    if (ld * element_bytes % 16 != 0) {
        cudasim_trap("the leading dimension is no multiple of 16 bytes", what, 0);
    }
    (void)cudasim_warp(SIM_WARP_BALLOT, UINT32_MAX, 0, 0, what, 0);
}

static size_t place_of(unsigned element, unsigned ld, int is_row_major)
{
    const size_t row = element / SIDE;
    const size_t column = element % SIDE;
    return is_row_major ? row * ld + column : column * ld + row;
}

void cudasim_wmma_load(void *lane_elements, const void *matrix, unsigned ld, int is_row_major,
                       size_t element_bytes, const char *what)
{
    const void *pc = __builtin_return_address(0);

    check_matrix(matrix, ld, element_bytes, what);
    for (unsigned i = 0; i < LANE_ELEMS; i++) {
        const char *from = (const char *)matrix +
                           element_bytes * place_of(cudasim_lane() + 32 * i, ld, is_row_major);
        sim_watch_access((uintptr_t)from, element_bytes, false, pc);
        memcpy((char *)lane_elements + i * element_bytes, from, element_bytes);
    }
}

void cudasim_wmma_store(void *matrix, const float *lane_elements, unsigned ld, int is_row_major)
{
    const void *pc = __builtin_return_address(0);

    check_matrix(matrix, ld, sizeof(float), "store_matrix_sync");
    for (unsigned i = 0; i < LANE_ELEMS; i++) {
        char *to =
            (char *)matrix + sizeof(float) * place_of(cudasim_lane() + 32 * i, ld, is_row_major);
        sim_watch_access((uintptr_t)to, sizeof(float), true, pc);
        memcpy(to, &lane_elements[i], sizeof(float));
    }
}

void sim_wmma_multiply(const uint64_t lanes[32])
{
    static float a[SIDE][SIDE];
    static float b[SIDE][SIDE];
    static float d[SIDE][SIDE];

    for (unsigned lane = 0; lane < 32; lane++) {
        const struct wmma *wmma = (const struct wmma *)(uintptr_t)lanes[lane];
        for (unsigned i = 0; i < LANE_ELEMS; i++) {
            const unsigned element = lane + 32 * i;
            a[element / SIDE][element % SIDE] = cudasim_float_of_bf16(wmma->a[i]);
            b[element / SIDE][element % SIDE] = cudasim_float_of_bf16(wmma->b[i]);
            d[element / SIDE][element % SIDE] = wmma->c[i];
        }
    }
    for (int row = 0; row < SIDE; row++) {
        for (int k = 0; k < SIDE; k++) {
            for (int column = 0; column < SIDE; column++) {
                d[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        const struct wmma *wmma = (const struct wmma *)(uintptr_t)lanes[lane];
        for (unsigned i = 0; i < LANE_ELEMS; i++) {
            const unsigned element = lane + 32 * i;
            wmma->d[i] = d[element / SIDE][element % SIDE];
        }
    }
}

void cudasim_wmma_mma(float *lane_d, const unsigned short *lane_a, const unsigned short *lane_b,
                      const float *lane_c)
{
    const struct wmma wmma = {lane_d, lane_a, lane_b, lane_c};

    (void)cudasim_warp(SIM_WARP_MMA, UINT32_MAX, (uint64_t)(uintptr_t)&wmma, 0, "mma_sync", 0);
}
