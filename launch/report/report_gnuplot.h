/*
 * launch/report/report_gnuplot.h - plots by gnuplot, a process of its own.
 *
 * It is run without a shell, without its user's start-up files and without files of ours: commands
 * and picture go through memory. What labels are called is for report_text_quoted() to make harmless.
 *
 * Threads: one. Cost: some 50 ms a plot.
 */
#ifndef LAUNCH_REPORT_REPORT_GNUPLOT_H
#define LAUNCH_REPORT_REPORT_GNUPLOT_H

#include "comm/base/err.h"
#include "launch/report/report_text.h"

/*
 * Appends the SVG element that gnuplot makes of `commands`, whose terminal they set, to `svg`. Ids in
 * it begin with `name`, so that elements can share a page. Errors: ERR_MISSING if gnuplot is not installed;
 * ERR_TIMEOUT if it takes too long, and is killed; ERR_INVALID, with its last line, if it fails; ERR_IO.
 */
ERR_MUST_CHECK enum err report_gnuplot(const struct report_text *commands, const char *name,
                                       struct report_text *svg);

#endif
