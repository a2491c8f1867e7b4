/* Tests of exits/exits_ensemble_cuda.cu: what a CPU says of the same samples. */
#include <check.h>

#include "comm/base/rng.h"
#include "exits/exits_ensemble.h"
#include "tests/support/device_mirror.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 300, K = 7, MEMBERS = 3, STRIDE = N_MAX * K };

static const int64_t counts[] = {1, 127, 128, 129, N_MAX}; /* THREADS is 128 */

static float logits[MEMBERS * STRIDE], lse[MEMBERS * STRIDE], danswer[N_MAX * K];

static void fill(float *to, int64_t count, uint32_t sub)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)rng_normal(5, RNG_TEST, (uint64_t)i, sub);
    }
}

static void check(const float *found, const float *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        ck_assert(kern_is_close((double)found[i], (double)expected[i], 1e-5));
    }
}

START_TEST(ensemble__says_what_a_cpu_says)
{
    static float weights[MEMBERS], bias[K];
    static float answer[2][N_MAX * K], dweights[2][MEMBERS], dbias[2][K];
    struct exits_ensemble here = {.n = counts[_i],
                                  .K = K,
                                  .members = MEMBERS,
                                  .logits = logits,
                                  .lse = lse,
                                  .stride = STRIDE,
                                  .weights = weights,
                                  .bias = bias,
                                  .answer = answer[0],
                                  .danswer = danswer,
                                  .dweights = dweights[0],
                                  .dbias = dbias[0],
                                  .accumulate = _i % 2 == 0};
    struct exits_ensemble there = here;
    struct device_mirror m = device_mirror_begin();

    fill(logits, MEMBERS * STRIDE, 1);
    fill(lse, MEMBERS * STRIDE, 2);
    fill(danswer, N_MAX * K, 3);
    fill(weights, MEMBERS, 4);
    fill(bias, K, 5);
    fill(dbias[0], K, 6);
    memcpy(dbias[1], dbias[0], sizeof(dbias[0]));
    exits_ensemble_forward_cpu(&here);
    exits_ensemble_backward_cpu(&here);
    there.logits = device_mirror_in(&m, logits, MEMBERS * STRIDE);
    there.lse = device_mirror_in(&m, lse, MEMBERS * STRIDE);
    there.danswer = device_mirror_in(&m, danswer, N_MAX * K);
    there.weights = device_mirror_in(&m, weights, MEMBERS);
    there.bias = device_mirror_in(&m, bias, K);
    there.answer = device_mirror_out(&m, answer[1], N_MAX * K);
    there.dweights = device_mirror_out(&m, dweights[1], MEMBERS);
    there.dbias = device_mirror_out(&m, dbias[1], K);
    exits_ensemble_forward_cuda(&there);
    exits_ensemble_backward_cuda(&there);
    device_mirror_end(&m);
    check(answer[1], answer[0], N_MAX * K);
    check(dweights[1], dweights[0], MEMBERS);
    check(dbias[1], dbias[0], K);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_ensemble");
    TCase *tcase = tcase_create("exits_ensemble");

    tcase_add_loop_test(tcase, ensemble__says_what_a_cpu_says, 0, 5);
    suite_add_tcase(suite, tcase);
    return suite;
}
