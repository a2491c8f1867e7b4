/*
 * tests/support/kern_update_cases.h - every version of the updates against the portable one, to the
 * bit, and against double.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of `struct version`
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here.
 */
#ifndef TESTS_SUPPORT_KERN_UPDATE_CASES_H
#define TESTS_SUPPORT_KERN_UPDATE_CASES_H

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_update.h"

static const struct version {
    kern_add_fn *add;
    kern_sum_squares_fn *sum_squares;
    kern_adamw_fn *adamw;
    kern_sgd_fn *sgd;
    double sum_tolerance; /* of sum_squares, relative to the portable one; 0: its bits */
} VERSIONS[] = {KERN_CASES_VERSIONS};

static const int64_t COUNTS[] = {0,  1,  2,  3,  5,  7,  8,  9,    15,
                                 16, 17, 31, 33, 50, 64, 65, 1000, 4099};
enum { COUNT_COUNT = sizeof(COUNTS) / sizeof(COUNTS[0]) };

static const struct kern_adamw_args ADAMW = {
    .scale = 0.3f,
    .learning_rate = 1e-3f,
    .decay = 0.05f,
    .beta1 = 0.9f,
    .beta2 = 0.999f,
    .epsilon = 1e-8f,
    .correction1 = 0.271f,
    .correction2 = 0.002997001f,
};
static const struct kern_sgd_args SGD = {0.3f, 0.1f, 0.01f, 0.9f};

/* Parameters and moments of one optimizer; v is not negative. */
struct fixture {
    struct float_block weight, m, v, gradient;
};

static void open_fixture(struct fixture *f, int64_t count)
{
    *f = (struct fixture){float_block_normal(count, 1), float_block_normal(count, 2),
                          float_block_normal(count, 3), float_block_normal(count, 4)};
    for (int64_t i = 0; i < count; i++) {
        f->v.data[i] *= f->v.data[i];
    }
}

static void close_fixture(const struct fixture *f)
{
    float_block_close(&f->weight);
    float_block_close(&f->m);
    float_block_close(&f->v);
    float_block_close(&f->gradient);
}

static void check_same_bits(const struct fixture *a, const struct fixture *b)
{
    const size_t bytes = (size_t)a->weight.count * sizeof(float);

    ck_assert_mem_eq(a->weight.data, b->weight.data, bytes);
    ck_assert_mem_eq(a->m.data, b->m.data, bytes);
    ck_assert_mem_eq(a->v.data, b->v.data, bytes);
}

static double sum_squares(const struct version *version, const float *x, int64_t count)
{
    double sum = 0;

    version->sum_squares(&sum, x, count);
    return sum;
}

START_TEST(all__give_the_bits_of_the_portable_version_at_every_count)
{
    const int64_t count = COUNTS[_i];

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int64_t start = 0; start < 2 && start <= count; start++) {
            struct fixture plain, fast;
            open_fixture(&plain, count);
            open_fixture(&fast, count);
            const int64_t n = count - start;
            kern_add_portable(plain.weight.data + start, plain.gradient.data + start, n);
            VERSIONS[v].add(fast.weight.data + start, fast.gradient.data + start, n);
            check_same_bits(&plain, &fast);
            double plain_sum = 0;
            kern_sum_squares_portable(&plain_sum, plain.weight.data + start, n);
            const double fast_sum = sum_squares(&VERSIONS[v], fast.weight.data + start, n);
            ck_assert_double_le(fabs(fast_sum - plain_sum), VERSIONS[v].sum_tolerance * plain_sum);
            kern_adamw_portable(plain.weight.data + start, plain.m.data + start,
                                plain.v.data + start, plain.gradient.data + start, n, &ADAMW);
            VERSIONS[v].adamw(fast.weight.data + start, fast.m.data + start, fast.v.data + start,
                              fast.gradient.data + start, n, &ADAMW);
            check_same_bits(&plain, &fast);
            kern_sgd_portable(plain.weight.data + start, plain.m.data + start,
                              plain.gradient.data + start, n, &SGD);
            VERSIONS[v].sgd(fast.weight.data + start, fast.m.data + start,
                            fast.gradient.data + start, n, &SGD);
            check_same_bits(&plain, &fast);
            close_fixture(&plain);
            close_fixture(&fast);
        }
    }
}
END_TEST

/* The norm of a gradient is that of several vectors, one after the other. */
START_TEST(sum_squares__adds_to_what_is_there)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        const struct float_block x = float_block_normal(1000, 5);
        double sum = 3.0;
        VERSIONS[v].sum_squares(&sum, x.data, x.count);
        const double expected = 3.0 + sum_squares(&VERSIONS[v], x.data, x.count);
        ck_assert_double_le(fabs(sum - expected), 1e-12 * expected);
        VERSIONS[v].sum_squares(&sum, x.data, 0);
        ck_assert_double_le(fabs(sum - expected), 1e-12 * expected);
        float_block_close(&x);
    }
}
END_TEST

/* torch.optim.AdamW's single-tensor update, in double, in its order. */
static void adamw_in_double(double *w, double *m, double *v, double gradient,
                            const struct kern_adamw_args *args)
{
    const double lr = args->learning_rate, g = (double)args->scale * gradient;

    *w *= 1 - lr * args->decay;
    *m = args->beta1 * *m + (1 - (double)args->beta1) * g;
    *v = args->beta2 * *v + (1 - (double)args->beta2) * g * g;
    const double below = sqrt(*v) / sqrt((double)args->correction2) + args->epsilon;
    *w -= lr / args->correction1 * (*m / below);
}

START_TEST(adamw__follows_double_over_many_updates)
{
    enum { COUNT = 37, UPDATES = 50 };

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        double w64[COUNT], m64[COUNT] = {0}, v64[COUNT] = {0};
        open_fixture(&f, COUNT);
        for (int i = 0; i < COUNT; i++) {
            w64[i] = f.weight.data[i];
            f.m.data[i] = f.v.data[i] = 0;
        }
        for (int t = 1; t <= UPDATES; t++) {
            struct kern_adamw_args args = ADAMW;
            args.correction1 = (float)(1 - pow(args.beta1, t));
            args.correction2 = (float)(1 - pow(args.beta2, t));
            const struct float_block gradient = float_block_normal(COUNT, 100 + (uint32_t)t);
            VERSIONS[v].adamw(f.weight.data, f.m.data, f.v.data, gradient.data, COUNT, &args);
            for (int i = 0; i < COUNT; i++) {
                adamw_in_double(&w64[i], &m64[i], &v64[i], gradient.data[i], &args);
            }
            float_block_close(&gradient);
        }
        for (int i = 0; i < COUNT; i++) {
            ck_assert_double_eq_tol(f.weight.data[i], w64[i], 2e-6);
            ck_assert_double_eq_tol(f.m.data[i], m64[i], 1e-6);
            ck_assert_double_eq_tol(f.v.data[i], v64[i], 1e-7);
        }
        close_fixture(&f);
    }
}
END_TEST

/*
 * By hand, w = 1, gradients 1, -1, 2; beta1 .5, beta2 .75, lr .1, decay .5, epsilon 0:
 *   m   .5        -.25       .875        m / c1   1   -1/3   1
 *   v   .25        .4375     1.328125    v / c2   1    1     85/37
 *   w   .95 - .1 = .85;  .8075 + .1/3;  .95 * .84083333 - .1 / sqrt(85/37)
 */
START_TEST(adamw__does_three_updates_as_by_hand)
{
    const float gradients[] = {1, -1, 2};
    const double weights[] = {0.85, 0.8075 + 0.1 / 3, 0.7328148};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        float w[8], m[8] = {0}, v2[8] = {0};
        for (int i = 0; i < 8; i++) {
            w[i] = 1;
        }
        for (int t = 0; t < 3; t++) {
            float gradient[8];
            for (int i = 0; i < 8; i++) {
                gradient[i] = 4 * gradients[t]; /* the scale takes it back */
            }
            const struct kern_adamw_args args = {
                .scale = 0.25f,
                .learning_rate = 0.1f,
                .decay = 0.5f,
                .beta1 = 0.5f,
                .beta2 = 0.75f,
                .correction1 = (float)(1 - pow(0.5, t + 1)),
                .correction2 = (float)(1 - pow(0.75, t + 1)),
            };
            VERSIONS[v].adamw(w, m, v2, gradient, 8, &args);
            ck_assert_double_eq_tol(w[0], weights[t], 1e-6);
            ck_assert_float_eq(w[0], w[7]);
        }
        ck_assert_float_eq(m[0], 0.875f);
        ck_assert_float_eq(v2[0], 1.328125f);
    }
}
END_TEST

/*
 * By hand, w = 1, gradients 1, -1, 2; lr .5, decay .25, momentum .5:
 *   m   1 + .25 = 1.25;  .625 - 1 + .09375;  -.140625 + 2 + .12890625
 */
START_TEST(sgd__does_three_updates_as_by_hand)
{
    const float gradients[] = {1, -1, 2};
    const struct kern_sgd_args args = {
        .scale = 0.25f, .learning_rate = 0.5f, .decay = 0.25f, .momentum = 0.5f};
    const float moments[] = {1.25f, -0.28125f, 1.98828125f};
    const float weights[] = {0.375f, 0.515625f, -0.478515625f};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        float w[9], m[9] = {0}, gradient[9];
        for (int i = 0; i < 9; i++) {
            w[i] = 1;
        }
        for (int t = 0; t < 3; t++) {
            for (int i = 0; i < 9; i++) {
                gradient[i] = 4 * gradients[t];
            }
            VERSIONS[v].sgd(w, m, gradient, 9, &args);
            ck_assert_float_eq(m[0], moments[t]);
            ck_assert_float_eq(w[0], weights[t]);
            ck_assert_float_eq(w[8], weights[t]);
        }
    }
}
END_TEST

START_TEST(sum_squares__is_exact_where_double_is)
{
    enum { COUNT = 1000 };

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        const struct float_block x = float_block_open(COUNT);
        for (int i = 0; i < COUNT; i++) {
            x.data[i] = (float)(i % 2 == 0 ? i : -i);
        }
        /* sum of i^2 below n: (n - 1) n (2n - 1) / 6 */
        ck_assert_double_eq(sum_squares(&VERSIONS[v], x.data, COUNT), 999.0 * 1000 * 1999 / 6);
        ck_assert_double_eq(sum_squares(&VERSIONS[v], x.data, 0), 0);
        x.data[0] = 3e38f; /* its square is no float */
        ck_assert_double_gt(sum_squares(&VERSIONS[v], x.data, COUNT), 8.9e76);
        ck_assert(isfinite(sum_squares(&VERSIONS[v], x.data, COUNT)));
        float_block_close(&x);
    }
}
END_TEST

START_TEST(sum_squares__is_not_finite_when_any_element_is_not)
{
    enum { COUNT = 37 };

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        const struct float_block x = float_block_normal(COUNT, 1);
        for (int i = 0; i < COUNT; i++) {
            const float before = x.data[i];
            x.data[i] = NAN;
            ck_assert(isnan(sum_squares(&VERSIONS[v], x.data, COUNT)));
            x.data[i] = -INFINITY;
            ck_assert(isinf(sum_squares(&VERSIONS[v], x.data, COUNT)));
            x.data[i] = before;
        }
        float_block_close(&x);
    }
}
END_TEST

START_TEST(adamw_and_sgd__pass_nan_on_to_its_own_parameter_alone)
{
    enum { COUNT = 21 };

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, COUNT);
        f.gradient.data[3] = NAN;
        VERSIONS[v].adamw(f.weight.data, f.m.data, f.v.data, f.gradient.data, COUNT, &ADAMW);
        f.gradient.data[3] = 0;
        f.gradient.data[20] = NAN;
        VERSIONS[v].sgd(f.weight.data, f.m.data, f.gradient.data, COUNT, &SGD);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_msg(!!isnan(f.weight.data[i]) == (i == 3 || i == 20), "weight %d is %g", i,
                          (double)f.weight.data[i]);
        }
        close_fixture(&f);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_update");
    TCase *tcase = tcase_create("kern_update");

    tcase_add_loop_test(tcase, all__give_the_bits_of_the_portable_version_at_every_count, 0,
                        COUNT_COUNT);
    tcase_add_test(tcase, sum_squares__adds_to_what_is_there);
    tcase_add_test(tcase, adamw__follows_double_over_many_updates);
    tcase_add_test(tcase, adamw__does_three_updates_as_by_hand);
    tcase_add_test(tcase, sgd__does_three_updates_as_by_hand);
    tcase_add_test(tcase, sum_squares__is_exact_where_double_is);
    tcase_add_test(tcase, sum_squares__is_not_finite_when_any_element_is_not);
    tcase_add_test(tcase, adamw_and_sgd__pass_nan_on_to_its_own_parameter_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
