/*
 * snapshot/snap_packs.h - a file of a checkpoint that is there in packs, a member's part in each:
 * NAME.pack-0, NAME.pack-1, ... (snap_plan.h, snap_pack.h).
 *
 * Threads: any.
 */
#ifndef SNAPSHOT_SNAP_PACKS_H
#define SNAPSHOT_SNAP_PACKS_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

#define SNAP_PACK_ENDING ".pack-"

/*
 * The whole file; *bytes_out [*count_out] is the caller's to free(). Whether packs are missing at
 * its end is for the manifest to tell. Errors: ERR_MISSING if there is none, ERR_IO, ERR_CORRUPT,
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err snap_packs_read(const char *folder, const char *name, uint8_t **bytes_out,
                                        size_t *count_out);

#endif
