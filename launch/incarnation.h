/*
 * launch/incarnation.h - which start of a run this is: OUT/incarnation, a number in a text file.
 *
 * Every start of a run with the same output_dir counts one up. Whoever finds a higher number than
 * its own has been left behind, stopped or cut off while the run went on without it, and does not
 * write any more. A supervisor may give the number in OFFRAMP_INCARNATION: it knows that
 * earlier starts are over, so what is left of them is ended.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_INCARNATION_H
#define LAUNCH_INCARNATION_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

struct incarnation {
    uint64_t number; /* from 1 */
    bool is_first;   /* the folder knows of none before: whatever is in memory is of another run */
    bool fences;     /* given by a supervisor */
};

/*
 * This start's; nothing is written. Collective. Errors: ERR_CONFIG if the environment's is no
 * number or is lower than the folder's; those of groups.
 */
ERR_MUST_CHECK enum err incarnation_next(struct comm_group *world, const char *output_dir,
                                         int64_t deadline_ms, struct incarnation *incarnation_out);

/* From here on the folder is this start's. On one rank. Errors: ERR_IO. */
ERR_MUST_CHECK enum err incarnation_claim(const char *output_dir, uint64_t number);

/* Before anything is put in its place there. Errors: ERR_CONFIG if a later start has claimed it. */
ERR_MUST_CHECK enum err incarnation_check(const char *output_dir, uint64_t number);

#endif
