/*
 * launch/export/export_results.h - what an evaluation found, for exits.json: the thresholds of every
 * policy that has such, and what they were worth.
 *
 * Threads: any.
 */
#ifndef LAUNCH_EXPORT_EXPORT_RESULTS_H
#define LAUNCH_EXPORT_EXPORT_RESULTS_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/trained_network.h"

struct export_results {
    struct jdoc *doc;               /* NULL: there are none */
    char path[FILE_PATH_BYTES_MAX]; /* of the file */
};

/*
 * Reads `path`, or if it is NULL the summary.json of the run, which counts only if it is of the
 * checkpoint's step. End it with export_results_close(). Errors: as jdoc_read(), of a summary but
 * for ERR_MISSING.
 */
ERR_MUST_CHECK enum err export_results_open(const struct trained_network *source, const char *path,
                                            struct export_results *results_out);
void export_results_close(struct export_results *results);

/*
 * The policies of one lambda as an array, which the caller takes over; empty without results.
 * `policy` NULL: all. Errors: ERR_MISSING if that one is not there; ERR_CORRUPT if there are not as
 * many thresholds as exits.
 */
ERR_MUST_CHECK enum err export_results_of(const struct export_results *results,
                                          const struct trained_network *source, double lambda,
                                          const char *policy, struct jdoc **policies_out);

#endif
