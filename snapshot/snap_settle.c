#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "snapshot/snap_restore_priv.h"

/* The layout of the job as it runs now. */
static enum err make_layout(struct restore *restore, uint64_t salt)
{
    struct snap *snap = restore->snap;
    struct snap_terms terms = {.rank_count = restore->size,
                               .data_count = snap->options.data_count,
                               .parity_count = snap->options.parity_count,
                               .replicated_bytes = snap_bytes_of(snap, SNAP_REPLICATED),
                               .salt = salt,
                               .places = snap->places};

    snap_layout_close(snap->layout);
    snap->layout = NULL;
    enum err status = snap_layout_open(&terms, &snap->layout);
    if (status == ERR_CONFIG && snap->options.lowers_code) {
        err_clear();
        terms.data_count = terms.parity_count = 0;
        status = snap_layout_open(&terms, &snap->layout);
    }
    return status;
}

/* Whether every member's memory lies where its rank runs now, or can be made there. */
static bool is_at_home(const struct restore *restore)
{
    if (restore->layout == NULL ||
        !hash_is_same(restore->layout->hash, restore->snap->layout->hash)) {
        return false;
    }
    for (int r = 0; r < restore->size; r++) {
        if (restore->host_of[r] >= 0 && restore->host_of[r] != r) {
            return false;
        }
    }
    return true;
}

/*
 * Chooses the layout to go on with: that of the version, if its memory is at home; else another
 * one, by its salt if by nothing else, so that no file takes the place of one that is needed.
 */
static enum err choose_layout(struct restore *restore)
{
    struct snap *snap = restore->snap;
    const uint64_t salt = restore->layout == NULL ? 0 : restore->layout->salt;
    int different = -1;

    ERR_TRY(make_layout(restore, salt));
    restore->at_home = is_at_home(restore);
    if (restore->layout != NULL && !restore->at_home) {
        ERR_TRY(make_layout(restore, salt + 1));
    }
    ERR_TRY(comm_find_differing(snap->control, snap->layout->hash.low ^ snap_ranges_hash(snap).low,
                                snap->options.deadline_ms, &different));
    if (different >= 0) {
        return ERR_FAIL(ERR_CONFIG, "rank %d protects something else than rank 0", different);
    }
    snap_layout_describe(snap->layout, snap->guarantee, sizeof(snap->guarantee));
    if (snap_layout_guarantee(snap->layout).domains < snap->options.min_domains) {
        return ERR_FAIL(
            ERR_CONFIG,
            "the loss of any %d domain%s is to be survived, but what is survived is that of %s",
            snap->options.min_domains, snap->options.min_domains == 1 ? "" : "s", snap->guarantee);
    }
    return ERR_OK;
}

/* What encodes every version from now on. */
static enum err open_encode(struct restore *restore)
{
    struct snap *snap = restore->snap;
    const size_t n = (size_t)restore->size;

    snap->rows = calloc(n, sizeof(*snap->rows));
    snap->host_of = calloc(n, sizeof(*snap->host_of));
    struct snap_work *works = calloc(n, sizeof(*works));
    if (snap->rows == NULL || snap->host_of == NULL || works == NULL) {
        free(works);
        return ERR_FAIL(ERR_NO_MEMORY, "a plan");
    }
    for (int r = 0; r < restore->size; r++) {
        snap->host_of[r] = r;
    }
    const struct snap_transfer_options options = {
        .comm = snap->transfers,
        .layout = snap->layout,
        .host_of = snap->host_of,
        .works = works,
        .work_count = snap_transfer_plan_encode(snap->layout, works),
        .deadline_ms = snap->options.deadline_ms};
    const enum err status = snap_transfer_open(&options, &snap->encode);
    free(works);
    return status;
}

enum err snap_remove_area(const struct restore *restore, struct snap_area **area)
{
    char path[FILE_PATH_BYTES_MAX];

    if (*area == NULL) {
        return ERR_OK;
    }
    ERR_TRY(snap_area_path(path, restore->snap->folder, snap_area_layout(*area)->hash,
                           snap_area_rank(*area)));
    snap_area_close(*area);
    *area = NULL;
    return file_remove_tree(path);
}

/*
 * Whether a file of the folder is no use any more, everything being in the present layout now: of
 * another layout or of a rank that is not here, or what an earlier start of this rank did not
 * finish making. Of the other ranks' here each sees to its own.
 */
static bool is_stranger(const struct restore *restore, const char *name)
{
    const struct snap_place *places = restore->snap->places;
    uint64_t layout = 0;
    int rank = 0;

    const bool is_made = snap_area_is_named(name, SNAP_AREA_MEMBER, &layout, &rank);
    if (!is_made && !snap_area_is_named(name, SNAP_AREA_MAKING, &layout, &rank)) {
        return false;
    }
    const bool is_of_node = layout == restore->snap->layout->hash.low && rank < restore->size &&
                            places[rank].node == places[restore->rank].node;
    return is_of_node ? !is_made && rank == restore->rank : restore->local_index == 0;
}

static enum err remove_strangers(const struct restore *restore)
{
    char path[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;
    DIR *folder = opendir(restore->snap->folder);

    if (folder == NULL) {
        return ERR_FAIL(ERR_IO, "%s: open folder: %s", restore->snap->folder, strerror(errno));
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && status == ERR_OK;
         entry = readdir(folder)) {
        if (is_stranger(restore, entry->d_name)) {
            status = file_path(path, restore->snap->folder, entry->d_name);
            status = status == ERR_OK ? file_remove_tree(path) : status;
        }
    }
    closedir(folder);
    return status;
}

/*
 * This rank's memory under the present layout: what is there, if it is at home; else made anew,
 * and the version taken again, before the old memory goes.
 */
static enum err settle(struct restore *restore)
{
    struct snap *snap = restore->snap;
    bool committed = false;

    if (restore->at_home) {
        snap->area = restore->areas[restore->rank];
        restore->areas[restore->rank] = NULL;
    } else {
        ERR_TRY(
            snap_area_create(snap->folder, snap->layout, restore->rank, &snap->claim, &snap->area));
        if (restore->version > 0) {
            const struct snap_request request = {.version = restore->version};
            ERR_TRY(snap_take(snap, &request, &committed));
            assert(committed);
        }
        for (int m = 0; restore->layout != NULL && m < restore->layout->rank_count; m++) {
            ERR_TRY(snap_remove_area(restore, &restore->areas[m]));
        }
    }
    for (int i = 0; i < restore->found_count; i++) { /* of layouts that were not chosen */
        if (snap_area_rank(restore->found[i]) == restore->rank &&
            hash_is_same(snap_area_layout(restore->found[i])->hash, snap->layout->hash)) {
            snap_area_close(restore->found[i]); /* replaced, too */
            restore->found[i] = NULL;
        }
        ERR_TRY(snap_remove_area(restore, &restore->found[i]));
    }
    return remove_strangers(restore);
}

/* The first rank of a node starts the keeper, if there is none; then the others join it. */
static enum err open_keeper(struct restore *restore)
{
    struct snap *snap = restore->snap;
    const struct snap_keeper_options options = {.folder = snap->folder,
                                                .program = snap->options.keeper_program,
                                                .rank = restore->rank,
                                                .retain_s = snap->options.retain_s};
    int64_t ignored = 0;

    if (options.program == NULL) {
        return ERR_OK;
    }
    if (restore->local_index == 0) {
        ERR_TRY(snap_keeper_open(&options, &snap->keeper));
    }
    ERR_TRY(comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored));
    if (restore->local_index != 0) {
        ERR_TRY(snap_keeper_open(&options, &snap->keeper));
    }
    snap->claim.keeper = snap->keeper;
    return ERR_OK;
}

/* What a keeper must know to write checkpoints. Nothing is saved before all ranks are through here. */
static enum err write_plan(const struct restore *restore)
{
    const struct snap *snap = restore->snap;

    if (restore->local_index != 0 || snap->options.output_dir == NULL ||
        snap->plan.file_count == 0 || snap->keeper == NULL) {
        return ERR_OK;
    }
    return snap_plan_write(&snap->plan, snap->folder);
}

/* Bytes that can still be had in the folder: of its file system, and of the machine's memory. */
static enum err find_room(const char *folder, uint64_t *bytes_out)
{
    struct statvfs system;
    char line[128];
    unsigned long long available_kib = 0;

    if (statvfs(folder, &system) != 0) {
        return ERR_FAIL(ERR_IO, "%s: %s", folder, strerror(errno));
    }
    *bytes_out = (uint64_t)system.f_bavail * system.f_frsize;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &available_kib) == 1 &&
            available_kib * 1024 < *bytes_out) {
            *bytes_out = available_kib * 1024;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return ERR_OK;
}

/*
 * What all members of this node need, before any of it is made: too little is told here, once, and
 * not by whoever comes last.
 */
static enum err check_room(struct restore *restore)
{
    struct snap *snap = restore->snap;
    uint64_t needed = 0, present = 0;
    int64_t ignored = 0;

    snap->node_bytes = 0;
    for (int r = 0; r < restore->size; r++) {
        if (snap->places[r].node == snap->places[restore->rank].node) {
            const uint64_t bytes = snap_map_of(snap->layout, r).file_bytes;
            const bool is_there = restore->at_home && restore->host_of[r] == r;
            snap->node_bytes += bytes;
            needed += is_there ? 0 : bytes;
        }
    }
    ERR_TRY(find_room(snap->folder, &present));
    if (needed > 0 && present < needed) {
        return ERR_FAIL(ERR_NO_MEMORY,
                        "%s: snapshots need %" PRIu64 " MiB of shared memory on this node (two "
                        "versions and their parity, %d + %d), %" PRIu64 " MiB are free",
                        snap->folder, (needed >> 20) + 1, snap->layout->groups[0].data_count,
                        snap->layout->groups[0].parity_count, present >> 20);
    }
    /* Nobody makes any before all have looked. */
    return comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored);
}

enum err snap_settle_layout(struct restore *restore)
{
    ERR_TRY(open_keeper(restore));
    ERR_TRY(choose_layout(restore));
    ERR_TRY(check_room(restore));
    return open_encode(restore);
}

enum err snap_settle_memory(struct restore *restore)
{
    ERR_TRY(settle(restore));
    return write_plan(restore);
}
