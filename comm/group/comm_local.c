#include "comm/group/comm_local.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_transport_priv.h"

struct message {
    struct message *next;
    int from, to, tag, channel;
    size_t count;
    uint8_t bytes[];
};

struct comm_local {
    int size;
    /* Guards what follows; every rank takes it for each operation. */
    pthread_mutex_t mutex;
    struct message *first, **last; /* in the order sent */
};

struct local_group {
    struct comm_group base;
    struct comm_local *local;
    int channel;    /* tells a group's messages from its duplicates' */
    int duplicates; /* made so far: the same count on every rank */
};

static struct local_group *of(struct comm_group *group)
{
    return (struct local_group *)group;
}

static enum err local_send(struct comm_group *group, int to, int tag, const void *bytes,
                           size_t count, struct comm_request *request)
{
    struct comm_local *local = of(group)->local;
    struct message *message = malloc(sizeof(*message) + count);

    if (message == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a message of %zu bytes", count);
    }
    *message = (struct message){NULL, group->rank, to, tag, of(group)->channel, count};
    if (count > 0) {
        memcpy(message->bytes, bytes, count);
    }
    pthread_mutex_lock(&local->mutex);
    *local->last = message;
    local->last = &message->next;
    pthread_mutex_unlock(&local->mutex);
    request->active = false;
    return ERR_OK;
}

static enum err local_receive(struct comm_group *group, int from, int tag, void *bytes,
                              size_t count, struct comm_request *request)
{
    assert(from >= 0 && from < group->size);
    request->handle[0] = (uintptr_t)from;
    request->handle[1] = (uintptr_t)tag;
    request->handle[2] = (uintptr_t)bytes;
    request->handle[3] = (uintptr_t)count;
    request->active = true;
    return ERR_OK;
}

/* Takes the oldest message that fits the request out of the mailbox; NULL if there is none. */
static struct message *take(struct comm_group *group, const struct comm_request *request)
{
    struct comm_local *local = of(group)->local;
    struct message *found = NULL;

    pthread_mutex_lock(&local->mutex);
    for (struct message **link = &local->first; *link != NULL; link = &(*link)->next) {
        struct message *message = *link;
        if (message->to == group->rank && message->channel == of(group)->channel &&
            (uintptr_t)message->from == request->handle[0] &&
            (uintptr_t)message->tag == request->handle[1]) {
            *link = message->next;
            if (local->last == &message->next) {
                local->last = link;
            }
            found = message;
            break;
        }
    }
    pthread_mutex_unlock(&local->mutex);
    return found;
}

static enum err local_test(struct comm_group *group, struct comm_request *request)
{
    struct message *message = take(group, request);

    if (message == NULL) {
        return ERR_OK;
    }
    assert(message->count == request->handle[3]);
    if (message->count > 0) {
        memcpy((void *)request->handle[2], message->bytes, message->count);
    }
    free(message);
    request->active = false;
    return ERR_OK;
}

static enum err local_duplicate(struct comm_group *group, struct comm_group **copy_out)
{
    enum { DUPLICATES_MAX = 64 };
    struct local_group *copy = malloc(sizeof(*copy));

    if (copy == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a group");
    }
    *copy = *of(group);
    of(group)->duplicates++;
    assert(of(group)->duplicates < DUPLICATES_MAX);
    copy->channel = copy->channel * DUPLICATES_MAX + of(group)->duplicates;
    copy->duplicates = 0;
    *copy_out = &copy->base;
    return ERR_OK;
}

static void local_close(struct comm_group *group)
{
    free(group);
}

static const struct comm_transport local_transport = {
    .send = local_send,
    .receive = local_receive,
    .test = local_test,
    .duplicate = local_duplicate,
    .close = local_close,
};

enum err comm_local_open(int rank_count, struct comm_group *groups_out[],
                         struct comm_local **local_out)
{
    if (rank_count < 1 || rank_count > COMM_LOCAL_RANKS_MAX) {
        return ERR_FAIL(ERR_INVALID, "%d ranks, 1 to %d are possible", rank_count,
                        COMM_LOCAL_RANKS_MAX);
    }
    struct comm_local *local = calloc(1, sizeof(*local));
    if (local == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "mailboxes");
    }
    local->size = rank_count;
    local->last = &local->first;
    pthread_mutex_init(&local->mutex, NULL);
    for (int rank = 0; rank < rank_count; rank++) {
        struct local_group *group = calloc(1, sizeof(*group));
        if (group == NULL) {
            while (rank-- > 0) {
                free(groups_out[rank]);
            }
            comm_local_close(local);
            return ERR_FAIL(ERR_NO_MEMORY, "a group");
        }
        group->base = (struct comm_group){
            .transport = &local_transport, .rank = rank, .size = rank_count, .launcher = "threads"};
        group->base.local_rank = rank;
        group->base.local_size = rank_count;
        group->local = local;
        groups_out[rank] = &group->base;
    }
    *local_out = local;
    return ERR_OK;
}

void comm_local_close(struct comm_local *local)
{
    if (local == NULL) {
        return;
    }
    while (local->first != NULL) {
        struct message *message = local->first;
        local->first = message->next;
        free(message);
    }
    pthread_mutex_destroy(&local->mutex);
    free(local);
}
