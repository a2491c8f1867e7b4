/* Unit tests of launch/drill/drill_fault.h. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <string.h>

#include "launch/drill/drill_fault.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

static const struct {
    enum drill_action action;
    const char *text, *again, *name;
    struct drill_fault fault;
} good[] = {
    {DRILL_KILL,
     "rank=3@step=120",
     "--kill rank=3@step=120",
     "kill-rank-3-step-120",
     {DRILL_KILL, DRILL_RANK, 3, 120, FAULT_POINT_COUNT, -1, 0, 0}},
    {DRILL_KILL,
     "rank=0@step=1",
     "--kill rank=0@step=1",
     "kill-rank-0-step-1",
     {DRILL_KILL, DRILL_RANK, 0, 1, FAULT_POINT_COUNT, -1, 0, 0}},
    {DRILL_KILL,
     "node=1@point=snap.before_encode",
     "--kill node=1@point=snap.before_encode",
     "kill-node-1-snap.before_encode",
     {DRILL_KILL, DRILL_NODE, 1, 0, FAULT_SNAP_BEFORE_ENCODE, -1, 1, 0}},
    {DRILL_KILL,
     "keeper=2@point=keeper.write#7",
     "--kill keeper=2@point=keeper.write#7",
     "kill-keeper-2-keeper.write-7",
     {DRILL_KILL, DRILL_KEEPER, 2, 0, FAULT_KEEPER_WRITE, -1, 7, 0}},
    {DRILL_STOP,
     "rank=1@point=snap.tile#3+250",
     "--stop rank=1@point=snap.tile#3+250",
     "stop-rank-1-snap.tile-3+250",
     {DRILL_STOP, DRILL_RANK, 1, 0, FAULT_SNAP_TILE, -1, 3, 250}},
    {DRILL_KILL,
     "rank=1@point=snap.tile+9",
     "--kill rank=1@point=snap.tile+9",
     "kill-rank-1-snap.tile+9",
     {DRILL_KILL, DRILL_RANK, 1, 0, FAULT_SNAP_TILE, -1, 1, 9}},
    {DRILL_KILL,
     "node=1@point=snap.rows_made@rank=2#8",
     "--kill node=1@point=snap.rows_made@rank=2#8",
     "kill-node-1-snap.rows_made-rank-2-8",
     {DRILL_KILL, DRILL_NODE, 1, 0, FAULT_SNAP_ROWS_MADE, 2, 8, 0}},
    {DRILL_FILL_DISK,
     "step=40",
     "--fill-disk step=40",
     "fill-disk-step-40",
     {DRILL_FILL_DISK, DRILL_RUN, 0, 40, FAULT_POINT_COUNT, -1, 0, 0}},
    {DRILL_DROP_KEEPER,
     "node=65535@step=1000000",
     "--drop-keeper node=65535@step=1000000",
     "drop-keeper-node-65535-step-1000000",
     {DRILL_DROP_KEEPER, DRILL_NODE, 65535, 1000000, FAULT_POINT_COUNT, -1, 0, 0}},
};

START_TEST(parse__reads_what_happens_to_whom_and_when)
{
    char text[DRILL_FAULT_BYTES];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const struct drill_fault *wanted = &good[i].fault;
        struct drill_fault fault;
        EXPECT_OK(drill_fault_parse(good[i].action, good[i].text, &fault));
        ck_assert_int_eq(fault.action, wanted->action);
        ck_assert_int_eq(fault.victim, wanted->victim);
        ck_assert_int_eq(fault.number, wanted->number);
        ck_assert_int_eq(fault.step, wanted->step);
        ck_assert_int_eq(fault.point, wanted->point);
        ck_assert_int_eq(fault.met_by, wanted->met_by);
        ck_assert_int_eq(fault.hit, wanted->hit);
        ck_assert_int_eq(fault.after_ms, wanted->after_ms);
        drill_fault_text(&fault, text);
        ck_assert_str_eq(text, good[i].again);
        drill_fault_name(&fault, text);
        ck_assert_str_eq(text, good[i].name);
    }
}
END_TEST

START_TEST(parse__refuses_what_is_no_fault_and_says_what_is)
{
    static const struct {
        enum drill_action action;
        const char *text, *says;
    } cases[] = {
        {DRILL_KILL, "", "rank|node|keeper=N@step=S|point=P[@rank=R][#HIT][+MS] is expected"},
        {DRILL_KILL, "step=5", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=0", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=-1", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=5 ", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=5x", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=3@step=99999999999", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=@step=5", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=65536@step=5", "rank|node|keeper=N"},
        {DRILL_KILL, "node=0@step=5", "rank|node|keeper=N"},
        {DRILL_KILL, "host=1@step=5", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=1@time=5", "rank|node|keeper=N"},
        {DRILL_KILL, "rank=1@point=no.such", "no fault point is named no.such"},
        {DRILL_KILL, "rank=1@point=", "no fault point is named"},
        {DRILL_KILL, "rank=1@point=snap.copy#", "behind #"},
        {DRILL_KILL, "rank=1@point=snap.copy#0", "behind #"},
        {DRILL_KILL, "rank=1@point=snap.copy#x", "behind #"},
        {DRILL_KILL, "rank=1@point=snap.copy@", "rank=R is expected"},
        {DRILL_KILL, "rank=1@point=snap.copy@rank=", "the number of a rank"},
        {DRILL_KILL, "rank=1@point=snap.copy@rank=1@rank=2", "the number of a rank"},
        {DRILL_KILL, "rank=1@point=snap.copy@node=1", "rank=R is expected"},
        {DRILL_KILL, "rank=1@point=snap.copy+", "behind +"},
        {DRILL_KILL, "rank=1@point=snap.copy+x", "behind +"},
        {DRILL_KILL, "rank=1@point=snap.copy+30001", "behind +"},
        {DRILL_KILL, "rank=1@point=snap.copy+3#1", "behind +"},
        {DRILL_STOP, "node=1@step=5", "--stop node=1@step=5: rank=N"},
        {DRILL_CORRUPT, "rank=1@step=5", "--corrupt rank=1@step=5: node=N"},
        {DRILL_TERM, "rank=1@step=5", "--term rank=1@step=5: step=S is expected"},
        {DRILL_TERM, "point=snap.copy", "--term point=snap.copy: step=S is expected"},
        {DRILL_ORPHAN, "rank=1@point=snap.copy", "rank=N@step=S is expected"},
    };
    struct drill_fault fault;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EXPECT_ERR(drill_fault_parse(cases[i].action, cases[i].text, &fault), ERR_USAGE,
                   cases[i].says);
    }
}
END_TEST

START_TEST(actions__all_have_a_name_and_say_what_they_do)
{
    for (int a = 0; a < DRILL_ACTIONS; a++) {
        ck_assert(drill_action_name((enum drill_action)a)[0] != '\0');
        ck_assert(drill_action_help((enum drill_action)a)[0] != '\0');
        ck_assert(drill_action_form((enum drill_action)a)[0] != '\0');
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("drill_fault");
    TCase *tcase = tcase_create("drill_fault");

    tcase_add_test(tcase, parse__reads_what_happens_to_whom_and_when);
    tcase_add_test(tcase, parse__refuses_what_is_no_fault_and_says_what_is);
    tcase_add_test(tcase, actions__all_have_a_name_and_say_what_they_do);
    suite_add_tcase(suite, tcase);
    return suite;
}
