/*
 * snapshot/snap_area.h - one member's memory: a shared-memory file that outlives the process.
 *
 *      FOLDER/member-<layout hash, 16 digits>-<rank>     snap_format.h says what is in it
 *
 * It is made under another name, given all its pages and its header, and then renamed: what has
 * the name is whole. First touch costs ten times a copy, so all pages are touched when it is
 * made and mapped populated. While it is open for writing it is locked (open file description
 * lock), so that nobody else writes to it or takes it for left behind.
 *
 * Threads: an area belongs to one thread.
 */
#ifndef SNAPSHOT_SNAP_AREA_H
#define SNAPSHOT_SNAP_AREA_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "snapshot/snap_format.h"
#include "snapshot/snap_keeper.h"
#include "snapshot/snap_owner.h"
#include "snapshot/snap_recover.h"
#include "snapshot/snap_transfer.h"

struct snap_area;

/* As whom a member's memory is opened for writing. */
struct snap_claim {
    struct hash job_key; /* what tells this job's memory from another's */
    struct snap_owner owner;
    struct snap_keeper *keeper; /* who makes new memory; NULL: this process */
};

/*
 * Makes the memory of `rank` in `folder`, which exists, both slots EMPTY; in place of one that is
 * there. End it with snap_area_close(). Errors: ERR_NO_MEMORY if the file system has not so many
 * bytes, telling needed and present; ERR_IO; those of the keeper.
 */
ERR_MUST_CHECK enum err snap_area_create(const char *folder, const struct snap_layout *layout,
                                         int rank, const struct snap_claim *claim,
                                         struct snap_area **area_out);

/* Makes the file `path` with all its pages, zero. Errors: ERR_NO_MEMORY as above, ERR_IO. */
ERR_MUST_CHECK enum err snap_area_reserve(const char *path, uint64_t bytes);

/*
 * Opens one that is there; slots are as their headers say. Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT
 * if it is not whole; ERR_CONFIG if it is of another job, or a process that runs has it open.
 */
ERR_MUST_CHECK enum err snap_area_open(const char *path, const struct snap_claim *claim,
                                       struct snap_area **area_out);

/*
 * Opens one to look at it, whatever job it is of, and whoever has it open: without a lock, and
 * mapped read-only, so that nothing below that writes is for it. Slots are as their headers were at
 * that moment; snap_area_look_again() reads them anew, and a slot whose sequence number is the same
 * then has not been written to meanwhile. Errors: ERR_MISSING, ERR_IO, ERR_CORRUPT, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_area_peek(const char *path, struct snap_area **area_out);
void snap_area_look_again(struct snap_area *area);

/* Whether another process, or this one by another area, has the file open for writing. */
bool snap_area_is_in_use(const struct snap_area *area);

/* Unmaps and unlocks; the file stays. NULL is allowed. */
void snap_area_close(struct snap_area *area);

const struct snap_layout *snap_area_layout(const struct snap_area *area);
int snap_area_rank(const struct snap_area *area);
const struct snap_slots *snap_area_slots(const struct snap_area *area);
const struct snap_slot_header *snap_area_header(const struct snap_area *area, int slot);

/* All of the file, as it is mapped; *bytes_out its size. */
void *snap_area_memory(const struct snap_area *area, size_t *bytes_out);

/* The memory of a slot, and the data roots of all members [rank_count] of its version. */
struct snap_rows snap_area_rows(const struct snap_area *area, int slot);
struct hash *snap_area_roots(const struct snap_area *area, int slot);

/*
 * Makes a slot's header say `header`; sequence, slot and incarnation are filled in. Everything written to the
 * slot before is there for whoever reads that header. A transition that snap_slot.h allows.
 */
void snap_area_set(struct snap_area *area, int slot, const struct snap_slot_header *header);

/*
 * Hashes what a slot holds and compares it with its hashes and roots: which segments are good,
 * for snap_recover_choose(). Cost: one pass over the slot. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_area_verify(const struct snap_area *area, int slot,
                                         struct snap_holding *holding_out);

#define SNAP_AREA_MEMBER "member-"
#define SNAP_AREA_MAKING "making-" /* until it is whole */

/*
 * Whether a file of that name is a member's: one of the prefixes, 16 digits, those of its layout's
 * hash, low, and its rank, which are told.
 */
bool snap_area_is_named(const char *name, const char *prefix, uint64_t *layout_out, int *rank_out);

/*
 * Makes the folder of a node's memory, and its parents, or finds it made: this user's, and nobody
 * else's to look into. Errors: ERR_CONFIG if it is there and is not; ERR_IO, ERR_INVALID.
 */
ERR_MUST_CHECK enum err snap_area_folder(const char *folder);

/* The path of a member's file. Errors: ERR_INVALID if it does not fit. */
ERR_MUST_CHECK enum err snap_area_path(char path[FILE_PATH_BYTES_MAX], const char *folder,
                                       struct hash layout_hash, int rank);

#endif
