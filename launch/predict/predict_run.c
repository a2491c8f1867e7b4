#include "launch/predict/predict_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "data/data_pack.h"
#include "exits/exits_cost.h"
#include "launch/sample_input.h"
#include "launch/train_run.h"

/* A run under way. */
struct work {
    const struct predict_request *request;
    struct exits_infer *infer;
    int G;
    int64_t K;
    /* Of a batch. */
    int32_t *chosen, *predicted; /* [batch] */
    float *probabilities;        /* [batch, K] */
    /* Of a portion, in the order of its samples. */
    int64_t room;
    uint32_t *order;                     /* [room] in which they run */
    int32_t *all_chosen, *all_predicted; /* [room] */
    float *all_probabilities;            /* [room, K] */
    struct predict_tally tally;
};

void predict_costs(const struct trained_network *network, const struct predict_policy *policy,
                   int64_t tokens, int64_t macs_out[], int64_t *full_out)
{
    const struct model_config *model = &network->whole;
    const bool is_text = model->embedding == MODEL_EMBEDDING_TOKENS;
    int64_t full[MODEL_LAYERS_MAX + 1];
    struct exits_cost_shape shape = train_run_cost_shape(
        model, is_text ? tokens : model_config_tokens(model), exits_net_config_of(network->net));

    shape.has_gates = exits_score_reads_gates(policy->score);
    exits_cost(&shape, macs_out);
    shape.exit_count = 0;
    exits_cost(&shape, full);
    *full_out = full[0];
}

static enum err open_work(struct work *work)
{
    const struct predict_request *request = work->request;
    const size_t batch = (size_t)request->batch;

    work->G = exits_net_config_of(request->network->net)->count;
    work->K = request->network->whole.num_labels;
    work->chosen = calloc(batch, sizeof(*work->chosen));
    work->predicted = calloc(batch, sizeof(*work->predicted));
    work->probabilities = calloc(batch * (size_t)work->K, sizeof(*work->probabilities));
    if (work->chosen == NULL || work->predicted == NULL || work->probabilities == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a batch of %zu samples", batch);
    }
    return exits_infer_open(request->network->model, request->network->net, request->batch,
                            &work->infer);
}

static void close_portion(struct work *work)
{
    free(work->order);
    free(work->all_chosen);
    free(work->all_predicted);
    free(work->all_probabilities);
    work->order = NULL;
    work->all_chosen = work->all_predicted = NULL;
    work->all_probabilities = NULL;
    work->room = 0;
}

static void close_work(struct work *work)
{
    close_portion(work);
    exits_infer_close(work->infer);
    free(work->chosen);
    free(work->predicted);
    free(work->probabilities);
}

static enum err make_room(struct work *work, int64_t count)
{
    const size_t n = (size_t)count;

    if (count <= work->room) {
        return ERR_OK;
    }
    close_portion(work);
    work->order = calloc(n, sizeof(*work->order));
    work->all_chosen = calloc(n, sizeof(*work->all_chosen));
    work->all_predicted = calloc(n, sizeof(*work->all_predicted));
    work->all_probabilities = calloc(n * (size_t)work->K, sizeof(*work->all_probabilities));
    if (work->order == NULL || work->all_chosen == NULL || work->all_predicted == NULL ||
        work->all_probabilities == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "predictions of %" PRId64 " samples", count);
    }
    work->room = count;
    return ERR_OK;
}

/* Samples order[at .. at + count) at once; what is said of them goes to their places. */
static enum err run_batch(struct work *work, struct sample_input *samples, int64_t at,
                          int64_t count)
{
    const struct predict_request *request = work->request;
    const struct exits_policy policy = predict_policy_of(request->network, request->policy);
    const struct exits_infer_out out = {
        .chosen = work->chosen, .predicted = work->predicted, .probabilities = work->probabilities};
    const size_t row_bytes = (size_t)work->K * sizeof(float);

    const struct model_input input = sample_input_fill(samples, work->order + at, count);
    ERR_TRY(exits_infer_run(work->infer, &policy, &input, count, &out));
    for (int64_t i = 0; i < count; i++) {
        const int64_t place = work->order[at + i];
        if (request->network->cap >= 0 && work->chosen[i] > request->network->cap) {
            return ERR_FAIL(ERR_NOT_FINITE, "the score of a sample at exit %d is NaN",
                            request->network->cap + 1);
        }
        work->all_chosen[place] = work->chosen[i];
        work->all_predicted[place] = work->predicted[i];
        memcpy(work->all_probabilities + place * work->K, work->probabilities + i * work->K,
               row_bytes);
    }
    return ERR_OK;
}

static enum err run_portion(struct work *work, const struct data_set *set)
{
    const struct predict_request *request = work->request;
    const int64_t n = set->shape.count;
    struct sample_input *samples = NULL;
    enum err status = ERR_OK;

    ERR_TRY(make_room(work, n));
    data_pack_sort(set, NULL, n, work->order);
    ERR_TRY(sample_input_open(model_ops(request->network->model)->device,
                              predict_input_normal(request->input), set, request->batch, &samples));
    for (int64_t at = 0; at < n && status == ERR_OK; at += request->batch) {
        status = run_batch(work, samples, at, n - at < request->batch ? n - at : request->batch);
    }
    sample_input_close(samples);
    return status;
}

static void set_id(struct jdoc *line, const struct predict_id *id)
{
    switch (id->kind) {
    case PREDICT_ID_NONE: break;
    case PREDICT_ID_NUMBER: jdoc_set_int(line, "id", id->number); break;
    case PREDICT_ID_TEXT: jdoc_set_text(line, "id", id->text); break;
    }
}

/* What is said of sample i of the portion. */
static struct jdoc *describe(struct work *work, const struct predict_portion *portion, int64_t i,
                             int64_t macs)
{
    const struct predict_request *request = work->request;
    const struct exits_net_config *exits = exits_net_config_of(request->network->net);
    const float *probabilities = work->all_probabilities + i * work->K;
    const int exit = work->all_chosen[i];
    const int32_t class = work->all_predicted[i];
    struct jdoc *line = jdoc_object();

    jdoc_set_int(line, "index", work->tally.n);
    if (portion->ids != NULL) {
        set_id(line, &portion->ids[i]);
    }
    jdoc_set_text(line, "label", predict_input_class(request->input, class));
    jdoc_set_int(line, "label_id", class);
    jdoc_set_real(line, "probability", (double)probabilities[class]);
    jdoc_set_int(line, "exit", exit + 1);
    jdoc_set_int(line, "layer",
                 exit < work->G ? exits->layers[exit] + 1
                                : request->network->whole.num_hidden_layers);
    jdoc_set_int(line, "macs", macs);
    if (portion->set->labels[i] != PREDICT_NO_LABEL) {
        jdoc_set_bool(line, "correct", class == portion->set->labels[i]);
    }
    if (request->tells_probabilities) {
        struct jdoc *array = jdoc_array();
        for (int64_t k = 0; k < work->K; k++) {
            jdoc_append(array, jdoc_real((double)probabilities[k]));
        }
        jdoc_set(line, "probabilities", array);
    }
    return line;
}

static enum err write_portion(struct work *work, const struct predict_portion *portion)
{
    const struct predict_request *request = work->request;
    const struct data_set *set = portion->set;
    struct predict_tally *tally = &work->tally;
    int64_t macs[MODEL_LAYERS_MAX + 1] = {0}, full = 0, tokens = -1;

    for (int64_t i = 0; i < set->shape.count; i++) {
        const int exit = work->all_chosen[i];
        if (data_set_length(set, i) != tokens) {
            tokens = data_set_length(set, i);
            predict_costs(request->network, request->policy, tokens, macs, &full);
        }
        struct jdoc *line = describe(work, portion, i, macs[exit]);
        const enum err status = predict_output_line(request->output, line);
        jdoc_close(line);
        ERR_TRY(status);
        tally->n++;
        tally->left[exit]++;
        tally->macs += (double)macs[exit];
        tally->full_macs += (double)full;
        tally->labelled += set->labels[i] != PREDICT_NO_LABEL;
        tally->correct += work->all_predicted[i] == set->labels[i];
    }
    return predict_output_flush(request->output);
}

static enum err run_all(struct work *work)
{
    struct predict_portion portion;

    ERR_TRY(open_work(work));
    for (;;) {
        ERR_TRY(predict_input_next(work->request->input, &portion));
        if (portion.set == NULL) {
            return ERR_OK;
        }
        ERR_TRY(run_portion(work, portion.set));
        ERR_TRY(write_portion(work, &portion));
    }
}

enum err predict_run(const struct predict_request *request, struct predict_tally *tally_out)
{
    struct work work = {.request = request};
    const int64_t start_ns = clock_now_ns();
    const enum err status = run_all(&work);

    close_work(&work);
    ERR_TRY(status);
    *tally_out = work.tally;
    tally_out->seconds = clock_since_s(start_ns);
    return ERR_OK;
}
