/*
 * launch/supervisor/supervisor.h - a run that is started, watched, and started again until it is over.
 *
 * Joins what happens (processes, pages of ranks, signals, the clock) to the policy, and does what
 * that says. One supervisor has a run at a time: OUT/supervisor.lock, an open file description
 * lock, goes with the process.
 *
 * Threads: main's, and there is no other. Takes SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2.
 */
#ifndef LAUNCH_SUPERVISOR_H
#define LAUNCH_SUPERVISOR_H

#include "comm/base/err.h"
#include "launch/supervisor/supervisor_detector.h"
#include "launch/supervisor/supervisor_nodes.h"
#include "launch/supervisor/supervisor_policy.h"

struct supervisor_options {
    const char *output_dir;    /* is there */
    const char *const *mpirun; /* the command of mpirun without -n and --host, NULL-terminated */
    const char *const *ranks;  /* that of the ranks */
    int ranks_per_node;
    int64_t shares;                 /* into which the work can be cut; ranks must divide it */
    const struct nodes_list *nodes; /* NULL: this one alone */
    const char *agent, *program;    /* struct nodes_options */
    struct supervisor_limits limits;
    struct detector_limits detector;
};

/*
 * Until the run is over. *code_out is what the caller is to leave with. Errors: ERR_CONFIG if another
 * supervisor has the run, naming it; ERR_IO, ERR_NO_MEMORY if the supervisor itself cannot go on.
 */
ERR_MUST_CHECK enum err supervisor_run(const struct supervisor_options *options, int *code_out);

#endif
