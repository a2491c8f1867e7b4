/* snapshot/snap_priv.h - what the files of snap.h share. */
#ifndef SNAPSHOT_SNAP_PRIV_H
#define SNAPSHOT_SNAP_PRIV_H

#include <pthread.h>

#include "snapshot/snap.h"
#include "snapshot/snap_area.h"
#include "snapshot/snap_device.h"
#include "snapshot/snap_plan.h"

enum { SNAP_NAME_BYTES = 128, SNAP_QUEUE_MAX = 64 };

struct snap_range {
    char name[SNAP_NAME_BYTES];
    uint8_t *address;
    size_t bytes;
    enum snap_kind kind;
    bool is_on_device;
    struct hash hash; /* of the version under way; the worker's */
};

/* What snap_begin() hands to the worker. */
struct snap_request {
    uint64_t version;
    int64_t begun_ns;
    bool skips; /* the one before was under way: all ranks are to hear of it */
    bool saves; /* once committed it goes to disk */
};

struct snap {
    struct snap_options options; /* without the world */
    char *folder, *keeper_program;
    struct comm_group *control;   /* restore, then the worker: agreement on versions */
    struct comm_group *transfers; /* likewise: rows */
    struct snap_range *ranges;
    int range_count, range_capacity;
    char guarantee[160];
    uint64_t node_bytes;
    struct snap_plan plan; /* its files so far */
    struct snap_claim claim;
    struct snap_keeper *keeper; /* restore's, then the worker's, then whoever closes; NULL: none */

    struct snap_place *places; /* [size] of all ranks */
    struct snap_layout *layout;
    struct snap_area *area; /* this rank's, under that layout */
    struct snap_rows *rows; /* [size], this rank's filled in */
    int *host_of;           /* [size], the identity */
    struct snap_transfer *encode;
    struct snap_device *device; /* NULL: all is on the host */

    pthread_t worker;
    bool is_running;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct snap_request queue[SNAP_QUEUE_MAX]; /* begun and not taken up */
    int queue_count;
    bool must_copy; /* a version that was begun is not copied yet */
    bool is_busy;   /* the worker has taken up a request */
    bool ends;
    enum err status;
    char message[512];
    struct snap_statistics statistics;
    uint64_t first_save; /* version, if any save was begun */
};

/* The replicated bytes [at, at + bytes) of the state, or this rank's private ones, in pieces. */
/*
 * From protected memory, and into it. What comes from a device may still be on its way; what goes there has
 * arrived. Errors: ERR_TIMEOUT, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err snap_gather(const struct snap *snap, enum snap_kind kind, uint64_t at,
                                    uint8_t *to, uint64_t bytes);
ERR_MUST_CHECK enum err snap_scatter(struct snap *snap, enum snap_kind kind, uint64_t at,
                                     const uint8_t *from, uint64_t bytes);
/* Where such bytes lie, if it is in one piece of host memory; else NULL. */
const uint8_t *snap_contiguous(const struct snap *snap, enum snap_kind kind, uint64_t at,
                               uint64_t bytes);
uint64_t snap_bytes_of(const struct snap *snap, enum snap_kind kind);

/* Of what all ranks must protect alike: names, kinds and order, and sizes of replicated ranges. */
struct hash snap_ranges_hash(const struct snap *snap);

/*
 * One snapshot from beginning to end, by whoever owns the groups: the worker, or restore.
 * *committed_out tells whether it was committed, on all ranks, or skipped.
 */
ERR_MUST_CHECK enum err snap_take(struct snap *snap, const struct snap_request *request,
                                  bool *committed_out);

/* Takes what the keeper has to tell into the statistics, waiting for it up to `wait_ms`. */
void snap_hear_keeper(struct snap *snap, int64_t wait_ms);

/* Starts and ends the worker thread. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err snap_worker_start(struct snap *snap);
void snap_worker_stop(struct snap *snap);

#endif
