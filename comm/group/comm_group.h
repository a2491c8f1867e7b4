/*
 * comm/group/comm_group.h - ranks that move data between them, every wait with a deadline.
 *
 * A group is a fixed set of ranks. Every rank calls the same operations on it in
 * the same order. Ranks can disagree on the outcome: where one timed out, a late one
 * may still succeed. So a success here commits nothing; a step counts once the group
 * has agreed on it. After a failure the group is broken on this rank and each later
 * call returns ERR_COLLECTIVE at once. There is no retry inside a group.
 *
 * Implementations behind this header: comm_mpi.c (processes under mpirun or srun, and
 * the single process that nobody launched) and comm_local.c (threads of one process,
 * for tests).
 *
 * Threads: a group belongs to the thread that uses it first. Traffic that must not
 * wait for other traffic gets a group of its own: comm_duplicate().
 */
#ifndef COMM_GROUP_COMM_GROUP_H
#define COMM_GROUP_COMM_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

struct comm_group;

/*
 * Joins the job this process was launched in. Under mpirun, or srun with PMIx, that is
 * MPI's world, where MPI may already be initialized; without a launcher it is one rank,
 * and MPI is not touched.
 *
 * Errors: ERR_USAGE when launcher and library disagree - N copies of a one-rank job,
 * which is what a foreign mpirun or `srun --mpi=none` makes of it, or an MPI without
 * MPI_THREAD_MULTIPLE; ERR_COLLECTIVE if MPI reports an error.
 */
ERR_MUST_CHECK enum err comm_start(struct comm_group **world_out);

/* Leaves the job. Collective when `all_well`; else MPI is left to the launcher's clean-up. */
void comm_stop(struct comm_group *world, int all_well);

/* Ends all ranks of the job with `exit_code`, without waiting for any. Does not return. */
_Noreturn void comm_abort(struct comm_group *world, int exit_code);

/* A group of the same ranks with traffic of its own. Collective. Errors: as comm_start(). */
ERR_MUST_CHECK enum err comm_duplicate(struct comm_group *group, struct comm_group **copy_out);

/* Local: waits for nobody, and leaves the communicator to comm_stop(). NULL is allowed. */
void comm_close(struct comm_group *group);

int comm_rank(const struct comm_group *group); /* 0 .. comm_size() - 1 */
int comm_size(const struct comm_group *group); /* >= 1 */
int comm_local_rank(
    const struct comm_group *group); /* among the ranks of this host; 0 if unknown */
int comm_local_size(const struct comm_group *group);       /* ranks of this host; 1 if unknown */
const char *comm_launcher(const struct comm_group *group); /* "Open MPI 4.1.4", "none" */

/*
 * bytes [count] of rank `root` become those of every rank.
 * Errors: ERR_TIMEOUT, ERR_COLLECTIVE. Cost: log2(ranks) messages one after the other.
 */
ERR_MUST_CHECK enum err comm_broadcast(struct comm_group *group, void *bytes, size_t count,
                                       int root, int64_t deadline_ms);

/*
 * Block r of `blocks` [size, block_bytes] becomes that of rank r, on every rank. On
 * entry each rank has filled its own block. Errors: ERR_TIMEOUT, ERR_COLLECTIVE.
 * Cost: size - 1 blocks sent and received by each rank, in a ring.
 */
ERR_MUST_CHECK enum err comm_allgather(struct comm_group *group, void *blocks, size_t block_bytes,
                                       int64_t deadline_ms);

/*
 * The largest `value` of all ranks, on every rank; with value 0 it is a barrier.
 * Errors: ERR_TIMEOUT, ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err comm_agree_max(struct comm_group *group, int64_t value, int64_t deadline_ms,
                                       int64_t *max_out);

/*
 * The first rank whose `value` is not that of rank 0, on every rank; -1 if all have the same.
 * Errors: ERR_NO_MEMORY, ERR_TIMEOUT, ERR_COLLECTIVE.
 */
ERR_MUST_CHECK enum err comm_find_differing(struct comm_group *group, uint64_t value,
                                            int64_t deadline_ms, int *rank_out);

/* The rank its launcher's environment gives this process; 0 without a launcher. Needs no group. */
int comm_launched_rank(void);

#endif
