/*
 * launch/jsonl_tail.h - the newest lines of a file with one JSON object a line, newest first.
 *
 * Reads the end of the file alone, however long it is, while another process appends to it: a last
 * line that has no end yet, one whose beginning is not in the part that is read, and one that is no
 * JSON, are passed over.
 *
 * Threads: a tail belongs to one.
 */
#ifndef LAUNCH_JSONL_TAIL_H
#define LAUNCH_JSONL_TAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

struct jsonl_tail {
    char *text;   /* owned */
    size_t count; /* bytes of it, of lines that were not given yet */
    double age_s; /* since the file was written to, by the clocks of this machine and of the disk */
};

/* Of the last bytes_max bytes. End it with jsonl_tail_release(). Errors: ERR_MISSING, ERR_IO,
 * ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err jsonl_tail_read(const char *path, size_t bytes_max,
                                        struct jsonl_tail *tail_out);
void jsonl_tail_release(struct jsonl_tail *tail); /* a zeroed tail is allowed */

/* The line before that of the last call, for the caller to close; NULL: there is no other. */
struct jdoc *jsonl_tail_previous(struct jsonl_tail *tail);

#endif
