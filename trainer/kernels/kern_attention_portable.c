/* Attention in plain loops: the definition. Scores and their sums are in double. */
#include "trainer/kernels/kern_attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { CHANNELS_AT_A_TIME = 64 };

/* One head of one sample: row t of q, k and v is at t * ld. */
struct head {
    const float *q, *k, *v;
    int64_t ld, D;
    int64_t length; /* tokens that are there */
    bool is_causal;
};

static struct head head_at(const float *qkv, const struct kern_attention_shape *shape,
                           const struct kern_attention_mask *mask, int64_t b, int64_t h)
{
    const int64_t HD = shape->H * shape->D;
    const float *q = qkv + b * shape->T * 3 * HD + h * shape->D;
    const bool has_lengths = mask != NULL && mask->lengths != NULL;
    const int64_t length = has_lengths ? mask->lengths[b] : shape->T;

    assert(length >= 1 && length <= shape->T);
    return (struct head){.q = q,
                         .k = q + HD,
                         .v = q + 2 * HD,
                         .ld = 3 * HD,
                         .D = shape->D,
                         .length = length,
                         .is_causal = mask != NULL && mask->is_causal};
}

/* How many keys query i attends to: the first ones. */
static int64_t keys_of(const struct head *head, int64_t i)
{
    return head->is_causal ? i + 1 : head->length;
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;

    for (int64_t i = 0; i < count; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

static double score(const struct head *head, int64_t i, int64_t j)
{
    return dot(head->q + i * head->ld, head->k + j * head->ld, head->D) / sqrt((double)head->D);
}

int64_t kern_attention_saved_elems_portable(const struct kern_attention_shape *shape)
{
    return shape->B * shape->H * shape->T;
}

/* Writes row i of the head's output and returns the log-sum-exp of its scores. */
static double forward_row(float *out, const struct head *head, int64_t i)
{
    const int64_t keys = keys_of(head, i);
    double top = -INFINITY, total = 0;

    for (int64_t j = 0; j < keys; j++) {
        top = fmax(top, score(head, i, j));
    }
    for (int64_t c0 = 0; c0 < head->D; c0 += CHANNELS_AT_A_TIME) {
        const int64_t left = head->D - c0;
        const int64_t count = left < CHANNELS_AT_A_TIME ? left : CHANNELS_AT_A_TIME;
        double sums[CHANNELS_AT_A_TIME] = {0};
        total = 0;
        for (int64_t j = 0; j < keys; j++) {
            const double e = exp(score(head, i, j) - top);
            total += e;
            for (int64_t c = 0; c < count; c++) {
                sums[c] += e * head->v[j * head->ld + c0 + c];
            }
        }
        for (int64_t c = 0; c < count; c++) {
            out[c0 + c] = (float)(sums[c] / total);
        }
    }
    return top + log(total);
}

void kern_attention_forward_portable(float *out, float *saved, const float *qkv,
                                     const struct kern_attention_shape *shape, int64_t query_count,
                                     const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, H = shape->H, D = shape->D;

    assert(query_count >= 1 && query_count <= T);
    for (int64_t b = 0; b < shape->B; b++) {
        for (int64_t h = 0; h < H; h++) {
            const struct head head = head_at(qkv, shape, mask, b, h);
            for (int64_t i = 0; i < query_count; i++) {
                float *const row = out + ((b * T + i) * H + h) * D;
                if (i >= head.length) {
                    memset(row, 0, (size_t)D * sizeof(float));
                    continue;
                }
                const double lse = forward_row(row, &head, i);
                if (saved != NULL) {
                    saved[(b * H + h) * T + i] = (float)lse;
                }
            }
        }
    }
}

/* Adds what query i, with the gradient `dout` of its output, gives to dq, dk and dv. */
static void backward_row(float *dq, const struct head *head, const float *dout, double lse,
                         int64_t i)
{
    const int64_t ld = head->ld, HD = ld / 3;
    const int64_t keys = keys_of(head, i);
    const double scale = 1 / sqrt((double)head->D);
    float *const dq_i = dq + i * ld;
    double delta = 0;

    for (int64_t j = 0; j < keys; j++) {
        delta += exp(score(head, i, j) - lse) * dot(dout, head->v + j * ld, head->D);
    }
    for (int64_t j = 0; j < keys; j++) {
        const double p = exp(score(head, i, j) - lse);
        const double ds = scale * p * (dot(dout, head->v + j * ld, head->D) - delta);
        float *const dk_j = dq + HD + j * ld, *const dv_j = dq + 2 * HD + j * ld;
        for (int64_t c = 0; c < head->D; c++) {
            dq_i[c] += (float)(ds * head->k[j * ld + c]);
            dk_j[c] += (float)(ds * head->q[i * ld + c]);
            dv_j[c] += (float)(p * dout[c]);
        }
    }
}

void kern_attention_backward_portable(float *dqkv, const float *dout, const float *qkv,
                                      const float *saved, const struct kern_attention_shape *shape,
                                      int64_t query_count, const struct kern_attention_mask *mask)
{
    const int64_t T = shape->T, H = shape->H, D = shape->D;

    assert(query_count >= 1 && query_count <= T);
    memset(dqkv, 0, (size_t)(shape->B * T * 3 * H * D) * sizeof(float));
    for (int64_t b = 0; b < shape->B; b++) {
        for (int64_t h = 0; h < H; h++) {
            const struct head head = head_at(qkv, shape, mask, b, h);
            float *const dq = dqkv + b * T * 3 * H * D + h * D;
            for (int64_t i = 0; i < query_count && i < head.length; i++) {
                backward_row(dq, &head, dout + ((b * T + i) * H + h) * D,
                             saved[(b * H + h) * T + i], i);
            }
        }
    }
}
