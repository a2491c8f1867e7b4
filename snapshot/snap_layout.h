/*
 * snapshot/snap_layout.h - who keeps what: slices of the state, protection groups, stripes.
 *
 * Every rank is a member of one protection group of n = k + m members on n different nodes.
 * A member keeps its slice of the state, its 1/N of what is the same on all ranks and what it
 * alone has, as k data segments of equal length, and m parity segments:
 *
 *      stripe s of a group, s = 0 .. n-1        row      kept by member
 *                                               parity j  (s + j) mod n
 *                                               data i    (s + m + i) mod n
 *
 * so parity rotates: each member is a parity holder in m stripes, a data holder in k, and a
 * group of n survives the loss of any m of its members. A data holder's segment in stripe s is
 * the number of earlier stripes in which it holds data; a parity holder's is j.
 *
 * Groups are made so that members share no failure domain where that is possible: nodes are
 * sorted by domain and dealt out in turn, as SCR does with its failure groups. On a single node
 * every process counts as a node of its own: that protects against the loss of processes.
 *
 * A layout is a function of its terms, which is what is stored (snap_layout_write()); all
 * ranks compare its hash before the first snapshot.
 *
 * Threads: read-only once opened.
 */
#ifndef SNAPSHOT_SNAP_LAYOUT_H
#define SNAPSHOT_SNAP_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"
#include "snapshot/snap_code.h"

enum {
    SNAP_RANKS_MAX = 65536,
    SNAP_SEGMENT_ALIGN_BYTES = 4096, /* segments begin on pages */
    SNAP_LAYOUT_HEAD_BYTES = 40,
    SNAP_LAYOUT_RANK_BYTES = 16,
};

/* Where a rank runs and what it alone has. */
struct snap_place {
    uint32_t node;   /* the same number for ranks that lose their memory together */
    uint32_t domain; /* of the node: rack, power supply; its own number if nothing is known */
    uint64_t private_bytes;
};

struct snap_terms {
    int rank_count;
    int data_count,
        parity_count; /* k and m that are wanted; both 0: chosen by the number of nodes */
    uint64_t replicated_bytes;
    uint64_t salt;                   /* tells apart layouts that are alike in all else */
    const struct snap_place *places; /* [rank_count], lent for the call */
};

/* One rank's part. */
struct snap_member {
    struct snap_place place;
    int group, index;                         /* index in the group, 0 .. n-1 */
    uint64_t replicated_at, replicated_bytes; /* its part of the replicated bytes */
    uint64_t bytes;                           /* of the slice: that, then what it alone has */
};

struct snap_group {
    int member_count;             /* n */
    int data_count, parity_count; /* k, m */
    uint64_t segment_bytes;
    const int *members; /* [n] ranks, in the order of their index */
};

struct snap_layout {
    int rank_count, group_count, node_count, domain_count;
    uint64_t replicated_bytes, salt;
    struct snap_member *members; /* [rank_count] */
    struct snap_group *groups;   /* [group_count] */
    int *group_members;
    uint8_t *bytes; /* its terms, written */
    size_t byte_count;
    struct hash hash; /* of those bytes */
};

/* End it with snap_layout_close(). Errors: ERR_CONFIG if the terms cannot be met; ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err snap_layout_open(const struct snap_terms *terms,
                                         struct snap_layout **layout_out);
void snap_layout_close(struct snap_layout *layout); /* NULL is allowed */

/*
 * The layout whose terms were written as `bytes`, which may be anything at all.
 * Errors: ERR_CORRUPT, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_layout_read(const uint8_t *bytes, size_t byte_count,
                                         struct snap_layout **layout_out);

/* Segments of one kind that every member keeps, and the bytes of all of them. */
uint64_t snap_layout_data_bytes(const struct snap_layout *layout, int rank);
uint64_t snap_layout_parity_bytes(const struct snap_layout *layout, int rank);

/* A row of a stripe: which member keeps it, and in which segment. */
struct snap_piece {
    int rank;
    bool is_parity;
    int segment; /* 0 .. k-1 of data, 0 .. m-1 of parity */
};

/* row 0 .. k-1 is data, k .. k+m-1 parity. */
struct snap_piece snap_layout_piece(const struct snap_group *group, int stripe, int row);

/* What is certain to survive. */
struct snap_guarantee {
    int nodes; /* any so many, of all groups together; 0: the loss of a node's memory is not covered */
    int domains;   /* any so many */
    int processes; /* any so many, their node's memory intact: all of them, said as rank_count */
};

struct snap_guarantee snap_layout_guarantee(const struct snap_layout *layout);

/* The same in words: "any 2 of 6 nodes"; where domains are known "any 2 of 6 nodes; any 1 of 3 domains". */
void snap_layout_describe(const struct snap_layout *layout, char *text, size_t text_bytes);

#endif
