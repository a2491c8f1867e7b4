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
#include "launch/failure_domains.h"
#include "launch/incarnation.h"
#include "launch/snapshot_interval.h"
#include "launch/train_files.h"

struct snapshots {
    struct train_run *run;
    struct snap *snap;
    char output_dir[FILE_PATH_BYTES_MAX]; /* absolute */
    const char *settings;                 /* train_settings_text(), lent */
    struct train_moments moments;
    int64_t counts[TRAIN_PARTS][OPTIM_GROUPS_MAX];
    struct train_files files;
    struct snap_statistics told; /* what events.jsonl knows */
    int64_t failed_saves;
    struct snapshot_pace pace; /* with snapshot_steps auto */
    int64_t told_interval;
};

float *snapshots_moment(struct snapshots *snapshots, enum train_part part, int which)
{
    return snapshots == NULL ? NULL : snapshots->moments.values[part][which];
}

struct train_moments snapshots_moments(const struct snapshots *snapshots)
{
    return snapshots->moments;
}

int64_t *snapshots_counts(struct snapshots *snapshots, enum train_part part)
{
    return snapshots == NULL ? NULL : snapshots->counts[part];
}

const char *snapshots_guarantee(const struct snapshots *snapshots)
{
    return snapshots == NULL ? NULL : snap_guarantee(snapshots->snap);
}

uint64_t snapshots_node_bytes(const struct snapshots *snapshots)
{
    return snapshots == NULL ? 0 : snap_node_bytes(snapshots->snap);
}

/* This program, to be run as a keeper. */
static enum err find_program(char path_out[FILE_PATH_BYTES_MAX])
{
    const ssize_t length = readlink("/proc/self/exe", path_out, FILE_PATH_BYTES_MAX - 1);

    if (length < 0) {
        return ERR_FAIL(ERR_IO, "/proc/self/exe cannot be read");
    }
    path_out[length] = '\0';
    return ERR_OK;
}

/*
 * Where the snapshots of a run are on this node, and what tells its memory from another's: the same
 * for every start with this output_dir.
 */
static enum err find_folder(const struct options_run *options, char output_dir[FILE_PATH_BYTES_MAX],
                            struct hash *key_out, char folder[FILE_PATH_BYTES_MAX])
{
    const char *wish = options->run.snapshot_dir;

    if (realpath(options->run.output_dir, output_dir) == NULL) {
        return ERR_FAIL(ERR_IO, "output_dir %s is not there", options->run.output_dir);
    }
    *key_out = hash_bytes(output_dir, strlen(output_dir));
    if (wish[0] != '\0') {
        snprintf(folder, FILE_PATH_BYTES_MAX, "%s", wish);
    } else {
        snprintf(folder, FILE_PATH_BYTES_MAX, "/dev/shm/offramp.%u.%016" PRIx64,
                 (unsigned)geteuid(), key_out->low);
    }
    return ERR_OK;
}

enum err snapshots_folder(const struct options_run *options, char folder_out[FILE_PATH_BYTES_MAX])
{
    char output_dir[FILE_PATH_BYTES_MAX];
    struct hash key;

    return find_folder(options, output_dir, &key, folder_out);
}

static enum err allocate(struct snapshots *snapshots)
{
    for (int part = 0; part < TRAIN_PARTS; part++) {
        const int64_t elems = train_state_elems(&snapshots->run->state, (enum train_part)part);
        for (int which = 0; which < 2; which++) {
            ERR_TRY(device_memory_open_f32(snapshots->run->ops.device, elems, "moments",
                                           &snapshots->moments.values[part][which]));
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
        const bool is_packed = snapshots->run->options->run.save_compressed &&
                               strcmp(file->name, TRAIN_STATE_MOMENTS_FILE) == 0;
        ERR_TRY(snap_file(snapshots->snap, file->name, is_packed ? sizeof(float) : 0));
        for (size_t p = 0; p < file->piece_count; p++) {
            snprintf(name, sizeof(name), "%s, piece %zu", file->name, p);
            void *address = (void *)(uintptr_t)file->pieces[p].bytes;
            ERR_TRY(p == 0 ? snap_protect(snapshots->snap, name, address, file->pieces[p].count,
                                          SNAP_REPLICATED)
                           : snap_protect_device(snapshots->snap, name, address,
                                                 file->pieces[p].count, SNAP_REPLICATED));
        }
    }
    return ERR_OK;
}

static enum err open_all(struct snapshots *snapshots, bool discards, struct snap_restored *restored)
{
    const struct train_run *run = snapshots->run;
    const struct options *options = &run->options->run;
    char folder[FILE_PATH_BYTES_MAX];
    char program[FILE_PATH_BYTES_MAX];
    char incarnation_file[FILE_PATH_BYTES_MAX];
    struct hash key;
    uint64_t domain = 0;

    ERR_TRY(find_folder(run->options, snapshots->output_dir, &key, folder));
    ERR_TRY(find_program(program));
    ERR_TRY(incarnation_path(snapshots->output_dir, incarnation_file));
    ERR_TRY(failure_domains_of_node(run->world, options->failure_domains, folder,
                                    options->collective_deadline_ms, &domain));
    ERR_TRY(allocate(snapshots));
    const struct snap_options snap_options = {
        .world = run->world,
        .folder = folder,
        .job_key = key,
        .domain = domain,
        .min_domains = (int)options->snapshot_min_domains,
        .data_count = (int)options->snapshot_data_members,
        .parity_count = (int)options->snapshot_parity_members,
        .lowers_code = run->incarnation.fences, /* started again, on the nodes that are left */
        .deadline_ms = options->collective_deadline_ms,
        .compare = true,
        .device = run->ops.device,
        .incarnation = run->incarnation.number,
        .incarnation_file = incarnation_file,
        .fences = run->incarnation.fences,
        .discards = discards,
        .keeper_program = program,
        .retain_s = (int)options->snapshot_retain_s,
        .output_dir = snapshots->output_dir,
        .keep_count = options->save_total_limit,
        .bytes_per_s = (int64_t)(1e6 * options->save_mb_per_s),
    };
    ERR_TRY(snap_open(&snap_options, &snapshots->snap));
    ERR_TRY(protect(snapshots));
    const uint64_t set_aside = (uint64_t)run->incarnation.set_aside;
    ERR_TRY(snap_restore(snapshots->snap, &set_aside, run->incarnation.set_aside > 0, restored));
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
    snapshot_pace_init(&snapshots->pace, -1);
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
        device_memory_close(snapshots->run->ops.device, snapshots->moments.values[part][0]);
        device_memory_close(snapshots->run->ops.device, snapshots->moments.values[part][1]);
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
        const struct train_run *run = snapshots->run;
        const int64_t elems = train_state_elems(&run->state, (enum train_part)part);
        run->ops.zero(snapshots->moments.values[part][0], elems);
        run->ops.zero(snapshots->moments.values[part][1], elems);
        memset(snapshots->counts[part], 0, sizeof(snapshots->counts[part]));
    }
}

static void tell_failed_save(struct snapshots *snapshots, int64_t step, const char *text,
                             struct metrics *metrics)
{
    struct jdoc *details = jdoc_object();

    snapshots->failed_saves++;
    metrics_show(metrics, true, "warning: no checkpoint of step %" PRId64 ": %s", step, text);
    jdoc_set_int(details, "step", step);
    jdoc_set_int(details, "failures", snapshots->failed_saves);
    jdoc_set_text(details, "error", text);
    metrics_event(metrics, "checkpoint.failed", details);
}

void snapshots_count_failure(struct snapshots *snapshots, struct metrics *metrics)
{
    char text[512];

    err_text(text, sizeof(text));
    err_clear();
    tell_failed_save(snapshots, snapshots->run->state.step, text, metrics);
}

static void tell_saves(struct snapshots *snapshots, const struct snap_statistics *now,
                       struct metrics *metrics)
{
    if (now->saved > snapshots->told.saved) {
        struct jdoc *details = jdoc_object();
        jdoc_set_int(details, "step", (int64_t)now->newest_saved);
        jdoc_set_int(details, "bytes", now->saved_bytes);
        jdoc_set_real(details, "save_s", now->save_s);
        metrics_event(metrics, "checkpoint.saved", details);
    }
    if (now->saves_failed > snapshots->told.saves_failed) {
        tell_failed_save(snapshots, (int64_t)now->failed_save, now->failure, metrics);
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
    }
    tell_saves(snapshots, &now, metrics);
    snapshots->told = now;
}

/* The interval in words and as an event, with what failures would ask for if that is known. */
static void tell_interval(const struct snapshots *snapshots, struct metrics *metrics)
{
    const struct options *options = &snapshots->run->options->run;
    const int64_t interval = snapshots->pace.interval;
    const double mtbf_s = 3600 * options->mtbf_hours;
    struct jdoc *details = jdoc_object();
    struct snapshot_costs costs;
    char other[120] = "";

    jdoc_set_int(details, "step", snapshots->run->state.step);
    jdoc_set_int(details, "interval_steps", interval);
    if (!snapshot_pace_costs(&snapshots->pace, &costs)) {
        metrics_show(metrics, true, "snapshots every %" PRId64 " steps, to be measured", interval);
        metrics_event(metrics, "snapshot.interval", details);
        return;
    }
    const double cost_s = snapshot_cost_s(&costs);
    const double percent = 100 * cost_s / (costs.step_s * (double)interval);
    jdoc_set_real(details, "overhead_percent", percent);
    jdoc_set_real(details, "step_s", costs.step_s);
    jdoc_set_real(details, "cost_s", cost_s);
    jdoc_set_real(details, "stall_s", costs.stall_s);
    jdoc_set_real(details, "busy_steps", costs.busy_steps);
    if (mtbf_s > 0) {
        const double young = snapshot_young_s(cost_s, mtbf_s) / costs.step_s;
        const double daly = snapshot_daly_s(cost_s, mtbf_s) / costs.step_s;
        jdoc_set_real(details, "young_steps", young);
        jdoc_set_real(details, "daly_steps", daly);
        snprintf(other, sizeof(other), "; for an MTBF of %g h Young has %.0f, Daly %.0f",
                 options->mtbf_hours, young, daly);
    }
    metrics_show(metrics, true,
                 "snapshots every %" PRId64 " steps: %.2g %% of the time, %g %% allowed%s",
                 interval, percent, options->snapshot_overhead_percent, other);
    metrics_event(metrics, "snapshot.interval", details);
}

/* Whether one is due, where the interval follows what snapshots cost. */
static enum err pace_step(struct snapshots *snapshots, double step_s, struct metrics *metrics,
                          bool *is_due_out)
{
    const struct train_run *run = snapshots->run;
    const struct options *options = &run->options->run;
    const struct snap_statistics now = snap_statistics(snapshots->snap);
    const bool is_under_way = now.begun > now.committed + now.skipped;
    struct snapshot_pace *pace = &snapshots->pace;

    snapshot_pace_step(pace, run->state.stage, step_s, now.stall_s, is_under_way);
    if (snapshot_pace_reviews(pace)) {
        int64_t interval = snapshot_pace_wish(pace, options->snapshot_overhead_percent);
        ERR_TRY(comm_broadcast(run->world, &interval, sizeof(interval), 0,
                               options->collective_deadline_ms));
        snapshot_pace_set(pace, interval);
        if (interval != snapshots->told_interval) {
            tell_interval(snapshots, metrics);
            snapshots->told_interval = interval;
        }
    }
    *is_due_out = snapshot_pace_is_due(pace, now.stall_s);
    return ERR_OK;
}

/*
 * A start that was left behind begins no save. What cannot be told now, since the disk has no
 * answer, is asked again at the next one.
 */
static enum err check_claim(const struct train_run *run)
{
    if (comm_rank(run->world) != 0) {
        return ERR_OK;
    }
    const enum err status =
        incarnation_check(run->options->run.output_dir, run->incarnation.number);
    if (status == ERR_IO) {
        err_clear();
        return ERR_OK;
    }
    return status;
}

enum err snapshots_step(struct snapshots *snapshots, double step_s, struct metrics *metrics)
{
    const struct train_state *state = &snapshots->run->state;
    const struct options *options = &snapshots->run->options->run;
    const int64_t interval = options->snapshot_steps;
    const bool saves = options->save_steps > 0 && state->step % options->save_steps == 0;
    bool is_due = interval > 0 && state->step % interval == 0;

    tell(snapshots, metrics);
    if (interval == OPTIONS_AUTO) {
        ERR_TRY(pace_step(snapshots, step_s, metrics, &is_due));
    }
    if (!saves && !is_due) {
        return ERR_OK;
    }
    ERR_TRY(train_files_refresh(&snapshots->files, state, snapshots->settings));
    if (saves) {
        ERR_TRY(train_state_check(state));
        ERR_TRY(check_claim(snapshots->run));
        return snap_save(snapshots->snap, (uint64_t)state->step);
    }
    return snap_begin(snapshots->snap, (uint64_t)state->step);
}

enum err snapshots_settle(struct snapshots *snapshots, struct metrics *metrics)
{
    if (snapshots == NULL) {
        return ERR_OK;
    }
    const int64_t deadline_ms = snapshots->run->options->run.serial_deadline_ms;
    int64_t ignored = 0;
    ERR_TRY(snap_wait_saved(snapshots->snap, deadline_ms));
    tell(snapshots, metrics);
    /* The disk may take longer than a peer in a step. */
    return comm_agree_max(snapshots->run->world, 0, deadline_ms, &ignored);
}

int64_t snapshots_saved_step(const struct snapshots *snapshots)
{
    return snapshots == NULL || snapshots->told.saved == 0 ? -1
                                                           : (int64_t)snapshots->told.newest_saved;
}

int64_t snapshots_committed_step(const struct snapshots *snapshots)
{
    return snapshots == NULL || snapshots->told.committed == 0
               ? -1
               : (int64_t)snapshots->told.newest_committed;
}
