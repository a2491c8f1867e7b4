/*
 * launch/report/report_jsonl.h - all of a file with one JSON object a line, or lines of it at even
 * distances where it has more than one can look at.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_REPORT_JSONL_H
#define LAUNCH_REPORT_REPORT_JSONL_H

#include <stddef.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

/*
 * The lines of `path` as an array, which the caller closes: every *every_out-th of them, the last
 * included, so that there are `lines_max` at most. A last line without an end is passed over: who
 * wrote it was cut off, or is at it.
 * Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT for a line that is no JSON object, with its number.
 */
ERR_MUST_CHECK enum err report_jsonl_read(const char *path, size_t lines_max,
                                          struct jdoc **lines_out, size_t *every_out);

#endif
