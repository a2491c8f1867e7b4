#define _POSIX_C_SOURCE 200809L
#include "launch/train_loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/checkpoint.h"
#include "launch/metrics.h"
#include "launch/snapshots.h"
#include "launch/train_settings.h"
#include "launch/train_stage.h"
#include "snapshot/snap_compare.h"
#include "snapshot/snap_disk.h"

/* What the loop needs in every step. */
struct loop {
    struct train_run *run;
    struct metrics *metrics;
    char *settings;
    int64_t saved_step;            /* -1: nothing is saved yet */
    struct snap_restored restored; /* from memory; version 0: nothing */
    struct hash hash;              /* of the state at the end of the last stage that ran */
};

/* Rank 0 looks for a checkpoint; all ranks hear which. "" if the run starts anew. */
static enum err choose_checkpoint(const struct train_run *run, char folder[FILE_PATH_BYTES_MAX])
{
    const struct options *options = &run->options->run;
    const char *wish = options->resume_from_checkpoint;
    enum err status = ERR_OK;
    int64_t worst = 0;

    folder[0] = '\0';
    if (comm_rank(run->world) == 0) {
        if (strcmp(wish, "auto") == 0) {
            status = checkpoint_find(options->output_dir, folder);
        } else if (strcmp(wish, "none") != 0) {
            snprintf(folder, FILE_PATH_BYTES_MAX, "%s", wish);
            status = checkpoint_verify(folder);
        } else if (!options->overwrite_output_dir && snap_disk_newest(options->output_dir) >= 0) {
            status = ERR_FAIL(ERR_CONFIG,
                              "%s has checkpoints of an earlier run: choose another output_dir, or "
                              "set overwrite_output_dir to true to remove them",
                              options->output_dir);
        }
    }
    ERR_TRY_AS(status, "resume_from_checkpoint %s", wish);
    ERR_TRY(comm_agree_max(run->world, 0, options->serial_deadline_ms, &worst));
    return comm_broadcast(run->world, folder, FILE_PATH_BYTES_MAX, 0,
                          options->collective_deadline_ms);
}

/* A checkpoint is rank 0's state, and worth something only if all ranks have the same. */
static enum err check_replicas(const struct train_run *run)
{
    const int size = comm_size(run->world);
    struct hash *hashes = calloc((size_t)size, sizeof(*hashes));
    char who[256];

    if (hashes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "hashes of %d ranks", size);
    }
    enum err status = train_state_hash(&run->state, &hashes[comm_rank(run->world)]);
    if (status == ERR_OK) {
        status = comm_allgather(run->world, hashes, sizeof(*hashes),
                                run->options->run.collective_deadline_ms);
    }
    if (status == ERR_OK && !snap_compare(hashes, size, who, sizeof(who))) {
        status = ERR_FAIL(ERR_DIFFERS, "replicated memory of %s: no checkpoint is written", who);
    }
    free(hashes);
    return status;
}

/* Rank 0's part of a save. */
static enum err write_checkpoint(struct loop *loop)
{
    struct train_run *run = loop->run;
    const struct options *options = &run->options->run;
    struct jdoc *details = NULL;

    ERR_TRY(incarnation_check(options->output_dir, run->incarnation.number));
    ERR_TRY(checkpoint_save(&run->state, options->output_dir, loop->settings,
                            options->save_total_limit));
    details = jdoc_object();
    jdoc_set_int(details, "step", run->state.step);
    metrics_event(loop->metrics, "checkpoint.saved", details);
    return ERR_OK;
}

/*
 * Saves, unless the step is on disk. With snapshots a disk that cannot be written to is no reason to
 * stop before the end of the run, which `is_last` is.
 */
static enum err save(struct loop *loop, bool is_last)
{
    struct train_run *run = loop->run;
    enum err status = ERR_OK;
    int64_t ignored = 0;

    if (loop->saved_step == run->state.step) {
        return ERR_OK;
    }
    ERR_TRY(check_replicas(run));
    if (comm_rank(run->world) == 0 && snapshots_saved_step(run->snapshots) != run->state.step) {
        status = write_checkpoint(loop);
    }
    if (status == ERR_IO && run->snapshots != NULL && !is_last) {
        snapshots_count_failure(run->snapshots, loop->metrics);
        status = ERR_OK;
    } else if (status == ERR_OK) {
        loop->saved_step = run->state.step;
    }
    ERR_TRY(status);
    return comm_agree_max(run->world, 0, run->options->run.serial_deadline_ms, &ignored);
}

static struct jdoc *reals(const float *values, int count, double scale)
{
    struct jdoc *list = jdoc_array();

    for (int i = 0; i < count; i++) {
        jdoc_append(list, jdoc_real(scale * (double)values[i]));
    }
    return list;
}

/* One entry a set: losses, accuracies and shares of its exits. */
static void describe_exits(const struct train_run *run, const struct step_result *result,
                           struct jdoc *record)
{
    const struct exits_net_config *config = exits_net_config_of(run->state.net);
    const double scale = 1 / result->sample_count;
    struct jdoc *list = jdoc_array();

    for (int set = 0; set < config->set_count; set++) {
        const struct exits_sums sums = exits_sums_of(run->state.net, result->tap_statistics, set);
        struct jdoc *entry = jdoc_object();
        jdoc_set_real(entry, "lambda", run->exits.lambdas[set]);
        jdoc_set(entry, "loss", reals(sums.loss, config->count + 1, scale));
        jdoc_set(entry, "accuracy", reals(sums.correct, config->count + 1, scale));
        jdoc_set(entry, "share", reals(sums.left, config->count + 1, scale));
        jdoc_set_real(entry, "head_loss", scale * (double)sums.head_loss);
        jdoc_set_real(entry, "gate_loss", scale * (double)sums.gate_loss);
        jdoc_set_real(entry, "cost", scale * (double)sums.cost);
        jdoc_append(list, entry);
    }
    jdoc_set(record, "exits", list);
}

static enum err record_step(struct loop *loop, const struct options *stage, int stage_index,
                            const struct train_report *report)
{
    struct train_run *run = loop->run;
    const struct step_result *result = &report->result;
    const enum options_stage kind = run->options->stages[stage_index].kind;
    struct jdoc *record = jdoc_object();
    char text[HASH_TEXT_BYTES];
    struct hash hash;

    jdoc_set_int(record, "step", run->state.step);
    jdoc_set_text(record, "stage", options_stage_name(kind));
    jdoc_set_int(record, "epoch", (int64_t)report->epoch);
    jdoc_set_real(record, "loss", result->loss / result->sample_count);
    jdoc_set_real(record, "accuracy", result->correct / result->sample_count);
    if (kind != OPTIONS_BACKBONE) {
        describe_exits(run, result, record);
    }
    for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
        static const char *const names[OPTIM_GROUPS_MAX][2] = {
            {"learning_rate", "grad_norm"},
            {"head_learning_rate", "head_grad_norm"},
            {"gate_learning_rate", "gate_grad_norm"}};
        if (report->groups[group].active) {
            jdoc_set_real(record, names[group][0], report->groups[group].learning_rate);
            jdoc_set_real(record, names[group][1], report->groups[group].norm);
        }
    }
    jdoc_set_real(record, "samples_per_s", (double)stage->train_batch_size / report->step_s);
    if (run->options->run.hash_steps > 0 && run->state.step % run->options->run.hash_steps == 0) {
        ERR_TRY(train_state_hash(&run->state, &hash));
        hash_text(hash, text);
        jdoc_set_text(record, "state_hash", text);
    }
    metrics_record(loop->metrics, record);
    return ERR_OK;
}

static void show_step(struct loop *loop, const struct train_stage *stage, int stage_index,
                      const struct train_report *report)
{
    const struct train_run *run = loop->run;
    const struct step_result *result = &report->result;
    const enum options_stage kind = run->options->stages[stage_index].kind;
    const int64_t steps = train_stage_steps(stage);
    const int64_t at = run->state.stage_step;
    const bool keeps = at % run->options->run.logging_steps == 0 || at == steps;
    double loss = result->loss / result->sample_count;
    char share[160] = "";
    size_t used = 0;

    if (kind != OPTIONS_BACKBONE) { /* of the set in the middle of the list of lambdas */
        const struct exits_net_config *config = exits_net_config_of(run->state.net);
        const int set = config->set_count / 2;
        const struct exits_sums sums = exits_sums_of(run->state.net, result->tap_statistics, set);
        loss = 0;
        used +=
            (size_t)snprintf(share, sizeof(share), " | lambda %g exits ", run->exits.lambdas[set]);
        for (int g = 0; g <= config->count && used + 8 < sizeof(share); g++) {
            loss += (double)sums.loss[g] / result->sample_count / (config->count + 1);
            used +=
                (size_t)snprintf(share + used, sizeof(share) - used, "%s%.0f", g == 0 ? "" : "/",
                                 100 * (double)sums.left[g] / result->sample_count);
        }
        snprintf(share + used, sizeof(share) - used, "%%");
    }
    metrics_show(loop->metrics, keeps,
                 "%s step %5" PRId64 "/%" PRId64
                 " | loss %.4f | acc %.3f | norm %.2f | lr %.2e | %.1f ms | %.0f smp/s%s",
                 options_stage_name(kind), at, steps, loss, result->correct / result->sample_count,
                 report->groups[kind == OPTIONS_EXITS ? EXITS_GROUP_HEADS : 0].norm,
                 report->groups[kind == OPTIONS_EXITS ? EXITS_GROUP_HEADS : 0].learning_rate,
                 1e3 * report->step_s, result->sample_count / report->step_s, share);
}

static bool is_over(const struct train_run *run)
{
    const int64_t max_steps = run->options->run.max_steps;

    return max_steps >= 0 && run->state.step >= max_steps;
}

static enum err run_stage(struct loop *loop, int index, const char *checkpoint)
{
    struct train_run *run = loop->run;
    const int64_t save_steps = run->options->run.save_steps;
    struct train_stage *stage = NULL;
    struct train_report report;
    enum err status = ERR_OK;

    ERR_TRY(train_stage_open(run, index, &stage));
    if (checkpoint[0] != '\0') {
        ERR_GOTO(out, status, train_state_load_optimizers(&run->state, checkpoint));
    }
    while (run->state.stage_step < train_stage_steps(stage) && !is_over(run)) {
        ERR_GOTO(out, status, train_stage_step(stage, &report));
        ERR_GOTO(out, status,
                 record_step(loop, &run->options->stages[index].options, index, &report));
        show_step(loop, stage, index, &report);
        if (run->snapshots != NULL) {
            ERR_GOTO(out, status, snapshots_step(run->snapshots, report.step_s, loop->metrics));
        } else if (save_steps > 0 && run->state.step % save_steps == 0) {
            ERR_GOTO(out, status, save(loop, true));
        }
    }
    ERR_GOTO(out, status, snapshots_settle(run->snapshots, loop->metrics));
    const bool is_last = index + 1 == run->options->stage_count || is_over(run);
    ERR_GOTO(out, status, save(loop, is_last));
    status = train_state_hash(&run->state, &loop->hash);
out:
    train_stage_close(stage);
    return status;
}

/* All ranks must have found the same; `what` names it. */
static enum err compare_ranks(const struct train_run *run, struct hash hash, const char *what)
{
    int rank = -1;

    ERR_TRY(comm_find_differing(run->world, hash.low ^ hash.high,
                                run->options->run.collective_deadline_ms, &rank));
    if (rank >= 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s of rank %d differ from those of rank 0: give all ranks the same "
                        "command line, environment, files and kind of CPU",
                        what, rank);
    }
    return ERR_OK;
}

/* From here on the folder is this run's: what an earlier one left is not true any more. */
static enum err claim_folder(const struct train_run *run, bool resumes)
{
    const char *folder = run->options->run.output_dir;
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    if (comm_rank(run->world) != 0) {
        return ERR_OK;
    }
    ERR_TRY(incarnation_claim(folder, run->incarnation.number));
    ERR_TRY(file_path(path, folder, TRAIN_SUMMARY_FILE));
    ERR_TRY(file_remove_tree(path));
    ERR_TRY(resumes ? snap_disk_tidy(folder) : snap_disk_remove_all(folder));
    ERR_TRY(file_path(path, folder, "config.resolved.yaml"));
    ERR_TRY(options_text(run->options, &text));
    const enum err status = file_write_text(path, text);
    free(text);
    ERR_TRY_AS(status, "output_dir cannot be written to");
    return ERR_OK;
}

/*
 * Opens the snapshots and restores what memory holds, if the run is to go on by itself. Where
 * memory is beyond repair, the disk is what remains, if it has anything.
 */
static enum err open_snapshots(struct loop *loop, bool has_checkpoint)
{
    struct train_run *run = loop->run;
    const bool is_auto = strcmp(run->options->run.resume_from_checkpoint, "auto") == 0;
    char text[512];

    if (run->options->run.snapshot_steps == 0) {
        return ERR_OK;
    }
    enum err status = snapshots_open(run, loop->settings, !is_auto || run->incarnation.is_first,
                                     &run->snapshots, &loop->restored);
    if (status == ERR_BEYOND_REPAIR && has_checkpoint) {
        err_text(text, sizeof(text));
        err_clear();
        if (comm_rank(run->world) == 0) {
            fprintf(stderr, "offramp: %s: going on from disk\n", text);
        }
        status = snapshots_open(run, loop->settings, true, &run->snapshots, &loop->restored);
    }
    return status;
}

/* Work that was in memory alone, and is gone, is not begun again unless somebody says so. */
static enum err refuse_lost_work(const struct train_run *run)
{
    const struct options *options = &run->options->run;
    int64_t was_lost = 0;

    if (strcmp(options->resume_from_checkpoint, "auto") == 0 && comm_rank(run->world) == 0) {
        was_lost = metrics_had_event(options->output_dir, "snapshot.committed");
    }
    ERR_TRY(comm_agree_max(run->world, was_lost, options->collective_deadline_ms, &was_lost));
    if (was_lost != 0) {
        return ERR_FAIL(ERR_BEYOND_REPAIR,
                        "%s: its snapshots are gone from memory, and no checkpoint is on disk: to "
                        "start anew set resume_from_checkpoint to none",
                        options->output_dir);
    }
    return ERR_OK;
}

/*
 * Whichever is newer, the memory of the nodes or the disk. `checkpoint` is "" if the state is not
 * from disk.
 */
static enum err restore(struct loop *loop, char checkpoint[FILE_PATH_BYTES_MAX])
{
    struct train_run *run = loop->run;

    ERR_TRY(choose_checkpoint(run, checkpoint));
    ERR_TRY(open_snapshots(loop, checkpoint[0] != '\0'));
    if (loop->restored.version > 0 &&
        snap_disk_step(checkpoint) < (int64_t)loop->restored.version) {
        checkpoint[0] = '\0';
        return ERR_OK;
    }
    loop->restored.version = 0;
    if (checkpoint[0] == '\0') {
        return refuse_lost_work(run);
    }
    ERR_TRY(train_state_load(&run->state, checkpoint, loop->settings));
    loop->saved_step = run->state.step;
    return ERR_OK;
}

static void tell_restored(struct loop *loop, const char *checkpoint)
{
    if (checkpoint[0] != '\0') {
        metrics_show(loop->metrics, true, "resumed from %s", checkpoint);
    }
    if (loop->run->snapshots != NULL) {
        metrics_show(loop->metrics, true, "snapshots survive the loss of %s",
                     snapshots_guarantee(loop->run->snapshots));
    }
    if (loop->restored.version > 0) {
        struct jdoc *details = jdoc_object();
        metrics_show(loop->metrics, true,
                     "resumed from memory at step %" PRIu64 ", %d segments rebuilt",
                     loop->restored.version, loop->restored.rows_rebuilt);
        jdoc_set_int(details, "step", (int64_t)loop->restored.version);
        jdoc_set_int(details, "members_lost", loop->restored.members_lost);
        jdoc_set_int(details, "segments_rebuilt", loop->restored.rows_rebuilt);
        metrics_event(loop->metrics, "snapshot.restored", details);
    }
}

static enum err begin(struct loop *loop, char checkpoint[FILE_PATH_BYTES_MAX])
{
    struct train_run *run = loop->run;
    struct hash hash;

    ERR_TRY(incarnation_next(run->world, run->options->run.output_dir,
                             run->options->run.collective_deadline_ms, &run->incarnation));
    ERR_TRY(compare_ranks(run, hash_bytes(loop->settings, strlen(loop->settings)), "the settings"));
    ERR_TRY(restore(loop, checkpoint));
    ERR_TRY(train_state_hash(&run->state, &hash));
    ERR_TRY(compare_ranks(run, hash, "the weights"));
    ERR_TRY(claim_folder(run, checkpoint[0] != '\0' || loop->restored.version > 0));
    return metrics_open(run->options->run.output_dir, comm_rank(run->world) == 0,
                        strcmp(comm_launcher(run->world), "none") == 0, run->state.step,
                        &loop->metrics);
}

static enum err run_stages(struct loop *loop)
{
    struct train_run *run = loop->run;
    char checkpoint[FILE_PATH_BYTES_MAX];

    ERR_TRY(begin(loop, checkpoint));
    tell_restored(loop, checkpoint);
    for (int index = (int)run->state.stage; index < run->options->stage_count; index++) {
        const enum err status = run_stage(loop, index, checkpoint);
        if (status != ERR_OK) {
            return err_context_(status, "stage %d (%s), step %" PRId64, index + 1,
                                options_stage_name(run->options->stages[index].kind),
                                run->state.stage_step);
        }
        if (is_over(run)) {
            break;
        }
        checkpoint[0] = '\0';
        if (index + 1 < run->options->stage_count) {
            ERR_TRY(snapshots_fence(run->snapshots));
            snapshots_clear_moments(run->snapshots);
            run->state.stage = index + 1;
            run->state.stage_step = 0;
            memset(&run->state.balance, 0, sizeof(run->state.balance));
        }
    }
    return ERR_OK;
}

enum err train_loop(struct train_run *run, struct hash *hash_out)
{
    struct loop loop = {.run = run, .saved_step = -1};

    for (int index = 0; index < run->options->stage_count; index++) {
        ERR_TRY(train_stage_check(run, index));
    }
    ERR_TRY(train_settings_text(run, &loop.settings));
    const enum err status = run_stages(&loop);
    snapshots_close(run->snapshots, status == ERR_OK);
    run->snapshots = NULL;
    metrics_close(loop.metrics);
    free(loop.settings);
    if (status == ERR_OK) {
        *hash_out = loop.hash;
    }
    return status;
}
