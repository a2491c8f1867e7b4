#define _GNU_SOURCE
#include "snapshot/snap_area.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct snap_area {
    int file;
    uint8_t *bytes; /* the whole file, mapped */
    struct snap_layout *layout;
    int rank;
    struct snap_map map;
    struct snap_slots slots; /* as the headers say */
    struct snap_slot_header headers[SNAP_SLOTS];
    uint64_t incarnation; /* of whoever writes */
};

bool snap_area_is_named(const char *name, const char *prefix, uint64_t *layout_out, int *rank_out)
{
    const size_t prefix_length = strlen(prefix);
    int length = 0;

    if (strncmp(name, prefix, prefix_length) != 0) {
        return false;
    }
    name += prefix_length;
    (void)!sscanf(name, "%*16[0-9a-f]-%*[0-9]%n", &length);
    return length > 17 && name[16] == '-' && name[length] == '\0' &&
           sscanf(name, "%16" SCNx64 "-%d", layout_out, rank_out) == 2 && *rank_out >= 0;
}

enum err snap_area_path(char path[FILE_PATH_BYTES_MAX], const char *folder, struct hash layout_hash,
                        int rank)
{
    char name[64];

    snprintf(name, sizeof(name), SNAP_AREA_MEMBER "%016" PRIx64 "-%d", layout_hash.low, rank);
    return file_path(path, folder, name);
}

enum err snap_area_folder(const char *folder)
{
    char parent[FILE_PATH_BYTES_MAX];
    struct stat info;

    if (strlen(folder) >= sizeof(parent)) {
        return ERR_FAIL(ERR_INVALID, "a folder name of %zu bytes", strlen(folder));
    }
    snprintf(parent, sizeof(parent), "%s", folder);
    ERR_TRY(file_make_folder(dirname(parent)));
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return ERR_FAIL(ERR_IO, "%s: make folder: %s", folder, strerror(errno));
    }
    if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        (info.st_mode & 077) != 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: it is there, and no folder of this user's alone (mode 700)", folder);
    }
    return ERR_OK;
}

const struct snap_layout *snap_area_layout(const struct snap_area *area)
{
    return area->layout;
}

int snap_area_rank(const struct snap_area *area)
{
    return area->rank;
}

const struct snap_slots *snap_area_slots(const struct snap_area *area)
{
    return &area->slots;
}

const struct snap_slot_header *snap_area_header(const struct snap_area *area, int slot)
{
    return &area->headers[slot];
}

void *snap_area_memory(const struct snap_area *area, size_t *bytes_out)
{
    *bytes_out = (size_t)area->map.file_bytes;
    return area->bytes;
}

struct snap_rows snap_area_rows(const struct snap_area *area, int slot)
{
    const struct snap_map *map = &area->map;

    return (struct snap_rows){
        .data = area->bytes + map->data_at[slot],
        .parity = area->bytes + map->parity_at[slot],
        .data_hashes = (uint64_t *)(void *)(area->bytes + map->data_hashes_at[slot]),
        .parity_hashes = (uint64_t *)(void *)(area->bytes + map->parity_hashes_at[slot]),
    };
}

struct hash *snap_area_roots(const struct snap_area *area, int slot)
{
    return (struct hash *)(void *)(area->bytes + area->map.roots_at[slot]);
}

static uint8_t *header_at(const struct snap_area *area, int slot, int copy)
{
    return area->bytes + SNAP_SLOT_HEADERS_AT +
           (slot * SNAP_SLOT_COPIES + copy) * SNAP_SLOT_HEADER_STRIDE;
}

void snap_area_set(struct snap_area *area, int slot, const struct snap_slot_header *header)
{
    struct snap_slot_header next = *header;
    const struct snap_slot *old = &area->headers[slot].state;
    uint8_t bytes[SNAP_SLOT_HEADER_BYTES];

    assert(old->state == header->state.state ||
           snap_state_may_become(old->state, header->state.state));
    next.slot = slot;
    next.incarnation = area->incarnation;
    next.sequence = area->headers[slot].sequence + 1;
    snap_slot_header_write(&next, bytes);
    atomic_thread_fence(memory_order_release); /* for a reader after this process's death */
    memcpy(header_at(area, slot, (int)(next.sequence % SNAP_SLOT_COPIES)), bytes, sizeof(bytes));
    atomic_thread_fence(memory_order_release);
    area->headers[slot] = next;
    area->slots.slots[slot] = next.state;
}

/* The valid copy with the higher number; EMPTY if none is valid. */
static void read_slots(struct snap_area *area)
{
    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        struct snap_slot_header best = {.slot = slot};
        for (int copy = 0; copy < SNAP_SLOT_COPIES; copy++) {
            struct snap_slot_header header;
            uint8_t bytes[SNAP_SLOT_HEADER_BYTES]; /* a live writer may be at work on the other */
            memcpy(bytes, header_at(area, slot, copy), sizeof(bytes));
            if (snap_slot_header_read(bytes, &header) != ERR_OK) {
                err_clear();
            } else if (header.slot == slot && header.sequence > best.sequence) {
                best = header;
            }
        }
        area->headers[slot] = best;
        area->slots.slots[slot] = best.state;
    }
}

static enum err map_file(struct snap_area *area, uint64_t bytes, bool writes, const char *path)
{
    const int protection = writes ? PROT_READ | PROT_WRITE : PROT_READ;
    const int flags = writes ? MAP_SHARED | MAP_POPULATE : MAP_SHARED;
    void *mapped = mmap(NULL, bytes, protection, flags, area->file, 0);

    if (mapped == MAP_FAILED) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: map %" PRIu64 " bytes: %s", path, bytes,
                        strerror(errno));
    }
    area->bytes = mapped;
    area->map.file_bytes = bytes;
    return ERR_OK;
}

/* A full file system is told here, and not by a signal at the first touch. */
static enum err allocate(int file, uint64_t bytes, const char *path)
{
    struct statvfs system;
    const int code = posix_fallocate(file, 0, (off_t)bytes);

    if (code == 0) {
        return ERR_OK;
    }
    if (code == ENOSPC && fstatvfs(file, &system) == 0) {
        return ERR_FAIL(ERR_NO_MEMORY,
                        "%s: a member's snapshots need %" PRIu64 " bytes of shared memory, %" PRIu64
                        " are free",
                        path, bytes, (uint64_t)system.f_bavail * system.f_frsize);
    }
    return ERR_FAIL(ERR_IO, "%s: reserve %" PRIu64 " bytes: %s", path, bytes, strerror(code));
}

enum err snap_area_reserve(const char *path, uint64_t bytes)
{
    ERR_TRY(file_remove_tree(path));
    const int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) {
        return ERR_FAIL(ERR_IO, "%s: make: %s", path, strerror(errno));
    }
    struct snap_area area = {.file = file};
    enum err status = allocate(file, bytes, path);
    if (status == ERR_OK) {
        status = map_file(&area, bytes, true, path); /* touches all pages */
    }
    if (status == ERR_OK) {
        munmap(area.bytes, bytes);
    } else {
        unlink(path);
    }
    close(file);
    return status;
}

static void write_header(const struct snap_area *area, struct hash job_key)
{
    const struct snap_file_header header = {.rank = (uint32_t)area->rank,
                                            .layout_hash = area->layout->hash,
                                            .job_key = job_key,
                                            .file_bytes = area->map.file_bytes,
                                            .terms_bytes = area->layout->byte_count};

    memcpy(area->bytes + SNAP_TERMS_AT, area->layout->bytes, area->layout->byte_count);
    snap_file_header_write(&header, area->bytes);
}

/* Takes the file that was reserved, fills in what it is, and gives it its name. */
static enum err take_new(struct snap_area *area, const char *making, const char *path,
                         const struct snap_claim *claim)
{
    area->file = open(making, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (area->file < 0) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", making, strerror(errno));
    }
    ERR_TRY(snap_owner_take(area->file, making, &claim->owner));
    ERR_TRY(map_file(area, area->map.file_bytes, true, making));
    write_header(area, claim->job_key);
    return rename(making, path) == 0 ? ERR_OK
                                     : ERR_FAIL(ERR_IO, "%s: rename: %s", making, strerror(errno));
}

static enum err create(struct snap_area *area, const char *folder, const struct snap_layout *layout,
                       const struct snap_claim *claim)
{
    char path[FILE_PATH_BYTES_MAX];
    char making[FILE_PATH_BYTES_MAX];
    char name[64];

    ERR_TRY(snap_area_path(path, folder, layout->hash, area->rank));
    snprintf(name, sizeof(name), SNAP_AREA_MAKING "%016" PRIx64 "-%d", layout->hash.low,
             area->rank);
    ERR_TRY(file_path(making, folder, name));
    ERR_TRY(snap_layout_read(layout->bytes, layout->byte_count, &area->layout));
    area->map = snap_map_of(area->layout, area->rank);
    ERR_TRY(claim->keeper == NULL ? snap_area_reserve(making, area->map.file_bytes)
                                  : snap_keeper_reserve(claim->keeper, name, area->map.file_bytes));
    const enum err status = take_new(area, making, path, claim);
    if (status != ERR_OK) {
        unlink(making);
    }
    return status;
}

enum err snap_area_create(const char *folder, const struct snap_layout *layout, int rank,
                          const struct snap_claim *claim, struct snap_area **area_out)
{
    struct snap_area *area = calloc(1, sizeof(*area));

    if (area == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a member's memory");
    }
    area->file = -1;
    area->rank = rank;
    area->incarnation = claim->owner.incarnation;
    const enum err status = create(area, folder, layout, claim);
    if (status != ERR_OK) {
        snap_area_close(area);
        return status;
    }
    *area_out = area;
    return ERR_OK;
}

/*
 * Before the file is taken: its holder, if it has one, is ended if it is a leftover of this job, and
 * left alone if it is of another that was given the same folder.
 */
static enum err check_job(int file, struct hash job_key, const char *path)
{
    struct snap_file_header header;
    uint8_t bytes[SNAP_FILE_HEADER_BYTES];

    if (pread(file, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return ERR_OK; /* damaged, as what is found below */
    }
    if (snap_file_header_read(bytes, &header) != ERR_OK) {
        err_clear();
        return ERR_OK;
    }
    if (hash_is_same(header.job_key, job_key)) {
        return ERR_OK;
    }
    return ERR_FAIL(ERR_CONFIG, "%s: memory of another job%s: give this one a folder of its own%s",
                    path, snap_owner_exists(file) ? ", which runs" : "",
                    snap_owner_exists(file) ? "" : ", or remove it");
}

/* What the file says of itself must fit its size and its terms. */
static enum err check_file(struct snap_area *area, const char *path)
{
    struct snap_file_header header;

    ERR_TRY_AS(snap_file_header_read(area->bytes, &header), "%s", path);
    if (header.file_bytes != area->map.file_bytes ||
        header.terms_bytes > header.file_bytes - SNAP_TERMS_AT) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %" PRIu64 " bytes, its header says %" PRIu64, path,
                        area->map.file_bytes, header.file_bytes);
    }
    ERR_TRY_AS(snap_layout_read(area->bytes + SNAP_TERMS_AT, header.terms_bytes, &area->layout),
               "%s", path);
    if (!hash_is_same(area->layout->hash, header.layout_hash) ||
        header.rank >= (uint32_t)area->layout->rank_count) {
        return ERR_FAIL(ERR_CORRUPT, "%s: its header and its layout do not agree", path);
    }
    area->rank = (int)header.rank;
    const uint64_t bytes = area->map.file_bytes;
    area->map = snap_map_of(area->layout, area->rank);
    if (area->map.file_bytes != bytes) {
        area->map.file_bytes = bytes;
        return ERR_FAIL(ERR_CORRUPT, "%s: %" PRIu64 " bytes are not what its layout needs", path,
                        bytes);
    }
    return ERR_OK;
}

/* Without a claim: to look at it only, whoever has it. */
static enum err open_file(struct snap_area *area, const char *path, const struct snap_claim *claim)
{
    struct stat info;

    area->file = open(path, (claim == NULL ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
    if (area->file < 0) {
        return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: open: %s", path,
                        strerror(errno));
    }
    if (claim != NULL) {
        ERR_TRY(check_job(area->file, claim->job_key, path));
        ERR_TRY(snap_owner_take(area->file, path, &claim->owner));
    }
    if (fstat(area->file, &info) != 0 || info.st_size < SNAP_TERMS_AT + SNAP_LAYOUT_HEAD_BYTES) {
        return ERR_FAIL(ERR_CORRUPT, "%s: too short to be a member's memory", path);
    }
    ERR_TRY(map_file(area, (uint64_t)info.st_size, claim != NULL, path));
    ERR_TRY(check_file(area, path));
    read_slots(area);
    return ERR_OK;
}

static enum err open_area(const char *path, const struct snap_claim *claim,
                          struct snap_area **area_out)
{
    struct snap_area *area = calloc(1, sizeof(*area));

    if (area == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a member's memory");
    }
    area->file = -1;
    area->incarnation = claim == NULL ? 0 : claim->owner.incarnation;
    const enum err status = open_file(area, path, claim);
    if (status != ERR_OK) {
        snap_area_close(area);
        return status;
    }
    *area_out = area;
    return ERR_OK;
}

enum err snap_area_open(const char *path, const struct snap_claim *claim,
                        struct snap_area **area_out)
{
    assert(claim != NULL);
    return open_area(path, claim, area_out);
}

enum err snap_area_peek(const char *path, struct snap_area **area_out)
{
    return open_area(path, NULL, area_out);
}

bool snap_area_is_in_use(const struct snap_area *area)
{
    return snap_owner_exists(area->file);
}

void snap_area_look_again(struct snap_area *area)
{
    read_slots(area);
}

void snap_area_close(struct snap_area *area)
{
    if (area == NULL) {
        return;
    }
    if (area->bytes != NULL) {
        munmap(area->bytes, area->map.file_bytes);
    }
    if (area->file >= 0) {
        close(area->file);
    }
    snap_layout_close(area->layout);
    free(area);
}

/* Bit s: all tiles of segment s have their hashes. */
static uint64_t good_segments(const struct snap_group *group, const uint8_t *bytes,
                              const uint64_t *hashes, int segment_count)
{
    const int64_t tiles = snap_tile_count(group);
    uint64_t good = 0;

    for (int s = 0; s < segment_count; s++) {
        const uint8_t *segment = bytes + (uint64_t)s * group->segment_bytes;
        int64_t t = 0;
        for (; t < tiles; t++) {
            const uint8_t *tile = segment + (uint64_t)t * SNAP_TILE_BYTES;
            if (snap_tile_hash(tile, snap_tile_bytes(group, t)) != hashes[s * tiles + t]) {
                break;
            }
        }
        good |= (uint64_t)(t == tiles) << s;
    }
    return good;
}

enum err snap_area_verify(const struct snap_area *area, int slot, struct snap_holding *holding_out)
{
    const struct snap_slot_header *header = &area->headers[slot];
    const struct snap_layout *layout = area->layout;
    const struct snap_group *group = &layout->groups[layout->members[area->rank].group];
    const struct snap_rows rows = snap_area_rows(area, slot);
    struct snap_holding holding = {.slot = header->state};
    struct hash root;

    if (holding.slot.state >= SNAP_SEALED) {
        ERR_TRY(snap_data_root(header->state.version, layout, area->rank, rows.data_hashes,
                               area->map.data_tile_count, &root));
        if (hash_is_same(root, header->data_root)) {
            holding.good_data =
                good_segments(group, rows.data, rows.data_hashes, group->data_count);
        }
    }
    if (holding.slot.state >= SNAP_ENCODED) {
        ERR_TRY(snap_parity_root(header->state.version, layout, area->rank, rows.parity_hashes,
                                 area->map.parity_tile_count, &root));
        if (hash_is_same(root, header->parity_root)) {
            holding.good_parity =
                good_segments(group, rows.parity, rows.parity_hashes, group->parity_count);
        }
    }
    *holding_out = holding;
    return ERR_OK;
}
