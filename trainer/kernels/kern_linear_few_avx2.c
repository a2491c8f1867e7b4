#include "trainer/kernels/kern_linear_few_avx2_priv.h"

#include <assert.h>
#include <string.h>

#include "trainer/kernels/kern_avx2_priv.h"

enum {
    PANEL = 2 * LANES,
    PANELS_MAX = 4,
    ROWS_MAX = KERN_LINEAR_FEW_ROWS,
    TILE_ROWS = 6,
    SUMS_MAX = 6,
};

/* Panels side by side of a product of a few rows. */
struct few {
    float *c;
    int64_t ld_c;
    const float *a;
    int64_t ld_a;
    const float *panels;
    int64_t depth;
    const float *bias; /* NULL: none */
    const float *from; /* NULL: none; stride ld_c */
};

static const float zeros[PANEL];

/*
 * `rows` and `panels` are constants where this is inlined: the sums live in registers. Pairs of vectors are
 * written out and not counted, for compilers that unroll one loop but not two.
 */
static inline __attribute__((always_inline)) void multiply(const struct few *few, int rows,
                                                           int panels)
{
    const int64_t depth = few->depth, ld_a = few->ld_a, ld_c = few->ld_c;
    const float *a = few->a;
    const float *panel = few->panels;
    float *const c = few->c;
    __m256 low[SUMS_MAX], high[SUMS_MAX];

#pragma GCC unroll 8
    for (int i = 0; i < rows * panels; i++) {
        const int64_t r = i / panels, n = (int64_t)(i % panels) * PANEL;
        const float *bias = few->bias == NULL ? zeros : few->bias + n;
        const float *from = few->from == NULL ? zeros : few->from + r * ld_c + n;
        low[i] = _mm256_add_ps(_mm256_loadu_ps(bias), _mm256_loadu_ps(from));
        high[i] = _mm256_add_ps(_mm256_loadu_ps(bias + LANES), _mm256_loadu_ps(from + LANES));
    }
    for (int64_t d = 0; d < depth; d++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows * panels; i++) {
            const __m256 factor = _mm256_broadcast_ss(a + i / panels * ld_a);
            const float *w = panel + i % panels * depth * PANEL;
            low[i] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(w), low[i]);
            high[i] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(w + LANES), high[i]);
        }
        panel += PANEL;
        a++;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows * panels; i++) {
        const int64_t r = i / panels, n = (int64_t)(i % panels) * PANEL;
        _mm256_storeu_ps(c + r * ld_c + n, low[i]);
        _mm256_storeu_ps(c + r * ld_c + n + LANES, high[i]);
    }
}

static void multiply_panels(const struct few *few, int64_t rows, int64_t panels)
{
    switch (rows * 8 + panels) {
    case 8 + 4: multiply(few, 1, 4); break;
    case 8 + 1: multiply(few, 1, 1); break;
    case 16 + 2: multiply(few, 2, 2); break;
    case 16 + 1: multiply(few, 2, 1); break;
    case 24 + 2: multiply(few, 3, 2); break;
    case 24 + 1: multiply(few, 3, 1); break;
    case 32 + 1: multiply(few, 4, 1); break;
    case 40 + 1: multiply(few, 5, 1); break;
    default: multiply(few, 6, 1); break;
    }
}

/* Twelve rows are two tiles of six, seven are four and three: what is left over would wait for itself. */
static void multiply_tiles(const struct few *few, int64_t rows, int64_t panels)
{
    const int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    struct few tile = *few;

    for (int64_t t = tiles; t >= 1; t--) {
        const int64_t count = (rows + t - 1) / t;
        multiply_panels(&tile, count, panels);
        tile.a += count * few->ld_a;
        tile.c += count * few->ld_c;
        tile.from = few->from == NULL ? NULL : tile.from + count * few->ld_c;
        rows -= count;
    }
}

/* The last panel, of `columns` < 16, in a block aside. */
static void multiply_narrow(const struct few *few, int64_t rows, int64_t columns)
{
    float block[ROWS_MAX * PANEL] = {0};
    struct few aside = *few;

    for (int64_t r = 0; r < rows; r++) {
        for (int64_t n = 0; n < columns; n++) {
            block[r * PANEL + n] = (few->bias == NULL ? 0.0f : few->bias[n]) +
                                   (few->from == NULL ? 0.0f : few->from[r * few->ld_c + n]);
        }
    }
    aside.bias = NULL;
    aside.from = block;
    aside.c = block;
    aside.ld_c = PANEL;
    multiply_tiles(&aside, rows, 1);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(few->c + r * few->ld_c, block + r * PANEL, (size_t)columns * sizeof(float));
    }
}

void kern_linear_few_avx2(float *c, int64_t ld_c, const float *a, int64_t ld_a, int64_t rows,
                          const float *panels, int64_t columns, int64_t depth, const float *bias,
                          const float *from)
{
    const int64_t at_once = rows == 1 ? PANELS_MAX : rows <= 3 ? 2 : 1;
    struct few few = {.c = c,
                      .ld_c = ld_c,
                      .a = a,
                      .ld_a = ld_a,
                      .panels = panels,
                      .depth = depth,
                      .bias = bias,
                      .from = from};
    int64_t column = 0;

    assert(rows >= 1 && rows <= ROWS_MAX);
    while (column < columns) {
        const int64_t count = columns - column >= at_once * PANEL ? at_once : 1;
        if (columns - column < PANEL) {
            multiply_narrow(&few, rows, columns - column);
            return;
        }
        multiply_tiles(&few, rows, count);
        column += count * PANEL;
        few.c += count * PANEL;
        few.panels += count * PANEL * depth;
        few.bias = bias == NULL ? NULL : bias + column;
        few.from = from == NULL ? NULL : from + column;
    }
}
