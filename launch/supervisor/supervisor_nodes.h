/*
 * launch/supervisor/supervisor_nodes.h - the nodes of a run, and whether they are there: on each a
 * process that says so every half second (supervisor_watch.h), started through ssh or another agent.
 * No port is opened, and who may connect is the agent's business.
 *
 * A node whose process says nothing for three seconds is gone; the process is started again and again,
 * and the node is back when it speaks. The end of a process alone means nothing.
 *
 * Threads: one.
 */
#ifndef LAUNCH_SUPERVISOR_NODES_H
#define LAUNCH_SUPERVISOR_NODES_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "launch/progress.h"

enum { NODES_HOST_BYTES = 256 };

struct nodes_list {
    int count;
    char (*hosts)[NODES_HOST_BYTES];
    int *slots; /* >= 1 */
};

/*
 * Reads a host file as mpirun's: a line a node, "node07 slots=4", 1 without; # begins a comment.
 * Errors: ERR_MISSING, ERR_IO; ERR_CONFIG, naming the line that is not understood or a host that is
 * there twice; ERR_NO_MEMORY. End it with nodes_list_release().
 */
ERR_MUST_CHECK enum err nodes_list_read(const char *path, struct nodes_list *list_out);
void nodes_list_release(struct nodes_list *list); /* a zeroed list is allowed */

struct nodes_options {
    const struct nodes_list *list;
    const char *agent;   /* words before the host: "ssh -o BatchMode=yes" */
    const char *program; /* this one, on every node */
    const char *folder;  /* of the pages of ranks, on every node */
};

struct nodes;

ERR_MUST_CHECK enum err nodes_open(const struct nodes_options *options, int64_t now_ms,
                                   struct nodes **nodes_out);
void nodes_close(struct nodes *nodes); /* ends the processes. NULL is allowed */

int nodes_polls(const struct nodes *nodes, struct pollfd *polls, int room);

/* What a rank told, by its node. */
typedef void (*nodes_told_fn)(void *with, int rank, int node, const struct progress *progress);

/* Does what there is to do, and passes on what ranks told. */
void nodes_look(struct nodes *nodes, int64_t now_ms, nodes_told_fn told, void *with);

/* Whether the node speaks. A node that has not been heard yet is neither there nor gone. */
bool nodes_is_gone(const struct nodes *nodes, int node);
int64_t nodes_heard_ms(const struct nodes *nodes, int node); /* when it spoke last; 0: not yet */

#endif
