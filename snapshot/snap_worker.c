#define _GNU_SOURCE
#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "snapshot/snap_compare.h"
#include "snapshot/snap_copy.h"
#include "snapshot/snap_priv.h"

/* What ranks tell each other of a version, before any of it is coded. */
struct seal {
    uint64_t version; /* 0: this rank skips it */
    struct hash data_root;
    struct hash replicas; /* of all replicated bytes; 0 where they are not compared */
};

static void set_state(struct snap *snap, int slot, const struct snap_slots *slots,
                      const struct snap_slot_header *header)
{
    struct snap_slot_header next = *header;

    next.state = slots->slots[slot];
    snap_area_set(snap->area, slot, &next);
}

static void add_s(struct snap *snap, double *to, double seconds)
{
    pthread_mutex_lock(&snap->mutex);
    *to += seconds;
    pthread_mutex_unlock(&snap->mutex);
}

static void tell_copied(struct snap *snap)
{
    pthread_mutex_lock(&snap->mutex);
    snap->must_copy = false;
    pthread_cond_broadcast(&snap->changed);
    pthread_mutex_unlock(&snap->mutex);
}

/* Below so many bytes of a slice the caches hold it until it is coded. */
enum { CACHED_BYTES_MAX = 16 << 20 };

/*
 * One tile of a slice: the replicated part of it, then the private one, then zeros. *hash_out only where it
 * is copied past the caches: there it is hashed before.
 */
static enum err copy_tile(struct snap *snap, const struct snap_member *member, uint64_t at,
                          uint8_t *to, uint64_t bytes, bool *hashed_out, uint64_t *hash_out)
{
    const uint64_t split = member->replicated_bytes, end = member->bytes;
    const uint64_t first = at < split ? (split - at < bytes ? split - at : bytes) : 0;
    const uint64_t inside = at < end ? (end - at < bytes ? end - at : bytes) : 0;
    const uint8_t *from = NULL;

    *hashed_out = false;
    if (first == bytes && end > CACHED_BYTES_MAX) {
        from = snap_contiguous(snap, SNAP_REPLICATED, member->replicated_at + at, bytes);
    }
    if (from != NULL) { /* into the cache by the hash, and past it to the slot */
        *hash_out = snap_tile_hash(from, bytes);
        *hashed_out = true;
        snap_copy_past_caches(to, from, bytes);
        return ERR_OK;
    }
    memset(to + inside, 0, bytes - inside);
    ERR_TRY(snap_gather(snap, SNAP_REPLICATED, member->replicated_at + at, to, first));
    return snap_gather(snap, SNAP_PRIVATE, at + first - split, to + first, inside - first);
}

/* A tile of a slot: its place and its bytes. */
static uint64_t tile_place(const struct snap_group *group, int64_t tile, uint64_t *bytes_out)
{
    const int64_t tiles = snap_tile_count(group);

    *bytes_out = snap_tile_bytes(group, tile % tiles);
    return (uint64_t)(tile / tiles) * group->segment_bytes +
           (uint64_t)(tile % tiles) * SNAP_TILE_BYTES;
}

/*
 * All replicated bytes, range by range. After the copy, so that what goes wrong in this rank's
 * slice before it is copied is in the hash, too.
 */
static struct hash hash_replicas(struct snap *snap)
{
    struct hash all = {0, 0};
    const int64_t start_ns = clock_now_ns();

    for (int i = 0; i < snap->range_count && snap->options.compare; i++) {
        struct snap_range *range = &snap->ranges[i];
        if (range->kind == SNAP_REPLICATED && !range->is_on_device) {
            range->hash = hash_bytes(range->address, range->bytes);
            const struct hash both[] = {all, range->hash};
            all = hash_bytes(both, sizeof(both));
        }
    }
    add_s(snap, &snap->statistics.compare_s, clock_since_s(start_ns));
    return all;
}

/* From here on protected memory may be written; on a device only behind its fence. */
static struct hash end_copy(struct snap *snap)
{
    const struct hash replicas = hash_replicas(snap);

    tell_copied(snap);
    return replicas;
}

/* This rank's slice into the slot, tile by tile, each hashed while it is in the cache. */
static enum err copy_from_host(struct snap *snap, const struct snap_group *group,
                               const struct snap_rows *rows, int64_t tile_count,
                               struct hash *replicas_out)
{
    const struct snap_member *member = &snap->layout->members[comm_rank(snap->control)];

    for (int64_t t = 0; t < tile_count; t++) {
        uint64_t bytes = 0;
        const uint64_t at = tile_place(group, t, &bytes);
        bool hashed = false;
        FAULT_POINT_FAIL(FAULT_SNAP_TILE, ERR_IO);
        ERR_TRY(
            copy_tile(snap, member, at, rows->data + at, bytes, &hashed, &rows->data_hashes[t]));
        if (!hashed) {
            rows->data_hashes[t] = snap_tile_hash(rows->data + at, bytes);
        }
    }
    *replicas_out = end_copy(snap);
    return ERR_OK;
}

/* All copies are put on the device's stream; then each bucket is hashed when it has landed. */
static enum err copy_from_device(struct snap *snap, const struct snap_group *group,
                                 const struct snap_rows *rows, int64_t tile_count,
                                 struct hash *replicas_out)
{
    const struct snap_member *member = &snap->layout->members[comm_rank(snap->control)];

    ERR_TRY(snap_device_follow(snap->device));
    for (int64_t t = 0; t < tile_count; t++) {
        uint64_t bytes = 0;
        const uint64_t at = tile_place(group, t, &bytes);
        const bool is_last = t + 1 == tile_count;
        bool hashed = false;
        FAULT_POINT_FAIL(FAULT_SNAP_TILE, ERR_IO);
        ERR_TRY(
            copy_tile(snap, member, at, rows->data + at, bytes, &hashed, &rows->data_hashes[t]));
        if (is_last || (t + 1) % SNAP_BUCKET_TILES == 0) {
            ERR_TRY(snap_device_end_bucket(snap->device, t / SNAP_BUCKET_TILES, is_last));
        }
    }
    *replicas_out = end_copy(snap);
    for (int64_t t = 0; t < tile_count; t++) {
        uint64_t bytes = 0;
        const uint64_t at = tile_place(group, t, &bytes);
        if (t % SNAP_BUCKET_TILES == 0) {
            ERR_TRY(
                snap_device_wait(snap->device, t / SNAP_BUCKET_TILES, snap->options.deadline_ms));
        }
        rows->data_hashes[t] = snap_tile_hash(rows->data + at, bytes);
    }
    return ERR_OK;
}

static enum err copy_slice(struct snap *snap, int slot, struct hash *replicas_out)
{
    const struct snap_member *member = &snap->layout->members[comm_rank(snap->control)];
    const struct snap_group *group = &snap->layout->groups[member->group];
    const struct snap_rows rows = snap_area_rows(snap->area, slot);
    const int64_t tile_count = snap_tile_count(group) * group->data_count;

    return snap->device == NULL ? copy_from_host(snap, group, &rows, tile_count, replicas_out)
                                : copy_from_device(snap, group, &rows, tile_count, replicas_out);
}

/* Names of the ranges whose hashes are not the same on all ranks. Collective. */
static enum err name_ranges(struct snap *snap, char *text, size_t text_bytes)
{
    const size_t size = (size_t)comm_size(snap->control), count = (size_t)snap->range_count;
    struct hash *hashes = calloc(size * count, sizeof(*hashes));
    size_t used = 0;

    if (hashes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "hashes of %zu ranges", count);
    }
    for (size_t i = 0; i < count; i++) {
        if (snap->ranges[i].kind == SNAP_REPLICATED) {
            hashes[(size_t)comm_rank(snap->control) * count + i] = snap->ranges[i].hash;
        }
    }
    const enum err status =
        comm_allgather(snap->control, hashes, count * sizeof(*hashes), snap->options.deadline_ms);
    text[0] = '\0';
    for (size_t i = 0; i < count && status == ERR_OK; i++) {
        size_t r = 1;
        while (r < size && hash_is_same(hashes[r * count + i], hashes[i])) {
            r++;
        }
        if (r < size && used < text_bytes) {
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used > 0 ? ", " : "",
                                     snap->ranges[i].name);
        }
    }
    free(hashes);
    return status;
}

/* Whether all ranks copied from the same. Errors: ERR_DIFFERS, on all of them. */
static enum err check_replicas(struct snap *snap, const struct seal *seals)
{
    const int size = comm_size(snap->control);
    struct hash *hashes = calloc((size_t)size, sizeof(*hashes));
    char who[256], ranges[256];

    if (hashes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "hashes of %d ranks", size);
    }
    for (int r = 0; r < size; r++) {
        hashes[r] = seals[r].replicas;
    }
    const bool is_same = snap_compare(hashes, size, who, sizeof(who));
    free(hashes);
    if (is_same) {
        return ERR_OK;
    }
    ERR_TRY(name_ranges(snap, ranges, sizeof(ranges)));
    return ERR_FAIL(ERR_DIFFERS, "replicated memory of %s at version %" PRIu64 ": %s", who,
                    seals[0].version, ranges);
}

/*
 * All ranks hear all seals; *all_out: nobody skips. roots_out [size]. Errors: ERR_DIFFERS if
 * nobody does and replicas are not the same.
 */
static enum err exchange_seals(struct snap *snap, const struct seal *mine, struct hash *roots_out,
                               bool *all_out)
{
    const int size = comm_size(snap->control);
    struct seal *seals = calloc((size_t)size, sizeof(*seals));

    if (seals == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d seals", size);
    }
    seals[comm_rank(snap->control)] = *mine;
    enum err status =
        comm_allgather(snap->control, seals, sizeof(*seals), snap->options.deadline_ms);
    *all_out = status == ERR_OK;
    for (int r = 0; r < size && status == ERR_OK; r++) {
        *all_out = *all_out && seals[r].version == mine->version && mine->version != 0;
        if (roots_out != NULL) {
            roots_out[r] = seals[r].data_root;
        }
    }
    if (*all_out) {
        status = check_replicas(snap, seals);
    }
    free(seals);
    return status;
}

static enum err encode(struct snap *snap, int slot, struct snap_slot_header *header)
{
    const int rank = comm_rank(snap->control);
    const struct snap_map map = snap_map_of(snap->layout, rank);

    snap->rows[rank] = snap_area_rows(snap->area, slot);
    ERR_TRY(snap_transfer_run(snap->encode, snap->rows));
    ERR_TRY(snap_parity_root(header->state.version, snap->layout, rank,
                             snap->rows[rank].parity_hashes, map.parity_tile_count,
                             &header->parity_root));
    return snap_job_root(header->state.version, snap_area_roots(snap->area, slot),
                         snap->layout->rank_count, &header->job_root);
}

/* From SEALED on: what the ranks do together. */
static enum err finish(struct snap *snap, int slot, struct snap_slots *slots,
                       struct snap_slot_header *header, struct hash replicas, bool *committed_out)
{
    const struct seal seal = {header->state.version, header->data_root, replicas};
    int64_t ignored = 0;
    bool all = false;

    const enum err status = exchange_seals(snap, &seal, snap_area_roots(snap->area, slot), &all);
    if (status == ERR_DIFFERS || (status == ERR_OK && !all)) {
        snap_slots_abort(slots, slot);
        set_state(snap, slot, slots, &(struct snap_slot_header){0});
        return status;
    }
    ERR_TRY(status);
    FAULT_POINT_FAIL(FAULT_SNAP_BEFORE_ENCODE, ERR_IO);
    ERR_TRY(encode(snap, slot, header));
    FAULT_POINT_FAIL(FAULT_SNAP_ROWS_MADE, ERR_IO);
    snap_slots_encoded(slots, slot);
    set_state(snap, slot, slots, header);
    FAULT_POINT_FAIL(FAULT_SNAP_BEFORE_COMMIT, ERR_IO);
    ERR_TRY(comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored));
    snap_slots_commit(slots, header->state.version);
    set_state(snap, slot, slots, header);
    FAULT_POINT_FAIL(FAULT_SNAP_AFTER_COMMIT, ERR_IO);
    *committed_out = true;
    return ERR_OK;
}

enum err snap_take(struct snap *snap, const struct snap_request *request, bool *committed_out)
{
    struct snap_slots slots = *snap_area_slots(snap->area);
    const int slot = request->skips ? SNAP_NO_SLOT : snap_slots_free(&slots, request->version);
    struct snap_slot_header header = {0};
    const int64_t start_ns = clock_now_ns();
    struct hash replicas = {0, 0};
    bool all = false;

    *committed_out = false;
    if (slot == SNAP_NO_SLOT) {
        tell_copied(snap);
        return exchange_seals(snap, &(struct seal){0}, NULL, &all);
    }
    snap_slots_begin(&slots, slot, request->version);
    set_state(snap, slot, &slots, &header);
    FAULT_POINT_FAIL(FAULT_SNAP_COPY, ERR_IO);
    ERR_TRY(copy_slice(snap, slot, &replicas));
    add_s(snap, &snap->statistics.copy_s, clock_since_s(start_ns));
    header.state = slots.slots[slot];
    const struct snap_rows rows = snap_area_rows(snap->area, slot);
    const int rank = comm_rank(snap->control);
    ERR_TRY(snap_data_root(request->version, snap->layout, rank, rows.data_hashes,
                           snap_map_of(snap->layout, rank).data_tile_count, &header.data_root));
    snap_slots_copied(&slots, slot);
    set_state(snap, slot, &slots, &header);
    FAULT_POINT_FAIL(FAULT_SNAP_AFTER_SEAL, ERR_IO);
    const int64_t sealed_ns = clock_now_ns();
    ERR_TRY(finish(snap, slot, &slots, &header, replicas, committed_out));
    add_s(snap, &snap->statistics.encode_s, clock_since_s(sealed_ns));
    return ERR_OK;
}

static void note_failed_save(struct snap *snap, uint64_t version, const char *text)
{
    snap->statistics.saves_failed++;
    snap->statistics.failed_save = version;
    snprintf(snap->statistics.failure, sizeof(snap->statistics.failure), "%.255s", text);
}

void snap_hear_keeper(struct snap *snap, int64_t wait_ms)
{
    struct snap_saved saved;

    while (snap->keeper != NULL && snap_keeper_news(snap->keeper, wait_ms, &saved)) {
        pthread_mutex_lock(&snap->mutex);
        if (snap->statistics.saves_begun == 0 || saved.version < snap->first_save) {
            /* the keeper was still at the newest version of an earlier start: nobody waits for it */
        } else if (saved.status != ERR_OK) {
            note_failed_save(snap, saved.version, saved.text);
        } else {
            snap->statistics.saved++;
            snap->statistics.newest_saved = saved.version;
            snap->statistics.save_s = saved.seconds;
            snap->statistics.saved_bytes = (int64_t)saved.bytes;
        }
        pthread_mutex_unlock(&snap->mutex);
        wait_ms = 0;
    }
}

/* Has this member's part written. That it cannot be is no reason to stop. */
static void save(struct snap *snap, uint64_t version)
{
    char path[FILE_PATH_BYTES_MAX];
    char text[256];
    const int rank = comm_rank(snap->control);

    enum err status = snap_area_path(path, snap->folder, snap->layout->hash, rank);
    if (status == ERR_OK) {
        status = snap_keeper_save(snap->keeper, strrchr(path, '/') + 1, version);
    }
    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
        pthread_mutex_lock(&snap->mutex);
        note_failed_save(snap, version, text);
        pthread_mutex_unlock(&snap->mutex);
    }
}

static void note(struct snap *snap, const struct snap_request *request, enum err status,
                 bool committed)
{
    pthread_mutex_lock(&snap->mutex);
    snap->is_busy = false;
    if (status != ERR_OK) {
        snap->statistics.refused += status == ERR_DIFFERS;
        snap->status = status;
        err_text(snap->message, sizeof(snap->message));
        err_clear();
    } else if (committed) {
        snap->statistics.committed++;
        snap->statistics.copied_bytes +=
            (int64_t)snap->layout->members[comm_rank(snap->control)].bytes;
        snap->statistics.newest_committed = request->version;
        snap->statistics.lag_s = clock_since_s(request->begun_ns);
    } else {
        snap->statistics.skipped++;
    }
    pthread_cond_broadcast(&snap->changed);
    pthread_mutex_unlock(&snap->mutex);
}

/*
 * On a core that is busy, a thread that wakes usually takes the place of the one that woke it,
 * which would make the whole copy part of snap_begin(). SCHED_BATCH shares the core as fairly, but
 * never takes it on waking. A refusal only costs time.
 */
static void give_way(void)
{
    const struct sched_param none = {0};

    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

/* Takes requests in the order they were begun, the same on all ranks. */
static void *worker_main(void *argument)
{
    struct snap *snap = argument;
    struct snap_request request;
    bool committed = false;

    give_way();
    snap_device_enter(snap->device);
    for (;;) {
        pthread_mutex_lock(&snap->mutex);
        while (snap->queue_count == 0 && !snap->ends && snap->status == ERR_OK) {
            pthread_cond_wait(&snap->changed, &snap->mutex);
        }
        if (snap->queue_count == 0 || snap->status != ERR_OK) {
            pthread_mutex_unlock(&snap->mutex);
            return NULL;
        }
        request = snap->queue[0];
        snap->queue_count--;
        memmove(snap->queue, snap->queue + 1, (size_t)snap->queue_count * sizeof(request));
        snap->is_busy = true;
        pthread_cond_broadcast(&snap->changed);
        pthread_mutex_unlock(&snap->mutex);
        const enum err status = snap_take(snap, &request, &committed);
        if (status == ERR_OK && request.saves) {
            save(snap, request.version);
        }
        snap_hear_keeper(snap, 0);
        note(snap, &request, status, committed);
    }
}

/* The slots of this rank, for copies that run beside other work. */
static enum err register_slots(struct snap *snap)
{
    const struct snap_member *member = &snap->layout->members[comm_rank(snap->control)];
    const struct snap_group *group = &snap->layout->groups[member->group];
    size_t bytes = 0;
    void *begin = snap_area_memory(snap->area, &bytes);

    return snap_device_register(snap->device, begin, bytes,
                                snap_tile_count(group) * group->data_count);
}

enum err snap_worker_start(struct snap *snap)
{
    ERR_TRY(register_slots(snap));
    if (pthread_create(&snap->worker, NULL, worker_main, snap) != 0) {
        return ERR_FAIL(ERR_NO_MEMORY, "a thread for snapshots");
    }
    snap->is_running = true;
    return ERR_OK;
}

void snap_worker_stop(struct snap *snap)
{
    if (!snap->is_running) {
        return;
    }
    pthread_mutex_lock(&snap->mutex);
    snap->ends = true;
    pthread_cond_broadcast(&snap->changed);
    pthread_mutex_unlock(&snap->mutex);
    pthread_join(snap->worker, NULL);
    snap->is_running = false;
}
