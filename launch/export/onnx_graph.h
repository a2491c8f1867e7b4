/*
 * launch/export/onnx_graph.h - an ONNX model that is built node by node, and written.
 *
 * Everything a graph holds has a readable name: scopes are joined by dots, "layer.1.attention.query".
 * A value is the name of a tensor, lent by the graph until its close.
 *
 *      onnx_graph_scope(graph, "layer.%d.mlp", 1);
 *      x = ONNX_OP(graph, "up", "MatMul", x, onnx_graph_matrix(graph, "up.weight", w, F, D));
 *      onnx_graph_int(graph, "axis", -1);                      an attribute of the newest node
 *
 * Makers always give a value: what goes wrong (memory) is kept, and told by onnx_graph_write().
 * Opset 17 (the first with LayerNormalization), IR version 8; floats are float32.
 *
 * Threads: a graph belongs to one thread.
 */
#ifndef LAUNCH_EXPORT_ONNX_GRAPH_H
#define LAUNCH_EXPORT_ONNX_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { ONNX_OPSET = 17, ONNX_IR_VERSION = 8, ONNX_RANK_MAX = 4 };

/* Dimensions that are told when the model runs: samples, and tokens of the longest text. */
enum { ONNX_ANY = -1, ONNX_TOKENS = -2 };

/* What nodes are told of a type by. */
enum { ONNX_FLOAT32 = 1 };

struct onnx_graph;
typedef const char *onnx_value;

/* `about` is for people. End it with onnx_graph_close(). Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err onnx_graph_open(const char *name, const char *about,
                                        struct onnx_graph **graph_out);
void onnx_graph_close(struct onnx_graph *graph); /* NULL is allowed */

/* What stands before the names that follow; "" for nothing. */
void onnx_graph_scope(struct onnx_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* float32 tensors that come in and go out, `name` as it is; `value` is what is given out under it. */
onnx_value onnx_graph_input(struct onnx_graph *graph, const char *name, const int64_t dims[],
                            int rank);
onnx_value onnx_graph_input_ints(struct onnx_graph *graph, const char *name, const int64_t dims[],
                                 int rank); /* int64 */
void onnx_graph_output(struct onnx_graph *graph, const char *name, onnx_value value,
                       const int64_t dims[], int rank);

/* A node with one output, which has the node's name. */
onnx_value onnx_graph_op(struct onnx_graph *graph, const char *name, const char *type,
                         const onnx_value inputs[], size_t input_count);
#define ONNX_OP(graph, name, type, ...)                                                            \
    onnx_graph_op((graph), (name), (type), (const onnx_value[]){__VA_ARGS__},                      \
                  sizeof((const onnx_value[]){__VA_ARGS__}) / sizeof(onnx_value))

/* Gives the newest node one more output. */
onnx_value onnx_graph_also(struct onnx_graph *graph, const char *name);

/* Attributes of the newest node. */
void onnx_graph_int(struct onnx_graph *graph, const char *name, int64_t value);
void onnx_graph_float(struct onnx_graph *graph, const char *name, float value);
void onnx_graph_ints(struct onnx_graph *graph, const char *name, const int64_t values[],
                     size_t count);

/* Weights; lent until the close. A matrix [rows, columns] is put there transposed, for MatMul. */
onnx_value onnx_graph_weight(struct onnx_graph *graph, const char *name, const float *values,
                             const int64_t dims[], int rank);
onnx_value onnx_graph_matrix(struct onnx_graph *graph, const char *name, const float *values,
                             int64_t rows, int64_t columns);

/* Constants, which have their values as names; equal ones are one. */
onnx_value onnx_graph_scalar(struct onnx_graph *graph, float value);
onnx_value onnx_graph_shape(struct onnx_graph *graph, const int64_t values[], size_t count);

void onnx_graph_metadata(struct onnx_graph *graph, const char *key, const char *value);

/*
 * Writes the model as a file. Errors: ERR_NO_MEMORY, of anything before, too; ERR_IO; ERR_CONFIG if
 * it is larger than a protobuf message may be, 2 GiB.
 */
ERR_MUST_CHECK enum err onnx_graph_write(const struct onnx_graph *graph, const char *path);

#endif
