/*
 * launch/predict/predict_output.h - where predictions go: standard output, or a file that is whole or absent.
 *
 * A file is written under another name, PATH.partial, and renamed at the end; what is no regular file, a pipe or a
 * device, is written to as it is.
 *
 * Threads: one belongs to one thread.
 */
#ifndef LAUNCH_PREDICT_PREDICT_OUTPUT_H
#define LAUNCH_PREDICT_PREDICT_OUTPUT_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

struct predict_output;

/* `path` NULL: standard output. Errors: ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err predict_output_open(const char *path, struct predict_output **output_out);

/* Gives up: nothing is left of a file. NULL is allowed. */
void predict_output_close(struct predict_output *output);

/* A document as one line. Errors: ERR_IO; those of jdoc_text(). */
ERR_MUST_CHECK enum err predict_output_line(struct predict_output *output, const struct jdoc *doc);

/* So that a reader has all lines so far. Errors: ERR_IO. */
ERR_MUST_CHECK enum err predict_output_flush(struct predict_output *output);

/* The end: the file has its name. Close it afterwards all the same. Errors: ERR_IO. */
ERR_MUST_CHECK enum err predict_output_finish(struct predict_output *output);

#endif
