/*
 * launch/drill/drill_nodes.h - the nodes a drill runs on, and what can happen to them.
 *
 *      plain     names on this machine: each has a memory of its own, and processes that are known
 *                by their environment. It dies when all those are killed and its memory is removed;
 *                whoever is connected to it hears so at once.
 *      virtual   namespaces (launch/cluster/virtual): it may also fall silent
 *
 * Nodes are counted from 1. Threads: one.
 */
#ifndef LAUNCH_DRILL_DRILL_NODES_H
#define LAUNCH_DRILL_DRILL_NODES_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/drill/drill_fault.h"

enum { DRILL_NODES_SHARES = 16 };

struct drill_nodes;

struct drill_nodes_options {
    const char *program;       /* this one */
    const char *folder;        /* of the run, absolute: files of the nodes are there */
    const char *token;         /* drill_processes.h */
    const char *vcluster;      /* the command; NULL with plain nodes */
    const char *const *shares; /* folders below /tmp that virtual nodes see; NULL at the end */
    int count, slots;          /* nodes, spares among them; ranks on each */
    bool stays_attached;       /* daemons stay in the session of the drill */
    const struct drill_fault *fault; /* at a point; NULL: none. Lent */
};

/* What can be done to node `n`; NULL where these nodes have no action that needs it. */
struct drill_backend {
    const char *name; /* "plain" */
    unsigned actions; /* 1 << enum drill_action for each that can be done there */
    bool is_remote;   /* pages and keepers of the nodes are not seen from here */
    enum err (*open)(const struct drill_nodes_options *options, struct drill_nodes **nodes_out);
    void (*close)(struct drill_nodes *nodes); /* ends all that runs there; nothing is left */
    enum err (*kill)(struct drill_nodes *nodes, int n);
    enum err (*power)(struct drill_nodes *nodes, int n);
    enum err (*start)(struct drill_nodes *nodes, int n); /* again, its memory empty */
    enum err (*cut)(struct drill_nodes *nodes, int n);
    enum err (*heal)(struct drill_nodes *nodes, int n);
    enum err (*freeze)(struct drill_nodes *nodes, int n);
    enum err (*thaw)(struct drill_nodes *nodes, int n);
    /* The words before those of `offramp launch`, at most DRILL_NODES_PREFIX; NULL: none. */
    int (*prefix)(const struct drill_nodes *nodes, const char **words);
    /* The words that `offramp launch` needs for these nodes, and the environment of its process. */
    int (*words)(const struct drill_nodes *nodes, const char **words, int room);
    void (*environment)(const struct drill_nodes *nodes);
    /* Where the memory of a node is seen from here. */
    enum err (*memory)(const struct drill_nodes *nodes, int n, char path_out[FILE_PATH_BYTES_MAX]);
};

extern const struct drill_backend drill_nodes_plain, drill_nodes_virtual;

enum { DRILL_HOST_BYTES = 16, DRILL_NODES_WORDS = 8, DRILL_NODES_PREFIX = 8 };

/* A host file; `where` is a comment in it. Errors: ERR_IO. */
ERR_MUST_CHECK enum err drill_nodes_write_hosts(const char *path,
                                                const struct drill_nodes_options *options,
                                                const char *where);

/* "n1" */
void drill_nodes_host(int n, char host[DRILL_HOST_BYTES]);

/* The file that tells that the fault at a point happened, in the folder of the run. */
#define DRILL_FIRED_FILE "fired"

/*
 * Stands for ssh on plain nodes: `offramp drill-agent HOST COMMAND...` becomes the command, run by
 * a shell, on that node; exit code 255 if it is down.
 */
int drill_nodes_agent(int argc, char **argv);

#endif
