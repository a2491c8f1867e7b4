/* Unit tests of trainer/optim/optim.c: updates against the equations in double. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/optim/optim.h"

/* Two tensors of group 0 (the first decays), one of group 1, with gaps of zeros. */
enum { ELEMS = 64, RANGES = 3 };

static const struct optim_range ranges[RANGES] = {
    {0, 19, 0, true, 0}, {24, 31, 0, false, 0}, {32, 61, 1, true, 0}};
/* The same, the tensors of group 0 clipped apart. */
static const struct optim_range ranges_apart[RANGES] = {
    {0, 19, 0, true, 0}, {24, 31, 0, false, 5}, {32, 61, 1, true, 0}};

static const struct optim_options adamw = {
    .kind = OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-3, .weight_decay = 0.1};
static const struct optim_options sgd = {.kind = OPTIM_SGD, .momentum = 0.8, .weight_decay = 0.1};

struct block {
    float values[ELEMS];
};

static const struct optim_range *range_of(int i)
{
    for (int r = 0; r < RANGES; r++) {
        if (i >= ranges[r].begin && i < ranges[r].end) {
            return &ranges[r];
        }
    }
    return NULL;
}

static struct block numbers(double scale, int sub)
{
    struct block block = {{0}};

    for (int i = 0; i < ELEMS; i++) {
        block.values[i] = range_of(i) == NULL ? 0 : (float)(scale * sin(1 + 7.3 * i + 2.1 * sub));
    }
    return block;
}

static struct optim *open_ranges(const struct optim_options *options, int version,
                                 const struct optim_range *of)
{
    struct kern_ops ops;
    struct optim *optim = NULL;

    ck_assert_int_eq(kern_ops_choose(version == 0 ? KERN_ISA_PORTABLE : KERN_ISA_AVX2,
                                     KERN_MATMUL_PORTABLE, &ops),
                     ERR_OK);
    ck_assert_int_eq(optim_open(options, &ops, of, RANGES, ELEMS, &optim), ERR_OK);
    return optim;
}

static struct optim *open_optim(const struct optim_options *options, int version)
{
    return open_ranges(options, version, ranges);
}

START_TEST(update__takes_the_steps_of_adamw_in_double)
{
    static const double rates[] = {0.5, 0.25, 0.125};
    static const double samples = 4;
    struct optim *optim = open_optim(&adamw, _i);
    struct block params = numbers(1, 0);
    double w[ELEMS], m[ELEMS] = {0}, v[ELEMS] = {0};

    for (int i = 0; i < ELEMS; i++) {
        w[i] = params.values[i];
    }
    for (int t = 1; t <= 3; t++) {
        const struct block gradients = numbers(4, t);
        struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, rates[t - 1], 0},
                                                      {true, 2 * rates[t - 1], 0}};
        ck_assert_int_eq(optim_update(optim, params.values, gradients.values, samples, groups),
                         ERR_OK);
        for (int i = 0; i < ELEMS; i++) {
            const struct optim_range *range = range_of(i);
            if (range == NULL) {
                ck_assert(params.values[i] == 0);
                continue;
            }
            const double rate = rates[t - 1] * (range->group + 1);
            const double g = (double)gradients.values[i] / samples;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            w[i] -= rate * (range->decays ? 0.1 : 0) * w[i];
            w[i] -= rate * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-3);
            ck_assert_double_eq_tol((double)params.values[i], w[i], 2e-6);
        }
    }
    for (int i = 0; i < ELEMS; i++) {
        ck_assert_double_eq_tol((double)optim_moment1(optim)[i], m[i], 1e-6);
        ck_assert_double_eq_tol((double)optim_moment2(optim)[i], v[i], 1e-7);
    }
    ck_assert_int_eq(optim_counts(optim)[0], 3);
    ck_assert_int_eq(optim_counts(optim)[1], 3);
    optim_close(optim);
}
END_TEST

START_TEST(update__takes_the_steps_of_sgd_in_double)
{
    struct optim *optim = open_optim(&sgd, _i);
    struct block params = numbers(1, 0);
    double w[ELEMS], m[ELEMS] = {0};

    ck_assert_ptr_null(optim_moment2(optim));
    for (int i = 0; i < ELEMS; i++) {
        w[i] = params.values[i];
    }
    for (int t = 1; t <= 3; t++) {
        const struct block gradients = numbers(3, t);
        struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 0.1, 0}, {true, 0.2, 0}};
        ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 3, groups), ERR_OK);
        for (int i = 0; i < ELEMS; i++) {
            const struct optim_range *range = range_of(i);
            if (range != NULL) {
                m[i] =
                    0.8 * m[i] + (double)gradients.values[i] / 3 + (range->decays ? 0.1 : 0) * w[i];
                w[i] -= 0.1 * (range->group + 1) * m[i];
                ck_assert_double_eq_tol((double)params.values[i], w[i], 1e-6);
            }
        }
    }
    optim_close(optim);
}
END_TEST

START_TEST(update__leaves_every_bit_of_a_group_that_is_not_active)
{
    struct optim *optim = open_optim(_i == 0 ? &adamw : &sgd, 0);
    const struct optim_range *idle = &ranges[2];
    const size_t bytes = (size_t)(idle->end - idle->begin) * sizeof(float);
    struct block params = numbers(1, 0);
    struct block gradients = numbers(1, 1);
    struct optim_step both[OPTIM_GROUPS_MAX] = {{true, 0.1, 0}, {true, 0.1, 0}};
    struct optim_step one[OPTIM_GROUPS_MAX] = {{true, 0.1, 0}};
    float moments1[ELEMS], moments2[ELEMS];

    ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 1, both), ERR_OK);
    const struct block before = params;
    memcpy(moments1, optim_moment1(optim), sizeof(moments1));
    if (_i == 0) {
        memcpy(moments2, optim_moment2(optim), sizeof(moments2));
    }
    gradients.values[idle->begin] = NAN; /* not looked at, either */
    ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 1, one), ERR_OK);
    ck_assert_mem_eq(params.values + idle->begin, before.values + idle->begin, bytes);
    ck_assert_mem_eq(optim_moment1(optim) + idle->begin, moments1 + idle->begin, bytes);
    if (_i == 0) {
        ck_assert_mem_eq(optim_moment2(optim) + idle->begin, moments2 + idle->begin, bytes);
    }
    ck_assert_int_eq(optim_counts(optim)[0], 2);
    ck_assert_int_eq(optim_counts(optim)[1], 1);
    ck_assert(one[1].norm == 0);
    ck_assert_mem_ne(params.values, before.values, 19 * sizeof(float));
    ck_assert_mem_ne(optim_moment1(optim), moments1, 19 * sizeof(float));
    optim_close(optim);
}
END_TEST

/* The norm of the mean gradient of one group. */
static double group_norm(const struct block *gradients, int group, double samples)
{
    double squares = 0;

    for (int i = 0; i < ELEMS; i++) {
        const struct optim_range *range = range_of(i);
        if (range != NULL && range->group == group) {
            squares += pow((double)gradients->values[i] / samples, 2);
        }
    }
    return sqrt(squares);
}

START_TEST(update__clips_each_group_by_its_own_norm)
{
    static const double samples = 8;
    struct optim_options options = {.kind = OPTIM_SGD, .max_grad_norm = 0.5};
    struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 1, 0}, {true, 1, 0}};
    struct block params = {{0}};
    struct block gradients = numbers(8, 3);

    for (int64_t i = ranges[2].begin; i < ranges[2].end; i++) {
        gradients.values[i] *= 0.01f; /* group 1 stays below the limit */
    }
    const double norms[] = {group_norm(&gradients, 0, samples), group_norm(&gradients, 1, samples)};
    ck_assert_double_gt(norms[0], 0.5);
    ck_assert_double_lt(norms[1], 0.5);
    struct optim *optim = open_optim(&options, _i);
    ck_assert_int_eq(optim_update(optim, params.values, gradients.values, samples, groups), ERR_OK);
    for (int i = 0; i < ELEMS; i++) {
        const struct optim_range *range = range_of(i);
        const double scale = range != NULL && range->group == 0 ? 0.5 / norms[0] : 1;
        ck_assert_double_eq_tol((double)params.values[i],
                                -scale * (double)gradients.values[i] / samples, 1e-6);
    }
    ck_assert_double_eq_tol(groups[0].norm, norms[0], 1e-6);
    ck_assert_double_eq_tol(groups[1].norm, norms[1], 1e-6);
    optim_close(optim);
}
END_TEST

START_TEST(update__clips_each_number_of_a_group_by_its_own_norm)
{
    static const double limit = 0.5;
    struct optim_options options = {.kind = OPTIM_SGD, .max_grad_norm = limit};
    struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 1, 0}, {true, 1, 0}};
    struct block params = {{0}};
    struct block gradients = numbers(1, 3);
    double squares = 0;

    for (int64_t i = ranges[0].begin; i < ranges[0].end; i++) {
        squares += pow((double)gradients.values[i], 2);
    }
    for (int64_t i = ranges[1].begin; i < ranges[1].end; i++) {
        gradients.values[i] *= 0.01f; /* below the limit by itself */
    }
    ck_assert_double_gt(squares, limit * limit);
    struct optim *optim = open_ranges(&options, _i, ranges_apart);
    ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 1, groups), ERR_OK);
    for (int r = 0; r < 2; r++) {
        const double scale = r == 0 ? limit / sqrt(squares) : 1;
        for (int64_t i = ranges[r].begin; i < ranges[r].end; i++) {
            ck_assert_double_eq_tol((double)params.values[i], -scale * (double)gradients.values[i],
                                    1e-6);
        }
    }
    ck_assert_double_eq_tol(groups[0].norm, group_norm(&gradients, 0, 1), 1e-6);
    optim_close(optim);
}
END_TEST

START_TEST(update__refuses_a_gradient_that_is_not_finite_and_changes_nothing)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    char text[256];

    for (int b = 0; b < 3; b++) {
        struct optim *optim = open_optim(&adamw, _i);
        struct block params = numbers(1, 0);
        struct block gradients = numbers(1, 1);
        struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 0.1, 0}, {true, 0.1, 0}};
        float moments1[ELEMS], moments2[ELEMS];
        ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 1, groups), ERR_OK);
        const struct block before = params;
        memcpy(moments1, optim_moment1(optim), sizeof(moments1));
        memcpy(moments2, optim_moment2(optim), sizeof(moments2));
        gradients.values[ranges[2].end - 1] = bad[b];
        ck_assert_int_eq(optim_update(optim, params.values, gradients.values, 1, groups),
                         ERR_NOT_FINITE);
        err_text(text, sizeof(text));
        ck_assert_ptr_nonnull(strstr(text, "norm of a gradient"));
        ck_assert_mem_eq(&params, &before, sizeof(params));
        ck_assert_mem_eq(optim_moment1(optim), moments1, sizeof(moments1));
        ck_assert_mem_eq(optim_moment2(optim), moments2, sizeof(moments2));
        ck_assert_int_eq(optim_counts(optim)[0], 1);
        ck_assert_int_eq(optim_counts(optim)[1], 1);
        optim_close(optim);
    }
}
END_TEST

START_TEST(schedule__rises_and_falls_as_documented)
{
    static const struct {
        enum optim_schedule schedule;
        int64_t step, warmup, count;
        double factor;
    } rows[] = {
        {OPTIM_LINEAR, 0, 4, 12, 0.25},   {OPTIM_LINEAR, 3, 4, 12, 1},
        {OPTIM_LINEAR, 4, 4, 12, 1},      {OPTIM_LINEAR, 6, 4, 12, 0.75},
        {OPTIM_LINEAR, 11, 4, 12, 0.125}, {OPTIM_LINEAR, 40, 4, 12, 0},
        {OPTIM_COSINE, 0, 0, 100, 1},     {OPTIM_COSINE, 25, 0, 100, 0.8535533906},
        {OPTIM_COSINE, 50, 0, 100, 0.5},  {OPTIM_COSINE, 75, 0, 100, 0.1464466094},
        {OPTIM_COSINE, 1, 10, 30, 0.2},   {OPTIM_COSINE, 15, 10, 30, 0.8535533906},
        {OPTIM_CONSTANT, 1, 10, 30, 0.2}, {OPTIM_CONSTANT, 29, 10, 30, 1},
        {OPTIM_COSINE, 2, 10, 3, 0.3},    {OPTIM_LINEAR, 5, 5, 5, 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_double_eq_tol(
            optim_schedule_factor(rows[i].schedule, rows[i].step, rows[i].warmup, rows[i].count),
            rows[i].factor, 1e-9);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("optim");
    TCase *tcase = tcase_create("optim");
    const int versions = kern_version_count();

    tcase_add_loop_test(tcase, update__takes_the_steps_of_adamw_in_double, 0, versions);
    tcase_add_loop_test(tcase, update__takes_the_steps_of_sgd_in_double, 0, versions);
    tcase_add_loop_test(tcase, update__leaves_every_bit_of_a_group_that_is_not_active, 0, 2);
    tcase_add_loop_test(tcase, update__clips_each_group_by_its_own_norm, 0, versions);
    tcase_add_loop_test(tcase, update__clips_each_number_of_a_group_by_its_own_norm, 0, versions);
    tcase_add_loop_test(tcase, update__refuses_a_gradient_that_is_not_finite_and_changes_nothing, 0,
                        versions);
    tcase_add_test(tcase, schedule__rises_and_falls_as_documented);
    suite_add_tcase(suite, tcase);
    return suite;
}
