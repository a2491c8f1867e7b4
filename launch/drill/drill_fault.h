/*
 * launch/drill/drill_fault.h - what a drill does to a run, and when: texts of the command line.
 *
 *      --ACTION [VICTIM=NUMBER@]step=S           once step S is done
 *      --ACTION [VICTIM=NUMBER@]point=NAME[@rank=R][#HIT][+MS]
 *                          at a fault point, the HIT-th time (1) the victim, or rank R, comes by,
 *                          which is held there from MS milliseconds (0) before until it has happened
 *
 * Ranks are counted from 0; node 1 is the host n1, keeper 1 the keeper there.
 *
 * Threads: any.
 */
#ifndef LAUNCH_DRILL_DRILL_FAULT_H
#define LAUNCH_DRILL_DRILL_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/fault.h"

enum drill_action {
    DRILL_KILL,        /* SIGKILL; of a node: of all its processes, and its memory is gone */
    DRILL_STOP,        /* SIGSTOP of a rank */
    DRILL_CORRUPT,     /* flips bytes of a node's snapshots, and kills the ranks */
    DRILL_DROP_KEEPER, /* SIGKILL of a node's keeper */
    DRILL_FILL_DISK,   /* nothing can be written to output_dir for a while */
    DRILL_TERM,        /* SIGTERM to launch, which is started again */
    DRILL_SUPERVISOR,  /* SIGKILL to launch, which is started again */
    DRILL_ORPHAN,      /* stops a rank, kills all who know of it, and starts launch again */
    DRILL_POWER,       /* the virtual cluster: a node goes without a word */
    DRILL_CUT,         /* its cable */
    DRILL_FREEZE,      /* SIGSTOP of all its processes */
    DRILL_ACTIONS,
};

enum drill_victim { DRILL_RUN, DRILL_RANK, DRILL_NODE, DRILL_KEEPER, DRILL_VICTIMS };

struct drill_fault {
    enum drill_action action;
    enum drill_victim victim;
    int number;             /* of the victim; 0 with DRILL_RUN */
    int64_t step;           /* 0: at a point */
    enum fault_point point; /* FAULT_POINT_COUNT: at a step */
    int met_by; /* rank that comes by the point; -1: the victim, or one of its processes */
    int hit, after_ms;
};

enum { DRILL_FAULT_BYTES = 128, DRILL_NUMBER_MAX = 65535 };

const char *drill_action_name(enum drill_action action); /* as the option: "drop-keeper" */
const char *drill_action_help(enum drill_action action); /* what it does, in a line */
const char *drill_action_form(enum drill_action action); /* "rank|node|keeper=N@step=S" */

/*
 * `text` after --ACTION. Errors: ERR_USAGE, saying what is expected in place of what is there.
 */
ERR_MUST_CHECK enum err drill_fault_parse(enum drill_action action, const char *text,
                                          struct drill_fault *fault_out);

/* The option that means this fault: "--kill rank=3@step=120". */
void drill_fault_text(const struct drill_fault *fault, char text[DRILL_FAULT_BYTES]);

/* The same as the name of a folder: "kill-rank-3-step-120". */
void drill_fault_name(const struct drill_fault *fault, char name[DRILL_FAULT_BYTES]);

/* Whether ranks are lost by it, and the job with them. */
bool drill_fault_loses_job(const struct drill_fault *fault);

/* Whether it needs a virtual cluster. */
bool drill_fault_is_virtual(const struct drill_fault *fault);

#endif
