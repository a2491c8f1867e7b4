/* Unit tests of comm/group/comm_reduce.c over threads. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/err_expect.h"
#include "tests/support/group_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"

enum { TERMS = 8, RANKS_MAX = 9 };

/* terms [TERMS, GROUP_CASE_ELEMS] -> their balanced tree, in the first row. */
static void sum_tree(float *terms, int term_count)
{
    for (int distance = 1; distance < term_count; distance *= 2) {
        for (int t = 0; t < term_count; t += 2 * distance) {
            float *const left = terms + (int64_t)t * GROUP_CASE_ELEMS;
            const float *const right = left + (int64_t)distance * GROUP_CASE_ELEMS;
            for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
                left[i] += right[i];
            }
        }
    }
}

static float *make_terms(int first, int count)
{
    float *terms = malloc((size_t)count * GROUP_CASE_ELEMS * sizeof(*terms));

    for (int t = 0; terms != NULL && t < count; t++) {
        for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
            terms[(int64_t)t * GROUP_CASE_ELEMS + i] = group_case_value(first + t, i);
        }
    }
    return terms;
}

/* Each rank sums its part of TERMS terms, then all ranks; `context` is the sum over all terms. */
static enum err sum_parts(struct comm_group *group, void *context)
{
    const int count = TERMS / comm_size(group);
    float *mine = make_terms(comm_rank(group) * count, count);

    if (mine == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "terms");
    }
    sum_tree(mine, count);
    enum err status = group_case_sum(group, COMM_REDUCE_TREE, mine);
    if (status == ERR_OK && memcmp(mine, context, GROUP_CASE_ELEMS * sizeof(float)) != 0) {
        status = ERR_FAIL(ERR_CORRUPT, "other bits with %d ranks", comm_size(group));
    }
    free(mine);
    return status;
}

START_TEST(tree__gives_the_same_bits_for_1_2_4_and_8_ranks)
{
    float *all = make_terms(0, TERMS);

    ck_assert_ptr_nonnull(all);
    sum_tree(all, TERMS);
    for (int ranks = 1; ranks <= TERMS; ranks *= 2) {
        local_ranks_run(ranks, sum_parts, all);
    }
    free(all);
}
END_TEST

struct outcome {
    float sums[RANKS_MAX][GROUP_CASE_ELEMS];
};

static enum err sum_and_check(struct comm_group *group, void *context)
{
    struct outcome *outcome = context;
    float *const mine = outcome->sums[comm_rank(group)];
    struct comm_group *copy = NULL;

    for (int64_t i = 0; i < GROUP_CASE_ELEMS; i++) {
        mine[i] = group_case_value(comm_rank(group), i);
    }
    ERR_TRY(comm_duplicate(group, &copy));
    ERR_TRY(group_case_sum(copy, COMM_REDUCE_TREE, mine));
    comm_close(copy);
    return group_case_check_sum(group, mine);
}

START_TEST(tree__is_the_same_on_all_ranks_and_in_every_run_with_any_number_of_ranks)
{
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));

    ck_assert_ptr_nonnull(outcomes);
    for (int run = 0; run < 2; run++) {
        local_ranks_run(_i, sum_and_check, &outcomes[run]);
    }
    ck_assert_int_eq(memcmp(&outcomes[0], &outcomes[1], sizeof(outcomes[0])), 0);
    free(outcomes);
}
END_TEST

/* The same buckets again and again, some left out, polled at odd times. */
static enum err sum_often(struct comm_group *group, void *context)
{
    static const int64_t elems[] = {5, 64, 1};
    struct comm_reduce *reduce = NULL;
    float values[3][64];

    (void)context;
    ERR_TRY(comm_reduce_open(group, COMM_REDUCE_TREE, elems, 3, &reduce));
    for (int round = 0; round < 50; round++) {
        for (int b = 0; b < 3; b++) {
            for (int64_t i = 0; i < elems[b]; i++) {
                values[b][i] = (float)(comm_rank(group) + round * b);
            }
            if ((round + b) % 3 != 0) {
                ERR_TRY(comm_reduce_start(reduce, b, values[b]));
            }
            if ((round + comm_rank(group)) % 2 == 0) {
                ERR_TRY(comm_reduce_poll(reduce));
            }
        }
        ERR_TRY(comm_reduce_wait(reduce, GROUP_CASE_DEADLINE_MS));
        const int size = comm_size(group);
        for (int b = 0; b < 3; b++) {
            const int expected = (round + b) % 3 != 0 ? size * (size - 1) / 2 + size * round * b
                                                      : comm_rank(group) + round * b;
            for (int64_t i = 0; i < elems[b]; i++) {
                if (values[b][i] != (float)expected) {
                    return ERR_FAIL(ERR_CORRUPT, "round %d bucket %d: %g, expected %d", round, b,
                                    (double)values[b][i], expected);
                }
            }
        }
    }
    comm_reduce_close(reduce);
    return ERR_OK;
}

START_TEST(start__can_be_called_again_after_each_wait)
{
    local_ranks_run(_i, sum_often, NULL);
}
END_TEST

START_TEST(open__refuses_what_cannot_be_summed)
{
    static int64_t elems[COMM_REDUCE_BUCKETS_MAX + 1];
    struct comm_group *groups[2];
    struct comm_local *local = NULL;
    struct comm_reduce *reduce = NULL;

    EXPECT_OK(comm_local_open(2, groups, &local));
    EXPECT_ERR(comm_reduce_open(groups[0], COMM_REDUCE_TREE, elems, 0, &reduce), ERR_INVALID,
               "0 buckets");
    EXPECT_ERR(
        comm_reduce_open(groups[0], COMM_REDUCE_TREE, elems, COMM_REDUCE_BUCKETS_MAX + 1, &reduce),
        ERR_INVALID, "1025 buckets");
    EXPECT_ERR(comm_reduce_open(groups[0], COMM_REDUCE_LIBRARY, elems, 1, &reduce), ERR_INVALID,
               "threads have no sum");
    elems[0] = -1;
    EXPECT_ERR(comm_reduce_open(groups[0], COMM_REDUCE_TREE, elems, 1, &reduce), ERR_INVALID,
               "bucket of -1");
    elems[0] = (1 << 28) + 1;
    EXPECT_ERR(comm_reduce_open(groups[0], COMM_REDUCE_TREE, elems, 1, &reduce), ERR_INVALID,
               "bucket of 268435457");
    comm_reduce_close(NULL);
    comm_close(groups[0]);
    comm_close(groups[1]);
    comm_local_close(local);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_reduce");
    TCase *tcase = tcase_create("comm_reduce");

    tcase_add_test(tcase, tree__gives_the_same_bits_for_1_2_4_and_8_ranks);
    tcase_add_loop_test(tcase,
                        tree__is_the_same_on_all_ranks_and_in_every_run_with_any_number_of_ranks, 1,
                        RANKS_MAX + 1);
    tcase_add_loop_test(tcase, start__can_be_called_again_after_each_wait, 1, RANKS_MAX + 1);
    tcase_add_test(tcase, open__refuses_what_cannot_be_summed);
    suite_add_tcase(suite, tcase);
    return suite;
}
