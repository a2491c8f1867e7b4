#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/fault.h"
#include "comm/group/comm_message.h"
#include "snapshot/snap_restore_priv.h"

enum { PIECE_BYTES = 1 << 20, TAG_PRIVATE = 2 };

/* The data roots of all members of the chosen version. Collective. */
static enum err gather_roots(struct restore *restore)
{
    struct snap *snap = restore->snap;
    const size_t bytes = (size_t)restore->layout->rank_count * sizeof(struct hash);
    int witness = -1;

    restore->roots = calloc(1, bytes);
    if (restore->roots == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "roots");
    }
    for (int i = 0; i < restore->record_count; i++) {
        const struct record *record = &restore->records[i];
        for (int slot = 0; slot < SNAP_SLOTS; slot++) {
            const struct snap_slot *held = &record->holdings[slot].slot;
            if (!hash_is_same(record->layout_hash, restore->layout->hash) ||
                held->version != restore->version || held->state < SNAP_SEALED) {
                continue;
            }
            restore->roots[record->member] = record->data_roots[slot];
            if (record->has_roots[slot] && witness < 0) {
                witness = i;
            }
        }
    }
    if (witness < 0) { /* SEALED everywhere: every root is in a record */
        return ERR_OK;
    }
    const struct record *record = &restore->records[witness];
    for (int i = 0; i < restore->found_count && record->host == restore->rank; i++) {
        const struct snap_area *area = restore->found[i];
        const int slot = snap_slots_find(snap_area_slots(area), restore->version);
        if (snap_area_rank(area) == record->member && slot != SNAP_NO_SLOT &&
            hash_is_same(snap_area_layout(area)->hash, restore->layout->hash)) {
            memcpy(restore->roots, snap_area_roots(area, slot), bytes);
        }
    }
    return comm_broadcast(snap->control, restore->roots, bytes, record->host,
                          snap->options.deadline_ms);
}

/* A slot of this member for the chosen version: where it is, or one made free for it. */
static int slot_for(struct restore *restore, struct snap_area *area)
{
    struct snap_slots slots = *snap_area_slots(area);
    const struct snap_slot_header empty = {0};
    int at = snap_slots_find(&slots, restore->version);

    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        const struct snap_slot *held = &slots.slots[slot];
        if (held->state != SNAP_EMPTY &&
            (held->version > restore->version || (slot == at && held->state == SNAP_COPYING))) {
            snap_slots_abort(&slots, slot);
            snap_area_set(area, slot, &empty);
        }
    }
    at = snap_slots_find(&slots, restore->version);
    if (at == SNAP_NO_SLOT) {
        at = snap_slots_clear(&slots, restore->version);
        if (slots.slots[at].state == SNAP_EMPTY) { /* whatever was there has given way */
            snap_area_set(area, at, &empty);
        }
        snap_slots_begin(&slots, at, restore->version);
        const struct snap_slot_header copying = {.state = slots.slots[at]};
        snap_area_set(area, at, &copying);
    }
    return at;
}

/* Memory for every member that this rank plays; lost ones are played by who will need them. */
static enum err host_members(struct restore *restore)
{
    const struct snap_layout *layout = restore->layout;
    const size_t n = (size_t)layout->rank_count;

    restore->areas = calloc(n, sizeof(struct snap_area *));
    restore->rows = calloc(n, sizeof(*restore->rows));
    if (restore->areas == NULL || restore->rows == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%zu members", n);
    }
    for (int i = 0; i < restore->found_count; i++) {
        const int member = snap_area_rank(restore->found[i]);
        if (hash_is_same(snap_area_layout(restore->found[i])->hash, layout->hash) &&
            restore->host_of[member] == restore->rank) {
            restore->areas[member] = restore->found[i];
            restore->found[i] = restore->found[--restore->found_count];
            i--;
        }
    }
    for (int m = 0; m < layout->rank_count; m++) {
        if (restore->host_of[m] < 0) {
            restore->host_of[m] = m % restore->size;
        }
        if (restore->host_of[m] != restore->rank) {
            continue;
        }
        if (restore->areas[m] == NULL) {
            ERR_TRY(snap_area_create(restore->snap->folder, layout, m, &restore->snap->claim,
                                     &restore->areas[m]));
        }
        restore->rows[m] = snap_area_rows(restore->areas[m], slot_for(restore, restore->areas[m]));
    }
    return ERR_OK;
}

/* Makes what is missing out of what is there. Collective. */
static enum err rebuild(struct restore *restore, struct snap_restored *restored)
{
    struct snap *snap = restore->snap;
    const struct snap_layout *layout = restore->layout;
    const struct snap_inventory inventory = {
        layout, (const struct snap_holding(*)[SNAP_SLOTS])restore->holdings};
    struct snap_work *works = calloc((size_t)layout->rank_count, sizeof(*works));
    struct snap_transfer *transfer = NULL;

    if (works == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a plan");
    }
    const int work_count = snap_transfer_plan_rebuild(&inventory, restore->version, works);
    for (int i = 0; i < work_count; i++) {
        restored->rows_rebuilt += works[i].wanted_count;
    }
    const struct snap_transfer_options options = {.comm = snap->transfers,
                                                  .layout = layout,
                                                  .host_of = restore->host_of,
                                                  .works = works,
                                                  .work_count = work_count,
                                                  .deadline_ms = snap->options.deadline_ms};
    enum err status = snap_transfer_open(&options, &transfer);
    free(works);
    if (status == ERR_OK) {
        status = snap_transfer_run(transfer, restore->rows);
    }
    snap_transfer_close(transfer);
    return status;
}

/* A member that is whole again says so, if what was made is what was lost. */
static enum err seal_member(struct restore *restore, int member, struct hash job_root)
{
    struct snap_area *area = restore->areas[member];
    struct snap_slots slots = *snap_area_slots(area);
    const int slot = snap_slots_find(&slots, restore->version);
    const struct snap_rows rows = snap_area_rows(area, slot);
    const struct snap_map map = snap_map_of(restore->layout, member);
    struct snap_slot_header header = {.job_root = job_root};

    ERR_TRY(snap_data_root(restore->version, restore->layout, member, rows.data_hashes,
                           map.data_tile_count, &header.data_root));
    ERR_TRY(snap_parity_root(restore->version, restore->layout, member, rows.parity_hashes,
                             map.parity_tile_count, &header.parity_root));
    if (!hash_is_same(header.data_root, restore->roots[member])) {
        return ERR_FAIL(ERR_CORRUPT,
                        "version %" PRIu64 " of member %d was made good, but is not what was lost",
                        restore->version, member);
    }
    memcpy(snap_area_roots(area, slot), restore->roots,
           (size_t)restore->layout->rank_count * sizeof(struct hash));
    while (slots.slots[slot].state < SNAP_ENCODED) {
        if (slots.slots[slot].state == SNAP_COPYING) {
            snap_slots_copied(&slots, slot);
        } else {
            snap_slots_encoded(&slots, slot);
        }
        header.state = slots.slots[slot];
        snap_area_set(area, slot, &header);
    }
    header.state = slots.slots[slot];
    snap_area_set(area, slot, &header);
    return ERR_OK;
}

/* Headers of all members: ENCODED, and when all are, COMMITTED. Collective. */
static enum err seal_all(struct restore *restore)
{
    struct snap *snap = restore->snap;
    struct hash job_root;
    int64_t ignored = 0;

    ERR_TRY(
        snap_job_root(restore->version, restore->roots, restore->layout->rank_count, &job_root));
    for (int i = 0; i < restore->record_count; i++) { /* what was signed when it was taken */
        const struct record *record = &restore->records[i];
        for (int slot = 0; slot < SNAP_SLOTS; slot++) {
            const struct snap_slot *held = &record->holdings[slot].slot;
            if (hash_is_same(record->layout_hash, restore->layout->hash) &&
                held->version == restore->version && held->state >= SNAP_ENCODED &&
                !hash_is_same(record->job_roots[slot], job_root)) {
                return ERR_FAIL(ERR_CORRUPT, "version %" PRIu64 ": member %d was another job's",
                                restore->version, record->member);
            }
        }
    }
    for (int m = 0; m < restore->layout->rank_count; m++) {
        if (restore->areas[m] != NULL) {
            ERR_TRY(seal_member(restore, m, job_root));
        }
    }
    ERR_TRY(comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored));
    for (int m = 0; m < restore->layout->rank_count; m++) {
        if (restore->areas[m] == NULL) {
            continue;
        }
        struct snap_area *area = restore->areas[m];
        const int slot = snap_slots_find(snap_area_slots(area), restore->version);
        const int other = 1 - slot;
        struct snap_slots slots = *snap_area_slots(area);
        struct snap_slot_header header = *snap_area_header(area, slot);
        const enum snap_state left = slots.slots[other].state;
        snap_slots_commit(&slots, restore->version);
        header.state = slots.slots[slot];
        snap_area_set(area, slot, &header);
        if (left != SNAP_EMPTY && left != SNAP_COMMITTED) {
            snap_slots_abort(&slots, other);
            snap_area_set(area, other, &(struct snap_slot_header){.state = slots.slots[other]});
        }
    }
    return ERR_OK;
}

/* The replicated part of one member's slice, to all ranks. Collective. */
static enum err load_slice(struct restore *restore, int member, uint8_t *piece)
{
    struct snap *snap = restore->snap;
    const struct snap_member *of = &restore->layout->members[member];

    for (uint64_t at = 0; at < of->replicated_bytes; at += PIECE_BYTES) {
        const uint64_t left = of->replicated_bytes - at;
        const size_t bytes = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (restore->areas[member] != NULL) {
            memcpy(piece, restore->rows[member].data + at, bytes);
        }
        ERR_TRY(comm_broadcast(snap->control, piece, bytes, restore->host_of[member],
                               snap->options.deadline_ms));
        ERR_TRY(snap_scatter(snap, SNAP_REPLICATED, of->replicated_at + at, piece, bytes));
    }
    return ERR_OK;
}

/* The private part of one member's slice, from its host to the rank of the same number. */
static enum err load_private(struct restore *restore, int member, uint8_t *piece)
{
    struct snap *snap = restore->snap;
    const struct snap_member *of = &restore->layout->members[member];
    const int host = restore->host_of[member];
    struct comm_request request = {0};

    for (uint64_t at = 0; at < of->place.private_bytes; at += PIECE_BYTES) {
        const uint64_t left = of->place.private_bytes - at;
        const size_t bytes = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (host == restore->rank) {
            assert(restore->rows[member].data != NULL);
            memcpy(piece, restore->rows[member].data + of->replicated_bytes + at, bytes);
        }
        if (host == restore->rank && member != restore->rank) {
            ERR_TRY(comm_message_send(snap->control, member, TAG_PRIVATE, piece, bytes, &request));
        } else if (member == restore->rank && host != restore->rank) {
            ERR_TRY(comm_message_receive(snap->control, host, TAG_PRIVATE, piece, bytes, &request));
        }
        ERR_TRY(comm_message_wait(snap->control, &request, 1, snap->options.deadline_ms));
        if (member == restore->rank) {
            ERR_TRY(snap_scatter(snap, SNAP_PRIVATE, at, piece, bytes));
        }
    }
    return ERR_OK;
}

/* Whether this program's memory is what the version was taken of. */
static enum err check_fit(const struct restore *restore)
{
    const struct snap *snap = restore->snap;
    const struct snap_layout *layout = restore->layout;

    if (layout->replicated_bytes != snap_bytes_of(snap, SNAP_REPLICATED)) {
        return ERR_FAIL(ERR_CONFIG,
                        "the snapshot has %" PRIu64 " replicated bytes, this job %" PRIu64
                        ": it is of a job with other settings",
                        layout->replicated_bytes, snap_bytes_of(snap, SNAP_REPLICATED));
    }
    for (int m = 0; m < layout->rank_count; m++) {
        const uint64_t wanted = m < restore->size ? snap->places[m].private_bytes : 0;
        if (layout->members[m].place.private_bytes != wanted) {
            return ERR_FAIL(ERR_CONFIG,
                            "rank %d had %" PRIu64 " private bytes and now has %" PRIu64
                            ": private ranges want as many ranks as before",
                            m, layout->members[m].place.private_bytes, wanted);
        }
    }
    return ERR_OK;
}

static enum err load_all(struct restore *restore)
{
    uint8_t *piece = malloc(PIECE_BYTES);
    enum err status = ERR_OK;

    if (piece == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a piece of state");
    }
    for (int m = 0; m < restore->layout->rank_count && status == ERR_OK; m++) {
        status = load_slice(restore, m, piece);
        if (status == ERR_OK) {
            status = load_private(restore, m, piece);
        }
    }
    free(piece);
    return status;
}

/* What memory holds into protected memory of all ranks. Collective. */
static enum err load_memory(struct restore *restore, struct snap_restored *restored)
{
    FAULT_POINT_FAIL(FAULT_SNAP_RESTORE, ERR_IO);
    for (int m = 0; m < restore->layout->rank_count; m++) {
        restored->members_lost += restore->host_of[m] < 0;
    }
    ERR_TRY(gather_roots(restore));
    ERR_TRY(host_members(restore));
    ERR_TRY(rebuild(restore, restored));
    FAULT_POINT_FAIL(FAULT_SNAP_REBUILT, ERR_IO);
    ERR_TRY(seal_all(restore));
    ERR_TRY(load_all(restore));
    restored->source = restored->rows_rebuilt > 0 ? SNAP_FROM_REBUILT : SNAP_FROM_MEMORY;
    return ERR_OK;
}

/* What was chosen in memory is not wanted: what was found goes when the job has settled. */
static void forget_memory(struct restore *restore)
{
    snap_layout_close(restore->layout);
    free(restore->holdings);
    free(restore->host_of);
    restore->layout = NULL;
    restore->holdings = NULL;
    restore->host_of = NULL;
    restore->version = 0;
}

/*
 * Looks in memory and, where that is wished for, on disk: folder_out is "" if memory is to be taken,
 * or nothing is there. Memory beyond repair is an error only if the disk has nothing.
 */
static enum err find(struct restore *restore, const uint64_t set_aside[], int set_aside_count,
                     char folder_out[FILE_PATH_BYTES_MAX])
{
    char text[512];

    folder_out[0] = '\0';
    const enum err status = snap_find(restore, set_aside, set_aside_count);
    if (!restore->snap->options.restores_disk ||
        (status != ERR_OK && status != ERR_BEYOND_REPAIR)) {
        return status;
    }
    err_text(text, sizeof(text));
    err_clear();
    ERR_TRY(snap_load_choose(restore, folder_out));
    if (folder_out[0] != '\0') {
        forget_memory(restore);
        return ERR_OK;
    }
    return status == ERR_OK ? ERR_OK : ERR_FAIL(status, "%s", text);
}

static enum err run(struct restore *restore, const uint64_t set_aside[], int set_aside_count,
                    struct snap_restored *restored)
{
    char folder[FILE_PATH_BYTES_MAX];

    ERR_TRY(find(restore, set_aside, set_aside_count, folder));
    ERR_TRY(snap_settle_layout(restore));
    if (restore->layout != NULL) {
        ERR_TRY(check_fit(restore));
        ERR_TRY(load_memory(restore, restored));
    } else if (folder[0] != '\0') {
        ERR_TRY(snap_load(restore, folder));
        restored->source = SNAP_FROM_DISK;
    }
    restored->version = restore->version;
    return snap_settle_memory(restore);
}

static void close_restore(struct restore *restore)
{
    for (int i = 0; i < restore->found_count; i++) {
        snap_area_close(restore->found[i]);
    }
    for (int m = 0; restore->areas != NULL && m < restore->layout->rank_count; m++) {
        snap_area_close(restore->areas[m]);
    }
    free(restore->found);
    free(restore->records);
    free(restore->areas);
    free(restore->rows);
    free(restore->roots);
    free(restore->host_of);
    free(restore->holdings);
    snap_layout_close(restore->layout);
}

enum err snap_restore(struct snap *snap, const uint64_t set_aside[], int set_aside_count,
                      struct snap_restored *restored_out)
{
    struct restore restore = {
        .snap = snap, .rank = comm_rank(snap->control), .size = comm_size(snap->control)};
    struct snap_restored restored = {0};

    const enum err status = run(&restore, set_aside, set_aside_count, &restored);
    close_restore(&restore);
    ERR_TRY(status);
    ERR_TRY(snap_worker_start(snap));
    *restored_out = restored;
    return ERR_OK;
}
