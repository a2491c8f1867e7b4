/*
 * tests/support/kern_attention_cases.h - every version of attention against ref64.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of `struct version`
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here.
 */
#ifndef TESTS_SUPPORT_KERN_ATTENTION_CASES_H
#define TESTS_SUPPORT_KERN_ATTENTION_CASES_H

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_attention.h"

static const struct version {
    const char *name;
    kern_attention_saved_elems_fn *saved_elems;
    kern_attention_forward_fn *forward;
    kern_attention_backward_fn *backward;
} VERSIONS[] = {KERN_CASES_VERSIONS};

static const struct kern_attention_shape SHAPES[] = {
    {1, 1, 1, 1},     {2, 1, 1, 8},   {2, 2, 1, 8},    {1, 3, 2, 5},   {3, 5, 1, 16},
    {1, 7, 3, 8},     {2, 8, 1, 8},   {2, 9, 2, 24},   {1, 16, 1, 40}, {2, 17, 4, 32},
    {1, 31, 1, 7},    {1, 33, 2, 32}, {2, 50, 4, 32},  {1, 50, 8, 16}, {1, 50, 2, 64},
    {1, 63, 1, 8},    {1, 64, 1, 64}, {1, 65, 2, 32},  {1, 96, 1, 16}, {1, 97, 2, 16},
    {1, 128, 1, 128}, {1, 129, 1, 8}, {1, 197, 1, 64}, {1, 256, 1, 8}, {1, 257, 1, 8},
    {1, 129, 1, 128}, {1, 9, 1, 136}, {1, 12, 1, 200}, {3, 6, 2, 7},
};
enum { SHAPE_COUNT = sizeof(SHAPES) / sizeof(SHAPES[0]) };

/* One call's arrays; `out`, `saved` and `dqkv` are guarded. */
struct fixture {
    const struct version *version;
    struct kern_attention_shape shape;
    int64_t rows, width;                    /* B * T, H * D */
    const struct kern_attention_mask *mask; /* NULL at first */
    struct float_block qkv, dout, out, saved, dqkv;
};

static void open_fixture(struct fixture *fixture, int version,
                         const struct kern_attention_shape *shape)
{
    const int64_t rows = shape->B * shape->T, width = shape->H * shape->D;

    *fixture = (struct fixture){
        .version = &VERSIONS[version],
        .shape = *shape,
        .rows = rows,
        .width = width,
        .qkv = float_block_normal(rows * 3 * width, 1),
        .dout = float_block_normal(rows * width, 2),
        .out = float_block_open(rows * width),
        .saved = float_block_open(VERSIONS[version].saved_elems(shape)),
        .dqkv = float_block_open(rows * 3 * width),
    };
}

static void close_fixture(const struct fixture *fixture)
{
    float_block_close(&fixture->qkv);
    float_block_close(&fixture->dout);
    float_block_close(&fixture->out);
    float_block_close(&fixture->saved);
    float_block_close(&fixture->dqkv);
}

static void run_forward(const struct fixture *fixture, int64_t query_count)
{
    fixture->version->forward(fixture->out.data, fixture->saved.data, fixture->qkv.data,
                              &fixture->shape, query_count, fixture->mask);
}

static void run_backward(const struct fixture *fixture, int64_t query_count)
{
    fixture->version->backward(fixture->dqkv.data, fixture->dout.data, fixture->qkv.data,
                               fixture->saved.data, &fixture->shape, query_count, fixture->mask);
}

static void check_close(const struct fixture *fixture, const char *what, const float *found,
                        const double *expected, int64_t count)
{
    const struct kern_attention_shape *shape = &fixture->shape;

    for (int64_t i = 0; i < count; i++) {
        if (!kern_is_close(found[i], expected[i], KERN_ATTENTION_TOLERANCE)) {
            ck_abort_msg("%s %s[%d], T %d H %d D %d: %.9g, not %.9g", fixture->version->name, what,
                         (int)i, (int)shape->T, (int)shape->H, (int)shape->D, (double)found[i],
                         expected[i]);
        }
    }
}

static void check_forward(const struct fixture *fixture)
{
    double *const qkv = float_block_to_f64(&fixture->qkv);
    double *const expected = float_block_to_f64(&fixture->out);

    ref64_attention(expected, qkv, &fixture->shape, fixture->mask);
    check_close(fixture, "out", fixture->out.data, expected, fixture->out.count);
    free(qkv);
    free(expected);
}

static void check_backward(const struct fixture *fixture)
{
    double *const qkv = float_block_to_f64(&fixture->qkv);
    double *const dout = float_block_to_f64(&fixture->dout);
    double *const expected = float_block_to_f64(&fixture->dqkv);

    ref64_attention_backward(expected, dout, qkv, &fixture->shape, fixture->mask);
    check_close(fixture, "dqkv", fixture->dqkv.data, expected, fixture->dqkv.count);
    free(qkv);
    free(dout);
    free(expected);
}

START_TEST(forward_and_backward__agree_with_double_at_every_shape)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture fixture;
        open_fixture(&fixture, v, &SHAPES[_i]);
        run_forward(&fixture, fixture.shape.T);
        check_forward(&fixture);
        run_backward(&fixture, fixture.shape.T);
        check_backward(&fixture);
        close_fixture(&fixture);
    }
}
END_TEST

START_TEST(forward__gives_the_same_bits_when_nothing_is_saved)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture fixture;
        open_fixture(&fixture, v, &SHAPES[_i]);
        run_forward(&fixture, fixture.shape.T);
        const struct float_block again = float_block_open(fixture.out.count);
        fixture.version->forward(again.data, NULL, fixture.qkv.data, &fixture.shape,
                                 fixture.shape.T, NULL);
        ck_assert_mem_eq(again.data, fixture.out.data, (size_t)again.count * sizeof(float));
        float_block_close(&again);
        close_fixture(&fixture);
    }
}
END_TEST

/* Rows that do not ask: NaN as their gradient, 0 for the reference. */
static void silence_rows(struct fixture *fixture, int64_t query_count, float value)
{
    for (int64_t row = 0; row < fixture->rows; row++) {
        for (int64_t c = 0; c < fixture->width && row % fixture->shape.T >= query_count; c++) {
            fixture->dout.data[row * fixture->width + c] = value;
        }
    }
}

/* full: the output when all tokens ask. */
static void check_few_queries(struct fixture *fixture, int64_t query_count, const float *full)
{
    const int64_t T = fixture->shape.T, width = fixture->width;

    run_forward(fixture, query_count);
    for (int64_t i = 0; i < fixture->out.count; i++) {
        const int is_right = i / width % T < query_count
                                 ? memcmp(fixture->out.data + i, full + i, sizeof(float)) == 0
                                 : float_block_untouched(&fixture->out, i);
        if (!is_right) {
            ck_abort_msg("%s out[%d], T %d, %d queries", fixture->version->name, (int)i, (int)T,
                         (int)query_count);
        }
    }
    silence_rows(fixture, query_count, NAN);
    run_backward(fixture, query_count);
    silence_rows(fixture, query_count, 0);
    check_backward(fixture);
    for (int64_t i = 0; i < fixture->dqkv.count; i++) {
        const int is_silent_dq = i / (3 * width) % T >= query_count && i % (3 * width) < width;
        if (is_silent_dq && fixture->dqkv.data[i] != 0) {
            ck_abort_msg("%s dq[%d] of %d queries is not 0", fixture->version->name, (int)i,
                         (int)query_count);
        }
    }
}

START_TEST(forward_and_backward__leave_out_the_tokens_that_do_not_ask)
{
    const struct kern_attention_shape *shape = &SHAPES[_i];
    const int64_t query_counts[] = {1, 2, 7, 49, 64, 65, shape->T - 1};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture all;
        open_fixture(&all, v, shape);
        run_forward(&all, shape->T);
        for (int q = 0; q < 7; q++) {
            if (query_counts[q] >= 1 && query_counts[q] < shape->T) {
                struct fixture fixture;
                open_fixture(&fixture, v, shape);
                check_few_queries(&fixture, query_counts[q], all.out.data);
                close_fixture(&fixture);
            }
        }
        close_fixture(&all);
    }
}
END_TEST

START_TEST(forward_and_backward__give_a_sample_the_same_bits_alone_and_in_a_batch)
{
    static const struct kern_attention_shape shapes[] = {
        {3, 50, 4, 32}, {3, 17, 2, 16}, {3, 97, 2, 8}, {3, 5, 3, 7}};
    const struct kern_attention_shape *batch = &shapes[_i];
    const struct kern_attention_shape one = {1, batch->T, batch->H, batch->D};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture all;
        open_fixture(&all, v, batch);
        run_forward(&all, batch->T);
        run_backward(&all, batch->T);
        for (int64_t b = 0; b < batch->B; b++) {
            struct fixture alone;
            open_fixture(&alone, v, &one);
            const size_t bytes = (size_t)alone.out.count * sizeof(float);
            memcpy(alone.qkv.data, all.qkv.data + b * alone.qkv.count, 3 * bytes);
            memcpy(alone.dout.data, all.dout.data + b * alone.dout.count, bytes);
            run_forward(&alone, one.T);
            run_backward(&alone, one.T);
            ck_assert_mem_eq(alone.out.data, all.out.data + b * alone.out.count, bytes);
            ck_assert_mem_eq(alone.dqkv.data, all.dqkv.data + b * alone.dqkv.count, 3 * bytes);
            close_fixture(&alone);
        }
        close_fixture(&all);
    }
}
END_TEST

START_TEST(forward__takes_scores_far_beyond_the_range_of_exp)
{
    const struct kern_attention_shape shape = {1, 11, 2, 16};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture fixture;
        open_fixture(&fixture, v, &shape);
        for (int64_t i = 0; i < fixture.qkv.count; i++) {
            fixture.qkv.data[i] *= i / 32 % 3 == 2 ? 1.0f : 64.0f; /* q and k; scores of 1e4 */
        }
        run_forward(&fixture, shape.T);
        check_forward(&fixture);
        close_fixture(&fixture);
    }
}
END_TEST

START_TEST(forward__passes_nan_and_infinity_on_to_the_rows_that_meet_them)
{
    const struct kern_attention_shape shape = {2, 10, 1, 8};
    enum { WIDTH = 8, SAMPLE = 10 * 8 };

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int bad = 0; bad < 2; bad++) {
            struct fixture fixture;
            open_fixture(&fixture, v, &shape);
            const float value = bad == 0 ? NAN : INFINITY;
            fixture.qkv.data[3 * (3 * WIDTH)] = value;                        /* q of token 3 */
            fixture.qkv.data[(10 + 4) * (3 * WIDTH) + 2 * WIDTH + 5] = value; /* v, sample 1 */
            run_forward(&fixture, shape.T);
            for (int64_t i = 0; i < 2 * SAMPLE; i++) {
                const int is_met = i < SAMPLE ? i / WIDTH == 3 : i % WIDTH == 5;
                ck_assert_msg((isfinite(fixture.out.data[i]) == 0) == is_met, "%s out[%d] is %g",
                              fixture.version->name, (int)i, (double)fixture.out.data[i]);
            }
            run_backward(&fixture, shape.T);
            for (int64_t t = 0; t < 10; t++) { /* dk of sample 0 sums over all queries */
                ck_assert(isnan(fixture.dqkv.data[t * 3 * WIDTH + WIDTH]));
            }
            close_fixture(&fixture);
        }
    }
}
END_TEST

/* Lengths that differ between samples, 1 and T among them. */
static void choose_lengths(int32_t *lengths, const struct kern_attention_shape *shape)
{
    for (int64_t b = 0; b < shape->B; b++) {
        const int64_t choices[] = {(shape->T + 1) / 2, shape->T, 1};
        lengths[b] = (int32_t)choices[b % 3];
    }
}

/* What padding holds: NaN for the versions, which must not read it, 0 for the reference. */
static void fill_padding(const struct fixture *fixture, const int32_t *lengths, float value)
{
    const int64_t T = fixture->shape.T, width = fixture->width;

    for (int64_t row = 0; row < fixture->rows; row++) {
        if (row % T >= lengths[row / T]) {
            for (int64_t c = 0; c < 3 * width; c++) {
                fixture->qkv.data[row * 3 * width + c] = value;
            }
            for (int64_t c = 0; c < width; c++) {
                fixture->dout.data[row * width + c] = value;
            }
        }
    }
}

static void check_padding_is_zero(const struct fixture *fixture, const int32_t *lengths,
                                  int64_t query_count)
{
    const int64_t T = fixture->shape.T, width = fixture->width;

    for (int64_t row = 0; row < fixture->rows; row++) {
        for (int64_t c = 0; c < 3 * width && row % T >= lengths[row / T]; c++) {
            const bool is_out = c < width && row % T < query_count;
            ck_assert_msg(fixture->dqkv.data[row * 3 * width + c] == 0, "dqkv of padding");
            ck_assert_msg(!is_out || fixture->out.data[row * width + c] == 0, "out of padding");
        }
    }
}

START_TEST(forward_and_backward__agree_with_double_under_every_mask)
{
    const struct kern_attention_shape *shape = &SHAPES[_i];
    const int64_t query_counts[] = {shape->T, (shape->T + 2) / 3};
    int32_t lengths[3], whole[3];

    choose_lengths(lengths, shape);
    for (int64_t b = 0; b < shape->B; b++) {
        whole[b] = (int32_t)shape->T;
    }
    for (int which = 0; which < 4 * KERN_CASES_COUNT; which++) {
        const bool has_lengths = which % 4 != 3;
        const struct kern_attention_mask mask = {has_lengths ? lengths : NULL, which % 4 > 1};
        const int64_t query_count = query_counts[which % 2];
        const int32_t *there = has_lengths ? lengths : whole;
        struct fixture fixture;
        open_fixture(&fixture, which / 4, shape);
        fixture.mask = &mask;
        fill_padding(&fixture, there, NAN);
        silence_rows(&fixture, query_count, NAN);
        run_forward(&fixture, query_count);
        run_backward(&fixture, query_count);
        fill_padding(&fixture, there, 0);
        silence_rows(&fixture, query_count, 0);
        if (query_count == shape->T) {
            check_forward(&fixture);
        }
        check_backward(&fixture);
        check_padding_is_zero(&fixture, there, query_count);
        close_fixture(&fixture);
    }
}
END_TEST

/* The first `length` tokens of sample 0 of `from`, as those of a batch of one that is T wide. */
static void copy_sample(struct fixture *to, const struct fixture *from, int64_t length)
{
    memcpy(to->qkv.data, from->qkv.data, (size_t)(length * 3 * from->width) * sizeof(float));
}

START_TEST(forward__gives_a_row_the_same_bits_whatever_stands_behind_what_it_attends_to)
{
    static const int64_t widths[] = {9, 16, 50, 96, 104, 1100};
    const int32_t length = 9, longer = 41;
    const struct kern_attention_mask of_lengths = {&length, false}, causal = {&length, true};
    const struct kern_attention_mask longer_causal = {&longer, true};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int is_causal = 0; is_causal < 2; is_causal++) {
            struct fixture first, fixture;
            open_fixture(&first, v, &(struct kern_attention_shape){1, 9, 2, 16});
            const size_t bytes = (size_t)(length * first.width) * sizeof(float);
            first.mask = is_causal ? &causal : NULL;
            run_forward(&first, 9);
            for (int w = 0; w < 6; w++) {
                open_fixture(&fixture, v, &(struct kern_attention_shape){1, widths[w], 2, 16});
                copy_sample(&fixture, &first, length);
                fixture.mask = is_causal ? &causal : &of_lengths;
                run_forward(&fixture, widths[w]);
                ck_assert_mem_eq(fixture.out.data, first.out.data, bytes);
                if (is_causal && widths[w] >= longer) {
                    fixture.mask = &longer_causal;
                    run_forward(&fixture, widths[w]);
                    ck_assert_mem_eq(fixture.out.data, first.out.data, bytes);
                }
                close_fixture(&fixture);
            }
            close_fixture(&first);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_attention");
    TCase *tcase = tcase_create("kern_attention");

    tcase_add_loop_test(tcase, forward_and_backward__agree_with_double_at_every_shape, 0,
                        SHAPE_COUNT);
    tcase_add_loop_test(tcase, forward__gives_the_same_bits_when_nothing_is_saved, 0, SHAPE_COUNT);
    tcase_add_loop_test(tcase, forward_and_backward__leave_out_the_tokens_that_do_not_ask, 0,
                        SHAPE_COUNT);
    tcase_add_loop_test(
        tcase, forward_and_backward__give_a_sample_the_same_bits_alone_and_in_a_batch, 0, 4);
    tcase_add_loop_test(tcase, forward_and_backward__agree_with_double_under_every_mask, 0,
                        SHAPE_COUNT);
    tcase_add_test(tcase,
                   forward__gives_a_row_the_same_bits_whatever_stands_behind_what_it_attends_to);
    tcase_add_test(tcase, forward__takes_scores_far_beyond_the_range_of_exp);
    tcase_add_test(tcase, forward__passes_nan_and_infinity_on_to_the_rows_that_meet_them);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
