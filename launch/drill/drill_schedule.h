/*
 * launch/drill/drill_schedule.h - which faults a drill injects: pure functions.
 *
 * Threads: any.
 */
#ifndef LAUNCH_DRILL_DRILL_SCHEDULE_H
#define LAUNCH_DRILL_DRILL_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/drill/drill_fault.h"

enum { DRILL_CASE_FAULTS_MAX = 2000 };

/* What happens in one run. */
struct drill_case {
    char name[DRILL_FAULT_BYTES]; /* of its folder */
    struct drill_fault *faults;   /* in the order of their steps; owned by the list */
    int count;
    bool draws; /* numbers of nodes are drawn: of those that the job is on at the time */
};

/* A growing list of cases; release it. */
struct drill_cases {
    struct drill_case *cases;
    int count;
};

void drill_cases_release(struct drill_cases *cases);

/* Adds a run with `count` faults; a name that is taken gets a number. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err drill_cases_add(struct drill_cases *cases, const char *name,
                                        const struct drill_fault *faults, int count);

/* Ranks, and nodes without spares. */
struct drill_size {
    int ranks, nodes;
    bool is_virtual; /* nodes can lose power, and launch and keepers are not to be touched */
};

/*
 * Every point x {rank, keeper, node}, each a run. Without `every_victim` one number of each kind is
 * enough. Points of a recovery are preceded by what causes one. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err drill_schedule_matrix(struct drill_size size, bool every_victim,
                                              struct drill_cases *cases);

/*
 * One run with `count` faults at steps of [2, last_step]: a Poisson process in which that many
 * fell into the run, that is, steps drawn uniformly, and sorted. Actions and victims are uniform,
 * too. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err drill_schedule_random(struct drill_size size, uint64_t seed, int count,
                                              int64_t last_step, struct drill_cases *cases);

#endif
