/*
 * tests/support/kern_xent_cases.h - every version of the cross entropy against ref64, which
 * finds the features by another road, and against published and hand-computed values.
 *
 * Who includes this defines before KERN_CASES_VERSIONS, the initializers of `struct version`
 * separated by commas, and KERN_CASES_COUNT, how many of them can run here.
 */
#ifndef TESTS_SUPPORT_KERN_XENT_CASES_H
#define TESTS_SUPPORT_KERN_XENT_CASES_H

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_xent.h"

static const struct version {
    const char *name;
    kern_xent_forward_fn *forward;
    kern_xent_backward_fn *backward;
} VERSIONS[] = {KERN_CASES_VERSIONS};

static const int64_t CLASSES[] = {2,  3,  5,  7,  8,  9,  10,  15,  16,  17,
                                  31, 33, 50, 64, 65, 99, 100, 128, 257, 1000};
enum { CLASSES_COUNT = sizeof(CLASSES) / sizeof(CLASSES[0]) };

static const int64_t ROWS[] = {0, 1, 2, 3, 7, 8, 9, 16, 17};
enum { ROWS_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

/* One call's arrays; `predicted` lies in a block of floats for its guards. */
struct fixture {
    const struct version *version;
    int64_t N, K;
    struct float_block z, loss, lse, features, predicted, weight, dz;
    int32_t *label;
    struct kern_xent_out out;
};

static void open_fixture(struct fixture *f, int version, int64_t N, int64_t K)
{
    *f = (struct fixture){
        .version = &VERSIONS[version],
        .N = N,
        .K = K,
        .z = float_block_normal(N * K, 1),
        .loss = float_block_open(N),
        .lse = float_block_open(N),
        .features = float_block_open(N * KERN_XENT_FEATURES),
        .predicted = float_block_open(N),
        .weight = float_block_normal(N, 2),
        .dz = float_block_open(N * K),
        .label = calloc((size_t)N + 1, sizeof(int32_t)),
    };
    ck_assert_ptr_nonnull(f->label);
    for (int64_t n = 0; n < N; n++) {
        f->label[n] = (int32_t)(rng_u64(3, RNG_TEST, (uint64_t)n, 0) % (uint64_t)K);
    }
    f->out = (struct kern_xent_out){f->loss.data, f->lse.data, f->features.data,
                                    (int32_t *)(void *)f->predicted.data, NULL};
}

static void close_fixture(const struct fixture *f)
{
    const struct float_block *const blocks[] = {&f->z,         &f->loss,   &f->lse, &f->features,
                                                &f->predicted, &f->weight, &f->dz};

    for (int i = 0; i < 7; i++) {
        float_block_close(blocks[i]);
    }
    free(f->label);
}

/* Returns the number of rows that are not finite. */
static int64_t forward(const struct version *version, const struct kern_xent_out *out,
                       const float *z, const int32_t *label, int64_t N, int64_t K)
{
    float bad = 3; /* what was there stays in it */
    struct kern_xent_out counted = *out;

    counted.bad = &bad;
    version->forward(&counted, z, label, N, K);
    return (int64_t)bad - 3;
}

static int64_t run_forward(const struct fixture *f)
{
    return forward(f->version, &f->out, f->z.data, f->label, f->N, f->K);
}

static void run_backward(const struct fixture *f)
{
    f->version->backward(f->dz.data, f->z.data, f->lse.data, f->label, f->weight.data, f->N, f->K);
}

static void check_value(const struct fixture *f, const char *what, int64_t n, double found,
                        double expected)
{
    if (!kern_is_close(found, expected, KERN_XENT_TOLERANCE)) {
        ck_abort_msg("%s %s of row %d, N %d K %d: %.9g, not %.9g", f->version->name, what, (int)n,
                     (int)f->N, (int)f->K, found, expected);
    }
}

static void check_forward(const struct fixture *f)
{
    double *const z = float_block_to_f64(&f->z);

    for (int64_t n = 0; n < f->N; n++) {
        struct ref64_xent row;
        ref64_xent(&row, z + n * f->K, f->label[n], f->K);
        check_value(f, "loss", n, f->out.loss[n], row.loss);
        check_value(f, "lse", n, f->out.lse[n], row.lse);
        check_value(f, "predicted", n, f->out.predicted[n], row.predicted);
        for (int i = 0; i < KERN_XENT_FEATURES; i++) {
            check_value(f,
                        i == 0   ? "feature 0"
                        : i == 1 ? "feature 1"
                        : i == 2 ? "2"
                                 : "3",
                        n, f->out.features[n * KERN_XENT_FEATURES + i], row.features[i]);
        }
    }
    free(z);
}

static void check_backward(const struct fixture *f, const double *z)
{
    double *const dz = calloc((size_t)f->K, sizeof(double));

    ck_assert_ptr_nonnull(dz);
    for (int64_t n = 0; n < f->N; n++) {
        ref64_xent_backward(dz, z + n * f->K, f->label[n], f->weight.data[n], f->K);
        for (int64_t k = 0; k < f->K; k++) {
            check_value(f, "dz", n, f->dz.data[n * f->K + k], dz[k]);
        }
    }
    free(dz);
}

/* Makes the logits `factor` times as large, up to 30 in magnitude. */
static void stretch(const struct fixture *f, float factor)
{
    for (int64_t i = 0; i < f->z.count; i++) {
        f->z.data[i] = fmaxf(-30, fminf(30, factor * f->z.data[i]));
    }
}

START_TEST(forward_and_backward__agree_with_double_at_every_size)
{
    static const float factors[] = {0.01f, 1, 4, 20};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int n = 0; n < ROWS_COUNT; n++) {
            for (int s = 0; s < 4; s++) {
                struct fixture f;
                open_fixture(&f, v, ROWS[n], CLASSES[_i]);
                stretch(&f, factors[s]);
                double *const z = float_block_to_f64(&f.z);
                ck_assert_int_eq(run_forward(&f), 0);
                check_forward(&f);
                run_backward(&f);
                check_backward(&f, z);
                free(z);
                close_fixture(&f);
            }
        }
    }
}
END_TEST

START_TEST(backward__may_write_over_the_logits)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 11, CLASSES[_i]);
        run_forward(&f);
        run_backward(&f);
        f.version->backward(f.z.data, f.z.data, f.lse.data, f.label, f.weight.data, f.N, f.K);
        ck_assert_mem_eq(f.z.data, f.dz.data, (size_t)(f.N * f.K) * sizeof(float));
        close_fixture(&f);
    }
}
END_TEST

START_TEST(forward_and_backward__give_a_row_the_same_bits_alone_and_among_others)
{
    const int64_t K = CLASSES[_i];

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture all, one;
        open_fixture(&all, v, 19, K);
        open_fixture(&one, v, 1, K);
        run_forward(&all);
        run_backward(&all);
        for (int64_t n = 0; n < 19; n++) {
            memcpy(one.z.data, all.z.data + n * K, (size_t)K * sizeof(float));
            one.label[0] = all.label[n];
            one.weight.data[0] = all.weight.data[n];
            run_forward(&one);
            run_backward(&one);
            ck_assert_mem_eq(one.loss.data, all.loss.data + n, sizeof(float));
            ck_assert_mem_eq(one.lse.data, all.lse.data + n, sizeof(float));
            ck_assert_mem_eq(one.features.data, all.features.data + 4 * n, 4 * sizeof(float));
            ck_assert_mem_eq(one.predicted.data, all.predicted.data + n, sizeof(float));
            ck_assert_mem_eq(one.dz.data, all.dz.data + n * K, (size_t)K * sizeof(float));
        }
        close_fixture(&one);
        close_fixture(&all);
    }
}
END_TEST

START_TEST(forward__writes_only_what_is_asked_for)
{
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        struct fixture f;
        open_fixture(&f, v, 9, 10);
        const struct kern_xent_out all = f.out;
        f.out = (struct kern_xent_out){.features = all.features};
        ck_assert_int_eq(forward(&VERSIONS[v], &f.out, f.z.data, NULL, 9, 10), 0);
        ck_assert(float_block_untouched(&f.loss, 0));
        ck_assert(float_block_untouched(&f.lse, 0));
        ck_assert(float_block_untouched(&f.predicted, 0));
        f.out = (struct kern_xent_out){.lse = all.lse, .predicted = all.predicted};
        ck_assert_int_eq(forward(&VERSIONS[v], &f.out, f.z.data, NULL, 9, 10), 0);
        ck_assert(float_block_untouched(&f.loss, 0));
        f.out = (struct kern_xent_out){.loss = all.loss};
        ck_assert_int_eq(run_forward(&f), 0);
        f.out = all;
        check_forward(&f);
        close_fixture(&f);
    }
}
END_TEST

/* Features of one row of logits, to `tolerance`. */
static void check_features(const float *z, int64_t K, const double expected[4], double tolerance)
{
    const int32_t label = 0;

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        float loss, lse, features[4];
        int32_t predicted;
        const struct kern_xent_out out = {&loss, &lse, features, &predicted, NULL};
        ck_assert_int_eq(forward(&VERSIONS[v], &out, z, &label, 1, K), 0);
        for (int i = 0; i < 4; i++) {
            ck_assert_msg(fabs(features[i] - expected[i]) <= tolerance,
                          "%s feature %d is %.9g, not %.9g", VERSIONS[v].name, i,
                          (double)features[i], expected[i]);
        }
    }
}

START_TEST(forward__gives_the_published_features)
{
    const float from_p[] = {logf(0.7f), logf(0.2f), logf(0.1f)};
    const float uniform[] = {-3, -3, -3, -3};
    const float one_hot[] = {800, 0, 0};
    const float three[] = {2, 0.5f, -1};
    const float soft[10] = {0, 0, 0, 1};

    check_features(from_p, 3, (const double[]){0.7, 0.8018185525, 0.5, 0.3548290086}, 1e-6);
    check_features(uniform, 4, (const double[]){0.25, 1.3862943611, 0, 1.3862943611}, 1e-6);
    check_features(one_hot, 3, (const double[]){1, 0, 1, 0}, 0);
    /* p = .78559703, .17529039, .03911257; the entropy is published, the others follow from p */
    check_features(three, 3,
                   (const double[]){0.7855970346, 0.6215846047, 0.6103066424, 0.2070220277}, 1e-6);
    /* e / (e + 9) and, squared, e^2 / (e^2 + 9) */
    check_features(soft, 10,
                   (const double[]){0.2319693167, 2.2291808551, 0.1466325741, 1.8949076803}, 1e-6);
}
END_TEST

START_TEST(forward__takes_logits_as_large_as_floats_are)
{
    const float far[] = {1e30f, -1e30f, 0, 5, -1e30f};
    const float farthest[] = {-FLT_MAX, FLT_MAX, -FLT_MAX};
    const float equal[] = {1e30f, 1e30f, -1e30f};
    const float negative[] = {-1e30f, -1e30f, -1e30f, -FLT_MAX};

    check_features(far, 5, (const double[]){1, 0, 1, 0}, 0);
    check_features(farthest, 3, (const double[]){1, 0, 1, 0}, 0);
    check_features(equal, 3, (const double[]){0.5, log(2), 0, log(2)}, 1e-6);
    check_features(negative, 4, (const double[]){1.0 / 3, log(3), 0, log(3)}, 1e-6);
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        float loss[2], lse[2], dz[6];
        int32_t predicted[2];
        const int32_t label[] = {0, 1};
        const float z[] = {800, 0, 0, 800, 0, 0}, weight[] = {1, 2};
        const struct kern_xent_out out = {loss, lse, NULL, predicted, NULL};
        ck_assert_int_eq(forward(&VERSIONS[v], &out, z, label, 2, 3), 0);
        ck_assert_float_eq(loss[0], 0);
        ck_assert_float_eq(loss[1], 800);
        ck_assert_float_eq(lse[0], 800);
        VERSIONS[v].backward(dz, z, lse, label, weight, 2, 3);
        const float expected[] = {0, 0, 0, 2, -2, 0};
        for (int i = 0; i < 6; i++) {
            ck_assert_float_eq_tol(dz[i], expected[i], 1e-30f);
        }
    }
}
END_TEST

START_TEST(forward__predicts_the_lowest_index_when_there_is_a_tie)
{
    float z[3 * 20] = {0};

    z[0 * 20 + 4] = z[0 * 20 + 9] = z[0 * 20 + 19] = 2;
    z[1 * 20 + 17] = z[1 * 20 + 18] = 0.5f;
    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        int32_t predicted[3];
        float features[12];
        const struct kern_xent_out out = {.predicted = predicted, .features = features};
        ck_assert_int_eq(forward(&VERSIONS[v], &out, z, NULL, 3, 20), 0);
        ck_assert_int_eq(predicted[0], 4);
        ck_assert_int_eq(predicted[1], 17);
        ck_assert_int_eq(predicted[2], 0);
        for (int n = 0; n < 3; n++) {
            ck_assert_float_eq(features[4 * n + 2], 0);
        }
    }
}
END_TEST

START_TEST(forward__counts_and_marks_rows_that_are_not_finite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (int v = 0; v < KERN_CASES_COUNT; v++) {
        for (int64_t k = 0; k < 11; k++) {
            struct fixture good, f;
            open_fixture(&good, v, 13, 11);
            open_fixture(&f, v, 13, 11);
            ck_assert_int_eq(run_forward(&good), 0);
            const int64_t rows[] = {0, 5, 12};
            for (int i = 0; i < 3; i++) {
                f.z.data[rows[i] * 11 + k] = bad[i];
            }
            ck_assert_int_eq(run_forward(&f), 3);
            for (int64_t n = 0; n < 13; n++) {
                const bool is_bad = n == 0 || n == 5 || n == 12;
                ck_assert_int_eq(f.out.predicted[n], is_bad ? 0 : good.out.predicted[n]);
                ck_assert(is_bad ? isnan(f.out.loss[n]) : f.out.loss[n] == good.out.loss[n]);
                ck_assert(is_bad ? isnan(f.out.lse[n]) : f.out.lse[n] == good.out.lse[n]);
                for (int64_t i = 4 * n; i < 4 * n + 4; i++) {
                    const float expected = is_bad ? NAN : good.out.features[i];
                    ck_assert(is_bad ? isnan(f.out.features[i]) : f.out.features[i] == expected);
                }
            }
            run_backward(&f);
            for (int64_t i = 0; i < 13 * 11; i++) {
                const int64_t n = i / 11;
                if (!!isnan(f.dz.data[i]) != (n == 0 || n == 5 || n == 12)) {
                    ck_abort_msg("%s dz[%d] is %g", f.version->name, (int)i, (double)f.dz.data[i]);
                }
            }
            close_fixture(&good);
            close_fixture(&f);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_xent");
    TCase *tcase = tcase_create("kern_xent");

    tcase_add_loop_test(tcase, forward_and_backward__agree_with_double_at_every_size, 0,
                        CLASSES_COUNT);
    tcase_add_loop_test(tcase, backward__may_write_over_the_logits, 0, CLASSES_COUNT);
    tcase_add_loop_test(tcase,
                        forward_and_backward__give_a_row_the_same_bits_alone_and_among_others, 0,
                        CLASSES_COUNT);
    tcase_add_test(tcase, forward__writes_only_what_is_asked_for);
    tcase_add_test(tcase, forward__gives_the_published_features);
    tcase_add_test(tcase, forward__takes_logits_as_large_as_floats_are);
    tcase_add_test(tcase, forward__predicts_the_lowest_index_when_there_is_a_tie);
    tcase_add_test(tcase, forward__counts_and_marks_rows_that_are_not_finite);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
