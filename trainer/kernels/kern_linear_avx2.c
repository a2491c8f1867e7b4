/*
 * Matrix products by one tile of 6 x 16 sums in twelve vector registers: per step of
 * the inner dimension two vectors of a panel and six broadcast factors feed twelve
 * multiply-adds, enough independent ones to keep both units of a core busy.
 *
 * A panel holds 16 columns of the right-hand matrix, one step of the inner dimension
 * after the other: panel p of a matrix of `depth` x `columns` is [depth, 16], filled up
 * with zeros. Weights become panels once a step (kern_linear_pack_avx2), the operands of
 * the weight gradient as they are needed.
 *
 * An element of a result is one chain of fused multiply-adds in the order of the inner
 * dimension, begun with what was preloaded. Cutting the inner dimension into blocks
 * stores and loads the chain without rounding. So its bits depend neither on the tile
 * it lies in nor on how many rows there are.
 */
#include "trainer/kernels/kern_linear.h"

#include <assert.h>
#include <string.h>

#include "trainer/kernels/kern_avx2_priv.h"
#include "trainer/kernels/kern_linear_few_avx2_priv.h"
#include "trainer/kernels/kern_transpose_avx2_priv.h"

enum {
    TILE_ROWS = 6,
    PANEL = 2 * LANES,
    DEPTH_MAX = 256, /* steps at a time: 16 KiB of a panel and 6 KiB of rows fit the first cache */
    ROW_BLOCK = 48,  /* rows that meet one panel while it is in the first cache */
    ALIGNMENT = 64,
};

/* The weight gradient: this many rows and columns of dY are packed at a time. */
enum {
    WEIGHT_DEPTH_MAX = 256,
    WEIGHT_SLABS_MAX = 44, /* of TILE_ROWS columns: 264 */
    SLAB_ELEMS = WEIGHT_DEPTH_MAX * TILE_ROWS + PANEL,
};

struct scratch {
    _Alignas(ALIGNMENT) float slabs[WEIGHT_SLABS_MAX * SLAB_ELEMS]; /* dY, [depth, 6] each */
    _Alignas(ALIGNMENT) float panel[WEIGHT_DEPTH_MAX * PANEL];      /* of X */
};

static _Thread_local struct scratch scratch;

static const struct kern_linear_epilogue NOTHING_BESIDES = {.gelu = KERN_GELU_NONE};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The size of the equal parts, each at most `most`, that `whole` is cut into. */
static int64_t part_of(int64_t whole, int64_t most)
{
    const int64_t parts = (whole + most - 1) / most;

    return (whole + parts - 1) / parts;
}

/*
 * Rows of results, 16 wide:
 *
 *      c[r][n] = bias[n] + from[r][n] + the sum over d < depth of a(r, d) * panel[d][n]
 *
 * with a(r, d) at a + r / 6 * a_tile + r % 6 * a_row + d * a_step.
 */
struct strip {
    const float *a;
    int64_t a_tile, a_row, a_step;
    const float *panel;
    int64_t depth;
    float *c;
    const float *bias; /* NULL: none */
    const float *from; /* NULL: none; stride ld_c */
    int64_t ld_c;
    int64_t rows, columns; /* of the 16 results that exist, 1 .. 16 */
};

static const float zeros[PANEL];

/* `whole`: a constant where this is inlined; false for eight columns of which some are not there. */
static inline __attribute__((always_inline)) __m256 load(const float *at, bool whole, __m256i there)
{
    return whole ? _mm256_loadu_ps(at) : _mm256_maskload_ps(at, there);
}

static inline __attribute__((always_inline)) void store(float *at, __m256 value, bool whole,
                                                        __m256i there)
{
    if (whole) {
        _mm256_storeu_ps(at, value);
    } else {
        _mm256_maskstore_ps(at, there, value);
    }
}

/*
 * Tiles `first` .. `end` - 1 of a strip, `rows` of each. `rows` and `whole` are constants where this
 * is inlined: the sums live in registers.
 */
static inline __attribute__((always_inline)) void
strip_tiles(const struct strip *strip, int64_t first, int64_t end, int rows, bool whole)
{
    const int64_t low_columns = least(strip->columns, LANES);
    const __m256i low_there = vec_mask(low_columns);
    const __m256i high_there = vec_mask(strip->columns - low_columns);
    const int64_t a_row = strip->a_row, a_step = strip->a_step, depth = strip->depth;
    const int64_t ld_c = strip->ld_c, ld_from = strip->from == NULL ? 0 : ld_c;
    const float *const bias = strip->bias == NULL ? zeros : strip->bias;
    const float *const all_from = strip->from == NULL ? zeros : strip->from;

    for (int64_t t = first; t < end; t++) {
        const float *a = strip->a + t * strip->a_tile;
        const float *panel = strip->panel;
        const float *const from = all_from + t * TILE_ROWS * ld_from;
        float *const c = strip->c + t * TILE_ROWS * ld_c;
        __m256 sums[TILE_ROWS][2];

        for (int r = 0; r < rows; r++) {
            sums[r][0] = _mm256_add_ps(load(bias, whole, low_there),
                                       load(from + r * ld_from, whole, low_there));
            sums[r][1] = _mm256_add_ps(load(bias + LANES, whole, high_there),
                                       load(from + r * ld_from + LANES, whole, high_there));
        }
        for (int64_t d = 0; d < depth; d++) {
            const __m256 low = _mm256_loadu_ps(panel);
            const __m256 high = _mm256_loadu_ps(panel + LANES);
            for (int r = 0; r < rows; r++) {
                const __m256 factor = _mm256_broadcast_ss(a + r * a_row);
                sums[r][0] = _mm256_fmadd_ps(factor, low, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(factor, high, sums[r][1]);
            }
            a += a_step;
            panel += PANEL;
        }
        for (int r = 0; r < rows; r++) {
            store(c + r * ld_c, sums[r][0], whole, low_there);
            store(c + r * ld_c + LANES, sums[r][1], whole, high_there);
        }
    }
}

static inline __attribute__((always_inline)) void strip_rows(const struct strip *strip, bool whole)
{
    const int64_t tiles = strip->rows / TILE_ROWS;

    strip_tiles(strip, 0, tiles, TILE_ROWS, whole);
    switch (strip->rows % TILE_ROWS) {
    case 5: strip_tiles(strip, tiles, tiles + 1, 5, whole); break;
    case 4: strip_tiles(strip, tiles, tiles + 1, 4, whole); break;
    case 3: strip_tiles(strip, tiles, tiles + 1, 3, whole); break;
    case 2: strip_tiles(strip, tiles, tiles + 1, 2, whole); break;
    case 1: strip_tiles(strip, tiles, tiles + 1, 1, whole); break;
    default: break;
    }
}

static void strip_run(const struct strip *strip)
{
    if (strip->columns == PANEL) {
        strip_rows(strip, true);
    } else {
        strip_rows(strip, false);
    }
}

/* c[m][n] = bias[n] + from[m][n] + the sum over d < depth of a[m][d] * panels[d][n]. */
struct product {
    const float *a;
    int64_t ld_a;
    const float *panels;
    float *c;
    int64_t ld_c; /* also of from, slope and factor */
    int64_t rows, columns, depth;
    const float *bias, *from;
    enum kern_gelu gelu; /* not NONE: c becomes gelu(c) */
    float *slope;        /* not NULL: and gelu'(c) goes here */
    const float *factor; /* not NULL: c is multiplied by it */
};

static void multiply_row(float *c, const float *factor, int64_t columns)
{
    const int64_t whole = columns / LANES * LANES;

    for (int64_t i = 0; i < whole; i += LANES) {
        _mm256_storeu_ps(c + i, _mm256_mul_ps(_mm256_loadu_ps(c + i), _mm256_loadu_ps(factor + i)));
    }
    for (int64_t i = whole; i < columns; i++) {
        c[i] *= factor[i];
    }
}

/* What follows the sums, on `rows` whole rows that were just stored and still are in a cache. */
static void finish_rows(const struct product *product, int64_t row, int64_t rows)
{
    for (int64_t r = row; r < row + rows; r++) {
        const int64_t at = r * product->ld_c;
        if (product->gelu != KERN_GELU_NONE) {
            kern_gelu_avx2(product->c + at, product->slope == NULL ? NULL : product->slope + at,
                           product->c + at, product->columns, product->gelu);
        }
        if (product->factor != NULL) {
            multiply_row(product->c + at, product->factor + at, product->columns);
        }
    }
}

/* `rows` rows from `row` on of 16 columns, over the steps from `start` on. */
static void multiply_strip(const struct product *product, int64_t row, int64_t rows, int64_t column,
                           int64_t start, int64_t steps)
{
    const int64_t ld_a = product->ld_a, ld_c = product->ld_c;
    const float *const bias = start > 0 ? NULL : product->bias;
    const float *const from = start > 0 ? product->c : product->from;
    const struct strip strip = {
        .a = product->a + row * ld_a + start,
        .a_tile = TILE_ROWS * ld_a,
        .a_row = ld_a,
        .a_step = 1,
        .panel = product->panels + column * product->depth + start * PANEL,
        .depth = steps,
        .c = product->c + row * ld_c + column,
        .bias = bias == NULL ? NULL : bias + column,
        .from = from == NULL ? NULL : from + row * ld_c + column,
        .ld_c = ld_c,
        .rows = rows,
        .columns = least(PANEL, product->columns - column),
    };

    strip_run(&strip);
}

static void multiply(const struct product *product)
{
    const int64_t steps_max = part_of(product->depth, DEPTH_MAX);

    for (int64_t row = 0; row < product->rows; row += ROW_BLOCK) {
        const int64_t rows = least(ROW_BLOCK, product->rows - row);
        if (rows <= KERN_LINEAR_FEW_ROWS) {
            const int64_t at = row * product->ld_c;
            kern_linear_few_avx2(product->c + at, product->ld_c, product->a + row * product->ld_a,
                                 product->ld_a, rows, product->panels, product->columns,
                                 product->depth, product->bias,
                                 product->from == NULL ? NULL : product->from + at);
            finish_rows(product, row, rows);
            return;
        }
        for (int64_t start = 0; start < product->depth; start += steps_max) {
            const int64_t steps = least(steps_max, product->depth - start);
            for (int64_t column = 0; column < product->columns; column += PANEL) {
                multiply_strip(product, row, rows, column, start, steps);
            }
        }
        finish_rows(product, row, rows);
    }
}

static int64_t panel_elems(int64_t columns, int64_t depth)
{
    return (columns + PANEL - 1) / PANEL * PANEL * depth;
}

int64_t kern_linear_panel_elems_avx2(int64_t N, int64_t K)
{
    const int64_t forward = panel_elems(N, K);
    const int64_t data = panel_elems(K, N);

    return forward > data ? forward : data;
}

/* 16 rows of W, all of their K columns, as one panel: a transposition. */
static void pack_across(float *panel, const float *weight, int64_t K)
{
    const int64_t whole = K / LANES * LANES;

    for (int64_t k = 0; k < whole; k += LANES) {
        for (int64_t half = 0; half < PANEL; half += LANES) {
            __m256 block[LANES];
            for (int64_t i = 0; i < LANES; i++) {
                block[i] = _mm256_loadu_ps(weight + (half + i) * K + k);
            }
            vec_transpose(block);
            for (int64_t i = 0; i < LANES; i++) {
                _mm256_storeu_ps(panel + (k + i) * PANEL + half, block[i]);
            }
        }
    }
    for (int64_t k = whole; k < K; k++) {
        for (int64_t n = 0; n < PANEL; n++) {
            panel[k * PANEL + n] = weight[n * K + k];
        }
    }
}

/* Up to 16 columns of `rows` rows, side by side; the rest of the panel is zero. */
static void pack_along(float *panel, const float *from, int64_t ld, int64_t rows, int64_t columns)
{
    const __m256i low = vec_mask(least(columns, LANES));
    const __m256i high = vec_mask(columns - least(columns, LANES));

    if (columns == PANEL) {
        for (int64_t r = 0; r < rows; r++) {
            _mm256_storeu_ps(panel + r * PANEL, _mm256_loadu_ps(from + r * ld));
            _mm256_storeu_ps(panel + r * PANEL + LANES, _mm256_loadu_ps(from + r * ld + LANES));
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        _mm256_storeu_ps(panel + r * PANEL, _mm256_maskload_ps(from + r * ld, low));
        _mm256_storeu_ps(panel + r * PANEL + LANES,
                         _mm256_maskload_ps(from + r * ld + LANES, high));
    }
}

void kern_linear_pack_avx2(const struct kern_linear *linear)
{
    const int64_t N = linear->N, K = linear->K;

    for (int64_t n = 0; n < N; n += PANEL) {
        float *const panel = linear->panels + n * K;
        if (n + PANEL <= N) {
            pack_across(panel, linear->weight + n * K, K);
            continue;
        }
        for (int64_t k = 0; k < K; k++) {
            for (int64_t i = 0; i < PANEL; i++) {
                panel[k * PANEL + i] = n + i < N ? linear->weight[(n + i) * K + k] : 0.0f;
            }
        }
    }
    for (int64_t k = 0; k < K && linear->panels_data != NULL; k += PANEL) {
        pack_along(linear->panels_data + k * N, linear->weight + k, K, N, least(PANEL, K - k));
    }
}

void kern_linear_forward_avx2(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                              const struct kern_linear *linear,
                              const struct kern_linear_epilogue *epilogue)
{
    const struct kern_linear_epilogue *also = epilogue == NULL ? &NOTHING_BESIDES : epilogue;
    const struct product product = {
        .a = x,
        .ld_a = ld_x,
        .panels = linear->panels,
        .c = y,
        .ld_c = ld_y,
        .rows = M,
        .columns = linear->N,
        .depth = linear->K,
        .bias = also->bias,
        .from = also->residual,
        .gelu = also->gelu,
        .slope = also->slope,
    };

    assert(also->gelu != KERN_GELU_NONE || also->slope == NULL);
    multiply(&product);
}

void kern_linear_backward_data_avx2(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy,
                                    int64_t M, const struct kern_linear *linear, const float *slope)
{
    const struct product product = {
        .a = dy,
        .ld_a = ld_dy,
        .panels = linear->panels_data,
        .c = dx,
        .ld_c = ld_dx,
        .rows = M,
        .columns = linear->K,
        .depth = linear->N,
        .factor = slope,
    };

    multiply(&product);
}

/*
 * Columns of dY as slabs of six, [rows, 6] each, and their sums over the rows in lane
 * c % 6 of vector c / 6 of `sums`. Eight rows at a time, so that whole cache lines are
 * written while the rows they come from are in the first cache.
 *
 * A vector of eight is stored over every six: the two lanes too many are overwritten
 * by the next row, or lie in the gap between slabs.
 */
static void pack_slabs(float *slabs, float *sums, const float *dy, int64_t ld_dy, int64_t rows,
                       int64_t columns)
{
    memset(sums, 0, (size_t)(WEIGHT_SLABS_MAX * LANES) * sizeof(float));
    for (int64_t row = 0; row < rows; row += LANES) {
        const int64_t rows_here = least(LANES, rows - row);
        for (int64_t c = 0; c < columns; c += TILE_ROWS) {
            const float *from = dy + row * ld_dy + c;
            const int64_t slab = c / TILE_ROWS;
            float *to = slabs + slab * SLAB_ELEMS + row * TILE_ROWS;
            const __m256i mask = vec_mask(least(TILE_ROWS, columns - c));
            __m256 sum = _mm256_loadu_ps(sums + slab * LANES);
            for (int64_t r = 0; r < rows_here; r++) {
                const __m256 six = _mm256_maskload_ps(from, mask);
                _mm256_storeu_ps(to, six);
                sum = _mm256_add_ps(sum, six);
                from += ld_dy;
                to += TILE_ROWS;
            }
            _mm256_storeu_ps(sums + slab * LANES, sum);
        }
    }
}

/* One block of the weight gradient: `rows` rows of dY and X, `columns` columns of dY. */
struct weight_block {
    float *dweight; /* [columns, K] */
    float *dbias;   /* [columns]; NULL: none */
    const float *dy;
    const float *x;
    int64_t ld_dy, ld_x;
    int64_t rows, columns, K;
    bool accumulate;
};

static void weight_block_run(const struct weight_block *block)
{
    float sums[WEIGHT_SLABS_MAX * LANES];
    const int64_t columns = block->columns, K = block->K;

    pack_slabs(scratch.slabs, sums, block->dy, block->ld_dy, block->rows, columns);
    for (int64_t n = 0; n < columns && block->dbias != NULL; n++) {
        const float sum = sums[n / TILE_ROWS * LANES + n % TILE_ROWS];
        block->dbias[n] = block->accumulate ? block->dbias[n] + sum : sum;
    }
    for (int64_t k = 0; k < K; k += PANEL) {
        const int64_t width = least(PANEL, K - k);
        float *const c = block->dweight + k;
        const struct strip strip = {
            .a = scratch.slabs,
            .a_tile = SLAB_ELEMS,
            .a_row = 1,
            .a_step = TILE_ROWS,
            .panel = scratch.panel,
            .depth = block->rows,
            .c = c,
            .from = block->accumulate ? c : NULL,
            .ld_c = K,
            .rows = columns,
            .columns = width,
        };

        pack_along(scratch.panel, block->x + k, block->ld_x, block->rows, width);
        strip_run(&strip);
    }
}

void kern_linear_backward_weight_avx2(float *dweight, float *dbias, const float *dy, int64_t ld_dy,
                                      const float *x, int64_t ld_x, int64_t M, int64_t N, int64_t K,
                                      bool accumulate)
{
    const int64_t slabs_max = part_of((N + TILE_ROWS - 1) / TILE_ROWS, WEIGHT_SLABS_MAX);

    if (M == 0) {
        if (!accumulate) {
            memset(dweight, 0, (size_t)(N * K) * sizeof(float));
        }
        if (!accumulate && dbias != NULL) {
            memset(dbias, 0, (size_t)N * sizeof(float));
        }
        return;
    }
    const int64_t rows_max = part_of(M, WEIGHT_DEPTH_MAX);
    for (int64_t m = 0; m < M; m += rows_max) {
        for (int64_t n = 0; n < N; n += slabs_max * TILE_ROWS) {
            const struct weight_block block = {
                .dweight = dweight + n * K,
                .dbias = dbias == NULL ? NULL : dbias + n,
                .dy = dy + m * ld_dy + n,
                .x = x + m * ld_x,
                .ld_dy = ld_dy,
                .ld_x = ld_x,
                .rows = least(rows_max, M - m),
                .columns = least(slabs_max * TILE_ROWS, N - n),
                .K = K,
                .accumulate = accumulate || m > 0,
            };
            weight_block_run(&block);
        }
    }
}
