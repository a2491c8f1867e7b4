/*
 * launch/snapshots.h - the training state in the memory of the nodes (snapshot/snap.h).
 *
 * What is protected is what a checkpoint is made of (train_files.h), with both moments of backbone
 * and exits whether a stage uses them or not: so it has the same places and sizes in all stages,
 * and a snapshot of one can be restored before that stage is opened.
 *
 * All functions do nothing, and give NULL, where `snapshots` is NULL: without snapshots.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_SNAPSHOTS_H
#define LAUNCH_SNAPSHOTS_H

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/metrics.h"
#include "launch/options.h"
#include "launch/train_run.h"
#include "snapshot/snap.h"

struct snapshots;

/*
 * Opens them for a run, whose memory this run's state then is, and restores the newest version
 * that is there into run->state; with `discards` what is there is removed first. `settings` is
 * train_settings_text(), lent until the close. Collective.
 *
 * Errors: ERR_BEYOND_REPAIR if too much was lost; ERR_CONFIG if the memory is of a run with other
 * settings; ERR_NO_MEMORY, and those of groups.
 */
ERR_MUST_CHECK enum err snapshots_open(struct train_run *run, const char *settings, bool discards,
                                       struct snapshots **snapshots_out,
                                       struct snap_restored *restored_out);

/* Where the memory of a run with these settings lies, there or not. Errors: ERR_IO. */
ERR_MUST_CHECK enum err snapshots_folder(const struct options_run *options,
                                         char folder_out[FILE_PATH_BYTES_MAX]);

/* `finished`: all is on disk, and the memory of no more use; collective then. NULL is allowed. */
void snapshots_close(struct snapshots *snapshots, bool finished);

/* Memory for a part's optimizer, for optim_open(). */
float *snapshots_moment(struct snapshots *snapshots, enum train_part part, int which);

/* All of them, lent: those of parts that the stage does not train are 0. Not of NULL. */
struct train_moments snapshots_moments(const struct snapshots *snapshots);
int64_t *snapshots_counts(struct snapshots *snapshots, enum train_part part);

/* Before the state is written: waits until it is copied. Errors: what stopped the snapshots. */
ERR_MUST_CHECK enum err snapshots_fence(struct snapshots *snapshots);

/* A new stage begins: its optimizers are fresh. After a fence. */
void snapshots_clear_moments(struct snapshots *snapshots);

/*
 * After a step that took step_s: takes a snapshot if it is due, with save_steps also one that goes
 * to disk in the background, and writes what became of earlier ones to events.jsonl. With
 * snapshot_steps auto a collective now and then: rank 0's interval is that of all. Not for NULL.
 * Errors: what stopped the snapshots; ERR_NOT_FINITE if what is to be saved is; ERR_CONFIG on rank 0 if
 * a later start has taken over; those of groups.
 */
ERR_MUST_CHECK enum err snapshots_step(struct snapshots *snapshots, double step_s,
                                       struct metrics *metrics);

/* Waits until what was begun is committed, and saved or has failed to be. Collective. */
ERR_MUST_CHECK enum err snapshots_settle(struct snapshots *snapshots, struct metrics *metrics);

/* Tells and clears this thread's error, why the state could not be saved; the run goes on. Rank 0. */
void snapshots_count_failure(struct snapshots *snapshots, struct metrics *metrics);

/* The newest step that was saved in the background; -1: none. On rank 0. */
int64_t snapshots_saved_step(const struct snapshots *snapshots);

/* The newest step that all ranks are known to have committed by this start; -1: none. */
int64_t snapshots_committed_step(const struct snapshots *snapshots);

/* Bytes of memory that they take on this node. */
uint64_t snapshots_node_bytes(const struct snapshots *snapshots);

/* What is certain to survive, in words. */
const char *snapshots_guarantee(const struct snapshots *snapshots);

#endif
