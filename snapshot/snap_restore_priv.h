/*
 * snapshot/snap_restore_priv.h - one restore: what was found (snap_find.c), what is made of it
 * (snap_restore.c), and the memory that the job goes on with (snap_settle.c).
 */
#ifndef SNAPSHOT_SNAP_RESTORE_PRIV_H
#define SNAPSHOT_SNAP_RESTORE_PRIV_H

#include "snapshot/snap_priv.h"

/* What all ranks hear of one member's memory that one of them found. */
struct record {
    struct hash layout_hash;
    uint64_t terms_bytes, incarnation;
    struct snap_holding holdings[SNAP_SLOTS];
    struct hash data_roots[SNAP_SLOTS], job_roots[SNAP_SLOTS];
    bool has_roots[SNAP_SLOTS]; /* the roots of all members, as its job root says */
    int32_t member, host;       /* host: the rank that found it; member -1: no record */
};

/* One restore, on one rank. */
struct restore {
    struct snap *snap;
    int rank, size, local_index, local_count;
    struct snap_area **found; /* [found_count] of this rank */
    int found_count;
    struct record *records; /* [record_count] of all ranks */
    int record_count;

    bool at_home;               /* the version's memory lies where its ranks run now */
    struct snap_layout *layout; /* under which the chosen version was taken; NULL: nothing chosen */
    uint64_t version;
    struct snap_holding (*holdings)[SNAP_SLOTS]; /* [layout ranks] */
    int *host_of;                                /* [layout ranks] */
    struct snap_area **areas;                    /* [layout ranks] of members hosted here */
    struct snap_rows *rows;                      /* [layout ranks] likewise */
    struct hash *roots;                          /* [layout ranks] data roots of the version */
};

/*
 * Looks at the memory of this rank's node, verifies it, tells all ranks, and chooses the version to
 * go on with: fills all but the members' own memory. layout NULL: there is nothing. Collective.
 * Errors: ERR_BEYOND_REPAIR; ERR_CONFIG if another start of the job runs, or has run since; ERR_IO,
 * ERR_NO_MEMORY, those of groups.
 */
ERR_MUST_CHECK enum err snap_find(struct restore *restore, const uint64_t set_aside[],
                                  int set_aside_count);

/*
 * The newest valid checkpoint of the job's output_dir, if it is newer than what was found in memory;
 * else "". Collective. Errors: ERR_CORRUPT if there are some and none is valid; those of groups.
 */
ERR_MUST_CHECK enum err snap_load_choose(struct restore *restore,
                                         char folder_out[FILE_PATH_BYTES_MAX]);

/*
 * Loads it into protected memory; restore->version is its step then. On every rank. Errors:
 * ERR_CORRUPT if it has other sizes than what is protected; ERR_IO, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_load(struct restore *restore, const char *folder);

/* Closes a member's memory, if there is any, and removes its file. Errors: ERR_IO. */
ERR_MUST_CHECK enum err snap_remove_area(const struct restore *restore, struct snap_area **area);

/*
 * The layout that the job goes on with, a keeper for its memory, and what encodes it. Collective.
 * Errors: ERR_CONFIG; ERR_NO_MEMORY if the node has not enough of it; ERR_IO, those of groups.
 */
ERR_MUST_CHECK enum err snap_settle_layout(struct restore *restore);

/*
 * This rank's memory under that layout, with the version that was restored; all other memory of
 * the job goes. Collective. Errors: the same.
 */
ERR_MUST_CHECK enum err snap_settle_memory(struct restore *restore);

#endif
