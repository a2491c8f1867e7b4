/* Unit tests of trainer/step/step_sum.c over threads. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/err_expect.h"
#include "tests/support/group_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/step/step_sum.h"

enum { ELEMS = GROUP_CASE_ELEMS, RANKS_MAX = 8, STEPS = 2 };

/* A step of `leaf_count` leaves in all; each rank writes what it got to sums[rank]. */
struct step {
    int64_t leaf_count;
    enum kern_isa isa;
    float sums[RANKS_MAX][ELEMS];
};

/* In step s, leaf l is row s * 100 + l of the values. */
static void add_leaf(float *to, int64_t row, bool accumulate, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        to[i] = (accumulate ? to[i] : 0) + group_case_value(row, i);
    }
}

static enum err run_leaves(struct step_sum *sum, int64_t first_row, int64_t count)
{
    for (int64_t leaf = 0; leaf < count; leaf++) {
        bool accumulate = false;
        float *const to = step_sum_begin_leaf(sum, &accumulate);
        int64_t end = ELEMS;
        for (int b = GROUP_CASE_BUCKETS - 1; b >= 0; b--) {
            const int64_t begin = end - group_case_buckets[b];
            add_leaf(to, first_row + leaf, accumulate, begin, end);
            ERR_TRY(step_sum_ready(sum, b));
            end = begin;
        }
        ERR_TRY(step_sum_end_leaf(sum));
    }
    return ERR_OK;
}

static enum err run_steps(struct comm_group *group, void *context)
{
    struct step *step = context;
    const int64_t count = step->leaf_count / comm_size(group);
    struct kern_ops ops;
    struct step_sum *sum = NULL;
    const float *vector = NULL;

    ERR_TRY(kern_ops_choose(step->isa, KERN_MATMUL_PORTABLE, &ops));
    ERR_TRY(step_sum_open(group, COMM_REDUCE_TREE, &ops, group_case_buckets, GROUP_CASE_BUCKETS,
                          count, &sum));
    for (int s = STEPS - 1; s >= 0; s--) { /* step 0 is the last: it must not see the others */
        ERR_TRY(run_leaves(sum, 100 * s + comm_rank(group) * count, count));
        ERR_TRY(step_sum_finish(sum, GROUP_CASE_DEADLINE_MS, &vector));
    }
    memcpy(step->sums[comm_rank(group)], vector, sizeof(step->sums[0]));
    step_sum_close(sum);
    return ERR_OK;
}

static struct step *run(int64_t leaf_count, int ranks)
{
    struct step *step = calloc(1, sizeof(*step));

    ck_assert_ptr_nonnull(step);
    step->leaf_count = leaf_count;
    step->isa = KERN_ISA_AUTO;
    local_ranks_run(ranks, run_steps, step);
    return step;
}

/* What the head of step_sum.h says, written down once more: sums [ELEMS] out. */
static void sum_by_hand(int64_t leaf_count, float *sums)
{
    int64_t run_count = 1;
    float runs[64];

    while (leaf_count / run_count % 2 == 0) {
        run_count *= 2;
    }
    for (int64_t i = 0; i < ELEMS; i++) {
        for (int64_t r = 0; r < run_count; r++) {
            runs[r] = 0;
            for (int64_t l = 0; l < leaf_count / run_count; l++) {
                const float value = group_case_value(r * (leaf_count / run_count) + l, i);
                runs[r] = l == 0 ? value : runs[r] + value;
            }
        }
        for (int64_t left = run_count / 2; left >= 1; left /= 2) {
            for (int64_t r = 0; r < left; r++) {
                runs[r] = runs[2 * r] + runs[2 * r + 1];
            }
        }
        sums[i] = runs[0];
    }
}

START_TEST(finish__gives_the_same_bits_for_every_power_of_two_that_divides_the_leaves)
{
    static const int64_t leaf_counts[] = {1, 2, 3, 6, 8, 12, 16, 20, 40};
    float *expected = malloc(ELEMS * sizeof(*expected));

    ck_assert_ptr_nonnull(expected);
    for (size_t c = 0; c < sizeof(leaf_counts) / sizeof(leaf_counts[0]); c++) {
        sum_by_hand(leaf_counts[c], expected);
        for (int ranks = 1; ranks <= RANKS_MAX && leaf_counts[c] % ranks == 0; ranks *= 2) {
            struct step *step = run(leaf_counts[c], ranks);
            for (int r = 0; r < ranks; r++) {
                ck_assert_msg(memcmp(step->sums[r], expected, sizeof(step->sums[r])) == 0,
                              "%d leaves: other bits on rank %d of %d", (int)leaf_counts[c], r,
                              ranks);
            }
            free(step);
        }
    }
    free(expected);
}
END_TEST

START_TEST(finish__is_repeatable_and_near_the_double_sum_for_any_number_of_ranks)
{
    static const struct {
        int64_t leaf_count;
        int ranks;
    } cases[] = {{12, 3}, {6, 3}, {15, 5}, {12, 6}, {7, 7}, {3, 1}, {18, 6}};

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct step *first = run(cases[c].leaf_count, cases[c].ranks);
        struct step *second = run(cases[c].leaf_count, cases[c].ranks);
        ck_assert_int_eq(memcmp(first->sums, second->sums, sizeof(first->sums)), 0);
        for (int r = 1; r < cases[c].ranks; r++) {
            ck_assert_int_eq(memcmp(first->sums[0], first->sums[r], sizeof(first->sums[0])), 0);
        }
        for (int64_t i = 0; i < ELEMS; i++) {
            double sum = 0, size = 0;
            for (int64_t l = 0; l < cases[c].leaf_count; l++) {
                sum += (double)group_case_value(l, i);
                size += fabs((double)group_case_value(l, i));
            }
            ck_assert_double_le(fabs(sum - (double)first->sums[0][i]), 1e-6 * size);
        }
        free(first);
        free(second);
    }
}
END_TEST

START_TEST(open__refuses_buckets_that_cannot_be)
{
    static const int64_t elems[] = {3, -1};
    struct comm_group *group = NULL;
    struct comm_local *local = NULL;
    struct kern_ops ops;
    struct step_sum *sum = NULL;

    EXPECT_OK(comm_local_open(1, &group, &local));
    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_ERR(step_sum_open(group, COMM_REDUCE_TREE, &ops, elems, 2, 1, &sum), ERR_INVALID,
               "bucket of -1");
    EXPECT_ERR(step_sum_open(group, COMM_REDUCE_TREE, &ops, elems, 0, 1, &sum), ERR_INVALID,
               "0 buckets");
    step_sum_close(NULL);
    comm_close(group);
    comm_local_close(local);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("step_sum");
    TCase *tcase = tcase_create("step_sum");

    tcase_add_test(tcase,
                   finish__gives_the_same_bits_for_every_power_of_two_that_divides_the_leaves);
    tcase_add_test(tcase, finish__is_repeatable_and_near_the_double_sum_for_any_number_of_ranks);
    tcase_add_test(tcase, open__refuses_buckets_that_cannot_be);
    suite_add_tcase(suite, tcase);
    return suite;
}
