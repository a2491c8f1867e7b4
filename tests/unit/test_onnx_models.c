/*
 * Unit tests of launch/export/onnx_models.h: models for all kinds of exits, written, taken apart again, and
 * held to what an ONNX graph must be. What they compute is tested by cli.export_onnx, with onnxruntime.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx.pb-c.h>

#include "comm/base/file.h"
#include "exits/exits_net.h"
#include "launch/export/onnx_models.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model.h"

enum { G = 2, FLOAT32 = 1, INT64 = 7, BIG = 1 << 20 };

static struct temp_folder folder;
static struct model *model;
static struct exits_net *net;
static struct onnx_models models;

static const struct model_config vit = {
    .image_size = 12,
    .patch_size = 4,
    .num_channels = 3,
    .hidden_size = 12,
    .num_hidden_layers = 4,
    .num_attention_heads = 3,
    .intermediate_size = 20,
    .num_labels = 5,
    .layer_norm_eps = 1e-6,
    .initializer_range = 0.1,
    .hidden_act = KERN_GELU_ERF,
    .pooling = MODEL_POOLING_CLS,
};

static const struct exits_net_config exits = {.count = G,
                                              .layers = {0, 2},
                                              .set_count = 2,
                                              .width = 12,
                                              .classes = 5,
                                              .head = EXITS_HEAD_NORM_LINEAR,
                                              .head_hidden = 9,
                                              .boost = 0.5,
                                              .gate = EXITS_GATE_MLP,
                                              .gate_hidden = 6,
                                              .layer_norm_eps = 1e-6f};

static void close_models(void)
{
    exits_net_close(net);
    model_close(model);
    net = NULL;
    model = NULL;
}

static void open_models(const struct model_config *model_config,
                        const struct exits_net_config *exits_config)
{
    const double prior[G] = {0.5, 0.5};
    struct kern_ops ops;

    close_models();
    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_OK(model_open(model_config, &ops, &model));
    EXPECT_OK(model_init(model, 3));
    EXPECT_OK(exits_net_open(exits_config, &ops, &net));
    EXPECT_OK(exits_net_init(net, 4, prior));
    models = (struct onnx_models){
        .backbone = {model_config_of(model), model_params(model), model_block(model)},
        .exits = {.config = exits_net_config_of(net),
                  .params = exits_net_params(net),
                  .block = exits_net_block(net),
                  .set = 1,
                  .score = EXITS_SCORE_HAZARD,
                  .form = EXITS_HAZARD},
        .lambda = 0.25};
}

static void set_up(void)
{
    temp_folder_open(&folder);
    open_models(&vit, &exits);
}

static void tear_down(void)
{
    close_models();
    temp_folder_close(&folder);
}

/* Writes the graph, closes it and reads the file; the caller frees it. */
static Onnx__ModelProto *read_back(struct onnx_graph *graph)
{
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    EXPECT_OK(file_path(path, folder.path, "model.onnx"));
    EXPECT_OK(onnx_graph_write(graph, path));
    onnx_graph_close(graph);
    EXPECT_OK(file_map(path, &map));
    Onnx__ModelProto *proto = onnx__model_proto__unpack(NULL, map.count, map.bytes);
    file_unmap(&map);
    ck_assert_ptr_nonnull(proto);
    return proto;
}

static Onnx__ModelProto *read_all(void)
{
    struct onnx_graph *graph = NULL;

    EXPECT_OK(onnx_models_check(&models));
    EXPECT_OK(onnx_models_all(&models, &graph));
    return read_back(graph);
}

static Onnx__ModelProto *read_stage(int stage)
{
    struct onnx_graph *graph = NULL;

    EXPECT_OK(onnx_models_check(&models));
    EXPECT_OK(onnx_models_stage(&models, stage, &graph));
    return read_back(graph);
}

static void free_model(Onnx__ModelProto *proto)
{
    onnx__model_proto__free_unpacked(proto, NULL);
}

/* "pixel_values [n, 3, 12, 12]; " for each. */
static const char *values_text(Onnx__ValueInfoProto **values, size_t count)
{
    static char text[2048];
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const bool is_of_text = strcmp(values[i]->name, "input_ids") == 0 ||
                                strcmp(values[i]->name, "attention_mask") == 0;
        ck_assert_int_eq(values[i]->type->tensor_type->elem_type, is_of_text ? INT64 : FLOAT32);
        const Onnx__TensorShapeProto *shape = values[i]->type->tensor_type->shape;
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s [", values[i]->name);
        for (size_t d = 0; d < shape->n_dim; d++) {
            const Onnx__TensorShapeProto__Dimension *dim = shape->dim[d];
            const char *comma = d == 0 ? "" : ", ";
            at +=
                dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                    ? (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", comma, dim->dim_param)
                    : (size_t)snprintf(text + at, sizeof(text) - at, "%s%lld", comma,
                                       (long long)dim->dim_value);
        }
        at += (size_t)snprintf(text + at, sizeof(text) - at, "]; ");
        ck_assert_uint_lt(at, sizeof(text));
    }
    return text;
}

static const char *inputs_of(const Onnx__ModelProto *proto)
{
    return values_text(proto->graph->input, proto->graph->n_input);
}

static const char *outputs_of(const Onnx__ModelProto *proto)
{
    return values_text(proto->graph->output, proto->graph->n_output);
}

static const Onnx__TensorProto *find_tensor(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++) {
        if (strcmp(graph->initializer[i]->name, name) == 0) {
            return graph->initializer[i];
        }
    }
    return NULL;
}

static bool is_input(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_input; i++) {
        if (strcmp(graph->input[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Nodes before `end` that give this value. */
static int count_makers(const Onnx__GraphProto *graph, const char *name, size_t end)
{
    int count = 0;

    for (size_t n = 0; n < end; n++) {
        for (size_t o = 0; o < graph->node[n]->n_output; o++) {
            count += strcmp(graph->node[n]->output[o], name) == 0;
        }
    }
    return count;
}

/* Every value is made once and before it is used; every tensor has as many bytes as its shape says. */
static void expect_graph(const Onnx__ModelProto *proto)
{
    const Onnx__GraphProto *graph = proto->graph;

    ck_assert_int_eq(proto->ir_version, ONNX_IR_VERSION);
    ck_assert_uint_eq(proto->n_opset_import, 1);
    ck_assert_int_eq(proto->opset_import[0]->version, ONNX_OPSET);
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        size_t bytes = tensor->data_type == INT64 ? sizeof(int64_t) : sizeof(float);
        for (size_t d = 0; d < tensor->n_dims; d++) {
            bytes *= (size_t)tensor->dims[d];
        }
        ck_assert_uint_eq(tensor->raw_data.len, bytes);
        ck_assert_ptr_eq(find_tensor(graph, tensor->name), tensor); /* no second one of that name */
    }
    for (size_t n = 0; n < graph->n_node; n++) {
        const Onnx__NodeProto *node = graph->node[n];
        for (size_t i = 0; i < node->n_input; i++) {
            const char *name = node->input[i];
            ck_assert_msg(count_makers(graph, name, n) + (find_tensor(graph, name) != NULL) +
                                  is_input(graph, name) ==
                              1,
                          "%s reads %s, which is not there, or twice", node->name, name);
        }
        ck_assert_int_eq(count_makers(graph, node->output[0], graph->n_node), 1);
        ck_assert_str_eq(node->output[0], node->name);
    }
    for (size_t o = 0; o < graph->n_output; o++) {
        ck_assert_int_eq(count_makers(graph, graph->output[o]->name, graph->n_node), 1);
    }
}

START_TEST(all__has_every_exit)
{
    Onnx__ModelProto *proto = read_all();

    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto), "pixel_values [n, 3, 12, 12]; ");
    ck_assert_str_eq(outputs_of(proto),
                     "logits [n, 5]; exit_1_logits [n, 5]; exit_1_gate [n]; exit_2_logits [n, 5]; "
                     "exit_2_gate [n]; ");
    ck_assert_str_eq(proto->producer_name, "offramp");
    ck_assert_uint_eq(proto->n_metadata_props, 4);
    ck_assert_str_eq(proto->metadata_props[0]->key, "offramp.exit_layers");
    ck_assert_str_eq(proto->metadata_props[0]->value, "1,3");
    ck_assert_str_eq(proto->metadata_props[1]->value, "0.25");
    ck_assert_str_eq(proto->metadata_props[2]->value, "hazard");
    free_model(proto);
}
END_TEST

START_TEST(all__has_weights_of_the_set_transposed)
{
    Onnx__ModelProto *proto = read_all();
    const Onnx__TensorProto *tensor = find_tensor(proto->graph, "exit.2.classifier.weight");
    const struct param_list *params = exits_net_params(net);
    const float *weight = NULL;
    float found = 0;

    for (int64_t t = 0; t < params->count; t++) {
        if (strcmp(params->params[t].name, "exits.1.layer.2.classifier.weight") == 0) {
            weight = exits_net_block(net) + params->params[t].offset; /* [5, 12] */
        }
    }
    ck_assert_ptr_nonnull(weight);
    ck_assert_int_eq(tensor->dims[0], 12);
    ck_assert_int_eq(tensor->dims[1], 5);
    for (size_t k = 0; k < 5; k++) {
        for (size_t d = 0; d < 12; d++) {
            memcpy(&found, tensor->raw_data.data + (d * 5 + k) * sizeof(found), sizeof(found));
            ck_assert_float_eq(found, weight[k * 12 + d]);
        }
    }
    free_model(proto);
}
END_TEST

START_TEST(stages__hand_the_stream_on)
{
    static const char *const inputs[] = {"pixel_values [n, 3, 12, 12]; ",
                                         "hidden_states [n, 10, 12]; ",
                                         "hidden_states [n, 10, 12]; "};
    static const char *const outputs[] = {
        "next_hidden_states [n, 10, 12]; exit_logits [n, 5]; exit_gate [n]; ",
        "next_hidden_states [n, 10, 12]; exit_logits [n, 5]; exit_gate [n]; ", "logits [n, 5]; "};
    static const int layers[G + 1][4] = {{1, 0, 0, 0}, {0, 1, 1, 0}, {0, 0, 0, 1}};
    char name[64];

    for (int stage = 0; stage <= G; stage++) {
        Onnx__ModelProto *proto = read_stage(stage);
        expect_graph(proto);
        ck_assert_str_eq(inputs_of(proto), inputs[stage]);
        ck_assert_str_eq(outputs_of(proto), outputs[stage]);
        for (int layer = 0; layer < 4; layer++) {
            snprintf(name, sizeof(name), "layer.%d.mlp.up.weight", layer);
            ck_assert_int_eq(find_tensor(proto->graph, name) != NULL, layers[stage][layer]);
        }
        free_model(proto);
    }
}
END_TEST

START_TEST(stages__hand_on_what_scores_and_heads_need)
{
    struct exits_net_config boosted = exits;

    models.exits.form = EXITS_DIRECT;
    Onnx__ModelProto *proto = read_stage(0);
    ck_assert_str_eq(outputs_of(proto), "next_hidden_states [n, 10, 12]; exit_logits [n, 5]; "
                                        "exit_gate [n]; next_mass [n, 1]; ");
    free_model(proto);
    proto = read_stage(1);
    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto), "hidden_states [n, 10, 12]; mass [n, 1]; ");
    free_model(proto);
    boosted.heads = EXITS_HEADS_BOOSTED;
    open_models(&vit, &boosted);
    proto = read_stage(1);
    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto), "hidden_states [n, 10, 12]; previous_logits [n, 5]; ");
    free_model(proto);
    boosted.heads = EXITS_HEADS_CASCADED;
    boosted.gate = EXITS_GATE_ENSEMBLE;
    open_models(&vit, &boosted);
    models.exits.score = EXITS_SCORE_MAX_PROB;
    proto = read_stage(0);
    ck_assert_str_eq(outputs_of(proto), "next_hidden_states [n, 10, 12]; exit_logits [n, 5]; "
                                        "exit_gate [n]; next_heads [n, 1, 5]; ");
    free_model(proto);
    proto = read_stage(1);
    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto), "hidden_states [n, 10, 12]; previous_heads [n, 1, 5]; ");
    free_model(proto);
}
END_TEST

START_TEST(stages__of_texts_take_tokens_and_a_mask)
{
    const struct model_config bert = {.vocab_size = 30,
                                      .max_position_embeddings = 16,
                                      .type_vocab_size = 2,
                                      .max_length = 16,
                                      .hidden_size = 12,
                                      .num_hidden_layers = 4,
                                      .num_attention_heads = 3,
                                      .intermediate_size = 20,
                                      .num_labels = 5,
                                      .layer_norm_eps = 1e-12,
                                      .initializer_range = 0.1,
                                      .hidden_act = KERN_GELU_ERF,
                                      .embedding = MODEL_EMBEDDING_TOKENS,
                                      .norm = MODEL_NORM_POST,
                                      .mask = MODEL_MASK_LENGTHS,
                                      .pooling = MODEL_POOLING_MEAN};

    open_models(&bert, &exits);
    Onnx__ModelProto *proto = read_all();
    expect_graph(proto);
    free_model(proto);
    proto = read_stage(0);
    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto), "input_ids [n, tokens]; attention_mask [n, tokens]; ");
    ck_assert_str_eq(outputs_of(proto), "next_hidden_states [n, tokens, 12]; exit_logits [n, 5]; "
                                        "exit_gate [n]; ");
    free_model(proto);
    proto = read_stage(G);
    expect_graph(proto);
    ck_assert_str_eq(inputs_of(proto),
                     "hidden_states [n, tokens, 12]; attention_mask [n, tokens]; ");
    ck_assert(find_tensor(proto->graph, "final.norm.weight") == NULL); /* the layer has one */
    free_model(proto);
}
END_TEST

/* Each kind of head and gate, with each score that goes with it. */
START_TEST(all__can_be_made_of_every_kind)
{
    struct model_config mean = vit;

    mean.pooling = MODEL_POOLING_MEAN;
    mean.hidden_act = KERN_GELU_TANH;
    for (int head = EXITS_HEAD_LINEAR; head <= EXITS_HEAD_NORM_MLP; head++) {
        for (int gate = 0; gate < EXITS_GATE_COUNT; gate++) {
            struct exits_net_config config = exits;
            if (onnx_exits_gate_name((enum exits_gate_kind)gate) == NULL) {
                continue; /* refused */
            }
            config.head = (enum exits_head_kind)head;
            config.gate = (enum exits_gate_kind)gate;
            open_models(gate % 2 == 0 ? &vit : &mean, &config);
            for (int score = EXITS_SCORE_HAZARD; score <= EXITS_SCORE_CUMULATIVE; score++) {
                models.exits.score = !exits_gate_decides((enum exits_gate_kind)gate)
                                         ? EXITS_SCORE_MAX_PROB
                                         : (enum exits_score)score;
                models.exits.form = head % 2 == 0 ? EXITS_HAZARD : EXITS_DIRECT;
                Onnx__ModelProto *proto = read_all();
                expect_graph(proto);
                free_model(proto);
            }
        }
    }
}
END_TEST

START_TEST(check__refuses_what_has_no_function)
{
    struct exits_net_config strange = exits;
    struct model_config text = vit;

    strange.gate = (enum exits_gate_kind)EXITS_GATE_COUNT;
    models.exits.config = &strange;
    EXPECT_ERR(onnx_models_check(&models), ERR_CONFIG, "exit_gate");
    strange = exits;
    strange.head = (enum exits_head_kind)77;
    EXPECT_ERR(onnx_models_check(&models), ERR_CONFIG, "exit_head");
    strange = exits;
    strange.heads = (enum exits_heads)77;
    EXPECT_ERR(onnx_models_check(&models), ERR_CONFIG, "kind 77");
    strange = exits;
    models.exits.score = (enum exits_score)77;
    EXPECT_ERR(onnx_models_check(&models), ERR_CONFIG, "kind 77");
    models.backbone.config = &text;
    text.embedding = MODEL_EMBEDDING_TOKENS; /* and pre-norm: a GPT-2 */
    text.mask = MODEL_MASK_CAUSAL;
    EXPECT_ERR(onnx_models_check(&models), ERR_CONFIG, "no ONNX models of a GPT-2");
    text = vit;
    text.has_distillation_token = true;
    models.exits.score = EXITS_SCORE_HAZARD;
    EXPECT_OK(onnx_models_check(&models));
}
END_TEST

/* The weights are not read: they are too many before that. */
START_TEST(write__refuses_more_than_a_message_holds)
{
    static const float none[1] = {0};
    const int64_t dims[] = {BIG, 1024};
    struct onnx_graph *graph = NULL;
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(onnx_graph_open("big", "", &graph));
    onnx_graph_weight(graph, "weights", none, dims, 2);
    EXPECT_OK(file_path(path, folder.path, "big.onnx"));
    EXPECT_ERR(onnx_graph_write(graph, path), ERR_CONFIG, "at most 2147483647");
    ck_assert(!file_exists(path));
    onnx_graph_close(graph);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("onnx_models");
    TCase *tcase = tcase_create("onnx_models");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, all__has_every_exit);
    tcase_add_test(tcase, all__has_weights_of_the_set_transposed);
    tcase_add_test(tcase, stages__hand_the_stream_on);
    tcase_add_test(tcase, stages__hand_on_what_scores_and_heads_need);
    tcase_add_test(tcase, stages__of_texts_take_tokens_and_a_mask);
    tcase_add_test(tcase, all__can_be_made_of_every_kind);
    tcase_add_test(tcase, check__refuses_what_has_no_function);
    tcase_add_test(tcase, write__refuses_more_than_a_message_holds);
    suite_add_tcase(suite, tcase);
    return suite;
}
