/*
 * launch/export/onnx_models.h - a backbone with exits as ONNX models: all of it, and by stages.
 *
 *      all exits   pixel_values [n, C, height, width]
 *                    -> logits [n, K], and for l = 1 .. G: exit_<l>_logits [n, K], exit_<l>_gate [n]
 *      stage 0     pixel_values -> next_hidden_states [n, T, D], exit_logits [n, K], exit_gate [n]
 *      stage s     hidden_states [n, T, D] -> the same
 *      stage G     hidden_states -> logits [n, K]
 *
 * Of texts, input_ids [n, T] stands for pixel_values, and all also have attention_mask [n, T], int64.
 * A gate's value is its score, which is compared with thresholds of docs/export.md; without gates it
 * is the largest probability. Where scores follow from earlier gates, stages also have mass and
 * next_mass [n, 1]; where heads see the one before, previous_logits [n, K], which is exit_logits of
 * the stage before; where exits answer from all heads so far, previous_heads [n, s, K] and next_heads.
 *
 * Threads: any.
 */
#ifndef LAUNCH_EXPORT_ONNX_MODELS_H
#define LAUNCH_EXPORT_ONNX_MODELS_H

#include "comm/base/err.h"
#include "launch/export/onnx_backbone.h"
#include "launch/export/onnx_exits.h"
#include "launch/export/onnx_graph.h"

#define ONNX_MODELS_ALL "all_exits.onnx"
#define ONNX_MODELS_STAGE "stage_%d.onnx" /* s, 0 .. G */

struct onnx_models {
    struct onnx_backbone backbone;
    struct onnx_exits exits;
    double lambda; /* of the set that is exported */
};

/* Errors: ERR_CONFIG for what cannot be exported, naming it. */
ERR_MUST_CHECK enum err onnx_models_check(const struct onnx_models *models);

/* Graphs of models that are checked, to be closed; weights are lent. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err onnx_models_all(const struct onnx_models *models,
                                        struct onnx_graph **graph_out);
ERR_MUST_CHECK enum err onnx_models_stage(const struct onnx_models *models, int stage,
                                          struct onnx_graph **graph_out);

/*
 * Writes all of them into `folder`, which exists. Errors: those of onnx_graph_write(). Memory: all
 * weights twice.
 */
ERR_MUST_CHECK enum err onnx_models_write(const struct onnx_models *models, const char *folder);

#endif
