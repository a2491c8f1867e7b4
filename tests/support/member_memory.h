/*
 * tests/support/member_memory.h - the memory of a job of four members (2+2) in one folder, as its
 * ranks leave it: the state of a version is bytes made from its number.
 *
 * The file that includes this defines _GNU_SOURCE or _POSIX_C_SOURCE 200809L first.
 */
#ifndef TESTS_SUPPORT_MEMBER_MEMORY_H
#define TESTS_SUPPORT_MEMBER_MEMORY_H

#include <check.h>
#include <string.h>

#include "snapshot/snap_area.h"
#include "snapshot/snap_plan.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"

enum { MEMBERS = 4, STATE_BYTES = 1200007, FIRST_FILE_BYTES = 700001 };

static uint8_t member_state[STATE_BYTES]; /* of the version that was made last */

static inline struct snap_layout *member_layout(uint64_t salt)
{
    struct snap_place places[MEMBERS];
    struct snap_layout *layout = NULL;

    for (uint32_t r = 0; r < MEMBERS; r++) {
        places[r] = (struct snap_place){r, r, 0};
    }
    const struct snap_terms terms = {MEMBERS, 2, 2, STATE_BYTES, salt, places};
    EXPECT_OK(snap_layout_open(&terms, &layout));
    return layout;
}

/* Fills a slot as the worker does, up to that state; parity stays zero. */
static inline void member_fill(struct snap_area *area, int slot, uint64_t version,
                               enum snap_state state)
{
    const struct snap_layout *layout = snap_area_layout(area);
    const int rank = snap_area_rank(area);
    const struct snap_member *member = &layout->members[rank];
    const struct snap_group *group = &layout->groups[member->group];
    const struct snap_rows rows = snap_area_rows(area, slot);
    const struct snap_map map = snap_map_of(layout, rank);
    const int64_t tiles = snap_tile_count(group);
    struct snap_slots slots = *snap_area_slots(area);
    struct snap_slot_header header = {0};

    bytes_from_seed(member_state, STATE_BYTES, version);
    snap_slots_begin(&slots, slot, version);
    header.state = slots.slots[slot];
    snap_area_set(area, slot, &header);
    memset(rows.data, 0, map.data_bytes);
    memcpy(rows.data, member_state + member->replicated_at, member->replicated_bytes);
    for (int64_t t = 0; t < tiles * group->data_count; t++) {
        const uint64_t at =
            (uint64_t)(t / tiles) * group->segment_bytes + (uint64_t)(t % tiles) * SNAP_TILE_BYTES;
        rows.data_hashes[t] = snap_tile_hash(rows.data + at, snap_tile_bytes(group, t % tiles));
    }
    EXPECT_OK(snap_data_root(version, layout, rank, rows.data_hashes, map.data_tile_count,
                             &header.data_root));
    while (slots.slots[slot].state < state) {
        slots.slots[slot].state++;
        header.state = slots.slots[slot];
        snap_area_set(area, slot, &header);
    }
}

/* One member's memory with that version in slot 0, open. */
static inline struct snap_area *member_make(const char *folder, const struct snap_layout *layout,
                                            int member, uint64_t incarnation, uint64_t version,
                                            enum snap_state state)
{
    const struct snap_claim claim = {.job_key = hash_bytes("job", 3),
                                     .owner = {.incarnation = incarnation}};
    struct snap_area *area = NULL;

    EXPECT_OK(snap_area_create(folder, layout, member, &claim, &area));
    member_fill(area, 0, version, state);
    return area;
}

/* All members' memory, whose processes are gone. */
static inline void member_make_all(const char *folder, const struct snap_layout *layout,
                                   uint64_t version, enum snap_state state)
{
    for (int m = 0; m < MEMBERS; m++) {
        snap_area_close(member_make(folder, layout, m, 1, version, state));
    }
}

/* Three files that together are the state: the second begins in the middle of a member's slice. */
static inline struct snap_plan member_plan(const char *output_dir)
{
    struct snap_plan plan = {
        .keep_count = 2,
        .deadline_ms = 5000,
        .files = {{"first", 0, FIRST_FILE_BYTES},
                  {"none", FIRST_FILE_BYTES, 0},
                  {"second", FIRST_FILE_BYTES, STATE_BYTES - FIRST_FILE_BYTES}},
        .file_count = 3};

    ck_assert_uint_lt(strlen(output_dir), sizeof(plan.output_dir));
    memcpy(plan.output_dir, output_dir, strlen(output_dir) + 1);
    return plan;
}

/* The files of the plan in `folder` are the state of that version, byte for byte. */
static inline void member_expect_files(const char *folder, uint64_t version)
{
    const struct snap_plan plan = member_plan("/");
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    bytes_from_seed(member_state, STATE_BYTES, version);
    for (int i = 0; i < plan.file_count; i++) {
        EXPECT_OK(file_path(path, folder, plan.files[i].name));
        EXPECT_OK(file_map(path, &map));
        ck_assert_uint_eq(map.count, plan.files[i].bytes);
        ck_assert_msg(memcmp(map.bytes, member_state + plan.files[i].at, map.count) == 0,
                      "%s is not version %d", path, (int)version);
        file_unmap(&map);
    }
}

#endif
