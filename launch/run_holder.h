/*
 * launch/run_holder.h - who runs a run, told by locks (of open file descriptions), which go with their
 * process whatever ends it:
 *
 *      OUT/run.lock    empty; rank 0 of every start that lives has a share in its lock
 *      OUT/run.json    rank 0 of the newest start that got to training has it locked
 *
 *      {"process": 4711, "host": "node07", "since": 1795683600, "incarnation": 3, "ranks": 4,
 *       "stages": [{"stage": "joint", "steps": 200, "train_batch_size": 64}]}
 *
 * That tells others, and keeps nobody out: a start that takes over puts a file of its own in that
 * place, with a lock of its own. "since" is the wall clock of that host, in seconds since 1970, for
 * people.
 *
 * Threads: any; the first two are the step's.
 */
#ifndef LAUNCH_RUN_HOLDER_H
#define LAUNCH_RUN_HOLDER_H

#include <stdbool.h>

#include "comm/base/jdoc.h"

#define RUN_HOLDER_FILE "run.json"
#define RUN_HOLDER_START_FILE "run.lock"
#define RUN_HOLDER_LAUNCH_FILE "supervisor.lock"

/* A start begins, on rank 0; it may yet be refused, so nothing is said of it. Neither this nor the
 * next ever fails: a run that cannot tell trains all the same. */
void run_holder_begin(const char *output_dir);

/* From now on this process runs the run, as `about` tells (taken over; NULL: no more than that), to
 * which process, host and "since" are added. */
void run_holder_take(const char *output_dir, struct jdoc *about);

/* Whether a process, on whatever machine, holds the lock of OUT/<name>. False also where the file
 * system cannot tell. */
bool run_holder_lives(const char *output_dir, const char *name);

#endif
