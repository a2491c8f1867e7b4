/*
 * comm/group/comm_transport_priv.h - what an implementation of groups provides.
 *
 * Three non-blocking operations carry every collective of this folder: messages
 * between two ranks arrive in the order sent, per tag.
 */
#ifndef COMM_GROUP_COMM_TRANSPORT_PRIV_H
#define COMM_GROUP_COMM_TRANSPORT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/group/comm_group.h"
#include "comm/group/comm_message.h"

enum {
    COMM_TAG_COLLECTIVE = 0,
    COMM_TAG_REDUCE = 1,     /* and upwards: one tag a bucket */
    COMM_TAG_MESSAGE = 2048, /* and upwards: the tags of comm_message.h */
};

struct comm_transport {
    /* count <= COMM_MESSAGE_BYTES_MAX; the bytes stay the operation's until it is done. */
    enum err (*send)(struct comm_group *group, int to, int tag, const void *bytes, size_t count,
                     struct comm_request *request);
    enum err (*receive)(struct comm_group *group, int from, int tag, void *bytes, size_t count,
                        struct comm_request *request);
    /* The library's own sum over all ranks; NULL if it has none. */
    enum err (*sum_f32)(struct comm_group *group, float *values, size_t count,
                        struct comm_request *request);
    /* Clears request->active once it is done. Never waits. */
    enum err (*test)(struct comm_group *group, struct comm_request *request);
    enum err (*duplicate)(struct comm_group *group, struct comm_group **copy_out);
    void (*close)(struct comm_group *group);
};

/* The first member of every implementation's own struct. */
struct comm_group {
    const struct comm_transport *transport;
    int rank, size, local_rank, local_size;
    bool broken;
    uint64_t operations; /* started on this group; names one in messages */
    const char *launcher;
};

/* Errors unless the group is whole; counts the operation. */
ERR_MUST_CHECK enum err comm_begin(struct comm_group *group, const char *operation);

/* Drives the requests to their end, or breaks the group at `end_ms` (clock_now_ms()). */
ERR_MUST_CHECK enum err comm_wait(struct comm_group *group, struct comm_request *requests,
                                  int request_count, int64_t end_ms, const char *operation);

#endif
