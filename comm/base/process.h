/*
 * comm/base/process.h - what the kernel says of a process (/proc/PID/stat).
 *
 * Threads: any.
 */
#ifndef COMM_BASE_PROCESS_H
#define COMM_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

struct process {
    char state; /* R, S, D, T: stopped, Z: dead and not waited for, ... */
    int parent;
    uint64_t start; /* in clock ticks since boot; with the PID it names a process for ever */
};

/* Errors: ERR_MISSING if there is no process of that number. */
ERR_MUST_CHECK enum err process_describe(int pid, struct process *process_out);

/*
 * A handle of the process `pid` that began at `start` (0: whenever): -1 if there is none. The caller
 * closes it. It becomes readable when the process ends, and a signal through it reaches no other.
 */
int process_open(int pid, uint64_t start);
bool process_signal(int handle, int signal);

#endif
