/*
 * Tests of the kernels in bfloat16 (trainer/kernels/kern_bf16.h), against the portable versions in float
 * on the same numbers: what differs is that results are rounded, and inside attention probabilities.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "tests/support/device_mirror.h"
#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_attention.h"
#include "trainer/kernels/kern_bf16.h"
#include "trainer/kernels/kern_embed.h"
#include "trainer/kernels/kern_layernorm.h"
#include "trainer/kernels/kern_linear.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/kernels/kern_rows.h"
#include "trainer/kernels/kern_update.h"
#include "trainer/kernels/kern_xent.h"

static const double ONCE =
    1.01 * (double)KERN_BF16_EPSILON; /* rounded once, from nearly the same */
/* Probabilities and their derivatives are rounded before they multiply: measured up to 2.4. */
static const double ATTENTION = 4 * (double)KERN_BF16_EPSILON;

/* An array in bfloat16, between guards, and the same numbers in float. */
struct narrow {
    struct float_block bits, wide; /* bits: two in a float, count of them rounded up */
    int64_t count;
};

static uint16_t *bits_of(const struct narrow *narrow)
{
    return (uint16_t *)(void *)narrow->bits.data;
}

static struct narrow narrow_open(int64_t count)
{
    return (struct narrow){float_block_open((count + 1) / 2), float_block_open(count), count};
}

static struct narrow narrow_normal(int64_t count, uint32_t sub)
{
    const struct narrow narrow = {float_block_open((count + 1) / 2), float_block_normal(count, sub),
                                  count};

    for (int64_t i = 0; i < count; i++) {
        bits_of(&narrow)[i] = kern_bf16_from_f32(narrow.wide.data[i]);
        narrow.wide.data[i] = kern_bf16_to_f32(bits_of(&narrow)[i]);
    }
    return narrow;
}

static void narrow_close(const struct narrow *narrow)
{
    float_block_close(&narrow->bits);
    float_block_close(&narrow->wide);
}

static uint16_t *out(struct device_mirror *m, const struct narrow *narrow)
{
    return device_mirror_of(m, narrow->bits.data, (size_t)narrow->count * sizeof(uint16_t), true);
}

static const uint16_t *in(struct device_mirror *m, const struct narrow *narrow)
{
    return device_mirror_of(m, narrow->bits.data, (size_t)narrow->count * sizeof(uint16_t), false);
}

/* The portable version's result is in `wide`, the device's in `bits`. */
static void close_near(const struct narrow *narrow, const char *what, double tolerance)
{
    for (int64_t i = 0; i < narrow->count; i++) {
        const double found = (double)kern_bf16_to_f32(bits_of(narrow)[i]);
        if (!kern_is_close(found, (double)narrow->wide.data[i], tolerance)) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, found,
                         (double)narrow->wide.data[i]);
        }
    }
    narrow_close(narrow);
}

static void check_floats(const struct float_block *found, const struct float_block *expected,
                         const char *what, double tolerance)
{
    for (int64_t i = 0; i < found->count; i++) {
        if (!kern_is_close((double)found->data[i], (double)expected->data[i], tolerance)) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, (double)found->data[i],
                         (double)expected->data[i]);
        }
    }
    float_block_close(found);
    float_block_close(expected);
}

START_TEST(bf16__rounds_to_nearest_even_and_keeps_what_is_not_finite)
{
    ck_assert_int_eq(kern_bf16_from_f32(1.0f), 0x3f80);
    ck_assert_int_eq(kern_bf16_from_f32(1.00390625f), 0x3f80); /* half-way: to the even one below */
    ck_assert_int_eq(kern_bf16_from_f32(1.01171875f), 0x3f82); /* half-way: to the even one above */
    ck_assert_int_eq(kern_bf16_from_f32(1.0039064f), 0x3f81);
    ck_assert_int_eq(kern_bf16_from_f32(-2.0f), 0xc000);
    ck_assert_int_eq(kern_bf16_from_f32(3.4e38f), 0x7f80); /* beyond the largest by half a step */
    ck_assert_int_eq(kern_bf16_from_f32(INFINITY), 0x7f80);
    ck_assert(isnan(kern_bf16_to_f32(kern_bf16_from_f32(NAN))));
    ck_assert_float_eq(kern_bf16_to_f32(0x4049), 3.140625f);
}
END_TEST

START_TEST(layernorm__is_that_of_float_rounded)
{
    static const int64_t widths[] = {1, 5, 8, 50, 64, 192, 256, 257, 512, 768, 1024, 1030, 2064};
    const int64_t N = 21, C = widths[_i], ld = C + (_i % 2 == 0 ? 0 : 3), extent = N * ld;
    const struct narrow x = narrow_normal(extent, 1), y = narrow_open(N * C);
    const struct narrow dy = narrow_normal(N * C, 2), dx = narrow_normal(extent, 3);
    const struct float_block gain = float_block_normal(C, 4), bias = float_block_normal(C, 5);
    const struct float_block mean = float_block_open(N), rstd = float_block_open(N);
    const struct float_block dgain = float_block_normal(C, 6), dbias = float_block_normal(C, 7);
    const struct float_block dgain_there = float_block_normal(C, 6);
    const struct float_block dbias_there = float_block_normal(C, 7);
    const struct float_block mean_there = float_block_open(N), rstd_there = float_block_open(N);
    struct device_mirror m = device_mirror_begin();

    kern_layernorm_forward_portable(y.wide.data, mean.data, rstd.data, x.wide.data, ld, gain.data,
                                    bias.data, N, C, 1e-6f);
    kern_layernorm_backward_portable(dx.wide.data, dx.wide.data, dgain.data, dbias.data,
                                     dy.wide.data, x.wide.data, ld, mean.data, rstd.data, gain.data,
                                     N, C, true);
    float *means = device_mirror_out(&m, mean_there.data, N);
    float *rstds = device_mirror_out(&m, rstd_there.data, N);
    const float *gains = device_mirror_in(&m, gain.data, C);
    kern_layernorm_forward_bf16_cuda(out(&m, &y), means, rstds, in(&m, &x), ld, gains,
                                     device_mirror_in(&m, bias.data, C), N, C, 1e-6f);
    kern_layernorm_backward_bf16_cuda(out(&m, &dx), in(&m, &dx),
                                      device_mirror_out(&m, dgain_there.data, C),
                                      device_mirror_out(&m, dbias_there.data, C), in(&m, &dy),
                                      in(&m, &x), ld, means, rstds, gains, N, C, true);
    device_mirror_end(&m);
    close_near(&y, "y", ONCE);
    close_near(&dx, "dx", ONCE);
    check_floats(&dgain_there, &dgain, "dgain", 1e-5);
    check_floats(&dbias_there, &dbias, "dbias", 1e-5);
    check_floats(&mean_there, &mean, "mean", 1e-5);
    check_floats(&rstd_there, &rstd, "rstd", 1e-5);
    narrow_close(&x);
    narrow_close(&dy);
    float_block_close(&gain);
    float_block_close(&bias);
}
END_TEST

START_TEST(gelu__is_that_of_float_rounded)
{
    static const int64_t counts[] = {0, 1, 7, 8, 9, 1000};
    const int64_t count = counts[_i / 2];
    const enum kern_gelu form = _i % 2 == 0 ? KERN_GELU_TANH : KERN_GELU_ERF;
    const struct narrow x = narrow_normal(count, 1), y = narrow_open(count);
    const struct narrow slope = narrow_open(count);
    struct device_mirror m = device_mirror_begin();

    kern_gelu_portable(y.wide.data, slope.wide.data, x.wide.data, count, form);
    kern_gelu_bf16_cuda(out(&m, &y), out(&m, &slope), in(&m, &x), count, form);
    device_mirror_end(&m);
    close_near(&y, "y", ONCE);
    close_near(&slope, "slope", ONCE);
    narrow_close(&x);
}
END_TEST

START_TEST(xent__is_that_of_float_on_rounded_logits)
{
    static const int64_t classes[] = {2, 10, 100, 256, 257, 1000, 1100};
    enum { N = 9 };
    const int64_t K = classes[_i];
    const struct narrow z = narrow_normal(N * K, 1), dz = narrow_open(N * K);
    const struct float_block loss = float_block_open(N), loss_there = float_block_open(N);
    const struct float_block lse = float_block_open(N), lse_there = float_block_open(N);
    const struct float_block features = float_block_open(4 * N);
    const struct float_block features_there = float_block_open(4 * N);
    const struct float_block weight = float_block_normal(N, 2);
    int32_t label[N], predicted[N], predicted_there[N];
    float bad = 0;
    struct device_mirror m = device_mirror_begin();

    for (int n = 0; n < N; n++) {
        label[n] = (int32_t)(n % K);
    }
    const struct kern_xent_out plain = {loss.data, lse.data, features.data, predicted, &bad};
    const struct kern_xent_out there = {
        device_mirror_out(&m, loss_there.data, N), device_mirror_out(&m, lse_there.data, N),
        device_mirror_out(&m, features_there.data, 4 * N),
        device_mirror_out_i32(&m, predicted_there, N), device_mirror_out(&m, &bad, 1)};
    const int32_t *labels = device_mirror_in_i32(&m, label, N);
    kern_xent_forward_portable(&plain, z.wide.data, label, N, K);
    kern_xent_backward_portable(dz.wide.data, z.wide.data, lse.data, label, weight.data, N, K);
    kern_xent_forward_bf16_cuda(&there, in(&m, &z), labels, N, K);
    kern_xent_backward_bf16_cuda(out(&m, &dz), in(&m, &z), there.lse, labels,
                                 device_mirror_in(&m, weight.data, N), N, K);
    device_mirror_end(&m);
    ck_assert_mem_eq(predicted, predicted_there, sizeof(predicted));
    ck_assert_float_eq(bad, 0);
    check_floats(&loss_there, &loss, "loss", (double)KERN_XENT_TOLERANCE);
    check_floats(&lse_there, &lse, "lse", (double)KERN_XENT_TOLERANCE);
    check_floats(&features_there, &features, "features", (double)KERN_XENT_TOLERANCE);
    close_near(&dz, "dz", ONCE);
    narrow_close(&z);
    float_block_close(&weight);
}
END_TEST

static const struct linear_case {
    int64_t M, N, K;
    enum kern_gelu gelu;
    bool has_bias, has_residual, has_slope;
} LINEARS[] = {
    {1, 1, 1, KERN_GELU_NONE, false, false, false},
    {5, 7, 9, KERN_GELU_NONE, true, true, false},
    {13, 16, 24, KERN_GELU_TANH, true, false, true},
    {8, 64, 32, KERN_GELU_TANH, true, false, false},
    {33, 20, 50, KERN_GELU_ERF, true, false, false},
    {6, 40, 16, KERN_GELU_TANH, false, true, false},
    {50, 8, 128, KERN_GELU_ERF, false, true, true},
};
enum { LINEAR_COUNT = sizeof(LINEARS) / sizeof(LINEARS[0]) };

/* Numbers so small that sums of K products are of order 1. */
static struct narrow weights(int64_t N, int64_t K, uint32_t sub)
{
    const struct narrow w = narrow_normal(N * K, sub);

    for (int64_t i = 0; i < N * K; i++) {
        bits_of(&w)[i] = kern_bf16_from_f32(w.wide.data[i] / sqrtf((float)(N > K ? N : K)));
        w.wide.data[i] = kern_bf16_to_f32(bits_of(&w)[i]);
    }
    return w;
}

START_TEST(linear__is_that_of_float_rounded)
{
    const struct linear_case *c = &LINEARS[_i];
    const int64_t M = c->M, N = c->N, K = c->K, ld_y = N + 1;
    const struct narrow w = weights(N, K, 1), x = narrow_normal(M * K, 2);
    const struct narrow y = narrow_normal(M * ld_y, 3), slope = narrow_normal(M * ld_y, 4);
    const struct narrow bias = narrow_normal(N, 5);
    const struct kern_linear linear = {.N = N, .K = K, .weight = w.wide.data};
    const struct kern_linear_epilogue epilogue = {.bias = c->has_bias ? bias.wide.data : NULL,
                                                  .residual = c->has_residual ? y.wide.data : NULL,
                                                  .gelu = c->gelu,
                                                  .slope = c->has_slope ? slope.wide.data : NULL};
    struct device_mirror m = device_mirror_begin();

    const struct kern_linear_bf16 there = {N, K, in(&m, &w)};
    uint16_t *y_there = out(&m, &y);
    const struct kern_linear_bf16_epilogue also = {.bias = c->has_bias ? in(&m, &bias) : NULL,
                                                   .residual = c->has_residual ? y_there : NULL,
                                                   .gelu = c->gelu,
                                                   .slope = c->has_slope ? out(&m, &slope) : NULL};
    kern_linear_forward_portable(y.wide.data, ld_y, x.wide.data, K, M, &linear, &epilogue);
    kern_linear_forward_bf16_cuda(y_there, ld_y, in(&m, &x), K, M, &there, &also);
    device_mirror_end(&m);
    /* Where GELU is a kernel of ours, the sum is rounded before it, too. */
    close_near(&y, "y", c->gelu == KERN_GELU_NONE ? ONCE : 2.5 * ONCE);
    close_near(&slope, "slope", 2.5 * ONCE);
    narrow_close(&w);
    narrow_close(&x);
    narrow_close(&bias);
}
END_TEST

START_TEST(linear_backward__is_that_of_float_rounded)
{
    const struct linear_case *c = &LINEARS[_i];
    const int64_t M = c->M, N = c->N, K = c->K, ld_dx = K + 3;
    const struct narrow w = weights(N, K, 1), x = narrow_normal(M * K, 2);
    const struct narrow dy = narrow_normal(M * N, 3), dx = narrow_normal(M * ld_dx, 4);
    const struct narrow slope = narrow_normal(M * ld_dx, 5);
    const struct float_block dw = float_block_normal(N * K, 6), db = float_block_normal(N, 7);
    const struct float_block dw_there = float_block_normal(N * K, 6);
    const struct float_block db_there = float_block_normal(N, 7);
    const struct kern_linear linear = {.N = N, .K = K, .weight = w.wide.data};
    const bool has_slope = c->has_slope;
    struct device_mirror m = device_mirror_begin();

    const struct kern_linear_bf16 there = {N, K, in(&m, &w)};
    kern_linear_backward_data_portable(dx.wide.data, ld_dx, dy.wide.data, N, M, &linear,
                                       has_slope ? slope.wide.data : NULL);
    kern_linear_backward_data_bf16_cuda(out(&m, &dx), ld_dx, in(&m, &dy), N, M, &there,
                                        has_slope ? in(&m, &slope) : NULL);
    kern_linear_backward_weight_portable(dw.data, db.data, dy.wide.data, N, x.wide.data, K, M, N, K,
                                         c->has_bias);
    kern_linear_backward_weight_bf16_cuda(device_mirror_out(&m, dw_there.data, N * K),
                                          device_mirror_out(&m, db_there.data, N), in(&m, &dy), N,
                                          in(&m, &x), K, M, N, K, c->has_bias);
    device_mirror_end(&m);
    close_near(&dx, "dx", has_slope ? 2.5 * ONCE : ONCE);
    check_floats(&dw_there, &dw, "dweight", 1e-5); /* the inputs are exact: as in float */
    check_floats(&db_there, &db, "dbias", 1e-5);
    narrow_close(&w);
    narrow_close(&x);
    narrow_close(&dy);
    narrow_close(&slope);
}
END_TEST

static const struct kern_attention_shape ATTENTIONS[] = {
    {1, 1, 1, 1},   {2, 5, 1, 16},  {1, 7, 3, 8},    {2, 17, 2, 32}, {1, 33, 1, 5},
    {1, 50, 4, 32}, {1, 65, 1, 64}, {1, 40, 1, 128}, {1, 9, 1, 200},
};
enum { ATTENTION_COUNT = sizeof(ATTENTIONS) / sizeof(ATTENTIONS[0]) };

START_TEST(attention__is_that_of_float_but_for_rounding)
{
    const struct kern_attention_shape *shape = &ATTENTIONS[_i / 2];
    const int64_t rows = shape->B * shape->T, width = shape->H * shape->D;
    const int64_t query_count = _i % 2 == 0 ? shape->T : (shape->T + 1) / 2;
    const int64_t lse_count = shape->B * shape->H * shape->T;
    const struct narrow qkv = narrow_normal(3 * rows * width, 1);
    const struct narrow dout = narrow_normal(rows * width, 2), y = narrow_normal(rows * width, 3);
    const struct narrow dqkv = narrow_open(3 * rows * width);
    const struct float_block lse = float_block_normal(lse_count, 4);
    const struct float_block lse_there = float_block_normal(lse_count, 4);
    struct device_mirror m = device_mirror_begin();

    kern_attention_forward_portable(y.wide.data, lse.data, qkv.wide.data, shape, query_count, NULL);
    kern_attention_backward_portable(dqkv.wide.data, dout.wide.data, qkv.wide.data, lse.data, shape,
                                     query_count, NULL);
    uint16_t *y_there = out(&m, &y);
    float *lse_out = device_mirror_out(&m, lse_there.data, lse_count);
    kern_attention_forward_bf16_cuda(y_there, lse_out, in(&m, &qkv), shape, query_count);
    kern_attention_backward_bf16_cuda(out(&m, &dqkv), in(&m, &dout), in(&m, &qkv), y_there, lse_out,
                                      shape, query_count);
    device_mirror_end(&m);
    close_near(&y, "out", ATTENTION);
    close_near(&dqkv, "dqkv", ATTENTION);
    check_floats(&lse_there, &lse, "lse", 2e-5);
    narrow_close(&qkv);
    narrow_close(&dout);
}
END_TEST

START_TEST(rows__are_those_of_float_rounded)
{
    static const int64_t shapes[][4] = {/* rows, columns, ld_to, ld_from */
                                        {1, 5, 5, 9},    {0, 8, 8, 8},   {7, 16, 24, 16},
                                        {9, 33, 40, 35}, {64, 8, 8, 16}, {3, 1000, 1001, 1000}};
    const int64_t rows = shapes[_i][0], columns = shapes[_i][1];
    const int64_t ld_to = shapes[_i][2], ld_from = shapes[_i][3];
    const struct narrow from = narrow_normal(rows * ld_from, 1);
    const struct narrow copy = narrow_normal(rows * ld_to, 2), sum = narrow_normal(rows * ld_to, 3);
    const struct narrow gather = narrow_open(rows * columns);
    const struct narrow keep = narrow_normal(rows * columns, 4), scratch = narrow_open(keep.count);
    uint32_t index[64], kept[64];
    struct device_mirror m = device_mirror_begin();

    for (int64_t r = 0; r < rows; r++) {
        index[r] = (uint32_t)((r * 5 + 2) % rows);
        kept[r] = (uint32_t)(2 * r + 1);
    }
    const uint32_t *there = device_mirror_of(&m, index, (size_t)rows * sizeof(*index), false);
    kern_copy_rows_portable(copy.wide.data, ld_to, from.wide.data, ld_from, rows, columns);
    kern_copy_rows_bf16_cuda(out(&m, &copy), ld_to, in(&m, &from), ld_from, rows, columns);
    kern_add_rows_portable(sum.wide.data, ld_to, from.wide.data, ld_from, 0.3f, rows, columns);
    kern_add_rows_bf16_cuda(out(&m, &sum), ld_to, in(&m, &from), ld_from, 0.3f, rows, columns);
    kern_gather_rows_portable(gather.wide.data, from.wide.data, ld_from, index, rows, columns);
    kern_gather_rows_bf16_cuda(out(&m, &gather), in(&m, &from), ld_from, there, rows, columns);
    kern_keep_rows_portable(keep.wide.data, scratch.wide.data, kept, rows / 2, columns);
    kern_keep_rows_bf16_cuda(out(&m, &keep), out(&m, &scratch),
                             device_mirror_of(&m, kept, (size_t)rows / 2 * sizeof(*kept), false),
                             rows / 2, columns);
    device_mirror_end(&m);
    close_near(&copy, "copy", 0);
    close_near(&sum, "sum", ONCE);
    close_near(&gather, "gather", 0);
    close_near(&keep, "keep", 0);
    narrow_close(&scratch);
    narrow_close(&from);
}
END_TEST

START_TEST(mean__is_that_of_float_rounded)
{
    static const int64_t shapes[][3] = {{1, 2, 1}, {3, 5, 7}, {2, 50, 32}, {0, 2, 4}};
    const int64_t B = shapes[_i][0], T = shapes[_i][1], D = shapes[_i][2];
    const struct narrow x = narrow_normal(B * T * D, 1), mean = narrow_open(B * D);
    const struct narrow dmean = narrow_normal(B * D, 2), dx = narrow_normal(B * T * D, 3);
    struct device_mirror m = device_mirror_begin();

    kern_mean_forward_portable(mean.wide.data, x.wide.data, B, T, D);
    kern_mean_forward_bf16_cuda(out(&m, &mean), in(&m, &x), B, T, D);
    kern_mean_backward_portable(dx.wide.data, dmean.wide.data, B, T, D);
    kern_mean_backward_bf16_cuda(out(&m, &dx), in(&m, &dmean), B, T, D);
    device_mirror_end(&m);
    close_near(&mean, "mean", ONCE);
    close_near(&dx, "dx", ONCE);
    narrow_close(&x);
    narrow_close(&dmean);
}
END_TEST

START_TEST(embed__is_that_of_float_rounded)
{
    static const struct kern_embed_shape shapes[] = {
        {1, 1, 4, 4, 3}, {3, 1, 28, 7, 24}, {2, 3, 12, 4, 16}, {9, 2, 6, 3, 5}};
    const struct kern_embed_shape *shape = &shapes[_i];
    const int64_t side = shape->S / shape->P, T = 1 + side * side, B = shape->B, D = shape->D;
    const int64_t inputs = shape->C * shape->P * shape->P, pixels = shape->C * shape->S * shape->S;
    const int64_t elems = D * inputs + 2 * D + T * D;
    const struct narrow w = weights(1, elems, 1), images = narrow_normal(B * pixels, 2);
    const struct narrow x = narrow_open(B * T * D), patches = narrow_open(B * (T - 1) * inputs);
    const struct narrow dx = narrow_normal(B * T * D, 3), scratch = narrow_open(B * T * D);
    const struct float_block plain = float_block_normal(elems, 4);
    const struct float_block found = float_block_normal(elems, 4);
    struct kern_ops ops;
    struct device_mirror m = device_mirror_begin();

    device_mirror_check(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    const struct kern_linear linear = {.N = D, .K = inputs, .weight = w.wide.data};
    const float *bias = w.wide.data + D * inputs;
    const struct kern_embed embed = {&linear, bias, bias + D, bias + 2 * D};
    float *g = plain.data, *h = device_mirror_out(&m, found.data, elems);
    const struct kern_embed_gradients into = {g, g + D * inputs, g + D * inputs + D,
                                              g + D * inputs + 2 * D};
    const struct kern_embed_gradients there = {h, h + D * inputs, h + D * inputs + D,
                                               h + D * inputs + 2 * D};
    const uint16_t *bits = in(&m, &w);
    const struct kern_embed_bf16 embed_there = {bits, bits + D * inputs, bits + D * inputs + D,
                                                bits + D * inputs + 2 * D};
    kern_embed_forward_cpu(&ops, x.wide.data, patches.wide.data, images.wide.data, &embed, shape);
    kern_embed_backward_cpu(&ops, &into, dx.wide.data, patches.wide.data, scratch.wide.data, shape,
                            true);
    kern_embed_forward_bf16_cuda(out(&m, &x), out(&m, &patches),
                                 device_mirror_in(&m, images.wide.data, B * pixels), &embed_there,
                                 shape);
    kern_embed_backward_bf16_cuda(&there, in(&m, &dx), out(&m, &patches), out(&m, &scratch), shape,
                                  true);
    device_mirror_end(&m);
    close_near(&patches, "patches", 0);
    close_near(&x, "x", 2 * ONCE);
    check_floats(&found, &plain, "gradients", 2e-5);
    narrow_close(&w);
    narrow_close(&images);
    narrow_close(&dx);
    narrow_close(&scratch);
}
END_TEST

START_TEST(adamw__keeps_master_weights_and_leaves_a_rounded_copy)
{
    static const int64_t counts[] = {0, 1, 4, 7, 1000};
    static const struct kern_adamw_args args = {0.3f,   1e-3f, 0.05f,  0.9f,
                                                0.999f, 1e-8f, 0.271f, 0.003f};
    const int64_t count = counts[_i / 2], start = _i % 2 == 0 || count == 0 ? 0 : 1;
    const int64_t n = count - start;
    const struct float_block w = float_block_normal(count, 1),
                             w_there = float_block_normal(count, 1);
    const struct float_block mv = float_block_normal(2 * count, 2);
    const struct float_block mv_there = float_block_normal(2 * count, 2);
    const struct float_block gradient = float_block_normal(count, 3);
    const struct narrow copy = narrow_open(count);
    struct device_mirror m = device_mirror_begin();

    for (int64_t i = count; i < 2 * count; i++) {
        mv.data[i] = mv_there.data[i] = fabsf(mv.data[i]);
    }
    float *moments = device_mirror_out(&m, mv_there.data, 2 * count);
    kern_adamw_portable(w.data + start, mv.data, mv.data + count, gradient.data + start, n, &args);
    kern_adamw_bf16_cuda(out(&m, &copy), device_mirror_out(&m, w_there.data + start, n), moments,
                         moments + count, device_mirror_in(&m, gradient.data + start, n), n, &args);
    device_mirror_end(&m);
    for (int64_t i = 0; i < n; i++) {
        ck_assert_int_eq(bits_of(&copy)[i], kern_bf16_from_f32(w.data[start + i]));
    }
    check_floats(&w_there, &w, "weight", 0);
    check_floats(&mv_there, &mv, "moments", 0);
    float_block_close(&gradient);
    narrow_close(&copy);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_bf16_cuda");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, bf16__rounds_to_nearest_even_and_keeps_what_is_not_finite);
    tcase_add_loop_test(tcase, layernorm__is_that_of_float_rounded, 0, 13);
    tcase_add_loop_test(tcase, gelu__is_that_of_float_rounded, 0, 12);
    tcase_add_loop_test(tcase, xent__is_that_of_float_on_rounded_logits, 0, 7);
    tcase_add_loop_test(tcase, linear__is_that_of_float_rounded, 0, LINEAR_COUNT);
    tcase_add_loop_test(tcase, linear_backward__is_that_of_float_rounded, 0, LINEAR_COUNT);
    tcase_add_loop_test(tcase, attention__is_that_of_float_but_for_rounding, 0,
                        2 * ATTENTION_COUNT);
    tcase_add_loop_test(tcase, rows__are_those_of_float_rounded, 0, 6);
    tcase_add_loop_test(tcase, mean__is_that_of_float_rounded, 0, 4);
    tcase_add_loop_test(tcase, embed__is_that_of_float_rounded, 0, 4);
    tcase_add_loop_test(tcase, adamw__keeps_master_weights_and_leaves_a_rounded_copy, 0, 10);
    suite_add_tcase(suite, tcase);
    return suite;
}
