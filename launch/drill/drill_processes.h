/*
 * launch/drill/drill_processes.h - the processes of a drill, found by what they inherited.
 *
 * All that a drill starts has DRILL_VARIABLE=TOKEN in the environment it began with, and what runs on
 * one of its nodes also DRILL_NODE_VARIABLE=HOST: nothing else is ever touched. Looked up in /proc,
 * and only among processes of this user.
 *
 * Threads: one. Cost: milliseconds, for some hundred processes on the machine.
 */
#ifndef LAUNCH_DRILL_DRILL_PROCESSES_H
#define LAUNCH_DRILL_DRILL_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"

#define DRILL_VARIABLE "OFFRAMP_DRILL"
#define DRILL_NODE_VARIABLE "OFFRAMP_DRILL_NODE"

enum drill_kind {
    DRILL_IS_OTHER, /* mpirun and its daemons */
    DRILL_IS_RANK,
    DRILL_IS_KEEPER,
    DRILL_IS_REPORTER,
};

struct drill_process {
    int pid;
    uint64_t start;
    enum drill_kind kind;
    int rank;      /* -1: of no rank */
    char node[64]; /* host; "": of none */
};

enum { DRILL_PROCESSES_MAX = 4096 };

/*
 * Those of `token`, on the host `node` (NULL: wherever), that are not dead; at most `room`. Returns
 * how many there are.
 */
int drill_processes_find(const char *token, const char *node, struct drill_process *processes,
                         int room);

/*
 * The newest of that kind: of `rank` (-1: any), on `node` (NULL: any). False if there is none.
 */
bool drill_processes_newest(const char *token, const char *node, enum drill_kind kind, int rank,
                            struct drill_process *process_out);

/* The folder of the pages of ranks (progress.h), as a process of `token` was told. */
bool drill_processes_progress(const char *token, char folder_out[FILE_PATH_BYTES_MAX]);

/* Sends a signal to this process and no other. False if it is gone. */
bool drill_process_signal(const struct drill_process *process, int signal);

bool drill_process_is_alive(const struct drill_process *process);

/* SIGKILL, and waits until it is dead. False if it is not within `deadline_ms`. */
bool drill_process_end(const struct drill_process *process, int64_t deadline_ms);

/* The same of all of `token` (on `node`), those that come meanwhile, too. False: some are left. */
bool drill_processes_end(const char *token, const char *node, int64_t deadline_ms);

/* SIGSTOP, and waits until it is stopped. False if it is not within `deadline_ms`. */
bool drill_process_stop(const struct drill_process *process, int64_t deadline_ms);

#endif
