/*
 * exits/exits_step.h - one training step of heads and gates on cached features.
 *
 * The counterpart of trainer/step/step.h without a backbone: micro-batches are gathered
 * from the cache, and the gradients of all of them, on all ranks, are one sum in the
 * same fixed order.
 *
 * Threads: the owner's.
 */
#ifndef EXITS_EXITS_STEP_H
#define EXITS_EXITS_STEP_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_cache.h"
#include "exits/exits_train.h"
#include "trainer/step/step.h"

struct exits_step_options {
    const struct exits_net *net;
    struct exits_trainer *trainer;
    const struct exits_cache *cache;
    const int32_t *labels; /* of the cache's rows */
    const struct kern_ops *ops;
    struct comm_group *group;
    enum comm_reduce_order order;
    int64_t micro_samples;
    int64_t micro_count; /* of this rank in a step */
};

struct exits_step;

/*
 * All that is pointed to is lent until the close; a device that is no CPU gets a copy of the cache.
 * Errors: ERR_NO_MEMORY, ERR_INVALID, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err exits_step_open(const struct exits_step_options *options,
                                        struct exits_step **step_out);
void exits_step_close(struct exits_step *step); /* NULL is allowed */

void exits_step_vote(struct exits_step *step); /* step_vote() */

/*
 * One step on the rows samples[micro_count * micro_samples] of the cache.
 * Errors: ERR_NOT_FINITE, ERR_TIMEOUT, ERR_COLLECTIVE, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err exits_step_run(struct exits_step *step, const uint32_t *samples,
                                       uint64_t phase, int64_t deadline_ms,
                                       struct step_result *result_out);

#endif
