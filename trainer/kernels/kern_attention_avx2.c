/*
 * Attention head by head in tiles that stay in the first two caches.
 *
 * Keys lie along the vector lanes, T padded to a multiple of 8: one micro kernel,
 * product(), serves all six matrix products of a head. An element of a product is
 * one chain of fused multiply-adds in index order, whatever block it is computed
 * in, so a row's bits depend neither on B nor on query_count.
 *
 * Rows of qkv are 3*H*D floats apart, which is a multiple of a power of two: 50 of
 * them share a few sets of the first cache. What is read more than twice is
 * therefore copied to contiguous tiles first.
 */
#include "trainer/kernels/kern_attention.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "trainer/kernels/kern_softmax_avx2_priv.h"
#include "trainer/kernels/kern_transpose_avx2_priv.h"

enum {
    KEYS_MAX = 1024,          /* T of the tiled path; beyond it the portable one computes */
    CHANNELS_MAX = 128,       /* D, likewise */
    TILE_ELEMS = 65536,       /* K or V of one head, e.g. 1024 keys of 64 channels */
    WHOLE_KEYS_MAX = 256,     /* without a mask: */
    WHOLE_TILE_ELEMS = 16384, /* what is longer has always been computed by the portable one */
    ROWS_MAX = 64,            /* queries at a time */
    ALIGNMENT = 64,
};

/*
 * P is saved up to this T, log-sum-exps beyond. Reading P back instead of computing it
 * again takes a quarter off the backward pass of 50 or 65 keys of 32 channels, a seventh
 * at 197 keys of 64; but P grows with the square of T, and has as many elements as
 * q, k and v together at T = 3 D.
 */
enum { SAVED_KEYS_MAX = 96 };

struct scratch {
    _Alignas(ALIGNMENT) float rows[TILE_ELEMS];          /* [T, D]: V forward, K backward */
    _Alignas(ALIGNMENT) float keys_across[TILE_ELEMS];   /* [D, padded]: scale * K^T */
    _Alignas(ALIGNMENT) float values_across[TILE_ELEMS]; /* [D, padded]: V^T */
    _Alignas(ALIGNMENT) float q[ROWS_MAX * CHANNELS_MAX];
    _Alignas(ALIGNMENT) float dout[ROWS_MAX * CHANNELS_MAX];
    _Alignas(ALIGNMENT) float p[ROWS_MAX * KEYS_MAX];
    _Alignas(ALIGNMENT) float ds[ROWS_MAX * KEYS_MAX];
};

static _Thread_local struct scratch scratch;

/* One head of one sample; row t of q, k and v is at t * ld. */
struct head {
    const float *q, *k, *v;
    int64_t ld;          /* 3 * H * D */
    int64_t ld_out;      /* H * D */
    int64_t T, D;        /* T: tokens that are there */
    int64_t padded;      /* T up to a multiple of LANES */
    int64_t query_count; /* of those tokens */
    int64_t saved_at;    /* where in `saved` this head's P [T, padded] or lse [T] begins */
    int64_t next;        /* floats from this head's q to the next head's; 0: there is none */
    int64_t next_out;    /* the same for rows of `out` */
    bool saves_p;
    bool is_causal;
    float scale;
};

static int64_t padded_keys(int64_t T)
{
    return (T + LANES - 1) / LANES * LANES;
}

static bool fits_tiles(int64_t T, int64_t D, const struct kern_attention_mask *mask)
{
    const int64_t keys_max = mask == NULL ? WHOLE_KEYS_MAX : KEYS_MAX;
    const int64_t elems_max = mask == NULL ? WHOLE_TILE_ELEMS : TILE_ELEMS;

    return D % LANES == 0 && D <= CHANNELS_MAX && T <= keys_max && padded_keys(T) * D <= elems_max;
}

/* The floats of a query's row in `saved`, for a shape: P [up to a multiple of LANES], or lse. */
static int64_t saved_row_elems(const struct kern_attention_shape *shape)
{
    const bool saves_p = fits_tiles(shape->T, shape->D, NULL) && shape->T <= SAVED_KEYS_MAX;

    return saves_p ? padded_keys(shape->T) : 1;
}

/* Tokens of sample b that are there. */
static int64_t length_of(const struct kern_attention_shape *shape,
                         const struct kern_attention_mask *mask, int64_t b)
{
    const bool has_lengths = mask != NULL && mask->lengths != NULL;
    const int64_t length = has_lengths ? mask->lengths[b] : shape->T;

    assert(length >= 1 && length <= shape->T);
    return length;
}

int64_t kern_attention_saved_elems_avx2(const struct kern_attention_shape *shape)
{
    return shape->B * shape->H * shape->T * saved_row_elems(shape);
}

static struct head head_at(const float *qkv, const struct kern_attention_shape *shape,
                           const struct kern_attention_mask *mask, int64_t query_count, int64_t b,
                           int64_t h)
{
    const int64_t T = shape->T, D = shape->D, HD = shape->H * D;
    const int64_t length = length_of(shape, mask, b), saved_elems = saved_row_elems(shape);
    const float *q = qkv + b * T * 3 * HD + h * D;
    const bool is_last_of_sample = h == shape->H - 1, is_last = b == shape->B - 1;
    const int64_t back = HD - D; /* from a sample's last head to its first */

    return (struct head){
        .q = q,
        .k = q + HD,
        .v = q + 2 * HD,
        .ld = 3 * HD,
        .ld_out = HD,
        .T = length,
        .D = D,
        .padded = padded_keys(length),
        .query_count = query_count < length ? query_count : length,
        .saved_at = (b * shape->H + h) * T * saved_elems,
        .next = !is_last_of_sample ? D
                : is_last          ? 0
                                   : T * 3 * HD - back,
        .next_out = !is_last_of_sample ? D
                    : is_last          ? 0
                                       : T * HD - back,
        .saves_p = saved_elems > 1,
        .is_causal = mask != NULL && mask->is_causal,
        .scale = 1.0f / sqrtf((float)D),
    };
}

/* c[r][n] = or += the sum over i < inner of a[r * a_row + i * a_step] * b[i * ld_b + n]. */
struct product {
    const float *a;
    int64_t a_row, a_step;
    const float *b;
    int64_t ld_b;
    float *c;
    int64_t ld_c;
    int64_t inner;
    bool accumulate;
};

/* `rows` and `vecs` are constants where this is inlined: the sums live in registers. */
static inline __attribute__((always_inline)) void
product_block(const struct product *product, int64_t row, int64_t column, int rows, int vecs)
{
    const int64_t a_row = product->a_row, a_step = product->a_step, ld_b = product->ld_b;
    const int64_t inner = product->inner, ld_c = product->ld_c;
    const float *a = product->a + row * a_row;
    const float *b = product->b + column;
    float *const c = product->c + row * ld_c + column;
    __m256 sums[LANES][4];

    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vecs; v++) {
            sums[r][v] = product->accumulate ? _mm256_loadu_ps(c + r * ld_c + v * LANES)
                                             : _mm256_setzero_ps();
        }
    }
    for (int64_t i = 0; i < inner; i++) {
        __m256 b_i[4];
        for (int v = 0; v < vecs; v++) {
            b_i[v] = _mm256_loadu_ps(b + v * LANES);
        }
        for (int r = 0; r < rows; r++) {
            const __m256 a_r = _mm256_broadcast_ss(a + r * a_row);
            for (int v = 0; v < vecs; v++) {
                sums[r][v] = _mm256_fmadd_ps(a_r, b_i[v], sums[r][v]);
            }
        }
        a += a_step;
        b += ld_b;
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vecs; v++) {
            _mm256_storeu_ps(c + r * ld_c + v * LANES, sums[r][v]);
        }
    }
}

static inline __attribute__((always_inline)) void
product_panel(const struct product *product, int64_t row_count, int64_t column, int rows, int vecs)
{
    int64_t row = 0;

    for (; row + rows <= row_count; row += rows) {
        product_block(product, row, column, rows, vecs);
    }
    for (; row + 2 <= row_count; row += 2) {
        product_block(product, row, column, 2, vecs);
    }
    for (; row < row_count; row++) {
        product_block(product, row, column, 1, vecs);
    }
}

/*
 * The whole product; `columns` is a multiple of LANES. Panels of at most four vectors,
 * as even as they come: twelve sums hide the latency of the multiply-add, six do not.
 */
static void product_run(const struct product *product, int64_t row_count, int64_t columns)
{
    int64_t vecs_left = columns / LANES;

    for (int64_t column = 0; vecs_left > 0;) {
        const int64_t panels = (vecs_left + 3) / 4;
        const int64_t vecs = (vecs_left + panels - 1) / panels;
        switch (vecs) {
        case 4: product_panel(product, row_count, column, 3, 4); break;
        case 3: product_panel(product, row_count, column, 4, 3); break;
        case 2: product_panel(product, row_count, column, 6, 2); break;
        default: product_panel(product, row_count, column, 8, 1); break;
        }
        column += vecs * LANES;
        vecs_left -= vecs;
    }
}

/*
 * Asks for the second cache to be given `rows` rows of D floats. The pieces are too short
 * and too far apart for the CPU to foresee them; asked for one head ahead, they arrive
 * while this head is computed.
 */
static void prefetch_rows(const float *from, int64_t ld, int64_t rows, int64_t D)
{
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t c = 0; c < D; c += ALIGNMENT / (int64_t)sizeof(float)) {
            _mm_prefetch((const char *)(from + t * ld + c), _MM_HINT_T1);
        }
    }
}

static void prefetch_next(const struct head *head)
{
    if (head->next != 0) {
        prefetch_rows(head->k + head->next, head->ld, head->T, head->D);
        prefetch_rows(head->v + head->next, head->ld, head->T, head->D);
        prefetch_rows(head->q + head->next, head->ld, head->query_count, head->D);
    }
}

static void copy_rows(float *to, const float *from, int64_t ld, int64_t rows, int64_t D)
{
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t c = 0; c < D; c += LANES) {
            _mm256_store_ps(to + t * D + c, _mm256_loadu_ps(from + t * ld + c));
        }
    }
}

/* to[c][t] = scale * from[t][c] for t < T, 0 for T <= t < padded. */
static void copy_across(float *to, const float *from, const struct head *head, float scale)
{
    const int64_t padded = head->padded, ld = head->ld;
    const __m256 scales = _mm256_set1_ps(scale);

    for (int64_t t = 0; t < padded; t += LANES) {
        const int64_t count = head->T - t;
        for (int64_t c = 0; c < head->D; c += LANES) {
            __m256 v[LANES];
            for (int i = 0; i < LANES; i++) {
                v[i] = i < count ? _mm256_mul_ps(scales, _mm256_loadu_ps(from + (t + i) * ld + c))
                                 : _mm256_setzero_ps();
            }
            vec_transpose(v);
            for (int i = 0; i < LANES; i++) {
                _mm256_store_ps(to + (c + i) * padded + t, v[i]);
            }
        }
    }
}

/* How many keys a query attends to: the first ones. */
static int64_t keys_of(const struct head *head, int64_t query)
{
    return head->is_causal ? query + 1 : head->T;
}

/* p[from .. padded) = 0 */
static void zero_keys(float *p, int64_t from, const struct head *head)
{
    for (int64_t j = from; j < head->padded; j += LANES) {
        _mm256_store_ps(p + j, _mm256_setzero_ps());
    }
}

/*
 * Turns scores s [rows, padded], of query `first` and those that follow, into probabilities, 0 for
 * keys that are not attended to. lse [rows]: the rows' log-sum-exps, NULL if not wanted.
 */
static void softmax_rows(float *s, float *lse, int64_t first, int64_t rows, const struct head *head)
{
    for (int64_t i = 0; i < rows; i++, s += head->padded) {
        const int64_t keys = keys_of(head, first + i);
        const struct vec_softmax row = vec_softmax_row(s, keys);
        zero_keys(s, padded_keys(keys), head);
        if (lse != NULL) {
            lse[i] = row.top + logf(row.sum);
        }
    }
}

/* Turns scores s [rows, padded] into the probabilities whose log-sum-exps are known. */
static void softmax_rows_again(float *s, const float *lse, int64_t first, int64_t rows,
                               const struct head *head)
{
    for (int64_t i = 0; i < rows; i++, s += head->padded) {
        const int64_t keys = keys_of(head, first + i), last = padded_keys(keys) - LANES;
        const __m256 tail = _mm256_castsi256_ps(vec_mask(keys - last));
        const __m256 shift = _mm256_set1_ps(lse[i]);
        for (int64_t j = 0; j <= last; j += LANES) {
            _mm256_store_ps(s + j, vec_exp(_mm256_sub_ps(_mm256_load_ps(s + j), shift)));
        }
        _mm256_store_ps(s + last, _mm256_and_ps(tail, _mm256_load_ps(s + last)));
        zero_keys(s, last + LANES, head);
    }
}

/* dp [rows, padded] becomes scale * p * (dp - row sums of p * dp). */
static void softmax_backward_rows(float *dp, const float *p, int64_t rows, const struct head *head)
{
    const __m256 scale = _mm256_set1_ps(head->scale);

    for (int64_t i = 0; i < rows; i++, dp += head->padded, p += head->padded) {
        __m256 sums = _mm256_setzero_ps();
        for (int64_t j = 0; j < head->padded; j += LANES) {
            sums = _mm256_fmadd_ps(_mm256_load_ps(p + j), _mm256_load_ps(dp + j), sums);
        }
        const __m256 delta = _mm256_set1_ps(vec_sum(sums));
        for (int64_t j = 0; j < head->padded; j += LANES) {
            const __m256 difference = _mm256_sub_ps(_mm256_load_ps(dp + j), delta);
            const __m256 p_scaled = _mm256_mul_ps(scale, _mm256_load_ps(p + j));
            _mm256_store_ps(dp + j, _mm256_mul_ps(p_scaled, difference));
        }
    }
}

/*
 * s [rows, padded] = the scaled scores of `rows` queries with the first `keys` keys, up to a multiple of
 * LANES; scratch.keys_across is filled.
 */
static void score_rows(float *s, const float *q, int64_t ld_q, int64_t rows, int64_t keys,
                       const struct head *head)
{
    const struct product scores = {.a = q,
                                   .a_row = ld_q,
                                   .a_step = 1,
                                   .b = scratch.keys_across,
                                   .ld_b = head->padded,
                                   .c = s,
                                   .ld_c = head->padded,
                                   .inner = head->D};

    product_run(&scores, rows, padded_keys(keys));
}

/* How many of the queries that are left to take at once. */
static int64_t rows_at(int64_t row, const struct head *head)
{
    return head->query_count - row < ROWS_MAX ? head->query_count - row : ROWS_MAX;
}

/* `saved` is the whole array, or NULL. */
static void forward_head(float *out, float *saved, const struct head *head)
{
    const int64_t padded = head->padded;

    copy_across(scratch.keys_across, head->k, head, head->scale);
    copy_rows(scratch.rows, head->v, head->ld, head->T, head->D);
    prefetch_next(head);
    for (int64_t row = 0; row < head->query_count; row += ROWS_MAX) {
        const int64_t rows = rows_at(row, head), keys = keys_of(head, row + rows - 1);
        float *p = scratch.p, *lse = NULL;
        if (saved != NULL && head->saves_p) {
            p = saved + head->saved_at + row * padded;
        } else if (saved != NULL) {
            lse = saved + head->saved_at + row;
        }
        const struct product p_v = {.a = p,
                                    .a_row = padded,
                                    .a_step = 1,
                                    .b = scratch.rows,
                                    .ld_b = head->D,
                                    .c = out + row * head->ld_out,
                                    .ld_c = head->ld_out,
                                    .inner = keys};

        score_rows(p, head->q + row * head->ld, head->ld, rows, keys, head);
        softmax_rows(p, lse, row, rows, head);
        product_run(&p_v, rows, head->D);
    }
}

/* Sample b, which does not fit the tiles, as a batch of its own. */
struct alone {
    struct kern_attention_shape shape;
    struct kern_attention_mask mask;
    int64_t rows;  /* of `out` and qkv before it */
    int64_t saved; /* floats before it */
};

static struct alone alone_of(const struct kern_attention_shape *shape,
                             const struct kern_attention_mask *mask, int64_t b)
{
    struct alone alone = {.shape = *shape, .rows = b * shape->T};

    alone.shape.B = 1;
    alone.saved = b * shape->H * shape->T;
    if (mask != NULL) {
        alone.mask.is_causal = mask->is_causal;
        alone.mask.lengths = mask->lengths == NULL ? NULL : mask->lengths + b;
    }
    return alone;
}

void kern_attention_forward_avx2(float *out, float *saved, const float *qkv,
                                 const struct kern_attention_shape *shape, int64_t query_count,
                                 const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, HD = shape->H * shape->D;

    assert(query_count >= 1 && query_count <= T);
    assert((uintptr_t)saved % ALIGNMENT == 0);
    for (int64_t b = 0; b < shape->B; b++) {
        if (!fits_tiles(length_of(shape, mask, b), shape->D, mask)) {
            const struct alone alone = alone_of(shape, mask, b);
            kern_attention_forward_portable(
                out + alone.rows * HD, saved == NULL ? NULL : saved + alone.saved,
                qkv + alone.rows * 3 * HD, &alone.shape, query_count, &alone.mask);
            continue;
        }
        for (int64_t h = 0; h < shape->H; h++) {
            const struct head head = head_at(qkv, shape, mask, query_count, b, h);
            forward_head(out + (b * T * shape->H + h) * shape->D, saved, &head);
        }
        for (int64_t t = length_of(shape, mask, b); t < query_count; t++) {
            memset(out + (b * T + t) * HD, 0, (size_t)HD * sizeof(float));
        }
    }
}

/* dq, and dk and dv HD and 2 HD floats after it, have the strides of q, k and v. */
static void backward_head(float *dq, const float *dout, const float *saved, const struct head *head)
{
    const int64_t T = head->T, D = head->D, padded = head->padded, ld = head->ld;

    copy_across(scratch.values_across, head->v, head, 1.0f);
    copy_rows(scratch.rows, head->k, ld, T, D);
    if (!head->saves_p) {
        copy_across(scratch.keys_across, head->k, head, head->scale);
    }
    prefetch_next(head);
    if (head->next_out != 0) {
        prefetch_rows(dout + head->next_out, head->ld_out, head->query_count, D);
    }
    for (int64_t row = 0; row < head->query_count; row += ROWS_MAX) {
        const int64_t rows = rows_at(row, head);
        const float *const p = head->saves_p ? saved + head->saved_at + row * padded : scratch.p;
        const struct product dp = {.a = scratch.dout,
                                   .a_row = D,
                                   .a_step = 1,
                                   .b = scratch.values_across,
                                   .ld_b = padded,
                                   .c = scratch.ds,
                                   .ld_c = padded,
                                   .inner = D};
        const struct product ds_k = {.a = scratch.ds,
                                     .a_row = padded,
                                     .a_step = 1,
                                     .b = scratch.rows,
                                     .ld_b = D,
                                     .c = dq + row * ld,
                                     .ld_c = ld,
                                     .inner = T};
        const struct product ds_q = {.a = scratch.ds,
                                     .a_row = 1,
                                     .a_step = padded,
                                     .b = scratch.q,
                                     .ld_b = D,
                                     .c = dq + head->ld_out,
                                     .ld_c = ld,
                                     .inner = rows,
                                     .accumulate = row > 0};
        const struct product p_do = {.a = p,
                                     .a_row = 1,
                                     .a_step = padded,
                                     .b = scratch.dout,
                                     .ld_b = D,
                                     .c = dq + 2 * head->ld_out,
                                     .ld_c = ld,
                                     .inner = rows,
                                     .accumulate = row > 0};

        copy_rows(scratch.q, head->q + row * ld, ld, rows, D);
        copy_rows(scratch.dout, dout + row * head->ld_out, head->ld_out, rows, D);
        if (!head->saves_p) {
            const int64_t keys = keys_of(head, row + rows - 1);
            score_rows(scratch.p, scratch.q, D, rows, keys, head);
            softmax_rows_again(scratch.p, saved + head->saved_at + row, row, rows, head);
        }
        product_run(&p_do, T, D);
        product_run(&dp, rows, padded);
        softmax_backward_rows(scratch.ds, p, rows, head);
        product_run(&ds_k, rows, D);
        product_run(&ds_q, T, D);
    }
    for (int64_t t = head->query_count; t < T; t++) {
        memset(dq + t * ld, 0, (size_t)D * sizeof(float));
    }
}

void kern_attention_backward_avx2(float *dqkv, const float *dout, const float *qkv,
                                  const float *saved, const struct kern_attention_shape *shape,
                                  int64_t query_count, const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, H = shape->H, D = shape->D, HD = H * D;

    assert(query_count >= 1 && query_count <= T);
    assert((uintptr_t)saved % ALIGNMENT == 0);
    for (int64_t b = 0; b < shape->B; b++) {
        if (!fits_tiles(length_of(shape, mask, b), D, mask)) {
            const struct alone alone = alone_of(shape, mask, b);
            kern_attention_backward_portable(dqkv + alone.rows * 3 * HD, dout + alone.rows * HD,
                                             qkv + alone.rows * 3 * HD, saved + alone.saved,
                                             &alone.shape, query_count, &alone.mask);
            continue;
        }
        for (int64_t h = 0; h < H; h++) {
            const struct head head = head_at(qkv, shape, mask, query_count, b, h);
            backward_head(dqkv + b * T * 3 * HD + h * D, dout + (b * T * H + h) * D, saved, &head);
        }
        for (int64_t t = length_of(shape, mask, b); t < T; t++) {
            memset(dqkv + (b * T + t) * 3 * HD, 0, (size_t)(3 * HD) * sizeof(float));
        }
    }
}
