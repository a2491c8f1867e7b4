#define _XOPEN_SOURCE 700
#include "launch/snapshots.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "comm/base/memory.h"
#include "launch/train_files.h"

struct snapshots {
    struct train_run *run;
    struct snap *snap;
    const char *settings; /* train_settings_text(), lent */
    struct train_moments moments;
    int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX];
    struct train_files files;
    struct snap_statistics told; /* what events.jsonl knows */
};

float *snapshots_moment(struct snapshots *snapshots, enum train_part part, int which)
{
    return snapshots == NULL ? NULL : snapshots->moments.values[part][which];
}

int64_t *snapshots_counts(struct snapshots *snapshots, enum train_part part)
{
    return snapshots == NULL ? NULL : snapshots->counts[part];
}

const char *snapshots_guarantee(const struct snapshots *snapshots)
{
    return snapshots == NULL ? NULL : snap_guarantee(snapshots->snap);
}

/* The same for every start of the run with this output_dir, on any node. */
static enum err hash_output_dir(const struct train_run *run, struct hash *key_out)
{
    const char *folder = run->options->run.output_dir;
    char *path = realpath(folder, NULL);

    if (path == NULL) {
        return ERR_FAIL(ERR_IO, "output_dir %s is not there", folder);
    }
    *key_out = hash_bytes(path, strlen(path));
    free(path);
    return ERR_OK;
}

static void choose_folder(const struct train_run *run, struct hash key,
                          char folder[FILE_PATH_BYTES_MAX])
{
    const char *wish = run->options->run.snapshot_dir;

    if (wish[0] != '\0') {
        snprintf(folder, FILE_PATH_BYTES_MAX, "%s", wish);
    } else {
        snprintf(folder, FILE_PATH_BYTES_MAX, "/dev/shm/offramp.%u.%016" PRIx64,
                 (unsigned)geteuid(), key.low);
    }
}

static enum err allocate(struct snapshots *snapshots)
{
    for (int part = 0; part < TRAIN_PARTS; part++) {
        const int64_t elems = train_state_elems(&snapshots->run->state, (enum train_part)part);
        for (int which = 0; which < 2; which++) {
            ERR_TRY(memory_open_f32(elems, "moments", &snapshots->moments.values[part][which]));
        }
    }
    return train_files_open(&snapshots->run->state, &snapshots->moments, snapshots->settings,
                            &snapshots->files);
}

/* The files of a checkpoint, byte for byte. */
static enum err protect(struct snapshots *snapshots)
{
    char name[128];

    for (int i = 0; i < snapshots->files.count; i++) {
        const struct train_file *file = &snapshots->files.files[i];
        for (size_t p = 0; p < file->piece_count; p++) {
            snprintf(name, sizeof(name), "%s, piece %zu", file->name, p);
            ERR_TRY(snap_protect(snapshots->snap, name, (void *)(uintptr_t)file->pieces[p].bytes,
                                 file->pieces[p].count, SNAP_REPLICATED));
        }
    }
    return ERR_OK;
}

/* Ranks of a node remove the same folder at once: each tries until it is gone. */
static enum err remove_memory(const char *folder)
{
    enum err status = ERR_OK;

    for (int tries = 0; tries < 10; tries++) {
        status = file_remove_tree(folder);
        if (status == ERR_OK) {
            return ERR_OK;
        }
        err_clear();
    }
    return ERR_FAIL(status, "%s cannot be removed", folder);
}

static enum err open_all(struct snapshots *snapshots, bool discards, struct snap_restored *restored)
{
    const struct train_run *run = snapshots->run;
    const struct options *options = &run->options->run;
    char folder[FILE_PATH_BYTES_MAX];
    struct hash key;
    int64_t ignored = 0;

    ERR_TRY(hash_output_dir(run, &key));
    choose_folder(run, key, folder);
    if (discards) {
        ERR_TRY(remove_memory(folder));
    }
    ERR_TRY(comm_agree_max(run->world, 0, options->collective_deadline_ms, &ignored));
    ERR_TRY(allocate(snapshots));
    const struct snap_options snap_options = {
        .world = run->world,
        .folder = folder,
        .job_key = key,
        .data_count = (int)options->snapshot_data_members,
        .parity_count = (int)options->snapshot_parity_members,
        .deadline_ms = options->collective_deadline_ms,
    };
    ERR_TRY(snap_open(&snap_options, &snapshots->snap));
    ERR_TRY(protect(snapshots));
    ERR_TRY(snap_restore(snapshots->snap, NULL, 0, restored));
    if (restored->version == 0) {
        return ERR_OK;
    }
    return train_state_read(&snapshots->run->state, snapshots->files.text,
                            snapshots->files.text_bytes, folder, snapshots->settings,
                            snapshots->counts);
}

enum err snapshots_open(struct train_run *run, const char *settings, bool discards,
                        struct snapshots **snapshots_out, struct snap_restored *restored_out)
{
    struct snapshots *snapshots = calloc(1, sizeof(*snapshots));

    if (snapshots == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "snapshots");
    }
    snapshots->run = run;
    snapshots->settings = settings;
    const enum err status = open_all(snapshots, discards, restored_out);
    if (status != ERR_OK) {
        snapshots_close(snapshots, false);
        return err_context_(status, "snapshots");
    }
    *snapshots_out = snapshots;
    return ERR_OK;
}

void snapshots_close(struct snapshots *snapshots, bool finished)
{
    if (snapshots == NULL) {
        return;
    }
    snap_close(snapshots->snap, finished ? SNAP_FINISHED : SNAP_INTERRUPTED);
    train_files_close(&snapshots->files);
    for (int part = 0; part < TRAIN_PARTS; part++) {
        memory_close(snapshots->moments.values[part][0]);
        memory_close(snapshots->moments.values[part][1]);
    }
    free(snapshots);
}

enum err snapshots_fence(struct snapshots *snapshots)
{
    return snapshots == NULL ? ERR_OK : snap_fence(snapshots->snap);
}

void snapshots_clear_moments(struct snapshots *snapshots)
{
    for (int part = 0; part < TRAIN_PARTS && snapshots != NULL; part++) {
        const size_t bytes =
            (size_t)train_state_elems(&snapshots->run->state, (enum train_part)part) *
            sizeof(float);
        memset(snapshots->moments.values[part][0], 0, bytes);
        memset(snapshots->moments.values[part][1], 0, bytes);
        memset(snapshots->counts[part], 0, sizeof(snapshots->counts[part]));
    }
}

static void tell(struct snapshots *snapshots, struct metrics *metrics)
{
    const struct snap_statistics now = snap_statistics(snapshots->snap);

    if (now.committed > snapshots->told.committed) {
        struct jdoc *details = jdoc_object();
        jdoc_set_int(details, "step", (int64_t)now.newest_committed);
        jdoc_set_real(details, "lag_s", now.lag_s);
        jdoc_set_real(details, "stall_s", now.stall_s - snapshots->told.stall_s);
        jdoc_set_int(details, "skipped", now.skipped - snapshots->told.skipped);
        metrics_event(metrics, "snapshot.committed", details);
        snapshots->told = now;
    }
}

enum err snapshots_step(struct snapshots *snapshots, struct metrics *metrics)
{
    if (snapshots == NULL) {
        return ERR_OK;
    }
    const int64_t step = snapshots->run->state.step;
    tell(snapshots, metrics);
    if (step % snapshots->run->options->run.snapshot_steps == 0) {
        ERR_TRY(
            train_files_refresh(&snapshots->files, &snapshots->run->state, snapshots->settings));
        return snap_begin(snapshots->snap, (uint64_t)step);
    }
    return ERR_OK;
}
