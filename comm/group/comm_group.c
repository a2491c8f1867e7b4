#include "comm/group/comm_group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/group/comm_transport_priv.h"

/* Polls before the first nap: a peer that is about to answer is worth a few microseconds. */
enum { POLLS_BEFORE_NAP = 200, NAP_US = 20 };

int comm_rank(const struct comm_group *group)
{
    return group->rank;
}

int comm_size(const struct comm_group *group)
{
    return group->size;
}

int comm_local_rank(const struct comm_group *group)
{
    return group->local_rank;
}

int comm_local_size(const struct comm_group *group)
{
    return group->local_size;
}

const char *comm_launcher(const struct comm_group *group)
{
    return group->launcher;
}

enum err comm_duplicate(struct comm_group *group, struct comm_group **copy_out)
{
    assert(group != NULL && copy_out != NULL);
    return group->transport->duplicate(group, copy_out);
}

void comm_close(struct comm_group *group)
{
    if (group != NULL) {
        group->transport->close(group);
    }
}

enum err comm_begin(struct comm_group *group, const char *operation)
{
    assert(group != NULL);
    if (group->broken) {
        return ERR_FAIL(ERR_COLLECTIVE, "%s on a broken group", operation);
    }
    group->operations++;
    return ERR_OK;
}

/* Tests all; done_out: none is active any more. */
static enum err poll(struct comm_group *group, struct comm_request *requests, int request_count,
                     bool *done_out)
{
    bool done = true;

    for (int i = 0; i < request_count; i++) {
        if (requests[i].active) {
            ERR_TRY(group->transport->test(group, &requests[i]));
        }
        done = done && !requests[i].active;
    }
    *done_out = done;
    return ERR_OK;
}

enum err comm_wait(struct comm_group *group, struct comm_request *requests, int request_count,
                   int64_t end_ms, const char *operation)
{
    for (int64_t polls = 0;; polls++) {
        bool done = true;
        ERR_TRY_AS(poll(group, requests, request_count, &done), "%s", operation);
        if (done) {
            return ERR_OK;
        }
        if (polls < POLLS_BEFORE_NAP) {
            continue;
        }
        if (clock_now_ms() >= end_ms) {
            /* A started operation may still write to its buffer: nothing more on this group. */
            group->broken = true;
            return ERR_FAIL(ERR_TIMEOUT, "%s #%" PRIu64 ": rank %d of %d waited in vain", operation,
                            group->operations, group->rank, group->size);
        }
        clock_nap_us(NAP_US);
    }
}

/* One message there and one back, in pieces that every transport can carry. */
static enum err exchange(struct comm_group *group, int to, const uint8_t *out, int from,
                         uint8_t *in, size_t count, int64_t end_ms, const char *operation)
{
    for (size_t at = 0; at < count; at += COMM_MESSAGE_BYTES_MAX) {
        const size_t left = count - at;
        const size_t piece = left < COMM_MESSAGE_BYTES_MAX ? left : COMM_MESSAGE_BYTES_MAX;
        struct comm_request requests[2] = {0};

        if (in != NULL) {
            ERR_TRY(group->transport->receive(group, from, COMM_TAG_COLLECTIVE, in + at, piece,
                                              &requests[0]));
        }
        if (out != NULL) {
            ERR_TRY(group->transport->send(group, to, COMM_TAG_COLLECTIVE, out + at, piece,
                                           &requests[1]));
        }
        ERR_TRY(comm_wait(group, requests, 2, end_ms, operation));
    }
    return ERR_OK;
}

/* A binomial tree: in the round of distance d, every rank below d that has the bytes sends. */
enum err comm_broadcast(struct comm_group *group, void *bytes, size_t count, int root,
                        int64_t deadline_ms)
{
    static const char operation[] = "broadcast";
    const int64_t end_ms = clock_now_ms() + deadline_ms;

    ERR_TRY(comm_begin(group, operation));
    assert(root >= 0 && root < group->size);
    const int place = (group->rank - root + group->size) % group->size;
    for (int distance = 1; distance < group->size; distance *= 2) {
        if (place < distance && place + distance < group->size) {
            const int to = (place + distance + root) % group->size;
            ERR_TRY(exchange(group, to, bytes, -1, NULL, count, end_ms, operation));
        } else if (place >= distance && place < 2 * distance) {
            const int from = (place - distance + root) % group->size;
            ERR_TRY(exchange(group, -1, NULL, from, bytes, count, end_ms, operation));
        }
    }
    return ERR_OK;
}

enum err comm_allgather(struct comm_group *group, void *blocks, size_t block_bytes,
                        int64_t deadline_ms)
{
    static const char operation[] = "allgather";
    const int64_t end_ms = clock_now_ms() + deadline_ms;
    uint8_t *const base = blocks;

    ERR_TRY(comm_begin(group, operation));
    const int size = group->size;
    const int next = (group->rank + 1) % size;
    const int previous = (group->rank + size - 1) % size;
    for (int round = 0; round < size - 1; round++) {
        const int mine = (group->rank - round + size) % size;
        const int theirs = (previous - round + size) % size;
        ERR_TRY(exchange(group, next, base + (size_t)mine * block_bytes, previous,
                         base + (size_t)theirs * block_bytes, block_bytes, end_ms, operation));
    }
    return ERR_OK;
}

/* The values of all ranks. The caller frees *values_out. */
static enum err gather(struct comm_group *group, int64_t value, int64_t deadline_ms,
                       int64_t **values_out)
{
    int64_t *values = calloc((size_t)group->size, sizeof(*values));

    if (values == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d values", group->size);
    }
    values[group->rank] = value;
    const enum err status = comm_allgather(group, values, sizeof(*values), deadline_ms);
    if (status != ERR_OK) {
        free(values);
        return status;
    }
    *values_out = values;
    return ERR_OK;
}

enum err comm_agree_max(struct comm_group *group, int64_t value, int64_t deadline_ms,
                        int64_t *max_out)
{
    int64_t *values = NULL;
    int64_t max = value;

    ERR_TRY(gather(group, value, deadline_ms, &values));
    for (int rank = 0; rank < group->size; rank++) {
        max = values[rank] > max ? values[rank] : max;
    }
    free(values);
    *max_out = max;
    return ERR_OK;
}

enum err comm_find_differing(struct comm_group *group, uint64_t value, int64_t deadline_ms,
                             int *rank_out)
{
    int64_t *values = NULL;
    int rank = 1;

    ERR_TRY(gather(group, (int64_t)value, deadline_ms, &values));
    while (rank < group->size && values[rank] == values[0]) {
        rank++;
    }
    free(values);
    *rank_out = rank < group->size ? rank : -1;
    return ERR_OK;
}

enum err comm_message_send(struct comm_group *group, int to, int tag, const void *bytes,
                           size_t count, struct comm_request *request)
{
    assert(tag >= 0 && tag < COMM_MESSAGE_TAGS);
    assert(count <= COMM_MESSAGE_BYTES_MAX);
    ERR_TRY(comm_begin(group, "send"));
    return group->transport->send(group, to, COMM_TAG_MESSAGE + tag, bytes, count, request);
}

enum err comm_message_receive(struct comm_group *group, int from, int tag, void *bytes,
                              size_t count, struct comm_request *request)
{
    assert(tag >= 0 && tag < COMM_MESSAGE_TAGS);
    assert(count <= COMM_MESSAGE_BYTES_MAX);
    ERR_TRY(comm_begin(group, "receive"));
    return group->transport->receive(group, from, COMM_TAG_MESSAGE + tag, bytes, count, request);
}

enum err comm_message_poll(struct comm_group *group, struct comm_request requests[],
                           int request_count, bool *done_out)
{
    return poll(group, requests, request_count, done_out);
}

enum err comm_message_wait(struct comm_group *group, struct comm_request requests[],
                           int request_count, int64_t deadline_ms)
{
    return comm_wait(group, requests, request_count, clock_now_ms() + deadline_ms, "message");
}
