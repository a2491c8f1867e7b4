/*
 * Unit tests of trainer/model/model_weights.c, model_save.c, model_shards.c and model_aliases.c: names
 * and forms of weights, and what is told of them. That they are Hugging Face's is for
 * tests/hf to see.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "tests/support/err_expect.h"
#include "tests/support/model_case.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model_files.h"

enum { TENSORS_MAX = 80, D = 12, F = 20, CONFIGS = 5 };

static const struct model_config configs[CONFIGS] = {
    {.image_size = 8,
     .patch_size = 4,
     .num_channels = 3,
     .hidden_size = D,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = F,
     .num_labels = 5,
     .layer_norm_eps = 1e-6,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_ERF,
     .pooling = MODEL_POOLING_CLS},
    {.image_size = 8,
     .patch_size = 4,
     .num_channels = 3,
     .has_distillation_token = true,
     .hidden_size = D,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = F,
     .num_labels = 5,
     .layer_norm_eps = 1e-6,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_ERF,
     .pooling = MODEL_POOLING_CLS},
    {.embedding = MODEL_EMBEDDING_TOKENS,
     .norm = MODEL_NORM_POST,
     .mask = MODEL_MASK_LENGTHS,
     .vocab_size = 30,
     .max_position_embeddings = 16,
     .type_vocab_size = 2,
     .max_length = 11,
     .hidden_size = D,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = F,
     .num_labels = 5,
     .layer_norm_eps = 1e-12,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_ERF,
     .pooling = MODEL_POOLING_MEAN},
    {.embedding = MODEL_EMBEDDING_TOKENS,
     .mask = MODEL_MASK_CAUSAL,
     .vocab_size = 30,
     .max_position_embeddings = 16,
     .max_length = 16,
     .hidden_size = D,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = F,
     .num_labels = 5,
     .layer_norm_eps = 1e-5,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_LAST},
    {.embedding = MODEL_EMBEDDING_TOKENS,
     .mask = MODEL_MASK_CAUSAL,
     .vocab_size = 30,
     .max_position_embeddings = 16,
     .max_length = 16,
     .ties_classifier = true,
     .hidden_size = D,
     .num_hidden_layers = 2,
     .num_attention_heads = 3,
     .intermediate_size = F,
     .num_labels = 30,
     .layer_norm_eps = 1e-5,
     .initializer_range = 0.02,
     .hidden_act = KERN_GELU_TANH,
     .pooling = MODEL_POOLING_EVERY},
};
enum { VIT, DEIT, BERT, GPT2, LANGUAGE_MODEL };

static struct temp_folder folder;
static struct model *model, *loaded;
static struct safetensors_tensor tensors[TENSORS_MAX]; /* of `model`, to be changed */
static char names[TENSORS_MAX][PARAM_NAME_BYTES];
static size_t tensor_count;

static void open_both(int which)
{
    struct kern_ops ops;

    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_OK(model_open(&configs[which], &ops, &model));
    EXPECT_OK(model_open(&configs[which], &ops, &loaded));
    model_case_fill(model_params(model), model_block(model), 3);
    tensor_count = (size_t)model_params(model)->count;
    ck_assert_uint_lt(tensor_count, TENSORS_MAX - 3);
    param_list_tensors(model_params(model), model_block(model), tensors);
    for (size_t i = 0; i < tensor_count; i++) {
        snprintf(names[i], PARAM_NAME_BYTES, "%s", tensors[i].name);
        tensors[i].name = names[i];
    }
}

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    model_close(model);
    model_close(loaded);
    model = loaded = NULL;
    temp_folder_close(&folder);
}

static void write_tensors(const char *file, const struct safetensors_tensor *from, size_t count)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, file));
    EXPECT_OK(safetensors_write(path, from, count, "format", "pt"));
}

/* Imports into `loaded`; what is told must be `notes`, NULL for nothing. */
static void import_and_expect(const char *notes)
{
    char *told = NULL;

    EXPECT_OK(model_files_import_weights(loaded, folder.path, 1, &told));
    if (notes == NULL) {
        ck_assert_ptr_null(told);
    } else {
        ck_assert_ptr_nonnull(told);
        ck_assert_msg(strstr(told, notes) != NULL, "told: %s", told);
    }
    free(told);
}

static void expect_same(void)
{
    const struct param_list *list = model_params(model);

    for (int64_t t = 0; t < list->count; t++) {
        const struct param *param = &list->params[t];
        ck_assert_msg(memcmp(model_block(model) + param->offset,
                             model_block(loaded) + param->offset,
                             (size_t)param->count * sizeof(float)) == 0,
                      "%s", param->name);
    }
}

static void expect_import_error(enum err code, const char *part)
{
    char *told = NULL;

    EXPECT_ERR(model_files_import_weights(loaded, folder.path, 1, &told), code, part);
    ck_assert_ptr_null(told);
}

static size_t index_of(const char *name)
{
    size_t i = 0;

    while (i < tensor_count && strcmp(names[i], name) != 0) {
        i++;
    }
    ck_assert_msg(i < tensor_count, "%s", name);
    return i;
}

static void rename_tensor(const char *from, const char *to)
{
    snprintf(names[index_of(from)], PARAM_NAME_BYTES, "%s", to);
}

/* Takes a tensor out; the last one takes its place. */
static void drop(const char *name)
{
    const size_t i = index_of(name);

    tensor_count--;
    tensors[i] = tensors[tensor_count];
    memmove(names[i], names[tensor_count], PARAM_NAME_BYTES);
    tensors[i].name = names[i];
}

static const float *values_of(const char *name)
{
    return tensors[index_of(name)].bytes;
}

static void add_tensor(const char *name, int rank, int64_t rows, int64_t columns,
                       const void *values)
{
    struct safetensors_tensor *tensor = &tensors[tensor_count];

    snprintf(names[tensor_count], PARAM_NAME_BYTES, "%s", name);
    *tensor = (struct safetensors_tensor){names[tensor_count], SAFETENSORS_F32, rank,
                                          {rows, columns},     values,          0};
    tensor->byte_count = (size_t)(rows * (rank == 2 ? columns : 1)) * sizeof(float);
    tensor_count++;
}

START_TEST(save__is_read_back_with_its_configuration)
{
    struct model_config back;

    open_both(_i);
    EXPECT_OK(model_files_save(model, folder.path));
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.embedding, configs[_i].embedding);
    ck_assert_int_eq(back.norm, configs[_i].norm);
    ck_assert_int_eq(back.mask, configs[_i].mask);
    ck_assert_int_eq(back.pooling, configs[_i].pooling);
    ck_assert_int_eq(back.vocab_size, configs[_i].vocab_size);
    ck_assert_int_eq(back.max_length, configs[_i].max_length);
    ck_assert_int_eq(back.num_labels, configs[_i].num_labels);
    ck_assert_int_eq(back.intermediate_size, F);
    ck_assert_int_eq(back.has_distillation_token, configs[_i].has_distillation_token);
    ck_assert_int_eq(back.ties_classifier, configs[_i].ties_classifier);
    ck_assert_int_eq(back.pooling, configs[_i].pooling);
    import_and_expect(NULL);
    expect_same();
}
END_TEST

/* A checkpoint has the tensors as they lie in memory, and is imported, too. */
START_TEST(import__reads_a_checkpoint_of_ours)
{
    open_both(_i);
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(NULL);
    expect_same();
}
END_TEST

START_TEST(save__writes_gpt2_as_hugging_face_does)
{
    char path[FILE_PATH_BYTES_MAX];
    struct safetensors *file = NULL;
    float weight[D * 3 * D], bias[3 * D], up[D * F];

    open_both(GPT2);
    EXPECT_OK(model_files_save(model, folder.path));
    EXPECT_OK(file_path(path, folder.path, MODEL_WEIGHTS_FILE));
    EXPECT_OK(safetensors_open(path, &file));
    ck_assert_ptr_null(safetensors_find(file, "transformer.h.1.attn.q_proj.weight"));
    const struct safetensors_tensor *found =
        safetensors_find(file, "transformer.h.1.attn.c_attn.weight");
    ck_assert_ptr_nonnull(found);
    ck_assert(found->rank == 2 && found->shape[0] == D && found->shape[1] == 3L * D);
    memcpy(weight, found->bytes, sizeof(weight));
    found = safetensors_find(file, "transformer.h.1.attn.c_attn.bias");
    ck_assert(found != NULL && found->rank == 1 && found->shape[0] == 3L * D);
    memcpy(bias, found->bytes, sizeof(bias));
    found = safetensors_find(file, "transformer.h.1.mlp.c_fc.weight");
    ck_assert(found != NULL && found->shape[0] == D && found->shape[1] == F);
    memcpy(up, found->bytes, sizeof(up));
    const float *value = values_of("transformer.h.1.attn.v_proj.weight");
    const float *key_bias = values_of("transformer.h.1.attn.k_proj.bias");
    const float *fc_in = values_of("transformer.h.1.mlp.fc_in.weight");
    for (int out = 0; out < D; out++) {
        ck_assert(bias[D + out] == key_bias[out]);
        for (int in = 0; in < D; in++) {
            ck_assert(weight[in * 3 * D + 2 * D + out] == value[out * D + in]);
        }
    }
    for (int out = 0; out < F; out++) {
        for (int in = 0; in < D; in++) {
            ck_assert(up[in * F + out] == fc_in[out * D + in]);
        }
    }
    safetensors_close(file);
}
END_TEST

START_TEST(import__knows_names_without_a_prefix_and_with_another)
{
    static const char *const old[] = {"vit.", "deit.", "bert.", "transformer."};
    static const char *const new[] = {"deit.", "", "", ""};

    open_both(_i);
    for (size_t i = 0; i < tensor_count; i++) {
        if (strncmp(names[i], old[_i], strlen(old[_i])) == 0) {
            char rest[PARAM_NAME_BYTES];
            snprintf(rest, sizeof(rest), "%s", names[i] + strlen(old[_i]));
            snprintf(names[i], PARAM_NAME_BYTES, "%s%s", new[_i], rest);
        }
    }
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(NULL);
    expect_same();
}
END_TEST

START_TEST(import__knows_the_old_names_of_norms)
{
    open_both(BERT);
    for (size_t i = 0; i < tensor_count; i++) {
        char *end = strstr(names[i], "LayerNorm.");
        if (end != NULL) {
            snprintf(end, 16, "LayerNorm.%s", end[strlen("LayerNorm.")] == 'w' ? "gamma" : "beta");
        }
    }
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(NULL);
    expect_same();
}
END_TEST

/* timm's names, with q, k and v in one matrix. */
START_TEST(import__knows_timms)
{
    static const char *const outside[][2] = {
        {"vit.embeddings.cls_token", "cls_token"},
        {"vit.embeddings.position_embeddings", "pos_embed"},
        {"vit.embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"},
        {"vit.embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias"},
        {"vit.layernorm.weight", "norm.weight"},
        {"vit.layernorm.bias", "norm.bias"},
        {"classifier.weight", "head.weight"},
        {"classifier.bias", "head.bias"},
    };
    static const char *const of_layer[][2] = {
        {"layernorm_before", "norm1"}, {"attention.output.dense", "attn.proj"},
        {"layernorm_after", "norm2"},  {"intermediate.dense", "mlp.fc1"},
        {"output.dense", "mlp.fc2"},
    };
    static const char *const parts[] = {"query", "key", "value"};
    static const char *const ends[] = {"weight", "bias"};
    static float fused[2][2][3 * D * D];
    char from[PARAM_NAME_BYTES];
    char to[PARAM_NAME_BYTES];

    open_both(VIT);
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        rename_tensor(outside[i][0], outside[i][1]);
    }
    for (int layer = 0; layer < 2; layer++) {
        for (int end = 0; end < 2; end++) {
            const size_t elems = end == 0 ? (size_t)D * D : D;
            for (size_t i = 0; i < sizeof(of_layer) / sizeof(of_layer[0]); i++) {
                snprintf(from, sizeof(from), "vit.encoder.layer.%d.%s.%s", layer, of_layer[i][0],
                         ends[end]);
                snprintf(to, sizeof(to), "blocks.%d.%s.%s", layer, of_layer[i][1], ends[end]);
                rename_tensor(from, to);
            }
            for (size_t p = 0; p < 3; p++) {
                snprintf(from, sizeof(from), "vit.encoder.layer.%d.attention.attention.%s.%s",
                         layer, parts[p], ends[end]);
                memcpy(fused[layer][end] + p * elems, values_of(from), elems * sizeof(float));
                drop(from);
            }
            snprintf(to, sizeof(to), "blocks.%d.attn.qkv.%s", layer, ends[end]);
            add_tensor(to, end == 0 ? 2 : 1, 3L * D, D, fused[layer][end]);
        }
    }
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(NULL);
    expect_same();
}
END_TEST

START_TEST(import__converts_halves)
{
    /* 1, -2, 0.5, 65504, 2^-24, -0, 1/3 nearly, 6.1e-5 */
    static const uint16_t f16[D] = {0x3c00, 0xc000, 0x3800, 0x7bff, 0x0001, 0x8000, 0x3555, 0x0400};
    static const float as_f16[D] = {1, -2, 0.5f, 65504, 0x1p-24f, -0.0f, 0x1.554p-2f, 0x1p-14f};
    static const uint16_t bf16[D] = {0x3f80, 0xc000, 0x7f7f, 0x0001};
    static const float as_bf16[D] = {1, -2, 0x1.fep127f, 0x1p-133f};
    static const uint16_t endless[D] = {0x7c00};
    const char gain[] = "bert.embeddings.LayerNorm.weight",
               bias[] = "bert.embeddings.LayerNorm.bias";

    open_both(BERT);
    struct safetensors_tensor *first = &tensors[index_of(gain)], *second = &tensors[index_of(bias)];
    first->dtype = SAFETENSORS_F16;
    second->dtype = SAFETENSORS_BF16;
    first->bytes = f16;
    second->bytes = bf16;
    first->byte_count = second->byte_count = sizeof(f16);
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(NULL);
    const struct param_list *list = model_params(loaded);
    for (int64_t t = 0; t < list->count; t++) {
        const float *values = model_block(loaded) + list->params[t].offset;
        if (strcmp(list->params[t].name, gain) == 0) {
            ck_assert_mem_eq(values, as_f16, sizeof(as_f16));
        } else if (strcmp(list->params[t].name, bias) == 0) {
            ck_assert_mem_eq(values, as_bf16, sizeof(as_bf16));
        }
    }
    first->bytes = endless;
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    expect_import_error(ERR_CORRUPT, "bert.embeddings.LayerNorm.weight holds inf at element 0");
    first->dtype = SAFETENSORS_I16;
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    expect_import_error(ERR_CORRUPT,
                        "LayerNorm.weight is I16 [12], the configuration asks for F32");
}
END_TEST

START_TEST(import__names_all_that_is_missing_and_all_that_is_not_used)
{
    static const float pooler[D * D];
    static const int64_t positions[16];

    open_both(BERT);
    add_tensor("bert.pooler.dense.weight", 2, D, D, pooler);
    add_tensor("bert.pooler.dense.bias", 1, D, 0, pooler);
    add_tensor("bert.embeddings.position_ids", 1, 16, 0, positions); /* of which nobody speaks */
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect(
        "model.safetensors: not used: bert.pooler.dense.bias, bert.pooler.dense.weight");
    expect_same();
    drop("bert.embeddings.word_embeddings.weight");
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    expect_import_error(ERR_CORRUPT, "tensor bert.embeddings.word_embeddings.weight is missing");
    drop("bert.encoder.layer.1.output.dense.bias");
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    expect_import_error(ERR_CORRUPT,
                        "2 tensors are missing: bert.embeddings.word_embeddings.weight, "
                        "bert.encoder.layer.1.output.dense.bias");
    write_tensors(MODEL_WEIGHTS_FILE, tensors + index_of("classifier.bias"), 1);
    expect_import_error(ERR_CORRUPT, "37 tensors are missing: bert.embeddings.word_embeddings");
    expect_import_error(ERR_CORRUPT, " more");
}
END_TEST

START_TEST(import__draws_a_classifier_that_is_missing_or_of_other_classes)
{
    static const float wide[7 * D];
    const int64_t weight_at = model_tensor_index(&configs[BERT], MODEL_class_weight, 0);

    open_both(BERT);
    drop("classifier.weight");
    drop("classifier.bias");
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect("there is no classifier.weight: it is initialised anew");
    add_tensor("classifier.weight", 2, 7, D, wide);
    add_tensor("classifier.bias", 1, 7, 0, wide);
    write_tensors(MODEL_WEIGHTS_FILE, tensors, tensor_count);
    import_and_expect("classifier.weight is [7, 12], of other classes than the [5, 12] asked for");
    EXPECT_OK(model_init(model, 1));
    const struct param *weight = &model_params(model)->params[weight_at];
    ck_assert_mem_eq(model_block(model) + weight->offset, model_block(loaded) + weight->offset,
                     (size_t)weight->count * sizeof(float));
}
END_TEST

START_TEST(import__reads_several_files_by_their_index)
{
    static const char a[] = "model-00001-of-00002.safetensors";
    static const char b[] = "model-00002-of-00002.safetensors";
    char text[16384];
    size_t used = 0;

    open_both(BERT);
    const size_t half = tensor_count / 2;
    write_tensors(a, tensors, half);
    write_tensors(b, tensors + half, tensor_count - half);
    used += (size_t)snprintf(text, sizeof(text), "{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < tensor_count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\"%s\": \"%s\"",
                                 i > 0 ? ", " : "", names[i], i < half ? a : b);
    }
    used += (size_t)snprintf(text + used, sizeof(text) - used, "}}");
    temp_folder_write(&folder, MODEL_INDEX_FILE, text, used);
    import_and_expect(NULL);
    expect_same();
    snprintf(text, sizeof(text), "%s",
             "{\"weight_map\": {\"x\": \"model-00001-of-00002.safetensors\"}}");
    temp_folder_write(&folder, MODEL_INDEX_FILE, text, strlen(text));
    expect_import_error(ERR_CORRUPT,
                        "tensor x is missing, which model.safetensors.index.json says");
}
END_TEST

START_TEST(import__refuses_an_index_that_is_none)
{
    static const struct {
        const char *text;
        enum err code;
        const char *part;
    } cases[] = {
        {"[]", ERR_CORRUPT, "weight_map is no object"},
        {"{\"weight_map\": 3}", ERR_CORRUPT, "weight_map is no object"},
        {"{\"weight_map\": {\"x\": 3}}", ERR_CORRUPT, "the file of x is no text"},
        {"{\"weight_map\": {\"x\": \"../x\"}}", ERR_CORRUPT, "../x, which is no plain name"},
        {"{\"weight_map\": {\"x\": \"a/b\"}}", ERR_CORRUPT, "a/b, which is no plain name"},
        {"{\"weight_map\": {\"x\": \"\"}}", ERR_CORRUPT, "no plain name"},
        {"{\"weight_map\": {\"x\": \"gone.safetensors\"}}", ERR_MISSING, "gone.safetensors"},
        {"{\"weight_map\": {}}", ERR_CORRUPT, "tensors are missing"},
        {"{", ERR_CORRUPT, "model.safetensors.index.json"},
    };

    open_both(BERT);
    expect_import_error(ERR_MISSING, "model.safetensors");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        temp_folder_write(&folder, MODEL_INDEX_FILE, cases[i].text, strlen(cases[i].text));
        expect_import_error(cases[i].code, cases[i].part);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model_weights");
    TCase *tcase = tcase_create("model_weights");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, save__is_read_back_with_its_configuration, 0, CONFIGS);
    tcase_add_loop_test(tcase, import__reads_a_checkpoint_of_ours, 0, CONFIGS);
    tcase_add_test(tcase, save__writes_gpt2_as_hugging_face_does);
    tcase_add_loop_test(tcase, import__knows_names_without_a_prefix_and_with_another, 0, 4);
    tcase_add_test(tcase, import__knows_the_old_names_of_norms);
    tcase_add_test(tcase, import__knows_timms);
    tcase_add_test(tcase, import__converts_halves);
    tcase_add_test(tcase, import__names_all_that_is_missing_and_all_that_is_not_used);
    tcase_add_test(tcase, import__draws_a_classifier_that_is_missing_or_of_other_classes);
    tcase_add_test(tcase, import__reads_several_files_by_their_index);
    tcase_add_test(tcase, import__refuses_an_index_that_is_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
