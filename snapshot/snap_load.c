#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_disk.h"
#include "snapshot/snap_packs.h"
#include "snapshot/snap_restore_priv.h"

/* The bytes of one file of a checkpoint, mapped, or put together of its packs. */
struct content {
    struct file_map map;
    uint8_t *unpacked; /* NULL: mapped */
};

static enum err open_content(const char *folder, const char *name, struct content *content)
{
    char path[FILE_PATH_BYTES_MAX];

    *content = (struct content){0};
    ERR_TRY(file_path(path, folder, name));
    if (file_exists(path)) {
        return file_map(path, &content->map);
    }
    ERR_TRY(snap_packs_read(folder, name, &content->unpacked, &content->map.count));
    content->map.bytes = content->unpacked;
    return ERR_OK;
}

static void close_content(struct content *content)
{
    if (content->unpacked == NULL) {
        file_unmap(&content->map);
    }
    free(content->unpacked);
}

static enum err load_file(struct snap *snap, const char *folder, const char *name,
                          enum snap_kind kind, uint64_t at, uint64_t bytes)
{
    struct content content;

    ERR_TRY(open_content(folder, name, &content));
    const size_t count = content.map.count;
    const enum err status =
        count == bytes ? snap_scatter(snap, kind, at, content.map.bytes, bytes) : ERR_OK;
    close_content(&content);
    ERR_TRY(status);
    if (count != bytes) {
        return ERR_FAIL(ERR_CORRUPT, "%s/%s: %zu bytes, %" PRIu64 " are protected", folder, name,
                        count, bytes);
    }
    return ERR_OK;
}

/* On rank 0: which checkpoint, "" for none that is newer than memory. */
static enum err choose(const struct restore *restore, char folder[FILE_PATH_BYTES_MAX])
{
    const struct snap_plan *plan = &restore->snap->plan;
    struct snap_disk_file needed[SNAP_PLAN_FILES_MAX];

    for (int i = 0; i < plan->file_count; i++) {
        needed[i] = (struct snap_disk_file){plan->files[i].name, SNAP_DISK_NEEDED_OR_PACKED};
    }
    ERR_TRY(snap_disk_find(plan->output_dir, needed, plan->file_count, -1, folder));
    if (snap_disk_step(folder) <= (int64_t)restore->version) {
        folder[0] = '\0';
    }
    return ERR_OK;
}

enum err snap_load_choose(struct restore *restore, char folder_out[FILE_PATH_BYTES_MAX])
{
    struct snap *snap = restore->snap;
    int64_t ignored = 0;

    folder_out[0] = '\0';
    if (restore->rank == 0) {
        ERR_TRY(choose(restore, folder_out));
    }
    /* Rank 0 may have failed. */
    ERR_TRY(comm_agree_max(snap->control, 0, snap->options.deadline_ms, &ignored));
    return comm_broadcast(snap->control, folder_out, FILE_PATH_BYTES_MAX, 0,
                          snap->options.deadline_ms);
}

enum err snap_load(struct restore *restore, const char *folder)
{
    struct snap *snap = restore->snap;
    const uint64_t private_bytes = snap_bytes_of(snap, SNAP_PRIVATE);
    char name[48];

    for (int i = 0; i < snap->plan.file_count; i++) {
        const struct snap_extent *file = &snap->plan.files[i];
        ERR_TRY(load_file(snap, folder, file->name, SNAP_REPLICATED, file->at, file->bytes));
    }
    if (private_bytes > 0) {
        snprintf(name, sizeof(name), SNAP_PRIVATE_FILE "%d", restore->rank);
        ERR_TRY(load_file(snap, folder, name, SNAP_PRIVATE, 0, private_bytes));
    }
    restore->version = (uint64_t)snap_disk_step(folder);
    return ERR_OK;
}
