/*
 * launch/export/export.h - a trained network as files that other tools read.
 *
 *      DIR/exits.json                always: layers, kinds, costs, thresholds; docs/export.md
 *      DIR/config.json               hf: the backbone as `transformers` loads it
 *      DIR/model.safetensors         hf
 *      DIR/preprocessor_config.json  hf: how its images are made; of texts absent
 *      DIR/exits.safetensors         hf: heads and gates
 *      DIR/onnx/all_exits.onnx       onnx
 *      DIR/onnx/stage_<s>.onnx       onnx: the layers up to exit s + 1, or to the end
 *
 * The folder is whole or absent: it is made as DIR.partial, and renamed.
 *
 * Threads: any, for different folders.
 */
#ifndef LAUNCH_EXPORT_EXPORT_H
#define LAUNCH_EXPORT_EXPORT_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/trained_network.h"

enum export_format { EXPORT_ALL, EXPORT_HF, EXPORT_ONNX };

struct export_wish {
    const char *output_dir;
    enum export_format format;
    bool has_lambda; /* else all sets, of which ONNX needs one alone */
    double lambda;
    const char *policy; /* whose thresholds; NULL: all that are there */
    const char *
        results; /* a file of `offramp eval --json`; NULL: the run's summary.json, if it is of the same step */
};

/*
 * Writes the folder. Errors: ERR_CONFIG if it has something in it, for a lambda that the run does not
 * have, and for what cannot be exported, with nothing written; ERR_MISSING for results or a policy that
 * was named and is not there; ERR_CORRUPT for results that are damaged or of other exits; ERR_IO,
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err export_write(struct trained_network *source,
                                     const struct export_wish *wish);

#endif
