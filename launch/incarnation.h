/*
 * launch/incarnation.h - which start of a run this is, and how those before it went:
 * OUT/incarnation, a line of text,
 *
 *      7 120 2     the 7th start, the 2nd from step 120 that has not made a step yet
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
#include "comm/base/file.h"
#include "comm/group/comm_group.h"

struct incarnation {
    uint64_t number; /* from 1 */
    bool is_first;   /* the folder knows of none before: whatever is in memory is of another run */
    bool fences;     /* given by a supervisor */

    int64_t
        tried; /* step from which the last starts went on that made none; -1: the last made one */
    int tries; /* how many */
    int64_t set_aside; /* `tried`, if that was often enough to look for another; -1: nothing is */
};

/* The newest start that the folder knows of; 0: none. Errors: ERR_CORRUPT, ERR_IO. */
ERR_MUST_CHECK enum err incarnation_last(const char *output_dir, uint64_t *number_out);

/*
 * This start's; nothing is written. Collective. Errors: ERR_CONFIG if the environment's is no
 * number or not higher than the folder's; ERR_CORRUPT, ERR_IO if that cannot be read; those of groups.
 */
ERR_MUST_CHECK enum err incarnation_next(struct comm_group *world, const char *output_dir,
                                         int64_t deadline_ms, struct incarnation *incarnation_out);

/* The path of that file. Errors: ERR_INVALID if it does not fit. */
ERR_MUST_CHECK enum err incarnation_path(const char *output_dir, char path[FILE_PATH_BYTES_MAX]);

/* From here on the folder is this start's, which goes on from `step`. On one rank. Errors: ERR_IO. */
ERR_MUST_CHECK enum err incarnation_claim(const char *output_dir, struct incarnation *incarnation,
                                          int64_t step);

/* This start has made a step, or there was none to make. Writes at the first call only. On that rank. Errors: ERR_IO. */
ERR_MUST_CHECK enum err incarnation_succeed(const char *output_dir,
                                            struct incarnation *incarnation);

/*
 * Before anything is put in its place there. Errors: ERR_CONFIG if a later start has claimed it;
 * ERR_CORRUPT, ERR_IO if that cannot be told.
 */
ERR_MUST_CHECK enum err incarnation_check(const char *output_dir, uint64_t number);

#endif
