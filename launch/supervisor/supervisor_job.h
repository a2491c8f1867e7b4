/*
 * launch/supervisor/supervisor_job.h - one start of the ranks under mpirun: started, looked at,
 * ended. Nothing here waits: the caller polls, and everything that may hang has a deadline.
 *
 *      mpirun                a process group of its own, that ends when the supervisor does
 *      its output            passed on as it comes
 *      ranks of this node    known by the pages they tell their progress in (progress.h)
 *
 * Deadlines: mpirun that has no child any more, on a single node, is killed after a second (Open MPI
 * 4.1.4 may wait for a lock forever when a rank was killed while it was being connected; on several
 * nodes it never has one, since its daemons detach themselves); a job of which one rank
 * died, five seconds later; what is left of a job that is over, at once.
 *
 * Threads: one.
 */
#ifndef LAUNCH_SUPERVISOR_JOB_H
#define LAUNCH_SUPERVISOR_JOB_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "launch/progress.h"
#include "launch/supervisor/supervisor_output.h"

struct job_options {
    int rank_count;
    const char *const *mpirun; /* the command before that of the ranks, NULL-terminated */
    const char *const *ranks;  /* that of the ranks, NULL-terminated */
    const char *folder;        /* of their pages on every node */
    uint64_t incarnation;      /* 0: none is given */
    bool is_spread;            /* over several nodes */
};

/* How a job came to its end. */
struct job_end {
    int code, signal; /* of the job as a whole; signal is 0 if it ended by itself */
    int rank;         /* the first that failed; -1: not known */
    char host[256];
    int rank_signal;          /* that ended it; 0: none; -1: one that is not known */
    struct progress progress; /* what it told last; process 0: nothing */
    char line[OUTPUT_LINE_BYTES];
    bool mpirun_hung;
};

struct job;

/* Removes the pages that are in the folder. Errors: ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err job_start(const struct job_options *options, struct job **job_out);

/* Kills what still runs, without a wait. NULL is allowed. */
void job_close(struct job *job);

/* What wakes the caller: fills `polls` of `room`, and returns how many. */
int job_polls(const struct job *job, struct pollfd *polls, int room);

/* Does what there is to do at now_ms. Calls for the next look are 20 ms apart, or a poll's. */
void job_look(struct job *job, int64_t now_ms);

/* Nothing of it runs any more on this node, and all it said has been passed on. */
bool job_is_over(const struct job *job);

void job_end_of(const struct job *job, struct job_end *end_out); /* after that */

/* Begins to end it, by force. */
void job_kill(struct job *job, int64_t now_ms);

/* SIGUSR1 to mpirun, which forwards it to all ranks. */
void job_forward(struct job *job);

/*
 * What a rank of another node told; `host` is lent for as long as the job is there. What one of an earlier
 * start told, whose page lies there until its successor has one, is not taken.
 */
void job_told(struct job *job, int rank, const char *host, const struct progress *progress);

/* Of rank 0 .. rank_count - 1. False: it has told nothing yet. */
bool job_progress(const struct job *job, int rank, struct progress *progress_out);

/* A rank of this node is dead that had not left by itself with 0; -1: none. */
int job_dead_rank(const struct job *job);

/* The rank that holds the others up: the one that is stopped, else the one behind; -1: not known. */
int job_slowest(const struct job *job);
const char *job_host(const struct job *job, int rank); /* NULL: this node */
int job_rank_count(const struct job *job);

/* Kills the processes of pages in `folder`, which an earlier supervisor left, and removes it. */
int job_sweep(const char *folder);

#endif
