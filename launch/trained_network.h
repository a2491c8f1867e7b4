/*
 * launch/trained_network.h - a trained network, out of a checkpoint alone: found, verified, loaded.
 *
 * Which exits it has is among the settings of the checkpoint's trainer_state.json. The evaluation's results
 * (evaluation_results.h) lie in the output_dir of its run.
 *
 * Threads: any.
 */
#ifndef LAUNCH_TRAINED_NETWORK_H
#define LAUNCH_TRAINED_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "exits/exits_method.h"
#include "exits/exits_net.h"
#include "launch/options.h"
#include "trainer/model/model.h"

struct trained_network_wish {
    int64_t layers_max; /* load no deeper ones; 0: all */
    bool has_room;      /* for texts of max_seq_length, and not only as long as the run's longest */
    bool needs_no_exits; /* where there are none, all is well and net is NULL */
    bool
        has_free_rows; /* products whose rows do not depend on how many there are, whatever the run had */
};

struct trained_network {
    char folder[FILE_PATH_BYTES_MAX];     /* of the checkpoint */
    char output_dir[FILE_PATH_BYTES_MAX]; /* of the run that it belongs to */
    int64_t step;
    char *settings;             /* what texts of `options` lend */
    struct options options;     /* those of the whole run that fix numbers */
    struct model_config whole;  /* of the checkpoint */
    struct model *model;        /* of the same, or of the first layers alone */
    struct exits_net *net;      /* all exits; NULL: there are none, and no method */
    struct exits_method method; /* how they were trained, with the gates that stand there */
    int cap; /* the exit behind the last layer of `model`; -1: it has all layers */
};

/*
 * `path` is a checkpoint, or the output_dir of a run: then its newest valid one. On the CPU.
 * With layers_max > 0, if the network has more layers, only those up to the last exit within as many are loaded, and
 * nothing behind them: who comes there must leave. Of the weights no other byte is read, so that the checkpoint is
 * not verified then; and it is the newest, valid or not, of a run.
 * End it with trained_network_close(). Errors: those of checkpoint_verify(), checkpoint_find() and the
 * loaders of its files; ERR_MISSING if there is none; ERR_CONFIG if it has no exits, or none within
 * layers_max.
 */
ERR_MUST_CHECK enum err trained_network_open(const char *path,
                                             const struct trained_network_wish *wish,
                                             struct trained_network *network_out);
void trained_network_close(struct trained_network *network); /* a zeroed one is allowed */

#endif
