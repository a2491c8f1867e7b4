/*
 * launch/supervisor/supervisor_policy.h - what a supervisor does about what happens to its job:
 * (state, event) -> (state, actions), a pure function. Time is a number in the event; processes,
 * files and clocks are the caller's, who does the actions in their order.
 *
 *                 LAUNCH                    KILL
 *      IDLE ---------------> RUNNING ---------------> KILLING
 *                             ^   |  FORWARD            ^  |
 *                             |   +-------> HALTING ----+  |
 *                      LAUNCH |                |           |
 *                          WAITING <--- the job is over ---+---> OVER (FINISH)
 *
 * What decides whether a job that is over is started again:
 *
 *      0                          done
 *      75, or it was asked to     halted: the caller requeues
 *      2 65 66 74 78 93, 127      never: the same command would fail again
 *      76                         memory is beyond repair, and nothing is on disk: when a node is back, for
 *                                 it may have what is missing; never, if none is gone
 *      any other code, a signal,  again, on the nodes that are left, after a back-off that doubles with
 *      a hang, a lost node        every start that kept no new step; unless the hour's restarts are used
 *                                 up, or so many starts in a row kept no new step
 *
 * A step counts when it is kept: committed in memory or saved to disk.
 *
 * Threads: any; a state belongs to one.
 */
#ifndef LAUNCH_SUPERVISOR_POLICY_H
#define LAUNCH_SUPERVISOR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SUPERVISOR_NODES_MAX = 1024,
    SUPERVISOR_RESTARTS_MAX = 1000, /* of an hour */
    SUPERVISOR_ACTIONS_MAX = 3,
};

enum supervisor_phase {
    SUPERVISOR_IDLE,
    SUPERVISOR_RUNNING,
    SUPERVISOR_HALTING, /* the job runs, and was asked to come to an end */
    SUPERVISOR_KILLING, /* the job is being ended, and is not over yet */
    SUPERVISOR_WAITING, /* no job: for the back-off, or for nodes */
    SUPERVISOR_OVER,
    SUPERVISOR_PHASES,
};

enum supervisor_event_kind {
    SUPERVISOR_BEGINS,
    SUPERVISOR_REFUSED,   /* another supervisor has the run */
    SUPERVISOR_JOB_OVER,  /* code, signal; nothing of it runs any more */
    SUPERVISOR_HANGS,     /* the job makes no progress */
    SUPERVISOR_NODE_GONE, /* node */
    SUPERVISOR_NODE_BACK, /* node */
    SUPERVISOR_STEP_KEPT, /* step */
    SUPERVISOR_TIME,      /* nothing happened but that it is later */
    SUPERVISOR_SIGNAL,    /* signal, from the user or the scheduler */
    SUPERVISOR_EVENTS,
};

struct supervisor_event {
    enum supervisor_event_kind kind;
    int64_t now_ms;
    int code, signal; /* of the job: signal is 0 if it ended by itself */
    int node;
    int64_t step;
};

enum supervisor_action_kind {
    SUPERVISOR_SWEEP,   /* end what is left of earlier jobs, before anything else is done */
    SUPERVISOR_LAUNCH,  /* start the job on the nodes whose is_used is set */
    SUPERVISOR_KILL,    /* end the job, whatever it takes; its end is told by JOB_OVER */
    SUPERVISOR_FORWARD, /* ask the job to finish its step, save, and leave with 75 */
    SUPERVISOR_WAIT,    /* tell TIME at until_ms, or any time after */
    SUPERVISOR_FINISH,  /* leave, with `code` */
};

enum supervisor_verdict {
    SUPERVISOR_DONE,
    SUPERVISOR_HALTED,
    SUPERVISOR_LEFT, /* at once, at the user's second interrupt */
    SUPERVISOR_IS_REFUSED,
    SUPERVISOR_FAILED, /* a code that is never started again */
    SUPERVISOR_BEYOND_REPAIR,
    SUPERVISOR_NO_PROGRESS,
    SUPERVISOR_RESTARTS_USED_UP,
    SUPERVISOR_TOO_FEW_NODES,
};

struct supervisor_action {
    enum supervisor_action_kind kind;
    int64_t until_ms;
    int code;
    enum supervisor_verdict verdict;
};

struct supervisor_actions {
    struct supervisor_action list[SUPERVISOR_ACTIONS_MAX];
    int count;
};

struct supervisor_limits {
    int node_count;                     /* 1 .. SUPERVISOR_NODES_MAX, spares included */
    int nodes_wanted, nodes_min;        /* 1 <= min <= wanted <= node_count */
    int restarts_per_hour;              /* 0 .. SUPERVISOR_RESTARTS_MAX */
    int stalls_max;                     /* >= 1; starts in a row that keep no new step */
    int64_t backoff_ms, backoff_max_ms; /* after the first of them; at most */
    int64_t node_wait_ms; /* for nodes to come back, if fewer than nodes_min are left */
    int64_t grace_ms;     /* from FORWARD to KILL */
};

struct supervisor_state {
    struct supervisor_limits limits;
    enum supervisor_phase phase;
    uint64_t incarnation; /* of the newest start */
    bool fences;          /* that start may end whatever earlier ones left: it was not the first */
    bool is_gone[SUPERVISOR_NODES_MAX];
    bool is_used[SUPERVISOR_NODES_MAX]; /* by the newest start */
    bool has_kept_on
        [SUPERVISOR_NODES_MAX]; /* by the newest start that kept a step: its memory is there */

    int64_t kept;          /* newest step that was kept, of all starts; -1: none */
    bool has_kept;         /* a newer one by this start */
    int stalls;            /* starts in a row that kept none */
    bool was_killed;       /* this start, so its code tells nothing */
    bool is_asked;         /* to come to an end */
    int interrupts;        /* SIGINTs */
    bool waits_for_node;   /* in WAITING */
    bool is_beyond_repair; /* without the memory of nodes that are gone */
    int64_t until_ms;      /* HALTING: of the grace; WAITING: of the wait */

    int64_t restarts_ms[SUPERVISOR_RESTARTS_MAX]; /* when, a ring */
    int restart_count;                            /* of all */
};

/* `incarnation`: of the newest start that the run knows of; 0: none. `kept`: the newest step that is
 * on disk; -1: none. */
void supervisor_init(struct supervisor_state *state, const struct supervisor_limits *limits,
                     uint64_t incarnation, int64_t kept);

/* What to do about `event`. An event that means nothing in the state it finds changes nothing. */
void supervisor_decide(struct supervisor_state *state, const struct supervisor_event *event,
                       struct supervisor_actions *actions_out);

int supervisor_nodes_used(const struct supervisor_state *state);

/* Whether a job that ended by itself with `code` is never started again. */
bool supervisor_is_final(int code);

/* "no_progress" and the like, for files and scripts. */
const char *supervisor_verdict_name(enum supervisor_verdict verdict);

#endif
