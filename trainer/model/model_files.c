#include "trainer/model/model_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"

/* Our own addition to Hugging Face's configuration: what the classifier reads. */
static const char POOLING[] = "offramp_pooling";

static const char *const activations[] = {[KERN_GELU_TANH] = "gelu_new", [KERN_GELU_ERF] = "gelu"};

static struct jdoc *describe(const struct model_config *config)
{
    struct jdoc *doc = jdoc_object();
    struct jdoc *architectures = jdoc_array();
    struct jdoc *id2label = jdoc_object();
    struct jdoc *label2id = jdoc_object();
    char id[24];
    char label[32];

    jdoc_append(architectures, jdoc_string("ViTForImageClassification"));
    jdoc_set(doc, "architectures", architectures);
    jdoc_set_text(doc, "model_type", "vit");
    jdoc_set_int(doc, "image_size", config->image_size);
    jdoc_set_int(doc, "patch_size", config->patch_size);
    jdoc_set_int(doc, "num_channels", config->num_channels);
    jdoc_set_int(doc, "hidden_size", config->hidden_size);
    jdoc_set_int(doc, "num_hidden_layers", config->num_hidden_layers);
    jdoc_set_int(doc, "num_attention_heads", config->num_attention_heads);
    jdoc_set_int(doc, "intermediate_size", config->intermediate_size);
    jdoc_set_text(doc, "hidden_act", activations[config->hidden_act]);
    jdoc_set_real(doc, "hidden_dropout_prob", 0);
    jdoc_set_real(doc, "attention_probs_dropout_prob", 0);
    jdoc_set_real(doc, "initializer_range", config->initializer_range);
    jdoc_set_real(doc, "layer_norm_eps", config->layer_norm_eps);
    jdoc_set_bool(doc, "qkv_bias", true);
    jdoc_set_text(doc, POOLING, config->pooling == MODEL_POOLING_CLS ? "cls" : "mean");
    for (int64_t k = 0; k < config->num_labels; k++) {
        snprintf(id, sizeof(id), "%" PRId64, k);
        snprintf(label, sizeof(label), "LABEL_%" PRId64, k);
        jdoc_set_text(id2label, id, label);
        jdoc_set_int(label2id, label, k);
    }
    jdoc_set(doc, "id2label", id2label);
    jdoc_set(doc, "label2id", label2id);
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

static enum err read_activation(const struct jdoc *doc, const char *path, enum kern_gelu *form_out)
{
    const char *name = NULL;

    ERR_TRY(jdoc_need_text(doc, "hidden_act", path, &name));
    if (strcmp(name, "gelu") == 0) {
        *form_out = KERN_GELU_ERF;
        return ERR_OK;
    }
    if (strcmp(name, "gelu_new") == 0 || strcmp(name, "gelu_pytorch_tanh") == 0) {
        *form_out = KERN_GELU_TANH;
        return ERR_OK;
    }
    return ERR_FAIL(ERR_CONFIG, "%s: hidden_act %.40s is not implemented, gelu and gelu_new are",
                    path, name);
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

static enum err read_pooling(const struct jdoc *doc, const char *path,
                             enum model_pooling *pooling_out)
{
    const char *name = "cls";

    if (jdoc_get(doc, POOLING) != NULL) {
        ERR_TRY(jdoc_need_text(doc, POOLING, path, &name));
    }
    if (strcmp(name, "cls") != 0 && strcmp(name, "mean") != 0) {
        return ERR_FAIL(ERR_CONFIG, "%s: %s is %.40s, it must be cls or mean", path, POOLING, name);
    }
    *pooling_out = name[0] == 'c' ? MODEL_POOLING_CLS : MODEL_POOLING_MEAN;
    return ERR_OK;
}

static enum err read_config(const struct jdoc *doc, const char *path, struct model_config *config)
{
    const char *type = NULL;

    ERR_TRY(jdoc_need_text(doc, "model_type", path, &type));
    if (strcmp(type, "vit") != 0) {
        return ERR_FAIL(ERR_CONFIG, "%s: model_type %.40s is not implemented, vit is", path, type);
    }
    ERR_TRY(jdoc_need_int(doc, "image_size", path, &config->image_size));
    ERR_TRY(jdoc_need_int(doc, "patch_size", path, &config->patch_size));
    ERR_TRY(jdoc_need_int(doc, "num_channels", path, &config->num_channels));
    ERR_TRY(jdoc_need_int(doc, "hidden_size", path, &config->hidden_size));
    ERR_TRY(jdoc_need_int(doc, "num_hidden_layers", path, &config->num_hidden_layers));
    ERR_TRY(jdoc_need_int(doc, "num_attention_heads", path, &config->num_attention_heads));
    ERR_TRY(jdoc_need_int(doc, "intermediate_size", path, &config->intermediate_size));
    ERR_TRY(jdoc_need_real(doc, "layer_norm_eps", path, &config->layer_norm_eps));
    ERR_TRY(jdoc_need_real(doc, "initializer_range", path, &config->initializer_range));
    ERR_TRY(read_activation(doc, path, &config->hidden_act));
    ERR_TRY(read_labels(doc, path, &config->num_labels));
    ERR_TRY(read_pooling(doc, path, &config->pooling));
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
    const enum err status = read_config(doc, path, &config);
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
