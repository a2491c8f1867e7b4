#include "trainer/model/model_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"

/* Our own additions to Hugging Face's configuration: what the classifier reads, of texts how long. */
static const char POOLING[] = "offramp_pooling";
static const char MAX_LENGTH[] = "offramp_max_length";

static const char *const activations[] = {[KERN_GELU_TANH] = "gelu_new", [KERN_GELU_ERF] = "gelu"};
static const char *const poolings[] = {
    [MODEL_POOLING_CLS] = "cls",
    [MODEL_POOLING_MEAN] = "mean",
    [MODEL_POOLING_LAST] = "last",
    [MODEL_POOLING_EVERY] = "every",
};
enum { POOLINGS = sizeof(poolings) / sizeof(poolings[0]) };

static const char architectures_key[] = "architectures";
static const char language_model[] = "GPT2LMHeadModel";

/* Where a number of the configuration stands in the file. */
struct member {
    const char *name;
    int64_t *value;
};

enum { MEMBERS_MAX = 8 };

/* The members that a family has; returns their number. */
static int list_members(struct model_config *config, struct member members[MEMBERS_MAX])
{
    const struct member of_images[] = {{"image_size", &config->image_size},
                                       {"patch_size", &config->patch_size},
                                       {"num_channels", &config->num_channels},
                                       {"hidden_size", &config->hidden_size},
                                       {"num_hidden_layers", &config->num_hidden_layers},
                                       {"num_attention_heads", &config->num_attention_heads},
                                       {"intermediate_size", &config->intermediate_size}};
    const struct member of_bert[] = {{"vocab_size", &config->vocab_size},
                                     {"max_position_embeddings", &config->max_position_embeddings},
                                     {"type_vocab_size", &config->type_vocab_size},
                                     {"hidden_size", &config->hidden_size},
                                     {"num_hidden_layers", &config->num_hidden_layers},
                                     {"num_attention_heads", &config->num_attention_heads},
                                     {"intermediate_size", &config->intermediate_size}};
    const struct member of_gpt2[] = {{"vocab_size", &config->vocab_size},
                                     {"n_positions", &config->max_position_embeddings},
                                     {"n_embd", &config->hidden_size},
                                     {"n_layer", &config->num_hidden_layers},
                                     {"n_head", &config->num_attention_heads}};

    switch (model_config_family(config)) {
    case MODEL_FAMILY_VIT: memcpy(members, of_images, sizeof(of_images)); return 7;
    case MODEL_FAMILY_BERT: memcpy(members, of_bert, sizeof(of_bert)); return 7;
    default: memcpy(members, of_gpt2, sizeof(of_gpt2)); return 5;
    }
}

static void describe_labels(const struct model_config *config, struct jdoc *doc)
{
    struct jdoc *id2label = jdoc_object();
    struct jdoc *label2id = jdoc_object();
    char id[24];
    char label[32];

    for (int64_t k = 0; k < config->num_labels; k++) {
        snprintf(id, sizeof(id), "%" PRId64, k);
        snprintf(label, sizeof(label), "LABEL_%" PRId64, k);
        jdoc_set_text(id2label, id, label);
        jdoc_set_int(label2id, label, k);
    }
    jdoc_set(doc, "id2label", id2label);
    jdoc_set(doc, "label2id", label2id);
}

/* A BERT's classifier of ours reads the stream itself, which none of Hugging Face's classes does. */
static void describe_type(const struct model_config *config, struct jdoc *doc)
{
    struct jdoc *architectures = jdoc_array();
    const char *architecture = "ViTForImageClassification", *type = "vit";

    if (config->has_distillation_token) {
        architecture = "DeiTForImageClassification";
        type = "deit";
    } else if (model_config_family(config) == MODEL_FAMILY_BERT) {
        architecture = "BertModel";
        type = "bert";
    } else if (model_config_family(config) == MODEL_FAMILY_GPT2) {
        architecture = config->ties_classifier ? language_model : "GPT2ForSequenceClassification";
        type = "gpt2";
    }
    jdoc_append(architectures, jdoc_string(architecture));
    jdoc_set(doc, architectures_key, architectures);
    jdoc_set_text(doc, "model_type", type);
}

static struct jdoc *describe(const struct model_config *config)
{
    struct model_config copy = *config;
    const bool is_gpt2 = model_config_family(config) == MODEL_FAMILY_GPT2;
    struct jdoc *doc = jdoc_object();
    struct member members[MEMBERS_MAX];
    const int count = list_members(&copy, members);

    describe_type(config, doc);
    for (int i = 0; i < count; i++) {
        jdoc_set_int(doc, members[i].name, *members[i].value);
    }
    if (is_gpt2) {
        jdoc_set_int(doc, "n_inner", config->intermediate_size);
        jdoc_set_int(doc, "pad_token_id", config->vocab_size - 1); /* end of text */
        jdoc_set_real(doc, "resid_pdrop", 0);
        jdoc_set_real(doc, "embd_pdrop", 0);
        jdoc_set_real(doc, "attn_pdrop", 0);
    } else {
        jdoc_set_real(doc, "hidden_dropout_prob", 0);
        jdoc_set_real(doc, "attention_probs_dropout_prob", 0);
    }
    jdoc_set_text(doc, is_gpt2 ? "activation_function" : "hidden_act",
                  activations[config->hidden_act]);
    jdoc_set_real(doc, "initializer_range", config->initializer_range);
    jdoc_set_real(doc, is_gpt2 ? "layer_norm_epsilon" : "layer_norm_eps", config->layer_norm_eps);
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        jdoc_set_bool(doc, "qkv_bias", true);
    } else {
        jdoc_set_int(doc, MAX_LENGTH, config->max_length);
    }
    jdoc_set_text(doc, POOLING, poolings[config->pooling]);
    if (!config->ties_classifier) {
        describe_labels(config, doc);
    }
    jdoc_set_text(doc, "torch_dtype", "float32");
    return doc;
}

enum err model_files_config_text(const struct model_config *config, char **text_out)
{
    struct jdoc *doc = describe(config);
    const enum err status = jdoc_text(doc, 2, text_out);

    jdoc_close(doc);
    return status;
}

static enum err read_activation(const struct jdoc *doc, const char *key, const char *path,
                                enum kern_gelu *form_out)
{
    const char *name = NULL;

    ERR_TRY(jdoc_need_text(doc, key, path, &name));
    if (strcmp(name, "gelu") == 0) {
        *form_out = KERN_GELU_ERF;
        return ERR_OK;
    }
    if (strcmp(name, "gelu_new") == 0 || strcmp(name, "gelu_pytorch_tanh") == 0) {
        *form_out = KERN_GELU_TANH;
        return ERR_OK;
    }
    return ERR_FAIL(ERR_CONFIG, "%s: %s %.40s is not implemented, gelu and gelu_new are", path, key,
                    name);
}

static enum err read_labels(const struct jdoc *doc, const char *path, int64_t *count_out)
{
    const struct jdoc *labels = jdoc_get(doc, "id2label");

    if (labels == NULL) { /* Hugging Face's default is two classes */
        *count_out = 2;
        return jdoc_get(doc, "num_labels") == NULL
                   ? ERR_OK
                   : jdoc_need_int(doc, "num_labels", path, count_out);
    }
    if (!jdoc_is_object(labels)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: id2label is no object", path);
    }
    *count_out = (int64_t)jdoc_count(labels);
    return ERR_OK;
}

/* A file beside config.json, if it is there; *doc_out is NULL if not. */
static enum err read_beside(const char *folder, const char *name, struct jdoc **doc_out,
                            char path[FILE_PATH_BYTES_MAX])
{
    *doc_out = NULL;
    ERR_TRY(file_path(path, folder, name));
    return file_exists(path) ? jdoc_read(path, doc_out) : ERR_OK;
}

/* What sentence-transformers says of a BERT's pooling. */
static enum err read_sentence_pooling(const char *folder, enum model_pooling *pooling)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;
    enum err status = ERR_OK;

    ERR_TRY(read_beside(folder, "1_Pooling/config.json", &doc, path));
    if (jdoc_is_true(jdoc_get(doc, "pooling_mode_mean_tokens"))) {
        *pooling = MODEL_POOLING_MEAN;
    } else if (doc != NULL && !jdoc_is_true(jdoc_get(doc, "pooling_mode_cls_token"))) {
        status =
            ERR_FAIL(ERR_CONFIG,
                     "%s: neither pooling_mode_mean_tokens nor pooling_mode_cls_token is true: "
                     "other poolings are not implemented",
                     path);
    }
    jdoc_close(doc);
    return status;
}

static enum err read_pooling(const struct jdoc *doc, const char *folder, const char *path,
                             struct model_config *config)
{
    const char *name = NULL;
    int which = 0;

    if (jdoc_get(doc, POOLING) == NULL) {
        const enum model_family family = model_config_family(config);
        config->pooling = family == MODEL_FAMILY_GPT2 ? MODEL_POOLING_LAST : MODEL_POOLING_CLS;
        return family == MODEL_FAMILY_BERT ? read_sentence_pooling(folder, &config->pooling)
                                           : ERR_OK;
    }
    ERR_TRY(jdoc_need_text(doc, POOLING, path, &name));
    while (which < POOLINGS && strcmp(name, poolings[which]) != 0) {
        which++;
    }
    if (which == POOLINGS) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: %s is %.40s, it must be cls, mean or (GPT-2) last or every", path,
                        POOLING, name);
    }
    config->pooling = (enum model_pooling)which;
    return ERR_OK;
}

/* The longest text: what we wrote, or what sentence-transformers was trained with, or all positions. */
static enum err read_max_length(const struct jdoc *doc, const char *folder, const char *path,
                                struct model_config *config)
{
    static const char theirs[] = "max_seq_length";
    char beside[FILE_PATH_BYTES_MAX];
    struct jdoc *sentence = NULL;

    config->max_length = config->max_position_embeddings;
    if (jdoc_get(doc, MAX_LENGTH) != NULL) {
        return jdoc_need_int(doc, MAX_LENGTH, path, &config->max_length);
    }
    ERR_TRY(read_beside(folder, "sentence_bert_config.json", &sentence, beside));
    enum err status = ERR_OK;
    if (sentence != NULL && !jdoc_is_null(jdoc_get(sentence, theirs))) {
        status = jdoc_need_int(sentence, theirs, beside, &config->max_length);
    }
    jdoc_close(sentence);
    return status;
}

/* Members that change what is computed, in ways that are not implemented. */
static enum err refuse_variants(const struct jdoc *doc, const char *path)
{
    static const char *const off[] = {"is_decoder", "add_cross_attention",
                                      "scale_attn_by_inverse_layer_idx"};
    static const char *const on[] = {"qkv_bias", "scale_attn_weights"};
    const char *position = jdoc_as_text(jdoc_get(doc, "position_embedding_type"));

    for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        if (jdoc_is_true(jdoc_get(doc, off[i]))) {
            return ERR_FAIL(ERR_CONFIG, "%s: %s true is not implemented", path, off[i]);
        }
    }
    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        if (jdoc_get(doc, on[i]) != NULL && !jdoc_is_true(jdoc_get(doc, on[i]))) {
            return ERR_FAIL(ERR_CONFIG, "%s: %s false is not implemented", path, on[i]);
        }
    }
    if (position != NULL && strcmp(position, "absolute") != 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: position_embedding_type %.40s is not implemented, absolute is", path,
                        position);
    }
    return ERR_OK;
}

static enum err read_type(const struct jdoc *doc, const char *path, struct model_config *config)
{
    const char *type = NULL;

    ERR_TRY(jdoc_need_text(doc, "model_type", path, &type));
    config->has_distillation_token = strcmp(type, "deit") == 0;
    if (strcmp(type, "vit") == 0 || config->has_distillation_token) {
        return ERR_OK;
    }
    config->embedding = MODEL_EMBEDDING_TOKENS;
    if (strcmp(type, "bert") == 0) {
        config->norm = MODEL_NORM_POST;
        config->mask = MODEL_MASK_LENGTHS;
        return ERR_OK;
    }
    if (strcmp(type, "gpt2") == 0) {
        config->mask = MODEL_MASK_CAUSAL;
        return ERR_OK;
    }
    return ERR_FAIL(ERR_CONFIG,
                    "%s: model_type %.40s is not implemented, vit, deit, bert and gpt2 are", path,
                    type);
}

/* What GPT-2 alone has: a width that may be left out, and a language model's head. */
static enum err read_gpt2(const struct jdoc *doc, const char *path, struct model_config *config)
{
    const char *name = jdoc_as_text(jdoc_at(jdoc_get(doc, architectures_key), 0));
    const struct jdoc *inner = jdoc_get(doc, "n_inner");

    if (inner == NULL || jdoc_is_null(inner)) {
        if (__builtin_mul_overflow(config->hidden_size, 4, &config->intermediate_size)) {
            return ERR_FAIL(ERR_CONFIG, "%s: n_embd is %" PRId64, path, config->hidden_size);
        }
    } else {
        ERR_TRY(jdoc_need_int(doc, "n_inner", path, &config->intermediate_size));
    }
    config->ties_classifier = name != NULL && strcmp(name, language_model) == 0;
    if (config->ties_classifier) {
        config->num_labels = config->vocab_size;
    }
    return ERR_OK;
}

static enum err read_config(const struct jdoc *doc, const char *folder, const char *path,
                            struct model_config *config)
{
    struct member members[MEMBERS_MAX];

    ERR_TRY(read_type(doc, path, config));
    const bool is_gpt2 = model_config_family(config) == MODEL_FAMILY_GPT2;
    const int count = list_members(config, members);
    for (int i = 0; i < count; i++) {
        ERR_TRY(jdoc_need_int(doc, members[i].name, path, members[i].value));
    }
    ERR_TRY(jdoc_need_real(doc, is_gpt2 ? "layer_norm_epsilon" : "layer_norm_eps", path,
                           &config->layer_norm_eps));
    ERR_TRY(jdoc_need_real(doc, "initializer_range", path, &config->initializer_range));
    ERR_TRY(read_activation(doc, is_gpt2 ? "activation_function" : "hidden_act", path,
                            &config->hidden_act));
    ERR_TRY(read_labels(doc, path, &config->num_labels));
    ERR_TRY(read_pooling(doc, folder, path, config));
    if (config->embedding == MODEL_EMBEDDING_TOKENS) {
        ERR_TRY(read_max_length(doc, folder, path, config));
    }
    if (is_gpt2) {
        ERR_TRY(read_gpt2(doc, path, config));
    }
    ERR_TRY(refuse_variants(doc, path));
    ERR_TRY_AS(model_config_check(config), "%s", path);
    return ERR_OK;
}

enum err model_files_read_config(const char *folder, struct model_config *config_out)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;
    struct model_config config = {0};

    ERR_TRY(file_path(path, folder, MODEL_CONFIG_FILE));
    ERR_TRY(jdoc_read(path, &doc));
    const enum err status = read_config(doc, folder, path, &config);
    jdoc_close(doc);
    if (status == ERR_OK) {
        *config_out = config;
    }
    return status;
}

enum err model_files_load_weights(struct model *model, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, folder, MODEL_WEIGHTS_FILE));
    return param_list_load(model_params(model), model_ops(model)->device, model_block(model), path);
}

enum err model_files_load_layers(struct model *model, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, folder, MODEL_WEIGHTS_FILE));
    return param_list_load_parts(model_params(model),
                                 (int)model_config_of(model)->num_hidden_layers + 1,
                                 model_ops(model)->device, model_block(model), path);
}
