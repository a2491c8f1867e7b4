/*
 * snapshot/keeper_janitor.h - what a keeper does with the folder of a job that is dead.
 *
 * Threads: the keeper's main thread.
 */
#ifndef SNAPSHOT_KEEPER_JANITOR_H
#define SNAPSHOT_KEEPER_JANITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/keeper_saver.h"

/* Whether the folder holds no member's memory. */
bool keeper_janitor_is_empty(const char *folder);

/* Whether a process has a member's memory open. */
bool keeper_janitor_is_in_use(const char *folder);

/*
 * Whether the memory may go: its newest version is on disk, that step or a later one; or the job has
 * no disk (no plan); or a later start has taken over, which opened what it needs. After an `attempt` to write it only what was committed counts: the rest
 * other nodes may not have.
 */
bool keeper_janitor_is_safe(const char *folder, int attempt);

/*
 * Hands a version to the saver, all parts of it that are here. The newest one; with `attempt` odd
 * the one before, if the newest is not COMMITTED here: other nodes may not have it. What
 * cannot be handed over is told on stderr.
 */
void keeper_janitor_save(const char *folder, struct keeper_saver *saver, int attempt);

/* Removes a job's files, but memory that is in use, and the folder, if nothing else is in it. */
void keeper_janitor_remove(const char *folder);

/*
 * At a keeper's start: removes half-made memory of this folder; and beside it the memory of this
 * user's dead jobs, where it may go and nothing was changed for retain_s.
 */
void keeper_janitor_tidy(const char *folder, int retain_s);

#endif
