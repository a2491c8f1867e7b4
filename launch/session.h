/*
 * launch/session.h - a process as one of the ranks of a command: it joins the job at the
 * start, and at the end all ranks agree on one verdict and one message.
 *
 * Threads: main's.
 */
#ifndef LAUNCH_SESSION_H
#define LAUNCH_SESSION_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

struct session {
    struct comm_group *world;
    struct comm_group *verdict; /* carries nothing but the verdict */
};

/*
 * Also arms the fault point that OFFRAMP_FAULT names (comm/base/fault.h). Errors: as
 * comm_start(); ERR_USAGE if OFFRAMP_FAULT is not understood or the build has no fault points.
 */
ERR_MUST_CHECK enum err session_open(struct session *session_out);

/*
 * Prints the error, if there is one, once for all ranks that share it; leaves the job,
 * and returns the exit code: the highest of all ranks. If the others do not come to the same end
 * within a few seconds, ends them.
 */
int session_close(struct session *session, enum err status);

bool session_is_first(const struct session *session); /* rank 0, which speaks for all */

#endif
