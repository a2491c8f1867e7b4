/*
 * launch/export/export_describe.h - exits.json and preprocessor_config.json.
 *
 * Threads: any.
 */
#ifndef LAUNCH_EXPORT_EXPORT_DESCRIBE_H
#define LAUNCH_EXPORT_EXPORT_DESCRIBE_H

#include "comm/base/err.h"
#include "launch/export/export_results.h"
#include "launch/export/export_sets.h"
#include "launch/trained_network.h"

enum { EXPORT_FORMAT_VERSION = 1 };

/*
 * exits.json of a folder all other files of which are there, named by `files` [file_count]: they are
 * hashed. `policy` as in export_results_of(). The caller frees *text_out. Errors: those of
 * export_results_of(); ERR_IO, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err export_describe(const struct trained_network *source,
                                        const struct export_sets *sets,
                                        const struct export_results *results, const char *policy,
                                        const char *folder, const char *const files[],
                                        size_t file_count, char **text_out);

/*
 * preprocessor_config.json, as ViTImageProcessor reads it; NULL of texts. The caller frees *text_out.
 * Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err export_describe_images(const struct trained_network *source,
                                               char **text_out);

#endif
