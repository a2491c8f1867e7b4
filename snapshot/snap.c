#define _POSIX_C_SOURCE 200809L
#include "snapshot/snap_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"

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
    snap->folder = strdup(options->folder);
    if (snap->folder == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "snapshots");
        goto err_close;
    }
    snap->options.folder = snap->folder;
    ERR_GOTO(err_close, status, file_make_folder(snap->folder));
    struct stat info;
    if (lstat(snap->folder, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        chmod(snap->folder, 0700) != 0) {
        status = ERR_FAIL(ERR_IO, "%s is not a folder of this user's", snap->folder);
        goto err_close;
    }
    ERR_GOTO(err_close, status, comm_duplicate(options->world, &snap->control));
    ERR_GOTO(err_close, status, comm_duplicate(options->world, &snap->transfers));
    *snap_out = snap;
    return ERR_OK;

err_close:
    snap_close(snap, SNAP_INTERRUPTED);
    return status;
}

enum err snap_protect(struct snap *snap, const char *name, void *address, size_t bytes,
                      enum snap_kind kind)
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
    *range = (struct snap_range){.address = address, .bytes = bytes, .kind = kind};
    snprintf(range->name, sizeof(range->name), "%s", name);
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

/* The next piece of [at, at + bytes) that lies in one range. */
static uint8_t *piece_at(const struct snap *snap, enum snap_kind kind, uint64_t at, uint64_t bytes,
                         uint64_t *piece_out)
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
            return range->address + (at - begin);
        }
        begin += range->bytes;
    }
    assert(false); /* the caller stays within snap_bytes_of() */
    return NULL;
}

void snap_gather(const struct snap *snap, enum snap_kind kind, uint64_t at, uint8_t *to,
                 uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t piece = 0;
        const uint8_t *from = piece_at(snap, kind, at, bytes, &piece);
        memcpy(to, from, piece);
        at += piece;
        to += piece;
        bytes -= piece;
    }
}

void snap_scatter(struct snap *snap, enum snap_kind kind, uint64_t at, const uint8_t *from,
                  uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t piece = 0;
        uint8_t *to = piece_at(snap, kind, at, bytes, &piece);
        memcpy(to, from, piece);
        at += piece;
        from += piece;
        bytes -= piece;
    }
}

const char *snap_guarantee(const struct snap *snap)
{
    return snap->guarantee;
}

/* What stopped the worker, as this thread's own error. */
static enum err status_of(struct snap *snap)
{
    return snap->status == ERR_OK ? ERR_OK : ERR_FAIL(snap->status, "snapshots: %s", snap->message);
}

enum err snap_begin(struct snap *snap, uint64_t version)
{
    const int64_t start_ns = clock_now_ns();

    assert(snap->is_running);
    pthread_mutex_lock(&snap->mutex);
    while (snap->queue_count == SNAP_QUEUE_MAX && snap->status == ERR_OK) {
        pthread_cond_wait(&snap->changed, &snap->mutex);
    }
    enum err status = status_of(snap);
    if (status == ERR_OK) {
        const bool skips = snap->is_busy || snap->queue_count > 0;
        snap->queue[snap->queue_count++] = (struct snap_request){version, start_ns, skips};
        snap->must_copy = snap->must_copy || !skips;
        snap->statistics.begun++;
        pthread_cond_broadcast(&snap->changed);
    }
    snap->statistics.stall_s += clock_since_s(start_ns);
    pthread_mutex_unlock(&snap->mutex);
    return status;
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
    return status;
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
    rmdir(snap->folder); /* by the last rank of the node; the others find it not empty */
}

void snap_close(struct snap *snap, enum snap_end end)
{
    if (snap == NULL) {
        return;
    }
    snap_worker_stop(snap);
    if (end == SNAP_FINISHED && snap->area != NULL) {
        remove_memory(snap);
    }
    snap_transfer_close(snap->encode);
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
    free(snap->folder);
    free(snap);
}
