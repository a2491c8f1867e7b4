#include "snapshot/snap_transfer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/fault.h"
#include "comm/base/hash.h"
#include "comm/base/memory.h"
#include "comm/group/comm_message.h"

/* Given rows on their way to a worker, and computed ones on their way from it. */
enum { TAG_GIVEN, TAG_WANTED };

/*
 * Tiles of a work under way, and how many later ones have been asked for when one is computed: a
 * rank that shares its core answers late, and nobody is to wait for it meanwhile.
 */
enum { BUFFERS = 4, AHEAD = 2, REQUESTS_MAX = 3 * SNAP_ROWS_MAX };

/* One tile of one work, as this rank takes part in it. */
struct stage {
    struct comm_request inputs[SNAP_ROWS_MAX]; /* given rows that come here */
    struct comm_request others[REQUESTS_MAX];  /* what goes out, and wanted rows that come */
    int input_count, other_count;
    const uint8_t *rows[SNAP_ROWS_MAX]; /* the given rows, for the worker */
    struct {
        const uint8_t *tile;
        uint64_t *hash;
    } arriving[SNAP_PARITY_MAX]; /* wanted rows that come, to be hashed when they are here */
    int arriving_count;
    size_t bytes;
};

/* One work that this rank takes part in. */
struct task {
    struct snap_work work;
    struct snap_code *code; /* NULL unless this rank is the worker */
    struct stage stages[BUFFERS];
    uint8_t *tiles[BUFFERS]; /* [k] tiles that come in, then [wanted_count] that go out */
};

struct snap_transfer {
    struct snap_transfer_options options; /* without the works */
    const struct snap_rows *rows;         /* of the run at hand */
    struct task *tasks;
    int task_count;
    bool broken;
    struct snap_transfer *next; /* of the abandoned ones */
};

/* Broken transfers: kept, since late messages may still be written to their tiles. */
static _Atomic(struct snap_transfer *) abandoned;

int64_t snap_tile_count(const struct snap_group *group)
{
    return (int64_t)((group->segment_bytes + SNAP_TILE_BYTES - 1) / SNAP_TILE_BYTES);
}

size_t snap_tile_bytes(const struct snap_group *group, int64_t tile)
{
    const uint64_t left = group->segment_bytes - (uint64_t)tile * SNAP_TILE_BYTES;

    return left < SNAP_TILE_BYTES ? (size_t)left : SNAP_TILE_BYTES;
}

uint64_t snap_tile_hash(const uint8_t *tile, size_t bytes)
{
    return hash_bytes(tile, bytes).low;
}

int snap_transfer_plan_encode(const struct snap_layout *layout, struct snap_work works_out[])
{
    int count = 0;

    for (int g = 0; g < layout->group_count; g++) {
        const struct snap_group *group = &layout->groups[g];
        for (int s = 0; s < group->member_count && group->parity_count > 0; s++) {
            struct snap_work *work = &works_out[count++];
            *work = (struct snap_work){.group = g, .stripe = s};
            for (int i = 0; i < group->data_count; i++) {
                work->given[i] = i;
            }
            for (int j = 0; j < group->parity_count; j++) {
                work->wanted[j] = group->data_count + j;
            }
            work->wanted_count = group->parity_count;
            work->worker = snap_layout_piece(group, s, group->data_count).rank;
        }
    }
    return count;
}

int snap_transfer_plan_rebuild(const struct snap_inventory *inventory, uint64_t version,
                               struct snap_work works_out[])
{
    const struct snap_layout *layout = inventory->layout;
    int count = 0;

    for (int g = 0; g < layout->group_count; g++) {
        for (int s = 0; s < layout->groups[g].member_count; s++) {
            struct snap_work work = {.group = g, .stripe = s};
            work.wanted_count =
                snap_recover_rows(inventory, version, g, s, work.given, work.wanted);
            assert(work.wanted_count >= 0);
            if (work.wanted_count > 0) {
                const int row = work.wanted[s % work.wanted_count];
                work.worker = snap_layout_piece(&layout->groups[g], s, row).rank;
                works_out[count++] = work;
            }
        }
    }
    return count;
}

static const struct snap_group *group_of(const struct snap_transfer *transfer,
                                         const struct task *task)
{
    return &transfer->options.layout->groups[task->work.group];
}

static bool is_here(const struct snap_transfer *transfer, int member)
{
    return transfer->options.host_of[member] == comm_rank(transfer->options.comm);
}

/* Tile `tile` of a row this rank keeps; its hash goes to *hash_out. */
static uint8_t *tile_of(const struct snap_transfer *transfer, const struct snap_group *group,
                        const struct snap_piece *piece, int64_t tile, uint64_t **hash_out)
{
    const struct snap_rows *rows = &transfer->rows[piece->rank];
    const int64_t at = piece->segment * snap_tile_count(group) + tile;
    uint8_t *const base = piece->is_parity ? rows->parity : rows->data;

    assert(is_here(transfer, piece->rank));
    *hash_out = (piece->is_parity ? rows->parity_hashes : rows->data_hashes) + at;
    return base + (uint64_t)piece->segment * group->segment_bytes +
           (uint64_t)tile * SNAP_TILE_BYTES;
}

/* Starts everything of one tile but the sending of what is computed. */
static enum err start_tile(const struct snap_transfer *transfer, struct task *task, int64_t tile)
{
    const struct snap_group *group = group_of(transfer, task);
    const struct snap_work *work = &task->work;
    struct stage *stage = &task->stages[tile % BUFFERS];
    const int worker = transfer->options.host_of[work->worker];
    uint64_t *hash = NULL;

    stage->input_count = stage->other_count = stage->arriving_count = 0;
    stage->bytes = snap_tile_bytes(group, tile);
    for (int i = 0; i < group->data_count; i++) {
        const struct snap_piece piece = snap_layout_piece(group, work->stripe, work->given[i]);
        uint8_t *const incoming =
            task->code == NULL ? NULL : task->tiles[tile % BUFFERS] + (size_t)i * SNAP_TILE_BYTES;
        if (is_here(transfer, piece.rank)) {
            stage->rows[i] = tile_of(transfer, group, &piece, tile, &hash);
            if (task->code == NULL) {
                ERR_TRY(comm_message_send(transfer->options.comm, worker, TAG_GIVEN, stage->rows[i],
                                          stage->bytes, &stage->others[stage->other_count++]));
            }
        } else if (task->code != NULL) {
            stage->rows[i] = incoming;
            ERR_TRY(comm_message_receive(transfer->options.comm,
                                         transfer->options.host_of[piece.rank], TAG_GIVEN, incoming,
                                         stage->bytes, &stage->inputs[stage->input_count++]));
        }
    }
    for (int j = 0; j < work->wanted_count && task->code == NULL; j++) {
        const struct snap_piece piece = snap_layout_piece(group, work->stripe, work->wanted[j]);
        if (is_here(transfer, piece.rank)) {
            uint8_t *const to = tile_of(transfer, group, &piece, tile, &hash);
            stage->arriving[stage->arriving_count].tile = to;
            stage->arriving[stage->arriving_count++].hash = hash;
            ERR_TRY(comm_message_receive(transfer->options.comm, worker, TAG_WANTED, to,
                                         stage->bytes, &stage->others[stage->other_count++]));
        }
    }
    return ERR_OK;
}

/* The worker's part of one tile: waits for the given rows, computes, sends on. */
static enum err compute_tile(const struct snap_transfer *transfer, struct task *task, int64_t tile,
                             uint8_t *outgoing)
{
    const struct snap_group *group = group_of(transfer, task);
    struct stage *stage = &task->stages[tile % BUFFERS];
    uint8_t *outputs[SNAP_PARITY_MAX] = {NULL};
    uint64_t *hashes[SNAP_PARITY_MAX] = {NULL};
    int to[SNAP_PARITY_MAX] = {0};

    ERR_TRY(comm_message_wait(transfer->options.comm, stage->inputs, stage->input_count,
                              transfer->options.deadline_ms));
    for (int j = 0; j < task->work.wanted_count; j++) {
        const struct snap_piece piece =
            snap_layout_piece(group, task->work.stripe, task->work.wanted[j]);
        to[j] = transfer->options.host_of[piece.rank];
        outputs[j] = is_here(transfer, piece.rank)
                         ? tile_of(transfer, group, &piece, tile, &hashes[j])
                         : outgoing + (size_t)j * SNAP_TILE_BYTES;
    }
    snap_code_run(task->code, stage->bytes, stage->rows, outputs);
    for (int j = 0; j < task->work.wanted_count; j++) {
        if (hashes[j] != NULL) {
            *hashes[j] = snap_tile_hash(outputs[j], stage->bytes);
        } else {
            ERR_TRY(comm_message_send(transfer->options.comm, to[j], TAG_WANTED, outputs[j],
                                      stage->bytes, &stage->others[stage->other_count++]));
        }
    }
    return ERR_OK;
}

/* Until nothing of that tile is under way any more. */
static enum err finish_tile(const struct snap_transfer *transfer, struct task *task, int64_t tile)
{
    struct stage *stage = &task->stages[tile % BUFFERS];

    ERR_TRY(comm_message_wait(transfer->options.comm, stage->others, stage->other_count,
                              transfer->options.deadline_ms));
    for (int i = 0; i < stage->arriving_count; i++) {
        *stage->arriving[i].hash = snap_tile_hash(stage->arriving[i].tile, stage->bytes);
    }
    return ERR_OK;
}

/* Where the rows that a worker sends on are put: behind the given ones. */
static uint8_t *outgoing_of(const struct snap_transfer *transfer, const struct task *task,
                            int64_t tile)
{
    return task->code == NULL ? NULL
                              : task->tiles[tile % BUFFERS] +
                                    (size_t)group_of(transfer, task)->data_count * SNAP_TILE_BYTES;
}

/* Tasks of one group, side by side. */
static enum err run_group(const struct snap_transfer *transfer, struct task *tasks, int task_count)
{
    const int64_t tiles = snap_tile_count(group_of(transfer, &tasks[0]));

    for (int64_t tile = 0; tile < tiles + BUFFERS; tile++) {
        FAULT_POINT_FAIL(FAULT_SNAP_STRIPES, ERR_IO);
        for (int t = 0; t < task_count && tile >= BUFFERS; t++) {
            ERR_TRY(finish_tile(transfer, &tasks[t], tile - BUFFERS));
        }
        for (int t = 0; t < task_count && tile < tiles; t++) {
            ERR_TRY(start_tile(transfer, &tasks[t], tile));
        }
        const int64_t ready = tile - AHEAD;
        for (int t = 0; t < task_count && ready >= 0 && ready < tiles; t++) {
            if (tasks[t].code != NULL) {
                ERR_TRY(compute_tile(transfer, &tasks[t], ready,
                                     outgoing_of(transfer, &tasks[t], ready)));
            }
        }
    }
    return ERR_OK;
}

enum err snap_transfer_run(struct snap_transfer *transfer, const struct snap_rows rows[])
{
    assert(!transfer->broken);
    transfer->rows = rows;
    for (int first = 0; first < transfer->task_count;) {
        const int group = transfer->tasks[first].work.group;
        int end = first + 1;
        while (end < transfer->task_count && transfer->tasks[end].work.group == group) {
            end++;
        }
        const enum err status = run_group(transfer, transfer->tasks + first, end - first);
        if (status != ERR_OK) {
            transfer->broken = true;
            return err_context_(status, "stripes of group %d", group);
        }
        first = end;
    }
    return ERR_OK;
}

/* Whether this rank has anything to do with a work. */
static bool takes_part(const struct snap_transfer *transfer, const struct snap_work *work)
{
    const struct snap_group *group = &transfer->options.layout->groups[work->group];

    for (int i = 0; i < group->data_count + work->wanted_count; i++) {
        const int row =
            i < group->data_count ? work->given[i] : work->wanted[i - group->data_count];
        if (is_here(transfer, snap_layout_piece(group, work->stripe, row).rank)) {
            return true;
        }
    }
    return false;
}

static enum err open_task(const struct snap_transfer *transfer, const struct snap_work *work,
                          struct task *task)
{
    const struct snap_group *group = &transfer->options.layout->groups[work->group];
    const size_t tiles = (size_t)group->data_count + (size_t)work->wanted_count;

    task->work = *work;
    if (!is_here(transfer, work->worker)) {
        return ERR_OK;
    }
    ERR_TRY(snap_code_open(group->data_count, group->parity_count, work->given, work->wanted,
                           work->wanted_count, &task->code));
    for (int i = 0; i < BUFFERS; i++) {
        void *block = NULL;
        ERR_TRY(memory_open(tiles * SNAP_TILE_BYTES, "tiles of a stripe", &block));
        task->tiles[i] = block;
    }
    return ERR_OK;
}

enum err snap_transfer_open(const struct snap_transfer_options *options,
                            struct snap_transfer **transfer_out)
{
    struct snap_transfer *transfer = calloc(1, sizeof(*transfer));
    enum err status = ERR_OK;

    if (transfer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a transfer");
    }
    transfer->options = *options;
    transfer->options.works = NULL;
    transfer->tasks = calloc((size_t)options->work_count + 1, sizeof(*transfer->tasks));
    if (transfer->tasks == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "%d stripes", options->work_count);
    }
    for (int w = 0; w < options->work_count && status == ERR_OK; w++) {
        if (takes_part(transfer, &options->works[w])) {
            status =
                open_task(transfer, &options->works[w], &transfer->tasks[transfer->task_count++]);
        }
    }
    if (status != ERR_OK) {
        snap_transfer_close(transfer);
        return status;
    }
    *transfer_out = transfer;
    return ERR_OK;
}

void snap_transfer_close(struct snap_transfer *transfer)
{
    if (transfer == NULL) {
        return;
    }
    if (transfer->broken) {
        transfer->next = atomic_load(&abandoned);
        while (!atomic_compare_exchange_weak(&abandoned, &transfer->next, transfer)) {
        }
        return;
    }
    for (int t = 0; t < transfer->task_count && transfer->tasks != NULL; t++) {
        snap_code_close(transfer->tasks[t].code);
        for (int i = 0; i < BUFFERS; i++) {
            memory_close(transfer->tasks[t].tiles[i]);
        }
    }
    free(transfer->tasks);
    free(transfer);
}
