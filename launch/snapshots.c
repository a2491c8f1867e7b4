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

struct snapshots {
    struct train_run *run;
    struct snap *snap;
    float *moments[SNAPSHOTS_PARTS][2];
    int64_t moment_elems[SNAPSHOTS_PARTS];
    int64_t counts[SNAPSHOTS_PARTS][OPTIM_GROUPS_MAX];
    struct hash settings;        /* of the run that the state is of; protected */
    struct snap_statistics told; /* what events.jsonl knows */
};

float *snapshots_moment(struct snapshots *snapshots, enum snapshots_part part, int which)
{
    return snapshots == NULL ? NULL : snapshots->moments[part][which];
}

int64_t *snapshots_counts(struct snapshots *snapshots, enum snapshots_part part)
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
    const struct train_state *state = &snapshots->run->state;

    snapshots->moment_elems[SNAPSHOTS_BACKBONE] = model_params(state->model)->block_elems;
    snapshots->moment_elems[SNAPSHOTS_EXITS] =
        state->net == NULL ? 0 : exits_net_params(state->net)->block_elems;
    for (int part = 0; part < SNAPSHOTS_PARTS; part++) {
        for (int which = 0; which < 2; which++) {
            ERR_TRY(memory_open_f32(snapshots->moment_elems[part], "moments",
                                    &snapshots->moments[part][which]));
        }
    }
    return ERR_OK;
}

static enum err protect(struct snapshots *snapshots)
{
    struct train_state *state = &snapshots->run->state;
    static const char *const names[SNAPSHOTS_PARTS][2] = {
        {"backbone.exp_avg", "backbone.exp_avg_sq"}, {"exits.exp_avg", "exits.exp_avg_sq"}};
    struct snap *snap = snapshots->snap;

    ERR_TRY(snap_protect(snap, "settings", &snapshots->settings, sizeof(snapshots->settings),
                         SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "step", &state->step, sizeof(state->step), SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "stage", &state->stage, sizeof(state->stage), SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "stage_step", &state->stage_step, sizeof(state->stage_step),
                         SNAP_REPLICATED));
    ERR_TRY(
        snap_protect(snap, "balance", &state->balance, sizeof(state->balance), SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "counts", snapshots->counts, sizeof(snapshots->counts),
                         SNAP_REPLICATED));
    ERR_TRY(snap_protect(snap, "model", model_block(state->model),
                         (size_t)snapshots->moment_elems[SNAPSHOTS_BACKBONE] * sizeof(float),
                         SNAP_REPLICATED));
    if (state->net != NULL) {
        ERR_TRY(snap_protect(snap, "exits", exits_net_block(state->net),
                             (size_t)snapshots->moment_elems[SNAPSHOTS_EXITS] * sizeof(float),
                             SNAP_REPLICATED));
    }
    for (int part = 0; part < SNAPSHOTS_PARTS; part++) {
        for (int which = 0; which < 2; which++) {
            ERR_TRY(snap_protect(snap, names[part][which], snapshots->moments[part][which],
                                 (size_t)snapshots->moment_elems[part] * sizeof(float),
                                 SNAP_REPLICATED));
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

static enum err open_all(struct snapshots *snapshots, const char *settings, bool discards,
                         struct snap_restored *restored)
{
    const struct train_run *run = snapshots->run;
    const struct options *options = &run->options->run;
    const struct hash mine = hash_bytes(settings, strlen(settings));
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
    snapshots->settings = mine;
    ERR_TRY(protect(snapshots));
    ERR_TRY(snap_restore(snapshots->snap, NULL, 0, restored));
    if (!hash_is_same(snapshots->settings, mine)) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s holds the state of a run with other settings: resume with those, or "
                        "start anew with resume_from_checkpoint none",
                        folder);
    }
    return ERR_OK;
}

enum err snapshots_open(struct train_run *run, const char *settings, bool discards,
                        struct snapshots **snapshots_out, struct snap_restored *restored_out)
{
    struct snapshots *snapshots = calloc(1, sizeof(*snapshots));

    if (snapshots == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "snapshots");
    }
    snapshots->run = run;
    const enum err status = open_all(snapshots, settings, discards, restored_out);
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
    for (int part = 0; part < SNAPSHOTS_PARTS; part++) {
        memory_close(snapshots->moments[part][0]);
        memory_close(snapshots->moments[part][1]);
    }
    free(snapshots);
}

enum err snapshots_fence(struct snapshots *snapshots)
{
    return snapshots == NULL ? ERR_OK : snap_fence(snapshots->snap);
}

void snapshots_clear_moments(struct snapshots *snapshots)
{
    for (int part = 0; part < SNAPSHOTS_PARTS && snapshots != NULL; part++) {
        const size_t bytes = (size_t)snapshots->moment_elems[part] * sizeof(float);
        memset(snapshots->moments[part][0], 0, bytes);
        memset(snapshots->moments[part][1], 0, bytes);
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
        return snap_begin(snapshots->snap, (uint64_t)step);
    }
    return ERR_OK;
}
