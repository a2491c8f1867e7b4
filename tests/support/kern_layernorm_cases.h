/*
 * tests/support/kern_layernorm_cases.h - every version of layer normalisation against ref64.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of `struct version`
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here.
 */
#ifndef TESTS_SUPPORT_KERN_LAYERNORM_CASES_H
#define TESTS_SUPPORT_KERN_LAYERNORM_CASES_H

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_layernorm.h"

static const float EPSILON = 1e-6f;

static const struct version {
    const char *name;
    kern_layernorm_forward_fn *forward;
    kern_layernorm_backward_fn *backward;
} VERSIONS[] = {KERN_CASES_VERSIONS};

static const int64_t WIDTHS[] = {1,  2,  3,  5,  7,   8,   9,   16,  17,   31,   33,
                                 50, 64, 65, 96, 128, 192, 250, 768, 1024, 1030, 2052};
enum { WIDTH_COUNT = sizeof(WIDTHS) / sizeof(WIDTHS[0]) };

static const int64_t ROWS[] = {1, 2, 3, 4, 5, 8, 9, 50};
enum { ROWS_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

/* One call's arrays, all guarded. ld: of x, dx and residual. */
struct fixture {
    const struct version *version;
    int64_t N, C, ld;
    struct float_block x, y, mean, rstd, gain, bias, dy, residual, dx, dgain, dbias;
};

static void open_fixture(struct fixture *fixture, int version, int64_t N, int64_t C, int64_t ld)
{
    *fixture = (struct fixture){
        .version = &VERSIONS[version],
        .N = N,
        .C = C,
        .ld = ld,
        .x = float_block_normal(N * ld, 1),
        .y = float_block_open(N * C),
        .mean = float_block_open(N),
        .rstd = float_block_open(N),
        .gain = float_block_normal(C, 2),
        .bias = float_block_normal(C, 3),
        .dy = float_block_normal(N * C, 4),
        .residual = float_block_normal(N * ld, 5),
        .dx = float_block_open(N * ld),
        .dgain = float_block_normal(C, 6),
        .dbias = float_block_normal(C, 7),
    };
}

static void close_fixture(const struct fixture *f)
{
    const struct float_block *const blocks[] = {&f->x,    &f->y,     &f->mean,     &f->rstd,
                                                &f->gain, &f->dy,    &f->residual, &f->dx,
                                                &f->bias, &f->dgain, &f->dbias};

    for (int i = 0; i < 11; i++) {
        float_block_close(blocks[i]);
    }
}

static void run_forward(const struct fixture *f)
{
    f->version->forward(f->y.data, f->mean.data, f->rstd.data, f->x.data, f->ld, f->gain.data,
                        f->bias.data, f->N, f->C, EPSILON);
}

static void run_backward(const struct fixture *f, const float *residual, bool accumulate)
{
    f->version->backward(f->dx.data, residual, f->dgain.data, f->dbias.data, f->dy.data, f->x.data,
                         f->ld, f->mean.data, f->rstd.data, f->gain.data, f->N, f->C, accumulate);
}

/* Rows of C out of a block with row stride ld, in double; to be freed. */
static double *rows_to_f64(const struct fixture *f, const struct float_block *block)
{
    double *rows = malloc((size_t)(f->N * f->C) * sizeof(double));

    ck_assert_ptr_nonnull(rows);
    for (int64_t i = 0; i < f->N * f->C; i++) {
        rows[i] = block->data[i / f->C * f->ld + i % f->C];
    }
    return rows;
}

static void check_value(const struct fixture *f, const char *what, int64_t i, double found,
                        double expected)
{
    if (!kern_is_close(found, expected, KERN_LAYERNORM_TOLERANCE)) {
        ck_abort_msg("%s %s[%d], N %d C %d ld %d: %.9g, not %.9g", f->version->name, what, (int)i,
                     (int)f->N, (int)f->C, (int)f->ld, found, expected);
    }
}

static void check_forward(const struct fixture *f)
{
    const struct ref64_rows rows = {f->N, f->C, (double)EPSILON};
    double *const x = rows_to_f64(f, &f->x), *const gain = float_block_to_f64(&f->gain);
    double *const bias = float_block_to_f64(&f->bias);
    double *const y = float_block_to_f64(&f->y);

    ref64_layernorm(y, x, gain, bias, &rows);
    for (int64_t i = 0; i < f->N * f->C; i++) {
        check_value(f, "y", i, f->y.data[i], y[i]);
    }
    free(x);
    free(gain);
    free(bias);
    free(y);
}

/* Of what backward was called with; the gradients that were there before it. */
struct before {
    const float *residual;
    const float *dgain, *dbias; /* NULL: overwritten */
};

static void check_backward(const struct fixture *f, const struct before *before)
{
    const struct ref64_rows rows = {f->N, f->C, (double)EPSILON};
    double *const x = rows_to_f64(f, &f->x), *const dx = rows_to_f64(f, &f->x);
    double *const gain = float_block_to_f64(&f->gain), *const dy = float_block_to_f64(&f->dy);
    double *const dgain = float_block_to_f64(&f->gain), *const dbias = float_block_to_f64(&f->gain);

    ref64_layernorm_backward(dx, dgain, dbias, dy, x, gain, &rows);
    for (int64_t i = 0; i < f->N * f->C; i++) {
        const int64_t at = i / f->C * f->ld + i % f->C;
        const double around = before->residual == NULL ? 0 : before->residual[at];
        check_value(f, "dx", i, f->dx.data[at], dx[i] + around);
    }
    for (int64_t c = 0; c < f->C; c++) {
        const bool adds = before->dgain != NULL;
        check_value(f, "dgain", c, f->dgain.data[c], dgain[c] + (adds ? before->dgain[c] : 0));
        check_value(f, "dbias", c, f->dbias.data[c], dbias[c] + (adds ? before->dbias[c] : 0));
    }
    free(x);
    free(dx);
    free(gain);
    free(dy);
    free(dgain);
    free(dbias);
}

static void check_gaps(const struct fixture *f)
{
    for (int64_t i = 0; i < f->N * f->ld; i++) {
        if (i % f->ld >= f->C && !float_block_untouched(&f->dx, i)) {
            ck_abort_msg("%s dx[%d] lies between two rows", f->version->name, (int)i);
        }
    }
}

START_TEST(forward_and_backward__agree_with_double_at_every_width)
{
    const int64_t C = WIDTHS[_i];

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int n = 0; n < ROWS_COUNT; n++) {
            for (int64_t gap = 0; gap < 6; gap += 5) {
                struct fixture f;
                open_fixture(&f, v, ROWS[n], C, C + gap);
                run_forward(&f);
                check_forward(&f);
                run_backward(&f, f.residual.data, false);
                check_backward(&f, &(struct before){.residual = f.residual.data});
                check_gaps(&f);
                close_fixture(&f);
            }
        }
    }
}
END_TEST

START_TEST(backward__adds_to_the_gradients_that_are_there_when_it_accumulates)
{
    const int64_t C = WIDTHS[_i];

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 6, C, C);
        const struct float_block dgain = float_block_normal(C, 6), dbias = float_block_normal(C, 7);
        run_forward(&f);
        run_backward(&f, NULL, true);
        check_backward(&f, &(struct before){NULL, dgain.data, dbias.data});
        float_block_close(&dgain);
        float_block_close(&dbias);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(backward__may_add_into_the_residual_itself)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 5, 33, 40);
        run_forward(&f);
        memcpy(f.dx.data, f.residual.data, 5 * 40 * sizeof(float));
        run_backward(&f, f.dx.data, false);
        check_backward(&f, &(struct before){.residual = f.residual.data});
        close_fixture(&f);
    }
}
END_TEST

START_TEST(backward__has_the_same_gradients_when_nobody_wants_dx)
{
    const int64_t C = WIDTHS[_i];
    const size_t bytes = (size_t)C * sizeof(float);

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture all, some;
        open_fixture(&all, v, 6, C, C);
        open_fixture(&some, v, 6, C, C);
        run_forward(&all);
        run_forward(&some);
        run_backward(&all, NULL, true);
        some.version->backward(NULL, NULL, some.dgain.data, some.dbias.data, some.dy.data,
                               some.x.data, some.ld, some.mean.data, some.rstd.data, some.gain.data,
                               6, C, true);
        ck_assert_mem_eq(some.dgain.data, all.dgain.data, bytes);
        ck_assert_mem_eq(some.dbias.data, all.dbias.data, bytes);
        close_fixture(&some);
        close_fixture(&all);
    }
}
END_TEST

START_TEST(forward__may_write_over_its_input)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 5, 50, 50);
        run_forward(&f);
        f.version->forward(f.x.data, NULL, NULL, f.x.data, 50, f.gain.data, f.bias.data, 5, 50,
                           EPSILON);
        ck_assert_mem_eq(f.x.data, f.y.data, 5 * 50 * sizeof(float));
        close_fixture(&f);
    }
}
END_TEST

START_TEST(forward_and_backward__give_a_row_the_same_bits_alone_and_among_others)
{
    const int64_t C = WIDTHS[_i];

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture all;
        open_fixture(&all, v, 7, C, C);
        run_forward(&all);
        run_backward(&all, all.residual.data, false);
        for (int64_t n = 0; n < 7; n++) {
            const size_t bytes = (size_t)C * sizeof(float);
            struct fixture one;
            open_fixture(&one, v, 1, C, C);
            memcpy(one.x.data, all.x.data + n * C, bytes);
            memcpy(one.dy.data, all.dy.data + n * C, bytes);
            memcpy(one.residual.data, all.residual.data + n * C, bytes);
            run_forward(&one);
            run_backward(&one, one.residual.data, false);
            ck_assert_mem_eq(one.y.data, all.y.data + n * C, bytes);
            ck_assert_mem_eq(one.dx.data, all.dx.data + n * C, bytes);
            close_fixture(&one);
        }
        close_fixture(&all);
    }
}
END_TEST

/* E[x^2] - mean^2 in float is off by several percent here. */
START_TEST(forward__keeps_the_variance_when_the_mean_is_large)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 1, 128, 128);
        for (int64_t c = 0; c < 128; c++) {
            f.x.data[c] = 1000 + (c % 2 == 0 ? 1.0f : -1.0f);
            f.gain.data[c] = 1;
            f.bias.data[c] = 0;
        }
        run_forward(&f);
        ck_assert_float_eq_tol(f.rstd.data[0], 1, 1e-5f);
        for (int64_t c = 0; c < 128; c++) {
            check_value(&f, "y", c, f.y.data[c], c % 2 == 0 ? 1 : -1);
        }
        close_fixture(&f);
    }
}
END_TEST

START_TEST(forward__gives_the_bias_when_a_row_is_constant)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 1, 20, 20);
        for (int64_t c = 0; c < 20; c++) {
            f.x.data[c] = 3;
        }
        run_forward(&f);
        ck_assert_mem_eq(f.y.data, f.bias.data, 20 * sizeof(float));
        close_fixture(&f);
    }
}
END_TEST

START_TEST(forward_and_backward__keep_nan_and_infinity_to_their_row)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int bad = 0; bad < 2; bad++) {
            struct fixture f;
            open_fixture(&f, v, 6, 19, 19);
            f.x.data[2 * 19 + 18] = bad == 0 ? NAN : INFINITY;
            run_forward(&f);
            run_backward(&f, f.residual.data, false);
            for (int64_t i = 0; i < 6 * 19; i++) {
                if (isnan(f.y.data[i]) != (i / 19 == 2) || isnan(f.dx.data[i]) != (i / 19 == 2)) {
                    ck_abort_msg("%s element %d: y %g dx %g", f.version->name, (int)i,
                                 (double)f.y.data[i], (double)f.dx.data[i]);
                }
            }
            ck_assert(isnan(f.dgain.data[0]));
            ck_assert(isfinite(f.dbias.data[0]));
            close_fixture(&f);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_layernorm");
    TCase *tcase = tcase_create("kern_layernorm");

    tcase_add_loop_test(tcase, forward_and_backward__agree_with_double_at_every_width, 0,
                        WIDTH_COUNT);
    tcase_add_loop_test(tcase, backward__adds_to_the_gradients_that_are_there_when_it_accumulates,
                        0, WIDTH_COUNT);
    tcase_add_test(tcase, backward__may_add_into_the_residual_itself);
    tcase_add_loop_test(tcase, backward__has_the_same_gradients_when_nobody_wants_dx, 0,
                        WIDTH_COUNT);
    tcase_add_test(tcase, forward__may_write_over_its_input);
    tcase_add_loop_test(tcase,
                        forward_and_backward__give_a_row_the_same_bits_alone_and_among_others, 0,
                        WIDTH_COUNT);
    tcase_add_test(tcase, forward__keeps_the_variance_when_the_mean_is_large);
    tcase_add_test(tcase, forward__gives_the_bias_when_a_row_is_constant);
    tcase_add_test(tcase, forward_and_backward__keep_nan_and_infinity_to_their_row);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
