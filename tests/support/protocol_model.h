/*
 * protocol_model.h - the snapshot protocol as a whole, without processes: snap_slot.h and
 * snap_recover.h, driven step by step by the members of a job.
 *
 * A world is the state of all members between two steps. From each, protocol_member_steps() and
 * protocol_job_steps() give the worlds that may come next, copy, seal, encode, commit, skip and
 * abort of a running job or the repair of one that recovers, and protocol_crash() what a crash
 * leaves. What has to hold in all of them is for the tests to say.
 */
#ifndef TESTS_SUPPORT_PROTOCOL_MODEL_H
#define TESTS_SUPPORT_PROTOCOL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/snap_layout.h"
#include "snapshot/snap_slot.h"

enum { PROTOCOL_MEMBERS_MAX = 32 };

/* When a member takes a version for committed. Only the first one is right. */
enum protocol_rule {
    PROTOCOL_JOB_WIDE,  /* every member of the job is ENCODED in it */
    PROTOCOL_OWN_GROUP, /* every member of its group is */
    PROTOCOL_OWN_WORD,  /* it is */
    PROTOCOL_RULES,
};

struct protocol_member {
    struct snap_slots slots;
    int seen;        /* the newest version it was asked for */
    bool is_rebuilt; /* its rows of the target come from the others */
    bool is_lost;    /* its memory was lost, and the job is not wholly protected again */
};

struct protocol_world {
    int decided; /* the newest version that all members were ENCODED in */
    int target;  /* 0: running; else recovering to it */
    struct protocol_member members[PROTOCOL_MEMBERS_MAX]; /* as many as the layout has ranks */
};

struct protocol {
    struct snap_layout *layout;
    enum protocol_rule rule;
    int last_version; /* none after it is asked for; the user may change it at any time */
};

/* A job of that many members in groups of k + m. End it with protocol_close(). */
void protocol_open(struct protocol *protocol, int member_count, int k, int m,
                   enum protocol_rule rule);
void protocol_close(struct protocol *protocol);

/* Version 1 is COMMITTED everywhere. Bytes that are not used are 0. */
void protocol_begin(const struct protocol *protocol, struct protocol_world *world_out);

/* The bytes of a world that are used: two that agree in them are the same. */
size_t protocol_world_bytes(const struct protocol *protocol);

typedef void (*protocol_found_fn)(void *context, const struct protocol_world *next);

/* All worlds to which one step of member `i` leads; `next` is lent for the call. */
void protocol_member_steps(const struct protocol *protocol, const struct protocol_world *world,
                           int i, protocol_found_fn found, void *context);

/* The same for steps of the job as a whole: everybody is ENCODED, a recovery is finished. */
void protocol_job_steps(const struct protocol *protocol, const struct protocol_world *world,
                        protocol_found_fn found, void *context);

/* Whether the parity covers the loss of these members (bit i) beside what is not mended yet. */
bool protocol_is_covered(const struct protocol *protocol, const struct protocol_world *world,
                         uint64_t lost);

/* What the survivors would choose if these members were lost now; 0: nothing is left. */
int protocol_choose(const struct protocol *protocol, const struct protocol_world *world,
                    uint64_t lost);

/* All processes die, the memory of these members goes, and the others begin to recover. */
void protocol_crash(const struct protocol *protocol, uint64_t lost, int target,
                    struct protocol_world *world);

/* To stderr. */
void protocol_describe(const struct protocol *protocol, const struct protocol_world *world);

#endif
