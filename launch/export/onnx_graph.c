#define _POSIX_C_SOURCE 200809L
#include "launch/export/onnx_graph.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx.pb-c.h>

#include "comm/base/file.h"
#include "launch/commands.h"

enum { SCOPE_BYTES = 96, NAME_BYTES = 192, FLOAT32 = 1, INT64 = 7 };

/* What protobuf's length of a message can tell. */
static const size_t MESSAGE_BYTES_MAX = INT32_MAX;

/* Memory that the messages point into, all given back at once. */
struct piece {
    struct piece *next;
    max_align_t bytes[];
};

struct onnx_graph {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset;
    Onnx__OperatorSetIdProto *opsets[1];
    struct piece *pieces;
    char scope[SCOPE_BYTES];
    bool lacks_memory;
};

/* Zeroed memory of the graph, or NULL, which the graph remembers. */
static void *take(struct onnx_graph *graph, size_t bytes)
{
    struct piece *piece = calloc(1, sizeof(*piece) + bytes);

    if (piece == NULL) {
        graph->lacks_memory = true;
        return NULL;
    }
    piece->next = graph->pieces;
    graph->pieces = piece;
    return piece->bytes;
}

static char *copy_text(struct onnx_graph *graph, const char *text)
{
    static char nothing[] = "";
    const size_t bytes = strlen(text) + 1;
    char *copy = take(graph, bytes);

    if (copy == NULL) {
        return nothing;
    }
    memcpy(copy, text, bytes);
    return copy;
}

/* "scope.name" */
static char *full_name(struct onnx_graph *graph, const char *name)
{
    char text[NAME_BYTES];

    snprintf(text, sizeof(text), "%s%s%s", graph->scope, graph->scope[0] == '\0' ? "" : ".", name);
    return copy_text(graph, text);
}

static int64_t *copy_ints(struct onnx_graph *graph, const int64_t values[], size_t count)
{
    int64_t *copy = take(graph, count * sizeof(*copy));

    if (copy != NULL && count > 0) { /* of none, values may be NULL */
        memcpy(copy, values, count * sizeof(*copy));
    }
    return copy;
}

/* Room for one more pointer: the array doubles when its count is a power of two. */
static bool grow(struct onnx_graph *graph, void ***array, size_t count)
{
    if (count > 0 && (count & (count - 1)) != 0) {
        return true;
    }
    void **larger = take(graph, (count == 0 ? 1 : 2 * count) * sizeof(*larger));
    if (larger == NULL) {
        return false;
    }
    if (count > 0) {
        memcpy(larger, *array, count * sizeof(*larger));
    }
    *array = larger;
    return true;
}

/* Appends `item` to a list of a message; nothing if there is none. */
#define APPEND(graph, count, list, item)                                                           \
    do {                                                                                           \
        void **array_ = (void **)(list);                                                           \
        void *item_ = (item);                                                                      \
        if (item_ != NULL && grow((graph), &array_, (count))) {                                    \
            (list) = (void *)array_;                                                               \
            (list)[(count)++] = item_;                                                             \
        }                                                                                          \
    } while (0)

enum err onnx_graph_open(const char *name, const char *about, struct onnx_graph **graph_out)
{
    static char producer[] = "offramp", version[] = OFFRAMP_VERSION, domain[] = "";
    struct onnx_graph *graph = calloc(1, sizeof(*graph));

    if (graph == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an ONNX graph");
    }
    onnx__model_proto__init(&graph->model);
    onnx__graph_proto__init(&graph->graph);
    onnx__operator_set_id_proto__init(&graph->opset);
    graph->opset.domain = domain; /* ONNX's own operators */
    graph->opset.has_version = 1;
    graph->opset.version = ONNX_OPSET;
    graph->opsets[0] = &graph->opset;
    graph->model.has_ir_version = 1;
    graph->model.ir_version = ONNX_IR_VERSION;
    graph->model.producer_name = producer;
    graph->model.producer_version = version;
    graph->model.n_opset_import = 1;
    graph->model.opset_import = graph->opsets;
    graph->model.graph = &graph->graph;
    graph->graph.name = copy_text(graph, name);
    graph->graph.doc_string = copy_text(graph, about);
    *graph_out = graph;
    return ERR_OK;
}

void onnx_graph_close(struct onnx_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    while (graph->pieces != NULL) {
        struct piece *next = graph->pieces->next;
        free(graph->pieces);
        graph->pieces = next;
    }
    free(graph);
}

void onnx_graph_scope(struct onnx_graph *graph, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(graph->scope, sizeof(graph->scope), format, list);
    va_end(list);
}

static Onnx__TensorShapeProto *make_shape(struct onnx_graph *graph, const int64_t dims[], int rank)
{
    static char samples[] = "n", tokens[] = "tokens";
    Onnx__TensorShapeProto *shape = take(graph, sizeof(*shape));

    if (shape == NULL) {
        return NULL;
    }
    onnx__tensor_shape_proto__init(shape);
    for (int d = 0; d < rank; d++) {
        Onnx__TensorShapeProto__Dimension *dim = take(graph, sizeof(*dim));
        if (dim == NULL) {
            return NULL;
        }
        onnx__tensor_shape_proto__dimension__init(dim);
        if (dims[d] < 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = dims[d] == ONNX_TOKENS ? tokens : samples;
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[d];
        }
        APPEND(graph, shape->n_dim, shape->dim, dim);
    }
    return shape;
}

static Onnx__ValueInfoProto *make_info(struct onnx_graph *graph, const char *name,
                                       int32_t data_type, const int64_t dims[], int rank)
{
    Onnx__ValueInfoProto *info = take(graph, sizeof(*info));
    Onnx__TypeProto *type = take(graph, sizeof(*type));
    Onnx__TypeProto__Tensor *tensor = take(graph, sizeof(*tensor));

    if (info == NULL || type == NULL || tensor == NULL) {
        return NULL;
    }
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = data_type;
    tensor->shape = make_shape(graph, dims, rank);
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    info->name = copy_text(graph, name);
    info->type = type;
    return info;
}

static onnx_value add_input(struct onnx_graph *graph, const char *name, int32_t data_type,
                            const int64_t dims[], int rank)
{
    Onnx__ValueInfoProto *info = make_info(graph, name, data_type, dims, rank);

    APPEND(graph, graph->graph.n_input, graph->graph.input, info);
    return info == NULL ? "" : info->name;
}

onnx_value onnx_graph_input(struct onnx_graph *graph, const char *name, const int64_t dims[],
                            int rank)
{
    return add_input(graph, name, FLOAT32, dims, rank);
}

onnx_value onnx_graph_input_ints(struct onnx_graph *graph, const char *name, const int64_t dims[],
                                 int rank)
{
    return add_input(graph, name, INT64, dims, rank);
}

/* The value keeps its own name, by which nodes know it: a node that does nothing gives it the other. */
void onnx_graph_output(struct onnx_graph *graph, const char *name, onnx_value value,
                       const int64_t dims[], int rank)
{
    onnx_graph_scope(graph, "%s", "");
    ONNX_OP(graph, name, "Identity", value);
    APPEND(graph, graph->graph.n_output, graph->graph.output,
           make_info(graph, name, FLOAT32, dims, rank));
}

onnx_value onnx_graph_op(struct onnx_graph *graph, const char *name, const char *type,
                         const onnx_value inputs[], size_t input_count)
{
    Onnx__NodeProto *node = take(graph, sizeof(*node));

    if (node == NULL) {
        return "";
    }
    onnx__node_proto__init(node);
    node->name = full_name(graph, name);
    node->op_type = copy_text(graph, type);
    for (size_t i = 0; i < input_count; i++) {
        APPEND(graph, node->n_input, node->input, copy_text(graph, inputs[i]));
    }
    APPEND(graph, node->n_output, node->output, node->name);
    APPEND(graph, graph->graph.n_node, graph->graph.node, node);
    return node->name;
}

static Onnx__NodeProto *newest(const struct onnx_graph *graph)
{
    return graph->lacks_memory ? NULL : graph->graph.node[graph->graph.n_node - 1];
}

onnx_value onnx_graph_also(struct onnx_graph *graph, const char *name)
{
    Onnx__NodeProto *node = newest(graph);
    char *output = full_name(graph, name);

    if (node != NULL) {
        APPEND(graph, node->n_output, node->output, output);
    }
    return output;
}

static Onnx__AttributeProto *add_attribute(struct onnx_graph *graph, const char *name,
                                           Onnx__AttributeProto__AttributeType type)
{
    Onnx__NodeProto *node = newest(graph);
    Onnx__AttributeProto *attribute = take(graph, sizeof(*attribute));

    if (node == NULL || attribute == NULL) {
        return NULL;
    }
    onnx__attribute_proto__init(attribute);
    attribute->name = copy_text(graph, name);
    attribute->has_type = 1;
    attribute->type = type;
    APPEND(graph, node->n_attribute, node->attribute, attribute);
    return attribute;
}

void onnx_graph_int(struct onnx_graph *graph, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute =
        add_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

    if (attribute != NULL) {
        attribute->has_i = 1;
        attribute->i = value;
    }
}

void onnx_graph_float(struct onnx_graph *graph, const char *name, float value)
{
    Onnx__AttributeProto *attribute =
        add_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

    if (attribute != NULL) {
        attribute->has_f = 1;
        attribute->f = value;
    }
}

void onnx_graph_ints(struct onnx_graph *graph, const char *name, const int64_t values[],
                     size_t count)
{
    Onnx__AttributeProto *attribute =
        add_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *copy = copy_ints(graph, values, count);

    if (attribute != NULL && copy != NULL) {
        attribute->n_ints = count;
        attribute->ints = copy;
    }
}

/* A tensor of elements of 4 or 8 bytes, whose name the graph has already. */
static onnx_value add_tensor(struct onnx_graph *graph, char *name, int32_t data_type,
                             const void *values, const int64_t dims[], size_t rank)
{
    Onnx__TensorProto *tensor = take(graph, sizeof(*tensor));
    size_t bytes = data_type == INT64 ? sizeof(int64_t) : sizeof(float);

    if (tensor == NULL) {
        return "";
    }
    onnx__tensor_proto__init(tensor);
    tensor->name = name;
    tensor->has_data_type = 1;
    tensor->data_type = data_type;
    tensor->dims = copy_ints(graph, dims, rank);
    tensor->n_dims = tensor->dims == NULL ? 0 : rank;
    for (size_t d = 0; d < rank; d++) {
        bytes *= (size_t)dims[d];
    }
    tensor->has_raw_data = 1;
    tensor->raw_data.len = bytes;
    tensor->raw_data.data = (uint8_t *)(uintptr_t)values; /* never written to */
    APPEND(graph, graph->graph.n_initializer, graph->graph.initializer, tensor);
    return name;
}

onnx_value onnx_graph_weight(struct onnx_graph *graph, const char *name, const float *values,
                             const int64_t dims[], int rank)
{
    return add_tensor(graph, full_name(graph, name), FLOAT32, values, dims, (size_t)rank);
}

onnx_value onnx_graph_matrix(struct onnx_graph *graph, const char *name, const float *values,
                             int64_t rows, int64_t columns)
{
    float *transposed = take(graph, (size_t)(rows * columns) * sizeof(*transposed));

    if (transposed == NULL) {
        return "";
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            transposed[c * rows + r] = values[r * columns + c];
        }
    }
    return add_tensor(graph, full_name(graph, name), FLOAT32, transposed,
                      (const int64_t[]){columns, rows}, 2);
}

static onnx_value find_tensor(const struct onnx_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->graph.n_initializer; i++) {
        if (strcmp(graph->graph.initializer[i]->name, name) == 0) {
            return graph->graph.initializer[i]->name;
        }
    }
    return NULL;
}

onnx_value onnx_graph_scalar(struct onnx_graph *graph, float value)
{
    char name[64];

    snprintf(name, sizeof(name), "constant.%.9g", (double)value);
    const onnx_value found = find_tensor(graph, name);
    float *copy = found == NULL ? take(graph, sizeof(*copy)) : NULL;
    if (copy == NULL) {
        return found == NULL ? "" : found;
    }
    *copy = value;
    return add_tensor(graph, copy_text(graph, name), FLOAT32, copy, NULL, 0);
}

onnx_value onnx_graph_shape(struct onnx_graph *graph, const int64_t values[], size_t count)
{
    char name[NAME_BYTES];
    int at = snprintf(name, sizeof(name), "shape");

    for (size_t i = 0; i < count && at < NAME_BYTES; i++) {
        at += snprintf(name + at, (size_t)(NAME_BYTES - at), ".%" PRId64, values[i]);
    }
    const onnx_value found = find_tensor(graph, name);
    int64_t *copy = found == NULL ? copy_ints(graph, values, count) : NULL;
    if (copy == NULL) {
        return found == NULL ? "" : found;
    }
    return add_tensor(graph, copy_text(graph, name), INT64, copy, (const int64_t[]){(int64_t)count},
                      1);
}

void onnx_graph_metadata(struct onnx_graph *graph, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry = take(graph, sizeof(*entry));

    if (entry == NULL) {
        return;
    }
    onnx__string_string_entry_proto__init(entry);
    entry->key = copy_text(graph, key);
    entry->value = copy_text(graph, value);
    APPEND(graph, graph->model.n_metadata_props, graph->model.metadata_props, entry);
}

enum err onnx_graph_write(const struct onnx_graph *graph, const char *path)
{
    if (graph->lacks_memory) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: its graph", path);
    }
    const size_t bytes = onnx__model_proto__get_packed_size(&graph->model);
    if (bytes > MESSAGE_BYTES_MAX) {
        return ERR_FAIL(
            ERR_CONFIG,
            "%s: it would have %zu bytes, an ONNX file has at most %zu: weights in files "
            "of their own are not implemented",
            path, bytes, MESSAGE_BYTES_MAX);
    }
    uint8_t *packed = malloc(bytes);
    if (packed == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: %zu bytes", path, bytes);
    }
    onnx__model_proto__pack(&graph->model, packed);
    const enum err status =
        file_write(path, &(struct file_piece){.bytes = packed, .count = bytes}, 1);
    free(packed);
    return status;
}
