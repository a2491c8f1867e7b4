/*
 * launch/exit_code.h - what a process tells its launcher by its exit code.
 *
 * 64 .. 78 are sysexits.h's meanings; 93 asks not to be restarted. srun reports the
 * highest code of all ranks, so a stricter verdict has a higher number.
 */
#ifndef LAUNCH_EXIT_CODE_H
#define LAUNCH_EXIT_CODE_H

#include "comm/base/err.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_USAGE = 2,           /* wrong command line or launcher */
    EXIT_DATA = 65,           /* a data file or checkpoint is bad */
    EXIT_NO_INPUT = 66,       /* a file or folder is missing */
    EXIT_INTERNAL = 70,       /* memory, a peer, or our own mistake */
    EXIT_DIFFERS = 71,        /* a rank's memory is not that of the others */
    EXIT_IO = 74,             /* disk full, fsync failed, not writable */
    EXIT_REQUEUE = 75,        /* halted on request, state is on disk */
    EXIT_BEYOND_REPAIR = 76,  /* memory lost beyond repair, disk intact */
    EXIT_BAD_CONFIG = 78,     /* settings */
    EXIT_DO_NOT_RESTART = 93, /* would fail again: not a finite number */
};

enum exit_code exit_code_of(enum err status);

/*
 * Prints the error chain of this thread as one line, "offramp: ...", on stderr, and
 * clears it; with OFFRAMP_DEBUG set in the environment, also the place in the source.
 * Returns exit_code_of(status).
 */
enum exit_code exit_code_report(enum err status);

#endif
