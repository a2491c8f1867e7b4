/* Eight classes a vector; a row is read twice, or once if nobody asks how sure it is. */
#include "trainer/kernels/kern_likeliest.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "trainer/kernels/kern_avx2_priv.h"

/* Of a row; predicted is -1 if a logit is not finite. */
struct found {
    float top, second;
    int32_t predicted;
};

/* Lane i has seen the classes i, i + 8, ...: its largest, the first of these, and the one after. */
struct lanes {
    __m256 top, second;
    __m256i first;
    __m256 finite;
};

/* Lanes beyond the row hold -inf and are masked out of `finite`. */
static inline void look(struct lanes *lanes, __m256 z, __m256i at, __m256 is_there)
{
    const __m256 magnitude = _mm256_and_ps(z, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
    const __m256 is_finite = _mm256_cmp_ps(magnitude, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ);
    const __m256 is_above = _mm256_cmp_ps(z, lanes->top, _CMP_GT_OQ);

    lanes->second = _mm256_max_ps(lanes->second, _mm256_min_ps(lanes->top, z));
    lanes->top = _mm256_blendv_ps(lanes->top, z, is_above);
    lanes->first = _mm256_blendv_epi8(lanes->first, at, _mm256_castps_si256(is_above));
    lanes->finite = _mm256_andnot_ps(_mm256_andnot_ps(is_finite, is_there), lanes->finite);
}

/* The largest of the lanes, of equal ones that of the lowest class. */
static struct found join(const struct lanes *lanes)
{
    float tops[LANES], seconds[LANES];
    int32_t firsts[LANES];
    int best = 0;

    if (_mm256_movemask_ps(lanes->finite) != 0xff) {
        return (struct found){0, 0, -1};
    }
    _mm256_storeu_ps(tops, lanes->top);
    _mm256_storeu_ps(seconds, lanes->second);
    _mm256_storeu_si256((__m256i *)firsts, lanes->first);
    for (int i = 1; i < LANES; i++) {
        if (tops[i] > tops[best] || (tops[i] == tops[best] && firsts[i] < firsts[best])) {
            best = i;
        }
    }
    float second = seconds[best];
    for (int i = 0; i < LANES; i++) {
        second = i != best && tops[i] > second ? tops[i] : second;
    }
    return (struct found){tops[best], second, firsts[best]};
}

static struct found find(const float *z, int64_t K)
{
    const int64_t whole = K / LANES * LANES;
    const __m256 all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    const __m256 tail = _mm256_castsi256_ps(vec_mask(K - whole));
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    struct lanes lanes = {.top = _mm256_set1_ps(-INFINITY),
                          .second = _mm256_set1_ps(-INFINITY),
                          .first = at,
                          .finite = all};

    for (int64_t k = 0; k < whole; k += LANES) {
        look(&lanes, _mm256_loadu_ps(z + k), at, all);
        at = _mm256_add_epi32(at, _mm256_set1_epi32(LANES));
    }
    if (whole < K) {
        const __m256 z_tail = _mm256_maskload_ps(z + whole, vec_mask(K - whole));
        look(&lanes, _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), z_tail, tail), at, tail);
    }
    return join(&lanes);
}

/* Sums over a row of exp t and t exp t, t = z - top, a class a lane. */
struct sums {
    __m256 e, e_t;
};

static inline void add(struct sums *sums, __m256 z, __m256 top, __m256 is_there)
{
    /* Below it exp is 0 here: t may be as low as -inf. */
    const __m256 lowest = _mm256_set1_ps(-87.0f);
    const __m256 shifted = _mm256_sub_ps(z, top);
    const __m256 counts = _mm256_and_ps(is_there, _mm256_cmp_ps(shifted, lowest, _CMP_GT_OQ));
    const __m256 t = _mm256_max_ps(shifted, lowest);
    const __m256 e = _mm256_and_ps(counts, vec_exp(t));

    sums->e = _mm256_add_ps(sums->e, e);
    sums->e_t = _mm256_fmadd_ps(e, t, sums->e_t);
}

static void be_sure(struct kern_likeliest *out, const float *z, int64_t K,
                    const struct found *found)
{
    enum { AT_ONCE = 4 }; /* sums that do not wait for each other */
    const int64_t whole = K / LANES * LANES;
    const __m256 top = _mm256_set1_ps(found->top);
    const __m256 all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    struct sums sums[AT_ONCE];
    int64_t k = 0;

    for (int i = 0; i < AT_ONCE; i++) {
        sums[i] = (struct sums){_mm256_setzero_ps(), _mm256_setzero_ps()};
    }
    for (; k + AT_ONCE * LANES <= whole; k += AT_ONCE * LANES) {
        for (int i = 0; i < AT_ONCE; i++) {
            add(&sums[i], _mm256_loadu_ps(z + k + i * LANES), top, all);
        }
    }
    for (; k < whole; k += LANES) {
        add(&sums[0], _mm256_loadu_ps(z + k), top, all);
    }
    if (whole < K) {
        const __m256i tail = vec_mask(K - whole);
        add(&sums[0], _mm256_maskload_ps(z + whole, tail), top, _mm256_castsi256_ps(tail));
    }
    const float sum = vec_sum(
        _mm256_add_ps(_mm256_add_ps(sums[0].e, sums[1].e), _mm256_add_ps(sums[2].e, sums[3].e)));
    const float sum_t = vec_sum(_mm256_add_ps(_mm256_add_ps(sums[0].e_t, sums[1].e_t),
                                              _mm256_add_ps(sums[2].e_t, sums[3].e_t)));
    out->max_prob = 1.0f / sum;
    out->margin = (1.0f - expf(found->second - found->top)) / sum;
    out->entropy = logf(sum) - sum_t / sum;
}

void kern_likeliest_avx2(struct kern_likeliest *out, const float *z, int64_t N, int64_t K,
                         bool wants_certainty)
{
    assert(K >= 2);
    for (int64_t n = 0; n < N; n++, z += K) {
        const struct found found = find(z, K);
        out[n] = (struct kern_likeliest){.predicted = found.predicted};
        if (found.predicted >= 0 && wants_certainty) {
            be_sure(&out[n], z, K, &found);
        }
    }
}
