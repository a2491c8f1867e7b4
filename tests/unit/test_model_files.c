/* Unit tests of trainer/model/model_files.c and model_config.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model_files.h"

static const struct model_config config = {
    .image_size = 12,
    .patch_size = 4,
    .num_channels = 3,
    .hidden_size = 12,
    .num_hidden_layers = 2,
    .num_attention_heads = 3,
    .intermediate_size = 20,
    .num_labels = 11,
    .layer_norm_eps = 1e-12,
    .initializer_range = 0.1,
    .hidden_act = KERN_GELU_ERF,
    .pooling = MODEL_POOLING_MEAN,
};

/* As Hugging Face's google/vit-base-patch16-224 has it, with members we do not read. */
static const char hugging_face[] =
    "{\"architectures\": [\"ViTForImageClassification\"], \"attention_probs_dropout_prob\": 0.0,"
    " \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.0, \"hidden_size\": 768,"
    " \"id2label\": {\"0\": \"tench\", \"1\": \"goldfish\", \"2\": \"shark\"},"
    " \"image_size\": 224, \"initializer_range\": 0.02, \"intermediate_size\": 3072,"
    " \"label2id\": {\"tench\": 0}, \"layer_norm_eps\": 1e-12, \"model_type\": \"vit\","
    " \"num_attention_heads\": 12, \"num_channels\": 3, \"num_hidden_layers\": 12,"
    " \"patch_size\": 16, \"qkv_bias\": true, \"transformers_version\": \"4.13.0.dev0\"}";

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

static struct model *open_model(const struct model_config *of)
{
    struct kern_ops ops;
    struct model *model = NULL;

    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_OK(model_open(of, &ops, &model));
    return model;
}

/* Both files of a model, as a checkpoint has them. */
static void save(struct model *model)
{
    struct safetensors_tensor tensors[64];
    const struct param_list *params = model_params(model);
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    EXPECT_OK(model_files_config_text(model_config_of(model), &text));
    temp_folder_write(&folder, MODEL_CONFIG_FILE, text, strlen(text));
    free(text);
    ck_assert_int_le(params->count, 64);
    param_list_tensors(params, model_block(model), tensors);
    EXPECT_OK(file_path(path, folder.path, MODEL_WEIGHTS_FILE));
    EXPECT_OK(safetensors_write(path, tensors, (size_t)params->count, "format", "pt"));
}

START_TEST(config_text__is_read_back_and_weights_with_it)
{
    struct model *model = open_model(&config);
    struct model_config back;

    ck_assert_int_eq(model_init(model, 5), ERR_OK);
    save(model);
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.image_size, config.image_size);
    ck_assert_int_eq(back.patch_size, config.patch_size);
    ck_assert_int_eq(back.num_channels, config.num_channels);
    ck_assert_int_eq(back.hidden_size, config.hidden_size);
    ck_assert_int_eq(back.num_hidden_layers, config.num_hidden_layers);
    ck_assert_int_eq(back.num_attention_heads, config.num_attention_heads);
    ck_assert_int_eq(back.intermediate_size, config.intermediate_size);
    ck_assert_int_eq(back.num_labels, config.num_labels);
    ck_assert_double_eq(back.layer_norm_eps, config.layer_norm_eps);
    ck_assert_double_eq(back.initializer_range, config.initializer_range);
    ck_assert_int_eq(back.hidden_act, config.hidden_act);
    ck_assert_int_eq(back.pooling, config.pooling);

    struct model *loaded = open_model(&back);
    EXPECT_OK(model_files_load_weights(loaded, folder.path));
    const int64_t elems = model_params(model)->block_elems;
    ck_assert_int_eq(model_params(loaded)->block_elems, elems);
    ck_assert_int_eq(memcmp(model_block(model), model_block(loaded), (size_t)elems * sizeof(float)),
                     0);
    model_close(loaded);
    model_close(model);
}
END_TEST

START_TEST(load_weights__refuses_those_of_another_model)
{
    struct model_config wider = config;
    struct model *model = open_model(&config);

    wider.intermediate_size++;
    struct model *other = open_model(&wider);
    EXPECT_ERR(model_files_load_weights(other, folder.path), ERR_MISSING, "model.safetensors");
    save(model);
    EXPECT_ERR(model_files_load_weights(other, folder.path), ERR_CORRUPT,
               "vit.encoder.layer.0.intermediate.dense.weight is F32 [20, 12], the configuration "
               "asks for F32 [21, 12]");
    model_close(other);
    model_close(model);
}
END_TEST

START_TEST(read_config__reads_hugging_faces)
{
    struct model_config back;

    temp_folder_write(&folder, MODEL_CONFIG_FILE, hugging_face, strlen(hugging_face));
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.hidden_size, 768);
    ck_assert_int_eq(back.num_labels, 3);
    ck_assert_int_eq(back.hidden_act, KERN_GELU_ERF);
    ck_assert_int_eq(back.pooling, MODEL_POOLING_CLS); /* theirs has no such member */
    ck_assert_int_eq(model_config_tokens(&back), 197);
}
END_TEST

/* hugging_face with one piece replaced. */
static void write_changed(const char *old, const char *new)
{
    char text[sizeof(hugging_face) + 256];
    const char *const at = strstr(hugging_face, old);

    ck_assert_ptr_nonnull(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - hugging_face), hugging_face, new,
             at + strlen(old));
    temp_folder_write(&folder, MODEL_CONFIG_FILE, text, strlen(text));
}

START_TEST(read_config__refuses_what_it_cannot_train_and_names_it)
{
    static const struct {
        const char *old, *new;
        enum err code;
        const char *part;
    } cases[] = {
        {"\"vit\"", "\"t5\"", ERR_CONFIG,
         "model_type t5 is not implemented, vit, deit, bert and gpt2 are"},
        {"\"qkv_bias\": true", "\"qkv_bias\": false", ERR_CONFIG,
         "qkv_bias false is not implemented"},
        {"\"model_type\": \"vit\",", "", ERR_CORRUPT, "model_type: found nothing"},
        {"\"gelu\"", "\"relu\"", ERR_CONFIG, "hidden_act relu is not implemented"},
        {"224", "[224, 224]", ERR_CORRUPT, "image_size: found an array"},
        {"768", "768.5", ERR_CORRUPT, "hidden_size: found a real number"},
        {"768", "767", ERR_CONFIG, "num_attention_heads 12 does not divide hidden_size 767"},
        {"\"patch_size\": 16", "\"patch_size\": 15", ERR_CONFIG,
         "patch_size 15 does not divide image_size 224"},
        {"\"patch_size\": 16", "\"patch_size\": 0", ERR_CONFIG, "patch_size is 0"},
        {"\"num_hidden_layers\": 12", "\"num_hidden_layers\": 257", ERR_CONFIG,
         "num_hidden_layers is 257, it must lie in 1 .. 256"},
        {"3072", "9223372036854775807", ERR_CONFIG, "intermediate_size is 9223372036854775807"},
        {"1e-12", "0", ERR_CONFIG, "layer_norm_eps 0"},
        {"1e-12", "\"small\"", ERR_CORRUPT, "layer_norm_eps: found a string, expected a number"},
        {"{\"0\": \"tench\", \"1\": \"goldfish\", \"2\": \"shark\"}", "{\"0\": \"tench\"}",
         ERR_CONFIG, "num_labels is 1"},
        {"{\"0\": \"tench\", \"1\": \"goldfish\", \"2\": \"shark\"}", "3", ERR_CORRUPT,
         "id2label is no object"},
        {"\"qkv_bias\": true", "\"offramp_pooling\": \"max\"", ERR_CONFIG,
         "offramp_pooling is max, it must be cls, mean"},
        {"}", ",", ERR_CORRUPT, "not JSON"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_config back = {.image_size = -7};
        write_changed(cases[i].old, cases[i].new);
        EXPECT_ERR(model_files_read_config(folder.path, &back), cases[i].code, cases[i].part);
        ck_assert_int_eq(back.image_size, -7);
    }
}
END_TEST

/* As Hugging Face writes them, with members we do not read. */
static const char bert[] =
    "{\"architectures\": [\"BertModel\"], \"attention_probs_dropout_prob\": 0.1,"
    " \"hidden_act\": \"gelu\", \"hidden_size\": 384, \"initializer_range\": 0.02,"
    " \"intermediate_size\": 1536, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 512,"
    " \"model_type\": \"bert\", \"num_attention_heads\": 12, \"num_hidden_layers\": 6,"
    " \"pad_token_id\": 0, \"position_embedding_type\": \"absolute\", \"type_vocab_size\": 2,"
    " \"vocab_size\": 30522}";
static const char gpt2[] =
    "{\"activation_function\": \"gelu_new\", \"architectures\": [\"GPT2LMHeadModel\"],"
    " \"attn_pdrop\": 0.1, \"bos_token_id\": 50256, \"initializer_range\": 0.02,"
    " \"layer_norm_epsilon\": 1e-05, \"model_type\": \"gpt2\", \"n_ctx\": 1024, \"n_embd\": 768,"
    " \"n_head\": 12, \"n_inner\": null, \"n_layer\": 12, \"n_positions\": 1024,"
    " \"scale_attn_weights\": true, \"vocab_size\": 50257}";

static void write_config(const char *text)
{
    temp_folder_write(&folder, MODEL_CONFIG_FILE, text, strlen(text));
}

/* A file of sentence-transformers beside config.json. */
static void write_pooling(const char *text)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, "1_Pooling"));
    EXPECT_OK(file_make_folder(path));
    temp_folder_write(&folder, "1_Pooling/config.json", text, strlen(text));
}

START_TEST(read_config__reads_hugging_faces_bert)
{
    static const char lengths[] = "{\"max_seq_length\": 256}";
    char path[FILE_PATH_BYTES_MAX];
    struct model_config back;

    write_config(bert);
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(model_config_family(&back), MODEL_FAMILY_BERT);
    ck_assert_int_eq(back.hidden_size, 384);
    ck_assert_int_eq(back.vocab_size, 30522);
    ck_assert_int_eq(back.type_vocab_size, 2);
    ck_assert_int_eq(back.max_length, 512);
    ck_assert_int_eq(back.num_labels, 2);
    ck_assert_int_eq(back.hidden_act, KERN_GELU_ERF);
    ck_assert_int_eq(back.pooling, MODEL_POOLING_CLS);
    ck_assert(back.layer_norm_eps == 1e-12);

    write_pooling("{\"pooling_mode_cls_token\": false, \"pooling_mode_mean_tokens\": true}");
    temp_folder_write(&folder, "sentence_bert_config.json", lengths, strlen(lengths));
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.pooling, MODEL_POOLING_MEAN);
    ck_assert_int_eq(back.max_length, 256);
    write_pooling("{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.pooling, MODEL_POOLING_CLS);
    write_pooling("{\"pooling_mode_max_tokens\": true}");
    EXPECT_ERR(model_files_read_config(folder.path, &back), ERR_CONFIG, "1_Pooling/config.json");
    EXPECT_OK(file_path(path, folder.path, "1_Pooling"));
    EXPECT_OK(file_remove_tree(path));
}
END_TEST

START_TEST(read_config__reads_hugging_faces_gpt2)
{
    struct model_config back;

    write_config(gpt2);
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(model_config_family(&back), MODEL_FAMILY_GPT2);
    ck_assert_int_eq(back.hidden_size, 768);
    ck_assert_int_eq(back.intermediate_size, 4 * 768);
    ck_assert_int_eq(back.max_position_embeddings, 1024);
    ck_assert_int_eq(back.hidden_act, KERN_GELU_TANH);
    ck_assert_int_eq(back.pooling, MODEL_POOLING_LAST);
    ck_assert(back.ties_classifier);
    ck_assert_int_eq(back.num_labels, 50257);
}
END_TEST

START_TEST(read_config__refuses_variants_of_texts)
{
    static const struct {
        const char *text, *old, *new;
        enum err code;
        const char *part;
    } cases[] = {
        {bert, "\"absolute\"", "\"relative_key\"", ERR_CONFIG,
         "position_embedding_type relative_key is not implemented"},
        {bert, "\"pad_token_id\": 0", "\"is_decoder\": true", ERR_CONFIG,
         "is_decoder true is not implemented"},
        {bert, "\"pad_token_id\": 0", "\"offramp_pooling\": \"last\"", ERR_CONFIG,
         "pooling of a BERT must be cls or mean"},
        {bert, "\"pad_token_id\": 0", "\"offramp_max_length\": 513", ERR_CONFIG,
         "max_length is 513, it must lie in 1 .. 512"},
        {bert, "30522", "0", ERR_CONFIG, "vocab_size is 0"},
        {bert, "\"type_vocab_size\": 2", "\"type_vocab_size\": 0", ERR_CONFIG,
         "type_vocab_size is 0"},
        {gpt2, "\"scale_attn_weights\": true", "\"scale_attn_weights\": false", ERR_CONFIG,
         "scale_attn_weights false is not implemented"},
        {gpt2, "\"gelu_new\"", "\"relu\"", ERR_CONFIG, "activation_function relu"},
        {gpt2, "null", "\"wide\"", ERR_CORRUPT, "n_inner: found a string"},
        {gpt2, "\"n_embd\": 768", "\"n_embd\": 4611686018427387904", ERR_CONFIG, "n_embd"},
        {gpt2, "\"n_layer\": 12,", "", ERR_CORRUPT, "n_layer: found nothing"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        struct model_config back = {.image_size = -7};
        const char *at = strstr(cases[i].text, cases[i].old);
        ck_assert_ptr_nonnull(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - cases[i].text), cases[i].text,
                 cases[i].new, at + strlen(cases[i].old));
        write_config(text);
        EXPECT_ERR(model_files_read_config(folder.path, &back), cases[i].code, cases[i].part);
        ck_assert_int_eq(back.image_size, -7);
    }
}
END_TEST

START_TEST(read_config__counts_labels_as_hugging_face_does_when_none_are_named)
{
    static const char labels[] =
        "\"id2label\": {\"0\": \"tench\", \"1\": \"goldfish\", \"2\": \"shark\"}";
    struct model_config back;

    write_changed(labels, "\"num_labels\": 5");
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.num_labels, 5);
    write_changed(labels, "\"problem_type\": null");
    EXPECT_OK(model_files_read_config(folder.path, &back));
    ck_assert_int_eq(back.num_labels, 2);
}
END_TEST

START_TEST(read_config__tells_a_missing_file)
{
    struct model_config back;

    EXPECT_ERR(model_files_read_config(folder.path, &back), ERR_MISSING, "config.json");
    temp_folder_write(&folder, MODEL_CONFIG_FILE, "[]", 2);
    EXPECT_ERR(model_files_read_config(folder.path, &back), ERR_CORRUPT, "model_type");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model_files");
    TCase *tcase = tcase_create("model_files");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, config_text__is_read_back_and_weights_with_it);
    tcase_add_test(tcase, load_weights__refuses_those_of_another_model);
    tcase_add_test(tcase, read_config__reads_hugging_faces);
    tcase_add_test(tcase, read_config__reads_hugging_faces_bert);
    tcase_add_test(tcase, read_config__reads_hugging_faces_gpt2);
    tcase_add_test(tcase, read_config__refuses_variants_of_texts);
    tcase_add_test(tcase, read_config__refuses_what_it_cannot_train_and_names_it);
    tcase_add_test(tcase, read_config__counts_labels_as_hugging_face_does_when_none_are_named);
    tcase_add_test(tcase, read_config__tells_a_missing_file);
    suite_add_tcase(suite, tcase);
    return suite;
}
