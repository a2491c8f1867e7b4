#define _POSIX_C_SOURCE 200809L
#include "launch/train_loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/checkpoint.h"
#include "launch/halt.h"
#include "launch/metrics.h"
#include "launch/progress.h"
#include "launch/report/metrics_exports.h"
#include "launch/run_holder.h"
#include "launch/snapshots.h"
#include "launch/train_resume.h"
#include "launch/train_settings.h"
#include "launch/train_stage.h"
#include "snapshot/snap_compare.h"
#include "snapshot/snap_disk.h"

/* What the loop needs in every step. */
struct loop {
    struct train_run *run;
    struct metrics *metrics;
    char *settings;
    int64_t saved_step;           /* -1: nothing is saved yet */
    struct train_resumed resumed; /* what the run goes on from */
    int64_t lengths[OPTIONS_STAGES_MAX];
    int64_t stage_steps; /* of the stage under way */
    bool halts;          /* some rank was told to */
    struct hash hash;    /* of the state at the end of the last stage that ran */
};

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
    const struct train_moments moments = run->snapshots == NULL ? train_state_moments(&run->state)
                                                                : snapshots_moments(run->snapshots);
    ERR_TRY(checkpoint_save(&run->state, &moments, options->output_dir, loop->settings,
                            options->save_total_limit));
    details = jdoc_object();
    jdoc_set_int(details, "step", run->state.step);
    metrics_event(loop->metrics, "checkpoint.saved", details);
    return ERR_OK;
}

/* Parameters and both moments. */
static int64_t state_bytes(const struct train_run *run)
{
    int64_t elems = 0;

    for (int part = 0; part < TRAIN_PARTS; part++) {
        elems += train_state_elems(&run->state, (enum train_part)part);
    }
    return 3 * elems * (int64_t)sizeof(float);
}

/* All of it may have to go to disk. */
static void tell_that_it_saves(const struct train_run *run)
{
    progress_phase(PROGRESS_SAVES);
    progress_moves(state_bytes(run), run->options->run.save_mb_per_s);
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
    tell_that_it_saves(run);
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
    jdoc_set_int(record, "samples",
                 (int64_t)result->sample_count / run->data.train->labels_per_sample);
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
                 " | loss %.4f | acc %.3f | norm %.2f | lr %.2e | %.1f ms | %.0f %s/s%s",
                 options_stage_name(kind), at, steps, loss, result->correct / result->sample_count,
                 report->groups[kind == OPTIONS_EXITS ? EXITS_GROUP_HEADS : 0].norm,
                 report->groups[kind == OPTIONS_EXITS ? EXITS_GROUP_HEADS : 0].learning_rate,
                 1e3 * report->step_s, result->sample_count / report->step_s,
                 run_data_is_language(&run->data) ? "tok" : "smp", share);
}

/* What the run goes on from, in words. */
static void show_resumed(struct loop *loop)
{
    const struct train_resumed *from = &loop->resumed;

    if (from->checkpoint[0] != '\0') {
        metrics_show(loop->metrics, true, "resumed from %s", from->checkpoint);
    }
    if (loop->run->snapshots != NULL) {
        metrics_show(loop->metrics, true, "snapshots survive the loss of %s",
                     snapshots_guarantee(loop->run->snapshots));
        metrics_show(loop->metrics, true, "snapshots take %.1f MiB of this node's memory",
                     (double)snapshots_node_bytes(loop->run->snapshots) / (1 << 20));
    }
    if (from->memory.version > 0) {
        metrics_show(loop->metrics, true,
                     "resumed from memory at step %" PRIu64 ", %d segments rebuilt",
                     from->memory.version, from->memory.rows_rebuilt);
    }
}

/* The same as an event, with the hash of the whole state, once the stage's optimizers have theirs. */
static enum err record_resumed(struct loop *loop)
{
    const struct train_resumed *from = &loop->resumed;
    struct jdoc *details = NULL;
    char text[HASH_TEXT_BYTES];
    struct hash hash;

    ERR_TRY(train_state_hash(&loop->run->state, &hash));
    hash_text(hash, text);
    details = jdoc_object();
    jdoc_set_int(details, "step", loop->run->state.step);
    jdoc_set_text(details, "from", from->memory.version > 0 ? "memory" : "disk");
    jdoc_set_int(details, "members_lost", from->memory.members_lost);
    jdoc_set_int(details, "segments_rebuilt", from->memory.rows_rebuilt);
    jdoc_set_text(details, "state_hash", text);
    metrics_event(loop->metrics, "run.resumed", details);
    return ERR_OK;
}

static bool is_over(const struct train_run *run)
{
    const int64_t max_steps = run->options->run.max_steps;

    return max_steps >= 0 && run->state.step >= max_steps;
}

/* What this start goes on from can be gone on from. */
static enum err tell_success(struct train_run *run)
{
    return comm_rank(run->world) == 0
               ? incarnation_succeed(run->options->run.output_dir, &run->incarnation)
               : ERR_OK;
}

/* The newest step that outlives the processes; -1: none. */
static int64_t kept_step(const struct loop *loop)
{
    const int64_t committed = snapshots_committed_step(loop->run->snapshots);

    return committed > loop->saved_step ? committed : loop->saved_step;
}

/* On rank 0: whether somebody asks the run to halt after the step that comes. */
static void look_for_ask(struct loop *loop)
{
    const struct halt_ask *ask = halt_look(loop->run->state.step + 1);
    char when[64] = "";

    if (ask == NULL) {
        return;
    }
    struct jdoc *details = jdoc_object();
    jdoc_set_int(details, "step", loop->run->state.step);
    jdoc_set_int(details, "after_step", ask->after_step);
    jdoc_set_text(details, "by", ask->who);
    metrics_event(loop->metrics, "run.asked_to_halt", details);
    if (ask->after_step >= 0) {
        snprintf(when, sizeof(when), " after step %" PRId64, ask->after_step);
    }
    metrics_show(loop->metrics, true, "asked to halt%s%s%s", when,
                 ask->who[0] != '\0' ? " by " : "", ask->who);
}

/* `resumed`: what the run goes on from, if it begins with this stage; else NULL. */
static enum err run_stage(struct loop *loop, int index, const struct train_resumed *resumed)
{
    struct train_run *run = loop->run;
    const int64_t save_steps = run->options->run.save_steps;
    struct train_stage *stage = NULL;
    struct train_report report;
    enum err status = ERR_OK;

    ERR_TRY(train_stage_open(run, index, &stage));
    loop->stage_steps = train_stage_steps(stage);
    if (resumed != NULL && resumed->checkpoint[0] != '\0') {
        progress_moves(state_bytes(run), 0);
        ERR_GOTO(out, status, train_state_load_optimizers(&run->state, resumed->checkpoint));
    }
    if (resumed != NULL) {
        ERR_GOTO(out, status, record_resumed(loop));
    }
    while (run->state.stage_step < train_stage_steps(stage) && !is_over(run) && !loop->halts) {
        look_for_ask(loop);
        ERR_GOTO(out, status, train_stage_step(stage, &report));
        loop->halts = report.result.votes > 0;
        ERR_GOTO(out, status,
                 record_step(loop, &run->options->stages[index].options, index, &report));
        show_step(loop, stage, index, &report);
        ERR_GOTO(out, status, tell_success(run));
        progress_step(run->state.step, index, kept_step(loop));
        if (run->snapshots != NULL) {
            ERR_GOTO(out, status, snapshots_step(run->snapshots, report.step_s, loop->metrics));
        } else if (save_steps > 0 && run->state.step % save_steps == 0) {
            ERR_GOTO(out, status, save(loop, true));
        }
    }
    tell_that_it_saves(run);
    ERR_GOTO(out, status, snapshots_settle(run->snapshots, loop->metrics));
    const bool is_last = index + 1 == run->options->stage_count || is_over(run) || loop->halts;
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

/* What run.json says of this start. */
static struct jdoc *describe_start(const struct loop *loop)
{
    const struct options_run *options = loop->run->options;
    struct jdoc *about = jdoc_object();
    struct jdoc *stages = jdoc_array();
    char kernels[160];

    jdoc_set_int(about, "incarnation", (int64_t)loop->run->incarnation.number);
    jdoc_set_int(about, "ranks", comm_size(loop->run->world));
    snprintf(kernels, sizeof(kernels), "%s, matrix products %s", loop->run->ops.isa,
             loop->run->ops.matmul);
    jdoc_set_text(about, "device", device_name(loop->run->device.device));
    jdoc_set_text(about, "cpu", kern_cpu_features());
    jdoc_set_text(about, "kernels", kernels);
    for (int s = 0; s < options->stage_count; s++) {
        struct jdoc *stage = jdoc_object();
        jdoc_set_text(stage, "stage", options_stage_name(options->stages[s].kind));
        jdoc_set_int(stage, "steps", loop->lengths[s]);
        jdoc_set_int(stage, "train_batch_size", options->stages[s].options.train_batch_size);
        jdoc_append(stages, stage);
    }
    jdoc_set(about, "stages", stages);
    if (options->run.max_steps >= 0) {
        jdoc_set_int(about, "max_steps", options->run.max_steps);
    }
    return about;
}

/* From here on the folder is this run's: what an earlier one left is not true any more. */
static enum err claim_folder(struct loop *loop)
{
    struct train_run *run = loop->run;
    const bool resumes = run->state.step > 0;
    const char *folder = run->options->run.output_dir;
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    ERR_TRY(incarnation_claim(folder, &run->incarnation, run->state.step));
    run_holder_take(folder, describe_start(loop));
    halt_watch();
    ERR_TRY(file_path(path, folder, TRAIN_SUMMARY_FILE));
    ERR_TRY(file_remove_tree(path));
    ERR_TRY(file_path(path, folder, TRAIN_RESULTS_FILE));
    ERR_TRY(file_remove_tree(path));
    ERR_TRY(resumes ? snap_disk_tidy(folder) : snap_disk_remove_all(folder));
    ERR_TRY(file_path(path, folder, "config.resolved.yaml"));
    ERR_TRY(options_text(run->options, &text));
    const enum err status = file_write_text(path, text);
    free(text);
    ERR_TRY_AS(status, "output_dir cannot be written to");
    return ERR_OK;
}

static enum err begin(struct loop *loop)
{
    struct train_run *run = loop->run;
    const bool is_writer = comm_rank(run->world) == 0;
    struct metrics_exports *exports = NULL;
    struct hash hash;

    ERR_TRY(compare_ranks(run, hash_bytes(loop->settings, strlen(loop->settings)), "the settings"));
    ERR_TRY(train_resume(run, loop->settings, &loop->resumed));
    if (loop->resumed.checkpoint[0] == '\0' && loop->resumed.memory.version == 0) {
        ERR_TRY(train_run_init(run));
    }
    ERR_TRY(train_state_hash(&run->state, &hash));
    ERR_TRY(compare_ranks(run, hash, "the weights"));
    if (is_writer) {
        ERR_TRY(claim_folder(loop));
    }
    loop->saved_step = loop->resumed.checkpoint[0] != '\0' ? run->state.step : -1;
    ERR_TRY(metrics_open(run->options->run.output_dir, is_writer,
                         strcmp(comm_launcher(run->world), "none") == 0, run->state.step,
                         &loop->metrics));
    if (is_writer) {
        ERR_TRY(metrics_exports_open(&run->options->run, run->incarnation.number, run->state.step,
                                     &exports));
        metrics_export_to(loop->metrics, exports);
    }
    show_resumed(loop);
    progress_resumed(run->incarnation.number, run->state.step);
    return ERR_OK;
}

/* The state is saved. A run that was at its end anyway is just done. */
static enum err halted(const struct loop *loop, int index)
{
    const struct train_run *run = loop->run;

    if (index + 1 == run->options->stage_count && run->state.stage_step == loop->stage_steps) {
        return ERR_OK;
    }
    return ERR_FAIL(ERR_HALTED,
                    "halted as asked after step %" PRId64 ", which is on disk: the same command "
                    "goes on",
                    run->state.step);
}

static enum err run_stages(struct loop *loop)
{
    struct train_run *run = loop->run;
    const struct train_resumed *resumed = NULL;

    ERR_TRY(begin(loop));
    if (loop->resumed.checkpoint[0] != '\0' || loop->resumed.memory.version > 0) {
        resumed = &loop->resumed;
    }
    for (int index = (int)run->state.stage; index < run->options->stage_count; index++) {
        progress_stage(index);
        const enum err status = run_stage(loop, index, resumed);
        if (status != ERR_OK) {
            return err_context_(status, "stage %d (%s), step %" PRId64, index + 1,
                                options_stage_name(run->options->stages[index].kind),
                                run->state.stage_step);
        }
        if (loop->halts) {
            return halted(loop, index);
        }
        if (is_over(run)) {
            break;
        }
        resumed = NULL;
        if (index + 1 < run->options->stage_count) {
            ERR_TRY(snapshots_fence(run->snapshots));
            snapshots_clear_moments(run->snapshots);
            run->state.stage = index + 1;
            run->state.stage_step = 0;
            memset(&run->state.balance, 0, sizeof(run->state.balance));
        }
    }
    return tell_success(run); /* also where there was no step left to make */
}

enum err train_loop(struct train_run *run, struct hash *hash_out)
{
    struct loop loop = {.run = run, .saved_step = -1};

    for (int index = 0; index < run->options->stage_count; index++) {
        ERR_TRY(train_stage_check(run, index, &loop.lengths[index]));
    }
    ERR_TRY(train_settings_text(run, &loop.settings));
    const enum err status = run_stages(&loop);
    snapshots_close(run->snapshots, status == ERR_OK || status == ERR_HALTED);
    run->snapshots = NULL;
    metrics_close(loop.metrics);
    free(loop.settings);
    if (status == ERR_OK) {
        *hash_out = loop.hash;
    }
    return status;
}
