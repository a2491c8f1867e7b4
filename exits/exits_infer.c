#include "exits/exits_infer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "exits/exits_decide.h"

enum { READ_MS = 60000 }; /* for what is on the device's stream before it */

struct exits_infer {
    const struct model *model;
    const struct exits_net *net;
    struct model_work *work;
    struct exits_work *exits;
    float *pooled;             /* [n, D], of the device */
    float *logits;             /* [n, K], final, of the device */
    float *said;               /* [n, 2] of the device: lse and class of the final classifier */
    float *heard;              /* the same on the host */
    float *answer;             /* [n, K], logits on the host; NULL until they are wanted */
    struct model_stage *stage; /* where the device has the samples of a batch */
    struct exits_score_state *states; /* [n], of each sample of the batch */
    int64_t *place; /* [n], where in the batch the samples that are left came from */
    uint32_t *kept; /* [n] */
    int64_t samples_max;
};

static enum err allocate(struct exits_infer *infer)
{
    const struct model_config *config = model_config_of(infer->model);
    struct device *device = model_ops(infer->model)->device;
    const int64_t n = infer->samples_max;
    void *pinned = NULL;

    infer->place = calloc((size_t)n, sizeof(*infer->place));
    infer->kept = calloc((size_t)n, sizeof(*infer->kept));
    infer->states = calloc((size_t)n, sizeof(*infer->states));
    if (infer->place == NULL || infer->kept == NULL || infer->states == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a batch of %" PRId64 " samples", n);
    }
    ERR_TRY(
        device_memory_open_f32(device, n * config->hidden_size, "pooled stream", &infer->pooled));
    ERR_TRY(device_memory_open_f32(device, n * config->num_labels, "logits", &infer->logits));
    ERR_TRY(device_memory_open_f32(device, 2 * n, "classes", &infer->said));
    ERR_TRY(device_pinned_open(device, (size_t)(2 * n) * sizeof(float), "classes", &pinned));
    infer->heard = pinned;
    ERR_TRY(model_stage_open(config, device, n, &infer->stage));
    ERR_TRY(model_work_open(infer->model, n, false, &infer->work));
    return exits_work_open(infer->net, n, &infer->exits);
}

enum err exits_infer_open(const struct model *model, const struct exits_net *net,
                          int64_t samples_max, struct exits_infer **infer_out)
{
    struct exits_infer *infer = calloc(1, sizeof(*infer));

    if (infer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an inference");
    }
    infer->model = model;
    infer->net = net;
    infer->samples_max = samples_max;
    const enum err status = allocate(infer);
    if (status != ERR_OK) {
        exits_infer_close(infer);
        return status;
    }
    *infer_out = infer;
    return ERR_OK;
}

void exits_infer_close(struct exits_infer *infer)
{
    if (infer == NULL) {
        return;
    }
    struct device *device = model_ops(infer->model)->device;
    exits_work_close(infer->exits);
    model_work_close(infer->work);
    model_stage_close(infer->stage);
    device_pinned_close(device, infer->answer);
    device_pinned_close(device, infer->heard);
    device_memory_close(device, infer->said);
    device_memory_close(device, infer->logits);
    device_memory_close(device, infer->pooled);
    free(infer->states);
    free(infer->kept);
    free(infer->place);
    free(infer);
}

/* Samples whose logits were not finite have NaN here. `layer` counts from 1; 0 is the end. */
static enum err check(const float *values, int64_t stride, int64_t n, int64_t layer)
{
    int64_t bad = 0;

    for (int64_t i = 0; i < n; i++) {
        bad += isnan(values[i * stride]) ? 1 : 0;
    }
    if (bad == 0) {
        return ERR_OK;
    }
    if (layer == 0) {
        return ERR_FAIL(ERR_NOT_FINITE,
                        "the logits of %" PRId64 " samples at the end are NaN or infinite", bad);
    }
    return ERR_FAIL(ERR_NOT_FINITE,
                    "the logits of %" PRId64 " samples at the exit behind layer %" PRId64
                    " are NaN or infinite",
                    bad, layer);
}

static double low_of(const struct exits_policy *policy, int exit)
{
    return policy->lows == NULL ? -(double)INFINITY : policy->lows[exit];
}

/*
 * Whether an exit need not be computed: nobody leaves there, and no later exit where somebody may
 * leave needs it, for its score or its head.
 */
static bool is_skipped(const struct exits_infer *infer, const struct exits_policy *policy, int exit)
{
    const struct exits_net_config *config = exits_net_config_of(infer->net);
    const bool is_needed = config->heads != EXITS_HEADS_PLAIN ||
                           config->gate == EXITS_GATE_ENSEMBLE ||
                           exits_score_accumulates(policy->score, policy->form);

    for (int later = exit; later < config->count; later++) {
        const bool is_off = policy->thresholds[later] == (double)INFINITY &&
                            low_of(policy, later) == -(double)INFINITY;
        if (!is_off && (later == exit || is_needed)) {
            return false;
        }
    }
    return true;
}

/* The score of the i-th sample that is left. */
static float score_of(struct exits_infer *infer, const struct exits_policy *policy,
                      const struct exits_view *view, int64_t i)
{
    const struct exits_said said = {.features = view->features + i * KERN_XENT_FEATURES,
                                    .gate = view->gate[i],
                                    .predicted = view->predicted[i]};

    return exits_score_next(policy->score, policy->form, &said, &infer->states[infer->place[i]]);
}

/* Reads the answers [n, K] of who is left. */
static enum err read_answers(struct exits_infer *infer, const float *answers, int64_t n)
{
    struct device *device = model_ops(infer->model)->device;
    const int64_t K = model_config_of(infer->model)->num_labels;
    void *pinned = NULL;

    if (infer->answer == NULL) {
        ERR_TRY(device_pinned_open(device, (size_t)(infer->samples_max * K) * sizeof(float),
                                   "answers", &pinned));
        infer->answer = pinned;
    }
    return device_read(device, infer->answer, answers, (size_t)(n * K) * sizeof(float), READ_MS);
}

/* The probabilities [K] of the i-th sample that is left, as read before. */
static void soften(const struct exits_infer *infer, int64_t i, float *probabilities)
{
    const int64_t K = model_config_of(infer->model)->num_labels;
    const float *logits = infer->answer + i * K;
    float largest = logits[0], sum = 0;

    for (int64_t k = 1; k < K; k++) {
        largest = fmaxf(largest, logits[k]);
    }
    for (int64_t k = 0; k < K; k++) {
        probabilities[k] = expf(logits[k] - largest);
        sum += probabilities[k];
    }
    for (int64_t k = 0; k < K; k++) {
        probabilities[k] /= sum;
    }
}

/* The i-th sample that is left leaves. */
static void leave(const struct exits_infer *infer, int64_t i, int exit, int32_t predicted,
                  const struct exits_infer_out *out)
{
    const int64_t place = infer->place[i];

    out->chosen[place] = exit;
    out->predicted[place] = predicted;
    if (out->probabilities != NULL) {
        soften(infer, i, out->probabilities + place * model_config_of(infer->model)->num_labels);
    }
}

/* Lets the samples whose score reaches the threshold leave; moves the rest together. */
static enum err visit_exit(struct exits_infer *infer, const struct exits_policy *policy, int exit,
                           const struct exits_infer_out *out)
{
    const int64_t n = model_sample_count(infer->work);
    int64_t kept_count = 0;
    struct exits_view view;

    model_pool(infer->work, infer->pooled);
    exits_forward(infer->exits, policy->set, exit, infer->pooled, n, NULL, NULL);
    ERR_TRY(exits_read(infer->exits, policy->set, exit, &view));
    ERR_TRY(check(view.features, KERN_XENT_FEATURES, n,
                  exits_net_config_of(infer->net)->layers[exit] + 1));
    if (out->probabilities != NULL) {
        ERR_TRY(read_answers(infer, exits_view_of(infer->exits, policy->set, exit).answer, n));
    }
    for (int64_t i = 0; i < n; i++) {
        const double score = (double)score_of(infer, policy, &view, i);
        if (exits_decide_leaves(score, policy->thresholds[exit], low_of(policy, exit))) {
            leave(infer, i, exit, view.predicted[i], out);
        } else {
            infer->place[kept_count] = infer->place[i];
            infer->kept[kept_count++] = (uint32_t)i;
        }
    }
    ERR_TRY(exits_keep(infer->exits, policy->set, exit, infer->kept, kept_count));
    return model_keep_samples(infer->work, infer->kept, kept_count);
}

static enum err finish(struct exits_infer *infer, const struct exits_infer_out *out)
{
    const int64_t n = model_sample_count(infer->work);
    const int64_t K = model_config_of(infer->model)->num_labels;
    const struct kern_ops *ops = model_ops(infer->model);
    const struct kern_xent_out said = {.lse = infer->said,
                                       .predicted = (int32_t *)(void *)(infer->said + n)};
    const int32_t *classes = (const int32_t *)(const void *)(infer->heard + n);

    model_pool(infer->work, infer->pooled);
    model_head_forward(infer->work, infer->logits, infer->pooled);
    ops->xent_forward(&said, infer->logits, NULL, n, K);
    ERR_TRY(device_read(ops->device, infer->heard, infer->said, (size_t)(2 * n) * sizeof(float),
                        READ_MS));
    ERR_TRY(check(infer->heard, 1, n, 0));
    if (out->probabilities != NULL) {
        ERR_TRY(read_answers(infer, infer->logits, n));
    }
    for (int64_t i = 0; i < n; i++) {
        leave(infer, i, exits_net_config_of(infer->net)->count, classes[i], out);
    }
    return ERR_OK;
}

enum err exits_infer_run(struct exits_infer *infer, const struct exits_policy *policy,
                         const struct model_input *input, int64_t n,
                         const struct exits_infer_out *out)
{
    const struct exits_net_config *config = exits_net_config_of(infer->net);
    const int64_t layers = model_config_of(infer->model)->num_hidden_layers;
    struct model_input staged;
    int exit = 0;

    assert(n >= 1 && n <= infer->samples_max);
    assert(model_config_rows(model_config_of(infer->model)) == 1);
    for (int64_t i = 0; i < n; i++) {
        infer->place[i] = i;
        infer->states[i] = exits_score_begin();
    }
    ERR_TRY(model_stage_put(infer->stage, input, n, &staged));
    model_embed_forward(infer->work, &staged, n);
    for (int64_t layer = 0; layer < layers; layer++) {
        model_block_forward(infer->work, layer);
        if (exit < config->count && config->layers[exit] == layer) {
            if (!is_skipped(infer, policy, exit)) {
                ERR_TRY(visit_exit(infer, policy, exit, out));
                if (model_sample_count(infer->work) == 0) {
                    return ERR_OK;
                }
            }
            exit++;
        }
    }
    return finish(infer, out);
}
