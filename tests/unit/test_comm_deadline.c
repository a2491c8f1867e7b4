/* Unit tests of comm/group over threads, where a rank comes late, never, or not whole. */
#include <check.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/step/step_sum.h"

enum { DEADLINE_MS = 150, PATIENCE_MS = 20000, ELEMS = 11 };

/* comm_reduce_close() and step_sum_close() leave what a late message may be written to. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:memory_open\n";
}

/* What each rank but the last meets: it waits its time, and from then on not at all. */
static enum err expect_broken(struct comm_group *group, enum err status, int64_t start_ms)
{
    int64_t max = 0;
    uint8_t byte = 0;

    if (status != ERR_TIMEOUT) {
        return ERR_FAIL(ERR_CORRUPT, "status %d where a deadline passed", status);
    }
    const int64_t took_ms = clock_now_ms() - start_ms;
    if (took_ms < DEADLINE_MS || took_ms > PATIENCE_MS) {
        return ERR_FAIL(ERR_CORRUPT, "waited %d ms", (int)took_ms);
    }
    const int64_t again_ms = clock_now_ms();
    if (comm_agree_max(group, 0, PATIENCE_MS, &max) != ERR_COLLECTIVE ||
        comm_broadcast(group, &byte, 1, 0, PATIENCE_MS) != ERR_COLLECTIVE ||
        comm_allgather(group, &byte, 0, PATIENCE_MS) != ERR_COLLECTIVE) {
        return ERR_FAIL(ERR_CORRUPT, "a broken group was used again");
    }
    if (clock_now_ms() - again_ms >= PATIENCE_MS) {
        return ERR_FAIL(ERR_CORRUPT, "a broken group was waited for");
    }
    return ERR_OK;
}

static enum err agree_without_the_last(struct comm_group *group, void *context)
{
    const int64_t start_ms = clock_now_ms();
    int64_t max = 7;

    (void)context;
    if (comm_rank(group) == comm_size(group) - 1) {
        return ERR_OK;
    }
    const enum err status = comm_agree_max(group, 1, DEADLINE_MS, &max);
    if (max != 7) {
        return ERR_FAIL(ERR_CORRUPT, "a result was written");
    }
    return expect_broken(group, status, start_ms);
}

START_TEST(agree_max__times_out_and_breaks_the_group_when_a_rank_never_comes)
{
    local_ranks_run(_i, agree_without_the_last, NULL);
}
END_TEST

static enum err sum_without_the_last(struct comm_group *group, void *context)
{
    static const int64_t elems[] = {ELEMS, ELEMS};
    const int64_t start_ms = clock_now_ms();
    float values[2][ELEMS] = {{0}};
    struct comm_reduce *reduce = NULL;

    (void)context;
    ERR_TRY(comm_reduce_open(group, COMM_REDUCE_TREE, elems, 2, &reduce));
    if (comm_rank(group) == comm_size(group) - 1) {
        comm_reduce_close(reduce);
        return ERR_OK;
    }
    ERR_TRY(comm_reduce_start(reduce, 1, values[1]));
    ERR_TRY(expect_broken(group, comm_reduce_wait(reduce, DEADLINE_MS), start_ms));
    if (comm_reduce_start(reduce, 0, values[0]) != ERR_COLLECTIVE) {
        return ERR_FAIL(ERR_CORRUPT, "a sum was started on a broken group");
    }
    comm_reduce_close(reduce);
    return ERR_OK;
}

START_TEST(reduce_wait__times_out_and_breaks_the_group_when_a_rank_never_comes)
{
    local_ranks_run(_i, sum_without_the_last, NULL);
}
END_TEST

static enum err agree_late(struct comm_group *group, void *context)
{
    int64_t max = 0;

    (void)context;
    if (comm_rank(group) == 1) {
        clock_nap_us(100000);
    }
    ERR_TRY(comm_agree_max(group, comm_rank(group), PATIENCE_MS, &max));
    return max == comm_size(group) - 1 ? ERR_OK : ERR_FAIL(ERR_CORRUPT, "%d", (int)max);
}

START_TEST(agree_max__waits_for_a_late_rank_within_the_deadline)
{
    local_ranks_run(3, agree_late, NULL);
}
END_TEST

/* One leaf; the bucket that comes first is under way when the second is announced. */
static enum err sum_leaf(struct comm_group *group, void *context)
{
    static const int64_t elems[] = {ELEMS, ELEMS};
    struct kern_ops ops;
    struct step_sum *sum = NULL;
    const float *vector = NULL;
    bool accumulate = true;

    (void)context;
    ERR_TRY(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    ERR_TRY(step_sum_open(group, COMM_REDUCE_TREE, &ops, elems, 2, 1, &sum));
    float *const to = step_sum_begin_leaf(sum, &accumulate);
    for (int i = 0; i < 2 * ELEMS; i++) {
        to[i] = 1;
    }
    enum err status = step_sum_ready(sum, 1);
    if (status == ERR_OK) {
        status = step_sum_ready(sum, 0);
    }
    if (status == ERR_OK) {
        status = step_sum_end_leaf(sum);
    }
    if (status == ERR_OK) {
        status = step_sum_finish(sum, DEADLINE_MS, &vector);
    }
    step_sum_close(sum);
    return status;
}

#ifdef OFFRAMP_FAULTS
START_TEST(step_sum__can_be_closed_when_a_bucket_is_left_under_way)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    /* Three of the four announcements succeed: the rank of the fourth gives up alone. */
    EXPECT_OK(fault_arm("comm.reduce@0#4=fail", 0));
    local_ranks_try(2, sum_leaf, NULL, ranks);
    const int failed = ranks[0].status == ERR_COLLECTIVE ? 0 : 1;
    ck_assert_int_eq(ranks[failed].status, ERR_COLLECTIVE);
    ck_assert_ptr_nonnull(strstr(ranks[failed].text, "injected at comm.reduce"));
    ck_assert_int_eq(ranks[1 - failed].status, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(ranks[1 - failed].text, "waited 150 ms in vain, 1 buckets open"));
    EXPECT_OK(fault_arm(NULL, 0));
    local_ranks_run(2, sum_leaf, NULL);
}
END_TEST
#endif

Suite *test_suite(void)
{
    Suite *suite = suite_create("comm_deadline");
    TCase *tcase = tcase_create("comm_deadline");

    tcase_add_loop_test(tcase, agree_max__times_out_and_breaks_the_group_when_a_rank_never_comes, 2,
                        5);
    tcase_add_loop_test(tcase, reduce_wait__times_out_and_breaks_the_group_when_a_rank_never_comes,
                        2, 5);
    tcase_add_test(tcase, agree_max__waits_for_a_late_rank_within_the_deadline);
#ifdef OFFRAMP_FAULTS
    tcase_add_test(tcase, step_sum__can_be_closed_when_a_bucket_is_left_under_way);
#else
    (void)sum_leaf;
#endif
    suite_add_tcase(suite, tcase);
    return suite;
}
