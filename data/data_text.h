/*
 * data/data_text.h - the labelled texts of a folder as a data set: read, tokenized, cut.
 *
 * A text without a token, which GPT-2 makes of an empty one, is given the pad id, so that
 * every sample has a position. Where class names are from, and which labels are understood:
 * data_labels.h.
 *
 * Threads: any.
 */
#ifndef DATA_DATA_TEXT_H
#define DATA_DATA_TEXT_H

#include "comm/base/err.h"
#include "data/data_set.h"

/*
 * Reads the set of a source of format DATA_TEXT, without its hash: what data_set_open() calls.
 * The caller owns *set_out and ends it with data_set_close(). Errors: ERR_INVALID if
 * tokens_max is out of range; ERR_CORRUPT if the file has no text in it, or what
 * data_records_next(), data_labels_open() or data_labels_find() refuse; ERR_MISSING; ERR_IO;
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_text_open(const struct data_set_source *source,
                                       struct data_set **set_out);

#endif
