#include "trainer/optim/optim.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/device/device.h"

enum { MEASURE_MS = 60000 }; /* for what is on the device's stream before it */

/* Sums of squares of the gradients that are clipped together, of active groups. */
struct squares {
    double of[OPTIM_GROUPS_MAX][OPTIM_CLIPS_MAX];
};

struct optim {
    struct optim_options options;
    struct kern_ops ops;
    struct optim_range *ranges;
    int64_t range_count;
    float *moment1, *moment2;
    int64_t *counts;
    float *owned[2];         /* of the moments, those that were not lent */
    struct squares *squares; /* of the device */
    int64_t owned_counts[OPTIM_GROUPS_MAX];
};

/* A moment's memory: lent, or made and owned. */
static enum err open_moment(struct device *device, float *lent, int64_t elems, const char *what,
                            float **owned_out, float **moment_out)
{
    if (lent == NULL) {
        ERR_TRY(device_memory_open_f32(device, elems, what, owned_out));
    }
    *moment_out = lent == NULL ? *owned_out : lent;
    return ERR_OK;
}

enum err optim_open(const struct optim_options *options, const struct kern_ops *ops,
                    const struct optim_range *ranges, int64_t range_count, int64_t elems,
                    struct optim **optim_out)
{
    struct optim *optim = calloc(1, sizeof(*optim));
    enum err status = ERR_OK;

    if (optim == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an optimizer");
    }
    optim->options = *options;
    optim->ops = *ops;
    optim->range_count = range_count;
    optim->ranges = calloc((size_t)range_count + 1, sizeof(*ranges));
    if (optim->ranges == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "a list of %" PRId64 " ranges", range_count);
        goto err_close;
    }
    memcpy(optim->ranges, ranges, (size_t)range_count * sizeof(*ranges));
    optim->counts = options->counts == NULL ? optim->owned_counts : options->counts;
    ERR_GOTO(err_close, status,
             open_moment(ops->device, options->moment1, elems, "first moments", &optim->owned[0],
                         &optim->moment1));
    if (options->kind == OPTIM_ADAMW) {
        ERR_GOTO(err_close, status,
                 open_moment(ops->device, options->moment2, elems, "second moments",
                             &optim->owned[1], &optim->moment2));
    }
    void *squares = NULL;
    ERR_GOTO(err_close, status,
             device_memory_open(ops->device, sizeof(*optim->squares), "sums of squares", &squares));
    optim->squares = squares;
    *optim_out = optim;
    return ERR_OK;

err_close:
    optim_close(optim);
    return status;
}

void optim_close(struct optim *optim)
{
    if (optim == NULL) {
        return;
    }
    device_memory_close(optim->ops.device, optim->squares);
    device_memory_close(optim->ops.device, optim->owned[1]);
    device_memory_close(optim->ops.device, optim->owned[0]);
    free(optim->ranges);
    free(optim);
}

float *optim_moment1(struct optim *optim)
{
    return optim->moment1;
}

float *optim_moment2(struct optim *optim)
{
    return optim->moment2;
}

int64_t *optim_counts(struct optim *optim)
{
    return optim->counts;
}

static enum err measure(const struct optim *optim, const float *gradients, double sample_count,
                        struct optim_step groups[OPTIM_GROUPS_MAX], struct squares *squares)
{
    optim->ops.zero((float *)optim->squares, sizeof(*optim->squares) / sizeof(float));
    for (int64_t i = 0; i < optim->range_count; i++) {
        const struct optim_range *range = &optim->ranges[i];
        if (groups[range->group].active) {
            optim->ops.sum_squares(&optim->squares->of[range->group][range->clip],
                                   gradients + range->begin, range->end - range->begin);
        }
    }
    ERR_TRY(device_read(optim->ops.device, squares, optim->squares, sizeof(*squares), MEASURE_MS));
    for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
        double sum = 0;
        for (int clip = 0; clip < OPTIM_CLIPS_MAX; clip++) {
            sum += squares->of[group][clip];
        }
        groups[group].norm = sqrt(sum) / sample_count;
        if (!isfinite(groups[group].norm)) {
            return ERR_FAIL(ERR_NOT_FINITE,
                            "the norm of a gradient is %g: a lower learning_rate may help",
                            groups[group].norm);
        }
    }
    return ERR_OK;
}

/* From sums over samples to a mean whose norm is within the limit. */
static double scale_of(const struct optim *optim, double squares, double sample_count)
{
    const double limit = optim->options.max_grad_norm;
    const double norm = sqrt(squares) / sample_count;

    return (limit > 0 && norm > limit ? limit / norm : 1.0) / sample_count;
}

static void update_range(struct optim *optim, const struct optim_range *range, float *params,
                         const float *gradients, double scale, const struct optim_step *group)
{
    const struct optim_options *options = &optim->options;
    const double decay = range->decays ? options->weight_decay : 0;
    const double t = (double)optim->counts[range->group];
    const int64_t at = range->begin, count = range->end - range->begin;

    if (options->kind == OPTIM_SGD) {
        const struct kern_sgd_args args = {(float)scale, (float)group->learning_rate, (float)decay,
                                           (float)options->momentum};
        optim->ops.sgd(params + at, optim->moment1 + at, gradients + at, count, &args);
        return;
    }
    const struct kern_adamw_args args = {
        .scale = (float)scale,
        .learning_rate = (float)group->learning_rate,
        .decay = (float)decay,
        .beta1 = (float)options->beta1,
        .beta2 = (float)options->beta2,
        .epsilon = (float)options->epsilon,
        /* Of the betas that the kernel sees: 1 - 0.999f is 1.3e-5 off 0.001. */
        .correction1 = (float)(1 - pow((float)options->beta1, t)),
        .correction2 = (float)(1 - pow((float)options->beta2, t)),
    };
    optim->ops.adamw(params + at, optim->moment1 + at, optim->moment2 + at, gradients + at, count,
                     &args);
}

enum err optim_update(struct optim *optim, float *params, const float *gradients,
                      double sample_count, struct optim_step groups[OPTIM_GROUPS_MAX])
{
    struct squares squares;

    assert(sample_count > 0);
    ERR_TRY(measure(optim, gradients, sample_count, groups, &squares));
    for (int group = 0; group < OPTIM_GROUPS_MAX; group++) {
        optim->counts[group] += groups[group].active;
    }
    for (int64_t i = 0; i < optim->range_count; i++) {
        const struct optim_range *range = &optim->ranges[i];
        if (groups[range->group].active) {
            const double scale =
                scale_of(optim, squares.of[range->group][range->clip], sample_count);
            update_range(optim, range, params, gradients, scale, &groups[range->group]);
        }
    }
    return ERR_OK;
}

double optim_schedule_factor(enum optim_schedule schedule, int64_t step, int64_t warmup_steps,
                             int64_t step_count)
{
    static const double pi = 3.14159265358979323846;

    if (step < warmup_steps) {
        return (double)(step + 1) / (double)warmup_steps;
    }
    const int64_t left = step_count > warmup_steps ? step_count - warmup_steps : 1;
    const double p = fmin(1.0, (double)(step - warmup_steps) / (double)left);
    switch (schedule) {
    case OPTIM_LINEAR: return 1 - p;
    case OPTIM_COSINE: return 0.5 * (1 + cos(pi * p));
    case OPTIM_CONSTANT: break;
    }
    return 1;
}
