/*
 * comm/group/comm_message.h - messages between two ranks of a group, under way while the caller
 * does something else.
 *
 * Messages from one rank to another with the same tag arrive in the order they were sent, and
 * meet receives in the order these were begun. Progress is made in _poll() and _wait() only.
 * The bytes belong to the message until it is done; after a failure (the group is broken) a late
 * message may still be written to them, so they must outlive the process's use of the group.
 *
 * Threads: the group's.
 */
#ifndef COMM_GROUP_COMM_MESSAGE_H
#define COMM_GROUP_COMM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

enum {
    COMM_MESSAGE_BYTES_MAX = 1 << 30,
    COMM_MESSAGE_TAGS = 1024, /* 0 .. that - 1 */
};

/* One message under way. Zero is "none"; `handle` is the implementation's. */
struct comm_request {
    uintptr_t handle[4];
    bool active;
};

/* To or from a rank, this one included. Errors: ERR_COLLECTIVE. */
ERR_MUST_CHECK enum err comm_message_send(struct comm_group *group, int to, int tag,
                                          const void *bytes, size_t count,
                                          struct comm_request *request);
ERR_MUST_CHECK enum err comm_message_receive(struct comm_group *group, int from, int tag,
                                             void *bytes, size_t count,
                                             struct comm_request *request);

/* Moves requests on, and tells whether all are done. Errors: ERR_COLLECTIVE. */
ERR_MUST_CHECK enum err comm_message_poll(struct comm_group *group, struct comm_request requests[],
                                          int request_count, bool *done_out);

/* Until all are done. Errors: ERR_TIMEOUT, ERR_COLLECTIVE. */
ERR_MUST_CHECK enum err comm_message_wait(struct comm_group *group, struct comm_request requests[],
                                          int request_count, int64_t deadline_ms);

#endif
