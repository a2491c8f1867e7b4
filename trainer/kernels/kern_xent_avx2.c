/*
 * Cross entropy and gate features, eight rows a vector: K is often 10, and rows as
 * lanes need neither masks nor sums across a vector. The eight rows are read twice,
 * once for their maxima and once for their sums, the second time from cache.
 */
#include "trainer/kernels/kern_xent.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stddef.h>

#include "trainer/kernels/kern_transpose_avx2_priv.h"

/* Eight rows of logits; lanes from `count` up repeat the last row and are not written. */
struct rows {
    const float *at[LANES];
    int count;
    int64_t K;
};

/* What two passes find, a row a lane; t = z - z_max. */
struct found {
    __m256 top, second;      /* the two largest logits */
    __m256 sum, sum_t;       /* of exp t, of t exp t */
    __m256 sum_2t, sum_t_2t; /* of exp 2t, of t exp 2t */
    __m256 finite;           /* all ones: every logit of the row is finite */
    __m256i predicted;
};

/*
 * log(x) for x >= 1 to 2e-7 relative to max(1, log x): the exponent and the degree-9
 * polynomial of the Cephes library (S. Moshier, logf) for a mantissa in [sqrt 1/2, sqrt 2).
 */
static inline __m256 vec_log(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i exponent = _mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126));
    const __m256i half = _mm256_set1_epi32(0x3f000000);
    const __m256 mantissa = _mm256_castsi256_ps(
        _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)), half));
    const __m256 low = _mm256_cmp_ps(mantissa, _mm256_set1_ps(0.707106781f), _CMP_LT_OQ);
    const __m256 e = _mm256_sub_ps(_mm256_cvtepi32_ps(exponent), _mm256_and_ps(low, one));
    const __m256 r = _mm256_sub_ps(_mm256_add_ps(mantissa, _mm256_and_ps(low, mantissa)), one);
    const __m256 square = _mm256_mul_ps(r, r);
    __m256 p = _mm256_set1_ps(7.0376836292e-2f);

    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(-1.1514610310e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.1676998740e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(-1.2420140846e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.4249322787e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(-1.6668057665e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.0000714765e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(-2.4999993993e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(3.3333331174e-1f));
    p = _mm256_mul_ps(_mm256_mul_ps(p, r), square);
    p = _mm256_fmadd_ps(e, _mm256_set1_ps(-2.12194440e-4f), p);
    p = _mm256_fnmadd_ps(_mm256_set1_ps(0.5f), square, p);
    return _mm256_fmadd_ps(e, _mm256_set1_ps(0.693359375f), _mm256_add_ps(r, p));
}

/* columns[i] = logit k + i of the eight rows, i < the number returned, 1 .. LANES. */
static inline int load_columns(__m256 columns[LANES], const struct rows *rows, int64_t k)
{
    const int count = rows->K - k < LANES ? (int)(rows->K - k) : LANES;
    const __m256i mask = vec_mask(count);

    for (int i = 0; i < LANES; i++) {
        columns[i] = _mm256_maskload_ps(rows->at[i] + k, mask);
    }
    vec_transpose(columns);
    return count;
}

static void find_largest(struct found *found, const struct rows *rows)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256 largest = _mm256_set1_ps(FLT_MAX);
    __m256 columns[LANES];

    found->top = found->second = _mm256_set1_ps(-INFINITY);
    found->finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    found->predicted = _mm256_setzero_si256();
    for (int64_t k = 0; k < rows->K; k += LANES) {
        const int count = load_columns(columns, rows, k);
        for (int i = 0; i < count; i++) {
            const __m256 z = columns[i];
            const __m256 above = _mm256_cmp_ps(z, found->top, _CMP_GT_OQ);
            const __m256 lesser = _mm256_min_ps(found->top, z);
            found->second = _mm256_max_ps(found->second, lesser);
            found->top = _mm256_max_ps(found->top, z);
            found->predicted = _mm256_blendv_epi8(
                found->predicted, _mm256_set1_epi32((int32_t)(k + i)), _mm256_castps_si256(above));
            found->finite = _mm256_and_ps(
                found->finite, _mm256_cmp_ps(_mm256_and_ps(z, magnitude), largest, _CMP_LE_OQ));
        }
    }
}

static void find_sums(struct found *found, const struct rows *rows)
{
    /* Below it exp is 0, here and not only nearly: t may be -1e38, or -inf after the shift. */
    const __m256 lowest = _mm256_set1_ps(-87.0f);
    __m256 columns[LANES];

    found->sum = found->sum_t = found->sum_2t = found->sum_t_2t = _mm256_setzero_ps();
    for (int64_t k = 0; k < rows->K; k += LANES) {
        const int count = load_columns(columns, rows, k);
        /* Summed in blocks, for less rounding when K is large. */
        __m256 sum = _mm256_setzero_ps(), sum_t = sum, sum_2t = sum, sum_t_2t = sum;
        for (int i = 0; i < count; i++) {
            const __m256 shifted = _mm256_sub_ps(columns[i], found->top);
            const __m256 counts = _mm256_cmp_ps(shifted, lowest, _CMP_GT_OQ);
            const __m256 t = _mm256_max_ps(shifted, lowest);
            const __m256 e = _mm256_and_ps(counts, vec_exp(t));
            const __m256 e_t = _mm256_mul_ps(e, t);
            sum = _mm256_add_ps(sum, e);
            sum_t = _mm256_add_ps(sum_t, e_t);
            sum_2t = _mm256_fmadd_ps(e, e, sum_2t);
            sum_t_2t = _mm256_fmadd_ps(e, e_t, sum_t_2t);
        }
        found->sum = _mm256_add_ps(found->sum, sum);
        found->sum_t = _mm256_add_ps(found->sum_t, sum_t);
        found->sum_2t = _mm256_add_ps(found->sum_2t, sum_2t);
        found->sum_t_2t = _mm256_add_ps(found->sum_t_2t, sum_t_2t);
    }
}

/* `value`, NaN in the lanes of rows that are not finite, to `to`. */
static inline void put(float to[LANES], __m256 value, const struct found *found)
{
    _mm256_storeu_ps(to, _mm256_blendv_ps(_mm256_set1_ps(NAN), value, found->finite));
}

static void put_features(float *features, const struct found *found, __m256 log_sum, int count)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 ratio = vec_exp(_mm256_sub_ps(found->second, found->top));
    float f[KERN_XENT_FEATURES][LANES];

    put(f[0], _mm256_div_ps(one, found->sum), found);
    put(f[1], _mm256_sub_ps(log_sum, _mm256_div_ps(found->sum_t, found->sum)), found);
    put(f[2], _mm256_div_ps(_mm256_sub_ps(one, ratio), found->sum), found);
    put(f[3],
        _mm256_sub_ps(
            vec_log(found->sum_2t),
            _mm256_div_ps(_mm256_add_ps(found->sum_t_2t, found->sum_t_2t), found->sum_2t)),
        found);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < KERN_XENT_FEATURES; j++) {
            features[i * KERN_XENT_FEATURES + j] = f[j][i];
        }
    }
}

/* Writes rows n .. n + count - 1 of what is asked for. */
static void put_rows(const struct kern_xent_out *out, int64_t n, const int32_t *label,
                     const struct rows *rows, const struct found *found)
{
    const __m256 log_sum = vec_log(found->sum);
    float tops[LANES], log_sums[LANES], lse[LANES];
    int32_t predicted[LANES];

    put(tops, found->top, found);
    put(log_sums, log_sum, found);
    put(lse, _mm256_add_ps(found->top, log_sum), found);
    _mm256_storeu_si256((__m256i *)predicted,
                        _mm256_and_si256(found->predicted, _mm256_castps_si256(found->finite)));
    for (int i = 0; i < rows->count; i++) {
        if (out->loss != NULL) {
            out->loss[n + i] = tops[i] - rows->at[i][label[n + i]] + log_sums[i];
        }
        if (out->lse != NULL) {
            out->lse[n + i] = lse[i];
        }
        if (out->predicted != NULL) {
            out->predicted[n + i] = predicted[i];
        }
    }
    if (out->features != NULL) {
        put_features(out->features + n * KERN_XENT_FEATURES, found, log_sum, rows->count);
    }
}

void kern_xent_forward_avx2(const struct kern_xent_out *out, const float *z, const int32_t *label,
                            int64_t N, int64_t K)
{
    int64_t bad_count = 0;

    assert(K >= 2);
    assert(out->loss == NULL || label != NULL);
    for (int64_t n = 0; n < N; n += LANES) {
        struct rows rows = {.count = N - n < LANES ? (int)(N - n) : LANES, .K = K};
        struct found found;
        for (int i = 0; i < LANES; i++) {
            rows.at[i] = z + (n + (i < rows.count ? i : rows.count - 1)) * K;
        }
        find_largest(&found, &rows);
        find_sums(&found, &rows);
        put_rows(out, n, label, &rows, &found);
        const unsigned bad = ~(unsigned)_mm256_movemask_ps(found.finite);
        bad_count += __builtin_popcount(bad & ((1u << rows.count) - 1));
    }
    if (out->bad != NULL) {
        *out->bad += (float)bad_count;
    }
}

void kern_xent_backward_avx2(float *dz, const float *z, const float *lse, const int32_t *label,
                             const float *weight, int64_t N, int64_t K)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 one = _mm256_set1_ps(1.0f);

    for (int64_t n = 0; n < N; n++, dz += K, z += K) {
        const __m256 lse_n = _mm256_set1_ps(lse[n]), weight_n = _mm256_set1_ps(weight[n]);
        for (int64_t k = 0; k < K; k += LANES) {
            const __m256i mask = vec_mask(K - k < LANES ? K - k : LANES);
            const __m256 z_k = _mm256_maskload_ps(z + k, mask);
            const __m256i is_label =
                _mm256_cmpeq_epi32(lanes, _mm256_set1_epi32(label[n] - (int32_t)k));
            const __m256 hit = _mm256_and_ps(_mm256_castsi256_ps(is_label), one);
            const __m256 p = vec_exp(_mm256_sub_ps(z_k, lse_n));
            _mm256_maskstore_ps(dz + k, mask, _mm256_mul_ps(weight_n, _mm256_sub_ps(p, hit)));
        }
    }
}
