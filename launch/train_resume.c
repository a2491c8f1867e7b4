#include "launch/train_resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "launch/checkpoint.h"
#include "launch/metrics.h"
#include "launch/snapshots.h"
#include "snapshot/snap_disk.h"

static bool is_auto(const struct train_run *run)
{
    return strcmp(run->options->run.resume_from_checkpoint, "auto") == 0;
}

/* Rank 0 looks for a checkpoint; all ranks hear which. "" if there is none to go on from. */
static enum err choose_checkpoint(const struct train_run *run, char folder[FILE_PATH_BYTES_MAX])
{
    const struct options *options = &run->options->run;
    const char *wish = options->resume_from_checkpoint;
    enum err status = ERR_OK;
    int64_t worst = 0;

    folder[0] = '\0';
    if (comm_rank(run->world) == 0) {
        if (is_auto(run)) {
            status = checkpoint_find(options->output_dir, run->incarnation.set_aside, folder);
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

/* Anew, with nothing in memory: the disk is what the run goes on from. */
static enum err open_empty(struct train_run *run, const char *settings, const char *why,
                           struct snap_restored *restored)
{
    if (comm_rank(run->world) == 0) {
        fprintf(stderr, "offramp: %s: going on from disk\n", why);
    }
    snapshots_close(run->snapshots, false);
    run->snapshots = NULL;
    return snapshots_open(run, settings, true, &run->snapshots, restored);
}

/*
 * Opens the snapshots and restores what memory holds, if the run is to go on by itself. Where that
 * is beyond repair, or has but a version that is set aside, the disk is what remains.
 */
static enum err open_snapshots(struct train_run *run, const char *settings, const char *checkpoint,
                               struct snap_restored *restored)
{
    const int64_t on_disk = snap_disk_step(checkpoint);
    char text[512];

    if (run->options->run.snapshot_steps == 0) {
        return ERR_OK;
    }
    const bool discards = !is_auto(run) || run->incarnation.is_first;
    enum err status = snapshots_open(run, settings, discards, &run->snapshots, restored);
    if (status == ERR_BEYOND_REPAIR && on_disk >= 0) {
        err_text(text, sizeof(text));
        err_clear();
        return open_empty(run, settings, text, restored);
    }
    ERR_TRY(status);
    if (restored->version > 0 && (int64_t)restored->version == run->incarnation.set_aside &&
        on_disk >= 0 && on_disk != run->incarnation.set_aside) {
        return open_empty(run, settings, "memory has nothing else", restored);
    }
    return ERR_OK;
}

/* Work that was in memory alone, and is gone, is not begun again unless somebody says so. */
static enum err refuse_lost_work(const struct train_run *run)
{
    const struct options *options = &run->options->run;
    int64_t was_lost = 0;

    if (is_auto(run) && comm_rank(run->world) == 0) {
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

enum err train_resume(struct train_run *run, const char *settings,
                      struct train_resumed *resumed_out)
{
    const struct options *options = &run->options->run;
    struct train_resumed resumed = {0};

    ERR_TRY(incarnation_next(run->world, options->output_dir, options->collective_deadline_ms,
                             &run->incarnation));
    if (run->incarnation.set_aside >= 0 && comm_rank(run->world) == 0) {
        fprintf(stderr,
                "offramp: %d starts from step %" PRId64
                " ended before they had made another: looking for an older one\n",
                run->incarnation.tries, run->incarnation.set_aside);
    }
    ERR_TRY(choose_checkpoint(run, resumed.checkpoint));
    ERR_TRY(open_snapshots(run, settings, resumed.checkpoint, &resumed.memory));
    if (resumed.memory.version > 0 &&
        snap_disk_step(resumed.checkpoint) < (int64_t)resumed.memory.version) {
        resumed.checkpoint[0] = '\0';
    } else {
        resumed.memory = (struct snap_restored){0};
        ERR_TRY(resumed.checkpoint[0] == '\0'
                    ? refuse_lost_work(run)
                    : train_state_load(&run->state, resumed.checkpoint, settings));
    }
    *resumed_out = resumed;
    return ERR_OK;
}
