/* Unit tests of snapshot/snap_area.h and snap_format.h: what is written is found; damage is, too. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapshot/snap_area.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { RANKS = 4, MEMBER = 2, VERSION = 70 };

static struct temp_folder folder;
static struct snap_layout *layout;
static struct snap_area *area;
static char path[FILE_PATH_BYTES_MAX];
static struct snap_claim claim;

static void set_up(void)
{
    struct snap_place places[RANKS];

    temp_folder_open(&folder);
    claim = (struct snap_claim){.job_key = hash_bytes("area", 4), .owner = {.incarnation = 3}};
    for (uint32_t r = 0; r < RANKS; r++) {
        places[r] = (struct snap_place){r, r, 5000};
    }
    const struct snap_terms terms = {RANKS, 2, 2, 1200000, 0, places};
    EXPECT_OK(snap_layout_open(&terms, &layout));
    EXPECT_OK(snap_area_path(path, folder.path, layout->hash, MEMBER));
}

static void tear_down(void)
{
    snap_area_close(area);
    area = NULL;
    snap_layout_close(layout);
    temp_folder_close(&folder);
}

/* Fills a slot with a version, as the worker does, up to that state. */
static void fill(int slot, uint64_t version, enum snap_state state)
{
    const struct snap_rows rows = snap_area_rows(area, slot);
    const struct snap_map map = snap_map_of(layout, MEMBER);
    const int64_t tiles = snap_tile_count(&layout->groups[0]);
    struct snap_slots slots = *snap_area_slots(area);
    struct snap_slot_header header = {.incarnation = 3};
    uint8_t *const bytes[] = {rows.data, rows.parity};
    uint64_t *const hashes[] = {rows.data_hashes, rows.parity_hashes};

    snap_slots_begin(&slots, slot, version);
    header.state = slots.slots[slot];
    snap_area_set(area, slot, &header);
    for (int kind = 0; kind < 2; kind++) {
        bytes_from_seed(bytes[kind], kind == 0 ? map.data_bytes : map.parity_bytes,
                        version + (uint64_t)kind);
        for (int64_t t = 0; t < 2 * tiles; t++) {
            const uint64_t at = (uint64_t)(t % tiles) * SNAP_TILE_BYTES;
            hashes[kind][t] = snap_tile_hash(
                bytes[kind] + (uint64_t)(t / tiles) * layout->groups[0].segment_bytes + at,
                snap_tile_bytes(&layout->groups[0], t % tiles));
        }
    }
    EXPECT_OK(snap_data_root(version, layout, MEMBER, rows.data_hashes, map.data_tile_count,
                             &header.data_root));
    EXPECT_OK(snap_parity_root(version, layout, MEMBER, rows.parity_hashes, map.parity_tile_count,
                               &header.parity_root));
    while (slots.slots[slot].state < state) {
        slots.slots[slot].state++;
        header.state = slots.slots[slot];
        snap_area_set(area, slot, &header);
    }
}

static void reopen(void)
{
    snap_area_close(area);
    area = NULL;
    EXPECT_OK(snap_area_open(path, &claim, &area));
}

START_TEST(area__keeps_what_was_written_when_it_is_opened_again)
{
    struct snap_holding holding;

    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    ck_assert_int_eq(snap_area_slots(area)->slots[0].state, SNAP_EMPTY);
    fill(0, VERSION, SNAP_COMMITTED);
    fill(1, VERSION + 1, SNAP_SEALED);
    reopen();
    ck_assert_int_eq(snap_area_rank(area), MEMBER);
    ck_assert_mem_eq(&snap_area_layout(area)->hash, &layout->hash, sizeof(layout->hash));
    ck_assert_uint_eq(snap_area_header(area, 0)->incarnation, 3);
    EXPECT_OK(snap_area_verify(area, 0, &holding));
    ck_assert_int_eq(holding.slot.state, SNAP_COMMITTED);
    ck_assert_uint_eq(holding.slot.version, VERSION);
    ck_assert_uint_eq(holding.good_data, 3);
    ck_assert_uint_eq(holding.good_parity, 3);
    EXPECT_OK(snap_area_verify(area, 1, &holding));
    ck_assert_int_eq(holding.slot.state, SNAP_SEALED);
    ck_assert_uint_eq(holding.good_data, 3);
    ck_assert_uint_eq(holding.good_parity, 0); /* its parity is not there yet */
}
END_TEST

static void flip_byte(uint64_t at)
{
    uint8_t byte = 0;
    const int file = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(file, &byte, 1, (off_t)at), 1);
    close(file);
}

START_TEST(verify__finds_one_flipped_bit_in_any_part)
{
    struct snap_holding holding;

    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    const struct snap_map map = snap_map_of(layout, MEMBER);
    const struct {
        uint64_t at, good_data, good_parity;
    } flips[] = {
        {map.data_at[0], 2, 3},
        {map.data_at[0] + map.data_bytes - 1, 1, 3},
        {map.data_at[0] + map.data_bytes / 2, 1, 3},
        {map.parity_at[0] + 77, 3, 2},
        {map.parity_at[0] + map.parity_bytes - 1, 3, 1},
        {map.data_hashes_at[0] + 3, 0, 3},
        {map.parity_hashes_at[0] + 9, 3, 0},
        {map.data_at[1] + 5, 3, 3},
    };
    fill(0, VERSION, SNAP_COMMITTED);
    for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
        flip_byte(flips[i].at);
        EXPECT_OK(snap_area_verify(area, 0, &holding));
        ck_assert_uint_eq(holding.good_data, flips[i].good_data);
        ck_assert_uint_eq(holding.good_parity, flips[i].good_parity);
        flip_byte(flips[i].at);
    }
}
END_TEST

/* Every byte of the newer copy of a slot's header: the older one counts then. */
START_TEST(open__takes_the_older_header_where_the_newer_one_is_torn)
{
    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    fill(0, VERSION, SNAP_ENCODED); /* headers 1 .. 3: COPYING, SEALED, ENCODED */
    for (uint64_t byte = 0; byte < SNAP_SLOT_HEADER_BYTES; byte++) {
        const uint64_t at = SNAP_SLOT_HEADERS_AT + SNAP_SLOT_HEADER_STRIDE + byte;
        flip_byte(at);
        reopen();
        ck_assert_int_eq(snap_area_slots(area)->slots[0].state, SNAP_SEALED);
        flip_byte(at);
    }
    flip_byte(SNAP_SLOT_HEADERS_AT);
    flip_byte(SNAP_SLOT_HEADERS_AT + SNAP_SLOT_HEADER_STRIDE);
    reopen();
    ck_assert_int_eq(snap_area_slots(area)->slots[0].state, SNAP_EMPTY);
}
END_TEST

START_TEST(open__refuses_what_is_not_whole_or_of_another_job)
{
    struct snap_area *other = NULL;

    EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_MISSING, "member-");
    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_CONFIG, "is running");
    snap_area_close(area);
    area = NULL;
    const struct snap_claim foreign = {.job_key = hash_bytes("b", 1)};
    EXPECT_ERR(snap_area_open(path, &foreign, &other), ERR_CONFIG, "memory of another job");
    for (uint64_t at = 0; at < SNAP_FILE_HEADER_BYTES; at++) {
        flip_byte(at);
        EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_CORRUPT, "member-");
        flip_byte(at);
    }
    flip_byte(SNAP_TERMS_AT + 30);
    EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_CORRUPT, "layout");
    flip_byte(SNAP_TERMS_AT + 30);
    ck_assert_int_eq(truncate(path, 100000), 0);
    EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_CORRUPT, "bytes");
    ck_assert_int_eq(truncate(path, 100), 0);
    EXPECT_ERR(snap_area_open(path, &claim, &other), ERR_CORRUPT, "too short");
}
END_TEST

/* Two jobs were given one folder, and a supervisor told the second to end what is left of its own. */
START_TEST(open__leaves_a_process_of_another_job_alone_when_it_fences)
{
    const struct snap_claim foreign = {.job_key = hash_bytes("b", 1),
                                       .owner = {.incarnation = 9, .fences = true}};
    struct snap_area *other = NULL;
    int pipes[2], status = 0;
    char told = 0;

    ck_assert_int_eq(pipe(pipes), 0);
    const pid_t holder = fork();
    if (holder == 0) {
        told = snap_area_create(folder.path, layout, MEMBER, &claim, &area) == ERR_OK ? 1 : 0;
        (void)!write(pipes[1], &told, 1);
        pause();
        _exit(0);
    }
    ck_assert_int_eq(read(pipes[0], &told, 1), 1);
    ck_assert_int_eq(told, 1);
    EXPECT_ERR(snap_area_open(path, &foreign, &other), ERR_CONFIG,
               "memory of another job, which runs");
    ck_assert_int_eq(waitpid(holder, &status, WNOHANG), 0);
    ck_assert_int_eq(kill(holder, SIGKILL), 0);
    ck_assert_int_eq(waitpid(holder, &status, 0), holder);
    EXPECT_ERR(snap_area_open(path, &foreign, &other), ERR_CONFIG, "memory of another job");
}
END_TEST

START_TEST(peek__shows_what_its_owner_does_when_that_has_it_open)
{
    struct snap_area *seen = NULL;

    EXPECT_ERR(snap_area_peek(path, &seen), ERR_MISSING, "member-");
    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    fill(0, VERSION, SNAP_COMMITTED);
    EXPECT_OK(snap_area_peek(path, &seen));
    ck_assert(snap_area_is_in_use(seen));
    ck_assert_int_eq(snap_area_rank(seen), MEMBER);
    ck_assert_int_eq(snap_area_header(seen, 0)->state.state, SNAP_COMMITTED);
    const uint64_t sequence = snap_area_header(seen, 0)->sequence;
    fill(1, VERSION + 1, SNAP_COMMITTED);
    ck_assert_int_eq(snap_area_header(seen, 1)->state.state, SNAP_EMPTY);
    snap_area_look_again(seen);
    ck_assert_uint_eq(snap_area_header(seen, 0)->sequence, sequence);
    ck_assert_int_eq(snap_area_header(seen, 1)->state.state, SNAP_COMMITTED);
    fill(0, VERSION + 2, SNAP_COPYING);
    snap_area_look_again(seen);
    ck_assert_uint_gt(snap_area_header(seen, 0)->sequence, sequence);
    snap_area_close(seen);
    snap_area_close(area);
    area = NULL;
    EXPECT_OK(snap_area_peek(path, &seen));
    ck_assert(!snap_area_is_in_use(seen));
    snap_area_close(seen);
}
END_TEST

START_TEST(peek__neither_locks_nor_can_be_written_to)
{
    struct snap_area *seen = NULL;
    const int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(zeros, 0);
    EXPECT_OK(snap_area_create(folder.path, layout, MEMBER, &claim, &area));
    snap_area_close(area);
    area = NULL;
    EXPECT_OK(snap_area_peek(path, &seen));
    EXPECT_OK(snap_area_open(path, &claim, &area)); /* nobody holds it */
    ck_assert_int_eq(read(zeros, snap_area_rows(area, 0).data, 1), 1);
    ck_assert_int_eq(read(zeros, snap_area_rows(seen, 0).data, 1), -1);
    ck_assert_int_eq(errno, EFAULT);
    snap_area_close(seen);
    snap_area_close(area);
    area = NULL;
    flip_byte(20);
    EXPECT_ERR(snap_area_peek(path, &seen), ERR_CORRUPT, "checksum");
    close(zeros);
}
END_TEST

START_TEST(header__reads_back_and_refuses_impossible_states)
{
    const struct snap_slot_header header = {9, 1, {SNAP_ENCODED, 12}, 4, {1, 2}, {3, 4}, {5, 6}};
    struct snap_slot_header again;
    uint8_t bytes[SNAP_SLOT_HEADER_BYTES];

    snap_slot_header_write(&header, bytes);
    EXPECT_OK(snap_slot_header_read(bytes, &again));
    ck_assert_uint_eq(again.sequence, 9);
    ck_assert_int_eq(again.slot, 1);
    ck_assert_int_eq(again.state.state, SNAP_ENCODED);
    ck_assert_uint_eq(again.job_root.high, 6);
    const struct snap_slot_header wrong[] = {
        {1, 0, {SNAP_EMPTY, 3}, 0, {0, 0}, {0, 0}, {0, 0}},
        {1, 0, {SNAP_SEALED, 0}, 0, {0, 0}, {0, 0}, {0, 0}},
        {1, 2, {SNAP_SEALED, 1}, 0, {0, 0}, {0, 0}, {0, 0}},
        {1, 0, {SNAP_STATES, 1}, 0, {0, 0}, {0, 0}, {0, 0}},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snap_slot_header_write(&wrong[i], bytes);
        EXPECT_ERR(snap_slot_header_read(bytes, &again), ERR_CORRUPT, "slot header: state");
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_area");
    TCase *tcase = tcase_create("snap_area");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, area__keeps_what_was_written_when_it_is_opened_again);
    tcase_add_test(tcase, verify__finds_one_flipped_bit_in_any_part);
    tcase_add_test(tcase, open__takes_the_older_header_where_the_newer_one_is_torn);
    tcase_add_test(tcase, open__refuses_what_is_not_whole_or_of_another_job);
    tcase_add_test(tcase, open__leaves_a_process_of_another_job_alone_when_it_fences);
    tcase_add_test(tcase, peek__shows_what_its_owner_does_when_that_has_it_open);
    tcase_add_test(tcase, peek__neither_locks_nor_can_be_written_to);
    tcase_add_test(tcase, header__reads_back_and_refuses_impossible_states);
    suite_add_tcase(suite, tcase);
    return suite;
}
