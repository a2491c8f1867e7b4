/* Tests of exits/exits_distill_cuda.cu: what a CPU says of the same rows. */
#include <check.h>

#include "comm/base/rng.h"
#include "exits/exits_distill.h"
#include "tests/support/device_mirror.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"

enum { N_MAX = 300, K = 7 };

static const int64_t counts[] = {1, 127, 128, 129, N_MAX}; /* THREADS is 128 */

static float logits[N_MAX * K], teacher[N_MAX * K], weights[N_MAX];

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

START_TEST(distill__says_what_a_cpu_says)
{
    static float loss[2][N_MAX], dlogits[2][N_MAX * K];
    struct exits_distill_rows here = {.distill = {2, 0.7},
                                      .n = counts[_i],
                                      .K = K,
                                      .logits = logits,
                                      .teacher = teacher,
                                      .loss = loss[0],
                                      .dlogits = dlogits[0],
                                      .weights = weights};
    struct exits_distill_rows there = here;
    struct device_mirror m = device_mirror_begin();

    fill(logits, N_MAX * K, 1);
    fill(teacher, N_MAX * K, 2);
    fill(weights, N_MAX, 3);
    fill(dlogits[0], N_MAX * K, 4);
    memcpy(dlogits[1], dlogits[0], sizeof(dlogits[0]));
    exits_distill_cpu(&here);
    there.logits = device_mirror_in(&m, logits, N_MAX * K);
    there.teacher = device_mirror_in(&m, teacher, N_MAX * K);
    there.weights = device_mirror_in(&m, weights, N_MAX);
    there.loss = device_mirror_out(&m, loss[1], N_MAX);
    there.dlogits = device_mirror_out(&m, dlogits[1], N_MAX * K);
    exits_distill_cuda(&there);
    device_mirror_end(&m);
    check(loss[1], loss[0], N_MAX);
    check(dlogits[1], dlogits[0], N_MAX * K);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_distill");
    TCase *tcase = tcase_create("exits_distill");

    tcase_add_loop_test(tcase, distill__says_what_a_cpu_says, 0, 5);
    suite_add_tcase(suite, tcase);
    return suite;
}
