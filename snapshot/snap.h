/*
 * snapshot/snap.h - snapshots that outlive their process: the whole of it.
 *
 *      snap_open(&options, &snap);
 *      snap_protect(snap, "weights", weights, bytes, SNAP_REPLICATED);
 *      snap_restore(snap, NULL, 0, &from);         from.version 0: nothing there, start anew
 *      for (step = from.version + 1; ...; step++) {
 *          compute gradients
 *          snap_fence(snap);                       the copy must be out of the way
 *          update weights
 *          snap_begin(snap, step);                 returns at once
 *      }
 *      snap_close(snap, SNAP_FINISHED);
 *
 * While the next step computes, a worker thread copies this rank's part of the state into
 * shared memory, hashes it, codes it over the group of ranks and commits it
 * (snap_layout.h, snap_slot.h). Whatever kills processes, the files in `folder` stay; the same
 * program started again finds them, makes good what was lost, and goes on from the newest
 * version that all groups have. With a keeper (keeper.h) that memory is made and looked after by
 * a process of its own on every node, which also writes checkpoints (snap_file(), snap_save()).
 *
 * Between snap_begin() and snap_fence() nobody may write to protected memory. On a device both are places
 * in the work of the calling thread's current stream (comm/device/device.h): the host waits for neither.
 *
 * Threads: one thread of each rank calls; the worker has groups of its own.
 */
#ifndef SNAPSHOT_SNAP_H
#define SNAPSHOT_SNAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "comm/device/device.h"
#include "comm/group/comm_group.h"

enum snap_kind {
    SNAP_REPLICATED, /* the same on all ranks: each keeps its 1/N */
    SNAP_PRIVATE,    /* this rank's alone */
};

struct snap_options {
    struct comm_group *world;     /* lent for snap_open() */
    const char *folder;           /* of this node, in memory; made if it is not there */
    struct hash job_key;          /* what tells this job's memory from another's */
    uint64_t domain;              /* failure domain of this node; 0: the node itself */
    int min_domains;              /* any so many must be covered, or snap_restore() refuses */
    int data_count, parity_count; /* k + m; 0 + 0: chosen by the number of nodes */
    bool lowers_code;             /* where there are too few nodes for k + m, as if it were 0 + 0 */
    int64_t deadline_ms;          /* of one wait for a peer */
    bool compare;                 /* replicas over the ranks, at every snapshot: see snap_begin() */
    struct device *device;        /* of snap_protect_device(), lent until the close; NULL: none */

    /* Starts of this job count up; memory that a later one has written is not touched. 0: not counted. */
    uint64_t incarnation;
    const char *incarnation_file; /* which begins with the number of the newest start; NULL: none */
    bool fences;                  /* whatever is left of earlier starts is ended, running or not */
    bool discards;                /* what is in memory is not wanted: removed instead of restored */

    const char *keeper_program; /* which, called with "keeper ...", is a keeper; NULL: none */
    int retain_s;               /* how long a keeper keeps the memory of a dead job */
    const char *
        output_dir; /* of checkpoints: absolute, made by rank 0, the same on all nodes; NULL: none */
    bool restores_disk;  /* what is newer there than in memory, or all there is, is restored */
    int64_t keep_count;  /* checkpoints that stay there */
    int64_t bytes_per_s; /* that a keeper writes at most; 0: no bound */
};

struct snap;

/* Collective. Errors: those of groups; ERR_CONFIG, ERR_IO, ERR_INVALID for the folder; ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err snap_open(const struct snap_options *options, struct snap **snap_out);

/*
 * Protects `bytes` bytes at `address`, which stay where they are until the close. All ranks
 * protect the same names in the same order, REPLICATED ones with the same size. Before
 * snap_restore(). Errors: ERR_INVALID for a name that is there, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_protect(struct snap *snap, const char *name, void *address,
                                     size_t bytes, enum snap_kind kind);

/* The same for memory of options.device. */
ERR_MUST_CHECK enum err snap_protect_device(struct snap *snap, const char *name, void *address,
                                            size_t bytes, enum snap_kind kind);

/*
 * Begins a file: what is protected REPLICATED from here on, up to the next call, is in that order
 * the file `name` of every checkpoint that keepers write. With pack_width > 0, the bytes of an
 * element, its parts are packed with zstd where that pays; snap_packs_read() puts them together.
 * What is PRIVATE goes to private-<rank>, without a call. Errors: ERR_INVALID for too
 * many files.
 */
ERR_MUST_CHECK enum err snap_file(struct snap *snap, const char *name, uint32_t pack_width);

/* Where a state came from. */
enum snap_source {
    SNAP_FROM_NOTHING, /* there is none: start anew */
    SNAP_FROM_MEMORY,  /* all members had what they kept */
    SNAP_FROM_REBUILT, /* some of it was lost or damaged, and made good */
    SNAP_FROM_DISK,    /* the newest valid checkpoint */
};

struct snap_restored {
    enum snap_source source;
    uint64_t version; /* 0 with nothing */
    int members_lost; /* whose memory was gone */
    int rows_rebuilt; /* segments made good, of all members */
};

/*
 * Finds the newest version that can be had, puts it into the protected memory of all ranks, and
 * makes this job's memory ready for more. `set_aside` [count] are versions to be taken only if
 * there is no other. Collective. Errors: ERR_BEYOND_REPAIR if there are snapshots and none can be
 * had; ERR_CONFIG if the layout cannot be met or covers fewer domains than asked for, private ranges
 * do not fit the number of ranks, or another start of this job runs or has run since;
 * ERR_NO_MEMORY, those of groups.
 */
ERR_MUST_CHECK enum err snap_restore(struct snap *snap, const uint64_t set_aside[],
                                     int set_aside_count, struct snap_restored *restored_out);

/* In words, whose loss is certain to be survived: "any 2 of 6 nodes; any 1 of 3 domains". After restore. */
const char *snap_guarantee(const struct snap *snap);

/* Bytes of memory that this node needs for its ranks: two versions and their parity. After restore. */
uint64_t snap_node_bytes(const struct snap *snap);

/*
 * Asks for a snapshot of the protected memory as it is now, as `version`, larger than any
 * before; all ranks do, in the same order. Returns at once. If the one before is still under way
 * on any rank, this one is skipped on all, and counted. Errors: what stopped the worker.
 *
 * With options.compare each rank also hashes all of its replicated memory. If ranks differ, the
 * version is refused on all of them, the one before it stays, and the worker stops with
 * ERR_DIFFERS, which names the ranks that differ from the majority, and the ranges. What went
 * wrong on all ranks alike, memory of a device that is no CPU, and private memory, is not seen. Cost: before snap_fence() returns, one
 * reading pass over the replicated memory on every rank; on one core of an AMD EPYC by itself
 * 19 GB/s, beside 13 GB/s of memcpy() there. Ranks of one machine share its bandwidth.
 */
ERR_MUST_CHECK enum err snap_begin(struct snap *snap, uint64_t version);

/*
 * The same, and keepers write that version to disk in the background once it is committed, as
 * OUT/checkpoint-<version> (snap_disk.h). Waits for the snapshot before it, so that it is not
 * skipped. Not without a keeper, an output_dir and a snap_file(). What becomes of it is told in the
 * statistics of rank 0. Errors: the same.
 */
ERR_MUST_CHECK enum err snap_save(struct snap *snap, uint64_t version);

/* Waits until all that was begun is committed or skipped, and what was to be saved is, or has failed. */
ERR_MUST_CHECK enum err snap_wait_saved(struct snap *snap, int64_t deadline_ms);

/* Waits until the copy is made: from then on protected memory may be written. Errors: the same. */
ERR_MUST_CHECK enum err snap_fence(struct snap *snap);

/* Waits until all that was begun is committed or skipped. Errors: the same. */
ERR_MUST_CHECK enum err snap_wait(struct snap *snap);

struct snap_statistics {
    int64_t begun, committed, skipped;
    int64_t refused;           /* since ranks differed */
    uint64_t newest_committed; /* version */
    double stall_s;            /* that snap_begin() and snap_fence() took, in all */
    double copy_s, encode_s;   /* of the worker, in all */
    double compare_s;          /* of copy_s, hashing the replicated memory */
    double lag_s;              /* from snap_begin() to the commit, of the newest */
    int64_t copied_bytes;

    /* Of rank 0: */
    int64_t saves_begun, saved, saves_failed;
    uint64_t newest_saved; /* version */
    double save_s;         /* that the newest took from its commit on, in the background */
    int64_t saved_bytes;   /* of it */
    uint64_t failed_save;  /* version of the last that failed */
    char failure[256];     /* why */
};

struct snap_statistics snap_statistics(struct snap *snap);

enum snap_end { SNAP_FINISHED, SNAP_INTERRUPTED };

/*
 * Ends the worker after what it is doing. FINISHED, collective: the memory is of no more use and is
 * removed. INTERRUPTED: it stays for the next start. NULL is allowed.
 */
void snap_close(struct snap *snap, enum snap_end end);

#endif
