/*
 * launch/supervisor/supervisor_watch.h - what a node says of itself, each half second, on the standard
 * output of the channel that it was reached by:
 *
 *      offramp 1 3:4711:88123:5:912:4:812:810:800:2:-1:40:9120:9800,9700,...\n
 *
 * version, then for each rank of the node that has a page (launch/progress.h): rank, process, its
 * start, incarnation, beats, phase, step, kept, from, stage, code, and ages in milliseconds, -1 for
 * never: of its last word, of its first step, and of the begin of each phase from the first on. Ages,
 * since nodes have clocks of their own. A line without ranks says that the node is there.
 *
 * Threads: one.
 */
#ifndef LAUNCH_SUPERVISOR_WATCH_H
#define LAUNCH_SUPERVISOR_WATCH_H

#include <stddef.h>

#include "comm/base/err.h"
#include "launch/progress.h"

enum {
    WATCH_PERIOD_MS = 500,
    WATCH_RANKS_MAX = 512, /* of a node */
    WATCH_LINE_BYTES = 256 * WATCH_RANKS_MAX,
};

/*
 * On the node: says so of the pages in `folder`, until nobody listens, or SIGTERM or SIGHUP; then
 * removes those of ranks that run no more. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err watch_run(const char *folder);

/*
 * Reads the next rank of a line: *at is where it begins, and is moved on; NULL begins with the first.
 * Ages become times of the clock that is `now_ns` now. False at the end, or where the line is not
 * understood.
 */
bool watch_line_next(const char *line, const char **at, int64_t now_ns, int *rank_out,
                     struct progress *progress_out);

/* Whether a line is one of these at all. */
bool watch_line_is(const char *line);

/* The text of a rank, with a blank in front, into `text`. */
void watch_line_put(int rank, const struct progress *progress, int64_t now_ns, char *text,
                    size_t text_bytes);

#endif
