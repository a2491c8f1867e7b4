/* Unit tests of snapshot/snap_slot.h: every transition of one slot, every case of reuse. */
#include <check.h>

#include "snapshot/snap_slot.h"
#include "tests/support/test_suite.h"

START_TEST(may_become__is_the_drawing)
{
    static const char *const drawing[SNAP_STATES] = {
        /* to EMPTY COPYING SEALED ENCODED COMMITTED */
        [SNAP_EMPTY] = "01000",   [SNAP_COPYING] = "10100",   [SNAP_SEALED] = "10010",
        [SNAP_ENCODED] = "10001", [SNAP_COMMITTED] = "11000",
    };

    for (int from = 0; from < SNAP_STATES; from++) {
        for (int to = 0; to < SNAP_STATES; to++) {
            ck_assert_int_eq(snap_state_may_become((enum snap_state)from, (enum snap_state)to),
                             drawing[from][to] == '1');
        }
    }
    ck_assert_str_eq(snap_state_name(SNAP_ENCODED), "ENCODED");
}
END_TEST

/* All pairs of states, versions 1 and 2 in both orders: when may version 3 begin, and where. */
START_TEST(free__is_an_empty_slot_or_the_older_of_two_committed_ones)
{
    for (int a = 0; a < SNAP_STATES; a++) {
        for (int b = 0; b < SNAP_STATES; b++) {
            for (uint64_t older = 0; older < 2; older++) {
                const struct snap_slots slots = {
                    {{(enum snap_state)a, a == SNAP_EMPTY ? 0 : 1 + older},
                     {(enum snap_state)b, b == SNAP_EMPTY ? 0 : 2 - older}}};
                const int expected = a == SNAP_EMPTY                              ? 0
                                     : b == SNAP_EMPTY                            ? 1
                                     : a != SNAP_COMMITTED || b != SNAP_COMMITTED ? SNAP_NO_SLOT
                                     : older == 0                                 ? 0
                                                                                  : 1;
                ck_assert_int_eq(snap_slots_free(&slots, 3), expected);
            }
        }
    }
}
END_TEST

/* All pairs again: there is room always, and what is COMMITTED stays, the newer of two. */
START_TEST(clear__makes_room_and_leaves_what_is_committed)
{
    for (int a = 0; a < SNAP_STATES; a++) {
        for (int b = 0; b < SNAP_STATES; b++) {
            for (uint64_t older = 0; older < 2; older++) {
                const struct snap_slots before = {
                    {{(enum snap_state)a, a == SNAP_EMPTY ? 0 : 1 + older},
                     {(enum snap_state)b, b == SNAP_EMPTY ? 0 : 2 - older}}};
                struct snap_slots slots = before;
                const int at = snap_slots_clear(&slots, 3);
                const struct snap_slot *gone = &before.slots[at], *left = &before.slots[1 - at];
                ck_assert(at == 0 || at == 1);
                ck_assert_int_eq(slots.slots[1 - at].state, left->state);
                ck_assert_uint_eq(slots.slots[1 - at].version, left->version);
                ck_assert(gone->state != SNAP_COMMITTED ||
                          (left->state == SNAP_COMMITTED && left->version > gone->version));
                ck_assert(gone->state == SNAP_EMPTY || left->state == SNAP_COMMITTED ||
                          left->version > gone->version);
                snap_slots_begin(&slots, at, 3);
                ck_assert_int_eq(snap_slots_find(&slots, 3), at);
            }
        }
    }
}
END_TEST

START_TEST(free__is_none_for_a_version_that_is_not_newer)
{
    const struct snap_slots slots = {{{SNAP_COMMITTED, 5}, {SNAP_EMPTY, 0}}};

    ck_assert_int_eq(snap_slots_free(&slots, 4), SNAP_NO_SLOT);
    ck_assert_int_eq(snap_slots_free(&slots, 5), SNAP_NO_SLOT);
    ck_assert_int_eq(snap_slots_free(&slots, 6), 1);
}
END_TEST

START_TEST(slots__live_through_three_versions_and_an_abort)
{
    struct snap_slots slots = {0};

    ck_assert_uint_eq(snap_slots_newest(&slots, SNAP_EMPTY), 0);
    for (uint64_t version = 10; version <= 30; version += 10) {
        const int slot = snap_slots_free(&slots, version);
        snap_slots_begin(&slots, slot, version);
        ck_assert_int_eq(snap_slots_find(&slots, version), slot);
        ck_assert_int_eq(snap_slots_free(&slots, version + 10) == SNAP_NO_SLOT, version > 10);
        snap_slots_copied(&slots, slot);
        snap_slots_commit(&slots, version); /* not ENCODED: nothing happens */
        ck_assert_uint_eq(snap_slots_newest(&slots, SNAP_COMMITTED),
                          version - 10 < 10 ? 0 : version - 10);
        snap_slots_encoded(&slots, slot);
        snap_slots_commit(&slots, version + 1); /* unknown: nothing happens */
        ck_assert_uint_eq(snap_slots_newest(&slots, SNAP_ENCODED), version);
        snap_slots_commit(&slots, version);
        ck_assert_uint_eq(snap_slots_newest(&slots, SNAP_COMMITTED), version);
    }
    ck_assert_int_eq(snap_slots_find(&slots, 10), SNAP_NO_SLOT); /* 30 took its place */
    ck_assert_int_ne(snap_slots_find(&slots, 20), SNAP_NO_SLOT);
    const int slot = snap_slots_free(&slots, 40);
    snap_slots_begin(&slots, slot, 40);
    snap_slots_abort(&slots, slot);
    ck_assert_uint_eq(snap_slots_newest(&slots, SNAP_COPYING), 30);
    ck_assert_int_eq(snap_slots_free(&slots, 41), slot);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_slot");
    TCase *tcase = tcase_create("snap_slot");

    tcase_add_test(tcase, may_become__is_the_drawing);
    tcase_add_test(tcase, free__is_an_empty_slot_or_the_older_of_two_committed_ones);
    tcase_add_test(tcase, clear__makes_room_and_leaves_what_is_committed);
    tcase_add_test(tcase, free__is_none_for_a_version_that_is_not_newer);
    tcase_add_test(tcase, slots__live_through_three_versions_and_an_abort);
    suite_add_tcase(suite, tcase);
    return suite;
}
