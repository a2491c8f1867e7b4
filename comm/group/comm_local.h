/*
 * comm/group/comm_local.h - a group whose ranks are threads of one process, for tests.
 *
 * Messages are copied into a mailbox when they are sent, so a send is done at once.
 * There is no library sum: COMM_REDUCE_LIBRARY is not available.
 *
 * Threads: comm_local_open() before the ranks start; each group it gives belongs to one
 * thread from then on; comm_local_close() after they have ended and closed theirs.
 */
#ifndef COMM_GROUP_COMM_LOCAL_H
#define COMM_GROUP_COMM_LOCAL_H

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

enum { COMM_LOCAL_RANKS_MAX = 64 };

struct comm_local;

/*
 * Makes the mailboxes and groups_out[0 .. rank_count - 1], one a rank, which the ranks
 * end with comm_close(). Errors: ERR_INVALID, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err comm_local_open(int rank_count, struct comm_group *groups_out[],
                                        struct comm_local **local_out);

/* Frees the mailboxes and what nobody received. NULL is allowed. */
void comm_local_close(struct comm_local *local);

#endif
