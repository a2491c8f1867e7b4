/* Unit tests of snapshot/snap_recover.h: which losses leave a version, counted by brute force. */
#include <check.h>
#include <string.h>

#include "snapshot/snap_recover.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { RANKS = 6 };

static struct snap_layout *layout;
static struct snap_holding holdings[RANKS][SNAP_SLOTS];

static struct snap_inventory inventory(void)
{
    return (struct snap_inventory){layout, (const struct snap_holding(*)[SNAP_SLOTS])holdings};
}

/* 4 + 2 over six nodes, or two groups of 2 + 1; all COMMITTED 10 and ENCODED 20, all good. */
static void open_job(int k, int m)
{
    struct snap_place places[RANKS];

    for (uint32_t r = 0; r < RANKS; r++) {
        places[r] = (struct snap_place){r, r, 0};
    }
    const struct snap_terms terms = {RANKS, k, m, 5000, 0, places};
    EXPECT_OK(snap_layout_open(&terms, &layout));
    for (int r = 0; r < RANKS; r++) {
        holdings[r][0] = (struct snap_holding){{SNAP_COMMITTED, 10}, UINT64_MAX, UINT64_MAX};
        holdings[r][1] = (struct snap_holding){{SNAP_ENCODED, 20}, UINT64_MAX, UINT64_MAX};
    }
}

static void tear_down(void)
{
    snap_layout_close(layout);
    layout = NULL;
}

static uint64_t choose(void)
{
    const struct snap_inventory all = inventory();

    return snap_recover_choose(&all, NULL, 0);
}

static void lose(int rank)
{
    memset(holdings[rank], 0, sizeof(holdings[rank]));
}

START_TEST(choose__finds_a_version_exactly_while_no_group_lost_more_than_m)
{
    static const struct {
        int k, m;
    } codes[] = {{4, 2}, {2, 1}};

    for (unsigned lost = 0; lost < 1u << RANKS; lost++) {
        int in_group[RANKS] = {0};
        bool is_too_many = false;
        open_job(codes[_i].k, codes[_i].m);
        for (int r = 0; r < RANKS; r++) {
            if ((lost >> r & 1) != 0) {
                lose(r);
                is_too_many = ++in_group[layout->members[r].group] > codes[_i].m || is_too_many;
            }
        }
        ck_assert_uint_eq(choose(), is_too_many ? 0 : 20);
        tear_down();
    }
}
END_TEST

START_TEST(choose__steps_back_when_the_newest_was_not_encoded_and_is_not_whole)
{
    open_job(4, 2);
    holdings[3][1].slot.state = SNAP_COPYING;
    ck_assert_uint_eq(choose(), 20); /* parity gives its slice */
    holdings[0][1].slot.state = holdings[1][1].slot.state = SNAP_COPYING;
    ck_assert_uint_eq(choose(), 10);
}
END_TEST

START_TEST(choose__takes_slices_that_are_sealed_everywhere)
{
    open_job(4, 2);
    for (int r = 0; r < RANKS; r++) {
        holdings[r][1].slot.state = SNAP_SEALED;
    }
    ck_assert_uint_eq(choose(), 20);
    holdings[5][1].slot.state = SNAP_COPYING;
    ck_assert_uint_eq(choose(), 10); /* there is no parity of 20 yet */
}
END_TEST

START_TEST(choose__passes_over_what_is_set_aside)
{
    static const uint64_t set_aside[] = {20, 10};

    open_job(2, 1);
    const struct snap_inventory all = inventory();
    ck_assert_uint_eq(snap_recover_choose(&all, set_aside, 1), 10);
    ck_assert_uint_eq(snap_recover_choose(&all, set_aside, 2), 0);
}
END_TEST

START_TEST(rows__count_bad_segments_as_lost_ones)
{
    int given[SNAP_ROWS_MAX], wanted[SNAP_ROWS_MAX];

    open_job(4, 2);
    const struct snap_inventory all = inventory();
    const struct snap_group *group = &layout->groups[0];
    const struct snap_piece data = snap_layout_piece(group, 2, 1);
    const struct snap_piece parity = snap_layout_piece(group, 2, 5);
    holdings[data.rank][1].good_data &= ~((uint64_t)1 << data.segment);
    holdings[parity.rank][1].good_parity &= ~((uint64_t)1 << parity.segment);
    ck_assert_int_eq(snap_recover_rows(&all, 20, 0, 2, given, wanted), 2);
    ck_assert_int_eq(wanted[0], 1);
    ck_assert_int_eq(wanted[1], 5);
    static const int kept[] = {0, 2, 3, 4};
    ck_assert_mem_eq(given, kept, sizeof(kept));
    for (int stripe = 0; stripe < 6; stripe++) {
        ck_assert_int_eq(snap_recover_rows(&all, 20, 0, stripe, given, wanted),
                         stripe == 2 ? 2 : 0);
    }
    ck_assert_uint_eq(choose(), 20);
    const struct snap_piece third = snap_layout_piece(group, 2, 0);
    holdings[third.rank][1].good_data &= ~((uint64_t)1 << third.segment);
    ck_assert_int_eq(snap_recover_rows(&all, 20, 0, 2, given, wanted), -1);
    ck_assert_uint_eq(choose(), 10);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_recover");
    TCase *tcase = tcase_create("snap_recover");

    tcase_add_checked_fixture(tcase, NULL, tear_down);
    tcase_add_loop_test(tcase, choose__finds_a_version_exactly_while_no_group_lost_more_than_m, 0,
                        2);
    tcase_add_test(tcase, choose__steps_back_when_the_newest_was_not_encoded_and_is_not_whole);
    tcase_add_test(tcase, choose__takes_slices_that_are_sealed_everywhere);
    tcase_add_test(tcase, choose__passes_over_what_is_set_aside);
    tcase_add_test(tcase, rows__count_bad_segments_as_lost_ones);
    suite_add_tcase(suite, tcase);
    return suite;
}
