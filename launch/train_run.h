/*
 * launch/train_run.h - the parts of a run, opened from its settings: data, backbone,
 * exits. Training and evaluation both start here.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_RUN_H
#define LAUNCH_TRAIN_RUN_H

#include "comm/base/err.h"
#include "comm/group/comm_group.h"
#include "exits/exits_cost.h"
#include "exits/exits_train.h"
#include "launch/incarnation.h"
#include "launch/options.h"
#include "launch/run_data.h"
#include "launch/run_device.h"
#include "launch/train_state.h"
#include "trainer/kernels/kern_ops.h"

struct train_run {
    const struct options_run *options; /* lent */
    struct comm_group *world;          /* lent */
    struct comm_group *sums;           /* carries the gradients */
    struct run_device device;
    struct kern_ops ops;      /* of the device that computes */
    struct kern_ops host_ops; /* of the CPU, for what lies on the host */
    struct run_data data;
    char *init_notes;               /* what init_from has besides, in lines; NULL: nothing */
    struct train_state state;       /* without optimizers, which belong to a stage */
    struct incarnation incarnation; /* this start of the run; of the training loop, and the next: */
    struct snapshots *snapshots;    /* NULL: none are taken */
    struct exits_cost_shape cost_shape;
    struct exits_train_config exits;    /* of the exits, if state.net is not NULL */
    float *class_weights;               /* that they are given, or NULL */
    int64_t macs[MODEL_LAYERS_MAX + 1]; /* [G + 1] multiply-adds of leaving at each exit */
};

/*
 * Opens everything that does not depend on the stage; weights are those of init_from, or zero until
 * train_run_init() or a load. Collective. End it with train_run_close().
 * Errors: those of the parts; ERR_CONFIG where settings and data do not go together.
 */
ERR_MUST_CHECK enum err train_run_open(const struct options_run *options, struct comm_group *world,
                                       struct train_run *run_out);

/*
 * Initial weights, for a run that goes on from nothing: drawing them takes seconds for 100 MB.
 * Errors: as device_view_open().
 */
ERR_MUST_CHECK enum err train_run_init(struct train_run *run);

void train_run_close(struct train_run *run); /* a zeroed run is allowed */

/* The exits that settings ask for behind the layers of a backbone. Errors: ERR_CONFIG. */
ERR_MUST_CHECK enum err train_run_exits_config(const struct options *options,
                                               const struct model_config *model,
                                               struct exits_net_config *config_out);

/* What they cost for a sample of so many tokens; lends net->layers. */
struct exits_cost_shape train_run_cost_shape(const struct model_config *model, int64_t tokens,
                                             const struct exits_net_config *net);

/* After parameters were loaded or changed from outside. */
void train_run_pack(struct train_run *run, bool for_backward);

#endif
