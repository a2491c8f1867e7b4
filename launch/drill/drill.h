/*
 * launch/drill/drill.h - a drill: a reference that nothing happens to, the same run with faults, and
 * whether both came to the same state.
 *
 *      DIR/drill.json     what was done, and the verdict
 *      DIR/reference/     drill_run.h says what is in it
 *      DIR/NAME/          the same, for each run with faults
 *
 * Threads: one.
 */
#ifndef LAUNCH_DRILL_DRILL_H
#define LAUNCH_DRILL_DRILL_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "launch/drill/drill_run.h"

struct drill_plan {
    struct drill_options run;
    const char *folder;       /* DIR */
    const char *junit;        /* a file; NULL: none is wanted */
    struct drill_cases cases; /* those of --random come in drill(), when the last step is known */
    int random_count;         /* faults; 0: none */
    uint64_t seed;
    bool keeps;         /* checkpoints of runs that passed */
    const char *repeat; /* the command line up to the faults; what the ranks are told is `run`'s */
};

/* Whether all of it passed; says so on stdout. Errors: those of the drill itself. */
ERR_MUST_CHECK enum err drill(struct drill_plan *plan, bool *passed_out);

#endif
