/* Unit tests of snapshot/snap_layout.h: what every layout must be, over many shapes of jobs. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_layout.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = 512 };

static struct snap_place places[RANKS_MAX];
static struct snap_layout *layout;

static void tear_down(void)
{
    snap_layout_close(layout);
    layout = NULL;
}

/* `nodes` nodes of `local` ranks each, in domains of `per_domain` nodes. */
static struct snap_terms job(int nodes, int local, int per_domain, int k, int m)
{
    for (int r = 0; r < nodes * local; r++) {
        const uint32_t node = (uint32_t)(r / local);
        places[r] = (struct snap_place){node, node / (uint32_t)per_domain, (uint64_t)(r % 7 * 100)};
    }
    return (struct snap_terms){.rank_count = nodes * local,
                               .data_count = k,
                               .parity_count = m,
                               .replicated_bytes = 1000003,
                               .places = places};
}

static void check_slices(void)
{
    uint64_t at = 0;

    for (int r = 0; r < layout->rank_count; r++) {
        const struct snap_member *member = &layout->members[r];
        ck_assert_uint_eq(member->replicated_at, at);
        ck_assert_uint_eq(member->bytes, member->replicated_bytes + places[r].private_bytes);
        ck_assert_uint_le(member->bytes, snap_layout_data_bytes(layout, r));
        at += member->replicated_bytes;
    }
    ck_assert_uint_eq(at, layout->replicated_bytes);
}

/* Every rank is in one group at its index; members of a group are on different nodes. */
static void check_groups(void)
{
    static int seen[RANKS_MAX];

    memset(seen, 0, sizeof(seen));
    for (int g = 0; g < layout->group_count; g++) {
        const struct snap_group *group = &layout->groups[g];
        ck_assert_int_eq(group->data_count + group->parity_count, group->member_count);
        ck_assert_int_ge(group->data_count, 1);
        ck_assert_uint_eq(group->segment_bytes % SNAP_SEGMENT_ALIGN_BYTES, 0);
        for (int i = 0; i < group->member_count; i++) {
            const int rank = group->members[i];
            seen[rank]++;
            ck_assert_int_eq(layout->members[rank].group, g);
            ck_assert_int_eq(layout->members[rank].index, i);
            for (int j = 0; j < i && layout->node_count > 1; j++) {
                ck_assert_uint_ne(places[rank].node, places[group->members[j]].node);
            }
        }
    }
    for (int r = 0; r < layout->rank_count; r++) {
        ck_assert_int_eq(seen[r], 1);
    }
}

/* Every segment of every member is in one stripe, and a stripe has one row of each member. */
static void check_stripes(void)
{
    for (int g = 0; g < layout->group_count; g++) {
        const struct snap_group *group = &layout->groups[g];
        const int n = group->member_count;
        static int data[RANKS_MAX][SNAP_ROWS_MAX], parity[RANKS_MAX][SNAP_ROWS_MAX];
        memset(data, 0, sizeof(data));
        memset(parity, 0, sizeof(parity));
        for (int stripe = 0; stripe < n; stripe++) {
            uint64_t members = 0;
            for (int row = 0; row < n; row++) {
                const struct snap_piece piece = snap_layout_piece(group, stripe, row);
                const int index = layout->members[piece.rank].index;
                ck_assert_int_eq(layout->members[piece.rank].group, g);
                ck_assert_int_eq(piece.is_parity, row >= group->data_count);
                members |= (uint64_t)1 << index;
                (piece.is_parity ? parity : data)[index][piece.segment]++;
            }
            ck_assert_uint_eq(members, n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1);
        }
        for (int i = 0; i < n; i++) {
            for (int s = 0; s < group->data_count; s++) {
                ck_assert_int_eq(data[i][s], 1);
            }
            for (int s = 0; s < group->parity_count; s++) {
                ck_assert_int_eq(parity[i][s], 1);
            }
        }
    }
}

static void check_written(void)
{
    struct snap_layout *again = NULL;

    EXPECT_OK(snap_layout_read(layout->bytes, layout->byte_count, &again));
    ck_assert_mem_eq(&again->hash, &layout->hash, sizeof(again->hash));
    ck_assert_int_eq(again->group_count, layout->group_count);
    ck_assert_mem_eq(again->group_members, layout->group_members,
                     (size_t)layout->rank_count * sizeof(int));
    snap_layout_close(again);
}

START_TEST(layout__covers_everything_once_for_any_job)
{
    static const int node_counts[] = {1, 2, 3, 4, 5, 6, 7, 11, 12, 64, 65, 100};

    for (size_t i = 0; i < sizeof(node_counts) / sizeof(node_counts[0]); i++) {
        for (int local = 1; local <= 4; local += 3) {
            const struct snap_terms terms = job(node_counts[i], local, 3, 0, 0);
            EXPECT_OK(snap_layout_open(&terms, &layout));
            ck_assert_int_eq(layout->node_count, node_counts[i]);
            check_slices();
            check_groups();
            check_stripes();
            check_written();
            tear_down();
        }
    }
}
END_TEST

START_TEST(layout__takes_nodes_with_different_numbers_of_ranks)
{
    struct snap_terms terms = job(4, 1, 1, 0, 1);

    terms.data_count = 2;
    for (int r = 0; r < 7; r++) { /* 1, 2, 2, 2 ranks */
        places[r].node = places[r].domain = (uint32_t)((r + 1) / 2);
        places[r].private_bytes = 0;
    }
    terms.rank_count = 7;
    EXPECT_OK(snap_layout_open(&terms, &layout));
    check_slices();
    check_groups();
    check_stripes();
    ck_assert_int_eq(snap_layout_guarantee(layout).nodes, 1);
}
END_TEST

START_TEST(layout__chooses_the_code_by_the_number_of_nodes)
{
    static const struct {
        int nodes, n, m;
    } chosen[] = {{1, 1, 0}, {2, 2, 1}, {3, 3, 1},  {4, 4, 2},
                  {5, 5, 2}, {6, 6, 2}, {64, 6, 2}, {80, 10, 2}};

    for (size_t i = 0; i < sizeof(chosen) / sizeof(chosen[0]); i++) {
        const struct snap_terms terms = job(chosen[i].nodes, 1, 1, 0, 0);
        EXPECT_OK(snap_layout_open(&terms, &layout));
        for (int g = 0; g < layout->group_count; g++) {
            ck_assert_int_eq(layout->groups[g].parity_count, chosen[i].m);
            ck_assert_int_ge(layout->groups[g].member_count, chosen[i].n);
        }
        tear_down();
    }
}
END_TEST

START_TEST(layout__keeps_domains_apart_where_that_is_possible)
{
    char text[128];
    const struct snap_terms spread = job(12, 2, 2, 4, 2); /* 6 racks of 2, groups of 6 */

    EXPECT_OK(snap_layout_open(&spread, &layout));
    ck_assert_int_eq(layout->group_count, 4);
    ck_assert_int_eq(snap_layout_guarantee(layout).nodes, 2);
    ck_assert_int_eq(snap_layout_guarantee(layout).domains, 2);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_str_eq(text, "any 2 of 12 nodes; any 2 of 6 domains");
    tear_down();
    const struct snap_terms crowded = job(6, 1, 2, 4, 2); /* 3 racks of 2 in one group */
    EXPECT_OK(snap_layout_open(&crowded, &layout));
    ck_assert_int_eq(snap_layout_guarantee(layout).domains, 1);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_str_eq(text, "any 2 of 6 nodes; any 1 of 3 domains");
    tear_down();
    const struct snap_terms one = job(4, 1, 4, 2, 2); /* all in one rack */
    EXPECT_OK(snap_layout_open(&one, &layout));
    ck_assert_int_eq(snap_layout_guarantee(layout).domains, 0);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_str_eq(text, "any 2 of 4 nodes; no whole domain");
    tear_down();
    const struct snap_terms unknown = job(4, 1, 1, 2, 2); /* each node a domain */
    EXPECT_OK(snap_layout_open(&unknown, &layout));
    ck_assert_int_eq(snap_layout_guarantee(layout).domains, 2);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_str_eq(text, "any 2 of 4 nodes");
    tear_down();
    job(4, 1, 1, 1, 3);
    places[1].domain = places[0].domain; /* racks of 2, 1 and 1: the largest two have three */
    const struct snap_terms uneven = {
        .rank_count = 4, .data_count = 1, .parity_count = 3, .places = places};
    EXPECT_OK(snap_layout_open(&uneven, &layout));
    ck_assert_int_eq(snap_layout_guarantee(layout).domains, 2);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_str_eq(text, "any 3 of 4 nodes; any 2 of 3 domains");
    tear_down();
    const struct snap_terms alone = job(1, 4, 1, 0, 0);
    EXPECT_OK(snap_layout_open(&alone, &layout));
    ck_assert_int_eq(snap_layout_guarantee(layout).nodes, 0);
    snap_layout_describe(layout, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "all are on one node"));
}
END_TEST

START_TEST(open__refuses_terms_that_cannot_be_met)
{
    struct snap_terms terms = job(2, 2, 1, 2, 2);

    EXPECT_ERR(snap_layout_open(&terms, &layout), ERR_CONFIG, "2 parity members want a group of");
    terms = job(4, 1, 1, 0, 2);
    EXPECT_ERR(snap_layout_open(&terms, &layout), ERR_CONFIG, "0 data and 2 parity");
    terms = job(4, 1, 1, 60, 8);
    EXPECT_ERR(snap_layout_open(&terms, &layout), ERR_CONFIG, "60 data and 8 parity");
    terms = job(4, 1, 1, 2, 2);
    terms.rank_count = 0;
    EXPECT_ERR(snap_layout_open(&terms, &layout), ERR_CONFIG, "0 ranks");
    terms = job(4, 1, 1, 2, 2);
    places[2].private_bytes = UINT64_MAX;
    EXPECT_ERR(snap_layout_open(&terms, &layout), ERR_CONFIG, "more than");
    ck_assert_ptr_null(layout);
}
END_TEST

START_TEST(read__takes_what_was_written_and_nothing_else)
{
    const struct snap_terms terms = job(6, 2, 1, 4, 2);
    struct snap_layout *again = NULL;
    uint8_t bytes[SNAP_LAYOUT_HEAD_BYTES + 12 * SNAP_LAYOUT_RANK_BYTES + 1] = {0};

    EXPECT_OK(snap_layout_open(&terms, &layout));
    ck_assert_uint_eq(layout->byte_count, sizeof(bytes) - 1);
    memcpy(bytes, layout->bytes, layout->byte_count);
    for (size_t count = 0; count <= sizeof(bytes); count++) {
        if (count != layout->byte_count) {
            EXPECT_ERR(snap_layout_read(bytes, count, &again), ERR_CORRUPT, "layout");
        }
    }
    for (size_t at = 0; at < SNAP_LAYOUT_HEAD_BYTES; at++) {
        bytes[at] ^= 0x80; /* never the same layout; most are none */
        if (snap_layout_read(bytes, layout->byte_count, &again) == ERR_OK) {
            ck_assert(memcmp(&again->hash, &layout->hash, sizeof(again->hash)) != 0);
            snap_layout_close(again);
        } else {
            err_clear();
        }
        bytes[at] ^= 0x80;
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_layout");
    TCase *tcase = tcase_create("snap_layout");

    tcase_add_checked_fixture(tcase, NULL, tear_down);
    tcase_add_test(tcase, layout__covers_everything_once_for_any_job);
    tcase_add_test(tcase, layout__takes_nodes_with_different_numbers_of_ranks);
    tcase_add_test(tcase, layout__chooses_the_code_by_the_number_of_nodes);
    tcase_add_test(tcase, layout__keeps_domains_apart_where_that_is_possible);
    tcase_add_test(tcase, open__refuses_terms_that_cannot_be_met);
    tcase_add_test(tcase, read__takes_what_was_written_and_nothing_else);
    suite_add_tcase(suite, tcase);
    return suite;
}
