/*
 * launch/supervisor/supervisor_standing.h - where a job stands: what its ranks have told, as one.
 *
 * A job is as far as the rank that is furthest from the end; its newest step is that of any.
 *
 * Threads: the job's.
 */
#ifndef LAUNCH_SUPERVISOR_STANDING_H
#define LAUNCH_SUPERVISOR_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/progress.h"
#include "launch/supervisor/supervisor_detector.h"
#include "launch/supervisor/supervisor_job.h"

struct standing {
    int64_t step, kept;        /* the newest; -1: none is known */
    bool claimed;              /* a rank knows what the run goes on from */
    struct detector_look look; /* what the detector wants to know */
    struct progress first;     /* of the rank that was first to make a step; process 0: none has */
};

/* Of the ranks that have told anything yet. Cannot fail. */
void standing_of_job(const struct job *job, struct standing *standing_out);

#endif
