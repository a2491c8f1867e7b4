#define _GNU_SOURCE
#include "snapshot/snap_part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "snapshot/snap_area.h"
#include "snapshot/snap_disk.h"
#include "snapshot/snap_pack.h"
#include "snapshot/snap_packs.h"

enum { CHUNK_BYTES = 1 << 20, NAME_BYTES = 96, TOUCH_MS = 1000, NAP_US = 10000 };

/* One writing of one part. */
struct writing {
    const struct snap_part *part;
    const struct snap_plan *plan;
    char partial[FILE_PATH_BYTES_MAX];
    char mark[FILE_PATH_BYTES_MAX]; /* .writing-... */
    int64_t start_ns, touched_ms;
    uint64_t written_bytes;
};

static void save_text(const struct snap_part *part, char text[NAME_BYTES])
{
    snprintf(text, NAME_BYTES, "-%016" PRIx64 "-%016" PRIx64 "-", part->job_root, part->layout);
}

static enum err mark_path(const struct writing *writing, const char *state,
                          char path[FILE_PATH_BYTES_MAX])
{
    char name[NAME_BYTES + 48];
    char save[NAME_BYTES];

    save_text(writing->part, save);
    snprintf(name, sizeof(name), ".%s%s%d", state, save, writing->part->member);
    return file_path(path, writing->partial, name);
}

/* Copies the slice, and has every tile compared with the hash it was sealed with. */
static enum err copy_slice(const struct snap_area *area, int slot, struct snap_part *part,
                           uint8_t *tile)
{
    const struct snap_layout *layout = snap_area_layout(area);
    const struct snap_group *group = &layout->groups[layout->members[part->member].group];
    const struct snap_rows rows = snap_area_rows(area, slot);
    const int64_t tiles = snap_tile_count(group);
    const uint64_t slice_bytes = part->bytes + part->private_bytes;

    for (int64_t t = 0; t < tiles * group->data_count; t++) {
        const uint64_t at =
            (uint64_t)(t / tiles) * group->segment_bytes + (uint64_t)(t % tiles) * SNAP_TILE_BYTES;
        const size_t bytes = snap_tile_bytes(group, t % tiles);
        memcpy(tile, rows.data + at, bytes);
        if (snap_tile_hash(tile, bytes) != rows.data_hashes[t]) {
            return ERR_FAIL(ERR_CORRUPT,
                            "member %d, version %" PRIu64 ": tile %" PRId64
                            " is not what it was sealed as",
                            part->member, part->version, t);
        }
        if (at < slice_bytes) {
            memcpy(part->data + at, tile, slice_bytes - at < bytes ? slice_bytes - at : bytes);
        }
    }
    return ERR_OK;
}

/* All but the data. */
static enum err identify(const struct snap_area *area, uint64_t version, int *slot_out,
                         struct snap_part *part)
{
    const int slot = snap_slots_find(snap_area_slots(area), version);
    const struct snap_layout *layout = snap_area_layout(area);
    const int member = snap_area_rank(area);

    if (slot == SNAP_NO_SLOT || snap_area_header(area, slot)->state.state < SNAP_ENCODED) {
        return ERR_FAIL(ERR_MISSING, "member %d has no version %" PRIu64, member, version);
    }
    *slot_out = slot;
    *part = (struct snap_part){.member = member,
                               .rank_count = layout->rank_count,
                               .version = version,
                               .job_root = snap_area_header(area, slot)->job_root.low,
                               .layout = layout->hash.low,
                               .at = layout->members[member].replicated_at,
                               .bytes = layout->members[member].replicated_bytes,
                               .private_bytes = layout->members[member].place.private_bytes};
    return ERR_OK;
}

static enum err take(const struct snap_area *area, uint64_t version, struct snap_part *part)
{
    const struct snap_layout *layout = snap_area_layout(area);
    const int member = snap_area_rank(area);
    struct hash root;
    int slot = 0;

    ERR_TRY(identify(area, version, &slot, part));
    ERR_TRY(snap_data_root(version, layout, member, snap_area_rows(area, slot).data_hashes,
                           snap_map_of(layout, member).data_tile_count, &root));
    if (!hash_is_same(root, snap_area_header(area, slot)->data_root)) {
        return ERR_FAIL(ERR_CORRUPT, "member %d, version %" PRIu64 ": its hashes are damaged",
                        member, version);
    }
    part->data = malloc(part->bytes + part->private_bytes + 1);
    uint8_t *tile = malloc(SNAP_TILE_BYTES);
    const enum err status =
        part->data == NULL || tile == NULL
            ? ERR_FAIL(ERR_NO_MEMORY, "a copy of %" PRIu64 " bytes", part->bytes)
            : copy_slice(area, slot, part, tile);
    free(tile);
    return status;
}

enum err snap_part_take(const char *path, uint64_t version, struct snap_part *part_out)
{
    struct snap_area *area = NULL;
    struct snap_part part = {0};

    ERR_TRY(snap_area_peek(path, &area));
    const enum err status = take(area, version, &part);
    snap_area_close(area);
    if (status != ERR_OK) {
        snap_part_close(&part);
        return status;
    }
    *part_out = part;
    return ERR_OK;
}

void snap_part_close(struct snap_part *part)
{
    free(part->data);
    *part = (struct snap_part){0};
}

/* Not faster than the plan allows, and with a sign of life now and then. */
static void pace(struct writing *writing, size_t bytes)
{
    const double bytes_per_s = (double)writing->plan->bytes_per_s;

    writing->written_bytes += bytes;
    for (;;) {
        if (clock_now_ms() - writing->touched_ms > TOUCH_MS) {
            writing->touched_ms = clock_now_ms();
            utimensat(AT_FDCWD, writing->mark, NULL, 0);
        }
        if (bytes_per_s <= 0 ||
            clock_since_s(writing->start_ns) * bytes_per_s >= (double)writing->written_bytes) {
            return;
        }
        clock_nap_us(NAP_US);
    }
}

static enum err write_extent(struct writing *writing, int file, const char *path, uint64_t at,
                             const uint8_t *bytes, uint64_t count)
{
    while (count > 0) {
        const size_t chunk = count < CHUNK_BYTES ? (size_t)count : CHUNK_BYTES;
        FAULT_POINT_FAIL(FAULT_KEEPER_WRITE, ERR_IO);
        const ssize_t done = pwrite(file, bytes, chunk, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return ERR_FAIL(ERR_IO, "%s: write of %zu bytes: %s", path, chunk, strerror(errno));
        }
        at += (uint64_t)done;
        bytes += done;
        count -= (uint64_t)done;
        pace(writing, (size_t)done);
    }
    return ERR_OK;
}

/* A pack of those bytes, chunk by chunk; its head last. */
static enum err write_pack(struct writing *writing, int file, const char *path, uint32_t width,
                           const uint8_t *bytes, uint64_t count)
{
    const struct snap_pack_shape shape = {width, SNAP_PACK_CHUNK_BYTES, count};
    uint64_t at = snap_pack_head_bytes(&shape);
    struct snap_pack *pack = NULL;
    enum err status = ERR_OK;

    ERR_TRY(snap_pack_open(&shape, &pack));
    for (uint64_t done = 0; done < count && status == ERR_OK;) {
        const uint64_t left = count - done;
        const size_t chunk = left < SNAP_PACK_CHUNK_BYTES ? (size_t)left : SNAP_PACK_CHUNK_BYTES;
        const struct file_piece stored = snap_pack_chunk(pack, bytes + done, chunk);
        status = write_extent(writing, file, path, at, stored.bytes, stored.count);
        at += stored.count;
        done += chunk;
    }
    if (status == ERR_OK) {
        const struct file_piece head = snap_pack_head(pack);
        status = write_extent(writing, file, path, 0, head.bytes, head.count);
    }
    snap_pack_close(pack);
    return status;
}

/* The name under which this member's part of a file goes. */
static void name_file(const struct snap_extent *extent, int member, char name[NAME_BYTES])
{
    if (extent->width == 0) {
        snprintf(name, NAME_BYTES, "%s", extent->name);
    } else {
        snprintf(name, NAME_BYTES, "%s" SNAP_PACK_ENDING "%d", extent->name, member);
    }
}

/* Opens a file of the checkpoint to be written, `bytes` long; it may be there. */
static enum err open_part(const char *path, uint64_t bytes, int *file_out)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);

    if (file < 0) {
        return ERR_FAIL(ERR_IO, "%s: create: %s", path, strerror(errno));
    }
    if (ftruncate(file, (off_t)bytes) != 0) {
        const int code = errno;
        close(file);
        return ERR_FAIL(ERR_IO, "%s: %s", path, strerror(code));
    }
    *file_out = file;
    return ERR_OK;
}

static enum err close_part(const char *path, int file, enum err status)
{
    if (status == ERR_OK && fsync(file) != 0) {
        status = ERR_FAIL(ERR_IO, "%s: fsync: %s", path, strerror(errno));
    }
    if (close(file) != 0 && status == ERR_OK) {
        status = ERR_FAIL(ERR_IO, "%s: close: %s", path, strerror(errno));
    }
    return status;
}

/*
 * What this member keeps of one file. Where the members share it, each makes it, whoever comes
 * first; one that is packed is made anew.
 */
static enum err write_file(struct writing *writing, const struct snap_extent *extent)
{
    const struct snap_part *part = writing->part;
    const uint64_t extent_end = extent->at + extent->bytes, part_end = part->at + part->bytes;
    const uint64_t begin = part->at > extent->at ? part->at : extent->at;
    const uint64_t end = part_end < extent_end ? part_end : extent_end;
    const uint64_t count = begin < end ? end - begin : 0;
    const uint8_t *bytes = part->data + (count > 0 ? begin - part->at : 0);
    const bool is_packed = extent->width > 0;
    char name[NAME_BYTES];
    char path[FILE_PATH_BYTES_MAX];
    int file = -1;

    name_file(extent, part->member, name);
    ERR_TRY(file_path(path, writing->partial, name));
    ERR_TRY(open_part(path, is_packed ? 0 : extent->bytes, &file));
    enum err status = ERR_OK;
    if (is_packed) {
        status = write_pack(writing, file, path, extent->width, bytes, count);
    } else if (count > 0) {
        status = write_extent(writing, file, path, begin - extent->at, bytes, count);
    }
    return close_part(path, file, status);
}

/* What this member alone has. */
static enum err write_private(struct writing *writing)
{
    const struct snap_part *part = writing->part;
    char name[NAME_BYTES];
    char path[FILE_PATH_BYTES_MAX];
    int file = -1;

    snprintf(name, sizeof(name), SNAP_PRIVATE_FILE "%d", part->member);
    ERR_TRY(file_path(path, writing->partial, name));
    ERR_TRY(open_part(path, part->private_bytes, &file));
    return close_part(
        path, file,
        write_extent(writing, file, path, 0, part->data + part->bytes, part->private_bytes));
}

static enum err write_files(struct writing *writing)
{
    const struct snap_part *part = writing->part;
    const int mark = open(writing->mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

    if (mark < 0) {
        return ERR_FAIL(ERR_IO, "%s: create: %s", writing->mark, strerror(errno));
    }
    close(mark);
    for (int i = 0; i < writing->plan->file_count; i++) {
        ERR_TRY(write_file(writing, &writing->plan->files[i]));
    }
    return part->private_bytes == 0 ? ERR_OK : write_private(writing);
}

/* What an earlier attempt of the same save came to does not count any more. */
static enum err forget_ended(const struct writing *writing)
{
    static const char *const states[] = {"done", "failed"};
    char ended[FILE_PATH_BYTES_MAX];

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        ERR_TRY(mark_path(writing, states[i], ended));
        (void)!unlink(ended);
    }
    return ERR_OK;
}

enum err snap_part_write(const struct snap_part *part, const struct snap_plan *plan)
{
    struct writing writing = {
        .part = part, .plan = plan, .start_ns = clock_now_ns(), .touched_ms = clock_now_ms()};
    char ended[FILE_PATH_BYTES_MAX];

    ERR_TRY(snap_disk_partial(writing.partial, plan->output_dir, (int64_t)part->version));
    if (mkdir(writing.partial, 0777) != 0 &&
        errno != EEXIST) { /* output_dir may be gone for good */
        return ERR_FAIL(ERR_IO, "%s: make folder: %s", writing.partial, strerror(errno));
    }
    ERR_TRY(mark_path(&writing, "writing", writing.mark));
    ERR_TRY(forget_ended(&writing));
    const enum err status = write_files(&writing);
    ERR_TRY(mark_path(&writing, status == ERR_OK ? "done" : "failed", ended));
    if (rename(writing.mark, ended) != 0 && status == ERR_OK) {
        return ERR_FAIL(ERR_IO, "%s: rename: %s", writing.mark, strerror(errno));
    }
    return status;
}

enum err snap_part_refuse(const char *path, uint64_t version, const struct snap_plan *plan)
{
    const int64_t start_ms = clock_now_ms();
    struct snap_area *area = NULL;
    struct snap_part part = {0};
    struct writing writing = {.part = &part, .plan = plan};
    int slot = 0;

    ERR_TRY(snap_area_peek(path, &area));
    const enum err status = identify(area, version, &slot, &part);
    snap_area_close(area);
    ERR_TRY(status);
    ERR_TRY(snap_disk_partial(writing.partial, plan->output_dir, (int64_t)version));
    ERR_TRY(mark_path(&writing, "failed", writing.mark));
    for (;;) {
        const int mark = open(writing.mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (mark >= 0) {
            close(mark);
            return ERR_OK;
        }
        if (errno != ENOENT) {
            return ERR_FAIL(ERR_IO, "%s: create: %s", writing.mark, strerror(errno));
        }
        if (clock_now_ms() - start_ms > plan->deadline_ms) {
            return ERR_FAIL(ERR_TIMEOUT, "%s is not there", writing.partial);
        }
        clock_nap_us(NAP_US);
    }
}

static enum err open_partial(const struct snap_part *part, const struct snap_plan *plan,
                             DIR **folder_out)
{
    char partial[FILE_PATH_BYTES_MAX];

    ERR_TRY(snap_disk_partial(partial, plan->output_dir, (int64_t)part->version));
    *folder_out = opendir(partial);
    if (*folder_out == NULL) {
        return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: open folder: %s", partial,
                        strerror(errno));
    }
    return ERR_OK;
}

enum err snap_part_look(const struct snap_part *part, const struct snap_plan *plan,
                        struct snap_progress *progress_out)
{
    struct snap_progress progress = {0};
    char save[NAME_BYTES];
    DIR *folder = NULL;

    save_text(part, save);
    ERR_TRY(open_partial(part, plan, &folder));
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        const char *name = entry->d_name;
        struct stat info = {0};
        if (name[0] != '.' || strstr(name, save) == NULL) {
            continue;
        }
        (void)!fstatat(dirfd(folder), name, &info, AT_SYMLINK_NOFOLLOW);
        progress.done_count += strncmp(name, ".done-", 6) == 0;
        progress.failed_count += strncmp(name, ".failed-", 8) == 0;
        progress.trace += (uint64_t)info.st_mtim.tv_sec + hash_bytes(name, strlen(name)).low;
    }
    closedir(folder);
    *progress_out = progress;
    return ERR_OK;
}

/* Whether a file of that name is one of the plan's, or some member's part of it. */
static bool is_planned(const struct snap_plan *plan, const struct snap_part *part, const char *name)
{
    char planned[NAME_BYTES];

    if (strncmp(name, SNAP_PRIVATE_FILE, strlen(SNAP_PRIVATE_FILE)) == 0) {
        return true;
    }
    for (int i = 0; i < plan->file_count; i++) {
        const int name_count = plan->files[i].width > 0 ? part->rank_count : 1;
        for (int member = 0; member < name_count; member++) {
            name_file(&plan->files[i], member, planned);
            if (strcmp(planned, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

enum err snap_part_clear(const struct snap_part *part, const struct snap_plan *plan)
{
    DIR *folder = NULL;

    ERR_TRY(open_partial(part, plan, &folder));
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_type != DT_DIR && !is_planned(plan, part, entry->d_name)) {
            (void)!unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    closedir(folder);
    return ERR_OK;
}
