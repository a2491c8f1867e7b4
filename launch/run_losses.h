/*
 * launch/run_losses.h - what `offramp launch` told of its starts: the newest part of supervisor.jsonl.
 *
 * Threads: main's.
 */
#ifndef LAUNCH_RUN_LOSSES_H
#define LAUNCH_RUN_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/jdoc.h"

struct run_losses {
    int64_t restarts; /* of the newest launch; -1: there was none */
    bool is_between;  /* its newest job was lost, and the next is not started */
    bool is_over;     /* it has said how the run ended */
};

/*
 * The losses in OUT/supervisor.jsonl, of which the last 1 MiB is read, as an array, oldest first:
 * {"what": "rank 3 (node07), signal 9", "step", "from": that was gone on from, "down_s"}; the last
 * two are left out of one that nothing came after. Never fails: what cannot be read is not there.
 */
struct jdoc *run_losses_read(const char *output_dir, struct run_losses *losses_out);

#endif
