/*
 * snapshot/snap_owner.h - who has a member's memory open, and how a process that should be gone is
 * kept from writing to it.
 *
 * Whoever opens a file for writing locks it (open file description lock: it goes with the process,
 * whatever ends that) and writes down who it is, at SNAP_OWNER_AT:
 *
 *      0   8  magic "OFOWNER\n"           24  8  start of the process, in clock ticks since boot
 *      8   4  process                     32  8  its PID namespace
 *      12  4  its launcher, 0: none       40  8  incarnation of the job
 *      16  8  host, hashed                48  8  checksum: low half of the XXH3-128 of bytes 0 .. 47
 *
 * A holder is a leftover if its launcher is not its parent any more, or if the newcomer was told
 * to fence and has a higher incarnation: it was stopped, say, while the job went on without it.
 * A leftover is killed before its memory is touched, so it cannot wake up and write. Any other
 * holder is a job that runs, and the newcomer is refused.
 *
 * Threads: any, on different files.
 */
#ifndef SNAPSHOT_SNAP_OWNER_H
#define SNAPSHOT_SNAP_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { SNAP_OWNER_AT = 1024, SNAP_OWNER_BYTES = 56 };

struct snap_owner {
    int launcher;         /* process that started this one and outlives it; 0: none */
    uint64_t incarnation; /* of the job: starts count up */
    bool fences;          /* holders of lower incarnation are leftovers, whatever they look like */
};

/*
 * Takes the file, open for writing as `file`, for this process. Waits a few seconds for a holder
 * that ends by itself. Errors: ERR_CONFIG if a process that runs has it, naming it; ERR_IO.
 */
ERR_MUST_CHECK enum err snap_owner_take(int file, const char *path, const struct snap_owner *me);

/* Whether some process has the file, open as `file`, for writing. */
bool snap_owner_exists(int file);

#endif
