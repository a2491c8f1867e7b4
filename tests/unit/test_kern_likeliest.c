/* Unit tests of trainer/kernels/kern_likeliest_*.c: what cross entropy says of the same rows. */
#include <check.h>
#include <math.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_likeliest.h"
#include "trainer/kernels/kern_xent.h"

enum { N = 7, K_MAX = 300 };

static kern_likeliest_fn *const VERSIONS[KERN_VERSIONS] = {kern_likeliest_portable,
                                                           kern_likeliest_avx2};
static const int64_t KS[] = {2, 3, 7, 8, 9, 15, 16, 31, 33, 64, 71, K_MAX};
enum { K_COUNT = sizeof(KS) / sizeof(KS[0]) };

static struct float_block rows_of(int64_t K, float scale)
{
    const struct float_block z = float_block_normal(N * K, (uint32_t)K);

    for (int64_t i = 0; i < z.count; i++) {
        z.data[i] *= scale;
    }
    return z;
}

START_TEST(likeliest__agrees_with_the_features_of_cross_entropy)
{
    const float scales[] = {0.01f, 1, 9};

    for (int i = 0; i < 3 * K_COUNT; i++) {
        const int64_t K = KS[i / 3];
        const struct float_block z = rows_of(K, scales[i % 3]);
        struct kern_likeliest found[N];
        float features[N * KERN_XENT_FEATURES];
        int32_t predicted[N];
        const struct kern_xent_out out = {.features = features, .predicted = predicted};
        kern_xent_forward_portable(&out, z.data, NULL, N, K);
        VERSIONS[_i](found, z.data, N, K, 1);
        for (int n = 0; n < N; n++) {
            const float *f = features + (size_t)n * KERN_XENT_FEATURES;
            ck_assert_int_eq(found[n].predicted, predicted[n]);
            ck_assert(kern_is_close((double)found[n].max_prob, (double)f[0], KERN_XENT_TOLERANCE));
            ck_assert(kern_is_close((double)found[n].entropy, (double)f[1], KERN_XENT_TOLERANCE));
            ck_assert(kern_is_close((double)found[n].margin, (double)f[2], KERN_XENT_TOLERANCE));
        }
        VERSIONS[_i](found, z.data, N, K, 0);
        for (int n = 0; n < N; n++) {
            ck_assert_int_eq(found[n].predicted, predicted[n]);
            ck_assert_float_eq(found[n].max_prob, 0);
        }
        float_block_close(&z);
    }
}
END_TEST

/* The largest logit at every place, then at that place and every other: the lower one is told, and the margin is 0. */
START_TEST(likeliest__tells_the_first_of_equal_ones_wherever_they_are)
{
    const int64_t K = 37;
    float z[37];
    struct kern_likeliest found;

    for (int a = 0; a < K; a++) {
        for (int b = 0; b < K; b++) {
            for (int k = 0; k < K; k++) {
                z[k] = k == a || k == b ? 2.5f : -(float)(k % 5);
            }
            VERSIONS[_i](&found, z, 1, K, 1);
            ck_assert_int_eq(found.predicted, a < b ? a : b);
            if (a == b) {
                ck_assert_float_gt(found.margin, 0.1f);
            } else {
                ck_assert_float_eq(found.margin, 0);
            }
        }
    }
}
END_TEST

START_TEST(likeliest__tells_nothing_of_a_row_that_is_not_finite)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const int64_t K = 19;

    for (int64_t i = 0; i < 3 * K; i++) {
        const struct float_block z = rows_of(K, 1);
        struct kern_likeliest found[N];
        z.data[2 * K + i / 3] = bad[i % 3];
        VERSIONS[_i](found, z.data, N, K, i % 2 == 0);
        for (int n = 0; n < N; n++) {
            ck_assert_int_eq(found[n].predicted < 0, n == 2);
        }
        ck_assert_float_eq(found[2].max_prob, 0);
        float_block_close(&z);
    }
}
END_TEST

START_TEST(likeliest__is_sure_and_finite_where_logits_are_far_apart)
{
    float z[20] = {0};
    struct kern_likeliest found;

    z[13] = 3e38f;
    z[4] = -3e38f;
    VERSIONS[_i](&found, z, 1, 20, 1);
    ck_assert_int_eq(found.predicted, 13);
    ck_assert_float_eq(found.max_prob, 1);
    ck_assert_float_eq(found.margin, 1);
    ck_assert_float_eq(found.entropy, 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_likeliest");
    TCase *tcase = tcase_create("cpu");
    const int count = kern_version_count();

    tcase_add_loop_test(tcase, likeliest__agrees_with_the_features_of_cross_entropy, 0, count);
    tcase_add_loop_test(tcase, likeliest__tells_the_first_of_equal_ones_wherever_they_are, 0,
                        count);
    tcase_add_loop_test(tcase, likeliest__tells_nothing_of_a_row_that_is_not_finite, 0, count);
    tcase_add_loop_test(tcase, likeliest__is_sure_and_finite_where_logits_are_far_apart, 0, count);
    suite_add_tcase(suite, tcase);
    return suite;
}
