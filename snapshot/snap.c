#define _XOPEN_SOURCE 700
#include "snapshot/snap_priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"

/* Texts that are lent for snap_open() alone. */
static enum err copy_disk_options(struct snap *snap)
{
    struct snap_options *options = &snap->options;

    if (options->keeper_program != NULL) {
        snap->keeper_program = strdup(options->keeper_program);
        options->keeper_program = snap->keeper_program;
        if (snap->keeper_program == NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "snapshots");
        }
    }
    if (options->output_dir != NULL) {
        if (strlen(options->output_dir) >= sizeof(snap->plan.output_dir)) {
            return ERR_FAIL(ERR_INVALID, "output_dir: a path of %zu bytes",
                            strlen(options->output_dir));
        }
        if (options->output_dir[0] != '/') {
            return ERR_FAIL(ERR_INVALID, "output_dir: %.200s is not absolute", options->output_dir);
        }
        snprintf(snap->plan.output_dir, sizeof(snap->plan.output_dir), "%s", options->output_dir);
        options->output_dir = snap->plan.output_dir;
    }
    if (options->incarnation_file != NULL) {
        if (strlen(options->incarnation_file) >= sizeof(snap->plan.incarnation_file)) {
            return ERR_FAIL(ERR_INVALID, "incarnation_file: a path of %zu bytes",
                            strlen(options->incarnation_file));
        }
        snprintf(snap->plan.incarnation_file, sizeof(snap->plan.incarnation_file), "%s",
                 options->incarnation_file);
        options->incarnation_file = snap->plan.incarnation_file;
    }
    snap->plan.incarnation = (int64_t)options->incarnation;
    snap->plan.keep_count = options->keep_count;
    snap->plan.bytes_per_s = options->bytes_per_s;
    snap->plan.deadline_ms = options->deadline_ms;
    return ERR_OK;
}

enum err snap_open(const struct snap_options *options, struct snap **snap_out)
{
    struct snap *snap = calloc(1, sizeof(*snap));
    enum err status = ERR_OK;

    if (snap == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "snapshots");
    }
    snap->options = *options;
    snap->options.world = NULL;
    pthread_mutex_init(&snap->mutex, NULL);
    pthread_cond_init(&snap->changed, NULL);
    ERR_GOTO(err_close, status, snap_area_folder(options->folder));
    snap->folder = realpath(options->folder, NULL); /* a keeper has another working directory */
    if (snap->folder == NULL) {
        status = ERR_FAIL(ERR_IO, "%s: %s", options->folder, strerror(errno));
        goto err_close;
    }
    snap->options.folder = snap->folder;
    snap->claim = (struct snap_claim){
        .job_key = options->job_key,
        .owner = {.launcher = strcmp(comm_launcher(options->world), "none") == 0 ? 0 : getppid(),
                  .incarnation = options->incarnation,
                  .fences = options->fences}};
    ERR_GOTO(err_close, status, copy_disk_options(snap));
    if (options->output_dir != NULL && comm_rank(options->world) == 0) {
        ERR_GOTO(err_close, status, file_make_folder(options->output_dir));
    }
    ERR_GOTO(err_close, status, snap_device_open(options->device, &snap->device));
    ERR_GOTO(err_close, status, comm_duplicate(options->world, &snap->control));
    ERR_GOTO(err_close, status, comm_duplicate(options->world, &snap->transfers));
    *snap_out = snap;
    return ERR_OK;

err_close:
    snap_close(snap, SNAP_INTERRUPTED);
    return status;
}

static enum err protect(struct snap *snap, const char *name, void *address, size_t bytes,
                        enum snap_kind kind, bool is_on_device)
{
    assert(snap->layout == NULL);
    if (strlen(name) >= SNAP_NAME_BYTES) {
        return ERR_FAIL(ERR_INVALID, "the name %s has more than %d bytes", name,
                        SNAP_NAME_BYTES - 1);
    }
    for (int i = 0; i < snap->range_count; i++) {
        if (strcmp(snap->ranges[i].name, name) == 0) {
            return ERR_FAIL(ERR_INVALID, "%s is protected already", name);
        }
    }
    if (snap->range_count == snap->range_capacity) {
        const int capacity = 2 * snap->range_capacity + 16;
        struct snap_range *ranges = realloc(snap->ranges, (size_t)capacity * sizeof(*snap->ranges));
        if (ranges == NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "a list of %d ranges", capacity);
        }
        snap->ranges = ranges;
        snap->range_capacity = capacity;
    }
    struct snap_range *range = &snap->ranges[snap->range_count++];
    *range = (struct snap_range){
        .address = address, .bytes = bytes, .kind = kind, .is_on_device = is_on_device};
    snprintf(range->name, sizeof(range->name), "%s", name);
    if (kind == SNAP_REPLICATED && snap->plan.file_count > 0) {
        snap->plan.files[snap->plan.file_count - 1].bytes += bytes;
    }
    return ERR_OK;
}

enum err snap_protect(struct snap *snap, const char *name, void *address, size_t bytes,
                      enum snap_kind kind)
{
    return protect(snap, name, address, bytes, kind, false);
}

enum err snap_protect_device(struct snap *snap, const char *name, void *address, size_t bytes,
                             enum snap_kind kind)
{
    return protect(snap, name, address, bytes, kind, snap->device != NULL);
}

enum err snap_file(struct snap *snap, const char *name, uint32_t pack_width)
{
    struct snap_plan *plan = &snap->plan;

    if (plan->file_count == SNAP_PLAN_FILES_MAX || strlen(name) >= SNAP_PLAN_NAME_BYTES) {
        return ERR_FAIL(ERR_INVALID, "file %s: at most %d files, names of %d bytes", name,
                        SNAP_PLAN_FILES_MAX, SNAP_PLAN_NAME_BYTES - 1);
    }
    struct snap_extent *file = &plan->files[plan->file_count++];
    *file = (struct snap_extent){.at = snap_bytes_of(snap, SNAP_REPLICATED), .width = pack_width};
    snprintf(file->name, sizeof(file->name), "%s", name);
    return ERR_OK;
}

uint64_t snap_bytes_of(const struct snap *snap, enum snap_kind kind)
{
    uint64_t bytes = 0;

    for (int i = 0; i < snap->range_count; i++) {
        bytes += snap->ranges[i].kind == kind ? snap->ranges[i].bytes : 0;
    }
    return bytes;
}

struct hash snap_ranges_hash(const struct snap *snap)
{
    struct hash hash = {0, 0};

    for (int i = 0; i < snap->range_count; i++) {
        const struct snap_range *range = &snap->ranges[i];
        const uint64_t bytes = range->kind == SNAP_REPLICATED ? range->bytes : 0;
        const uint64_t parts[] = {hash.low, hash.high, range->kind, bytes,
                                  hash_bytes(range->name, strlen(range->name)).low};
        hash = hash_bytes(parts, sizeof(parts));
    }
    return hash;
}

/* The next piece of [at, at + bytes) that lies in one range; *range_out: which. */
static uint8_t *piece_at(const struct snap *snap, enum snap_kind kind, uint64_t at, uint64_t bytes,
                         uint64_t *piece_out, const struct snap_range **range_out)
{
    uint64_t begin = 0;

    for (int i = 0; i < snap->range_count; i++) {
        const struct snap_range *range = &snap->ranges[i];
        if (range->kind != kind) {
            continue;
        }
        if (at < begin + range->bytes) {
            const uint64_t left = begin + range->bytes - at;
            *piece_out = left < bytes ? left : bytes;
            *range_out = range;
            return range->address + (at - begin);
        }
        begin += range->bytes;
    }
    assert(false); /* the caller stays within snap_bytes_of() */
    return NULL;
}

const uint8_t *snap_contiguous(const struct snap *snap, enum snap_kind kind, uint64_t at,
                               uint64_t bytes)
{
    const struct snap_range *range = NULL;
    uint64_t piece = 0;
    const uint8_t *from = piece_at(snap, kind, at, bytes, &piece, &range);

    return piece == bytes && !range->is_on_device ? from : NULL;
}

enum err snap_gather(const struct snap *snap, enum snap_kind kind, uint64_t at, uint8_t *to,
                     uint64_t bytes)
{
    while (bytes > 0) {
        const struct snap_range *range = NULL;
        uint64_t piece = 0;
        const uint8_t *from = piece_at(snap, kind, at, bytes, &piece, &range);
        if (range->is_on_device) {
            ERR_TRY(snap_device_copy(snap->device, to, from, piece));
        } else {
            memcpy(to, from, piece);
        }
        at += piece;
        to += piece;
        bytes -= piece;
    }
    return ERR_OK;
}

enum err snap_scatter(struct snap *snap, enum snap_kind kind, uint64_t at, const uint8_t *from,
                      uint64_t bytes)
{
    while (bytes > 0) {
        const struct snap_range *range = NULL;
        uint64_t piece = 0;
        uint8_t *to = piece_at(snap, kind, at, bytes, &piece, &range);
        if (range->is_on_device) {
            ERR_TRY(snap_device_copy(snap->device, to, from, piece));
        } else {
            memcpy(to, from, piece);
        }
        at += piece;
        from += piece;
        bytes -= piece;
    }
    return snap_device_settle(snap->device, snap->options.deadline_ms);
}

const char *snap_guarantee(const struct snap *snap)
{
    return snap->guarantee;
}

uint64_t snap_node_bytes(const struct snap *snap)
{
    return snap->node_bytes;
}

/* What stopped the worker, as this thread's own error. */
static enum err status_of(struct snap *snap)
{
    return snap->status == ERR_OK ? ERR_OK : ERR_FAIL(snap->status, "snapshots: %s", snap->message);
}

/* For drills: memory goes wrong on this rank. Of a float not the last bit, which the next update may round away. */
static enum err flip_bit(struct snap *snap)
{
    const uint64_t at = snap_bytes_of(snap, SNAP_REPLICATED) / 2 | 3;
    uint8_t byte = 0;

    ERR_TRY(snap_gather(snap, SNAP_REPLICATED, at, &byte, 1));
    ERR_TRY(snap_device_settle(snap->device, snap->options.deadline_ms));
    byte ^= 1;
    return snap_scatter(snap, SNAP_REPLICATED, at, &byte, 1);
}

static enum err begin(struct snap *snap, uint64_t version, bool saves)
{
    const int64_t start_ns = clock_now_ns();

    assert(snap->is_running);
    if (FAULT_POINT_DUE(FAULT_SNAP_FLIP)) {
        ERR_TRY(snap_fence(snap));
        ERR_TRY(flip_bit(snap));
    }
    ERR_TRY(snap_device_begin(snap->device));
    pthread_mutex_lock(&snap->mutex);
    while (snap->queue_count == SNAP_QUEUE_MAX && snap->status == ERR_OK) {
        pthread_cond_wait(&snap->changed, &snap->mutex);
    }
    enum err status = status_of(snap);
    if (status == ERR_OK) {
        const bool skips = snap->is_busy || snap->queue_count > 0;
        snap->queue[snap->queue_count++] = (struct snap_request){version, start_ns, skips, saves};
        snap->must_copy = snap->must_copy || !skips;
        snap->statistics.begun++;
        if (saves && snap->statistics.saves_begun++ == 0) {
            snap->first_save = version;
        }
        pthread_cond_broadcast(&snap->changed);
    }
    snap->statistics.stall_s += clock_since_s(start_ns);
    pthread_mutex_unlock(&snap->mutex);
    return status;
}

enum err snap_begin(struct snap *snap, uint64_t version)
{
    return begin(snap, version, false);
}

enum err snap_save(struct snap *snap, uint64_t version)
{
    const int64_t start_ns = clock_now_ns();

    assert(snap->keeper != NULL && snap->options.output_dir != NULL);
    assert(snap->plan.file_count > 0);
    ERR_TRY(snap_wait(snap));
    pthread_mutex_lock(&snap->mutex);
    snap->statistics.stall_s += clock_since_s(start_ns);
    pthread_mutex_unlock(&snap->mutex);
    return begin(snap, version, true);
}

enum err snap_fence(struct snap *snap)
{
    const int64_t start_ns = clock_now_ns();

    pthread_mutex_lock(&snap->mutex);
    while (snap->must_copy && snap->status == ERR_OK) {
        pthread_cond_wait(&snap->changed, &snap->mutex);
    }
    const enum err status = status_of(snap);
    snap->statistics.stall_s += clock_since_s(start_ns);
    pthread_mutex_unlock(&snap->mutex);
    return status == ERR_OK ? snap_device_fence(snap->device) : status;
}

enum err snap_wait(struct snap *snap)
{
    pthread_mutex_lock(&snap->mutex);
    while ((snap->queue_count > 0 || snap->is_busy) && snap->status == ERR_OK) {
        pthread_cond_wait(&snap->changed, &snap->mutex);
    }
    const enum err status = status_of(snap);
    pthread_mutex_unlock(&snap->mutex);
    return status;
}

enum err snap_wait_saved(struct snap *snap, int64_t deadline_ms)
{
    const int64_t until_ms = clock_now_ms() + deadline_ms;

    ERR_TRY(snap_wait(snap)); /* from here on the worker sleeps, and the keeper is this thread's */
    while (comm_rank(snap->control) == 0) {
        const struct snap_statistics now = snap_statistics(snap);
        const int64_t left_ms = until_ms - clock_now_ms();
        if (now.saves_begun <= now.saved + now.saves_failed) {
            break;
        }
        if (left_ms <= 0) {
            return ERR_FAIL(ERR_TIMEOUT, "a checkpoint was not written within %" PRId64 " ms",
                            deadline_ms);
        }
        snap_hear_keeper(snap, left_ms);
    }
    return ERR_OK;
}

struct snap_statistics snap_statistics(struct snap *snap)
{
    pthread_mutex_lock(&snap->mutex);
    const struct snap_statistics statistics = snap->statistics;
    pthread_mutex_unlock(&snap->mutex);
    return statistics;
}

static void remove_memory(struct snap *snap)
{
    char path[FILE_PATH_BYTES_MAX];
    int64_t ignored = 0;

    /* Nobody removes anything before all are through with it. */
    if (comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored) != ERR_OK ||
        snap_area_path(path, snap->folder, snap->layout->hash, comm_rank(snap->control)) !=
            ERR_OK) {
        err_clear();
        return;
    }
    unlink(path);
}

void snap_close(struct snap *snap, enum snap_end end)
{
    if (snap == NULL) {
        return;
    }
    snap_worker_stop(snap);
    const bool finished = end == SNAP_FINISHED && snap->area != NULL;
    if (finished) {
        remove_memory(snap);
    }
    snap_keeper_close(snap->keeper, finished);
    if (finished) {
        rmdir(
            snap->folder); /* by the last of the node, keeper or rank; the others find it not empty */
    }
    snap_transfer_close(snap->encode);
    snap_device_close(snap->device);
    snap_area_close(snap->area);
    snap_layout_close(snap->layout);
    comm_close(snap->control);
    comm_close(snap->transfers);
    pthread_cond_destroy(&snap->changed);
    pthread_mutex_destroy(&snap->mutex);
    free(snap->rows);
    free(snap->host_of);
    free(snap->places);
    free(snap->ranges);
    free(snap->keeper_program);
    free(snap->folder);
    free(snap);
}
