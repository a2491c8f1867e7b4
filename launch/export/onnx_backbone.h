/*
 * launch/export/onnx_backbone.h - the layers of a backbone as nodes of an ONNX graph.
 *
 * The pieces are those of trainer/model/model.h, and compute what it computes:
 *
 *      onnx_backbone_embed     pixel_values [n, C, height, width], or of texts input_ids [n, T]
 *                              -> stream [n, T, D]
 *      onnx_backbone_layer l   stream -> stream
 *      onnx_backbone_pool      stream -> pooled [n, D]
 *      onnx_backbone_classify  pooled -> logits [n, K]
 *
 * As there, with cls pooling of images the last layer computes the cls row alone, and its stream is
 * [n, 1, D]. What tells one backbone from another is in functions for the embedding (patches, tokens) and
 * the layer (pre-norm, post-norm), chosen by the same fields of its model_config; another backbone is
 * one more of either, and a line in onnx_backbone_check().
 *
 * Threads: as the graph.
 */
#ifndef LAUNCH_EXPORT_ONNX_BACKBONE_H
#define LAUNCH_EXPORT_ONNX_BACKBONE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "launch/export/onnx_graph.h"
#include "trainer/kernels/kern_gelu.h"
#include "trainer/model/model_config.h"
#include "trainer/model/param_list.h"

/* All lent. */
struct onnx_backbone {
    const struct model_config *config;
    const struct param_list *params;
    const float *block;
};

/* Errors: ERR_CONFIG for a backbone that cannot be exported, naming what of it. */
ERR_MUST_CHECK enum err onnx_backbone_check(const struct model_config *config);

void onnx_backbone_stream_dims(const struct onnx_backbone *backbone, int64_t dims[3]);

/* What tells which tokens of a text are there; NULL of images, whose tokens all are. */
struct onnx_backbone_mask {
    onnx_value scores; /* [n, 1, 1, T], added to those of attention */
    onnx_value rows;   /* [n, T, 1], 1 or 0 */
};

/* Of texts, with the input attention_mask [n, T]. */
struct onnx_backbone_mask onnx_backbone_mask(struct onnx_graph *graph,
                                             const struct onnx_backbone *backbone);

/* With its input. */
onnx_value onnx_backbone_embed(struct onnx_graph *graph, const struct onnx_backbone *backbone);

onnx_value onnx_backbone_layer(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                               int64_t layer, onnx_value stream,
                               const struct onnx_backbone_mask *mask);

/* In the scope as it is. */
onnx_value onnx_backbone_pool(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                              onnx_value stream, const struct onnx_backbone_mask *mask);

onnx_value onnx_backbone_classify(struct onnx_graph *graph, const struct onnx_backbone *backbone,
                                  onnx_value pooled);

/* What exits need as well, in the scope as it is. Names of nodes begin with `name`. */
onnx_value onnx_backbone_norm(struct onnx_graph *graph, const char *name, onnx_value input,
                              const float *gain, const float *bias, int64_t width, double epsilon);
onnx_value onnx_backbone_linear(struct onnx_graph *graph, const char *name, onnx_value input,
                                const float *weight, const float *bias, int64_t outputs,
                                int64_t inputs);
onnx_value onnx_backbone_gelu(struct onnx_graph *graph, const char *name, onnx_value input,
                              enum kern_gelu form);

#endif
