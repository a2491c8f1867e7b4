/*
 * launch/export/export_sets.h - the sets of heads and gates that are exported: one, or all.
 *
 * Threads: plain values.
 */
#ifndef LAUNCH_EXPORT_EXPORT_SETS_H
#define LAUNCH_EXPORT_EXPORT_SETS_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/trained_network.h"

struct export_sets {
    int first, count; /* as the run numbers them; exported they are 0 .. count - 1 */
};

/* All sets, or that of `lambda`. Errors: ERR_CONFIG, naming those that there are. */
ERR_MUST_CHECK enum err export_sets_choose(const struct trained_network *source, bool has_lambda,
                                           double lambda, struct export_sets *sets_out);

/* Writes exits.safetensors of those sets. Errors: ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err export_sets_write(const struct trained_network *source,
                                          const struct export_sets *sets, const char *path);

#endif
