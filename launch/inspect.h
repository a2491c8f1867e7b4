/*
 * launch/inspect.h - what lies at a path, as a document: a checkpoint, the output_dir of a run, or
 * memory of snapshots.
 *
 * Looks only: nothing is written, locked or made, so a run that is under way is not disturbed, and
 * what is told of it was so at some moment of the call.
 *
 *      {"kind": "checkpoint", "path", "step", "stage": 2, "stage_kind": "joint", "stage_step",
 *       "files": [{"name", "bytes"}], "settings": {name: text}, "verified": true}
 *      {"kind": "run", "path", "verdict", "step", "world_size", "state_hash",
 *       "checkpoints": [newest first, as above], "memory": as below}
 *      {"kind": "memory", "path", "members": [
 *        {"file", "bytes", "rank", "group", "node", "domain", "in_use",
 *         "layout": {"hash", "ranks", "nodes", "groups", "data", "parity", "survives"},
 *         "slots": [{"state", "version", "incarnation", "sequence",
 *                    "good_data", "good_parity", "changed"}]}]}
 *
 * "data" and "parity" are k and m of the member's group. An object has "error" if it, or what it is
 * made from, is damaged; what cannot be told, then or else, is left out. The last three keys of a
 * slot, and "verified", are there only where everything was hashed; "changed" is true of a slot
 * that was written to meanwhile, and then no word on it counts.
 *
 * Threads: main's.
 */
#ifndef LAUNCH_INSPECT_H
#define LAUNCH_INSPECT_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

/*
 * Looks at `path`; `verifies`: also hashes everything. damage_count_out: objects of the document
 * that are damaged, which is no error. Errors: ERR_MISSING if there is nothing of the kind, ERR_IO,
 * ERR_NO_MEMORY, ERR_INVALID.
 */
ERR_MUST_CHECK enum err inspect(const char *path, bool verifies, struct jdoc **doc_out,
                                int *damage_count_out);

#endif
