/*
 * tests/support/kern_linear_cases.h - every version of the matrix products against double loops,
 * with every combination of what is fused into a product, at sizes that fit no tile and at those
 * of real models; and that a row's bits depend on no other row.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of `struct version`
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here;
 * KERN_CASES_ROW_BITS, the indices of those that give a row the same bits alone and among
 * others, KERN_CASES_ROW_BITS_COUNT, and KERN_CASES_START(), called before the first case.
 */
#ifndef TESTS_SUPPORT_KERN_LINEAR_CASES_H
#define TESTS_SUPPORT_KERN_LINEAR_CASES_H

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_linear.h"

struct version {
    const char *name;
    kern_linear_panel_elems_fn *panel_elems;
    kern_linear_pack_fn *pack;
    kern_linear_forward_fn *forward;
    kern_linear_backward_data_fn *backward_data;
    kern_linear_backward_weight_fn *backward_weight;
};

static const struct version versions[] = {KERN_CASES_VERSIONS};
static const int ROW_BITS[] = {KERN_CASES_ROW_BITS};

static const struct shape {
    int64_t M, N, K;
} shapes[] = {
    {1, 1, 1},      {2, 3, 5},      {5, 7, 1},     {6, 16, 8},    {7, 17, 9},    {13, 15, 33},
    {12, 31, 16},   {49, 33, 7},    {97, 8, 24},   {3, 17, 4096}, {3, 4096, 17}, {600, 21, 19},
    {13, 384, 128}, {16, 128, 512}, {8, 576, 192}, {7, 192, 768}, {14, 192, 64}, {53, 64, 64},
    {50, 128, 16},  {52, 10, 128},  {259, 270, 9}, {256, 13, 9},  {8, 280, 257},
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]), GAP = 3, ROWS_OF_BITS = 37 };

/* The weights of one layer as `version` wants them, between guards. */
struct layer {
    struct float_block weight, panels, panels_data;
    struct kern_linear linear;
};

static struct layer layer_open(const struct version *version, int64_t N, int64_t K)
{
    const int64_t elems = version->panel_elems(N, K);
    struct layer layer = {
        .weight = float_block_normal(N * K, 1),
        .panels = float_block_open(elems),
        .panels_data = float_block_open(elems),
    };

    layer.linear = (struct kern_linear){.N = N,
                                        .K = K,
                                        .weight = layer.weight.data,
                                        .panels = layer.panels.data,
                                        .panels_data = layer.panels_data.data};
    version->pack(&layer.linear);
    return layer;
}

static void layer_close(const struct layer *layer)
{
    float_block_close(&layer->weight);
    float_block_close(&layer->panels);
    float_block_close(&layer->panels_data);
}

/* `rows` rows of `width` floats, `ld` apart; the gaps hold what float_block_open() left. */
static struct float_block matrix(int64_t rows, int64_t width, int64_t ld, uint32_t sub)
{
    const struct float_block block = float_block_open(rows * ld);
    const struct float_block numbers = float_block_normal(rows * width, sub);

    for (int64_t r = 0; r < rows; r++) {
        memcpy(block.data + r * ld, numbers.data + r * width, (size_t)width * sizeof(float));
    }
    float_block_close(&numbers);
    return block;
}

static void check_gaps(const struct float_block *block, int64_t rows, int64_t width, int64_t ld,
                       const char *name)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = width; i < ld; i++) {
            if (!float_block_untouched(block, r * ld + i)) {
                ck_abort_msg("%s wrote into row %ld's gap", name, (long)r);
            }
        }
    }
}

/* A sum, and the sum of the magnitudes that the tolerance is relative to. */
struct sum {
    double value, magnitude;
};

static void sum_add(struct sum *sum, double a, double b)
{
    sum->value += a * b;
    sum->magnitude += fabs(a * b);
}

static void check_sum(float found, struct sum want, const char *name, const char *what, int64_t row,
                      int64_t column)
{
    const double error = fabs((double)found - want.value);

    /* Check reports every assertion it passes through a pipe: too slow for every element. */
    if (!(error <= (double)KERN_LINEAR_TOLERANCE * want.magnitude)) {
        ck_abort_msg("%s: %s[%ld, %ld] is %.9g, not %.9g", name, what, (long)row, (long)column,
                     (double)found, want.value);
    }
}

enum residual_from { NO_RESIDUAL, RESIDUAL, RESIDUAL_IN_Y, RESIDUALS };

struct forward_case {
    struct shape shape;
    bool has_bias, has_slope;
    enum residual_from residual;
    enum kern_gelu gelu;
};

static void check_forward(const struct version *version, const struct forward_case *c)
{
    const int64_t M = c->shape.M, N = c->shape.N, K = c->shape.K;
    const int64_t ld_x = K + GAP, ld_y = N + GAP;
    const struct layer layer = layer_open(version, N, K);
    const struct float_block x = matrix(M, K, ld_x, 2), before = matrix(M, N, ld_y, 3);
    const struct float_block y = matrix(M, N, ld_y, 3), slope = float_block_open(M * ld_y);
    const struct float_block bias = float_block_normal(N, 4);
    const bool has_slope = c->gelu != KERN_GELU_NONE && c->has_slope;
    const struct kern_linear_epilogue epilogue = {
        .bias = c->has_bias ? bias.data : NULL,
        .residual = c->residual == RESIDUAL_IN_Y ? y.data
                    : c->residual == RESIDUAL    ? before.data
                                                 : NULL,
        .gelu = c->gelu,
        .slope = has_slope ? slope.data : NULL,
    };

    version->forward(y.data, ld_y, x.data, ld_x, M, &layer.linear, &epilogue);
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            struct sum want = {0, 0};
            sum_add(&want, c->has_bias ? (double)bias.data[n] : 0, 1);
            sum_add(&want, c->residual == NO_RESIDUAL ? 0 : (double)before.data[m * ld_y + n], 1);
            for (int64_t k = 0; k < K; k++) {
                sum_add(&want, (double)x.data[m * ld_x + k], (double)layer.weight.data[n * K + k]);
            }
            if (c->gelu != KERN_GELU_NONE) {
                const float sum = (float)want.value;
                float gelu, gelu_slope;
                kern_gelu_portable(&gelu, &gelu_slope, &sum, 1, c->gelu);
                /* gelu' is below 1.13, and gelu'' in magnitude too, so an error of the sum comes
                   through as hardly more. */
                want = (struct sum){(double)gelu, 1.13 * want.magnitude + 1 + fabs((double)gelu)};
                if (has_slope) {
                    check_sum(slope.data[m * ld_y + n],
                              (struct sum){(double)gelu_slope, want.magnitude}, version->name,
                              "slope", m, n);
                }
            }
            check_sum(y.data[m * ld_y + n], want, version->name, "y", m, n);
        }
    }
    check_gaps(&y, M, N, ld_y, version->name);
    check_gaps(&slope, M, has_slope ? N : 0, ld_y, version->name);
    layer_close(&layer);
    float_block_close(&x);
    float_block_close(&before);
    float_block_close(&y);
    float_block_close(&slope);
    float_block_close(&bias);
}

START_TEST(forward__is_right_at_every_size)
{
    const struct version *const version = &versions[_i];

    for (int i = 0; i < SHAPES; i++) {
        const struct forward_case c = {
            .shape = shapes[i],
            .has_bias = i % 2 == 0,
            .residual = (enum residual_from)(i / 2 % RESIDUALS),
            .gelu = (enum kern_gelu)(i % 3),
            .has_slope = i % 4 < 2,
        };
        check_forward(version, &c);
    }
}
END_TEST

START_TEST(forward__is_right_with_everything_that_can_be_fused)
{
    static const struct shape fused_shapes[] = {{13, 21, 10}, {50, 16, 300}};

    for (int combination = 0; combination < 2 * RESIDUALS * 3 * 2; combination++) {
        const struct forward_case c = {
            .shape = fused_shapes[combination % 2],
            .has_bias = combination / 2 % 2 == 0,
            .residual = (enum residual_from)(combination / 4 % RESIDUALS),
            .gelu = (enum kern_gelu)(combination / 12),
            .has_slope = true,
        };
        struct forward_case other = c;
        other.has_slope = false;
        other.shape = fused_shapes[(combination + 1) % 2];
        check_forward(&versions[_i], &c);
        check_forward(&versions[_i], &other);
    }
}
END_TEST

static void check_backward_data(const struct version *version, const struct shape *shape,
                                bool has_slope)
{
    const int64_t M = shape->M, N = shape->N, K = shape->K;
    const int64_t ld_dx = K + GAP, ld_dy = N + GAP;
    const struct layer layer = layer_open(version, N, K);
    const struct float_block dy = matrix(M, N, ld_dy, 2), slope = matrix(M, K, ld_dx, 3);
    const struct float_block dx = float_block_open(M * ld_dx);

    version->backward_data(dx.data, ld_dx, dy.data, ld_dy, M, &layer.linear,
                           has_slope ? slope.data : NULL);
    for (int64_t m = 0; m < M; m++) {
        for (int64_t k = 0; k < K; k++) {
            const double factor = has_slope ? (double)slope.data[m * ld_dx + k] : 1;
            struct sum want = {0, 0};
            for (int64_t n = 0; n < N; n++) {
                sum_add(&want, (double)dy.data[m * ld_dy + n],
                        (double)layer.weight.data[n * K + k]);
            }
            want.value *= factor;
            want.magnitude *= fabs(factor);
            check_sum(dx.data[m * ld_dx + k], want, version->name, "dx", m, k);
        }
    }
    check_gaps(&dx, M, K, ld_dx, version->name);
    layer_close(&layer);
    float_block_close(&dy);
    float_block_close(&slope);
    float_block_close(&dx);
}

START_TEST(backward_data__is_right_at_every_size_with_and_without_a_slope)
{
    for (int i = 0; i < SHAPES; i++) {
        check_backward_data(&versions[_i], &shapes[i], false);
        check_backward_data(&versions[_i], &shapes[i], true);
    }
}
END_TEST

static void check_backward_weight(const struct version *version, const struct shape *shape,
                                  bool accumulate, bool has_bias)
{
    const int64_t M = shape->M, N = shape->N, K = shape->K;
    const int64_t ld_dy = N + GAP, ld_x = K + GAP;
    const struct float_block dy = matrix(M, N, ld_dy, 2), x = matrix(M, K, ld_x, 3);
    const struct float_block before = float_block_normal(N * K, 4);
    const struct float_block before_bias = float_block_normal(N, 5);
    const struct float_block dweight = float_block_open(N * K), dbias = float_block_open(N);

    if (accumulate) { /* otherwise they begin as what must not be read */
        memcpy(dweight.data, before.data, (size_t)(N * K) * sizeof(float));
        memcpy(dbias.data, before_bias.data, (size_t)N * sizeof(float));
    } else {
        memset(dweight.data, 0xff, (size_t)(N * K) * sizeof(float));
        memset(dbias.data, 0xff, (size_t)N * sizeof(float));
    }
    version->backward_weight(dweight.data, has_bias ? dbias.data : NULL, dy.data, ld_dy, x.data,
                             ld_x, M, N, K, accumulate);
    for (int64_t n = 0; n < N; n++) {
        struct sum want = {0, 0};
        for (int64_t k = 0; k < K; k++) {
            want = (struct sum){0, 0};
            sum_add(&want, accumulate ? (double)before.data[n * K + k] : 0, 1);
            for (int64_t m = 0; m < M; m++) {
                sum_add(&want, (double)dy.data[m * ld_dy + n], (double)x.data[m * ld_x + k]);
            }
            check_sum(dweight.data[n * K + k], want, version->name, "dweight", n, k);
        }
        want = (struct sum){0, 0};
        sum_add(&want, accumulate ? (double)before_bias.data[n] : 0, 1);
        for (int64_t m = 0; m < M; m++) {
            sum_add(&want, (double)dy.data[m * ld_dy + n], 1);
        }
        if (has_bias) {
            check_sum(dbias.data[n], want, version->name, "dbias", 0, n);
        }
    }
    float_block_close(&dy);
    float_block_close(&x);
    float_block_close(&before);
    float_block_close(&before_bias);
    float_block_close(&dweight);
    float_block_close(&dbias);
}

START_TEST(backward_weight__is_right_at_every_size_added_or_overwritten)
{
    for (int i = 0; i < SHAPES; i++) {
        check_backward_weight(&versions[_i], &shapes[i], false, i % 3 != 0);
        check_backward_weight(&versions[_i], &shapes[i], true, i % 3 != 1);
    }
}
END_TEST

START_TEST(all__do_nothing_or_write_zeros_when_there_are_no_rows)
{
    const struct version *const version = &versions[_i];
    const struct layer layer = layer_open(version, 5, 7);
    const struct float_block none = float_block_open(0);
    const struct float_block dweight = float_block_normal(35, 2), dbias = float_block_normal(5, 3);
    const struct float_block same = float_block_normal(35, 2);

    version->forward(none.data, 5, none.data, 7, 0, &layer.linear, NULL);
    version->backward_data(none.data, 7, none.data, 5, 0, &layer.linear, NULL);
    version->backward_weight(dweight.data, NULL, none.data, 5, none.data, 7, 0, 5, 7, true);
    ck_assert_mem_eq(dweight.data, same.data, 35 * sizeof(float));
    version->backward_weight(dweight.data, dbias.data, none.data, 5, none.data, 7, 0, 5, 7, false);
    for (int i = 0; i < 35; i++) {
        ck_assert_float_eq(dweight.data[i], 0.0f);
        ck_assert_float_eq(dbias.data[i / 7], 0.0f);
    }
    float_block_close(&none);
    float_block_close(&dweight);
    float_block_close(&dbias);
    float_block_close(&same);
    layer_close(&layer);
}
END_TEST

START_TEST(forward__needs_no_panels_for_the_backward_pass)
{
    const struct version *const version = &versions[_i];
    const struct layer layer = layer_open(version, 9, 20);
    const struct float_block x = matrix(4, 20, 20, 2);
    const struct float_block panels = float_block_open(version->panel_elems(9, 20));
    float y[36], again[36];
    const struct kern_linear forward_only = {
        .N = 9, .K = 20, .weight = layer.weight.data, .panels = panels.data};

    version->pack(&forward_only);
    version->forward(y, 9, x.data, 20, 4, &layer.linear, NULL);
    version->forward(again, 9, x.data, 20, 4, &forward_only, NULL);
    ck_assert_mem_eq(y, again, sizeof(y));
    float_block_close(&x);
    float_block_close(&panels);
    layer_close(&layer);
}
END_TEST

/* Few rows have a path of their own: one to fourteen of them, against all. */
START_TEST(forward__gives_few_rows_the_bits_they_have_among_many)
{
    const struct version *const version = &versions[ROW_BITS[_i]];
    const int64_t M = ROWS_OF_BITS, N = 150, K = 70, ld = N + GAP;
    const struct layer layer = layer_open(version, N, K);
    const struct float_block x = matrix(M, K, K, 2), bias = float_block_normal(N, 4);
    const struct float_block y = matrix(M, N, ld, 3), few = float_block_open(M * ld);
    struct kern_linear_epilogue epilogue = {.bias = bias.data, .residual = y.data};

    for (int64_t rows = 1; rows <= 14; rows++) {
        const struct float_block all = matrix(M, N, ld, 3);
        epilogue.residual = all.data;
        version->forward(all.data, ld, x.data, K, M, &layer.linear, &epilogue);
        epilogue.residual = y.data + rows * ld;
        version->forward(few.data, ld, x.data + rows * K, K, rows, &layer.linear, &epilogue);
        for (int64_t m = 0; m < rows; m++) {
            ck_assert_mem_eq(few.data + m * ld, all.data + (rows + m) * ld,
                             (size_t)N * sizeof(float));
        }
        check_gaps(&few, rows, N, ld, version->name);
        float_block_close(&all);
    }
    float_block_close(&x);
    float_block_close(&bias);
    float_block_close(&y);
    float_block_close(&few);
    layer_close(&layer);
}
END_TEST

START_TEST(forward__gives_a_row_the_same_bits_alone_and_among_others)
{
    static const struct shape bit_shapes[] = {
        {ROWS_OF_BITS, 20, 300}, {ROWS_OF_BITS, 48, 520}, {ROWS_OF_BITS, 150, 130}};
    const struct version *const version = &versions[ROW_BITS[_i]];

    for (int i = 0; i < 6; i++) {
        const int64_t M = ROWS_OF_BITS, N = bit_shapes[i / 2].N, K = bit_shapes[i / 2].K;
        const struct layer layer = layer_open(version, N, K);
        const struct float_block x = matrix(M, K, K, 2), residual = matrix(M, N, N, 3);
        const struct float_block bias = float_block_normal(N, 4);
        const struct float_block y = float_block_open(M * N), slope = float_block_open(M * N);
        const struct float_block y_1 = float_block_open(N), slope_1 = float_block_open(N);
        struct kern_linear_epilogue epilogue = {
            .bias = bias.data,
            .residual = i % 2 == 0 ? NULL : residual.data,
            .gelu = i % 2 == 0 ? KERN_GELU_TANH : KERN_GELU_ERF,
            .slope = slope.data,
        };
        version->forward(y.data, N, x.data, K, M, &layer.linear, &epilogue);
        epilogue.slope = slope_1.data;
        for (int64_t m = 0; m < M; m++) {
            epilogue.residual = i % 2 == 0 ? NULL : residual.data + m * N;
            version->forward(y_1.data, N, x.data + m * K, K, 1, &layer.linear, &epilogue);
            ck_assert_mem_eq(y_1.data, y.data + m * N, (size_t)N * sizeof(float));
            ck_assert_mem_eq(slope_1.data, slope.data + m * N, (size_t)N * sizeof(float));
        }
        float_block_close(&x);
        float_block_close(&residual);
        float_block_close(&bias);
        float_block_close(&y);
        float_block_close(&slope);
        float_block_close(&y_1);
        float_block_close(&slope_1);
        layer_close(&layer);
    }
}
END_TEST

START_TEST(backward_data__gives_a_row_the_same_bits_alone_and_among_others)
{
    static const struct shape bit_shapes[] = {
        {ROWS_OF_BITS, 300, 20}, {ROWS_OF_BITS, 520, 48}, {ROWS_OF_BITS, 130, 150}};
    const struct version *const version = &versions[ROW_BITS[_i]];

    for (int i = 0; i < 6; i++) {
        const int64_t M = ROWS_OF_BITS, N = bit_shapes[i / 2].N, K = bit_shapes[i / 2].K;
        const struct layer layer = layer_open(version, N, K);
        const struct float_block dy = matrix(M, N, N, 2), slope = matrix(M, K, K, 3);
        const struct float_block dx = float_block_open(M * K), dx_1 = float_block_open(K);

        version->backward_data(dx.data, K, dy.data, N, M, &layer.linear,
                               i % 2 == 0 ? slope.data : NULL);
        for (int64_t m = 0; m < M; m++) {
            version->backward_data(dx_1.data, K, dy.data + m * N, N, 1, &layer.linear,
                                   i % 2 == 0 ? slope.data + m * K : NULL);
            ck_assert_mem_eq(dx_1.data, dx.data + m * K, (size_t)K * sizeof(float));
        }
        float_block_close(&dy);
        float_block_close(&slope);
        float_block_close(&dx);
        float_block_close(&dx_1);
        layer_close(&layer);
    }
}
END_TEST

START_TEST(forward__keeps_a_row_with_nan_or_infinity_to_itself)
{
    const struct version *const version = &versions[_i];
    const int64_t M = 14, N = 21, K = 40;
    const struct layer layer = layer_open(version, N, K);
    const struct float_block x = matrix(M, K, K, 2), y = float_block_open(M * N);

    x.data[3 * K + 17] = NAN;
    x.data[12 * K] = INFINITY;
    version->forward(y.data, N, x.data, K, M, &layer.linear, NULL);
    for (int64_t i = 0; i < M * N; i++) {
        if (i / N == 3) {
            ck_assert_float_nan(y.data[i]);
        } else {
            ck_assert_msg((isfinite(y.data[i]) != 0) == (i / N != 12), "row %ld is %g",
                          (long)(i / N), (double)y.data[i]);
        }
    }
    float_block_close(&x);
    float_block_close(&y);
    layer_close(&layer);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_linear");
    TCase *tcase = tcase_create("kern_linear");
    const int all = KERN_CASES_COUNT;

    KERN_CASES_START();
    tcase_add_loop_test(tcase, forward__is_right_at_every_size, 0, all);
    tcase_add_loop_test(tcase, forward__is_right_with_everything_that_can_be_fused, 0, all);
    tcase_add_loop_test(tcase, backward_data__is_right_at_every_size_with_and_without_a_slope, 0,
                        all);
    tcase_add_loop_test(tcase, backward_weight__is_right_at_every_size_added_or_overwritten, 0,
                        all);
    tcase_add_loop_test(tcase, all__do_nothing_or_write_zeros_when_there_are_no_rows, 0, all);
    tcase_add_loop_test(tcase, forward__needs_no_panels_for_the_backward_pass, 0, all);
    tcase_add_loop_test(tcase, forward__gives_few_rows_the_bits_they_have_among_many, 0,
                        KERN_CASES_ROW_BITS_COUNT);
    tcase_add_loop_test(tcase, forward__gives_a_row_the_same_bits_alone_and_among_others, 0,
                        KERN_CASES_ROW_BITS_COUNT);
    tcase_add_loop_test(tcase, backward_data__gives_a_row_the_same_bits_alone_and_among_others, 0,
                        KERN_CASES_ROW_BITS_COUNT);
    tcase_add_loop_test(tcase, forward__keeps_a_row_with_nan_or_infinity_to_itself, 0, all);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
