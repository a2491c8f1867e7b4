/*
 * Unit tests of tests/support/ref64.c.
 *
 * Method: each backward function against central differences of its forward function,
 * (f(x + h) - f(x - h)) / 2h with h = 1e-5, whose own error is about 1e-10 here.
 */
#include <check.h>
#include <math.h>

#include "comm/base/rng.h"
#include "tests/support/kern_versions.h"
#include "tests/support/ref64.h"
#include "tests/support/test_suite.h"

enum { MAX = 1024 };

static const double STEP = 1e-5, AGREEMENT = 1e-6;

static void fill(double *x, int64_t count, uint32_t sub)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = rng_normal(2, RNG_TEST, (uint64_t)i, sub);
    }
}

static double inner_product(const double *a, const double *b, int64_t count)
{
    double sum = 0;

    for (int64_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* The derivative of loss() by *x. */
static double numeric(double *x, double (*loss)(void))
{
    const double before = *x;

    *x = before + STEP;
    const double above = loss();
    *x = before - STEP;
    const double below = loss();
    *x = before;
    return (above - below) / (2 * STEP);
}

static void check_gradient(const char *what, double *x, const double *gradient, int64_t count,
                           double (*loss)(void))
{
    for (int64_t i = 0; i < count; i++) {
        const double expected = numeric(x + i, loss);
        if (!kern_is_close(gradient[i], expected, AGREEMENT)) {
            ck_abort_msg("%s[%d]: %.9g, not %.9g", what, (int)i, gradient[i], expected);
        }
    }
}

static const struct ref64_rows ROWS = {.N = 3, .C = 7, .epsilon = 1e-5};
static double x[MAX], gain[MAX], bias[MAX], dy[MAX];

static double layernorm_loss(void)
{
    double y[MAX];

    ref64_layernorm(y, x, gain, bias, &ROWS);
    return inner_product(y, dy, ROWS.N * ROWS.C);
}

START_TEST(layernorm_backward__is_the_gradient)
{
    double dx[MAX], dgain[MAX], dbias[MAX];

    fill(x, ROWS.N * ROWS.C, 0);
    fill(dy, ROWS.N * ROWS.C, 1);
    fill(gain, ROWS.C, 2);
    fill(bias, ROWS.C, 3);
    ref64_layernorm_backward(dx, dgain, dbias, dy, x, gain, &ROWS);
    check_gradient("dx", x, dx, ROWS.N * ROWS.C, layernorm_loss);
    check_gradient("dgain", gain, dgain, ROWS.C, layernorm_loss);
    check_gradient("dbias", bias, dbias, ROWS.C, layernorm_loss);
}
END_TEST

START_TEST(layernorm__gives_rows_of_mean_0_and_variance_1)
{
    double y[MAX];
    const double ones[7] = {1, 1, 1, 1, 1, 1, 1}, zeros[7] = {0};

    fill(x, ROWS.N * ROWS.C, 4);
    ref64_layernorm(y, x, ones, zeros, &ROWS);
    for (int64_t n = 0; n < ROWS.N; n++) {
        ck_assert_double_eq_tol(inner_product(y + n * 7, ones, 7), 0, 1e-12);
        ck_assert_double_eq_tol(inner_product(y + n * 7, y + n * 7, 7) / 7, 1, 1e-4);
    }
}
END_TEST

static const struct kern_attention_shape SHAPE = {.B = 2, .T = 4, .H = 2, .D = 3};
static const int32_t LENGTHS[] = {3, 1};
static const struct kern_attention_mask MASKS[] = {
    {NULL, false}, {LENGTHS, false}, {NULL, true}, {LENGTHS, true}};
static int which_mask;
static double qkv[MAX], dout[MAX];

static double attention_loss(void)
{
    double out[MAX];

    ref64_attention(out, qkv, &SHAPE, &MASKS[which_mask]);
    return inner_product(out, dout, 2 * 4 * 2 * 3);
}

START_TEST(attention_backward__is_the_gradient)
{
    double dqkv[MAX];

    which_mask = _i;
    fill(qkv, 2 * 4 * 3 * 2 * 3, 5);
    fill(dout, 2 * 4 * 2 * 3, 6);
    ref64_attention_backward(dqkv, dout, qkv, &SHAPE, &MASKS[which_mask]);
    check_gradient("dqkv", qkv, dqkv, 2 * 4 * 3 * 2 * 3, attention_loss);
}
END_TEST

START_TEST(attention__is_the_mean_of_values_where_all_keys_are_equal)
{
    double out[MAX];

    fill(qkv, 2 * 4 * 3 * 2 * 3, 7);
    for (int64_t row = 0; row < 2 * 4; row++) {
        for (int64_t c = 0; c < 6; c++) {
            qkv[row * 18 + 6 + c] = 1;
        }
    }
    ref64_attention(out, qkv, &SHAPE, NULL);
    for (int64_t c = 0; c < 6; c++) {
        const double *const v = qkv + 12 + c;
        ck_assert_double_eq_tol(out[c], (v[0] + v[18] + v[36] + v[54]) / 4, 1e-12);
    }
    ref64_attention(out, qkv, &SHAPE, &MASKS[1]); /* 3 keys; the fourth token is padding */
    for (int64_t c = 0; c < 6; c++) {
        const double *const v = qkv + 12 + c;
        ck_assert_double_eq_tol(out[6 + c], (v[0] + v[18] + v[36]) / 3, 1e-12);
        ck_assert_double_eq(out[18 + c], 0);
    }
    ref64_attention(out, qkv, &SHAPE, &MASKS[2]); /* token 1 sees tokens 0 and 1 */
    for (int64_t c = 0; c < 6; c++) {
        const double *const v = qkv + 12 + c;
        ck_assert_double_eq_tol(out[6 + c], (v[0] + v[18]) / 2, 1e-12);
    }
}
END_TEST

enum { CLASSES = 6 };
static double z[CLASSES];

static double xent_loss(void)
{
    struct ref64_xent row;

    ref64_xent(&row, z, 2, CLASSES);
    return 0.7 * row.loss;
}

START_TEST(xent_backward__is_the_gradient)
{
    double dz[CLASSES];

    fill(z, CLASSES, 8);
    ref64_xent_backward(dz, z, 2, 0.7, CLASSES);
    check_gradient("dz", z, dz, CLASSES, xent_loss);
}
END_TEST

/* The same features by another road: log-sum-exps of z and 2z. */
START_TEST(xent__agrees_with_the_log_sum_exp_form)
{
    struct ref64_xent row, twice;
    double z2[CLASSES], sum = 0, sum2 = 0;

    fill(z, CLASSES, 9);
    for (int k = 0; k < CLASSES; k++) {
        z2[k] = 2 * z[k];
    }
    ref64_xent(&row, z, 0, CLASSES);
    ref64_xent(&twice, z2, 0, CLASSES);
    for (int k = 0; k < CLASSES; k++) {
        sum += exp(z[k] - row.lse) * z[k];
        sum2 += exp(z2[k] - twice.lse) * z[k];
    }
    ck_assert_double_eq_tol(row.loss, row.lse - z[0], 1e-12);
    ck_assert_double_eq_tol(row.features[1], row.lse - sum, 1e-12);
    ck_assert_double_eq_tol(row.features[3], twice.lse - 2 * sum2, 1e-12);
    ck_assert_double_eq_tol(row.features[3], twice.features[1], 1e-12);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("ref64");
    TCase *tcase = tcase_create("ref64");

    tcase_add_test(tcase, layernorm_backward__is_the_gradient);
    tcase_add_test(tcase, layernorm__gives_rows_of_mean_0_and_variance_1);
    tcase_add_loop_test(tcase, attention_backward__is_the_gradient, 0, 4);
    tcase_add_test(tcase, attention__is_the_mean_of_values_where_all_keys_are_equal);
    tcase_add_test(tcase, xent_backward__is_the_gradient);
    tcase_add_test(tcase, xent__agrees_with_the_log_sum_exp_form);
    suite_add_tcase(suite, tcase);
    return suite;
}
