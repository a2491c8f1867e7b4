/*
 * launch/banner.h - what a run prints before it begins.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_BANNER_H
#define LAUNCH_BANNER_H

#include "launch/train_run.h"

/* Version, launcher, kernels, data, model, a table of the exits and their cost, to stdout. */
void banner_print(const struct train_run *run);

#endif
