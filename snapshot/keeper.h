/*
 * snapshot/keeper.h - the process that keeps a node's snapshots: it makes memory for ranks, writes
 * committed versions to disk in the background, and puts things in order after a job.
 *
 * It is no child of a rank and no MPI process, so it stays when a job is torn down. It serves one
 * folder (keeper_message.h says how), opens no network port, and knows of its job what is in that
 * folder alone; killed, it loses nothing but the save it was writing.
 *
 *      all ranks said goodbye     the job is finished: removes what is its own, then the folder
 *      all ranks are gone,        after grace_s without a new start writes the newest version to
 *      some without goodbye       disk; retain_s later removes the memory, if that is on disk
 *      SIGTERM                    writes the newest version to disk at once, and ends; the memory
 *                                 stays, unless that is on disk and retain_s is 0
 *
 * At its start it removes the memory of other dead jobs of this user, where their newest version
 * is on disk and nothing was written to it for retain_s; never that of a job that runs, nor the
 * only copy of a state.
 */
#ifndef SNAPSHOT_KEEPER_H
#define SNAPSHOT_KEEPER_H

#include "comm/base/err.h"

struct keeper_options {
    const char *folder; /* made if it is not there, mode 0700 */
    int grace_s, retain_s;
};

/*
 * Serves until the job is finished, or SIGTERM. Returns at once if another keeper serves the
 * folder. Errors: ERR_IO, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err keeper_run(const struct keeper_options *options);

#endif
