#include <assert.h>
#include <stdlib.h>

#include "exits/exits_net_priv.h"

enum { READ_MS = 60000 }; /* for what is on the device's stream before it */

/* Floats of one exit's rows; hands out the pieces if `at` is not NULL. */
static int64_t carve(const struct exits_net_config *config, int64_t n, float *at,
                     struct exits_rows *rows)
{
    const bool is_hidden = exits_gate_is_hidden(config->gate);
    const bool cascades = exits_net_has(config, CASCADE_WEIGHT);
    const bool joins = exits_net_has(config, ENSEMBLE_WEIGHT);
    const struct {
        float **piece;
        int64_t elems;
    } pieces[] = {
        {&rows->normed, exits_net_has(config, NORM_GAIN) ? n * config->width : 0},
        {&rows->mean, n},
        {&rows->rstd, n},
        {&rows->wide, exits_net_has(config, UP_WEIGHT) ? n * config->head_hidden : 0},
        {&rows->slope, exits_net_has(config, UP_WEIGHT) ? n * config->head_hidden : 0},
        {&rows->logits, n * config->classes},
        {&rows->told, cascades ? n * config->classes : 0},
        {&rows->told_mean, cascades ? n : 0},
        {&rows->told_rstd, cascades ? n : 0},
        {&rows->answer, joins ? n * config->classes : 0},
        {&rows->answer_lse, joins ? n : 0},
        {&rows->own_loss, joins ? n : 0},
        {&rows->loss, n},
        {&rows->lse, n},
        {&rows->lesson, n},
        {&rows->features, n * FEATURES},
        {&rows->gate_normed, is_hidden ? n * config->width : 0},
        {&rows->gate_mean, is_hidden ? n : 0},
        {&rows->gate_rstd, is_hidden ? n : 0},
        {&rows->hidden, exits_net_has(config, GATE_UP_WEIGHT) ? n * config->gate_hidden : 0},
        {&rows->gate_slope, config->gate == EXITS_GATE_HIDDEN_MLP ? n * config->gate_hidden : 0},
        {&rows->gate, n},
    };
    int64_t used = 0;

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        *pieces[i].piece = at == NULL ? NULL : at + used;
        used += pieces[i].elems;
    }
    return used;
}

/* Who computes what the kernels' table has not. */
static void choose(struct exits_work *work, bool is_cuda)
{
    work->follow = is_cuda ? exits_distill_cuda : exits_distill_cpu;
    work->answer = is_cuda ? exits_ensemble_forward_cuda : exits_ensemble_forward_cpu;
    work->answer_backward = is_cuda ? exits_ensemble_backward_cuda : exits_ensemble_backward_cpu;
}

enum err exits_work_open(const struct exits_net *net, int64_t samples_max,
                         struct exits_work **work_out)
{
    const struct exits_net_config *config = &net->config;
    const int64_t n = samples_max;
    const int64_t hidden =
        config->head_hidden > config->gate_hidden ? config->head_hidden : config->gate_hidden;
    const int exit_count = config->set_count * config->count;
    struct exits_rows measured;
    struct exits_work *work = calloc(1, sizeof(*work));
    enum err status = ERR_OK;

    if (work == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a pass of the exits");
    }
    work->net = net;
    work->rows = calloc((size_t)exit_count, sizeof(*work->rows));
    if (work->rows == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "a pass of the exits");
        goto err_close;
    }
    const int64_t row_elems = carve(config, n, NULL, &measured);
    choose(work, device_kind(net->ops.device) == DEVICE_CUDA);
    work->row_elems = row_elems;
    work->samples_max = n;
    ERR_GOTO(err_close, status,
             device_memory_open_f32(net->ops.device,
                                    exit_count * (row_elems + n) +
                                        n * (2 * config->classes + hidden + config->width),
                                    "a pass of the exits", &work->block));
    work->predicted = (int32_t *)(void *)(work->block + exit_count * row_elems);
    for (int i = 0; i < exit_count; i++) {
        carve(config, n, work->block + i * row_elems, &work->rows[i]);
        work->rows[i].predicted = work->predicted + i * n;
    }
    work->dlogits = work->block + exit_count * (row_elems + n);
    work->dhidden = work->dlogits + n * config->classes;
    work->dnormed = work->dhidden + n * hidden;
    work->dtold = work->dnormed + n * config->width;
    if (device_kind(net->ops.device) != DEVICE_CPU) {
        void *host = NULL;
        ERR_GOTO(err_close, status,
                 device_pinned_open(net->ops.device, (size_t)n * (3 + FEATURES) * sizeof(float),
                                    "what exits said", &host));
        work->host = host;
        ERR_GOTO(err_close, status,
                 device_memory_open(net->ops.device, (size_t)n * sizeof(uint32_t),
                                    "samples that go on", &work->kept));
    }
    *work_out = work;
    return ERR_OK;

err_close:
    exits_work_close(work);
    return status;
}

void exits_work_close(struct exits_work *work)
{
    if (work == NULL) {
        return;
    }
    device_pinned_close(work->net->ops.device, work->host);
    device_memory_close(work->net->ops.device, work->kept);
    device_memory_close(work->net->ops.device, work->block);
    free(work->rows);
    free(work);
}

/* The input of the classifier: what of the features the head's kind makes of them. */
static const float *head_forward(const struct exits_net *net, const struct exits_places *places,
                                 struct exits_rows *rows, const float *features)
{
    const struct exits_net_config *config = &net->config;
    const int64_t D = config->width;
    const struct kern_linear_epilogue activate = {
        .bias = net->block + places->at[UP_BIAS], .gelu = KERN_GELU_TANH, .slope = rows->slope};

    if (config->head == EXITS_HEAD_LINEAR) {
        return features;
    }
    net->ops.layernorm_forward(
        rows->normed, rows->mean, rows->rstd, features, D, net->block + places->at[NORM_GAIN],
        net->block + places->at[NORM_BIAS], rows->n, D, config->layer_norm_eps);
    if (config->head == EXITS_HEAD_NORM_LINEAR) {
        return rows->normed;
    }
    net->ops.linear_forward(rows->wide, config->head_hidden, rows->normed, D, rows->n, &places->up,
                            &activate);
    return rows->wide;
}

/* What the head before said is added to the logits. */
static void chain(struct exits_work *work, int i)
{
    const struct exits_net *net = work->net;
    const struct exits_places *places = &net->exits[i];
    const struct exits_rows *rows = &work->rows[i], *before = rows - 1;
    const int64_t n = rows->n, K = net->config.classes;
    const struct kern_linear_epilogue add = {.residual = rows->logits};

    assert(before->n == n);
    if (net->config.heads == EXITS_HEADS_BOOSTED) {
        net->ops.add_rows(rows->logits, K, before->logits, K, (float)net->config.boost, n, K);
        return;
    }
    net->ops.layernorm_forward(rows->told, rows->told_mean, rows->told_rstd, before->logits, K,
                               net->block + places->at[CASCADE_NORM_GAIN],
                               net->block + places->at[CASCADE_NORM_BIAS], n, K,
                               net->config.layer_norm_eps);
    net->ops.linear_forward(rows->logits, K, rows->told, K, n, &places->cascade, &add);
}

void exits_work_share(struct exits_work *work, bool heads, bool gates)
{
    assert(heads || !gates); /* gates read what heads say */
    work->shares_heads = heads;
    work->shares_gates = gates;
}

void exits_share_gradients(const struct exits_work *work, float *gradients)
{
    const struct exits_net *net = work->net;
    const struct param_list *params = &net->params;
    const int64_t set_elems = params->block_elems / net->config.set_count;

    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        const bool is_head = param->group == EXITS_GROUP_HEADS;
        if (param->part > 0 && (is_head ? work->shares_heads : work->shares_gates)) {
            float *to = gradients + param->offset;
            net->ops.copy_rows(to, param->count, to - param->part * set_elems, param->count, 1,
                               param->count);
        }
    }
}

struct exits_ensemble exits_ensemble_of(const struct exits_work *work, int i)
{
    const struct exits_net *net = work->net;
    const int exit = i % net->config.count;
    const struct exits_rows *rows = &work->rows[i], *first = rows - exit;

    return (struct exits_ensemble){
        .n = rows->n,
        .K = net->config.classes,
        .members = exit + 1,
        .logits = first->logits,
        .lse = first->lse,
        .stride = work->row_elems,
        .weights = net->block + net->exits[i].at[ENSEMBLE_WEIGHT],
        .bias = net->block + net->exits[i].at[ENSEMBLE_BIAS],
        .answer = rows->answer,
    };
}

/* From the logits to the answer, its loss and its features. */
static void answer(struct exits_work *work, int i, float *bad)
{
    const struct exits_net *net = work->net;
    const struct exits_rows *rows = &work->rows[i];
    const bool has_labels = rows->labels != NULL;
    struct kern_xent_out out = {.loss = has_labels ? rows->loss : NULL,
                                .lse = rows->lse,
                                .features = rows->features,
                                .predicted = rows->predicted,
                                .bad = bad};

    if (net->config.gate != EXITS_GATE_ENSEMBLE) {
        net->ops.xent_forward(&out, rows->logits, rows->labels, rows->n, net->config.classes);
        return;
    }
    const struct kern_xent_out own = {
        .loss = has_labels ? rows->own_loss : NULL, .lse = rows->lse, .bad = bad};
    const struct exits_ensemble ensemble = exits_ensemble_of(work, i);
    net->ops.xent_forward(&own, rows->logits, rows->labels, rows->n, net->config.classes);
    work->answer(&ensemble);
    out.lse = rows->answer_lse;
    out.bad = NULL;
    net->ops.xent_forward(&out, rows->answer, rows->labels, rows->n, net->config.classes);
}

const float *exits_head_logits(struct exits_work *work, int set, int exit, const float *features,
                               int64_t n)
{
    const struct exits_net *net = work->net;
    const int i = set * net->config.count + exit;
    const struct exits_places *places = &net->exits[i];
    struct exits_rows *rows = &work->rows[i];
    const struct kern_linear_epilogue add = {.bias = net->block + places->at[HEAD_BIAS]};

    rows->n = n;
    const float *inputs = head_forward(net, places, rows, features);
    net->ops.linear_forward(rows->logits, net->config.classes, inputs, places->head.K, n,
                            &places->head, &add);
    return rows->logits;
}

void exits_forward(struct exits_work *work, int set, int exit, const float *features, int64_t n,
                   const int32_t *labels, float *bad)
{
    const struct exits_net_config *config = &work->net->config;
    const int i = set * config->count + exit;
    struct exits_rows *rows = &work->rows[i];

    rows->n = n;
    if (set == 0 || !work->shares_heads) {
        rows->teacher = NULL;
        rows->labels = labels;
        (void)exits_head_logits(work, set, exit, features, n);
        if (config->heads != EXITS_HEADS_PLAIN && exit > 0) {
            chain(work, i);
        }
        answer(work, i, bad);
    }
    if (set == 0 || !work->shares_gates) {
        exits_gate_forward(work, i, features);
    }
}

/* Loss and slope of following the teacher; `weights` are NULL where no slope is wanted. */
static void follow(struct exits_work *work, struct exits_rows *rows, const float *weights)
{
    const struct exits_distill_rows distill = {
        .distill = rows->distill,
        .n = rows->n,
        .K = work->net->config.classes,
        .logits = rows->logits,
        .teacher = rows->teacher,
        .loss = weights == NULL ? rows->lesson : NULL,
        .dlogits = weights == NULL ? NULL : work->dlogits,
        .weights = weights,
    };

    work->follow(&distill);
}

void exits_follow(struct exits_work *work, int set, int exit, const float *teacher,
                  const struct exits_distill *distill)
{
    struct exits_rows *rows = &work->rows[set * work->net->config.count + exit];

    rows->teacher = teacher;
    rows->distill = *distill;
    follow(work, rows, NULL);
}

enum err exits_keep(struct exits_work *work, int set, int exit, const uint32_t kept[],
                    int64_t count)
{
    const struct exits_net *net = work->net;
    struct exits_rows *rows = &work->rows[set * net->config.count + exit];
    const void *staged = NULL;

    assert(count <= rows->n);
    if (!exits_net_is_chained(&net->config)) {
        return ERR_OK;
    }
    ERR_TRY(
        device_stage(net->ops.device, work->kept, kept, (size_t)count * sizeof(*kept), &staged));
    const int first = net->config.gate == EXITS_GATE_ENSEMBLE ? 0 : exit;
    for (int e = first; e <= exit; e++) {
        struct exits_rows *member = rows - exit + e;
        net->ops.keep_rows(member->logits, work->dlogits, staged, count, net->config.classes);
        net->ops.keep_rows(member->lse, work->dlogits, staged, count, 1);
        member->n = count;
    }
    return ERR_OK;
}

struct exits_view exits_view_of(const struct exits_work *work, int set, int exit)
{
    const struct exits_rows *rows = exits_head_rows(work, set, exit);
    const bool joins = work->net->config.gate == EXITS_GATE_ENSEMBLE;

    return (struct exits_view){.logits = rows->logits,
                               .answer = joins ? rows->answer : rows->logits,
                               .loss = rows->loss,
                               .own_loss = joins ? rows->own_loss : rows->loss,
                               .features = rows->features,
                               .predicted = rows->predicted,
                               .gate = exits_gate_rows(work, set, exit)->gate,
                               .lesson = rows->lesson};
}

enum err exits_read(const struct exits_work *work, int set, int exit, struct exits_view *view_out)
{
    struct device *device = work->net->ops.device;
    const struct exits_rows *rows = &work->rows[set * work->net->config.count + exit];
    const size_t n = (size_t)rows->n;

    *view_out = exits_view_of(work, set, exit);
    view_out->logits = view_out->answer = view_out->own_loss = view_out->lesson = NULL;
    if (work->host == NULL) {
        return ERR_OK;
    }
    float *loss = work->host, *gate = loss + n, *features = gate + n;
    int32_t *predicted = (int32_t *)(void *)(features + n * FEATURES);
    ERR_TRY(device_copy(device_current(), loss, rows->loss, n * sizeof(float)));
    ERR_TRY(device_copy(device_current(), gate, rows->gate, n * sizeof(float)));
    ERR_TRY(device_copy(device_current(), features, rows->features, n * FEATURES * sizeof(float)));
    ERR_TRY(device_read(device, predicted, rows->predicted, n * sizeof(int32_t), READ_MS));
    *view_out = (struct exits_view){
        .loss = loss, .features = features, .predicted = predicted, .gate = gate};
    return ERR_OK;
}

struct exits_strides exits_strides_of(const struct exits_work *work)
{
    return (struct exits_strides){work->row_elems, work->samples_max};
}

/* The gradient of what the head made of the one before, which is a constant; of dlogits. */
static void backward_cascade(struct exits_work *work, int i, float *gradients, bool accumulate)
{
    const struct exits_net *net = work->net;
    const struct exits_places *places = &net->exits[i];
    const struct exits_rows *rows = &work->rows[i];
    const int64_t n = rows->n, K = net->config.classes;

    net->ops.linear_backward_weight(gradients + places->at[CASCADE_WEIGHT], NULL, work->dlogits, K,
                                    rows->told, K, n, K, K, accumulate);
    net->ops.linear_backward_data(work->dtold, K, work->dlogits, K, n, &places->cascade, NULL);
    net->ops.layernorm_backward(NULL, NULL, gradients + places->at[CASCADE_NORM_GAIN],
                                gradients + places->at[CASCADE_NORM_BIAS], work->dtold,
                                rows[-1].logits, K, rows->told_mean, rows->told_rstd,
                                net->block + places->at[CASCADE_NORM_GAIN], n, K, accumulate);
}

void exits_head_backward(struct exits_work *work, int set, int exit, const float *features,
                         const int32_t *labels, const float *weights, float *gradients,
                         bool accumulate, float *dfeatures)
{
    const struct exits_net *net = work->net;
    const struct exits_net_config *config = &net->config;
    const struct kern_ops *ops = &net->ops;
    const int i = set * config->count + exit;
    const struct exits_places *places = &net->exits[i];
    struct exits_rows *rows = &work->rows[i];
    const int64_t n = rows->n, D = config->width, K = config->classes, inputs = places->head.K;
    const float *head_inputs = config->head == EXITS_HEAD_LINEAR        ? features
                               : config->head == EXITS_HEAD_NORM_LINEAR ? rows->normed
                                                                        : rows->wide;
    float *dnormed = config->head == EXITS_HEAD_LINEAR ? dfeatures : work->dnormed;

    ops->xent_backward(work->dlogits, rows->logits, rows->lse, labels, weights, n, K);
    if (rows->teacher != NULL) {
        follow(work, rows, weights);
    }
    if (places->at[CASCADE_WEIGHT] >= 0) {
        backward_cascade(work, i, gradients, accumulate);
    }
    ops->linear_backward_weight(gradients + places->at[HEAD_WEIGHT],
                                gradients + places->at[HEAD_BIAS], work->dlogits, K, head_inputs,
                                inputs, n, K, inputs, accumulate);
    if (config->head == EXITS_HEAD_NORM_MLP) {
        ops->linear_backward_data(work->dhidden, inputs, work->dlogits, K, n, &places->head,
                                  rows->slope);
        ops->linear_backward_weight(gradients + places->at[UP_WEIGHT],
                                    gradients + places->at[UP_BIAS], work->dhidden, inputs,
                                    rows->normed, D, n, inputs, D, accumulate);
        ops->linear_backward_data(dnormed, D, work->dhidden, inputs, n, &places->up, NULL);
    } else if (dnormed != NULL) {
        ops->linear_backward_data(dnormed, D, work->dlogits, K, n, &places->head, NULL);
    }
    if (config->head != EXITS_HEAD_LINEAR) {
        ops->layernorm_backward(dfeatures, NULL, gradients + places->at[NORM_GAIN],
                                gradients + places->at[NORM_BIAS], dnormed, features, D, rows->mean,
                                rows->rstd, net->block + places->at[NORM_GAIN], n, D, accumulate);
    }
}
