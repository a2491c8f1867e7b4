/*
 * launch/drill/drill_compare.h - whether two runs came to the same state.
 *
 * Threads: any.
 */
#ifndef LAUNCH_DRILL_DRILL_COMPARE_H
#define LAUNCH_DRILL_DRILL_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

struct drill_sum {
    int64_t step;
    int64_t bytes; /* that were compared */
    int files;
};

/*
 * The state_hash of the summaries in both output_dirs, and every byte of the tensors in their last
 * checkpoints. Errors: ERR_DIFFERS, naming the first difference; ERR_MISSING, ERR_IO, ERR_CORRUPT if
 * one of them has not what a run that is finished has.
 */
ERR_MUST_CHECK enum err drill_compare(const char *reference, const char *output_dir,
                                      struct drill_sum *sum_out);

/* The last step of a run that is finished. Errors: as above. */
ERR_MUST_CHECK enum err drill_last_step(const char *output_dir, int64_t *step_out);

#endif
