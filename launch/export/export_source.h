/*
 * launch/export/export_source.h - the checkpoint that is exported: found, verified, loaded.
 *
 * Everything but the evaluation's results is in the checkpoint itself: what exits it has is among
 * the settings of its trainer_state.json.
 *
 * Threads: any.
 */
#ifndef LAUNCH_EXPORT_EXPORT_SOURCE_H
#define LAUNCH_EXPORT_EXPORT_SOURCE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "exits/exits_method.h"
#include "exits/exits_net.h"
#include "launch/options.h"
#include "trainer/model/model.h"

struct export_source {
    char folder[FILE_PATH_BYTES_MAX];     /* of the checkpoint */
    char output_dir[FILE_PATH_BYTES_MAX]; /* of the run that it belongs to */
    int64_t step;
    char *settings;         /* what texts of `options` lend */
    struct options options; /* those of the whole run that fix numbers */
    struct model *model;
    struct exits_net *net;
    struct exits_method method; /* how they were trained, with the gates that stand there */
};

/*
 * `path` is a checkpoint, or the output_dir of a run: then its newest valid one. On the CPU.
 * End it with export_source_close(). Errors: those of checkpoint_verify(), checkpoint_find() and the
 * loaders of its files; ERR_MISSING if there is none; ERR_CONFIG if it has no exits, or such as cannot
 * be exported.
 */
ERR_MUST_CHECK enum err export_source_open(const char *path, struct export_source *source_out);
void export_source_close(struct export_source *source); /* a zeroed one is allowed */

#endif
