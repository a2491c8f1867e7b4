#include "tests/support/backbone64.h"

#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ref64.h"

/* What a family calls a layer and its parts; ".weight" or ".bias" follows. */
static const struct names {
    const char *layer; /* with its number */
    const char *norm1, *qkv[3], *out, *norm2, *up, *down;
    const char *final_norm; /* or NULL */
    const char *classes;
} family_names[MODEL_FAMILIES] = {
    [MODEL_FAMILY_VIT] = {"encoder.layer.%" PRId64 ".",
                          "layernorm_before",
                          {"attention.attention.query", "attention.attention.key",
                           "attention.attention.value"},
                          "attention.output.dense",
                          "layernorm_after",
                          "intermediate.dense",
                          "output.dense",
                          "layernorm",
                          "classifier"},
    [MODEL_FAMILY_BERT] = {"bert.encoder.layer.%" PRId64 ".",
                           "attention.output.LayerNorm",
                           {"attention.self.query", "attention.self.key", "attention.self.value"},
                           "attention.output.dense",
                           "output.LayerNorm",
                           "intermediate.dense",
                           "output.dense",
                           NULL,
                           "classifier"},
    [MODEL_FAMILY_GPT2] = {"transformer.h.%" PRId64 ".",
                           "ln_1",
                           {"attn.q_proj", "attn.k_proj", "attn.v_proj"},
                           "attn.out_proj",
                           "ln_2",
                           "mlp.fc_in",
                           "mlp.fc_out",
                           "transformer.ln_f",
                           "score"},
};

static double *scratch(int64_t count)
{
    double *block = calloc((size_t)count, sizeof(double));

    ck_assert_ptr_nonnull(block);
    return block;
}

void backbone64_open(struct backbone64 *net, const struct model_config *config,
                     const struct param_list *list, const float *block)
{
    *net = (struct backbone64){config, list, scratch(list->block_elems), 0};
    for (int64_t i = 0; i < list->block_elems; i++) {
        net->params[i] = block[i];
    }
}

void backbone64_close(struct backbone64 *net)
{
    free(net->params);
    *net = (struct backbone64){0};
}

static const struct names *names_of(const struct backbone64 *net)
{
    return &family_names[model_config_family(net->config)];
}

static const double *tensor(const struct backbone64 *net, const char *name)
{
    for (int64_t t = 0; t < net->list->count; t++) {
        if (strcmp(net->list->params[t].name, name) == 0) {
            return net->params + net->list->params[t].offset;
        }
    }
    ck_abort_msg("no tensor is called %s", name);
    return NULL;
}

/* `first`, a name within a model of images, then `second`. */
static const double *of_images(const struct backbone64 *net, const char *first, const char *second)
{
    char full[4 * PARAM_NAME_BYTES];

    snprintf(full, sizeof(full), "%s.%s%s", net->config->has_distillation_token ? "deit" : "vit",
             first, second);
    return tensor(net, full);
}

static const double *of_layer(const struct backbone64 *net, int64_t layer, const char *part,
                              const char *what)
{
    char place[PARAM_NAME_BYTES];
    char full[3 * PARAM_NAME_BYTES];

    snprintf(place, sizeof(place), names_of(net)->layer, layer);
    snprintf(full, sizeof(full), "%s%s%s", place, part, what);
    return net->config->embedding == MODEL_EMBEDDING_PATCHES ? of_images(net, full, "")
                                                             : tensor(net, full);
}

/* y [rows, outs], `ld` from row to row, = x [rows, ins] weight [outs, ins]^T + bias. */
static void linear(double *y, int64_t ld, const double *x, int64_t rows, const double *weight,
                   const double *bias, int64_t ins, int64_t outs)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < outs; o++) {
            double sum = bias == NULL ? 0 : bias[o];
            for (int64_t i = 0; i < ins; i++) {
                sum += x[r * ins + i] * weight[o * ins + i];
            }
            y[r * ld + o] = sum;
        }
    }
}

static double gelu(double x, enum kern_gelu form)
{
    static const double pi = 3.14159265358979323846;

    if (form == KERN_GELU_ERF) {
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    }
    return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}

/* x [T, D] of an image: the convolution as a sum over the pixels under each patch. */
static void embed_image(const struct backbone64 *net, const float *image, double *x)
{
    const struct model_config *config = net->config;
    const int64_t S = config->image_size, P = config->patch_size, C = config->num_channels;
    const int64_t side = S / P, T = model_config_tokens(config), D = config->hidden_size;
    const int64_t others = T - side * side; /* tokens that are no patches */
    const double *cls = of_images(net, "embeddings.cls_token", "");
    const double *second = others == 2 ? of_images(net, "embeddings.distillation_token", "") : cls;
    const double *positions = of_images(net, "embeddings.position_embeddings", "");
    const double *weight = of_images(net, "embeddings.patch_embeddings.projection", ".weight");
    const double *bias = of_images(net, "embeddings.patch_embeddings.projection", ".bias");

    for (int64_t t = 0; t < T; t++) {
        const double *start = t == 0 ? cls : t < others ? second : bias;
        const int64_t p = t - others, top = p / side * P, left = p % side * P;
        for (int64_t d = 0; d < D; d++) {
            double sum = start[d];
            for (int64_t i = 0; t >= others && i < C * P * P; i++) {
                const int64_t c = i / P / P, y = top + i / P % P, at = left + i % P;
                sum += weight[d * C * P * P + i] * (double)image[(c * S + y) * S + at];
            }
            x[t * D + d] = sum + positions[t * D + d];
        }
    }
}

/* x [T, D] of a text. */
static void embed_text(const struct backbone64 *net, const int32_t *tokens, int64_t T, double *x)
{
    const bool is_bert = model_config_family(net->config) == MODEL_FAMILY_BERT;
    const int64_t D = net->config->hidden_size;
    const struct ref64_rows rows = {T, D, net->config->layer_norm_eps};
    const double *words =
        tensor(net, is_bert ? "bert.embeddings.word_embeddings.weight" : "transformer.wte.weight");
    const double *positions = tensor(net, is_bert ? "bert.embeddings.position_embeddings.weight"
                                                  : "transformer.wpe.weight");

    const double *type =
        is_bert ? tensor(net, "bert.embeddings.token_type_embeddings.weight") : NULL;

    for (int64_t i = 0; i < T * D; i++) {
        x[i] = words[tokens[i / D] * D + i % D] + positions[i] + (type == NULL ? 0 : type[i % D]);
    }
    if (is_bert) {
        ref64_layernorm(x, x, tensor(net, "bert.embeddings.LayerNorm.weight"),
                        tensor(net, "bert.embeddings.LayerNorm.bias"), &rows);
    }
}

static void norm(const struct backbone64 *net, int64_t layer, const char *part, int64_t T,
                 const double *x, double *y)
{
    const struct ref64_rows rows = {T, net->config->hidden_size, net->config->layer_norm_eps};

    ref64_layernorm(y, x, of_layer(net, layer, part, ".weight"),
                    of_layer(net, layer, part, ".bias"), &rows);
}

/* y [T, D] = attention of x [T, D], projected. */
static void attend(const struct backbone64 *net, int64_t layer, int64_t T, const double *x,
                   double *y)
{
    const struct names *names = names_of(net);
    const int64_t D = net->config->hidden_size, H = net->config->num_attention_heads;
    const struct kern_attention_shape shape = {1, T, H, D / H};
    const struct kern_attention_mask mask = {NULL, net->config->mask == MODEL_MASK_CAUSAL};
    double *qkv = scratch(T * 3 * D), *heads = scratch(T * D);

    for (int part = 0; part < 3; part++) {
        linear(qkv + part * D, 3 * D, x, T, of_layer(net, layer, names->qkv[part], ".weight"),
               of_layer(net, layer, names->qkv[part], ".bias"), D, D);
    }
    ref64_attention(heads, qkv, &shape, &mask);
    linear(y, D, heads, T, of_layer(net, layer, names->out, ".weight"),
           of_layer(net, layer, names->out, ".bias"), D, D);
    free(qkv);
    free(heads);
}

static void feed_forward(const struct backbone64 *net, int64_t layer, int64_t T, const double *x,
                         double *y)
{
    const struct names *names = names_of(net);
    const int64_t D = net->config->hidden_size, F = net->config->intermediate_size;
    double *wide = scratch(T * F);

    linear(wide, F, x, T, of_layer(net, layer, names->up, ".weight"),
           of_layer(net, layer, names->up, ".bias"), D, F);
    for (int64_t i = 0; i < T * F; i++) {
        wide[i] = gelu(wide[i], net->config->hidden_act);
    }
    linear(y, D, wide, T, of_layer(net, layer, names->down, ".weight"),
           of_layer(net, layer, names->down, ".bias"), F, D);
    free(wide);
}

/* x [T, D] becomes what the layer makes of it. */
static void run_layer(const struct backbone64 *net, int64_t layer, int64_t T, double *x)
{
    const struct names *names = names_of(net);
    const bool is_pre = net->config->norm == MODEL_NORM_PRE;
    const int64_t count = T * net->config->hidden_size;
    double *in = scratch(count), *out = scratch(count);

    for (int half = 0; half < 2; half++) {
        const char *name = half == 0 ? names->norm1 : names->norm2;
        memcpy(in, x, (size_t)count * sizeof(double));
        if (is_pre) {
            norm(net, layer, name, T, x, in);
        }
        if (half == 0) {
            attend(net, layer, T, in, out);
        } else {
            feed_forward(net, layer, T, in, out);
        }
        for (int64_t i = 0; i < count; i++) {
            x[i] += out[i];
        }
        if (!is_pre) {
            norm(net, layer, name, T, x, x);
        }
    }
    free(in);
    free(out);
}

/* pooled [R, D] of x [T, D]. */
static void pool(const struct model_config *config, const double *x, int64_t T, double *pooled)
{
    const int64_t D = config->hidden_size;
    const int64_t first = config->embedding == MODEL_EMBEDDING_PATCHES ? 1 : 0;

    for (int64_t d = 0; d < D; d++) {
        switch (config->pooling) {
        case MODEL_POOLING_CLS: pooled[d] = x[d]; break;
        case MODEL_POOLING_LAST: pooled[d] = x[(T - 1) * D + d]; break;
        case MODEL_POOLING_EVERY:
            for (int64_t t = 0; t < T; t++) {
                pooled[t * D + d] = x[t * D + d];
            }
            break;
        case MODEL_POOLING_MEAN:
            pooled[d] = 0;
            for (int64_t t = first; t < T; t++) {
                pooled[d] += x[t * D + d] / (double)(T - first);
            }
            break;
        }
    }
}

static void classify(const struct backbone64 *net, double *pooled, double *logits)
{
    const int64_t D = net->config->hidden_size, K = net->config->num_labels;
    const struct ref64_rows row = {1, D, net->config->layer_norm_eps};
    const bool is_gpt2 = model_config_family(net->config) == MODEL_FAMILY_GPT2;
    const double *weight = tensor(net, net->config->ties_classifier ? "transformer.wte.weight"
                                       : is_gpt2                    ? "score.weight"
                                                                    : "classifier.weight");

    if (net->config->embedding == MODEL_EMBEDDING_PATCHES) {
        ref64_layernorm(pooled, pooled, of_images(net, "layernorm", ".weight"),
                        of_images(net, "layernorm", ".bias"), &row);
    } else if (is_gpt2) {
        ref64_layernorm(pooled, pooled, tensor(net, "transformer.ln_f.weight"),
                        tensor(net, "transformer.ln_f.bias"), &row);
    }
    linear(logits, K, pooled, 1, weight, is_gpt2 ? NULL : tensor(net, "classifier.bias"), D, K);
}

void backbone64_forward(const struct backbone64 *net, const struct model_input *input, int64_t n,
                        double *pooled, double *logits)
{
    const struct model_config *config = net->config;
    const bool is_of_images = config->embedding == MODEL_EMBEDDING_PATCHES;
    const int64_t D = config->hidden_size, K = config->num_labels, R = model_config_rows(config);
    double *x = scratch(model_config_tokens(config) * D), *last = scratch(R * D);

    for (int64_t b = 0; b < n; b++) {
        const struct model_input one = model_input_from(config, input, b);
        const int64_t T = is_of_images ? model_config_tokens(config) : one.lengths[0];
        if (is_of_images) {
            embed_image(net, one.images, x);
        } else {
            embed_text(net, one.tokens, T, x);
        }
        for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
            if ((net->skips >> layer & 1) == 0) {
                run_layer(net, layer, T, x);
            }
            if (pooled != NULL) {
                pool(config, x, T, pooled + (layer * n + b) * R * D);
            }
        }
        pool(config, x, T, last);
        for (int64_t r = 0; r < R; r++) {
            classify(net, last + r * D, logits + (b * R + r) * K);
        }
    }
    free(x);
    free(last);
}

double backbone64_loss(const struct backbone64 *net, const struct model_input *input,
                       const int32_t *labels, int64_t n)
{
    const int64_t K = net->config->num_labels, rows = n * model_config_rows(net->config);
    double *logits = scratch(rows * K);
    struct ref64_xent row;
    double loss = 0;

    backbone64_forward(net, input, n, NULL, logits);
    for (int64_t i = 0; i < rows; i++) {
        ref64_xent(&row, logits + i * K, labels[i], K);
        loss += row.loss;
    }
    free(logits);
    return loss;
}
