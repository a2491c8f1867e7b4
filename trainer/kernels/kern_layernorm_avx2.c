/*
 * Layer normalisation, eight channels a vector. A row is read three times forward
 * and twice backward; all but the first reading come from the first cache.
 */
#include "trainer/kernels/kern_layernorm.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "trainer/kernels/kern_avx2_priv.h"

enum {
    SUMS = 4, /* running sums of a row: enough to hide the latency of an addition */
    ROWS = 4, /* of the backward pass: dgain and dbias are loaded once for so many rows */
};

/* A row: `whole` channels in full vectors, then those of `tail`, none if it is empty. */
struct width {
    int64_t C, whole;
    __m256i tail;
};

static struct width width_of(int64_t C)
{
    const int64_t whole = C / LANES * LANES;

    return (struct width){C, whole, vec_mask(C - whole)};
}

/* The sum of the four, always by the same tree. */
static inline float sum_of(const __m256 sums[SUMS])
{
    return vec_sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
}

static inline float row_mean(const float *x, const struct width *width)
{
    __m256 sums[SUMS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                         _mm256_maskload_ps(x + width->whole, width->tail)};
    int64_t c = 0;

    for (; c + SUMS * LANES <= width->whole; c += SUMS * LANES) {
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm256_add_ps(sums[i], _mm256_loadu_ps(x + c + i * LANES));
        }
    }
    for (; c < width->whole; c += LANES) {
        sums[0] = _mm256_add_ps(sums[0], _mm256_loadu_ps(x + c));
    }
    return sum_of(sums) / (float)width->C;
}

static inline float row_variance(const float *x, __m256 mean, const struct width *width)
{
    /* The lanes beyond the row hold 0 - mean: they are masked out. */
    const __m256 last =
        _mm256_and_ps(_mm256_castsi256_ps(width->tail),
                      _mm256_sub_ps(_mm256_maskload_ps(x + width->whole, width->tail), mean));
    __m256 sums[SUMS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                         _mm256_mul_ps(last, last)};
    int64_t c = 0;

    for (; c + SUMS * LANES <= width->whole; c += SUMS * LANES) {
        for (int i = 0; i < SUMS; i++) {
            const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + c + i * LANES), mean);
            sums[i] = _mm256_fmadd_ps(d, d, sums[i]);
        }
    }
    for (; c < width->whole; c += LANES) {
        const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + c), mean);
        sums[0] = _mm256_fmadd_ps(d, d, sums[0]);
    }
    return sum_of(sums) / (float)width->C;
}

void kern_layernorm_forward_avx2(float *y, float *mean, float *rstd, const float *x, int64_t ld_x,
                                 const float *gain, const float *bias, int64_t N, int64_t C,
                                 float epsilon)
{
    const struct width width = width_of(C);

    assert(C >= 1 && ld_x >= C);
    for (int64_t n = 0; n < N; n++, x += ld_x, y += C) {
        const float m = row_mean(x, &width);
        const __m256 means = _mm256_set1_ps(m);
        const float r = 1.0f / sqrtf(row_variance(x, means, &width) + epsilon);
        const __m256 rstds = _mm256_set1_ps(r);
        for (int64_t c = 0; c < width.whole; c += LANES) {
            const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + c), means), rstds);
            _mm256_storeu_ps(
                y + c, _mm256_fmadd_ps(xhat, _mm256_loadu_ps(gain + c), _mm256_loadu_ps(bias + c)));
        }
        if (width.whole < C) {
            const __m256 x_c = _mm256_maskload_ps(x + width.whole, width.tail);
            const __m256 gain_c = _mm256_maskload_ps(gain + width.whole, width.tail);
            const __m256 bias_c = _mm256_maskload_ps(bias + width.whole, width.tail);
            const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(x_c, means), rstds);
            _mm256_maskstore_ps(y + width.whole, width.tail, _mm256_fmadd_ps(xhat, gain_c, bias_c));
        }
        if (mean != NULL) {
            mean[n] = m;
            rstd[n] = r;
        }
    }
}

/* The backward pass of a few consecutive rows; the pointers are the first row's. */
struct backward {
    float *dx;
    const float *residual;
    float *dgain, *dbias;
    const float *dy, *x;
    int64_t ld_x;
    const float *mean, *rstd, *gain;
};

/* `whole`: a constant where this is inlined; false for the vector with the row's tail. */
static inline __attribute__((always_inline)) __m256 load(const float *at, bool whole, __m256i tail)
{
    return whole ? _mm256_loadu_ps(at) : _mm256_maskload_ps(at, tail);
}

static inline __attribute__((always_inline)) void store(float *at, __m256 value, bool whole,
                                                        __m256i tail)
{
    if (whole) {
        _mm256_storeu_ps(at, value);
    } else {
        _mm256_maskstore_ps(at, tail, value);
    }
}

/*
 * Eight channels of `rows` rows: adds to dgain and dbias in row order, to sums the
 * rows' g = dy * gain, and to sums_xhat their g * xhat. Lanes beyond the row add 0,
 * since dy is 0 there.
 */
static inline __attribute__((always_inline)) void sum_channels(const struct backward *at, int64_t c,
                                                               int rows, const struct width *width,
                                                               bool whole, __m256 sums[ROWS],
                                                               __m256 sums_xhat[ROWS])
{
    const __m256 gain = load(at->gain + c, whole, width->tail);
    __m256 dgain = load(at->dgain + c, whole, width->tail);
    __m256 dbias = load(at->dbias + c, whole, width->tail);

    for (int r = 0; r < rows; r++) {
        const __m256 dy = load(at->dy + r * width->C + c, whole, width->tail);
        const __m256 x = load(at->x + r * at->ld_x + c, whole, width->tail);
        const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(x, _mm256_set1_ps(at->mean[r])),
                                          _mm256_set1_ps(at->rstd[r]));
        const __m256 g = _mm256_mul_ps(dy, gain);
        dgain = _mm256_fmadd_ps(dy, xhat, dgain);
        dbias = _mm256_add_ps(dbias, dy);
        sums[r] = _mm256_add_ps(sums[r], g);
        sums_xhat[r] = _mm256_fmadd_ps(g, xhat, sums_xhat[r]);
    }
    store(at->dgain + c, dgain, whole, width->tail);
    store(at->dbias + c, dbias, whole, width->tail);
}

/* Eight channels of dx of row r, given the means of g and of g * xhat over the row. */
static inline __attribute__((always_inline)) void dx_channels(const struct backward *at, int64_t c,
                                                              int r, const struct width *width,
                                                              bool whole, __m256 mean_g,
                                                              __m256 mean_g_xhat)
{
    const __m256 rstd = _mm256_set1_ps(at->rstd[r]);
    const __m256 dy = load(at->dy + r * width->C + c, whole, width->tail);
    const __m256 x = load(at->x + r * at->ld_x + c, whole, width->tail);
    const __m256 xhat = _mm256_mul_ps(_mm256_sub_ps(x, _mm256_set1_ps(at->mean[r])), rstd);
    const __m256 g = _mm256_mul_ps(dy, load(at->gain + c, whole, width->tail));
    const __m256 centred = _mm256_fnmadd_ps(xhat, mean_g_xhat, _mm256_sub_ps(g, mean_g));
    const __m256 around = at->residual == NULL
                              ? _mm256_setzero_ps()
                              : load(at->residual + r * at->ld_x + c, whole, width->tail);

    store(at->dx + r * at->ld_x + c, _mm256_fmadd_ps(rstd, centred, around), whole, width->tail);
}

static inline __attribute__((always_inline)) void backward_rows(const struct backward *at, int rows,
                                                                const struct width *width)
{
    __m256 sums[ROWS], sums_xhat[ROWS];

    for (int r = 0; r < rows; r++) {
        sums[r] = sums_xhat[r] = _mm256_setzero_ps();
    }
    for (int64_t c = 0; c < width->whole; c += LANES) {
        sum_channels(at, c, rows, width, true, sums, sums_xhat);
    }
    if (width->whole < width->C) {
        sum_channels(at, width->whole, rows, width, false, sums, sums_xhat);
    }
    for (int r = 0; r < rows && at->dx != NULL; r++) {
        const __m256 mean_g = _mm256_set1_ps(vec_sum(sums[r]) / (float)width->C);
        const __m256 mean_g_xhat = _mm256_set1_ps(vec_sum(sums_xhat[r]) / (float)width->C);
        for (int64_t c = 0; c < width->whole; c += LANES) {
            dx_channels(at, c, r, width, true, mean_g, mean_g_xhat);
        }
        if (width->whole < width->C) {
            dx_channels(at, width->whole, r, width, false, mean_g, mean_g_xhat);
        }
    }
}

void kern_layernorm_backward_avx2(float *dx, const float *residual, float *dgain, float *dbias,
                                  const float *dy, const float *x, int64_t ld_x, const float *mean,
                                  const float *rstd, const float *gain, int64_t N, int64_t C,
                                  bool accumulate)
{
    const struct width width = width_of(C);

    assert(C >= 1 && ld_x >= C);
    for (int64_t c = 0; c < C && !accumulate; c++) {
        dgain[c] = dbias[c] = 0;
    }
    for (int64_t n = 0; n < N;) {
        const struct backward at = {.dx = dx == NULL ? NULL : dx + n * ld_x,
                                    .residual = residual == NULL ? NULL : residual + n * ld_x,
                                    .dgain = dgain,
                                    .dbias = dbias,
                                    .dy = dy + n * C,
                                    .x = x + n * ld_x,
                                    .ld_x = ld_x,
                                    .mean = mean + n,
                                    .rstd = rstd + n,
                                    .gain = gain};
        if (n + ROWS <= N) {
            backward_rows(&at, ROWS, &width);
            n += ROWS;
        } else {
            backward_rows(&at, 1, &width);
            n++;
        }
    }
}
