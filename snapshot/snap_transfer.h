/*
 * snapshot/snap_transfer.h - rows of stripes made from others, wherever they lie: encoding and
 * rebuilding, one engine.
 *
 * A piece of work makes the wanted rows of one stripe out of k given ones. One member, the
 * worker, gathers the given rows tile by tile, computes all wanted rows of the tile in one
 * pass, keeps its own and sends the others on:
 *
 *      traffic of a stripe   k tiles to the worker, wanted - 1 from it     (1 + (m-1)/k) S in all
 *
 * where sending every row to every holder of parity would be m S. Four tiles are under way at a
 * time. Every row that is written is hashed while it is in the cache.
 *
 *      encode    given: the data rows       wanted: all parity rows    worker: holder of parity 0
 *      rebuild   given: k rows that are     wanted: those that are     worker: one of those who
 *                there                      not                        lost, in turn
 *
 * A member is played by the rank `host_of` says; in a job that restarts smaller one rank plays
 * several. Given rows must have been verified: a wrong byte in one makes wrong rows, unnoticed.
 *
 * Memory: 4 (k + wanted) tiles for each stripe this rank is the worker of, allocated when the
 * transfer is opened and kept, so that running it again touches no new page.
 * Threads: the group's.
 */
#ifndef SNAPSHOT_SNAP_TRANSFER_H
#define SNAPSHOT_SNAP_TRANSFER_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"
#include "snapshot/snap_layout.h"
#include "snapshot/snap_recover.h"

/* What is hashed and sent at once. Segments are whole pages; the last tile of one may be short. */
enum { SNAP_TILE_BYTES = 128 * 1024 };

/* The memory of one version of one member. */
struct snap_rows {
    uint8_t *data;                         /* [k] segments */
    uint8_t *parity;                       /* [m] segments */
    uint64_t *data_hashes, *parity_hashes; /* one a tile, segment by segment */
};

struct snap_work {
    int group, stripe;
    int given[SNAP_ROWS_MAX];    /* [k] */
    int wanted[SNAP_PARITY_MAX]; /* [wanted_count] */
    int wanted_count;
    int worker; /* the member that computes */
};

struct snap_transfer_options {
    struct comm_group *comm; /* carries nothing else while a transfer runs */
    const struct snap_layout *layout;
    const int *host_of;            /* [rank_count of the layout] the rank of comm that plays it */
    const struct snap_work *works; /* [work_count] the same on all ranks, groups in rising order */
    int work_count;
    int64_t deadline_ms; /* of one wait */
};

struct snap_transfer;

/* Lends all that the options point to. Errors: ERR_NO_MEMORY, ERR_INVALID. */
ERR_MUST_CHECK enum err snap_transfer_open(const struct snap_transfer_options *options,
                                           struct snap_transfer **transfer_out);

/*
 * Does all works, on rows [rank_count of the layout], of which those of members played here are
 * read and written. Collective. Errors: ERR_TIMEOUT, ERR_COLLECTIVE; what was wanted is then
 * undefined, what was given is as it was, and the transfer is of no more use.
 */
ERR_MUST_CHECK enum err snap_transfer_run(struct snap_transfer *transfer,
                                          const struct snap_rows rows[]);

/*
 * NULL is allowed. After a failure its memory is left to the end of the process: late messages
 * may still be written to it.
 */
void snap_transfer_close(struct snap_transfer *transfer);

/* The works that encode one version: works_out [rank_count of the layout]; returns how many. */
int snap_transfer_plan_encode(const struct snap_layout *layout, struct snap_work works_out[]);

/*
 * The works that make what is missing of a version that can be had (snap_recover_choose()), of
 * all members; works_out [rank_count of the layout]. Returns how many. The members that are
 * worked for take turns as workers.
 */
int snap_transfer_plan_rebuild(const struct snap_inventory *inventory, uint64_t version,
                               struct snap_work works_out[]);

/*
 * Tiles of a segment of that group, the bytes of tile `tile` of one (the last may be short), and
 * the hash of a tile.
 */
int64_t snap_tile_count(const struct snap_group *group);
size_t snap_tile_bytes(const struct snap_group *group, int64_t tile);
uint64_t snap_tile_hash(const uint8_t *tile, size_t bytes);

#endif
