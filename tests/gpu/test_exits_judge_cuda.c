/* Tests of exits/exits_judge_cuda.cu: what a CPU says of the same samples. */
#include <check.h>
#include <string.h>

#include "comm/base/rng.h"
#include "exits/exits_judge.h"
#include "tests/support/device_mirror.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"

enum { G_MAX = 5, N_MAX = 300, CLASSES = 7, SCRATCH = 8 * G_MAX + 8, SUMS = 5 * G_MAX + 7 };

static const int64_t counts[] = {1, 2, 31, 127, 128, 129, N_MAX}; /* THREADS is 128 */
enum { COUNT_COUNT = sizeof(counts) / sizeof(counts[0]) };

/* All arrays of a struct exits_judge, larger than any case. */
struct arrays {
    double costs[G_MAX + 1];
    float balance[G_MAX], fixed[G_MAX + 1], class_weights[CLASSES], final_loss[N_MAX];
    float loss_of[G_MAX * N_MAX], gate_of[G_MAX * N_MAX];
    int32_t class_of[G_MAX * N_MAX], final_class[N_MAX], labels[N_MAX];
    _Alignas(8) float scratch[N_MAX * SCRATCH];
    float weights[G_MAX * N_MAX], dgates[G_MAX * N_MAX], final_weights[N_MAX], sums[SUMS];
};

static void fill_floats(float *to, int64_t count, uint32_t sub)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)rng_normal(5, RNG_TEST, (uint64_t)i, sub);
    }
}

static void fill_classes(int32_t *to, int64_t count, uint32_t sub)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (int32_t)(rng_u64(5, RNG_TEST, (uint64_t)i, sub) % CLASSES);
    }
}

/* Losses are not negative; what is added to is not zero. */
static void fill(struct arrays *a)
{
    *a = (struct arrays){0};
    fill_floats(a->loss_of, G_MAX * N_MAX, 1);
    fill_floats(a->gate_of, G_MAX * N_MAX, 2);
    fill_floats(a->final_loss, N_MAX, 3);
    fill_floats(a->final_weights, N_MAX, 4);
    fill_floats(a->sums, SUMS, 5);
    fill_classes(a->class_of, G_MAX * N_MAX, 6);
    fill_classes(a->final_class, N_MAX, 7);
    fill_classes(a->labels, N_MAX, 8);
    for (int i = 0; i < G_MAX * N_MAX; i++) {
        a->loss_of[i] *= a->loss_of[i];
    }
    for (int i = 0; i < N_MAX; i++) {
        a->final_loss[i] *= a->final_loss[i];
    }
    for (int k = 0; k < CLASSES; k++) {
        a->class_weights[k] = 0.4f + 0.3f * (float)k;
    }
    for (int g = 0; g <= G_MAX; g++) {
        a->costs[g] = 0.1 + 0.17 * g;
    }
    for (int g = 0; g < G_MAX; g++) {
        a->balance[g] = 0.5f + (float)g;
        a->fixed[g] = 0.3f + 0.2f * (float)g;
    }
}

static struct exits_judge judge_of(struct arrays *a, int G, int64_t n)
{
    return (struct exits_judge){
        .G = G,
        .trained = G,
        .loss_floor = 0.1,
        .uncertainty_floor = 0.1,
        .gamma = 2,
        .ponder = {.prior = 0.2, .weight = 0.1},
        .lambda = 0.4,
        .set_share = 0.5f,
        .n = n,
        .costs = a->costs,
        .fixed = a->fixed,
        .loss_of = a->loss_of,
        .gate_of = a->gate_of,
        .stride = N_MAX,
        .class_of = a->class_of,
        .class_stride = N_MAX,
        .final_loss = a->final_loss,
        .final_class = a->final_class,
        .labels = a->labels,
        .scratch = a->scratch,
        .weights = a->weights,
        .dgates = a->dgates,
        .final_weights = a->final_weights,
        .sums = a->sums,
    };
}

static void judge_there(const struct exits_judge *judge)
{
    struct device_mirror m = device_mirror_begin();
    struct exits_judge there = *judge;

    there.costs = device_mirror_of(&m, judge->costs, sizeof(double) * (G_MAX + 1), false);
    there.balance = device_mirror_in(&m, judge->balance, G_MAX);
    there.fixed = device_mirror_in(&m, judge->fixed, G_MAX + 1);
    there.class_weights = device_mirror_in(&m, judge->class_weights, CLASSES);
    there.loss_of = device_mirror_in(&m, judge->loss_of, G_MAX * N_MAX);
    there.gate_of = device_mirror_in(&m, judge->gate_of, G_MAX * N_MAX);
    there.class_of = device_mirror_in_i32(&m, judge->class_of, G_MAX * N_MAX);
    there.final_loss = device_mirror_in(&m, judge->final_loss, N_MAX);
    there.final_class = device_mirror_in_i32(&m, judge->final_class, N_MAX);
    there.labels = device_mirror_in_i32(&m, judge->labels, N_MAX);
    there.scratch = device_mirror_out(&m, judge->scratch, N_MAX * SCRATCH);
    there.weights = device_mirror_out(&m, judge->weights, G_MAX * N_MAX);
    there.dgates = device_mirror_out(&m, judge->dgates, G_MAX * N_MAX);
    there.final_weights = device_mirror_out(&m, judge->final_weights, N_MAX);
    there.sums = device_mirror_out(&m, judge->sums, SUMS);
    exits_judge_cuda(&there);
    device_mirror_end(&m);
}

static void check(const char *what, const float *found, const float *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!kern_is_close((double)found[i], (double)expected[i], 1e-5)) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, (double)found[i],
                         (double)expected[i]);
        }
    }
}

static void judge_both(const struct exits_judge *wanted)
{
    static struct arrays here, there;
    struct exits_judge judge;

    for (int device = 0; device < 2; device++) {
        struct arrays *a = device == 1 ? &there : &here;
        fill(a);
        judge = judge_of(a, wanted->G, wanted->n);
        judge.weigh = wanted->weigh;
        judge.teach = wanted->teach;
        judge.score = wanted->score;
        judge.form = wanted->form;
        judge.ponder.divergence = (enum exits_divergence)(wanted->n % 2);
        judge.target = wanted->target;
        judge.trained = wanted->trained;
        judge.balance = wanted->G == 5 ? NULL : a->balance;
        judge.class_weights = wanted->G == 5 ? NULL : a->class_weights;
        (device == 1 ? judge_there : exits_judge_cpu)(&judge);
    }
    check("weights", there.weights, here.weights, G_MAX * N_MAX);
    check("dgates", there.dgates, here.dgates, G_MAX * N_MAX);
    check("final_weights", there.final_weights, here.final_weights, N_MAX);
    check("sums", there.sums, here.sums, SUMS);
}

START_TEST(judge__says_what_a_cpu_says_of_any_number_of_samples)
{
    for (int G = 1; G <= G_MAX; G += 2) {
        for (int loss = 0; loss < EXITS_LOSS_COUNT; loss++) {
            const struct exits_method *method = exits_method_of((enum exits_loss)loss);
            judge_both(&(struct exits_judge){.G = G,
                                             .n = counts[_i],
                                             .trained = G + loss % 2,
                                             .weigh = method->weigh,
                                             .teach = method->teach,
                                             .score = method->score,
                                             .form = (enum exits_form)(loss % 2),
                                             .target = (enum exits_target_kind)(G / 2 % 2)});
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_judge");
    TCase *tcase = tcase_create("exits_judge");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, judge__says_what_a_cpu_says_of_any_number_of_samples, 0,
                        COUNT_COUNT);
    suite_add_tcase(suite, tcase);
    return suite;
}
