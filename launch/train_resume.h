/*
 * launch/train_resume.h - what a run goes on from: the memory of the nodes or the disk, whichever is
 * newer.
 *
 * A step after which three starts came to an end before they had made another is set aside, if there
 * is an older one: what it holds may be what ends them.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_RESUME_H
#define LAUNCH_TRAIN_RESUME_H

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/train_run.h"
#include "snapshot/snap.h"

struct train_resumed {
    char checkpoint
        [FILE_PATH_BYTES_MAX];   /* "" if it is not from disk; optimizers still to be loaded */
    struct snap_restored memory; /* version 0 if it is not from memory */
};

/*
 * Counts this start, opens the snapshots, and loads the state as resume_from_checkpoint says; with
 * nothing there the state stays as it is. `settings` is train_settings_text(), lent to the
 * snapshots. Collective. Errors: ERR_CORRUPT, ERR_CONFIG of what was found; ERR_BEYOND_REPAIR if
 * the work was in memory alone and is gone; those of groups.
 */
ERR_MUST_CHECK enum err train_resume(struct train_run *run, const char *settings,
                                     struct train_resumed *resumed_out);

#endif
