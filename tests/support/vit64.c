#include "tests/support/vit64.h"

#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/ref64.h"

static double *scratch(int64_t count)
{
    double *block = calloc((size_t)count, sizeof(double));

    ck_assert_ptr_nonnull(block);
    return block;
}

void vit64_open(struct vit64 *vit, const struct model_config *config, const struct param_list *list,
                const float *block)
{
    *vit = (struct vit64){config, list, scratch(list->block_elems)};
    for (int64_t i = 0; i < list->block_elems; i++) {
        vit->params[i] = block[i];
    }
}

void vit64_close(struct vit64 *vit)
{
    free(vit->params);
    *vit = (struct vit64){0};
}

static const double *tensor(const struct vit64 *vit, const char *name)
{
    for (int64_t t = 0; t < vit->list->count; t++) {
        if (strcmp(vit->list->params[t].name, name) == 0) {
            return vit->params + vit->list->params[t].offset;
        }
    }
    ck_abort_msg("no tensor is called %s", name);
    return NULL;
}

static const double *of_layer(const struct vit64 *vit, int64_t layer, const char *name)
{
    char full[2 * PARAM_NAME_BYTES];

    snprintf(full, sizeof(full), "vit.encoder.layer.%" PRId64 ".%s", layer, name);
    return tensor(vit, full);
}

/* y [rows, outs], `ld` from row to row, = x [rows, ins] weight [outs, ins]^T + bias. */
static void linear(double *y, int64_t ld, const double *x, int64_t rows, const double *weight,
                   const double *bias, int64_t ins, int64_t outs)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < outs; o++) {
            double sum = bias[o];
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

/* x [n, T, D]: the convolution as a sum over the pixels under each patch. */
static void embed(const struct vit64 *vit, const float *images, int64_t n, double *x)
{
    const struct model_config *config = vit->config;
    const int64_t S = config->image_size, P = config->patch_size, C = config->num_channels;
    const int64_t side = S / P, T = model_config_tokens(config), D = config->hidden_size;
    const double *cls = tensor(vit, "vit.embeddings.cls_token");
    const double *positions = tensor(vit, "vit.embeddings.position_embeddings");
    const double *weight = tensor(vit, "vit.embeddings.patch_embeddings.projection.weight");
    const double *bias = tensor(vit, "vit.embeddings.patch_embeddings.projection.bias");

    for (int64_t row = 0; row < n * T; row++) {
        const int64_t b = row / T, t = row % T;
        const int64_t top = (t - 1) / side * P, left = (t - 1) % side * P;
        for (int64_t d = 0; d < D; d++) {
            double sum = t == 0 ? cls[d] : bias[d];
            for (int64_t i = 0; t > 0 && i < C * P * P; i++) {
                const int64_t c = i / P / P, y = top + i / P % P, at = left + i % P;
                sum += weight[d * C * P * P + i] * (double)images[((b * C + c) * S + y) * S + at];
            }
            x[row * D + d] = sum + positions[t * D + d];
        }
    }
}

/* x [n, T, D] becomes x + attention(norm1(x)). */
static void attend(const struct vit64 *vit, int64_t layer, int64_t n, double *x)
{
    static const char *const parts[] = {"query", "key", "value"};
    const struct model_config *config = vit->config;
    const int64_t T = model_config_tokens(config), D = config->hidden_size;
    const int64_t H = config->num_attention_heads;
    const struct ref64_rows rows = {n * T, D, config->layer_norm_eps};
    const struct kern_attention_shape shape = {n, T, H, D / H};
    double *normed = scratch(n * T * D), *qkv = scratch(n * T * 3 * D);
    char name[PARAM_NAME_BYTES];
    char bias[PARAM_NAME_BYTES];

    ref64_layernorm(normed, x, of_layer(vit, layer, "layernorm_before.weight"),
                    of_layer(vit, layer, "layernorm_before.bias"), &rows);
    for (int part = 0; part < 3; part++) {
        snprintf(name, sizeof(name), "attention.attention.%s.weight", parts[part]);
        snprintf(bias, sizeof(bias), "attention.attention.%s.bias", parts[part]);
        linear(qkv + part * D, 3 * D, normed, n * T, of_layer(vit, layer, name),
               of_layer(vit, layer, bias), D, D);
    }
    ref64_attention(normed, qkv, &shape, NULL);
    linear(qkv, D, normed, n * T, of_layer(vit, layer, "attention.output.dense.weight"),
           of_layer(vit, layer, "attention.output.dense.bias"), D, D);
    for (int64_t i = 0; i < n * T * D; i++) {
        x[i] += qkv[i];
    }
    free(normed);
    free(qkv);
}

/* x [n, T, D] becomes x + mlp(norm2(x)). */
static void feed_forward(const struct vit64 *vit, int64_t layer, int64_t n, double *x)
{
    const struct model_config *config = vit->config;
    const int64_t rows_count = n * model_config_tokens(config);
    const int64_t D = config->hidden_size, F = config->intermediate_size;
    const struct ref64_rows rows = {rows_count, D, config->layer_norm_eps};
    double *normed = scratch(rows_count * D), *wide = scratch(rows_count * F);

    ref64_layernorm(normed, x, of_layer(vit, layer, "layernorm_after.weight"),
                    of_layer(vit, layer, "layernorm_after.bias"), &rows);
    linear(wide, F, normed, rows_count, of_layer(vit, layer, "intermediate.dense.weight"),
           of_layer(vit, layer, "intermediate.dense.bias"), D, F);
    for (int64_t i = 0; i < rows_count * F; i++) {
        wide[i] = gelu(wide[i], config->hidden_act);
    }
    linear(normed, D, wide, rows_count, of_layer(vit, layer, "output.dense.weight"),
           of_layer(vit, layer, "output.dense.bias"), F, D);
    for (int64_t i = 0; i < rows_count * D; i++) {
        x[i] += normed[i];
    }
    free(normed);
    free(wide);
}

/* pooled [n, D] of x [n, T, D]. */
static void pool(const struct model_config *config, const double *x, int64_t n, double *pooled)
{
    const int64_t T = model_config_tokens(config), D = config->hidden_size;

    for (int64_t i = 0; i < n * D; i++) {
        const double *of_channel = x + i / D * T * D + i % D;
        pooled[i] = config->pooling == MODEL_POOLING_CLS ? of_channel[0] : 0;
        for (int64_t t = 1; t < T && config->pooling == MODEL_POOLING_MEAN; t++) {
            pooled[i] += of_channel[t * D] / (double)(T - 1);
        }
    }
}

void vit64_forward(const struct vit64 *vit, const float *images, int64_t n, double *pooled,
                   double *logits)
{
    const struct model_config *config = vit->config;
    const int64_t D = config->hidden_size, K = config->num_labels;
    const struct ref64_rows rows = {n, D, config->layer_norm_eps};
    double *x = scratch(n * model_config_tokens(config) * D);
    double *last = scratch(n * D);

    embed(vit, images, n, x);
    for (int64_t layer = 0; layer < config->num_hidden_layers; layer++) {
        attend(vit, layer, n, x);
        feed_forward(vit, layer, n, x);
        if (pooled != NULL) {
            pool(config, x, n, pooled + layer * n * D);
        }
    }
    pool(config, x, n, last);
    ref64_layernorm(last, last, tensor(vit, "vit.layernorm.weight"),
                    tensor(vit, "vit.layernorm.bias"), &rows);
    linear(logits, K, last, n, tensor(vit, "classifier.weight"), tensor(vit, "classifier.bias"), D,
           K);
    free(x);
    free(last);
}

double vit64_loss(const struct vit64 *vit, const float *images, const int32_t *labels, int64_t n)
{
    const int64_t K = vit->config->num_labels;
    double *logits = scratch(n * K);
    struct ref64_xent row;
    double loss = 0;

    vit64_forward(vit, images, n, NULL, logits);
    for (int64_t i = 0; i < n; i++) {
        ref64_xent(&row, logits + i * K, labels[i], K);
        loss += row.loss;
    }
    free(logits);
    return loss;
}
