#include "launch/eval_outputs.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "launch/progress.h"

enum { CHUNK = 256 };

/* Memory for one chunk of rows. */
struct chunk {
    float *features; /* [CHUNK, D], on the host */
    float *logits;   /* [CHUNK, K], on the host */
    void *staged;    /* where the device has the features, */
    void *labels;    /* and the labels; NULL on a CPU */
    float loss[CHUNK];
    float features4[CHUNK * KERN_XENT_FEATURES];
    int32_t predicted[CHUNK];
};

static enum err allocate(struct eval_outputs *outputs)
{
    const size_t n = (size_t)outputs->n, G = (size_t)outputs->G;

    outputs->gates = calloc(n * G + 1, sizeof(float));
    outputs->max_prob = calloc(n * G + 1, sizeof(float));
    outputs->features = calloc(n * G * KERN_XENT_FEATURES + 1, sizeof(float));
    outputs->confidence = calloc(n * (G + 1), sizeof(float));
    outputs->loss = calloc(n * (G + 1), sizeof(float));
    outputs->correct = calloc(n * (G + 1), sizeof(uint8_t));
    outputs->predicted = calloc(n * (G + 1), sizeof(int32_t));
    if (outputs->gates == NULL || outputs->max_prob == NULL || outputs->features == NULL ||
        outputs->confidence == NULL || outputs->loss == NULL || outputs->correct == NULL ||
        outputs->predicted == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the outputs of %" PRId64 " samples", outputs->n);
    }
    return ERR_OK;
}

static void put(struct eval_outputs *outputs, int64_t i, int exit, float loss, float max_prob,
                int32_t predicted, int32_t label)
{
    const int64_t at = i * (outputs->G + 1) + exit;

    outputs->loss[at] = loss;
    outputs->confidence[at] = fminf(1.0f, max_prob); /* rounding may leave it just above */
    outputs->predicted[at] = predicted;
    outputs->correct[at] = predicted == label;
}

static enum err fill_exits(const struct exits_cache *cache, struct device *device,
                           const int32_t *labels, int set, struct exits_work *work,
                           struct chunk *chunk, struct eval_outputs *outputs)
{
    const int64_t D = exits_cache_shape_of(cache)->width;
    const void *features = NULL, *staged_labels = NULL;
    struct exits_view view;

    for (int64_t at = 0; at < outputs->n; at += CHUNK) {
        const int64_t count = outputs->n - at < CHUNK ? outputs->n - at : CHUNK;
        for (int g = 0; g < outputs->G; g++) {
            for (int64_t i = 0; i < count; i++) {
                memcpy(chunk->features + i * D, exits_cache_features(cache, at + i, g),
                       (size_t)D * sizeof(float));
            }
            ERR_TRY(device_stage(device, chunk->staged, chunk->features,
                                 (size_t)(count * D) * sizeof(float), &features));
            ERR_TRY(device_stage(device, chunk->labels, labels + at,
                                 (size_t)count * sizeof(*labels), &staged_labels));
            exits_forward(work, set, g, features, count, staged_labels, NULL);
            ERR_TRY(exits_read(work, set, g, &view));
            for (int64_t i = 0; i < count; i++) {
                const float max_prob = view.features[i * KERN_XENT_FEATURES];
                if (isnan(max_prob)) {
                    return ERR_FAIL(ERR_NOT_FINITE, "logits of exit %d are not finite", g + 1);
                }
                outputs->gates[(at + i) * outputs->G + g] = view.gate[i];
                outputs->max_prob[(at + i) * outputs->G + g] = max_prob;
                memcpy(outputs->features +
                           ((at + i) * outputs->G + g) * (int64_t)KERN_XENT_FEATURES,
                       view.features + i * KERN_XENT_FEATURES, KERN_XENT_FEATURES * sizeof(float));
                put(outputs, at + i, g, view.loss[i], max_prob, view.predicted[i], labels[at + i]);
            }
        }
        progress_beat();
    }
    return ERR_OK;
}

static enum err fill_final(const struct train_run *run, const struct exits_cache *cache,
                           const int32_t *labels, struct chunk *chunk, struct eval_outputs *outputs)
{
    const int64_t K = exits_cache_shape_of(cache)->classes;
    float bad = 0;
    const struct kern_xent_out out = {.loss = chunk->loss,
                                      .features = chunk->features4,
                                      .predicted = chunk->predicted,
                                      .bad = &bad};

    for (int64_t at = 0; at < outputs->n; at += CHUNK) {
        const int64_t count = outputs->n - at < CHUNK ? outputs->n - at : CHUNK;
        for (int64_t i = 0; i < count; i++) {
            memcpy(chunk->logits + i * K, exits_cache_logits(cache, at + i),
                   (size_t)K * sizeof(float));
        }
        run->host_ops.xent_forward(&out, chunk->logits, labels + at, count, K);
        if (bad > 0) {
            return ERR_FAIL(ERR_NOT_FINITE, "the final logits are not finite");
        }
        for (int64_t i = 0; i < count; i++) {
            put(outputs, at + i, outputs->G, chunk->loss[i],
                chunk->features4[i * KERN_XENT_FEATURES], chunk->predicted[i], labels[at + i]);
        }
    }
    return ERR_OK;
}

static enum err fill(const struct train_run *run, const struct exits_cache *cache,
                     const int32_t *labels, int set, struct chunk *chunk,
                     struct eval_outputs *outputs)
{
    struct exits_work *work = NULL;
    enum err status = ERR_OK;

    if (outputs->G > 0) {
        ERR_TRY(exits_work_open(run->state.net, CHUNK, &work));
        status = fill_exits(cache, run->ops.device, labels, set, work, chunk, outputs);
        exits_work_close(work);
    }
    return status == ERR_OK ? fill_final(run, cache, labels, chunk, outputs) : status;
}

enum err eval_outputs_open(const struct train_run *run, const struct exits_cache *cache,
                           const int32_t *labels, int set, struct eval_outputs *outputs_out)
{
    const struct exits_cache_shape *shape = exits_cache_shape_of(cache);
    struct eval_outputs outputs = {.n = shape->row_count,
                                   .G = (int)shape->exit_count,
                                   .labels = labels,
                                   .classes = shape->classes};
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    enum err status = ERR_OK;

    if (chunk != NULL) {
        chunk->features = calloc((size_t)(CHUNK * shape->width), sizeof(float));
        chunk->logits = calloc((size_t)(CHUNK * shape->classes), sizeof(float));
    }
    if (chunk == NULL || chunk->features == NULL || chunk->logits == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "a chunk of samples");
        goto out;
    }
    if (device_kind(run->ops.device) != DEVICE_CPU) {
        ERR_GOTO(out, status,
                 device_memory_open(run->ops.device, (size_t)(CHUNK * shape->width) * sizeof(float),
                                    "features", &chunk->staged));
        ERR_GOTO(
            out, status,
            device_memory_open(run->ops.device, CHUNK * sizeof(int32_t), "labels", &chunk->labels));
    }
    ERR_GOTO(out, status, allocate(&outputs));
    status = fill(run, cache, labels, set, chunk, &outputs);
out:
    if (chunk != NULL) {
        device_memory_close(run->ops.device, chunk->labels);
        device_memory_close(run->ops.device, chunk->staged);
        free(chunk->features);
        free(chunk->logits);
    }
    free(chunk);
    if (status != ERR_OK) {
        eval_outputs_close(&outputs);
        return status;
    }
    *outputs_out = outputs;
    return ERR_OK;
}

void eval_outputs_close(struct eval_outputs *outputs)
{
    free(outputs->gates);
    free(outputs->max_prob);
    free(outputs->features);
    free(outputs->confidence);
    free(outputs->loss);
    free(outputs->correct);
    free(outputs->predicted);
    *outputs = (struct eval_outputs){0};
}
