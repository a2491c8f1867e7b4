/*
 * launch/halt.h - the wish that a run should halt, told by a signal.
 *
 * SIGUSR1, SIGUSR2, SIGTERM and SIGINT ask for it: the run finishes its step, saves, and ends with
 * exit code 75. One rank that was told is enough (step_vote()). A second SIGINT ends the process at
 * once.
 *
 * Threads: any.
 */
#ifndef LAUNCH_HALT_H
#define LAUNCH_HALT_H

#include <stdbool.h>

/* Listens for those signals from now on, in place of whoever did before. */
void halt_listen(void);

/* Whether this process was told to halt. */
bool halt_is_wanted(void);

#endif
